"""Compile bytecode for the guest with the guest's own Python (see recipe).

It runs here by its own loader and with its own libraries, so it need not be this machine's version,
nor is root needed.
"""

from __future__ import annotations

import hashlib
import io
import marshal
import subprocess
from collections.abc import Iterable
from pathlib import Path

from yogurtbench.core.errors import HostError
from yogurtbench.hosts.vm import cache, cpio
from yogurtbench.hosts.vm.cpio import Member

#: What that Python does.
_SCRIPT = Path(__file__).parent / "guest_compiler.py"
#: A format of marshal's that every Python knows.
_FORMAT = 2
_SECONDS = 120.0
_KEPT = 4


def archive(members: Iterable[Member], compiler: Path) -> bytes:
    """Return an archive with the bytecode of the Python files among the members.

    Kept, by all that decides it.

    Raises HostError where the guest's Python does not run here.
    """
    asked = _asked(members)
    python = _content(compiler / "python3")
    name = hashlib.sha256(b"\0".join((_SCRIPT.read_bytes(), python, asked))).hexdigest()[:16]
    return cache.ensure_file(
        "bytecode", f"{name}.cpio", lambda: _packed(_compiled(asked, compiler)), keep=_KEPT
    ).read_bytes()


def compile_members(members: Iterable[Member], compiler: Path) -> list[Member]:
    """Return the bytecode of the Python files among the members.

    Raises HostError as :func:`archive`.
    """
    return _compiled(_asked(members), compiler)


def _asked(members: Iterable[Member]) -> bytes:
    sources = [
        (f"/{member.path}", member.content) for member in members if member.path.endswith(".py")
    ]
    return marshal.dumps(sources, _FORMAT)


def _packed(members: Iterable[Member]) -> bytes:
    content = io.BytesIO()
    cpio.write(content, cpio.sorted_with_folders(members))
    return content.getvalue()


def _compiled(asked: bytes, compiler: Path) -> list[Member]:
    tag, made = marshal.loads(_run(asked, compiler))  # noqa: S302  # our own script wrote it
    return [cpio.file(_path(source, tag), content) for source, content in made]


def _path(source: str, tag: str) -> str:
    folder, _, name = source.lstrip("/").rpartition("/")
    return f"{folder}/__pycache__/{name.removesuffix('.py')}.{tag}.pyc"


def _content(python: Path) -> bytes:
    try:
        return python.read_bytes()
    except OSError as error:
        raise HostError(f"the guest's Python is gone: {python}: {error.strerror}") from None


def _run(asked: bytes, compiler: Path) -> bytes:
    loader = [str(compiler / "ld-linux-x86-64.so.2"), "--library-path", str(compiler)]
    argv = [*loader, str(compiler / "python3"), "-B", "-s", "-S", "-P", str(_SCRIPT)]
    environment = {"PYTHONHOME": str(compiler), "PYTHONHASHSEED": "0", "LC_ALL": "C.UTF-8"}
    try:
        done = subprocess.run(
            argv, input=asked, capture_output=True, env=environment, timeout=_SECONDS, check=True
        )
    except subprocess.CalledProcessError as failure:
        words = failure.stderr.decode(errors="replace").strip().splitlines()
        raise HostError(
            f"the guest's Python could not compile here: {words[-1] if words else failure}"
        ) from None
    except (OSError, subprocess.TimeoutExpired) as error:
        raise HostError(f"the guest's Python does not run here: {error}") from None
    return done.stdout
