"""Record what a guest executes: a plugin of QEMU's (plugin/trace.c), compiled once, and its files.

The recording leaves the guest alone: its trials give the same values, to the last digit.
"""

from __future__ import annotations

import base64
import hashlib
import shutil
import subprocess
import tempfile
import time
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from yogurtbench.core import install_hints, paths, process
from yogurtbench.core.errors import HostError
from yogurtbench.core.process import CommandFailed
from yogurtbench.core.records import Attempt, Trial
from yogurtbench.hosts.vm import cache, qemu, snapshot
from yogurtbench.hosts.vm.cache import Say
from yogurtbench.hosts.vm.guest import Guest
from yogurtbench.hosts.vm.qemu import TraceFiles
from yogurtbench.hosts.vm.snapshot import Snapshot

_SOURCE = "trace.c"
_KIND, _PLUGIN = "plugin", "trace.so"
#: Versions of the plugin interface that trace.c is written for, the newest first.
_INTERFACES = (4, 3, 2, 1)
_COMPILERS = ("cc", "gcc", "clang")
_KEPT = 4
#: A machine without a guest, which takes the plugin or refuses it, and ends.
_ASKED = ("-M", "none", "-nodefaults", "-display", "none", "-qmp", "stdio")
_END = b'{"execute": "qmp_capabilities"}\n{"execute": "quit"}\n'
_SECONDS = 30.0
_SECONDS_OF_NAMES = 300.0


@dataclass(frozen=True, slots=True)
class Recorded:
    """What a traced trial left.

    ``blocks`` and ``steps`` are the plugin's files (plugin/trace.c), ``symbols`` lines of an
    address (hexadecimal) and the name of the kernel's function or loaded program that begins there,
    ``programs`` the C names of the wire's by their tags.
    """

    attempt: Attempt
    blocks: bytes
    steps: bytes
    symbols: str
    programs: dict[str, list[str]]


def record_trial(saved: Snapshot, trial: Trial, say: Say) -> Recorded:
    """Run a trial in a guest that goes on from a saved state, and record what it executes.

    Raises HostError where there is no C compiler, QEMU takes no plugin, or the guest dies.
    """
    plugin = ensure_plugin(say)
    built_in = _built_in_functions(saved)
    order = {"op": "trace", "trial": trial.to_json()}
    with tempfile.TemporaryFile() as blocks, tempfile.TemporaryFile() as steps:
        files = TraceFiles(plugin, blocks.fileno(), steps.fileno())
        with snapshot.resume(saved, order, files) as guest:
            symbols, programs, attempt = _answers(guest, trial)
        symbols = built_in + symbols
        return Recorded(attempt, _content(blocks), _content(steps), symbols, programs)


def _built_in_functions(saved: Snapshot) -> str:
    """Return the names of the functions of a guest's kernel, asked once and kept in the cache.

    They lie at the same addresses in every boot (nokaslr).
    """

    def ask() -> bytes:
        with snapshot.resume(saved, {"op": "names"}) as guest:
            return _unpacked(next(_events(guest, "symbols", _SECONDS_OF_NAMES))["symbols"]).encode()

    name = f"{saved.image.fingerprint}.txt"
    return cache.ensure_file("symbols", name, ask, keep=_KEPT).read_text()


def _answers(guest: Guest, trial: Trial) -> tuple[str, dict[str, list[str]], Attempt]:
    """Return the names of what was loaded, those of the wire's programs, and the attempt."""
    symbols, programs = "", {}
    for event in _events(guest, "attempt", 2 * trial.deadline):
        if event["event"] == "symbols":
            symbols, programs = _unpacked(event["symbols"]), event["programs"]
    return symbols, programs, Attempt.from_json(event["attempt"])


def _events(guest: Guest, last: str, seconds: float) -> Iterator[dict[str, Any]]:
    """Yield what the agent says up to an event of this name. Raises HostError."""
    deadline = time.monotonic() + seconds
    try:
        while True:
            event = guest.channel.receive(deadline - time.monotonic())
            yield event
            if event["event"] == last:
                return
    except TimeoutError:
        raise HostError(
            f"the recorded guest did not answer within {seconds:g} s: {guest.failure_reason()}"
        ) from None
    except EOFError:
        raise HostError(f"the guest died while recorded: {guest.failure_reason()}") from None


def _unpacked(symbols: str) -> str:
    return zlib.decompress(base64.b64decode(symbols)).decode(errors="replace")


def _content(file: IO[bytes]) -> bytes:
    file.seek(0)
    return file.read()


def ensure_plugin(say: Say) -> Path:
    """Return the plugin for this machine's QEMU, compiled where it is not kept.

    Raises HostError where there is no C compiler, or QEMU takes no plugin.
    """
    source = paths.bundled("plugin") / _SOURCE
    facts = [source.read_bytes(), qemu.qemu_version().encode()]
    name = hashlib.sha256(b"\0".join(facts)).hexdigest()[:16]

    def build(into: Path) -> None:
        _compile(source, into / _PLUGIN)
        cache.keep_newest(_KIND, _KEPT - 1)

    return cache.ensure_folder(_KIND, name, build, say) / _PLUGIN


def _compile(source: Path, target: Path) -> None:
    """Compile the plugin for the newest version of the interface that QEMU takes."""
    compiler = next(filter(shutil.which, _COMPILERS), None)
    if compiler is None:
        raise HostError(f"no C compiler for QEMU's plugin: {install_hints.how_to_get('compiler')}")
    words = ""
    for interface in _INTERFACES:
        argv = [compiler, "-O2", "-fPIC", "-shared", f"-DINTERFACE={interface}"]
        try:
            process.run([*argv, str(source), "-o", str(target)], timeout=_SECONDS)
        except CommandFailed as error:
            raise HostError(f"QEMU's plugin could not be compiled: {error}") from None
        if not (words := _refusal(target)):
            return
    raise HostError(f"{qemu.PROGRAM} {qemu.qemu_version()} takes no plugin of ours: {words}")


def _refusal(plugin: Path) -> str:
    """Return QEMU's words where it does not take a plugin; empty where it does."""
    with tempfile.TemporaryDirectory() as folder:
        files = f"blocks={folder}/blocks,steps={folder}/steps"
        argv = [qemu.PROGRAM, *_ASKED, "-plugin", f"{plugin},{files}"]
        try:
            done = subprocess.run(
                argv, input=_END, capture_output=True, timeout=_SECONDS, check=False
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            return str(error)
    return done.stderr.decode(errors="replace").strip() if done.returncode else ""
