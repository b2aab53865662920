"""Write the truth table as Markdown: every wire, drop sites, paths of live ones.

Everything comes from the run: the marks from its reachability and isolation trials, the drawings
from the tracepoints and program hits that were recorded for one echo over each live wire.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from yogurtbench.core import files
from yogurtbench.core.errors import MatrixError
from yogurtbench.core.records import Attempt, Cell
from yogurtbench.report.run_data import RunData
from yogurtbench.report.sections.isolation import CAPTURES, INJECTIONS, SHORT_NAMES
from yogurtbench.report.sections.packet_path import turn
from yogurtbench.report.sections.reachability import answers


@dataclass(frozen=True, slots=True)
class WireOutcome:
    """The result of one wire: its cell, status, metrics, and an echo's recorded path."""

    cell: Cell
    status: str
    values: dict[str, float | str]
    path: tuple[str, ...]

    @property
    def alive(self) -> bool:
        """True where it carries IPv4."""
        return answers(float(self.values.get("reachable", 0)))


def tried(attempts: Iterable[Attempt]) -> list[WireOutcome]:
    """Return one entry a wire, in the order of the attempts.

    Its last reachability trial, with its isolation beside it.
    """
    found: dict[str, WireOutcome] = {}
    isolation: dict[str, dict[str, float | str]] = {}
    for attempt in attempts:
        cell, values = attempt.trial.cell, _values(attempt)
        if cell.load == "isolation":
            isolation[cell.wire_id] = values
        elif cell.load == "reachability" and cell.hook != "none":
            path = tuple(attempt.details.get("path", ()))
            found[cell.wire_id] = WireOutcome(cell, attempt.status, values, path)
    return [
        WireOutcome(t.cell, t.status, {**t.values, **isolation.get(wire, {})}, t.path)
        for wire, t in found.items()
    ]


def _values(attempt: Attempt) -> dict[str, float | str]:
    values = (
        (o.metric, o.text if o.text is not None else o.value)
        for o in attempt.observations
        if o.status == "ok"
    )
    return {metric: value for metric, value in values if value is not None}


#: Stands at the beginning of every such page.
_MARK = "--which-wire docs/which-wire.md`: nothing is written by hand."


def check(page: Path) -> None:
    """Raise MatrixError unless the page may be written there: nothing but such a page is
    overwritten.
    """
    files.check_target(
        page,
        lambda there: files.starts_with(there, _MARK.encode()),
        "a page that --which-wire has written",
    )


def write(folder: Path, page: Path) -> None:
    """Write the page of a run's folder.

    Raises MatrixError where it tried no wires or the page cannot be written.
    """
    story = RunData.read(folder)
    planned = {
        wire: place
        for place, wire in enumerate(dict.fromkeys(cell.wire_id for cell in story.cells.values()))
    }
    wires = sorted(tried(story.attempts), key=lambda one: planned[one.cell.wire_id])
    if not wires:
        raise MatrixError(
            f"{folder}: this run has no reachability trials of wires, and the page is about those"
        )
    check(page)
    with files.explaining_errors(page):
        page.parent.mkdir(parents=True, exist_ok=True)
    files.write_text(page, "\n".join(render(story, wires)) + "\n")


def render(story: RunData, wires: list[WireOutcome]) -> Iterator[str]:
    """Yield the page, line by line."""
    live = [one for one in wires if one.alive]
    where = story.environment
    day = f"{story.run[:4]}-{story.run[4:6]}-{story.run[6:8]}"
    yield "# Which wire?"
    yield ""
    yield f"{len(wires)} wires tried on Linux {where.kernel}, {day}; {len(live)} carry packets."
    yield f"Made from a run by `yogurtbench report RUN {_MARK}"
    yield ""
    yield from _legend()
    for title, members in _groups(wires).items():
        yield from _table(title, members)
    yield from _ways(live)


def _legend() -> Iterator[str]:
    yield (
        "**4**, **6**, **T**: IPv4, IPv6 and TCP get through. Otherwise the kernel function "
        "that drops the request"
    )
    yield (
        "and its reason (`arp:` where resolving the neighbour dies); `loops`: packets loop "
        "in the kernel; `–`:"
    )
    yield "nothing was seen to drop it."
    yield ""


def _groups(wires: list[WireOutcome]) -> dict[str, list[WireOutcome]]:
    found: dict[str, list[WireOutcome]] = {}
    for one in wires:
        cell = one.cell
        device = (
            f"netkit {cell.mode}, policy {cell.policy}" if cell.device == "netkit" else cell.device
        )
        found.setdefault(f"{device}: {cell.hook}", []).append(one)
    return dict(sorted(found.items()))


