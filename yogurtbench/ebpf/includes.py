"""The files that a custom wire includes, and which of them it may not.

A wire's C file is somebody's input: what it includes from elsewhere on the machine would be quoted
by the compiler's errors.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

#: Lets clang name each file as it is included: dots for the depth, then the path.
FLAG = "-H"
_INCLUDED = re.compile(r"^\.+ (.+)$", re.MULTILINE)
#: Where headers of kernels and of the compiler lie; bcc unpacks a kernel's own archive in /tmp.
_HEADERS = (
    "/usr/src/",
    "/usr/include/",
    "/usr/lib/",
    "/usr/lib64/",
    "/lib/modules/",
    "/virtual/",
    "/tmp/kheaders-",
)


def without_includes(said: str) -> str:
    """Return what a compiler said, without the lines that name included files."""
    return _INCLUDED.sub("", said)


def foreign_includes(said: str, folder: Path) -> Iterator[str]:
    """Yield the included files that are neither of ``folder`` nor headers, from clang's words.

    Where a link leads decides, not where it lies.
    """
    source = os.environ.get("BCC_KERNEL_SOURCE", "/usr/src")
    allowed = (*_HEADERS, *(f"{os.path.realpath(one)}/" for one in (folder, source)))
    for path in dict.fromkeys(_INCLUDED.findall(said)):
        # bcc compiles in the folder of the headers.
        real = os.path.realpath(os.path.join(source, path))
        if not real.startswith(allowed):
            yield path
