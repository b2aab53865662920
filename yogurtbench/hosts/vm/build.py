"""The parts of a guest's image, each built into a folder that the cache gives: userland, a Debian kernel, one's own."""

from __future__ import annotations

import hashlib
import re
import shutil
import tarfile
from collections.abc import Iterable, Iterator
from pathlib import Path

from yogurtbench.hosts.vm import archive, recipe
from yogurtbench.hosts.vm.archive import Member
from yogurtbench.hosts.vm.bootstrap import extract
from yogurtbench.records import HostError, canonical

_BZIMAGE = r"(\./)?kernel/boot/vmlinuz-.*"


def userland(into: Path) -> None:
    """root.cpio with the packages, smallest.cpio with a shell alone, meta.json."""
    tar = into / "root.tar"
    extract(tar, recipe.PACKAGES, recipe.FINISH_USERLAND)
    for name, rename, files in (
        ("root", recipe.userland, recipe.FILES),
        ("smallest", recipe.smallest, recipe.SMALLEST_FILES),
    ):
        _save(into / f"{name}.cpio", [*archive.from_tar(tar, rename), *files])
    _describe(into, packages=_package_list(tar))
    tar.unlink()


def kernel(wanted: str, into: Path) -> None:
    """vmlinuz, modules.cpio, headers.cpio and meta.json of a Debian kernel: a release, or the newest of a series."""
    tar = into / "kernel.tar"
    extract(tar, recipe.KERNEL_TOOLS, recipe.FETCH_KERNEL, WANTED=wanted)
    (into / "vmlinuz").write_bytes(_from_tar(tar, _BZIMAGE))
    _save(into / "modules.cpio", archive.from_tar(tar, recipe.modules))
    _save(into / "headers.cpio", archive.from_tar(tar, recipe.headers))
    _describe(into, packages=_package_list(tar), release=kernel_release(into / "vmlinuz"))
    tar.unlink()


def own_kernel(bzimage: Path, into: Path) -> None:
    """vmlinuz, modules.cpio and meta.json of a kernel that somebody built themselves."""
    release = kernel_release(bzimage)
    shutil.copyfile(bzimage, into / "vmlinuz")
    _save(into / "modules.cpio", _own_modules(bzimage))
    _describe(into, packages={"own-kernel": own_kernel_key(bzimage)}, release=release)


def own_kernel_key(bzimage: Path) -> str:
    """Release and digest of a kernel and its modules (of these names, sizes and times: they may be many)."""
    digest = hashlib.sha256(_content(bzimage))
    for path in _module_files(bzimage):
        facts = path.stat()
        digest.update(f"{path}\0{facts.st_size}\0{facts.st_mtime_ns}\0".encode())
    return f"own-{kernel_release(bzimage)}-{digest.hexdigest()[:12]}"


def kernel_release(bzimage: Path) -> str:
    """The release inside a bzImage (the kernel's Documentation, arch/x86/boot.rst: ``kernel_version``)."""
    head = _content(bzimage)[: 1 << 16]
    if head[0x202:0x206] != b"HdrS":
        raise HostError(f"{bzimage} is not a bzImage (an x86 Linux kernel as `make bzImage` builds it)")
    start = int.from_bytes(head[0x20E:0x210], "little") + 0x200
    return head[start : head.index(b"\0", start)].decode().split()[0]


def _module_files(bzimage: Path) -> list[Path]:
    folder = bzimage.parent / "lib/modules" / kernel_release(bzimage)
    return sorted(path for path in folder.rglob("*") if path.is_file() and not path.is_symlink())


def _own_modules(bzimage: Path) -> Iterator[Member]:
    for path in _module_files(bzimage):
        yield archive.file(f"usr/{path.relative_to(bzimage.parent)}", path.read_bytes())


def _content(bzimage: Path) -> bytes:
    try:
        return bzimage.read_bytes()
    except OSError as error:
        raise HostError(f"the kernel {bzimage} cannot be read: {error.strerror}") from None


def _save(target: Path, members: Iterable[Member]) -> None:
    with target.open("wb") as out:
        archive.write(out, archive.sorted_with_folders(members))


def _describe(into: Path, **facts: object) -> None:
    (into / "meta.json").write_text(canonical(facts))


def _package_list(tar: Path) -> dict[str, str]:
    return recipe.packages(_from_tar(tar, rf"(.*/)?{recipe.PACKAGE_LIST}").decode())


def _from_tar(tar: Path, pattern: str) -> bytes:
    """The content of the first member with a matching path."""
    with tarfile.open(tar) as opened:
        content = opened.extractfile(next(m for m in opened if re.fullmatch(pattern, m.name)))
        assert content is not None
        return content.read()
