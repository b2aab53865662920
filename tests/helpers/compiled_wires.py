"""Imported once by the process that rooms are forked from: all that a trial needs, bpf/ compiled.

A process that compiles bpf/ for itself takes two seconds of a CPU for it.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from contextlib import suppress
from functools import cache
from typing import Any

import yogurtbench.agent.trial
from yogurtbench.core.errors import HostError
from yogurtbench.ebpf import programs

__all__ = ["yogurtbench"]

_compiled = cache(programs._compile)


def compile_once(source: str, flags: Iterable[str], what: str) -> Any:
    """Compile a text, or return what it was compiled to before, with its maps."""
    return _compiled(source, tuple(flags), what)


programs._compile = compile_once
if os.geteuid() == 0:
    with suppress(HostError):  # the test that needs them will tell
        for traced in (False, True):
            programs.Programs().ours(traced=traced)
