"""The wires that carry no packets: where those die, and which guards are to blame."""

from __future__ import annotations

from collections.abc import Container
from dataclasses import dataclass

from yogurtbench.core.labels import WireLabel
from yogurtbench.core.records import Cell, canonical
from yogurtbench.report.run_data import RunData
from yogurtbench.report.sections.reachability import drop_sites, reachable_shares, states


@dataclass(frozen=True, slots=True)
class DeadWire:
    """A dead wire: the drop site of its packets, and its guard in words, empty without one."""

    wire: WireLabel
    site: str
    guard: str


def dead_wires(story: RunData) -> list[DeadWire]:
    """Return the dead wires of a run, in the order of its wires."""
    state, sites = states(story), drop_sites(story)
    cells: dict[str, str] = {}
    for key in reachable_shares(story):
        cells.setdefault(story.cells[key].wire_id, key)
    living = {
        _but_guard(cell)
        for cell in story.cells.values()
        if state.get(cell.wire_id) == "alive" and not _is_guarded(cell)
    }
    found: list[DeadWire] = []
    for wire, label in story.wires.items():
        if state.get(wire) == "dead" and wire in cells:
            key = cells[wire]
            guard = _guard(story.cells[key], living)
            found.append(DeadWire(label, sites.get(key, "–"), guard))
    return found


def group_by_drop_site(found: list[DeadWire]) -> list[tuple[str, list[DeadWire]]]:
    """Return dead wires by where their packets die, the most frequent site first."""
    sites: dict[str, list[DeadWire]] = {}
    for one in found:
        sites.setdefault(one.site, []).append(one)
    return sorted(sites.items(), key=lambda item: -len(item[1]))


def _guard(cell: Cell, living: Container[str]) -> str:
    """Return which guard stands in a dead wire's way, and whether the wire lives without it.

    Empty where it has none.

    ``living``: the live wires without a guard, as :func:`_but_guard` names them.
    """
    if not _is_guarded(cell):
        return ""
    return f"guarded by {cell.primary}" + (
        ": without its guard it carries packets" if _but_guard(cell) in living else ""
    )


def _is_guarded(cell: Cell) -> bool:
    return str(cell.primary).startswith("guard_")


def _but_guard(cell: Cell) -> str:
    """Return a wire but for its guard and the scrub that lets a guard's mark pass."""
    return canonical(
        {axis: value for axis, value in cell.wire.items() if axis not in ("primary", "scrub")}
    )
