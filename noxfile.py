"""The sessions of ``./yb test``, run in the environment that yb made: bcc comes from the system's Python."""

import os
import shutil
import sys

import nox

nox.options.default_venv_backend = "none"
nox.options.sessions = ["lint", "types", "tests", "wheel", "vm"]


@nox.session
def lint(session: nox.Session) -> None:
    """ruff: style and format."""
    session.run(sys.executable, "-m", "ruff", "check", ".")
    session.run(sys.executable, "-m", "ruff", "format", "--check", ".")


@nox.session
def types(session: nox.Session) -> None:
    """mypy, strict."""
    session.run(sys.executable, "-m", "mypy")


@nox.session
def tests(session: nox.Session) -> None:
    """Everything that needs no guest: pure code, real namespaces on this kernel, the report in a real browser."""
    missing = [package for package in ("chromium", "cpio") if not shutil.which(package)]
    if missing:
        install = ["apt-get", "install", "-y", "-qq", "--no-install-recommends", *missing]
        session.run(*install, external=True, silent=True)
    session.run(sys.executable, "-m", "pytest", "-m", "not vm and not root", *_side_by_side(), *session.posargs)
    # One after the other: these measure on this kernel.
    session.run(sys.executable, "-m", "pytest", "-m", "root", *session.posargs)


@nox.session
def vm(session: nox.Session) -> None:
    """Real netkit in the guest; two files side by side, since an emulated guest keeps about one core busy."""
    session.run(sys.executable, "-m", "pytest", "-m", "vm", *_side_by_side(), *session.posargs)


def _side_by_side() -> list[str]:
    """Two files at a time, in the order of their names, since the longest comes early."""
    return ["-n", str(min(2, os.cpu_count() or 1)), "--dist", "loadfile", "--no-loadscope-reorder"]


@nox.session
def wheel(session: nox.Session) -> None:
    """The package as a wheel, used from an empty folder."""
    session.run(sys.executable, "tests/wheel.py")


@nox.session
def bench(session: nox.Session) -> None:
    """Our own speed, as ratios: guest boot, native overhead, start-up of the command."""
    session.run(sys.executable, "tests/bench.py", *session.posargs)
