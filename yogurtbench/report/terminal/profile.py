"""A profile on a terminal: the functions that matter, as lines of a table."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rich.text import Text

from yogurtbench.core.labels import group_digits
from yogurtbench.profile.profile import Profile, differences
from yogurtbench.report.terminal.lines import lines_of, make_grid

#: Functions that are shown.
_SHOWN = 20


def costs(profile: Profile) -> list[Text]:
    """Return the costliest functions, instructions a round trip."""
    rows = [
        (one.function.name, one.function.kind, group_digits(one.self), group_digits(one.inclusive))
        for one in profile.functions
    ]
    return _lines(("function", "of", "itself", "with all it calls"), rows)


def changes(profile: Profile, against: Profile) -> list[Text]:
    """Return the functions that differ most, instructions a round trip; empty where none does."""
    rows = [
        (one.name, group_digits(one.self, sign="+"), group_digits(one.inclusive, sign="+"))
        for one in differences(profile, against)
        if one.self
    ]
    return _lines(("function", "itself", "with all it calls"), rows) if rows else []


def _lines(heads: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> list[Text]:
    table = make_grid()
    for head in heads:
        table.add_column(justify="left" if head in ("function", "of") else "right")
    table.add_row(*heads, style="dim")
    for row in rows[:_SHOWN]:
        table.add_row(*row)
    left = len(rows) - _SHOWN
    return [*lines_of(table), *_more(left)]


def _more(left: int) -> Iterable[Text]:
    if left > 0:
        yield Text(f"… and {left} more", style="dim")
