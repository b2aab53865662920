"""Folders and files that are built once and kept, each whole whatever interrupts building."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

from filelock import FileLock, Timeout

from yogurtbench.core import files, leftovers, paths
from yogurtbench.core.errors import HostError
from yogurtbench.hosts.vm import build_progress

Say = Callable[[str], None]
#: What a kind is called in sentences, where its own word says too little.
_NAMES = {"saved": "saved state"}


def cache_path(kind: str, name: str) -> Path:
    """Return where the guest's folder or file of this kind and name is, or would be."""
    return paths.private_cache() / "guest" / kind / name


def existing_parent(path: Path) -> Path:
    """Return the nearest folder above a path that there is."""
    return next(parent for parent in path.absolute().parents if parent.is_dir())


def ensure_folder(kind: str, name: str, build: Callable[[Path], None], say: Say) -> Path:
    """Return the guest's folder of this kind and name.

    Where it is missing, ``build`` fills it, guarded against other runs.

    Raises HostError where it cannot be written.
    """
    wanted = cache_path(kind, name)
    if wanted.is_dir():
        return wanted
    try:
        wanted.parent.mkdir(parents=True, exist_ok=True)
        with _locked(wanted.parent / f"{name}.lock", say):
            if not wanted.is_dir():
                say(
                    f"building the guest's {_NAMES.get(kind, kind)} ({name}), once; kept in "
                    f"{wanted.parent}"
                )
                with (
                    build_progress.showing(kind, say)
                    if kind in build_progress.USUAL
                    else contextlib.nullcontext()
                ):
                    _build(wanted, build)
    except OSError as error:
        raise HostError(
            f"the guest's {kind} cannot be kept in {wanted.parent}: {error.strerror or error}"
        ) from None
    return wanted


def kept_path(kind: str, name: str) -> Path | None:
    """Return the folder or file of this kind and name, where it is there; builds nothing."""
    wanted = cache_path(kind, name)
    return wanted if wanted.exists() else None


def ensure_file(kind: str, name: str, content: Callable[[], bytes], *, keep: int) -> Path:
    """Return the guest's file of this kind and name, and only the newest ``keep`` of the kind.

    Raises HostError where it cannot be written.
    """
    wanted = cache_path(kind, name)
    try:
        if not wanted.exists():
            wanted.parent.mkdir(parents=True, exist_ok=True)
            files.replace_file(wanted, lambda part: part.write_bytes(content()))
            keep_newest(kind, keep)
    except OSError as error:
        raise HostError(f"{wanted} cannot be written: {error.strerror or error}") from None
    return wanted


def _build(wanted: Path, build: Callable[[Path], None]) -> None:
    leftovers.remove_former(wanted.parent, wanted.name)
    with leftovers.make_folder(wanted.parent, wanted.name) as making:
        whole = making / "whole"
        whole.mkdir()
        build(whole)
        whole.rename(wanted)


@contextlib.contextmanager
def _locked(path: Path, say: Say) -> Iterator[None]:
    lock = FileLock(path)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        say("waiting for another run that is building the guest")
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def keep_newest(kind: str, keep: int) -> None:
    """Remove all folders and files of a kind but the newest, and what belongs to their builds."""
    everything = cache_path(kind, "").iterdir()
    made = [path for path in everything if not path.name.startswith(".") and path.suffix != ".lock"]
    newest_first = sorted(made, key=_modified, reverse=True)
    for path in newest_first[keep:]:
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def _modified(path: Path) -> float:
    with contextlib.suppress(FileNotFoundError):  # another run removed it
        return path.stat().st_mtime
    return 0.0
