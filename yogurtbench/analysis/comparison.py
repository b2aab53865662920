"""Compare each cell with its own block's baseline: ratio, interval, verdict.

One value a cell and block; the logarithm of its ratio to the same block's baseline; over the blocks
the Hodges-Lehmann estimate with the interval of Wilcoxon's signed-rank test (see
:mod:`statistics`). A verdict needs the interval wholly beyond the margin (``faster``, ``slower``)
or wholly inside it (``equivalent``), at a level adjusted for how many were asked: Holm among the
declared gate cells, Benjamini-Hochberg among the rest. On the instruction clock nothing is
estimated: a difference is a difference. On either clock a value stands for all that its tool's
rounding can have made it from (see :mod:`rounding`): the least and the most that each ratio can be
are held against the margin, so that rounding alone never decides.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

import numpy as np
import pandas as pd

from yogurtbench.analysis.rounding import (
    ROUNDED,
    Logs,
    are_identical,
    effect_with_rounding,
    exact_location,
    is_constant,
    is_more_rounding_than_noise,
    one_sample_chances,
    rounded_note,
    widen_by_rounding,
)
from yogurtbench.analysis.statistics import (
    ALPHA,
    FEWEST,
    Floats,
    benjamini_hochberg,
    family_of,
    hodges_lehmann,
    holm,
    judge,
    ratio_of,
)
from yogurtbench.analysis.values import BlockValues, Series, comparable, drop_unresolved, rows_of
from yogurtbench.core.metrics import FLOOR, FLOORED, HEADLINE, METRICS, unit_on
from yogurtbench.core.records import ASIDE, AXES, Cell
from yogurtbench.plan.plan import Plan

#: What counts as equivalent where the matrix names no margin, by clock, as a share of the baseline.
MARGIN = {"wall": 0.03, "instructions": 0.0}

#: Why there is no comparison, by name.
DEGENERATE: dict[str, str] = {
    "identical": "the same value in every block",
    "constant": "the same ratio in every block: no spread to judge by",
    "zeros": "zeros among the values: no ratio exists",
    "one_block": "a single block: nothing can be said about its noise",
    "too_few_blocks": f"fewer than {FEWEST} blocks: no 95 % interval exists",
    "incomplete": "it or its baseline failed or is missing in some blocks",
    "failed": "it failed in every block",
    "dead": "the wire is dead: its loads were skipped",
    "unsupported": "this kernel, or a tool here, cannot do it",
    "looping": "packets loop",
    "no_baseline": "nothing to compare with",
    "not_run": "no trial of it was run",
}
EMULATED = "emulated (TCG): not a statement about hardware"

COLUMNS = (
    "cell",
    "role",
    *AXES,
    "baseline",
    "metric",
    "unit",
    "better",
    "n",
    "baseline_median",
    "cell_median",
    "difference",
    "ratio",
    "ratio_low",
    "ratio_high",
    "median_ratio",
    "delta",
    "verdict",
    "family",
    "p",
    "p_adjusted",
    "lab",
    "accelerator",
    "clock",
    "note",
    "resolution",
)


_INTEGERS = ("headroom", "ip", "payload", "mtu", "streams")
_NUMBERS = (
    "baseline_median",
    "cell_median",
    "difference",
    "ratio",
    "ratio_low",
    "ratio_high",
    "median_ratio",
    "p",
    "p_adjusted",
    "resolution",
)


def why_rounded(note: str) -> str:
    """Return what of a note says that rounding leaves something undecided.

    Empty where it does not.
    """
    said = note.removeprefix(f"{EMULATED}; ")
    return said if said.startswith(ROUNDED) else ""


# --- comparisons ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Comparison:
    """One question: a cell's metric against one of its baselines."""

    cell: str
    load: str
    role: str
    metric: str
    baseline: str | None
    main: bool
    gate: bool
    margin: float
    exact: bool


