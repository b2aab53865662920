"""The run time of BPF programs, by the kernel's own statistics.

They cost every run some 20 ns: for diagnosis alone.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from yogurtbench.ebpf.syscall import bpf
from yogurtbench.lab import Unsupported

#: enum bpf_cmd and enum bpf_stats_type, uapi/linux/bpf.h; since Linux 5.8.
_BPF_ENABLE_STATS = 32
_BPF_STATS_RUN_TIME = 0


@dataclass(frozen=True, slots=True)
class RunTime:
    """Time in nanoseconds that a program ran, and how often."""

    ns: int
    runs: int

    def __sub__(self, earlier: RunTime) -> RunTime:
        return RunTime(self.ns - earlier.ns, self.runs - earlier.runs)

    @property
    def mean(self) -> float | None:
        """Nanoseconds a run; None where it never ran."""
        return self.ns / self.runs if self.runs else None


@contextmanager
def statistics_enabled() -> Iterator[None]:
    """Turn statistics on for a block, by a file descriptor, with which they end.

    The machine's sysctl (kernel.bpf_stats_enabled) is left as it is. Raises Unsupported where the
    kernel refuses.
    """
    try:
        descriptor = bpf(_BPF_ENABLE_STATS, struct.pack("=I", _BPF_STATS_RUN_TIME))
    except OSError as error:
        why = f"BPF_ENABLE_STATS: {error.strerror}"
        raise Unsupported(f"this kernel keeps no run time of BPF programs ({why})") from None
    try:
        yield
    finally:
        os.close(descriptor)


def read_run_time(descriptor: int) -> RunTime:
    """Return a program's run time until now (bpf_prog_show_fdinfo in kernel/bpf/syscall.c)."""
    return parse_run_time(Path(f"/proc/self/fdinfo/{descriptor}").read_text())


def read_tag(descriptor: int) -> str:
    """Return a program's tag in hexadecimal."""
    return _fields(Path(f"/proc/self/fdinfo/{descriptor}").read_text())["prog_tag"].strip()


def parse_run_time(fdinfo: str) -> RunTime:
    """Return the text of a program's fdinfo.

    Raises Unsupported where it has no statistics (before Linux 5.1).
    """
    fields = _fields(fdinfo)
    try:
        return RunTime(int(fields["run_time_ns"]), int(fields["run_cnt"]))
    except KeyError as missing:
        raise Unsupported(f"this kernel keeps no {missing.args[0]} of BPF programs") from None


def _fields(fdinfo: str) -> dict[str, str]:
    return dict(line.split(":", 1) for line in fdinfo.splitlines() if ":" in line)
