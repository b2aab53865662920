"""The kernel's functions by their addresses, through bcc's reader of /proc/kallsyms.

bcc's own cache is never renewed, and names an address in a module that was loaded later after the
nearest function that it knows. Here it is renewed when the modules have changed.
"""

from __future__ import annotations

import base64
import re
import zlib
from functools import lru_cache
from pathlib import Path
from typing import Any

_MODULES = Path("/proc/modules")
_SYMBOLS = Path("/proc/kallsyms")
#: Lines of code by nm(1)'s letters: in .text, global or not, and weak. What was loaded later, a
#: module's functions and BPF programs, has the name of what it belongs to behind a tabulator.
_BUILT_IN = re.compile(rb"^([0-9a-f]+ )[tTwW] (\S+)$", re.MULTILINE)
_LOADED = re.compile(rb"^([0-9a-f]+ )[tTwW] (\S+)\t", re.MULTILINE)


def symbol_at(address: int) -> str:
    """Return the name of the function that an address lies in; bcc has to be there."""
    name = _symbols(_loaded(_MODULES.read_text() if _MODULES.exists() else "")).resolve(
        address, False
    )[0]
    return str((name or b"[unknown]").decode(errors="replace"))


def _loaded(modules: str) -> tuple[str, ...]:
    """Return names and addresses out of /proc/modules: its other columns change all the time."""
    rows = (line.split() for line in modules.splitlines())
    return tuple(f"{row[0]} {row[5]}" for row in rows)


@lru_cache(maxsize=1)
def _symbols(_modules: tuple[str, ...]) -> Any:
    """Read all symbols, some 150,000 lines."""
    from bcc import SymbolCache

    return SymbolCache(-1)


def packed_functions(*, loaded: bool) -> str:
    """Return the addresses and names of the kernel's functions, or of what was loaded later.

    Lines ``address name`` of /proc/kallsyms, compressed (zlib) and in base64: the guest's serial
    port is slow.
    """
    found = (_LOADED if loaded else _BUILT_IN).findall(_SYMBOLS.read_bytes())
    text = b"".join(address + name + b"\n" for address, name in found)
    return base64.b64encode(zlib.compress(text)).decode()
