"""Tables of Rich as lines of text."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table
from rich.text import Text

#: Wider than any table: columns are as wide as what is in them.
_WIDEST = 10_000


def make_grid(indent: int = 0) -> Table:
    """Return a table without lines, two blanks between its columns."""
    table = Table.grid(padding=(0, 2, 0, 0), pad_edge=False)
    if indent:
        table.add_column(width=indent - 2)
    return table


def lines_of(table: Table) -> list[Text]:
    """Return a table's lines, without blanks at their ends."""
    console = Console(width=_WIDEST, force_terminal=True, force_jupyter=False, legacy_windows=False)
    lines = []
    for segments in console.render_lines(table, pad=False):
        line = Text.assemble(*((segment.text, segment.style or "") for segment in segments))
        line.rstrip()
        lines.append(line)
    return lines
