"""The page's tables as plain data: rows of words and numbers, no markup."""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from yogurtbench.analysis import dead_wires, rows_of
from yogurtbench.records import DIAGNOSTIC_METRIC, HEADLINE, METRICS_OF, Attempt, Cell, canonical
from yogurtbench.report import counters
from yogurtbench.report.exposure import liveness
from yogurtbench.report.names import VERDICT_MARKS, Wire, load_name, metric_name, number
from yogurtbench.report.standings import Standing, effect, standings
from yogurtbench.report.story import Story


@dataclass(frozen=True, slots=True)
class Mark:
    """A cell of a table that carries a verdict: what it says, its class for colour, the longer form on hover."""

    text: str
    kind: str
    hover: str = ""


@dataclass(frozen=True, slots=True)
class Row:
    """A wire's row of a table."""

    wire: Wire
    marks: list[Mark]


@dataclass(frozen=True, slots=True)
class Table:
    """Heads and rows; the first column is the wire."""

    heads: list[str]
    rows: list[Row]


def glance(story: Story) -> Table:
    """The wires at a glance, best first: a column a load, plus whether packets arrive."""
    ranked = standings(story)
    loads = list(dict.fromkeys(load for one in ranked for load in one.loads))
    return Table([load_name(load) for load in loads], [_glance_row(one, loads) for one in ranked])


def _glance_row(one: Standing, loads: list[str]) -> Row:
    return Row(one.wire, [_glance_mark(one.loads.get(load)) for load in loads])


def _glance_mark(rows: pd.DataFrame | None) -> Mark:
    if rows is None:
        return Mark("–", "none")
    told = [(effect(row), str(row["verdict"])) for row in rows_of(rows[["ratio", "ratio_low", "ratio_high", "verdict"]])]
    texts = list(dict.fromkeys(change for (change, _), _ in told))
    words = {word for _, word in told}
    kind = words.pop() if len(words) == 1 else "mixed"
    hover = "; ".join(f"{word} {change} ({span})" if span else f"{word} {change}" for (change, span), word in told)
    return Mark(" / ".join(texts if len(texts) <= 3 else (texts[0], "…", texts[-1])), kind, hover)


def effects(story: Story) -> list[dict[str, Any]]:
    """Every comparison, ready to print: the deciding metrics first."""
    rows = story.comparison[story.comparison["baseline"].notna()]
    first, warned = rows["metric"] == rows["load"].map(HEADLINE), counters.warned(story)
    return [_effect_row(story, row, warned) for row in rows_of(pd.concat([rows[first], rows[~first]]))]


def _effect_row(story: Story, row: dict[str, Any], warned: Mapping[str, tuple[str, ...]]) -> dict[str, Any]:
    change, span = effect(row)
    name = story.wire(row["cell"]).name + (" (canary)" if row["role"] == "canary" else "")
    return {
        "wire": name,
        "colour": story.wire(row["cell"]).colour,
        "load": load_name(row["load"]),
        "traffic": story.traffic[row["cell"]],
        "metric": metric_name(row["metric"]),
        "baseline": number(row["baseline_median"], row["unit"]),
        "value": number(row["cell_median"], row["unit"]),
        "change": change,
        "interval": span,
        "verdict": str(row["verdict"]).replace("_", " "),
        "family": row["family"],
        "n": int(row["n"]),
        "note": row["note"],
        "warning": "; ".join(warned.get(row["cell"], ())),
    }


def isolation(story: Story) -> Table:
    """Who can listen and who can send, a row a live wire: yes is open, no is shut."""
    metrics = [metric for metric in METRICS_OF["isolation"] if metric in story.words]
    return Table(
        [metric.replace("_", " ") for metric in metrics],
        [_isolation_row(story, key, metrics) for key, alive in _asked_isolation(story) if alive],
    )


def left_out(story: Story) -> int:
    """How many dead wires are missing from :func:`isolation`: nobody uses them, so nobody can listen in."""
    return sum(not alive for _, alive in _asked_isolation(story))


def _asked_isolation(story: Story) -> list[tuple[str, bool]]:
    alive = liveness(story)
    return [
        (key, alive.get(cell.wire_id, False))
        for key, cell in story.cells.items()
        if cell.load == "isolation" and (key in story.words.index or cell.wire_id in alive)
    ]


