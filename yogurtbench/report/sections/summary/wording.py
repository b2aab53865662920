"""Words that the sentences of a summary share."""

from __future__ import annotations

from collections.abc import Iterable

from yogurtbench.core.records import Cell
from yogurtbench.report.format import format_grouped, format_number

#: Verdicts by what they decide.
EQUAL = frozenset({"equivalent", "identical"})
DECIDED = frozenset({"faster", "slower"})


def join_clauses(first: str, then: str) -> str:
    """Return two clauses as one sentence; beginnings of ours are lowered, names are not."""
    small = then[0].lower() + then[1:] if then.startswith(("No wire", "We don't", "For ")) else then
    return f"{first}; {small}" if first else then


def format_figure(value: float) -> str:
    """Return a number as a summary writes it."""
    return format_number(value, "") if value != int(value) else format_grouped(value)


def join_words(parts: list[str]) -> str:
    """Return words as a list in a sentence: a, b and c."""
    return " and ".join([", ".join(parts[:-1]), parts[-1]] if len(parts) > 1 else parts)


def differing_axes(cells: Iterable[Cell]) -> list[str]:
    """Return the axes in which the wires of cells differ."""
    networks = [cell.wire for cell in cells]
    return [axis for axis in networks[0] if len({str(one[axis]) for one in networks}) > 1]


def verdict_state(verdicts: set[str]) -> str:
    """Return the common word for a set of verdicts."""
    if verdicts & DECIDED:
        return "differs"
    return "equal" if verdicts <= EQUAL else "unknown"


def format_bytes(size: int) -> str:
    """Return a payload with its unit."""
    return f"{format_grouped(size)} B"
