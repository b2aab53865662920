"""Debian packages by mmdebstrap: as root where we are it, else in user namespaces."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from yogurtbench.core import install_hints
from yogurtbench.core import process as shell
from yogurtbench.core.errors import HostError
from yogurtbench.core.process import CommandFailed
from yogurtbench.hosts import requirements
from yogurtbench.hosts.vm import build_progress
from yogurtbench.hosts.vm.image import apt_sources, recipe

#: What building without root takes; Debian's keys are there with Debian, and have to be brought
#: elsewhere.
_BUILDERS = ("mmdebstrap", "debian-keyring", "uidmap")
_SECONDS = 1800.0
_PATIENCE = 30.0
#: What apt says where there is no way to an archive.
_NO_NETWORK = re.compile(
    r"Temporary failure resolving|Could not resolve|Could not connect|Cannot initiate the "
    r"connection"
    r"|Unable to connect|Network is unreachable|No route to host|[Tt]imed out"
)
_UNREACHED = (
    "there is no network, or none that reaches Debian's packages (once there is, the "
    "next run begins anew)"
)
#: What apt says of an archive that does not have a release, and of one whose signature it cannot
#: check.
_NO_RELEASE = re.compile(
    r"The repository '(\S+) (\S+) Release' (?:does not have|no longer has) a Release file"
)
_HAS_NO_RELEASE = (
    "{0} has no {1}, and the guest is Debian 13: name a mirror that has it in "
    "the machine's apt sources"
)
_NO_KEY = re.compile(r"NO_PUBKEY|public key is not available|Missing key [0-9A-F]")
_TOO_OLD_KEYS = (
    "the machine's keys of Debian's archive are older than Debian 13: upgrade its "
    "debian-archive-keyring"
)
_PROGRESS = (
    "I: ",
    "W: skipping",
    "W: Download is",
    "E: setup failed: E: command failed",
    "E: mmdebstrap failed to run",
    "Unsuccessful stat on filename",
    "' exec ",
)


def extract(tar: Path, packages: Sequence[str], finish: str, **environment: str) -> None:
    """Extract packages, unconfigured, into a tar.

    ``finish`` is a shell script run with the root as $1.
    """
    found = apt_sources.machine_sources()
    if not found:
        requirements.require([requirements.debians_keys()])
    argv = [
        "mmdebstrap",
        f"--mode={_mode()}",
        "--variant=extract",
        "--format=tar",
        f"--include={','.join(packages)}",
        f"--setup-hook={recipe.MERGE_USR}",
        f"--extract-hook={finish}",
        *(f"--aptopt={option}" for option in apt_sources.transport_options()),
        "" if found else recipe.SUITE,
        str(tar),
        *found,
    ]
    try:
        _run_to_the_end(argv, {"SOURCE_DATE_EPOCH": "1", **environment})
    except CommandFailed as failure:
        raise HostError(f"the guest could not be built: {_why(failure)}") from None


def _why(failure: CommandFailed) -> str:
    """Tell what went wrong, in our words where we know what it means."""
    said = failure.completed.stderr
    if found := _NO_RELEASE.search(said):
        return _HAS_NO_RELEASE.format(*found.groups())
    if _NO_KEY.search(said):
        return _TOO_OLD_KEYS
    unreached = f"{_UNREACHED}; " if _NO_NETWORK.search(said) else ""
    return f"{unreached}mmdebstrap {failure.why}: {_last_words(failure)}"


def _run_to_the_end(argv: Sequence[str], environment: Mapping[str, str]) -> None:
    """Like shell.run, but an interrupted mmdebstrap gets the time to clear its own files away."""
    asked_to_end = [
        "setpriv",
        "--pdeathsig",
        "TERM",
        *argv,
    ]  # where we are killed, it clears its files away likewise
    process = shell.start(asked_to_end, environment=environment, heard=build_progress.heard)
    try:
        done = process.wait(_SECONDS)
    except BaseException:
        with contextlib.suppress(ProcessLookupError, subprocess.TimeoutExpired):
            os.killpg(process.process.pid, signal.SIGINT)
            process.process.wait(_PATIENCE)
        process.end()
        raise
    if done.code:
        raise CommandFailed(done, f"ended with exit code {done.code}")


def _last_words(failure: CommandFailed) -> str:
    """Return what went wrong, without mmdebstrap's own progress and its echo of our scripts."""
    scripts = set("\n".join(failure.completed.argv).splitlines())
    lines = [line for line in failure.completed.stderr.strip().splitlines() if line not in scripts]
    return " | ".join([line for line in lines if not line.startswith(_PROGRESS)][-4:] or lines[-2:])


def _mode() -> str:
    """Root where we are it; else mmdebstrap's unshare mode.

    Raises HostError saying what that lacks.
    """
    if not shutil.which("mmdebstrap"):
        raise HostError(
            f"building the guest needs mmdebstrap: {install_hints.how_to_get(*_BUILDERS)}"
        )
    if os.geteuid() == 0:
        return "root"
    if not shutil.which("newuidmap"):
        raise HostError(
            f"building the guest without root needs newuidmap: {install_hints.how_to_get('uidmap')}"
        )
    requirements.require(requirements.to_build_without_root())
    return "unshare"
