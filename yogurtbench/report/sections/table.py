"""The page's two kinds of tables as plain data: words and numbers, no markup."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import groupby
from typing import Any, Literal

from yogurtbench.core.labels import WireLabel


@dataclass(frozen=True, slots=True)
class Mark:
    """A table's cell with a verdict: text, CSS class, longer form on hover."""

    text: str
    kind: str
    hover: str = ""


@dataclass(frozen=True, slots=True)
class Row:
    """A wire's row of a table; ``notes`` stand below it."""

    wire: WireLabel
    marks: list[Mark]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Table:
    """Heads and rows; the first column is the wire.

    ``of``: how many rows there are where not all are given.
    """

    heads: list[str]
    rows: list[Row]
    of: int = 0

    def runs(self, shared: int) -> list[list[Row]]:
        """Return the rows, those in a row of one wire and with ``shared`` equal first marks
        together.
        """
        together = groupby(self.rows, key=lambda row: (row.wire.id, *row.marks[:shared]))
        return [list(rows) for _, rows in together]


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a grid: its head, what its cells are, whether its few words are offered to choose
    from.
    """

    name: str
    kind: Literal["words", "number", "wire", "verdict"] = "words"
    pick: bool = False


@dataclass(frozen=True, slots=True)
class Grid:
    """A long table that the page sorts, filters and shows bit by bit.

    Cells by kind of column: a text; a number (or None) and its text; a wire's place in
    tables.palette; a class, a text and a longer text.
    """

    columns: list[Column]
    rows: list[list[Any]]
