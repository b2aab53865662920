"""The agent's environment variables: its own, so that no load behaves as somebody's shell says."""

from __future__ import annotations

import os

#: What is kept: where programs and headers are found, and the folders that the user chose for us.
KEPT = frozenset(
    {
        "PATH",
        "HOME",
        "XDG_CACHE_HOME",
        "BCC_KERNEL_SOURCE",
        "YOGURTBENCH_CACHE",
        "YOGURTBENCH_OS_RELEASE",
    }
)
_users: dict[str, str] = {}


def take_over() -> None:
    """Forget all other variables: LD_PRELOAD, TMPDIR, IPERF3_PASSWORD, SOCKPERF_… and the like.

    What the loads start inherits nothing else; what the user starts in a lab gets them all back.
    """
    _users.update(os.environ)
    for name in set(os.environ) - KEPT:
        del os.environ[name]


def users_environment() -> dict[str, str]:
    """Return the variables as the user had them, with ours where those changed."""
    return {**_users, **os.environ}
