"""A page of Markdown with the profile of every wire of a matrix, each against its baseline."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from yogurtbench.core import files
from yogurtbench.core.labels import group_digits, load_name
from yogurtbench.profile.profile import Profile, differences
from yogurtbench.report.sections.profile import answer

_TITLE = "# Where the instructions of a round trip go"
#: Functions in a wire's table.
_SHOWN = 10


@dataclass(frozen=True, slots=True)
class ProfiledWire:
    """A wire's profile and its baseline's, None where it is a baseline itself."""

    profile: Profile
    baseline: Profile | None


def check(file: Path) -> None:
    """Raise MatrixError unless the page may be written there: nothing but such a page is
    overwritten.
    """
    files.check_target(
        file, lambda there: files.starts_with(there, _TITLE.encode()), "such a page of profiles"
    )


def write(wires: Sequence[ProfiledWire], command: str, file: Path) -> None:
    """Write the page; ``command`` made it. Raises MatrixError or HostError."""
    files.write_text(file, render(wires, command))


def render(wires: Sequence[ProfiledWire], command: str) -> str:
    """Return the page as text."""
    first = wires[0].profile
    kernels = ", ".join(dict.fromkeys(one.profile.kernel for one in wires))
    head = [
        _TITLE,
        "",
        f"{load_name(first.cell.load)} on Linux {kernels}, in emulation: guest instructions of one "
        "round trip, equal on every boot. How",
        "they are counted: [the method](method.md#the-profile-of-a-round-trip). Made by "
        f"`{command}`:",
        "nothing is written by hand. *More*: against the baseline.",
    ]
    return "\n".join([*head, *(line for wire in wires for line in _section(wire))]) + "\n"


def _section(wire: ProfiledWire) -> Iterator[str]:
    profile, baseline = wire.profile, wire.baseline
    more = {one.name: one.self for one in differences(profile, baseline)} if baseline else {}
    yield from ("", f"## {profile.name}", "", answer(profile, baseline), "")
    heads = ["function", "of", "itself", "with all it calls", *(["more"] if baseline else [])]
    yield f"| {' | '.join(heads)} |"
    yield f"| --- | --- |{' ---: |' * (len(heads) - 2)}"
    for one in profile.functions[:_SHOWN]:
        name = one.function.name
        cells = [f"`{name}`", one.function.kind, group_digits(one.self)]
        cells.append(group_digits(one.inclusive))
        if baseline:
            cells.append(group_digits(more[name], sign="+") if more.get(name) else "")
        yield f"| {' | '.join(cells)} |"
    largest = [f"`{name}` {group_digits(count, sign='+')}" for name, count in more.items() if count]
    if largest and baseline:
        yield from ("", f"What differs most from {baseline.name}: {', '.join(largest[:_SHOWN])}.")
