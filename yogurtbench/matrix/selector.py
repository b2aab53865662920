"""Selectors: ``hook=netkit_peer,payload=64|1400`` picks cells. Pure."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping

from yogurtbench.core.errors import MatrixError
from yogurtbench.core.labels import axis_text, axis_word
from yogurtbench.core.records import ID_LENGTH, Cell
from yogurtbench.core.wording import closest_to
from yogurtbench.matrix import axes
from yogurtbench.matrix.axes import Value
from yogurtbench.plan.plan import Plan

_RULE = ": write axis=word, as in hook=netkit_peer,payload=64"
_ID = re.compile(rf"[0-9a-f]{{4,{ID_LENGTH}}}")
#: More candidates than this do not help anybody.
_LISTED = 8


class Selector:
    """``axis=word[|word…][,axis=word…]``: every axis named must have one of its words.

    Raises ValueError with a sentence that names the nearest valid word.
    """

    def __init__(self, text: str) -> None:
        self.text = text
        self._wanted: dict[str, set[Value]] = {}
        for part in text.split(","):
            name, equals, words = part.strip().partition("=")
            if not equals:
                raise ValueError(
                    f"{part.strip()!r} is not a selector{_axis_of(part.strip()) or _RULE}"
                )
            axis = axes.axis_named(name.strip())
            self._wanted.setdefault(axis.name, set()).update(
                axis.read(one.strip()) for one in words.split("|")
            )

    def matches(self, cell: Cell) -> bool:
        """Return whether the cell has one of the wanted words on every axis named."""
        return all(getattr(cell, name) in values for name, values in self._wanted.items())

    def lacking(self, cells: Iterable[Cell]) -> str:
        """Return why no cell matches: the words that they have instead."""
        known = list(cells)
        for name, wanted in self._wanted.items():
            there = dict.fromkeys(getattr(cell, name) for cell in known)
            if not there.keys() & wanted:
                return f"; its {name}: {', '.join(map(axis_word, there))}"
        return " together"


def _axis_of(part: str) -> str:
    """Return what somebody may have meant who named a word without its axis.

    Empty where it is not known.
    """
    spoken: dict[str, str] = {}
    for axis in reversed(axes.WORDS.values()):
        spoken |= dict.fromkeys(axis.words, axis.name)
    close = closest_to(part, spoken, 0.8)
    return f": did you mean {spoken[close]}={close}?" if close else ""


def find_cell(plan: Plan, text: str) -> Cell:
    """Return a plan's one cell by id, beginning of an id (4 or more digits) or selector.

    Of several that differ only in what is sent, and so share one network, the first. Raises
    MatrixError where it is none, with the nearest, or cells of several networks, with the
    candidates.
    """
    cells = {planned.cell.id: planned.cell for planned in plan.cells}
    if _ID.fullmatch(text):
        found = [cell for name, cell in cells.items() if name.startswith(text)]
    else:
        try:
            selector = Selector(text)
        except ValueError as error:
            raise MatrixError(f"--cell: {error}") from None
        found = [cell for cell in cells.values() if selector.matches(cell)]
    if found and len({cell.wire_id for cell in found}) == 1:
        return found[0]
    if not found:
        near = _nearest(text, cells)
        hint = (
            f": did you mean {_listing([near])}?"
            if near
            else f"; it has {_listing(cells.values())}"
        )
        raise MatrixError(f"--cell: no cell of {plan.name} is {text!r}{hint}")
    raise MatrixError(
        f"--cell: {text!r} is {len(found)} cells of {plan.name}, name one: {_listing(found)}"
    )


def _nearest(text: str, cells: Mapping[str, Cell]) -> Cell | None:
    """Return the cell whose id looks most like this one, or that has most of what a selector names.

    None where none has.
    """
    if _ID.fullmatch(text):
        starts = {name[: len(text)]: cell for name, cell in cells.items()}
        close = difflib.get_close_matches(text, starts, n=1, cutoff=0.7)
        return starts[close[0]] if close else None
    parts = [Selector(part) for part in text.split(",")]
    agreeing = {name: sum(part.matches(cell) for part in parts) for name, cell in cells.items()}
    best = max(agreeing, key=agreeing.__getitem__)
    return cells[best] if agreeing[best] else None


def _listing(cells: Iterable[Cell]) -> str:
    listed = [f"{cell.id} ({axis_text(cell.named)})" for cell in cells]
    return "; ".join(listed[:_LISTED]) + ("; …" if len(listed) > _LISTED else "")