def _isolation_row(story: Story, cell: str, metrics: list[str]) -> Row:
    found = story.words.reindex([cell]).iloc[0]
    return Row(story.wire(cell), [_open_or_shut(float(found[metric])) for metric in metrics])


def _open_or_shut(share: float) -> Mark:
    if pd.isna(share):
        return Mark("–", "none", "not measured")
    if share in (0.0, 1.0):
        return Mark("open", "open") if share else Mark("shut", "shut")
    return Mark(f"{share:.0%}", "open", "open in this share of the trials")


def dead(story: Story) -> list[dict[str, Any]]:
    """Wires that never answered, where their packets die, and in ``guard`` what is known of the guard they have."""
    found, alive = dead_wires(story.frame).to_dict("index"), liveness(story)
    # By wire: several loads may have found the same one dead, and reachability, asked first, knows where.
    wires: dict[str, tuple[str, dict[Any, Any]]] = {}
    for key, cell in sorted(story.cells.items(), key=lambda item: item[1].load != "reachability"):
        if key in found and not alive.get(cell.wire_id, False):
            wires.setdefault(cell.wire_id, (key, found[key]))
    living = {_but_guard(one) for one in story.cells.values() if alive.get(one.wire_id) and not _is_guarded(one)}
    return [
        {
            "wire": story.wires[wire], "site": _word(row["dropped_at"]), "v6": row["reachable_v6"],
            "guard": _guard(story.cells[key], living),
        }
        for wire in story.wires if wire in wires for key, row in [wires[wire]]
    ]  # fmt: skip


def _guard(cell: Cell, living: Container[str]) -> str:
    """Which guard stands in a dead wire's way, and whether the wire lives without it; empty where it has none.

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
    """A wire but for its guard and the scrub that lets a guard's mark pass."""
    return canonical({axis: value for axis, value in cell.wire.items() if axis not in ("primary", "scrub")})


def _word(value: object) -> str:
    return value if isinstance(value, str) else "–"


def failures(story: Story) -> list[dict[str, Any]]:
    """What went wrong, alike ones counted, most frequent first."""
    bad = [one for one in story.attempts if one.status not in ("ok", "skipped")]
    counts = Counter((one.trial.cell.id, one.status, one.error) for one in bad)
    return [
        {"wire": story.wire(cell), "load": story.cells[cell].load, "traffic": story.traffic[cell], "status": status,
         "error": error, "count": count}
        for (cell, status, error), count in counts.most_common() if cell in story.cells
    ]  # fmt: skip


def phases(story: Story) -> list[tuple[str, float, float]]:
    """(phase, seconds, share) of the trials' time, in the order of the trial."""
    total: Counter[str] = Counter()
    for attempt in story.attempts:
        total.update(attempt.seconds)
    whole = sum(total.values())
    return [(phase, seconds, seconds / whole) for phase, seconds in total.items()] if whole else []


def trials(story: Story) -> dict[str, Any]:
    """Every trial for the page's own table: words once, rows as indices into them and numbers."""
    wires = {wire: place for place, wire in enumerate(story.wires)}
    return {
        "wires": [[wire.name, "var(--ink)" if wire.reference else wire.colour] for wire in story.wires.values()],
        "rows": [_trial(story, one, wires) for one in story.attempts if one.trial.cell.id in story.cells],
    }


def _trial(story: Story, one: Attempt, wires: dict[str, int]) -> list[Any]:
    cell = one.trial.cell
    metric = DIAGNOSTIC_METRIC if one.trial.role == "diagnostic" else HEADLINE[cell.load]
    found = next((row for row in one.observations if row.metric == metric), None)
    value = found.value if found and found.status == "ok" else None
    said = one.error or ("" if value is None or found is None else _said(value, found.unit))
    return [one.trial.block, one.trial.position, wires[cell.wire_id], one.trial.role, cell.load, story.traffic[cell.id],
            metric, value, said, one.status]  # fmt: skip


def _said(value: float, unit: str) -> str:
    return ("yes" if value else "no") if unit == "bool" else number(value, unit)


def verdict_mark(word: str) -> str:
    """A sign for a verdict, so that colour is never the only difference."""
    return VERDICT_MARKS.get(word, "")
