"""The sessions of ``./yb test``, run in the environment that yb made: bcc comes from the system's
Python.
"""

import argparse
import atexit
import os
import shutil
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import nox

nox.options.default_venv_backend = "none"
nox.options.sessions = ["lint", "suite"]


@nox.session
def lint(session: nox.Session) -> None:
    """ruff: style and format; import-linter: each package imports only what stands below it."""
    session.run(sys.executable, "-I", "-m", "ruff", "check", ".")
    session.run(sys.executable, "-I", "-m", "ruff", "format", "--check", ".")
    session.run(
        sys.executable,
        "-I",
        "-c",
        "from importlinter.cli import lint_imports_command as lint; lint()",
    )


@nox.session
def types(session: nox.Session) -> None:
    """mypy, strict."""
    session.run(sys.executable, "-I", "-m", "mypy")


@nox.session
def suite(session: nox.Session) -> None:
    """All tests of the sessions tests, commands, root and vm: while one waits another computes.

    The sessions types and regression run beside them. What measures CPU time runs alone, at the
    end.
    """
    _ensure(session, "chromium", "cpio", "git", "mkfs.ext4")
    with _booting_guests(session), _running_beside(session, "types", "regression"):
        _pytest(session, "not alone", *_file_by_file())
    _pytest(session, "alone", *([] if session.posargs else ["tests/loads"]))


@contextmanager
def _running_beside(session: nox.Session, *others: str) -> Iterator[None]:
    """Run other sessions beside the tests, and print what they said at the end.

    Not beside tests that were chosen.
    """
    if session.posargs:
        yield
        return
    argv = [sys.executable, "-I", "-m", "nox", "--session", *others]
    with (
        tempfile.TemporaryFile() as said,
        subprocess.Popen(argv, stdout=said, stderr=subprocess.STDOUT) as beside,
    ):
        try:
            yield
            beside.wait()
        finally:
            beside.terminate()
            beside.wait()
            said.seek(0)
            print(said.read().decode(errors="replace"), flush=True)
    if beside.returncode:
        session.error(f"of {' and '.join(others)} one failed, see above")


@contextmanager
def _booting_guests(session: nox.Session) -> Iterator[None]:
    """Boot and save the guests that the tests resume, while other tests run.

    A test that needs one waits for it. Tests that were chosen boot theirs themselves.
    """
    if session.posargs:
        yield
        return
    with subprocess.Popen([sys.executable, "-I", "tools/boot_guests.py"]) as booting:
        yield
    if booting.returncode:
        session.error("the guests could not be booted")


@nox.session
def tests(session: nox.Session) -> None:
    """Pure code, in this process: what to run after each change."""
    _ensure(session, "cpio")
    _pytest(session, "not vm and not root and not commands", *_side_by_side("worksteal"))


@nox.session
def commands(session: nox.Session) -> None:
    """Commands as processes of their own, shells, and the report in a real browser."""
    _ensure(session, "chromium", "cpio")
    _pytest(session, "commands and not vm and not root", *_side_by_side("worksteal"))


def _ensure(session: nox.Session, *things: str) -> None:
    missing = [thing for thing in things if not shutil.which(thing)]
    if missing:
        _install(session, *missing)


def _install(session: nox.Session, *things: str) -> None:
    """Install things by their words in packages.txt where apt can; elsewhere say what would."""
    from yogurtbench.core import install_hints

    if os.geteuid() or install_hints.distribution().family not in ("debian", "ubuntu"):
        session.error(f"{' and '.join(things)} are missing: {install_hints.how_to_get(*things)}")
    packages = [install_hints.package(thing) for thing in things]
    session.run(
        "apt-get",
        "-y",
        "-qq",
        "--no-install-recommends",
        "install",
        *packages,
        external=True,
        silent=True,
    )


@nox.session
def root(session: nox.Session) -> None:
    """Real namespaces on this kernel; a trial mostly waits, so three tests at a time.

    What measures CPU time runs alone.
    """
    _ensure(session, "mkfs.ext4")
    _pytest(session, "root and not alone", *_side_by_side("worksteal", 3))
    _pytest(session, "root and alone")


@nox.session
def vm(session: nox.Session) -> None:
    """Real netkit in the guest.

    Three files side by side: an emulated guest keeps about one core busy, and waits now and then.
    """
    _ensure(session, "cpio")
    # Each process would read all the tests only to leave them out.
    folder = [] if session.posargs else ["tests/guest"]
    with _booting_guests(session):
        _pytest(session, "vm", *_file_by_file(), *folder)


#: Each session's times, as JUnit's XML; gone with this process.
_times = tempfile.TemporaryDirectory()


