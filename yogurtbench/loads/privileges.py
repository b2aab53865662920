"""Start the loads' tools without privileges: setpriv(1) drops them before a tool is executed."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from contextlib import suppress
from functools import cache

from yogurtbench.core import process
from yogurtbench.core.load_specs import TOOLS
from yogurtbench.core.process import CommandFailed

#: No capability can come back, and no program on the way gives one (PR_SET_NO_NEW_PRIVS).
_NOTHING_NEW = ("setpriv", "--no-new-privs", "--inh-caps=-all")
#: nobody and nogroup, on every Linux (kernel.overflowuid), without capabilities.
_NOBODY = (*_NOTHING_NEW, "--bounding-set=-all", "--reuid=65534", "--regid=65534")
#: The second best, where nobody may not execute the tool: it lies in somebody's private folder.
_BARE_ROOT = (*_NOTHING_NEW, "--bounding-set=-all")
#: iputils' ping wants an ICMP socket or a raw one, and takes short intervals from root alone.
_RAW_ROOT = (*_NOTHING_NEW, "--bounding-set=-all,+net_raw")


def drop_privileges(argv: Sequence[str], *, raw: bool = False) -> list[str]:
    """Return a command line that runs a load's tool with as few privileges as it works with.

    As nobody, and with ``raw`` as root with the capability CAP_NET_RAW alone. Unchanged where there
    is no such tool, and where this machine lets nobody drop them (a container without CAP_SETUID or
    CAP_SETPCAP).
    """
    tool = shutil.which(next((word for word in argv if word in TOOLS), argv[0]))
    return [*(_dropping(tool, raw=raw) if tool else ()), *argv]


@cache
def _dropping(tool: str, *, raw: bool) -> tuple[str, ...]:
    """Return the first way to drop privileges that leaves a tool executable; maybe none."""
    for way in (_RAW_ROOT,) if raw else ((*_NOBODY, "--clear-groups"), _BARE_ROOT):
        argv = [*way, "--", "test", "-x", tool]
        with suppress(CommandFailed):  # no setpriv(1) here
            process.run(argv, timeout=10)
            return (*way, "--")
    return ()
