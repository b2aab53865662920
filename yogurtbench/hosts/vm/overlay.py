"""The second initramfs: init, our own source and what the agent imports, beside the image."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterator, Mapping
from importlib.util import find_spec
from itertools import chain
from modulefinder import ModuleFinder
from pathlib import Path

from yogurtbench.core import paths
from yogurtbench.core.errors import HostError, MatrixError
from yogurtbench.core.load_specs import LOADS
from yogurtbench.hosts.vm import bytecode, cache, cpio
from yogurtbench.hosts.vm.cpio import Member
from yogurtbench.hosts.vm.image import GuestImage

_HERE = Path(__file__).parent
_PACKAGE = _HERE.parent.parent
#: Where this package lies in the guest.
GUEST_HOME = "yogurt"
_PROGRAMS = f"{GUEST_HOME}/{_PACKAGE.name}/bpf"
#: Pure Python packages of the running interpreter that the agent imports.
_DEPENDENCIES = ("pyroute2", "platformdirs")
#: Imports everything that the package has; the agent names the modules that it uses.
_LEFT_EMPTY = f"{GUEST_HOME}/pyroute2/__init__.py"
_AGENT = _PACKAGE / "agent/__main__.py"
#: Characters of the programs of another time: packed, an order has room for them (ours have a
#: tenth).
_MOST = 400_000
#: Archives of earlier sources pile up; this many of the newest are kept.
_KEPT = 4


def build_overlay(guest: GuestImage, extra: Mapping[str, bytes] | None = None) -> Path:
    """Return the archive of init, our source, what the agent imports, bytecode and ``extra``.

    ``extra`` maps absolute guest paths to contents. Content-addressed: the same files give the same
    path.
    """
    ours = _own_members()
    guest_files = [cpio.file(path.lstrip("/"), content) for path, content in (extra or {}).items()]
    content = io.BytesIO()
    cpio.write(content, cpio.sorted_with_folders([*ours, *guest_files]))
    content.write(bytecode.archive(ours, guest.compiler))
    name = hashlib.sha256(content.getbuffer()).hexdigest()[:16]
    return cache.ensure_file("overlay", f"{name}.cpio", content.getvalue, keep=_KEPT)


def agent_digest() -> str:
    """Return a digest of what measures in the guest.

    The wire programs, which are measured, do not count.
    """
    code = (member for member in _own_members() if not member.path.startswith(_PROGRAMS))
    return hashlib.sha256(
        b"".join(member.path.encode() + member.content for member in code)
    ).hexdigest()[:16]


def _own_members() -> list[Member]:
    """init, this package, its programs, and the pure Python packages its agent imports."""
    init = cpio.file("init", (_HERE / "init").read_bytes(), executable=True)
    return [
        init,
        *_agent_modules(),
        *_programs(),
        *chain.from_iterable(map(_dependency, _DEPENDENCIES)),
    ]


#: What the package itself imports late, for whoever asks it for a run or a chart.
_FOR_NOTEBOOKS = ["yogurtbench.notebook", "yogurtbench.plot"]


def _agent_modules() -> list[Member]:
    """Return the agent and those modules of this package that it imports, however late.

    Another module's change is no news.
    """
    finder = ModuleFinder(path=[str(_PACKAGE.parent)], excludes=_FOR_NOTEBOOKS)
    finder.run_script(str(_AGENT))
    for spec in LOADS.values():  # loads.registry imports them by name
        finder.import_hook(f"yogurtbench.loads.{spec.module}")
    files = {getattr(found, "__file__", None) for found in finder.modules.values()}
    paths = sorted(Path(name) for name in files if name)
    return [_source(path, _PACKAGE) for path in paths if path.is_relative_to(_PACKAGE)]


def _source(path: Path, package: Path) -> Member:
    return cpio.file(
        f"{GUEST_HOME}/{path.relative_to(package.parent).as_posix()}", path.read_bytes()
    )


def _dependency(name: str) -> list[Member]:
    spec = find_spec(name)
    if spec is None or spec.origin is None:
        raise HostError(
            f"the guest needs the Python package {name}: reinstall yogurtbench with its "
            "dependencies"
        )
    package = Path(spec.origin).parent
    members = [_source(path, package) for path in sorted(package.rglob("*.py"))]
    return [cpio.file(m.path, b"") if m.path == _LEFT_EMPTY else m for m in members]


def read_base_programs(folder: Path) -> frozenset[tuple[str, str]]:
    """Return the wire programs of another time, each file's name and text.

    Raises MatrixError where the folder has none.
    """
    try:
        found = {name: content.decode() for name, content in _sources(folder)}
    except UnicodeDecodeError as error:
        raise MatrixError(f"{folder}: a program is not text ({error.reason})") from error
    if "yogurt.h" not in found:
        raise MatrixError(f"{folder}: there is no yogurt.h, so these are not the programs of bpf/")
    if sum(map(len, found.values())) > _MOST:
        raise MatrixError(f"{folder}: its programs have more than {_MOST >> 10} KiB together")
    return frozenset(found.items())


def _programs() -> list[Member]:
    """Return the wire programs."""
    return [
        cpio.file(f"{_PROGRAMS}/{name}", content)
        for name, content in _sources(paths.bundled("bpf"))
    ]


def _sources(folder: Path) -> Iterator[tuple[str, bytes]]:
    try:
        paths = sorted(folder.iterdir())
    except OSError as error:
        raise MatrixError(f"{folder}: cannot be read ({error.strerror})") from error
    yield from ((path.name, path.read_bytes()) for path in paths if path.suffix in (".c", ".h"))
