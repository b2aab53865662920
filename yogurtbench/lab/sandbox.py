"""The lab's sandbox: private network, mount and PID namespaces that end with the agent.

The room is entered by exec'ing through unshare(1); ``furnish`` then runs once inside it.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from yogurtbench.core.process import run
from yogurtbench.lab import namespace


def sandbox_command(argv: Sequence[str]) -> list[str]:
    """Return the command line that runs ``argv`` as process 1 of a new room.

    ``--kill-child``: when unshare dies the child dies, and with process 1 the whole room
    (pid_namespaces(7)).
    """
    unshare = [
        "unshare",
        "--net",
        "--mount",
        "--pid",
        "--fork",
        "--kill-child=KILL",
        "--mount-proc",
    ]
    return [*unshare, "--propagation", "private", "--", *argv]


#: Where a room keeps the /proc of the machine, to look at: kernel threads can be seen only there.
MACHINE_PROC = Path("/run/machine-proc")


def set_up() -> None:
    """Make a fresh room fit for a lab: its own /run and /sys, loopback up, quiet defaults.

    Raises CommandFailed where a mount is refused.
    """
    for kind, where in (("tmpfs", "/run"), ("sysfs", "/sys")):
        run(["mount", "-t", kind, kind, where])
    Path("/run/netns").mkdir()
    _keep_machine_proc()
    room = namespace.host()
    namespace.disable_ipv6_chatter(room)
    room.ip.link("set", index=1, state="up")
    # The lab's processes must not be judged by the limits of whoever started the run.
    os.umask(0o022)


def _keep_machine_proc() -> None:
    """Bind the /proc that the room's own was mounted upon to MACHINE_PROC.

    In a guest there is one for all.
    """
    mounts = [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    if mounts.count("/proc") < 2:
        return
    MACHINE_PROC.mkdir()
    # Lazily: a tool that is just printing its version may be reading it.
    run(["umount", "--lazy", "/proc"])
    run(["mount", "--bind", "-o", "ro", "/proc", str(MACHINE_PROC)])
    run(["mount", "-t", "proc", "proc", "/proc"])
