"""Mark the measured part of a load for whoever traces the emulator (plugin/trace.c).

A mark is an instruction that does nothing. Without a tracer it is nothing.
"""

from __future__ import annotations

import ctypes
import mmap
from collections.abc import Callable
from functools import cache

#: nopl magic(%rax), ret: see BEGIN and END in plugin/trace.c.
_BEGIN = bytes.fromhex("0f1f807962015a c3")
_END = bytes.fromhex("0f1f807962025a c3")


@cache
def _code() -> mmap.mmap:
    page = mmap.mmap(-1, mmap.PAGESIZE, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    page.write(_BEGIN + _END)
    return page


@cache
def marks() -> tuple[Callable[[], None], Callable[[], None]]:
    """Return the functions that execute the first and the second mark."""
    begins = ctypes.addressof(ctypes.c_char.from_buffer(_code()))
    function = ctypes.CFUNCTYPE(None)
    return function(begins), function(begins + len(_BEGIN))