def _table(title: str, members: list[WireOutcome]) -> Iterator[str]:
    helpers = list(dict.fromkeys(one.cell.helper for one in members))
    by_place = {(_other_axes(one.cell), one.cell.helper): one for one in members}
    yield f"## {title}"
    yield ""
    yield f"| beside the wire | {' | '.join(f'`{helper}`' for helper in helpers)} |"
    yield f"| --- |{' --- |' * len(helpers)}"
    for beside in dict.fromkeys(_other_axes(one.cell) for one in members):
        marks = [_mark(by_place.get((beside, helper))) for helper in helpers]
        yield f"| {beside} | {' | '.join(marks)} |"
    yield ""


#: What a kernel makes of each by itself.
_OFFLOADS = {"gso": "on", "gro": "off", "checksum": "on"}


def _other_axes(cell: Cell) -> str:
    """Return the axes that tell wires of one hook and helper apart."""
    words = [f"primary {cell.primary}"] if cell.primary else []
    words += [f"peer {cell.peer}"] if cell.peer else []
    words += [f"scrub {cell.scrub}"] if cell.scrub not in (None, "default") else []
    for axis, kernels_own in _OFFLOADS.items():
        word = getattr(cell, axis)
        words += [f"{axis} {word}"] if word != kernels_own or axis in cell.named else []
    return ", ".join(words) or "nothing"


def _mark(one: WireOutcome | None) -> str:
    if one is None:
        return ""
    if one.status != "ok":
        return {"looping": "loops"}.get(one.status, one.status)
    through = [("4", "reachable"), ("6", "reachable_v6"), ("T", "tcp_ok")]
    got = " ".join(letter for letter, metric in through if one.values.get(metric) == 1)
    site = one.values.get("dropped_at")
    drop = f"`{site}`" if site else ""
    return " ".join(filter(None, [f"**{got}**" if got else "", drop])) or "–"


def _ways(live: list[WireOutcome]) -> Iterator[str]:
    """Yield the live wires, those of one way together: who can listen, who can talk, and the
    drawing.
    """
    ways: dict[tuple[str, ...], list[WireOutcome]] = {}
    for one in live:
        ways.setdefault(one.path, []).append(one)
    yield "## The way of a packet"
    yield ""
    yield (
        "Each live wire's round trip as it was recorded: `[device]` hands a packet on or "
        "receives it, `(backlog)` is"
    )
    yield (
        "a queue on the way, `<hook: program>` a program that ran. *Listens*: an AF_PACKET "
        "socket on host end a, on"
    )
    yield (
        "host end b, or unbound sees the traffic. *Talks*: what is sent from the host "
        "arrives in yogurt-2."
    )
    yield ""
    for path, members in sorted(ways.items(), key=lambda way: (len(way[0]), way[0])):
        for one in members:
            yield f"- **{spoken(one.cell)}**{exposed(one.values)}"
        yield ""
        yield "```"
        yield from drawing(path)
        yield "```"
        yield ""


def spoken(cell: Cell) -> str:
    """Return a wire in words, with what hangs beside it."""
    device = f"netkit {cell.mode} ({cell.policy})" if cell.device == "netkit" else cell.device
    return f"{device}, {cell.hook} → {cell.helper}; {_other_axes(cell)}"


def exposed(values: Mapping[str, Any]) -> str:
    """Return who listens and who talks, as the end of a line; empty where it was not measured.

    What was not measured is not "none".
    """
    if not any(metric in values for metric in (*CAPTURES, *INJECTIONS)):
        return ""
    return (
        f" · listens: {_exposure_list(CAPTURES, values)} · talks: "
        f"{_exposure_list(INJECTIONS, values)}"
    )


def _exposure_list(metrics: Iterable[str], values: Mapping[str, Any]) -> str:
    can = ", ".join(SHORT_NAMES[metric] for metric in metrics if values.get(metric) == 1)
    unknown = ", ".join(SHORT_NAMES[metric] for metric in metrics if metric not in values)
    if not unknown:
        return can or "none"
    return f"{can} (not measured: {unknown})" if can else f"not measured ({unknown})"


def drawing(path: Iterable[str]) -> Iterator[str]:
    """Yield a recorded way as lines of a drawing, a new line where the echo turns round.

    It turns where a device that received it hands the next packet on for the first time: the far
    end answers.
    """
    steps = list(path)
    if not steps:
        yield "(no tracer on this kernel: the path was not recorded)"
        return
    answered = turn(steps)
    yield " → ".join(map(_step, steps[:answered]))
    if steps[answered:]:
        yield " → ".join(map(_step, steps[answered:]))


def _step(step: str) -> str:
    kind, _, what = step.partition(" ")
    if kind == "program":
        return f"<{what}>"
    return {"backlog": f"({kind} {what})", "drop": f"✕ {what}"}.get(kind, f"[{what}]")
