"""Build the parts of a guest's image: userland, a Debian kernel, a custom one."""

from __future__ import annotations

import gzip
import hashlib
import re
import shutil
import stat
import tarfile
import zlib
from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path

from yogurtbench.core.errors import HostError
from yogurtbench.core.records import canonical
from yogurtbench.hosts.vm import cpio
from yogurtbench.hosts.vm.cpio import Member
from yogurtbench.hosts.vm.image import recipe
from yogurtbench.hosts.vm.image.mmdebstrap import extract

#: What modprobe reads, of all that depmod writes.
_INDEX = "modules.dep.bin"
#: In boot, or from Debian's 6.19 on among the modules.
_BZIMAGE = r"(\./)?kernel/(.*/)?vmlinuz(-[^/]*)?"


def userland(into: Path) -> None:
    """Build root.cpio with the packages, smallest.cpio, the compiler and meta.json."""
    tar = into / "root.tar"
    extract(tar, recipe.PACKAGES, recipe.FINISH_USERLAND)
    for name, rename, files in (
        ("root", recipe.userland, recipe.FILES),
        ("smallest", recipe.smallest, recipe.SMALLEST_FILES),
    ):
        _save(into / f"{name}.cpio", [*cpio.from_tar(tar, rename), *files])
    _unpack(tar, recipe.COMPILER, into)
    _describe(into, packages=_package_list(tar))
    tar.unlink()


def _unpack(tar: Path, folder: str, into: Path) -> None:
    """Take a folder out of a tar: its files, and the folders that they are in."""
    for member in cpio.from_tar(tar, lambda path: path if path.startswith(f"{folder}/") else None):
        if stat.S_ISREG(member.mode):
            target = into / member.path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(member.content)
            target.chmod(stat.S_IMODE(member.mode))


def kernel(wanted: str, into: Path) -> None:
    """vmlinuz, modules.cpio, headers.cpio and meta.json of a Debian kernel: a release, or the
    newest of a series.
    """
    tar = into / "kernel.tar"
    extract(tar, recipe.KERNEL_TOOLS, recipe.FETCH_KERNEL, WANTED=wanted)
    (into / "vmlinuz").write_bytes(_from_tar(tar, _BZIMAGE))
    _save(into / "modules.cpio", cpio.from_tar(tar, recipe.modules))
    _save(into / "headers.cpio", cpio.from_tar(tar, recipe.headers))
    packages = _package_list(tar)
    headers = any(name.startswith("linux-headers-") for name in packages)
    _describe(into, packages=packages, release=kernel_release(into / "vmlinuz"), headers=headers)
    tar.unlink()


def own_kernel(bzimage: Path, into: Path) -> None:
    """vmlinuz, modules.cpio and meta.json of a kernel that somebody built themselves."""
    release = kernel_release(bzimage)
    shutil.copyfile(bzimage, into / "vmlinuz")
    _save(into / "modules.cpio", _own_modules(bzimage))
    _describe(into, packages={"own-kernel": own_kernel_key(bzimage)}, release=release)


def own_kernel_key(bzimage: Path) -> str:
    """Release and digest of a kernel and its modules (of these names, sizes and times: they may be
    many).
    """
    digest = hashlib.sha256(_content(bzimage))
    for path in _module_files(bzimage):
        facts = path.stat()
        digest.update(f"{path}\0{facts.st_size}\0{facts.st_mtime_ns}\0".encode())
    return f"own-{kernel_release(bzimage)}-{digest.hexdigest()[:12]}"


def kernel_release(bzimage: Path) -> str:
    """Return the release inside a bzImage (``kernel_version`` of arch/x86/boot.rst)."""
    head = _content(bzimage)[: 1 << 16]
    if head[0x202:0x206] != b"HdrS":
        raise HostError(
            f"{bzimage} is not a bzImage (an x86 Linux kernel as `make bzImage` builds it)"
        )
    start = int.from_bytes(head[0x20E:0x210], "little") + 0x200
    words = head[start:].partition(b"\0")[0].decode(errors="replace").split()
    if start == 0x200 or not words:
        raise HostError(
            f"{bzimage} does not say which release it is: it is damaged, or was cut off"
        )
    return words[0]


