"""Commands in a mount namespace of their own."""

from __future__ import annotations

from pathlib import Path


def with_private_mounts(script: str) -> list[str]:
    """The beginning of a command line: a script whose mounts are seen by it alone.

    What follows are the script's arguments, from ``$1`` on.
    """
    return [*["unshare", "--mount", "--propagation", "private", "--", "sh", "-ec"], script, "sh"]


#: Where a test mounts a disk of its own, seen by the tests beside it.
DISK = "disk-under-test"


def machine_mounts() -> list[str]:
    """The machine's mounts (proc_pid_mountinfo(5)), without those that tests make meanwhile."""
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    return [line for line in lines if not line.split()[4].endswith(f"/{DISK}")]