def _pytest(session: nox.Session, marked: str, *options: str) -> None:
    """Run the tests that carry a marker, and keep how long each took."""
    times = ["-o", "junit_duration_report=total", f"--junitxml={_times.name}/{marked}.xml"]
    session.run(
        sys.executable, "-I", "-m", "pytest", "-m", marked, *options, *times, *session.posargs
    )


@atexit.register
def _print_slowest() -> None:
    """Print the ten slowest tests of all sessions, their fixtures included."""
    cases: list[ET.Element] = []
    for path in Path(_times.name).glob("*.xml"):
        cases += ET.parse(path).iter("testcase")  # noqa: S314
    slowest = sorted(cases, key=lambda case: float(case.get("time", 0)), reverse=True)[:10]
    if slowest:
        print("the ten slowest tests:")
    for case in slowest:
        print(f"{float(case.get('time', 0)):7.1f} s  {case.get('classname')}::{case.get('name')}")


def _side_by_side(share: str, most: int = 2) -> list[str]:
    """So many tests at a time, at most two a CPU; ``share``: how pytest-xdist deals them out."""
    return ["-n", str(min(most, 2 * (os.cpu_count() or 1))), "--dist", share]


def _file_by_file() -> list[str]:
    """Three files at a time, in the order of tests/conftest.py."""
    return [*_side_by_side("loadfile", 3), "--no-loadscope-reorder"]


@nox.session
def fuzz(session: nox.Session) -> None:
    """100,000 random matrices, outputs, messages, lines and baselines, 5,000 reports: no
    traceback. ``YOGURTBENCH_FUZZ``: how many instead.
    """
    options = ("--hypothesis-profile=fuzz", "-o", "timeout=0")
    _pytest(session, "fuzz", *_side_by_side("worksteal"), *options)


@nox.session
def regression(session: nox.Session) -> None:
    """What the programs of bpf/ cost more than those of --base REV (the branch point from main), in
    today's guest.
    """
    _ensure(session, "git")
    base = _base(session)
    session.log(f"the programs of {base} against those of the working tree")
    with tempfile.TemporaryDirectory() as scratch:
        session.run("git", "archive", "--output", f"{scratch}/bpf.tar", base, "bpf", external=True)
        shutil.unpack_archive(f"{scratch}/bpf.tar", scratch)
        stored = ["--baseline", "results/baselines/regression.json"]
        both = [
            "check",
            "experiments/regression.yaml",
            "--base-programs",
            f"{scratch}/bpf",
            *stored,
        ]
        session.run(sys.executable, "-I", "-m", "yogurtbench", *both, "--jobs", "2")


def _base(session: nox.Session) -> str:
    """``--base REV``, or where this branch left main; on main itself the commit before."""
    options = argparse.ArgumentParser(prog="nox -s regression --")
    options.add_argument("--base", default="")
    if named := options.parse_args(session.posargs).base:
        return str(named)
    asked = [f"{side}main" for side in ("origin/", "")]
    revisions = {name: _revision(f"{name}") for name in (*asked, "HEAD", "HEAD^")}
    for main in asked:
        if (
            revisions[main]
            and (found := _git("merge-base", main, "HEAD"))
            and found != revisions["HEAD"]
        ):
            return found
    return revisions["HEAD^"] or revisions["HEAD"]


def _revision(name: str) -> str:
    return _git("rev-parse", "--verify", "--quiet", f"{name}^{{commit}}")


def _git(*arguments: str) -> str:
    """What git says; empty where it refuses."""
    done = subprocess.run(["git", *arguments], capture_output=True, text=True, check=False)
    return done.stdout.strip()


@nox.session
def hosts(session: nox.Session) -> None:
    """Debian 13 as a host, in a root that mmdebstrap builds: doctor, native veth, netkit.

    And the Containerfile.
    """
    session.run(sys.executable, "-P", "tools/hosts.py", *session.posargs)
    if not session.posargs:
        session.run(sys.executable, "tools/container.py")


@nox.session
def kills(session: nox.Session) -> None:
    """SIGKILL at random moments, then --resume: 100 times natively, 10 times over a guest."""
    session.run(sys.executable, "benchmarks/kills.py", *session.posargs)


@nox.session
def soak(session: nox.Session) -> None:
    """Two hours of short native trials: memory, descriptors, kernel objects and time a trial."""
    session.run(sys.executable, "benchmarks/soak.py", *session.posargs)


@nox.session
def power(session: nox.Session) -> None:
    """Whether real native runs find a slowdown of a tenth: twenty of them, over an hour on a quiet
    machine.
    """
    session.run(sys.executable, "benchmarks/power.py", *session.posargs)


@nox.session
def bench(session: nox.Session) -> None:
    """Our own speed, as ratios: guest boot, native overhead, start-up of the command."""
    session.run(sys.executable, "benchmarks/bench.py", *session.posargs)
