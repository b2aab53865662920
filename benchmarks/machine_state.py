"""What a run may leave on a machine: names of ours, programs, mounts, processes, files.

Shared by soak.py and kills.py, which compare it before and after.
"""

from __future__ import annotations

import ctypes
import os
import struct
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from yogurtbench.core import leftovers
from yogurtbench.ebpf import syscall

_PROG_GET_NEXT_ID = 11
_PR_SET_CHILD_SUBREAPER = 36
#: What is asked until it is as it was, or this many seconds have passed: the kernel frees BPF
#: programs and namespaces after a grace period (call_rcu), and a killed child takes time to end.
_LASTING = 30.0
#: Words in the command lines of processes that a run starts.
_OURS = ("yogurtbench", "qemu-system", "iperf3", "sockperf", "netserver", "yogurt-")


@contextmanager
def private_temporary_folder() -> Iterator[None]:
    """Have this process and its children keep temporary files where nobody else's are."""
    with tempfile.TemporaryDirectory() as folder:
        os.environ["TMPDIR"] = tempfile.tempdir = folder
        try:
            yield
        finally:
            tempfile.tempdir = None
            del os.environ["TMPDIR"]


def adopt_orphans() -> None:
    """Become the parent of descendants whose parent died (PR_SET_CHILD_SUBREAPER, prctl(2)).

    Without it they go to the machine's first process, which in a container may never reap them.
    """
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def machine_state() -> dict[str, set[str]]:
    """Return, by kind, what is there now."""
    return {
        "BPF programs": {str(number) for number in program_ids()},
        "links": set(os.listdir("/sys/class/net")),
        "named namespaces": _names("/run/netns"),
        "mounts": _mounts(),
        "processes": _processes(),
        "temporary files": _names(tempfile.gettempdir()),
        "half-made cache entries": _unfinished(),
    }


def differences(before: dict[str, set[str]]) -> list[str]:
    """Return one sentence a kind that is not as it was ``before``; empty where all is.

    Waits up to half a minute for what the kernel frees late.
    """
    deadline = time.monotonic() + _LASTING
    left: dict[str, set[str]] = {}
    while True:
        _reap()
        now = machine_state()
        # What is really left is there at every look; what a stranger uses for a moment is not.
        left = {kind: (now[kind] - before[kind]) & left.get(kind, now[kind]) for kind in now}
        gone = {kind: before[kind] - now[kind] for kind in ("links", "named namespaces", "mounts")}
        found = [
            f"{kind} left behind: {' '.join(sorted(left[kind]))}" for kind in left if left[kind]
        ]
        found += [f"{kind} gone: {' '.join(sorted(gone[kind]))}" for kind in gone if gone[kind]]
        if not found or time.monotonic() > deadline:
            return found
        time.sleep(0.5)


def program_ids() -> list[int]:
    """Return the ids of all BPF programs of this machine (BPF_PROG_GET_NEXT_ID, bpf(2))."""
    found: list[int] = []
    while True:
        start = struct.pack("=II", found[-1] if found else 0, 0)
        try:
            _, attribute = syscall.filled(_PROG_GET_NEXT_ID, start)
        except FileNotFoundError:  # ENOENT: that was the last
            return found
        found.append(struct.unpack_from("=II", attribute)[1])


def _reap() -> None:
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        pass


def _names(folder: str) -> set[str]:
    return set(os.listdir(folder)) if Path(folder).is_dir() else set()


def _mounts() -> set[str]:
    return {line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()}


def _processes() -> set[str]:
    """Return the descendants of this process that carry a name of ours, as ``pid (command)``."""
    found = set()
    for process in psutil.Process().children(recursive=True):
        try:
            command = " ".join(process.cmdline())
        except psutil.Error:
            continue
        if any(word in command for word in _OURS):
            found.add(f"{process.pid} ({command[:80]})")
    return found


def _unfinished() -> set[str]:
    return {str(path) for path in leftovers.find(everything=False)}
