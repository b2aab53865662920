"""Kernel headers for bcc: the running kernel's, else those of any kernel on this machine.

Our programs use only UAPI headers, and those of another release compile them just as well. Debian
splits its headers into a ``-common`` and a flavour tree; bcc wants one folder, so the two are
merged with symlinks.
"""

from __future__ import annotations

import os
import re
from contextlib import suppress
from pathlib import Path

from yogurtbench.core import install_hints, leftovers, paths
from yogurtbench.core.errors import HostError

_VARIABLE = "BCC_KERNEL_SOURCE"
_MODULES = Path("/lib/modules")
_SOURCES = Path("/usr/src")
_KHEADERS = Path("/sys/kernel/kheaders.tar.xz")


def find_headers() -> Path | None:
    """Return the folder (or archive) of headers bcc will use, None where there is none.

    Makes nothing.
    """
    if named := os.environ.get(_VARIABLE):
        return Path(named)
    own = _MODULES / os.uname().release / "build"
    if own.is_dir():
        return own
    if _KHEADERS.exists():
        return _KHEADERS
    flavours = _foreign()
    return flavours[-1] if flavours else None


def provide_headers() -> None:
    """Set BCC_KERNEL_SOURCE for this process where bcc would find no headers by itself.

    Raises HostError where the machine has no kernel headers at all.
    """
    where = find_headers()
    if where is None:
        raise HostError(
            "bcc needs kernel headers and this machine has none, for any kernel: "
            f"{install_hints.how_to_get('kernel-headers')}"
        )
    if where.parent == _SOURCES:
        os.environ[_VARIABLE] = str(_merged(where))


def _foreign() -> list[Path]:
    """Flavour trees below /usr/src, oldest release first."""
    trees = [p for p in _SOURCES.glob("linux-headers-*") if (p / "include/generated").is_dir()]
    return sorted(trees, key=lambda p: [int(n) for n in re.findall(r"\d+", p.name)])


def _common_of(flavour: Path) -> Path | None:
    """Debian: the -common tree that the flavour's Makefile includes.

    Elsewhere the flavour tree stands alone.
    """
    makefile = flavour / "Makefile"
    named = (
        re.search(rf"({re.escape(str(_SOURCES))}/\S+-common)", makefile.read_text())
        if makefile.is_file()
        else None
    )
    return Path(named.group(1)) if named else None


def _merged(flavour: Path) -> Path:
    common = _common_of(flavour)
    if common is None or not common.is_dir():
        return flavour
    merged = paths.private_cache() / "headers" / flavour.name
    if not merged.is_dir():
        merged.parent.mkdir(parents=True, exist_ok=True)
        with leftovers.make_folder(merged.parent, merged.name) as making:
            whole = making / "whole"
            for tree in (flavour, common):  # the flavour's own files win
                _link_tree(tree, whole)
            with suppress(OSError):  # another run was faster
                whole.rename(merged)
    return merged


def _link_tree(tree: Path, into: Path) -> None:
    for folder, _, files in os.walk(tree):
        target = into / os.path.relpath(folder, tree)
        target.mkdir(parents=True, exist_ok=True)
        for name in files:
            if not os.path.lexists(target / name):
                (target / name).symlink_to(Path(folder, name))
