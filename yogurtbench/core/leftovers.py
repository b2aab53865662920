"""Half-made folders in the cache: how they are made, and what is left of them after a kill."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from itertools import chain
from pathlib import Path

from yogurtbench.core import files, paths

#: Begins the names of folders that are being filled.
_MAKING = ".making-"
#: Earlier versions called them so.
_FORMER = ".building-"


@contextmanager
def make_folder(parent: Path, name: str) -> Iterator[Path]:
    """Yield a new private folder to fill and rename; what is left of it afterwards is removed.

    It is locked (flock(2)) for the length of the block, so that :func:`find` knows it from what a
    killed maker left.
    """
    making = Path(tempfile.mkdtemp(prefix=f"{_MAKING}{name}-", dir=parent))
    held = os.open(making, os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.flock(held, fcntl.LOCK_EX)
        yield making
    finally:
        shutil.rmtree(making, ignore_errors=True)
        os.close(held)


def find(*, everything: bool) -> list[Path]:
    """Return what killed runs left half made in the cache; with ``everything`` all that is ours.

    Nothing else, whatever folder YOGURTBENCH_CACHE names.
    """
    folder = paths.cache()
    ours = [folder / name for name in paths.CACHED if (folder / name).is_dir()]
    # Earlier versions merged headers at the top; what else is there may be somebody's.
    half_made = _free(folder.glob(f"{_MAKING}*"))
    if everything:
        return [*half_made, *ours]
    for one in ours:
        half_made += _half_made_in(one, "**/")
    return half_made


def remove(found: Iterable[Path], *, everything: bool) -> Iterator[Path]:
    """Remove what :func:`find` found, and yield each path that is gone.

    Raises HostError where one cannot be removed.
    """
    for path in found:
        with files.explaining_errors(path, "removed"):
            _remove(path)
        yield path
    folder = paths.cache()
    if everything and folder.is_dir() and not any(folder.iterdir()):
        folder.rmdir()


def remove_former(parent: Path, name: str) -> None:
    """Remove what killed makers of ``name`` left in ``parent``."""
    for path in _half_made_in(parent, ""):
        if path.name.startswith((f"{_MAKING}{name}-", f"{_FORMER}{name}-")):
            _remove(path)


def remove_parts(folder: Path) -> None:
    """Remove the private folders that killed writers left in a folder (see files.replace_file)."""
    for path in _free(folder.glob(f".*{files.PART}")):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)


def size(path: Path) -> int:
    """Return the bytes that a file or folder takes on the disk."""
    found = 0
    for entry in (path, *path.rglob("*")):
        with suppress(OSError):
            found += entry.lstat().st_blocks * 512
    return found


def _half_made_in(folder: Path, where: str) -> list[Path]:
    patterns = (f"{where}{_MAKING}*", f"{where}{_FORMER}*", f"{where}.*{files.PART}")
    return _free(chain.from_iterable(map(folder.glob, patterns)))


def _free(paths_found: Iterable[Path]) -> list[Path]:
    """Return those that nobody is filling, without those that stand in another one."""
    found = sorted(set(paths_found))
    outermost = [path for path in found if not set(path.parents) & set(found)]
    return [path for path in outermost if not _is_locked(path)]


def _is_locked(path: Path) -> bool:
    """Return whether its maker still fills it."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
