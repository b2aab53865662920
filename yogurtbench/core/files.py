"""Write files that people name: what may be overwritten, and the error where it fails."""

from __future__ import annotations

import errno
import fcntl
import os
import secrets
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
#: Ends the names of folders that are gone when what is written in them is whole.
PART = ".part"
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


def replace_file(
    path: Path, write: Callable[[Path], object], then: str = "", *, follow: bool = True
) -> Path:
    """Let ``write`` make the file, whole or not at all.

    ``follow``: a symbolic link that a person named stays one. In a run folder, which others may
    have made, no link is followed: one in the file's place is replaced.

    Raises as :func:`raise_unwritable` says.
    """
    target = Path(os.path.realpath(path)) if follow else path
    try:
        with _private_folder(target.parent, follow=follow) as (parent, private, inside):
            write(inside / target.name)
            give_to_owner_of(parent, inside / target.name)
            os.rename(target.name, target.name, src_dir_fd=private, dst_dir_fd=parent)
    except OSError as error:
        raise raise_unwritable(path, error, then=then) from error
    return path


def write_text(path: Path, text: str, then: str = "", *, follow: bool = True) -> Path:
    """Write a text, whole or not at all (see :func:`replace_file`)."""
    return replace_file(
        path, lambda part: part.write_text(text, encoding="utf-8"), then, follow=follow
    )


@contextmanager
def _private_folder(parent: Path, *, follow: bool) -> Iterator[tuple[int, int, Path]]:
    """Yield descriptors of ``parent`` and of a new folder in it that nobody else can enter.

    The path of the new folder goes through its descriptor: whoever may rename things in ``parent``
    cannot lead what is written elsewhere. It is gone afterwards, with what is left in it.
    """
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
    outer = os.open(parent, flags if follow else flags | os.O_NOFOLLOW)
    name = f".{secrets.token_hex(8)}{PART}"
    try:
        os.mkdir(name, 0o700, dir_fd=outer)
        inner = os.open(name, flags | os.O_NOFOLLOW, dir_fd=outer)
        through = Path("/proc/self/fd", str(inner))
        try:
            fcntl.flock(inner, fcntl.LOCK_EX)  # in use: see leftovers.find
            yield outer, inner, through if through.exists() else parent / name
        finally:
            _empty(inner)
            os.close(inner)
            with suppress(OSError):
                os.rmdir(name, dir_fd=outer)
    finally:
        os.close(outer)


def _empty(folder: int) -> None:
    for left in os.listdir(folder):
        with suppress(OSError):
            os.unlink(left, dir_fd=folder)


def open_file(path: Path, flags: int = os.O_RDONLY) -> int:
    """Return a descriptor of a regular file of its folder's owner, opened through no link.

    Raises MatrixError where it is another kind of file, HostError where the machine refuses.
    """
    links = getattr(os, "O_NOFOLLOW", 0)
    try:
        descriptor = os.open(path, flags | links | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        if path.is_symlink():
            raise MatrixError(
                f"{path}: a symbolic link, and a run folder's files are read and written through "
                "none; put the file itself there"
            ) from error
        what = "read" if flags == os.O_RDONLY else "written"
        raise raise_unwritable(path, error, what) from error
    why = _why_untrusted(os.fstat(descriptor), path.parent)
    if why:
        os.close(descriptor)
        raise MatrixError(f"{path}: {why}")
    return descriptor


def _why_untrusted(found: os.stat_result, folder: Path) -> str:
    """Return why a file in a run folder is neither read nor written; empty where it is."""
    if not stat.S_ISREG(found.st_mode):
        return "a folder, a device or a pipe, not a file"
    if found.st_uid != folder.stat().st_uid:
        return "belongs to another user than its folder, so it is neither read nor written"
    return ""


def read_bytes(path: Path) -> bytes:
    """Return a run folder's file (see :func:`open_file`)."""
    with os.fdopen(open_file(path), "rb") as file, explaining_errors(path, "read"):
        return file.read()


def sync(path: Path) -> None:
    """Return when a file or folder is on the disk (fsync(2))."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def make_folders(path: Path) -> None:
    """Make a new folder and those above it, on the disk when this returns.

    Under sudo what is made belongs to the user who called it. Raises FileExistsError.
    """
    missing = [path, *(above for above in path.parents if not above.exists())]
    for folder in reversed(missing):
        folder.mkdir(exist_ok=folder != path)
        give_to_caller(folder)
        sync(folder.parent)


def give_to_owner_of(folder: Path | int, path: Path) -> None:
    """Give what root made to the owner of the folder (its path or descriptor) it belongs into."""
    owner = os.stat(folder)
    _give(path, owner.st_uid, owner.st_gid)


def give_to_caller(path: Path) -> None:
    """Give a file or folder that root made to the user who called sudo(8), if one did."""
    names = ("SUDO_UID", "SUDO_GID")
    user, group = (os.environ.get(name, "") for name in names)
    if user.isdecimal() and group.isdecimal():
        _give(path, int(user), int(group))


def _give(path: Path, user: int, group: int) -> None:
    if os.geteuid() == 0:
        with suppress(OSError):  # a file system without owners
            os.chown(path, user, group, follow_symlinks=False)
