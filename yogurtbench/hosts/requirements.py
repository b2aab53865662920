"""Requirements of the guest: a host raises the first that is missing, doctor prints all.

Each check says what is there, what is lacking, the sentence that ends a run without it, and the
command that fixes it.
"""

from __future__ import annotations

import os
import pwd
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from yogurtbench.core import process
from yogurtbench.core.errors import HostError
from yogurtbench.core.install_hints import as_root, how_to_get, install_command
from yogurtbench.core.process import CommandFailed

DEBIANS_KEYS = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
_SWITCHES = {
    "kernel.unprivileged_userns_clone": "1",
    "kernel.apparmor_restrict_unprivileged_userns": "0",
    "user.max_user_namespaces": "10000",
}


@dataclass(frozen=True, slots=True)
class Requirement:
    """Something that a lab needs.

    ``there`` describes what was found; ``lacking`` what is missing, empty where nothing is;
    ``error`` is the sentence that ends a run without it; ``fix`` a command to paste into a shell,
    empty where none is known.
    """

    what: str
    there: str = ""
    lacking: str = ""
    error: str = ""
    fix: str = ""


def require(requirements: Iterable[Requirement]) -> None:
    """Raise HostError for the first that is missing; what follows it is not looked at."""
    for requirement in requirements:
        if requirement.lacking:
            raise HostError(requirement.error)


def to_build_without_root() -> Iterator[Requirement]:
    """Yield what building the guest takes beside its programs where we are not root."""
    yield subordinate_ids(*user())
    yield user_namespaces()


def user() -> tuple[str, int]:
    """Return our user's name (the number where there is none) and number."""
    number = os.geteuid()
    try:
        return pwd.getpwuid(number).pw_name, number
    except KeyError:
        return str(number), number


def debians_keys() -> Requirement:
    """Find the folder of Debian's archive keys on a machine that is not Debian."""
    what = "Debian's keys"
    if DEBIANS_KEYS.exists():
        return Requirement(what, there=str(DEBIANS_KEYS))
    need = f"building the guest needs the keys that Debian signs its packages with ({DEBIANS_KEYS})"
    hint, fix = how_to_get("debian-keyring"), install_command("debian-keyring")
    lacking = need if fix else f"{need}; {hint}"
    return Requirement(what, lacking=lacking, error=f"{need}: {hint}", fix=fix)


def subordinate_ids(name: str, number: int, etc: Path = Path("/etc")) -> Requirement:
    """Return whether a user has ranges in subuid(5) and subgid(5)."""
    what, files = "subordinate ids", (etc / "subuid", etc / "subgid")
    lacking = [str(path) for path in files if not owners(path) & {name, str(number)}]
    if not lacking:
        return Requirement(what, there=f"{name} has a range in /etc/subuid and /etc/subgid")
    fix = as_root(
        ["usermod", "--add-subuids", "100000-165535", "--add-subgids", "100000-165535", name]
    )
    error = (
        f"building the guest without root needs subordinate ids for {name} in {lacking[0]}: {fix}"
    )
    return Requirement(
        what, lacking=f"{name} has no range in {' and '.join(lacking)}", error=error, fix=fix
    )


def owners(path: Path) -> set[str]:
    """Return who has a range in a subuid(5) file."""
    return (
        {line.partition(":")[0] for line in path.read_text().splitlines()}
        if path.exists()
        else set()
    )


def user_namespaces() -> Requirement:
    """Return whether this user may make user namespaces, by trying."""
    what = "user namespaces"
    try:
        process.run(["unshare", "--user", "--map-root-user", "true"], timeout=10)
    except CommandFailed as failure:
        fix = _fix_of_user_namespaces()
        how = fix or "in a container, its seccomp profile must allow unshare(2)"
        error = (
            "building the guest without root needs user namespaces, and this machine forbids them: "
            f"{how}, or build it once as root with the same YOGURTBENCH_CACHE"
        )
        return Requirement(
            what, "", f"forbidden here: build the guest once as root ({failure})", error, fix
        )
    return Requirement(what, there="tried: allowed")


def _fix_of_user_namespaces() -> str:
    """Return the command that allows them; empty where no switch of the kernel forbids them."""
    for name, wanted in _SWITCHES.items():
        path = Path("/proc/sys", *name.split("."))
        now = path.read_text().strip() if path.exists() else wanted
        if now != wanted and "0" in (now, wanted):
            return as_root(["sysctl", f"{name}={wanted}"])
    return ""
