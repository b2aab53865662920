"""The lab's room of its own: a private network, mount and PID namespace that the kernel takes down with its last process.

The room is entered by exec'ing through unshare(1); ``furnish`` then runs once inside it.
"""

from __future__ import annotations

import ctypes
import os
import signal
from collections.abc import Sequence
from pathlib import Path

from yogurtbench.lab import namespace
from yogurtbench.shell import run

_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None, use_errno=True)


def command(argv: Sequence[str]) -> list[str]:
    """The command line that runs ``argv`` as process 1 of a new room.

    ``--kill-child``: when unshare dies the child dies, and with process 1 every process of the room (pid_namespaces(7)).
    """
    unshare = ["unshare", "--net", "--mount", "--pid", "--fork", "--kill-child=KILL", "--mount-proc"]
    return [*unshare, "--propagation", "private", "--", *argv]


def die_with_parent() -> None:
    """For ``preexec_fn``: be killed when the starting thread's process dies, SIGKILL included (prctl(2))."""
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def furnish() -> None:
    """Make a fresh room fit for a lab: its own /run and /sys, loopback up, quiet defaults.

    Raises CommandFailed where a mount is refused.
    """
    for kind, where in (("tmpfs", "/run"), ("sysfs", "/sys")):
        run(["mount", "-t", kind, kind, where])
    Path("/run/netns").mkdir()
    room = namespace.host()
    namespace.quieten(room)
    room.ip.link("set", index=1, state="up")
    room.close()
    # The lab's processes must not be judged by the limits of whoever started the run.
    os.umask(0o022)
