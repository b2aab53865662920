"""Find where Debian packages come from: the machine's own apt sources.

Formats: sources.list(5), both one-line and deb822. The guest must never meet third-party
repositories, and this project names no mirror of its own: a machine without Debian entries gets
mmdebstrap's built-in one.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from email.message import Message
from email.parser import HeaderParser
from pathlib import Path

from yogurtbench.core.process import CommandFailed, run
from yogurtbench.hosts.vm.image import recipe

#: What comes beside a release, in the same archive or in one of its own.
_MORE = ("-updates", "-security", "-backports")
_APT = Path("/etc/apt")
_OS_RELEASE = Path("/etc/os-release")
_ONE_LINE = re.compile(
    r"^deb\s+(?:\[(?P<options>[^]]*)\]\s*)?(?P<uri>\S+)\s+(?P<suite>\S+)\s+(?P<components>[^#]+)"
)
#: How the machine reaches its mirrors, as apt-config names it.
_TRANSPORT = re.compile(
    r"^Acquire::(https?|Retries|ForceIPv[46]|Check-Valid-Until|Proxy-Auto-Detect)\b", re.IGNORECASE
)


@dataclass(frozen=True, slots=True)
class AptSource:
    """One archive: where it is, which suite, which components, and who signs it ("" = apt's own
    keys).
    """

    uri: str
    suite: str
    components: tuple[str, ...]
    signed_by: str = ""

    @property
    def line(self) -> str:
        """As a line of sources.list(5)."""
        option = f"[signed-by={self.signed_by}] " if self.signed_by else ""
        return f"deb {option}{self.uri} {self.suite} {' '.join(self.components)}"

    @property
    def stanza(self) -> str:
        """As a stanza of a .sources file."""
        fields = {
            "Types": "deb",
            "URIs": self.uri,
            "Suites": self.suite,
            "Components": " ".join(self.components),
        }
        signed = {"Signed-By": self.signed_by} if self.signed_by else {}
        return "".join(f"{name}: {value}\n" for name, value in {**fields, **signed}.items())

    def is_debian(self, codename: str) -> bool:
        """Return whether this is Debian's own archive (or a mirror of it) for the release with this
        code name.
        """
        path = re.split(r"[:/]+", self.uri)
        return (
            any(part.startswith("debian") for part in path[2:])
            and self.suite
            in (codename, f"{codename}/updates", *(codename + more for more in _MORE))
            and "main" in self.components
        )

    def of(self, release: str) -> AptSource:
        """Return the same archive of another release."""
        # until Debian 10 its security suite was called buster/updates
        codename, slash, _ = self.suite.partition("/")
        more = (
            "-security" if slash else next((more for more in _MORE if codename.endswith(more)), "")
        )
        return replace(self, suite=release + more)


def machine_sources(
    apt: Path = _APT, os_release: Path = _OS_RELEASE, *, suite: str = recipe.SUITE
) -> tuple[str, ...]:
    """Return the machine's Debian archives, of the guest's release, as sources.list(5) lines.

    Where it has any.
    """
    codename = _codename(os_release)
    if not codename:
        return ()
    ours = [source.of(suite) for source in _read(apt) if source.is_debian(codename)]
    return tuple(dict.fromkeys(source.line for source in ours))


def transport_options() -> tuple[str, ...]:
    """Return the machine's apt settings for proxies and TLS, as apt.conf(5) lines."""
    try:
        dump = run(["apt-config", "dump", "--format", '%F "%v";%n', "Acquire"]).stdout
    except CommandFailed:
        return ()
    return parse_transport(dump)


def parse_transport(dump: str) -> tuple[str, ...]:
    """Return the lines of an ``apt-config dump`` that say how to reach a mirror, and carry a
    value.
    """
    return tuple(
        line for line in dump.splitlines() if _TRANSPORT.match(line) and not line.endswith('"";')
    )


def parse_one_line(text: str) -> Iterator[AptSource]:
    """Yield the binary archives of a sources.list."""
    for line in text.splitlines():
        if found := _ONE_LINE.match(line.strip()):
            options = dict(o.partition("=")[::2] for o in shlex.split(found["options"] or ""))
            yield AptSource(
                found["uri"],
                found["suite"],
                tuple(found["components"].split()),
                options.get("signed-by", ""),
            )


def parse_deb822(text: str) -> Iterator[AptSource]:
    """Yield the enabled binary archives of a .sources file.

    A key embedded in a stanza is left to apt's own keys.
    """
    bare = "\n".join(line for line in text.splitlines() if not line.startswith("#"))
    for stanza in re.split(r"\n\s*\n", bare):
        yield from _of_stanza(HeaderParser().parsestr(stanza.strip()))


def _of_stanza(fields: Message[str, str]) -> Iterator[AptSource]:
    if "deb" not in fields.get("Types", "").split() or fields.get("Enabled", "yes").lower() in (
        "no",
        "false",
    ):
        return
    key = fields.get("Signed-By", "").strip()
    signed_by = key if key.startswith("/") and "\n" not in key else ""
    for uri in fields.get("URIs", "").split():
        for suite in fields.get("Suites", "").split():
            yield AptSource(uri, suite, tuple(fields.get("Components", "").split()), signed_by)


def _read(apt: Path) -> Iterator[AptSource]:
    lists: Iterable[Path] = [apt / "sources.list", *sorted((apt / "sources.list.d").glob("*.list"))]
    for path in lists:
        yield from parse_one_line(_text(path))
    for path in sorted((apt / "sources.list.d").glob("*.sources")):
        yield from parse_deb822(_text(path))


def _text(path: Path) -> str:
    """Return what a list says; nothing where it is missing, or not for us to read."""
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""


def _codename(os_release: Path) -> str:
    if not os_release.is_file():
        return ""
    fields = dict(line.partition("=")[::2] for line in os_release.read_text().splitlines())
    return (
        shlex.split(fields.get("VERSION_CODENAME", "") or "''")[0]
        if "debian" in fields.get("ID", "")
        else ""
    )
