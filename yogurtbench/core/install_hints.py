"""Install what is missing: packages and commands as the machine's Linux distribution names them.

``packages.txt`` beside this file is the one table; ``yb`` reads it too. A thing goes by its word
there (``bcc``), never by a package's name. YOGURTBENCH_OS_RELEASE names another os-release(5) file
than the machine's.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

TABLE = Path(__file__).with_name("packages.txt")
_OS_RELEASE = (Path("/etc/os-release"), Path("/usr/lib/os-release"))
#: Whose names are used where we do not know the distribution.
_KNOWN_BEST = "debian"
_DEBIAN_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}


@dataclass(frozen=True, slots=True)
class Distribution:
    """The machine's distribution: its family in the table, its name, and what is a guess of it."""

    family: str
    name: str
    guess: str
    #: Its release's, empty where the table does not know it.
    codename: str = ""


def distribution(release: Mapping[str, str] | None = None) -> Distribution:
    """Return the machine's distribution, or the one that the fields of an os-release(5) file
    describe.
    """
    fields = os_release() if release is None else release
    name = fields.get("PRETTY_NAME") or fields.get("NAME") or fields.get("ID") or "this Linux"
    words = [fields.get("ID", ""), *fields.get("ID_LIKE", "").split()]
    family = next((family for word in words if (family := _families().get(word))), "")
    if not family:
        return Distribution(
            "",
            name,
            f"{name} is unknown to us: packages are named as in Debian, go by your own names",
        )
    known, codename = _releases().get(words[0], ()), fields.get("VERSION_CODENAME", "")
    if known and codename not in known:
        return Distribution(
            family,
            name,
            f"{name} is unknown to us: packages are named as in {words[0]} {known[-1]}",
        )
    return Distribution(family, name, "", codename)


def package(thing: str, release: Mapping[str, str] | None = None) -> str:
    """Return the package of a thing, as the distribution names it.

    As Debian does where it is unknown.
    """
    there = distribution(release)
    return _package(thing, there.family or _KNOWN_BEST, there.codename)


def install_command(*things: str, release: Mapping[str, str] | None = None) -> str:
    """Return the command that installs things, by their words.

    Empty where there is no package, or we do not know it.
    """
    there = distribution(release)
    named = (_package(thing, there.family, there.codename) for thing in things)
    packages = dict.fromkeys(filter(None, named))
    if not packages:
        return ""
    command = _commands()[there.family]
    where = command.index("PACKAGES")
    return as_root([*command[:where], *packages, *command[where + 1 :]])


def how_to_get(*things: str, release: Mapping[str, str] | None = None) -> str:
    """Return a clause that ends a sentence on what is missing.

    The command, or what to do where there is no package of it.

    The first thing is what is missing, the others go with it.
    """
    there = distribution(release)
    if not there.family:
        names = " ".join(_package(thing, _KNOWN_BEST, "") for thing in things)
        return f"install what Debian calls {names} with your package manager"
    if without := no_package(things[0], release):
        return without
    return "; ".join(
        clause for clause in (install_command(*things, release=release), there.guess) if clause
    )


def no_package(thing: str, release: Mapping[str, str] | None = None) -> str:
    """Return what to do about a thing that the distribution has no package of.

    Empty where it has one.
    """
    there = distribution(release)
    if not there.family or _package(thing, there.family, there.codename):
        return ""
    return (
        f"we know no package of {thing} for {there.name}: "
        f"{_instead().get(thing, 'install it by hand')}"
    )


def as_root(argv: list[str]) -> str:
    """Return a command line that needs root, with sudo in front where we are somebody else."""
    return shlex.join(argv if os.geteuid() == 0 else ["sudo", *argv])


def os_release() -> dict[str, str]:
    """Return the fields of the machine's os-release(5) file; none where it has no such file."""
    named = os.environ.get("YOGURTBENCH_OS_RELEASE")
    for path in (Path(named),) if named else _OS_RELEASE:
        try:
            text = path.read_text(errors="replace")
        except OSError:
            continue
        pairs = (
            line.strip().partition("=")
            for line in text.splitlines()
            if not line.lstrip().startswith("#")
        )
        return {name: _unquoted(value) for name, equals, value in pairs if equals}
    return {}


def _unquoted(value: str) -> str:
    try:
        return "".join(shlex.split(value)[:1])
    except ValueError:
        return value.strip("\"'")


def known_words() -> tuple[str, ...]:
    """Return the words of all things in the table."""
    return tuple(word for word, *_ in _lines("package"))


def _package(thing: str, family: str, codename: str) -> str:
    """Return the package of a thing in a family's release; empty where there is none."""
    named = _packages().get(thing, {}).get(family, "-")
    have_it = _only_in().get((family, thing))
    if have_it and codename and codename not in have_it:
        return ""
    machine = os.uname().machine
    return (
        "" if named == "-" else named.replace("ARCH", _DEBIAN_ARCHITECTURES.get(machine, machine))
    )


@cache
def _packages() -> dict[str, dict[str, str]]:
    families = list(_commands())
    return {word: dict(zip(families, names, strict=True)) for word, *names in _lines("package")}


@cache
def _commands() -> dict[str, list[str]]:
    return {family: command for family, _words, *command in _lines("family")}


@cache
def _families() -> dict[str, str]:
    found: dict[str, str] = {}
    for family, known_as, *_command in _lines("family"):
        found |= dict.fromkeys(known_as.split(","), family)
    return found


@cache
def _releases() -> dict[str, tuple[str, ...]]:
    return {family: tuple(names.split(",")) for family, names in _lines("releases")}


@cache
def _only_in() -> dict[tuple[str, str], list[str]]:
    """Return the releases that have a package which the family's others lack."""
    return {(family, thing): names.split(",") for family, thing, names in _lines("only")}


@cache
def _instead() -> dict[str, str]:
    return {word: " ".join(sentence) for word, *sentence in _lines("instead")}


def _lines(kind: str) -> Iterator[list[str]]:
    """Yield what the table's lines of a kind say, split at spaces."""
    for line in TABLE.read_text().splitlines():
        first, *rest = line.split() or [""]
        if first == kind:
            yield rest
