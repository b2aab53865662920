"""Busy neighbours of what a test measures."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from yogurtbench.core import process


@contextmanager
def neighbours() -> Iterator[None]:
    """More processes than CPUs, QEMU's among them, which come and go: that interrupts others."""
    argv = ["sh", "-c", "while :; do timeout 0.05 sh -c 'while :; do :; done'; sleep 0.05; done"]
    with ExitStack() as undo:
        for _ in range(os.cpu_count() or 1):
            undo.enter_context(process.run_in_background(argv))
        yield
