"""Sentences on custom wires: each compared with the first program, or the built-in one."""

from __future__ import annotations

from collections.abc import Iterator

import pandas as pd

from yogurtbench.analysis.values import rows_of
from yogurtbench.core.labels import load_name, metric_name
from yogurtbench.core.metrics import BULK, HEADLINE
from yogurtbench.report.format import better_word, format_change, format_interval
from yogurtbench.report.run_data import RunData
from yogurtbench.report.sections.ranking import WireRank, rank_wires
from yogurtbench.report.sections.summary.effects import (
    PER_PACKET,
    absolute_difference,
    describe_floor,
    reference_words,
)
from yogurtbench.report.sections.summary.wording import DECIDED, EQUAL, join_words


def describe_custom_wires(story: RunData) -> str:
    """Return what custom wires cost against the wires they are held to, where these have
    another program.
    """
    rows = story.comparison[
        (story.comparison["role"] == "cell") & story.comparison["ratio"].notna()
    ]
    rows = rows[rows["baseline"] == rows["cell"].map(story.main)]
    own = [
        _is_own(story, str(cell), str(base))
        for cell, base in zip(rows["cell"], rows["baseline"], strict=True)
    ]
    ranked = rank_wires(story, _deciding(rows[own])) if any(own) else []
    known = [one for one in ranked if one.verdicts & (DECIDED | EQUAL)]
    unknown = [one for one in ranked if not one.verdicts & (DECIDED | EQUAL)]
    said = [f"{one.wire.name} costs {_own_cost(story, one)}" for one in known]
    leads = ["We don't know yet what", *["nor what"] * len(unknown)]
    said += [
        f"{lead} {one.wire.name} costs: {_own_cost(story, one)}"
        for lead, one in zip(leads, unknown, strict=False)
    ]
    return "; ".join(said)


def _is_own(story: RunData, cell: str, base: str) -> bool:
    ours, theirs = story.cells[cell], story.cells[base]
    return ours.program not in ("builtin", theirs.program) and (ours.hook, ours.device) == (
        theirs.hook,
        theirs.device,
    )


def _deciding(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the rows that say what a wire costs.

    A bulk load's cost of a packet where it is known, else the main metric.
    """
    paid = rows["load"].isin(BULK) & rows["metric"].isin(PER_PACKET)
    by_packet = set(rows.loc[paid, "cell"])
    return rows[
        paid | ((rows["metric"] == rows["load"].map(HEADLINE)) & ~rows["cell"].isin(by_packet))
    ]


def _own_cost(story: RunData, one: WireRank) -> str:
    parts: list[str] = []
    for load, rows in one.loads.items():
        parts += _own_parts(story, load, rows)
    return f"{join_words(parts)}, against {reference_words(story)}"


def _own_parts(story: RunData, load: str, rows: pd.DataFrame) -> Iterator[str]:
    for row in rows_of(rows):
        size = f" at {row['payload']} B" if len(rows) > 1 and pd.notna(row["payload"]) else ""
        what, where = metric_name(str(row["metric"])), load_name(load) + size
        about = "" if story.exact else "about "
        if row["verdict"] in DECIDED:
            absolute = absolute_difference(story, row)
            yield (
                f"{better_word(row['metric'], row['ratio'])} "
                f"({where}{f': {about}{absolute}' if absolute else ''})"
            )
        elif row["verdict"] in EQUAL:
            same = (
                "exactly the same"
                if row["verdict"] == "identical"
                else "within the margin the same"
            )
            yield f"{same} {what} ({where})"
        else:
            span = format_interval(row["ratio_low"], row["ratio_high"]) or "too few blocks"
            yield (
                f"an undecided {format_change(row['ratio'])} of {what} ({where}: "
                f"{span}{describe_floor(story, row)})"
            )