def compare(frame: pd.DataFrame, plan: Plan) -> pd.DataFrame:
    """Return a row per cell, metric and baseline: columns :data:`COLUMNS`, medians in ``unit``.

    ``ratio`` is the Hodges-Lehmann estimate of cell over baseline, ``ratio_low``/``ratio_high`` its
    95 % interval, not adjusted; ``difference`` the median of the blocks' differences in ``unit``;
    ``delta`` the margin; ``verdict`` the word, from ``p_adjusted`` in ``family`` (gate,
    exploratory, canary); ``resolution`` how far rounding can have moved the ratio, as a share,
    which the interval has in it (nan: the value tells nothing). Metrics without a direction and
    yes/no metrics are not compared (see :func:`words`).
    """
    values = BlockValues(drop_unresolved(frame, plan))
    shared = dict(_first_rows(frame))
    elsewhere = _kernel_locations(plan, shared)
    rows = [
        _row(asked, values, shared.get(cell.id, elsewhere.get(cell.kernel, {})), cell)
        for cell, asked in _comparisons(values, plan)
    ]
    table = pd.DataFrame(_with_verdicts(rows), columns=list(COLUMNS))
    return table.astype(dict.fromkeys(_INTEGERS, "Int64") | dict.fromkeys(_NUMBERS, "float64"))


def _first_rows(frame: pd.DataFrame) -> Iterator[tuple[str, dict[str, Any]]]:
    first = frame.drop_duplicates("cell")
    keys = ["cell", "lab", "accelerator", "clock", "kernel"]
    return ((row["cell"], row) for row in rows_of(first[keys]))


def _kernel_locations(
    plan: Plan, shared: Mapping[str, dict[str, Any]]
) -> dict[str, dict[str, Any]]:
    """Return the kernel release by word of the axis kernel, for cells that never ran too."""
    cells = [planned.cell for planned in plan.cells]
    return {cell.kernel: shared[cell.id] for cell in cells if cell.id in shared}


def _comparisons(values: BlockValues, plan: Plan) -> Iterator[tuple[Cell, _Comparison]]:
    for planned in plan.cells:
        if planned.role not in ("cell", "canary"):
            continue
        cell, role = planned.cell, planned.role
        metrics = [
            m for m in values.metrics.get((cell.id, role), [HEADLINE[cell.load]]) if comparable(m)
        ]
        for place, baseline in enumerate(planned.baselines or (None,)):
            for metric in metrics:
                gate = planned.gate and place == 0 and metric == HEADLINE[cell.load]
                margin, exact = (
                    plan.margins.get(metric, MARGIN[plan.clock]),
                    plan.clock == "instructions",
                )
                yield (
                    cell,
                    _Comparison(
                        cell.id, cell.load, role, metric, baseline, place == 0, gate, margin, exact
                    ),
                )


