"""Write files that people name: what may be overwritten, and the error where it fails."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from yogurtbench.core.errors import HostError, MatrixError, YogurtError

#: What is wrong with a name that somebody gave; all else is the machine's: full, read-only, another
#: user's, broken.
NAMING = frozenset(
    {
        errno.ENOENT,
        errno.ENOTDIR,
        errno.EISDIR,
        errno.EEXIST,
        errno.ENAMETOOLONG,
        errno.ELOOP,
        errno.EINVAL,
    }
)
#: What a machine refuses, whatever our code does.
REFUSED = NAMING | {
    errno.EACCES,
    errno.EPERM,
    errno.EROFS,
    errno.ENOSPC,
    errno.EDQUOT,
    errno.EFBIG,
    errno.EIO,
    errno.ENODEV,
    errno.ENXIO,
    errno.ESTALE,
    errno.EMFILE,
    errno.ENFILE,
    errno.ENOMEM,
    errno.ETXTBSY,
    errno.EBUSY,
    errno.EXDEV,
    errno.ENOLCK,
    errno.EMLINK,
    errno.ENOTEMPTY,
    errno.EOVERFLOW,
}


def raise_unwritable(
    path: Path | str, error: OSError, what: str = "written", then: str = ""
) -> YogurtError:
    """Return the error for a file that cannot be read or written: ``then`` ends the sentence.

    A MatrixError where the name is wrong, a HostError where the machine is full, read-only or
    another user's.
    """
    kind = MatrixError if error.errno in NAMING else HostError
    return kind(f"{path}: cannot be {what} ({reason_of(error)}){then}")


def reason_of(error: OSError) -> str:
    """Return the system's words for an error; those of libraries that carry its number, too."""
    return os.strerror(error.errno) if error.errno else str(error)


@contextmanager
def explaining_errors(path: Path, what: str = "written", then: str = "") -> Iterator[None]:
    """Within it an OSError becomes a sentence about ``path``, or about the file that the error
    names.
    """
    try:
        yield
    except OSError as error:
        named = os.fsdecode(error.filename) if isinstance(error.filename, str | bytes) else path
        raise raise_unwritable(named, error, what, then) from error


def check_target(path: Path, is_ours: Callable[[Path], bool], what: str) -> None:
    """Raise MatrixError where a file that is not ours would be overwritten."""
    try:
        mode = path.stat().st_mode
        if stat.S_ISDIR(mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        ours = stat.S_ISREG(mode) and is_ours(path)
    except FileNotFoundError:
        return
    except OSError as error:
        raise raise_unwritable(path, error) from error
    if not stat.S_ISREG(mode):
        raise MatrixError(f"{path}: cannot be written (a device or a pipe, not a file)")
    if not ours:
        raise MatrixError(
            f"{path}: is there already and is not {what}, so it is not overwritten; name "
            "another file"
        )


def starts_with(path: Path, mark: bytes, within: int = 4096) -> bool:
    """Return whether ``mark`` stands near a file's beginning."""
    with path.open("rb") as file:
        return mark in file.read(within)


def replace_file(path: Path, write: Callable[[Path], object], then: str = "") -> Path:
    """Let ``write`` make the file, whole or not at all; a symbolic link stays one.

    Raises as :func:`refused` says.
    """
    target = Path(os.path.realpath(path))
    part = target.with_name(f".{target.name[:200]}.{os.getpid()}.part")
    try:
        write(part)
        part.replace(target)
    except OSError as error:
        raise raise_unwritable(path, error, then=then) from error
    finally:
        with suppress(OSError):
            part.unlink(missing_ok=True)
    return path


def write_text(path: Path, text: str, then: str = "") -> Path:
    """Write a text, whole or not at all."""
    return replace_file(path, lambda part: part.write_text(text, encoding="utf-8"), then)
