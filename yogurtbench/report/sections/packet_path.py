"""The path of a packet over each live wire, from the recording of one echo.

A lane a device, a row a recorded step, downwards in time: where a packet was queued, where it was
received, which program ran. Wires of one way share the drawing.
"""

from __future__ import annotations

import html
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from yogurtbench.core.labels import WireLabel
from yogurtbench.core.wording import count_of
from yogurtbench.report.run_data import RunData
from yogurtbench.report.sections.reachability import liveness

#: What a recorded step is called.
_SAID = {
    "queue": "queued to send",
    "backlog": "in the CPU's backlog",
    "receive": "received",
    "drop": "dropped",
}

_LANE, _LEFT, _TOP, _ROW, _HEAD, _WIDTH = 30, 34, 16, 22, 15, 480


@dataclass(frozen=True, slots=True)
class PathStep:
    """A recorded step: its kind (queue, backlog, receive, drop, program), device, hook, program."""

    kind: str
    device: str
    hook: str = ""
    program: str = ""

    @classmethod
    def read(cls, text: str) -> PathStep:
        """From the words of details.path, e.g. ``program tcx_ingress of yg1-host:
        redirect_forward``.
        """
        kind, _, what = text.partition(" ")
        if kind != "program":
            return cls(kind, what)
        place, _, program = what.partition(": ")
        hook, _, device = place.partition(" of ")
        return cls(kind, device, hook, program) if device else cls(kind, place)


@dataclass(frozen=True, slots=True)
class PacketPath:
    """A recorded way with its drawing (an SVG symbol's id and size) and the live wires that have
    it.
    """

    name: str
    steps: tuple[PathStep, ...]
    turn: int
    wires: tuple[WireLabel, ...]

    @property
    def number(self) -> int:
        """The number of wires that have it."""
        return len(self.wires)

    @property
    def said(self) -> str:
        """A round trip in a few words."""
        programs, queues = (
            sum(one.kind == kind for one in self.steps) for kind in ("program", "backlog")
        )
        return (
            f"{count_of(programs, 'program run')}, {count_of(queues, 'backlog')}, "
            f"{count_of(len(self.steps), 'step')}"
        )

    @property
    def width(self) -> int:
        """Of the drawing, in pixels."""
        return _WIDTH

    @property
    def height(self) -> int:
        """Of the drawing, in pixels."""
        return _rows(self.steps, self.turn)[-1] + _ROW


def ways(story: RunData) -> list[PacketPath]:
    """Return the recorded ways of the live wires, the shortest first.

    Empty where no echo was witnessed.
    """
    found: dict[tuple[str, ...], list[WireLabel]] = {}
    for wire, path in paths(story).items():
        found.setdefault(path, []).append(story.wires[wire])
    ordered = sorted(found.items(), key=lambda item: (len(item[0]), item[0]))
    return [
        PacketPath(f"way-{number}", tuple(map(PathStep.read, path)), turn(path), tuple(wires))
        for number, (path, wires) in enumerate(ordered, 1)
    ]


def paths(story: RunData) -> dict[str, tuple[str, ...]]:
    """Wire id -> the recorded way of an echo over it, its last.

    Of the live wires for which there is one.
    """
    alive, found = liveness(story), dict[str, tuple[str, ...]]()
    for attempt in story.attempts:
        path = attempt.details.get("path")
        wire = attempt.trial.cell.wire_id
        if path and attempt.status == "ok" and alive.get(wire) and wire in story.wires:
            found[wire] = tuple(map(str, path))
    return found


def turn(steps: Sequence[str]) -> int:
    """Return the step at which the answer sets out: the far end queues a packet for the first
    time.
    """
    sent = [place for place, step in enumerate(steps) if step.startswith("queue ")]
    first = steps[sent[0]] if sent else ""
    ends = [place for place in sent if steps[place].endswith("-cont") and steps[place] != first]
    return ends[0] if ends else len(steps)