def decided_minima(table: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of :func:`compare` whose fastest round trip is decided while their median is
    not.
    """
    cells = table[table["role"] == "cell"].set_index(["cell", "baseline"], drop=False)
    vague = cells.index[(cells["metric"] == FLOORED) & (cells["verdict"] == "inconclusive")]
    found = cells[
        (cells["metric"] == FLOOR) & cells["verdict"].isin(["faster", "slower", "equivalent"])
    ]
    return found[found.index.isin(vague)].reset_index(drop=True)


def _row(
    asked: _Comparison, values: BlockValues, shared: Mapping[str, Any], compared: Cell
) -> dict[str, Any]:
    cell = values.of(asked.cell, asked.role, asked.metric)
    base = values.of(asked.baseline, "baseline", asked.metric) if asked.baseline else {}
    known = METRICS[asked.metric]
    return {
        **compared.columns,
        **shared,
        "cell": asked.cell,
        "role": asked.role,
        "baseline": asked.baseline,
        "metric": asked.metric,
        "unit": _unit(asked),
        "better": known.better,
        "delta": asked.margin,
        "baseline_median": _median(base.values()),
        "cell_median": _median(cell.values()),
        "family": family_of(asked.role, asked.gate),
        **_measured(asked, cell, base, values),
    }


def _unit(asked: _Comparison) -> str:
    return unit_on("instructions" if asked.exact else "wall", METRICS[asked.metric].unit)


def _median(values: Iterable[float]) -> float:
    found = list(values)
    return float(median(found)) if found else math.nan


def _measured(
    asked: _Comparison, cell: Series, base: Series, values: BlockValues
) -> dict[str, Any]:
    blocks = sorted(cell.keys() & base.keys())
    gaps = {**_unpaired_blocks(cell, base),
            **values.missing(asked.baseline or "", "baseline", asked.metric),
            **values.missing(asked.cell, asked.role, asked.metric)}  # fmt: skip
    pairs = _paired(asked, blocks, cell, base, values)
    found = {
        "n": len(blocks),
        "difference": _median(pairs.x - pairs.y),
        **_ratios(pairs.logs, asked.exact),
    }
    named = (
        _without_pairs(asked, cell, gaps) if not blocks else _without_statistics(pairs, asked, gaps)
    )
    chances = _chances(pairs.logs, asked) if pairs.logs and len(blocks) >= FEWEST else {}
    why = _rounded(pairs, asked) if named in (None, "inconclusive") else ""
    return {
        **found,
        **chances,
        "rounded": why,
        "verdict": named,
        "note": _describe_rounding(named, gaps, len(blocks)) or why,
    }


@dataclass(frozen=True, slots=True)
class _Pairs:
    """A cell's and its baseline's values by block, their rounding, and the log-ratios if any."""

    x: Floats
    y: Floats
    moved: tuple[Floats, Floats]
    logs: Logs | None


def _paired(
    asked: _Comparison, blocks: Sequence[int], cell: Series, base: Series, values: BlockValues
) -> _Pairs:
    sides = (asked.cell, asked.role, cell), (asked.baseline or "", "baseline", base)
    x, y = (np.array([series[b] for b in blocks]) for *_, series in sides)
    roundings = [values.rounding(who, role, asked.metric) for who, role, _ in sides]
    moved = (
        np.array([roundings[0].get(b, 0.0) for b in blocks]),
        np.array([roundings[1].get(b, 0.0) for b in blocks]),
    )
    positive = len(blocks) and bool((x > 0).all() and (y > 0).all())
    return _Pairs(x, y, moved, widen_by_rounding(x, y, *moved) if positive else None)


def _rounded(pairs: _Pairs, asked: _Comparison) -> str:
    """Return why rounding leaves undecided what would else be decided; empty where it does not."""
    logs = pairs.logs
    if logs is None or not logs.are_rounded:
        return ""
    if asked.exact:
        undecided = _exact_verdict(logs.unrounded, asked) == "inconclusive"
    else:
        undecided = len(pairs.x) < FEWEST or min(_p(logs.unrounded, asked).values()) > ALPHA
    if undecided and not is_more_rounding_than_noise(logs, hodges_lehmann(logs.reported)):
        return ""
    where = asked.load, "instructions" if asked.exact else "wall"
    side = int(pairs.moved[1].max() > pairs.moved[0].max())
    worst = int(np.argmax(pairs.moved[side]))
    return rounded_note(
        asked.metric, where, logs, (pairs.x, pairs.y)[side][worst], pairs.moved[side][worst]
    )


def _unpaired_blocks(cell: Series, base: Series) -> dict[int, str]:
    """Blocks that only one of the two has a row of.

    In the last block that is no gap: a run may end within it.
    """
    last = max(cell.keys() | base.keys(), default=0)
    return dict.fromkeys((cell.keys() ^ base.keys()) - {last}, "not run") if cell and base else {}


def _ratios(logs: Logs | None, exact: bool) -> dict[str, float]:
    if logs is None:
        return {}
    effect = effect_with_rounding(logs)
    low, high = (
        (float(logs.low.min()), float(logs.high.max())) if exact else (effect.low, effect.high)
    )
    found = {"ratio": effect.estimate, "ratio_low": low, "ratio_high": high,
             "median_ratio": float(np.median(logs.reported))}  # fmt: skip
    found |= {"resolution": float(np.median(logs.high - logs.low)) / 2}
    ratios = {
        name: ratio_of(value) if math.isfinite(value) else math.nan for name, value in found.items()
    }
    return {**ratios, "resolution": ratios["resolution"] - 1}


def _chances(logs: Logs, asked: _Comparison) -> dict[str, Any]:
    if asked.exact:
        return {}
    chances = _p(logs, asked)
    return {"chances": chances, "p": min(chances.values())}


def _p(logs: Logs, asked: _Comparison) -> dict[str, float]:
    """Two-sided p by the verdict it speaks for, whatever rounding did."""
    p = one_sample_chances(logs, math.log1p(asked.margin))
    lower_is_better = METRICS[asked.metric].better == "lower"
    faster, slower = (p.less, p.more) if lower_is_better else (p.more, p.less)
    return {"faster": faster, "slower": slower, "equivalent": p.within}


def _without_pairs(asked: _Comparison, cell: Series, gaps: Mapping[int, str]) -> str:
    if asked.baseline is None and cell:
        return "no_baseline"
    statuses = set(gaps.values())
    for status, name in _ABSENT:
        if status in statuses:
            return name
    return "no_baseline" if cell else "not_run"


_ABSENT = (
    ("crashed", "failed"),
    ("failed", "failed"),
    ("looping", "looping"),
    ("unsupported", "unsupported"),
    ("skipped", "dead"),
)


def _without_statistics(pairs: _Pairs, asked: _Comparison, gaps: Mapping[int, str]) -> str | None:
    """Return the verdict that is known without statistics; None where they must decide."""
    if gaps:
        return "incomplete"
    same = are_identical(asked.metric, pairs.x, pairs.y, np.concatenate(pairs.moved))
    if asked.exact:
        if same:
            return "identical"
        return _exact_verdict(pairs.logs, asked) if pairs.logs else "zeros"
    names = {
        "one_block": len(pairs.x) == 1,
        "identical": same,
        "zeros": pairs.logs is None,
        "too_few_blocks": len(pairs.x) < FEWEST,
        "constant": pairs.logs is not None and is_constant(pairs.logs),
    }
    return next((name for name, holds in names.items() if holds), None)


def _exact_verdict(logs: Logs, asked: _Comparison) -> str:
    found = exact_location(logs, math.log1p(asked.margin))
    if found in ("equivalent", "inconclusive"):
        return found
    return "faster" if (found == "less") == (METRICS[asked.metric].better == "lower") else "slower"


def _describe_rounding(named: str | None, gaps: Mapping[int, str], n: int) -> str:
    if named == "incomplete":
        return (
            f"{len(gaps)} of {len(gaps) + n} blocks without a pair "
            f"({', '.join(sorted(set(gaps.values())))})"
        )
    return DEGENERATE.get(named or "", "")


def _with_verdicts(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Fill in adjusted p, verdict and note, which depend on how many comparisons there are."""
    for family, adjust in (("gate", holm), ("canary", holm), ("exploratory", benjamini_hochberg)):
        asked = [row for row in rows if row["family"] == family and row["verdict"] is None]
        for row, adjusted in zip(asked, adjust([row["p"] for row in asked]), strict=True):
            row["p_adjusted"] = adjusted
            row["verdict"], note = judge(row["chances"], adjusted)
            row["note"] = note or (row["rounded"] if row["verdict"] == "inconclusive" else "")
    for row in rows:
        if row.get("accelerator") == "tcg":
            row["note"] = f"{EMULATED}; {row['note']}" if row["note"] else EMULATED
    return rows


# --- words ----------------------------------------------------------------------------------------


def categorical_metrics(frame: pd.DataFrame) -> pd.DataFrame:
    """Yes/no and word metrics: a row a cell, a column a metric.

    The share of yes (0-1), or the commonest word.
    """
    ok = frame[
        (frame["status"] == "ok")
        & ~frame["role"].isin(ASIDE)
        & frame["unit"].isin(["bool", "text"])
    ]
    shares = ok[ok["unit"] == "bool"].pivot_table(
        index="cell", columns="metric", values="value", aggfunc="mean", sort=False
    )
    said = ok[(ok["unit"] == "text") & ok["text"].notna()]
    texts = (
        said.groupby(["cell", "metric"])["text"].agg(lambda found: found.mode().iloc[0]).unstack()
    )
    return shares.join(texts, how="outer").rename_axis(index="cell", columns=None)
