"""The trials that came to no result, alike ones together."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from yogurtbench.core.labels import WireLabel
from yogurtbench.report.run_data import RunData


@dataclass(frozen=True, slots=True)
class Failure:
    """A kind of failure: its cell, status and error, and ``count``, in how many trials."""

    wire: WireLabel
    load: str
    traffic: str
    status: str
    error: str
    count: int


def failure_counts(story: RunData) -> list[Failure]:
    """Return the kinds of failure, most frequent first."""
    bad = [one for one in story.attempts if one.status not in ("ok", "skipped")]
    counts = Counter((one.trial.cell.id, one.status, one.error) for one in bad)
    return [
        Failure(
            wire=story.wire(cell),
            load=story.cells[cell].load,
            traffic=story.traffic[cell],
            status=status,
            error=error,
            count=count,
        )
        for (cell, status, error), count in counts.most_common()
        if cell in story.cells
    ]
