"""Write initramfs archives: cpio "newc" (the kernel's Documentation, buffer-format.rst).

Written here because an archive must come out the same, byte by byte, for the same packages: names
sorted, owners root, times and inode numbers fixed. Uncompressed: under emulation, unpacking costs
more than reading.
"""

from __future__ import annotations

import shutil
import stat
import tarfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

#: A member's time stamp. Python's bytecode in the guest is unchecked, so it need not mean anything.
_TIME = 1
#: The kernel takes archives one after another when each is padded to this.
_BLOCK = 512


@dataclass(frozen=True, slots=True)
class Member:
    """A member of an archive: path without leading slash, mode, content (symlink: target)."""

    path: str
    mode: int
    content: bytes = b""


def file(path: str, content: bytes, *, executable: bool = False) -> Member:
    """Describe a regular file."""
    return Member(path, stat.S_IFREG | (0o755 if executable else 0o644), content)


def symlink(path: str, target: str) -> Member:
    """Describe a symbolic link."""
    return Member(path, stat.S_IFLNK | 0o777, target.encode())


def folder(path: str) -> Member:
    """Describe a folder."""
    return Member(path, stat.S_IFDIR | 0o755)


def write(archive: IO[bytes], members: Iterable[Member]) -> None:
    """Write members as one padded archive; a folder must come before what is in it."""
    size = 0
    for inode, member in enumerate(members, start=1):
        size += archive.write(_entry(inode, member))
    size += archive.write(_entry(0, Member("TRAILER!!!", 0)))
    archive.write(bytes(-size % _BLOCK))


def sorted_with_folders(members: Iterable[Member]) -> list[Member]:
    """Members by path, the missing folders above them added.

    Of two with one path the last one counts.
    """
    known = {member.path: member for member in members}
    for path in list(known):
        for parent in list(Path(path).parents)[:-1]:
            known.setdefault(str(parent), folder(str(parent)))
    return [known[path] for path in sorted(known)]


def from_tar(tar: Path, rename: Callable[[str], str | None]) -> Iterator[Member]:
    """Yield the members of a tar, each under the name ``rename`` gives it.

    None leaves it out, devices are left out.

    A hard link becomes a symlink to its first name.
    """
    with tarfile.open(tar, mode="r:*") as opened:
        for info in opened:
            path = rename(_bare(info.name))
            if path and (member := _of_tar(opened, info, path)):
                yield member


def join(archives: Iterable[Path], out: IO[bytes]) -> None:
    """Concatenate archives into one initramfs."""
    for path in archives:
        with path.open("rb") as part:
            shutil.copyfileobj(part, out, 1 << 22)
    out.flush()


def _bare(name: str) -> str:
    return name.removeprefix("./").strip("/")


def _of_tar(opened: tarfile.TarFile, info: tarfile.TarInfo, path: str) -> Member | None:
    if info.isdir():
        return Member(path, stat.S_IFDIR | info.mode)
    if info.issym():
        return symlink(path, info.linkname)
    if info.islnk():
        return symlink(path, "/" + _bare(info.linkname))
    content = opened.extractfile(info)
    return Member(path, stat.S_IFREG | info.mode, content.read()) if content else None


def _entry(inode: int, member: Member) -> bytes:
    name = member.path.encode() + b"\0"
    fields = (inode, member.mode, 0, 0, 1, _TIME, len(member.content), 0, 0, 0, 0, len(name), 0)
    header = b"070701" + b"".join(b"%08X" % field for field in fields) + name
    return _padded(header) + _padded(member.content)


def _padded(content: bytes) -> bytes:
    return content + bytes(-len(content) % 4)
