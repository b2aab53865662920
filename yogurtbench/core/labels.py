"""Names, colours and numbers as people read them.

The same wire has the same name and colour everywhere.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from yogurtbench.core.load_specs import LOADS
from yogurtbench.core.records import Cell

INK = "#1b1b1f"
#: Seaborn's colour-blind palette (Wong, Nature Methods 8, 2011) without its pale yellow and grey.
PALETTE = ("#0173b2", "#de8f05", "#029e73", "#d55e00", "#cc78bc", "#ca9161", "#56b4e9", "#a06cd5")
#: Where there are more wires than colours the mark tells them apart.
MARKS = ("o", "s", "D", "^", "v", "P", "X", "<", ">", "p")

_SPOKEN = frozenset(
    {"device", "mode", "topology", "hook", "helper", "return_hook", "return_helper", "program"}
)

METRIC_NAMES: dict[str, str] = {
    "rtt_p50": "median round trip",
    "rtt_p90": "90th percentile round trip",
    "rtt_p99": "99th percentile round trip",
    "rtt_mean": "mean round trip",
    "rtt_min": "fastest round trip",
    "packets_per_second": "packet rate",
    "cpu_ns_per_byte": "CPU time per byte",
    "cpu_ns_per_packet": "CPU time per packet",
    "instructions_per_byte": "instructions per byte",
    "instructions_per_packet": "instructions per packet",
}
VERDICT_MARKS: dict[str, str] = {
    "faster": "▲",
    "slower": "▼",
    "equivalent": "=",
    "identical": "=",
    "inconclusive": "?",
    "dead": "✕",
    "failed": "!",
}


@dataclass(frozen=True, slots=True)
class WireLabel:
    """A wire's label: its name, colour (hex), mark (Matplotlib), and whether it is a baseline."""

    id: str
    name: str
    colour: str
    mark: str
    reference: bool


def wire_names(cells: Iterable[Cell], reference: Collection[str]) -> dict[str, WireLabel]:
    """Names and colours by wire id, in the order of the plan.

    Baselines in ink, distinguished by their marks.
    """
    wires = {cell.wire_id: cell for cell in cells}
    names = _distinguish({wire: (wire_name(cell), cell.wire) for wire, cell in wires.items()})
    others = [wire for wire in wires if wire not in reference]
    inked = [wire for wire in wires if wire in reference]
    places = {wire: place for place, wire in enumerate(others)} | {
        wire: -1 - n for n, wire in enumerate(inked)
    }
    return {wire: _wire(wire, names[wire], places[wire]) for wire in wires}


def _wire(wire: str, name: str, place: int) -> WireLabel:
    if place < 0:
        return WireLabel(wire, name, INK, MARKS[(-1 - place) % len(MARKS)], reference=True)
    mark = MARKS[(place // len(PALETTE)) % len(MARKS)]
    return WireLabel(wire, name, PALETTE[place % len(PALETTE)], mark, reference=False)


def wire_name(cell: Cell) -> str:
    """Return the network of a cell as people call it, e.g. ``netkit l3 · tcx_ingress →
    redirect``.
    """
    device = f"{cell.device} {cell.mode}" if cell.device == "netkit" else cell.device
    there = "" if cell.hook == "none" else f" · {cell.hook} → {cell.helper}"
    back = (cell.return_hook, cell.return_helper)
    way_back = (
        "" if back in ((cell.hook, cell.helper), ("none", "none")) else f" ⇠ {back[0]} → {back[1]}"
    )
    place = "" if cell.topology == "wire" else f" {cell.topology}"
    own = "" if cell.program == "builtin" else f" · {cell.program}"
    return f"{device}{place}{there}{way_back}{own}"


def _distinguish(named: Mapping[str, tuple[str, Mapping[str, Any]]]) -> dict[str, str]:
    """Names with the axes added in which wires of the same name differ."""
    alike: dict[str, list[str]] = {}
    for wire, (name, _) in named.items():
        alike.setdefault(name, []).append(wire)
    found: dict[str, str] = {}
    for name, wires in alike.items():
        differing = _differing([named[wire][1] for wire in wires])
        found |= {wire: name + _suffix(named[wire][1], differing) for wire in wires}
    return found


def _differing(axes: list[Mapping[str, Any]]) -> list[str]:
    return [
        name
        for name in axes[0]
        if name not in _SPOKEN and len({str(one[name]) for one in axes}) > 1
    ]


def _suffix(axes: Mapping[str, Any], differing: list[str]) -> str:
    said = [f"{name} {'–' if axes[name] is None else axes[name]}" for name in differing]
    return f" ({', '.join(said)})" if said else ""


def traffic_names(cells: Mapping[str, Cell]) -> dict[str, str]:
    """Return each cell's traffic in words: the payload, and what else differs in its load."""
    loads: dict[str, list[Mapping[str, Any]]] = {}
    for cell in cells.values():
        loads.setdefault(cell.load, []).append(
            {"ip": cell.ip, "streams": cell.streams, "cpus": cell.cpus}
        )
    differing = {load: _differing(axes) for load, axes in loads.items()}
    return {key: _traffic(cell, differing[cell.load]) for key, cell in cells.items()}


def _traffic(cell: Cell, differing: list[str]) -> str:
    said = [] if cell.payload is None else [f"{group_digits(cell.payload)} B"]
    return ", ".join([*said, *(f"{name} {getattr(cell, name)}" for name in differing)])


def group_digits(value: float, spec: str = "", sign: str = "") -> str:
    """Return a number with its digits in threes, a narrow blank between them.

    ``sign``: ``+`` for one before positive numbers too.
    """
    text = f"{value:{sign},{spec}}".replace(",", "\u202f")
    return text.replace("-", "−") if sign else text


def metric_name(metric: str) -> str:
    """Return a metric in words."""
    return METRIC_NAMES.get(metric, metric.replace("_", " "))


def load_name(load: str) -> str:
    """Return a load in words."""
    return LOADS[load].label if load in LOADS else load.replace("_", " ")


def axis_word(value: object) -> str:
    """Return a value as one word, as selectors and tables write it.

    ``-`` where the axis does not apply.
    """
    if value is None:
        return "-"
    return ":".join(map(str, value)) if isinstance(value, tuple | list) else str(value)


def axis_text(point: Mapping[str, Any]) -> str:
    """Return a point in a line, and a selector of it: ``device=netkit,hook=netkit_peer``."""
    return ",".join(f"{name}={axis_word(value)}" for name, value in point.items())
