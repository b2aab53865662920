"""The page's tables of results: rank, isolation, comparisons, trials."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import chain
from typing import Any

import pandas as pd

from yogurtbench.analysis.values import rows_of
from yogurtbench.core.labels import VERDICT_MARKS, WireLabel, load_name, metric_name
from yogurtbench.core.metrics import DIAGNOSTIC_METRIC, HEADLINE, METRICS_OF
from yogurtbench.core.records import Attempt
from yogurtbench.report.format import format_number
from yogurtbench.report.run_data import RunData
from yogurtbench.report.sections import counters
from yogurtbench.report.sections.isolation import (
    CAPTURES,
    INJECTIONS,
    IsolationResult,
    isolation_results,
)
from yogurtbench.report.sections.ranking import WireRank, effect, rank_wires
from yogurtbench.report.sections.reachability import PROTOCOLS, liveness
from yogurtbench.report.sections.table import Column, Grid, Mark, Row, Table


def palette(story: RunData) -> list[list[str]]:
    """Name and colour of each wire, in the order of ``story.wires``."""
    return [
        [wire.name, "var(--ink)" if wire.reference else wire.colour]
        for wire in story.wires.values()
    ]


def ranking_table(story: RunData, most: int | None = None) -> Table:
    """Return the wires at a glance, best first and at most so many: a column a load."""
    ranked = rank_wires(story)
    loads = list(dict.fromkeys(chain.from_iterable(one.loads for one in ranked)))
    shown = ranked[:most]
    return Table(
        [load_name(load) for load in loads], [_glance_row(one, loads) for one in shown], len(ranked)
    )


def _glance_row(one: WireRank, loads: list[str]) -> Row:
    return Row(one.wire, [_glance_mark(one.loads.get(load)) for load in loads])


def _glance_mark(rows: pd.DataFrame | None) -> Mark:
    if rows is None:
        return Mark("–", "none")
    effects = [
        (effect(row), str(row["verdict"]))
        for row in rows_of(rows[["ratio", "ratio_low", "ratio_high", "verdict"]])
    ]
    texts = list(dict.fromkeys(change for (change, _), _ in effects))
    words = {word for _, word in effects}
    kind = words.pop() if len(words) == 1 else "mixed"
    hover = "; ".join(
        f"{word} {change} ({span})" if span else f"{word} {change}"
        for (change, span), word in effects
    )
    return Mark(" / ".join(texts if len(texts) <= 3 else (texts[0], "…", texts[-1])), kind, hover)


def comparisons(story: RunData) -> Grid:
    """Return every comparison, the deciding metrics first.

    Each wire's own metrics against each of its baselines.
    """
    rows = story.comparison[story.comparison["baseline"].notna()]
    first, warned = rows["metric"] == rows["load"].map(HEADLINE), counters.warned(story)
    columns = [
        Column("wire", "wire"),
        Column("against", "wire", pick=True),
        Column("load", pick=True),
        Column("traffic"),
        Column("metric", pick=True),
        Column("baseline", "number"),
        Column("measured", "number"),
        Column("change", "number"),
        Column("95 % interval"),
        Column("verdict", "verdict", pick=True),
        Column("family", pick=True),
        Column("blocks", "number"),
    ]
    places = _wire_places(story)
    ordered = rows_of(pd.concat([rows[first], rows[~first]]))
    return Grid(columns, [_comparison(story, row, places, warned) for row in ordered])


def _comparison(
    story: RunData,
    row: dict[str, Any],
    places: Mapping[str, int],
    warned: Mapping[str, tuple[str, ...]],
) -> list[Any]:
    change, span = effect(row)
    verdict, note = (
        str(row["verdict"]).replace("_", " "),
        "; ".join(filter(None, (row["note"], *warned.get(row["cell"], ())))),
    )
    return [
        places[story.cells[row["cell"]].wire_id],
        places[story.cells[row["baseline"]].wire_id],
        load_name(row["load"]),
        story.traffic[row["cell"]],
        metric_name(row["metric"]),
        _figure(row["baseline_median"], row["unit"]),
        _figure(row["cell_median"], row["unit"]),
        [or_none(row["ratio"]), change],
        span,
        [
            verdict,
            f"{verdict_mark(str(row['verdict']))} "
            f"{verdict}{' ⚠' * bool(warned.get(row['cell']))}".strip(),
            note,
        ],
        row["family"],
        [int(row["n"]), str(row["n"])],
    ]


def _wire_places(story: RunData) -> dict[str, int]:
    return {wire: place for place, wire in enumerate(story.wires)}


def _figure(value: float, unit: str) -> list[Any]:
    return [or_none(value), format_number(value, unit)]


def or_none(value: float) -> float | None:
    """Without digits that no instrument has: the page carries thousands of these."""
    return None if pd.isna(value) else float(f"{value:.6g}")


def isolation(story: RunData) -> Table:
    """Return who can listen and who can send, a row a live wire: yes is open, no is shut."""
    metrics = [metric for metric in METRICS_OF["isolation"] if metric in story.words]
    return Table(
        [metric.replace("_", " ") for metric in metrics],
        [_isolation_row(story, key, metrics) for key, alive in _asked_isolation(story) if alive],
    )


def group_identical(table: Table) -> list[tuple[list[WireLabel], list[Mark]]]:
    """Return the wires of a table with the same marks together, those with the fewest open ends
    first.
    """
    found: dict[tuple[Mark, ...], list[WireLabel]] = {}
    for row in table.rows:
        found.setdefault(tuple(row.marks), []).append(row.wire)
    ordered = sorted(found.items(), key=lambda item: sum(mark.kind == "open" for mark in item[0]))
    return [(wires, list(marks)) for marks, wires in ordered]


def live_wires(story: RunData) -> Table:
    """Return the live wires that are open to the fewest on the host: the best where nothing was
    compared.
    """
    isolated = {one.wire.id: one for one in isolation_results(story)}
    living = [wire for wire, alive in liveness(story).items() if alive and wire in story.wires]
    carried = {wire: _protocols(story, wire) for wire in living}

    def rank(wire: str) -> tuple[int, int]:
        opens = isolated[wire].opens if wire in isolated else len(CAPTURES | INJECTIONS)
        return opens, -len(carried[wire])

    ordered = sorted(carried, key=rank)
    heads = ["carries", "who can capture", "who can inject"] if isolated else ["carries"]
    marks = {wire: Mark(", ".join(carried[wire]) or "packets", "carries") for wire in ordered}
    rows = [
        Row(story.wires[wire], [marks[wire], *_exposed(isolated.get(wire), bool(isolated))])
        for wire in ordered
    ]
    return Table(heads, rows, len(rows))


def _protocols(story: RunData, wire: str) -> list[str]:
    cells = [key for key, cell in story.cells.items() if cell.wire_id == wire]
    values = story.words[story.words.index.isin(cells)]
    return [
        word
        for metric, word in PROTOCOLS.items()
        if metric in values and (values[metric] == 1).any()
    ]


def _exposed(one: IsolationResult | None, asked: bool) -> list[Mark]:
    if one is None:
        return [Mark("–", "none", "not measured")] * (2 * asked)
    return [
        _exposure_mark([CAPTURES[metric] for metric in one.captures], shut=one.capture_proof),
        _exposure_mark([INJECTIONS[metric] for metric in one.injections], shut=one.injection_proof),
    ]


def _exposure_mark(names: list[str], *, shut: bool) -> Mark:
    if names:
        return Mark(", ".join(names), "open")
    return Mark("none", "shut") if shut else Mark("none seen; not fully measured", "none")


def omitted_count(story: RunData) -> int:
    """Return the number of dead wires that :func:`isolation` leaves out."""
    return sum(not alive for _, alive in _asked_isolation(story))


def _asked_isolation(story: RunData) -> list[tuple[str, bool]]:
    alive = liveness(story)
    return [
        (key, alive.get(cell.wire_id, False))
        for key, cell in story.cells.items()
        if cell.load == "isolation" and (key in story.words.index or cell.wire_id in alive)
    ]


def _isolation_row(story: RunData, cell: str, metrics: list[str]) -> Row:
    found = story.words.reindex([cell]).iloc[0]
    return Row(story.wire(cell), [_open_or_shut(float(found[metric])) for metric in metrics])


def _open_or_shut(share: float) -> Mark:
    if pd.isna(share):
        return Mark("–", "none", "not measured")
    if share in (0.0, 1.0):
        return Mark("open", "open") if share else Mark("shut", "shut")
    return Mark(f"{share:.0%}", "open", "open in this share of the trials")


def trials(story: RunData) -> Grid:
    """Return every trial with what it measured first of all."""
    columns = [
        Column("block", "number"),
        Column("position", "number"),
        Column("wire", "wire"),
        Column("role", pick=True),
        Column("load", pick=True),
        Column("traffic"),
        Column("metric"),
        Column("value", "number"),
        Column("status", "verdict", pick=True),
    ]
    places = _wire_places(story)
    return Grid(
        columns,
        [_trial(story, one, places) for one in story.attempts if one.trial.cell.id in story.cells],
    )


def _trial(story: RunData, one: Attempt, places: Mapping[str, int]) -> list[Any]:
    cell = one.trial.cell
    metric = DIAGNOSTIC_METRIC if one.trial.role == "diagnostic" else HEADLINE[cell.load]
    found = next((row for row in one.observations if row.metric == metric), None)
    value = found.value if found and found.status == "ok" else None
    text = one.error
    if not text and value is not None and found is not None:
        text = _value_text(value, found.unit)
    return [
        [one.trial.block, str(one.trial.block)],
        [one.trial.position, str(one.trial.position)],
        places[cell.wire_id],
        one.trial.role,
        cell.load,
        story.traffic[cell.id],
        metric,
        [None if value is None else or_none(value), text],
        [one.status, one.status, ""],
    ]


def _value_text(value: float, unit: str) -> str:
    if unit == "bool":
        return "yes" if value else "no"
    return format_number(value, unit)


def verdict_mark(word: str) -> str:
    """Return a sign for a verdict, so that colour is never the only difference."""
    return VERDICT_MARKS.get(word, "")
