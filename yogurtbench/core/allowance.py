"""The share of the machine that a container or systemd unit gives to this process."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import psutil

_CGROUPS = Path("/sys/fs/cgroup")
_OURS = Path("/proc/self/cgroup")


def available_cpus() -> int:
    """Return how many CPUs may be busy at once.

    Those that we may run on, and no more than a quota is worth; at least one.
    """
    quotas = [quota for folder in _folders() if (quota := _quota(folder))]
    return max(1, int(min([len(os.sched_getaffinity(0)), *quotas])))


def available_memory() -> int:
    """Bytes that are to be had: what the machine has available, and no more than a limit leaves."""
    left = [rest for folder in _folders() if (rest := _left(folder)) is not None]
    return max(0, min([psutil.virtual_memory().available, *left]))


def _folders(root: Path = _CGROUPS, ours: Path = _OURS) -> Iterator[Path]:
    """Our control group (cgroups(7), version 2) and those that it lies in, each with a say."""
    try:
        lines = ours.read_text().splitlines()
    except OSError:
        return
    for line in lines:
        if line.startswith("0::/"):
            folder = root / line.removeprefix("0::/")
            yield from (
                one for one in (folder, *folder.parents) if one == root or root in one.parents
            )


def _quota(folder: Path) -> float:
    """Return how many CPUs a group's quota is worth (``50000 100000``: half of one).

    0 where it has none.
    """
    quota, _, period = _read(folder / "cpu.max").partition(" ")
    return int(quota) / int(period) if quota.isdigit() and period.isdigit() else 0.0


def _left(folder: Path) -> int | None:
    """Return what a group's limit leaves, its page cache counted as to be had.

    None where it has no limit.
    """
    limit, used = _read(folder / "memory.max"), _read(folder / "memory.current")
    if not (limit.isdigit() and used.isdigit()):
        return None
    stat = dict(line.split() for line in _read(folder / "memory.stat").splitlines())
    return int(limit) - int(used) + int(stat.get("inactive_file", 0))


def _read(file: Path) -> str:
    try:
        return file.read_text().strip()
    except OSError:
        return ""