# --- the drawing ----------------------------------------------------------------------------------


def symbol(way: PacketPath) -> str:
    """Return the drawing as an SVG symbol.

    Programs in currentColor, so that each wire shows its own.
    """
    lanes = {device: _LEFT + _LANE * place for place, device in enumerate(_devices(way))}
    rows = _rows(way.steps, way.turn)
    parts = [*_lanes(lanes, rows), *_line(way, lanes, rows)]
    if way.turn < len(way.steps):
        at = rows[way.turn] - 20
        parts.append(f'<path class="turn" d="M4 {at}H{_WIDTH - 4}"/>')
        parts.append(_text(_WIDTH - 4, at + 13, "the answer", "end muted"))
    for step, y in zip(way.steps, rows, strict=True):
        parts += _drawn(step, lanes[step.device], y, _LEFT + _LANE * len(lanes))
    return (
        f'<symbol id="{way.name}" viewBox="0 0 {way.width} {way.height}">{"".join(parts)}</symbol>'
    )


def _devices(way: PacketPath) -> list[str]:
    """In the order of the request; where the answer sets out is the far end, and stands last."""
    found = list(dict.fromkeys(step.device for step in way.steps))
    far = [way.steps[way.turn].device] if way.turn < len(way.steps) else []
    return [device for device in found if device not in far] + far


def _rows(steps: Sequence[PathStep], turned: int) -> list[int]:
    """Return where each step stands; programs take two lines."""
    places, y = [], _TOP + 74
    for number, step in enumerate(steps):
        y += 22 if number == turned else 0
        places.append(y)
        y += _ROW + (_HEAD if step.kind == "program" else 0)
    return places or [y]


def _lanes(lanes: dict[str, int], rows: list[int]) -> Iterator[str]:
    for device, x in lanes.items():
        yield f'<path class="lane" d="M{x} {_TOP + 58}V{rows[-1] + 8}"/>'
        yield (
            f'<g transform="translate({x + 3} {_TOP + 54}) '
            f'rotate(-40)">{_text(0, 0, device, "")}</g>'
        )


def _line(way: PacketPath, lanes: dict[str, int], rows: list[int]) -> Iterator[str]:
    """Yield the packet: from step to step, across at half height where the device changes."""
    parts: list[str] = []
    for step, y in zip(way.steps, rows, strict=True):
        x = lanes[step.device]
        parts.append(f"V{y - 10}H{x}V{y}" if parts else f"M{x} {y}")
    yield f'<path class="packet" d="{"".join(parts)}"/>'


def _drawn(step: PathStep, x: int, y: int, labels: int) -> Iterator[str]:
    yield _MARKS.get(step.kind, _MARKS["drop"]).format(x=x, y=y, left=x - 6, top=y - 6)
    yield _text(labels, y + 4, step.device, "muted")
    if step.kind == "program":
        yield _text(labels + 66, y + 4, step.hook, "hook")
        yield _text(labels + 66, y + 4 + _HEAD, step.program, "muted")
    else:
        yield _text(labels + 66, y + 4, _SAID.get(step.kind, step.kind), "")


_MARKS = {
    "queue": '<path class="mark-queue" d="M{left} {top}h9l4 6l-4 6h-9z"/>',
    "backlog": '<path class="mark-backlog" d="M{left} {top}h12v12h-12zm0 4h12m0 4h-12"/>',
    "receive": '<circle class="mark-receive" cx="{x}" cy="{y}" r="5.5"/>',
    "program": '<rect class="mark-program" x="{left}" y="{top}" width="12" height="12" rx="2"/>',
    "drop": '<path class="mark-drop" d="M{left} {top}l12 12m0 -12l-12 12"/>',
}


def _text(x: int, y: int, said: str, kind: str) -> str:
    return f'<text x="{x}" y="{y}" class="{kind}">{html.escape(said)}</text>'