def modules_folder(bzimage: Path) -> Path | None:
    """Return where the modules of a custom kernel are: beside it, or around it where it lies
    among them.
    """
    release = kernel_release(bzimage)
    if (bzimage.parent.parent.name, bzimage.parent.name) == ("modules", release):
        return bzimage.parent
    beside = (folder / release for folder in _module_roots(bzimage))
    return next((folder for folder in beside if folder.is_dir()), None)


def describe_modules(bzimage: Path) -> str:
    """Return what lies beside a custom kernel, for one that lacks something."""
    if found := modules_folder(bzimage):
        return f"its modules are those of {found}"
    roots = [root for root in _module_roots(bzimage) if root.is_dir()]
    others = sorted({path.name for path in chain.from_iterable(root.iterdir() for root in roots)})
    release = kernel_release(bzimage)
    return (
        f"the modules there are of {', '.join(others)}, not of {release}"
        if others
        else "there are none there"
    )


def _module_roots(bzimage: Path) -> Iterator[Path]:
    """Beside the kernel, and beside the boot folder that it is in."""
    for folder in (
        bzimage.parent,
        *([bzimage.parent.parent] if bzimage.parent.name == "boot" else []),
    ):
        yield from (folder / "lib/modules", folder / "usr/lib/modules")


def _module_files(bzimage: Path) -> list[Path]:
    """Return modules and their indexes, without the kernel and its build tree."""
    folder = modules_folder(bzimage)
    found = folder.rglob("*") if folder else ()
    files = (path for path in found if path.is_file() and not path.is_symlink())
    return sorted(
        path for path in files if path.parent != folder or path.name.startswith("modules.")
    )


def _own_modules(bzimage: Path) -> Iterator[Member]:
    """Return modules with gzip unpacked, which Debian's modprobe does not read.

    Without an index, which modprobe does not do without, the guest makes one (guest/init).
    """
    folder = modules_folder(bzimage)
    files = _module_files(bzimage)
    zipped = any(path.suffix == ".gz" for path in files)
    for path in files:
        if not (zipped and path.name == _INDEX):
            where = f"usr/lib/modules/{kernel_release(bzimage)}/{path.relative_to(folder or path)}"
            content = path.read_bytes()
            yield cpio.file(
                where.removesuffix(".gz"),
                _unzipped(path, content) if path.suffix == ".gz" else content,
            )


def _unzipped(path: Path, content: bytes) -> bytes:
    try:
        return gzip.decompress(content)
    except (OSError, EOFError, zlib.error) as error:
        raise HostError(f"the module {path} is damaged: {error}") from None


def _content(bzimage: Path) -> bytes:
    try:
        return bzimage.read_bytes()
    except OSError as error:
        raise HostError(f"the kernel {bzimage} cannot be read: {error.strerror}") from None


def _save(target: Path, members: Iterable[Member]) -> None:
    with target.open("wb") as out:
        cpio.write(out, cpio.sorted_with_folders(members))


def _describe(into: Path, **facts: object) -> None:
    (into / "meta.json").write_text(canonical(facts))


def _package_list(tar: Path) -> dict[str, str]:
    return recipe.packages(_from_tar(tar, rf"(.*/)?{recipe.PACKAGE_LIST}").decode())


def _from_tar(tar: Path, pattern: str) -> bytes:
    """Return the content of the first member with a matching path."""
    with tarfile.open(tar) as opened:
        content = opened.extractfile(
            next(m for m in opened if m.isfile() and re.fullmatch(pattern, m.name))
        )
        assert content is not None
        return content.read()
