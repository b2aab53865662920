"""The guest's image: built once by mmdebstrap, kept in the cache, fingerprinted.

Its parts are kept apart, so that another kernel rebuilds no userland:

- userland: Debian packages, extracted and pruned
- kernel: bzImage, modules, headers for bcc
- the overlay (hosts.vm.overlay): this package and what its agent imports, remade when a file of it
  changes
"""

from __future__ import annotations

import hashlib
import json
import platform
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from yogurtbench.core import paths
from yogurtbench.core.errors import HostError
from yogurtbench.core.records import canonical
from yogurtbench.hosts.vm import cache
from yogurtbench.hosts.vm.cache import Say
from yogurtbench.hosts.vm.image import build, recipe

_HERE = Path(__file__).parent
#: Whatever decides what an archive holds.
_RECIPE = ("recipe.py", "../cpio.py", "build.py")


@dataclass(frozen=True, slots=True)
class GuestImage:
    """A guest ready to boot: a kernel, its release, and the archives that make its initramfs, in
    order.

    ``fingerprint`` is 16 hex digits over package versions and recipe; ``packages`` are versions by
    name; ``smallest`` is an initramfs with a shell alone, ``headers`` the path of kernel headers
    inside the guest; ``advice`` is for who finds that the kernel lacks something; ``compiler`` is
    the guest's Python (see bytecode).
    """

    kernel: Path
    release: str
    archives: tuple[Path, ...]
    smallest: Path
    fingerprint: str
    packages: Mapping[str, str]
    headers: str = f"/{recipe.HEADERS}"
    advice: str = ""
    compiler: Path = Path("none")

    @property
    def size(self) -> int:
        """Bytes of the unpacked guest."""
        return sum(path.stat().st_size for path in self.archives)

    def lacks(self, what: Iterable[str], why: str) -> str:
        """Return a sentence about a kernel that has none of these things, ``why`` being who needs
        them.
        """
        return (
            f"the guest's kernel {self.release} has no {' and no '.join(what)}, {why}: "
            f"{self.advice}"
        )


#: How a part of the guest is had: its kind and name, what builds it, and who gets its lines.
_Get = Callable[[str, str, Callable[[Path], None], Say], Path]


def kept(kernel: str = "host") -> GuestImage | None:
    """Return the guest with a kernel where the cache has all of it.

    Builds nothing, and says nothing.
    """

    def get(kind: str, name: str, _build: Callable[[Path], None], _say: Say) -> Path:
        if found := cache.kept_path(kind, name):
            return found
        raise HostError(f"the guest's {kind} is not built yet")

    try:
        return ensure(kernel, say=lambda _: None, get=get)
    except HostError:
        return None


def ensure(kernel: str = "host", *, say: Say, get: _Get = cache.ensure_folder) -> GuestImage:
    """Return the guest with a kernel: ``host`` (our default), a Debian release or series, or the
    path of a bzImage.

    A custom bzImage brings drivers built in, or modules in ``lib/modules/<release>`` (or
    ``usr/lib/…``) beside it, as ``make modules_install INSTALL_MOD_PATH=.`` puts them. What the
    cache lacks is built; ``say`` gets a line. Raises HostError where it cannot be built.
    """
    if platform.machine() != "x86_64":
        raise HostError(
            f"the guest is made for x86_64, and this machine is {platform.machine()}: use "
            "--lab native"
        )
    kernel_part, headers = (
        _own_kernel(paths.expanded(Path(kernel)), say, get)
        if is_path(kernel)
        else _debian_kernel(kernel, say, get)
    )
    userland = get("userland", f"{recipe.SUITE}-{_recipe()}", build.userland, say)
    made = _image(userland, kernel_part, headers)
    return replace(made, advice=advice(kernel, made.release))


def is_path(kernel: str) -> bool:
    """Return whether a kernel is named by the path of its bzImage."""
    return "/" in kernel


def advice(kernel: str, release: str) -> str:
    """Return what to do about a kernel that lacks something."""
    if not is_path(kernel):
        return "take another kernel"
    return (
        f"build it into {kernel}, or put its module, built with it, into "
        f"lib/modules/{release} beside it "
        f"({build.describe_modules(Path(kernel))})"
    )


def _debian_kernel(kernel: str, say: Say, get: _Get) -> tuple[Path, Path]:
    """Return the folders of the kernel and of its headers.

    One and the same, but for a kernel whose headers are gone.
    """
    wanted = recipe.DEFAULT_KERNEL if kernel == "host" else kernel
    if not re.fullmatch(r"\d+\.\d+[\w.+~-]*", wanted):
        raise HostError(
            f"kernel '{kernel}': want host, a Debian release such as '6.12', or the path of a "
            "bzImage"
        )
    folder = get("kernel", f"{wanted}-{_recipe()}", lambda into: build.kernel(wanted, into), say)
    if _facts(folder).get("headers", True):
        return folder, folder
    if wanted == recipe.DEFAULT_KERNEL:
        raise HostError(
            f"no source has the headers of Debian's kernel {_facts(folder)['release']}, which "
            "bcc needs"
        )
    return folder, _debian_kernel("host", say, get)[1]


def _own_kernel(bzimage: Path, say: Say, get: _Get) -> tuple[Path, Path]:
    """Return the folders of the kernel and of headers that serve it: those of our default."""
    name = f"{build.own_kernel_key(bzimage)}-{_recipe()}"
    folder = get("kernel", name, lambda into: build.own_kernel(bzimage, into), say)
    return folder, _debian_kernel("host", say, get)[1]


def _image(userland: Path, kernel: Path, headers: Path) -> GuestImage:
    release = _facts(kernel)["release"]
    packages = {**_facts(userland)["packages"], **_facts(kernel)["packages"]}
    identity = canonical([packages, release, _recipe()]).encode()
    return GuestImage(
        kernel=kernel / "vmlinuz",
        release=release,
        archives=(userland / "root.cpio", headers / "headers.cpio", kernel / "modules.cpio"),
        smallest=userland / "smallest.cpio",
        fingerprint=hashlib.sha256(identity).hexdigest()[:16],
        packages=packages,
        compiler=userland / recipe.COMPILER,
    )


def _facts(part: Path) -> dict[str, Any]:
    facts: dict[str, Any] = json.loads((part / "meta.json").read_text())
    return facts


def _recipe() -> str:
    texts = b"".join((_HERE / name).read_bytes() for name in _RECIPE)
    return hashlib.sha256(texts + canonical(recipe.PACKAGES).encode()).hexdigest()[:12]
