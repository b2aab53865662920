"""Frames to comparisons: how a cell compares with its own block's baseline, how sure that is, and what to call it.

One value a cell and block; the logarithm of its ratio to the same block's baseline; over the blocks the
Hodges-Lehmann estimate with the interval of Wilcoxon's signed-rank test, from its exact distribution [1, 2].
A verdict needs the interval wholly beyond the margin (``faster``, ``slower``) or wholly inside it (``equivalent``),
at a level adjusted for how many were asked: Holm [3] among the declared gate cells, Benjamini-Hochberg [4] among
the rest. On the instruction clock nothing is estimated: a difference is a difference.
On either clock a value stands for all that its tool's rounding can have made it from (see :mod:`resolution`): the
least and the most that each ratio can be are held against the margin, so that rounding alone never decides.

[1] Hollander, Wolfe, Chicken: Nonparametric Statistical Methods, 3rd ed., sections 3.1-3.3.
[2] Hodges, Lehmann: Estimates of location based on rank tests, Ann. Math. Stat. 34 (1963).
[3] Holm: A simple sequentially rejective multiple test procedure, Scand. J. Stat. 6 (1979).
[4] Benjamini, Hochberg: Controlling the false discovery rate, J. R. Stat. Soc. B 57 (1995).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from statistics import median
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from yogurtbench.core import resolution
from yogurtbench.core.records import ASIDE, AXES, FLOOR, FLOORED, HEADLINE, METRICS, Cell, unit_on
from yogurtbench.plan.plan import Plan

Floats = NDArray[np.float64]
Series = dict[int, float]  # block -> value
Key = tuple[str, str, str]  # cell id, role, metric

ALPHA = 0.05
#: Fewest blocks for which a 95 % signed-rank interval exists (2 ** -5 / 2 < 0.025).
FEWEST = 6
#: Log-ratios closer together than this differ by the rounding of floating-point numbers alone.
NO_SPREAD = 1e-12
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
#: A column of frames in memory: how far rounding can have moved a value (see run_folder.to_frame).
ROUNDING = "rounding"
EMULATED = "emulated (TCG): not a statement about hardware"

COLUMNS = (
    "cell", "role", *AXES, "baseline", "metric", "unit", "better", "n", "baseline_median", "cell_median", "difference",
    "ratio", "ratio_low", "ratio_high", "median_ratio", "delta", "verdict", "family", "p", "p_adjusted",
    "lab", "accelerator", "clock", "note", "resolution",
)  # fmt: skip


_INTEGERS = ("headroom", "ip", "payload", "mtu", "streams")
_NUMBERS = (
    "baseline_median", "cell_median", "difference", "ratio", "ratio_low", "ratio_high", "median_ratio",
    "p", "p_adjusted", "resolution",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Effect:
    """A location of log-ratios: estimate and 95 % interval (natural logarithms; nan where none exists), blocks."""

    estimate: float
    low: float
    high: float
    n: int

    @property
    def half_width(self) -> float:
        """Half the width of the interval as a share of the ratio (0.01: ±1 %)."""
        return ratio_of((self.high - self.low) / 2) - 1


def ratio_of(log: float) -> float:
    """Return the ratio a logarithm stands for.

    Values from 5e-324 to 1e308 may be nonsense, but are no reason to crash.
    """
    with np.errstate(over="ignore"):
        return float(np.exp(log))


def walsh_averages(values: Floats) -> Floats:
    """Return the n(n+1)/2 means of all pairs, a value with itself included, sorted; not to be written to."""
    return _walsh(np.asarray(values, dtype=float).tobytes())


@lru_cache(maxsize=8)  # estimate, interval and every p of the same values rest on the same averages
def _walsh(data: bytes) -> Floats:
    values = np.frombuffer(data)
    i, j = _pairs(len(values))
    return np.asarray(np.sort((values[i] + values[j]) / 2))


@lru_cache(maxsize=256)
def _pairs(n: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    return np.triu_indices(n)


@lru_cache(maxsize=256)
def signed_rank_cdf(n: int) -> Floats:
    """P(T <= t), t = 0 … n(n+1)/2, of Wilcoxon's signed-rank statistic under its null hypothesis; exact."""
    p = np.zeros(n * (n + 1) // 2 + 1)
    p[0] = 1.0
    for rank in range(1, n + 1):
        p[rank:] += p[:-rank].copy()
        p /= 2
    return np.cumsum(p)


@lru_cache(maxsize=256)
def critical(n: int, alpha: float = ALPHA) -> int:
    """Return how many Walsh averages to leave out at either end for an interval at 1 - alpha; -1 where none exists."""
    return int(np.searchsorted(signed_rank_cdf(n), alpha / 2, side="right")) - 1


def hodges_lehmann(values: Sequence[float] | Floats, alpha: float = ALPHA) -> Effect:
    """Return the median of the Walsh averages and the signed-rank interval at 1 - ``alpha`` (nan below six values)."""
    data = np.asarray(values, dtype=float)
    if not len(data):
        return Effect(math.nan, math.nan, math.nan, 0)
    walsh, out = walsh_averages(data), critical(len(data), alpha)
    low, high = (walsh[out], walsh[-1 - out]) if out >= 0 else (math.nan, math.nan)
    return Effect(float(median(walsh.tolist())), float(low), float(high), len(data))


def widths_in_deviations(n: int) -> float:
    """Half the width to expect of the interval of ``n`` normal values, in their standard deviations; nan below six.

    Student's quantile at the level that the signed-rank interval has at this n, and the estimate's asymptotic variance
    (pi/3 of the mean's); within 6 % of simulation from n = 6 on.
    """
    if n < FEWEST:
        return math.nan
    level = 2 * float(signed_rank_cdf(n)[critical(n)])
    return float(stats.t.ppf(1 - level / 2, n - 1)) * math.sqrt(math.pi / 3 / n)


def p_beyond(values: Floats, margin: float) -> tuple[float, float]:
    """Two-sided p that the location lies below -margin, and above +margin: the interval at 1 - p just touches it."""
    walsh, cdf = walsh_averages(values), signed_rank_cdf(len(values))
    return two_sided(cdf, (walsh >= -margin).sum()), two_sided(cdf, (walsh <= margin).sum())


def p_within(values: Floats, margin: float, most: Floats | None = None) -> float:
    """Two-sided p that the location lies within ±margin; ``most``: where ``values`` are only the least it can be."""
    least, most = walsh_averages(values), walsh_averages(values if most is None else most)
    cdf = signed_rank_cdf(len(values))
    return max(two_sided(cdf, (least <= -margin).sum()), two_sided(cdf, (most >= margin).sum()))


def two_sided(cdf: Floats, against: int) -> float:
    """Return the p of so many values against it, of an exact distribution."""
    return min(1.0, 2 * float(cdf[against]))


@lru_cache(maxsize=256)
def mann_whitney_cdf(m: int, n: int) -> Floats:
    """P(U <= u), u = 0 … mn, of the Mann-Whitney statistic under its null hypothesis; exact.

    The counts are the coefficients of the Gaussian binomial: the product of (1 - q^(n+i)) / (1 - q^i), i = 1 … m.
    """
    counts = [1] + [0] * (m * n)
    for i in range(1, m + 1):
        for u in range(m * n, n + i - 1, -1):
            counts[u] -= counts[u - n - i]
        for u in range(i, m * n + 1):
            counts[u] += counts[u - i]
    total = math.comb(m + n, m)
    return np.cumsum([count / total for count in counts])


def shift(x: Floats, y: Floats, alpha: float = ALPHA) -> Effect:
    """Return how far ``y`` lies above ``x``.

    The median of all differences, and the Mann-Whitney interval at 1 - ``alpha``.

    The interval is nan where there are too few values for one; ``n`` is the number of the fewer.
    """
    found = differences(x, y)
    out = int(np.searchsorted(mann_whitney_cdf(len(x), len(y)), alpha / 2, side="right")) - 1
    low, high = (found[out], found[-1 - out]) if out >= 0 else (math.nan, math.nan)
    return Effect(float(np.median(found)), float(low), float(high), min(len(x), len(y)))


def differences(x: Floats, y: Floats) -> Floats:
    """Return every value of ``y`` minus every one of ``x``, sorted."""
    return np.asarray(np.sort(np.subtract.outer(y, x).ravel()))


def holm(p: Sequence[float]) -> list[float]:
    """Holm's adjusted p values, in the order given."""
    order = np.argsort(p, kind="stable")
    steps = np.asarray(p, dtype=float)[order] * np.arange(len(p), 0, -1)
    adjusted = np.empty(len(p))
    adjusted[order] = np.minimum(1, np.maximum.accumulate(steps))
    return [float(value) for value in adjusted]


def benjamini_hochberg(p: Sequence[float]) -> list[float]:
    """Benjamini and Hochberg's adjusted p values, in the order given."""
    return [float(value) for value in stats.false_discovery_control(list(p))] if len(p) else []


def judge(chances: Mapping[str, float], adjusted: float) -> tuple[str, str]:
    """Return the verdict of the least of these p values once it is adjusted, and a note on it.

    ``chances``: p by the verdict it speaks for.
    """
    likely = min(chances, key=lambda word: chances[word])
    if adjusted <= ALPHA:
        return likely, ""
    return "inconclusive", f"{likely} before adjustment" if chances[likely] <= ALPHA else ""


# --- values: one a cell and block ----------------------------------------------------------------------------------


class BlockValues:
    """The frame as one value a (cell, role, metric) and block, and the statuses of the blocks without one."""

    def __init__(self, frame: pd.DataFrame) -> None:
        self.series, self.roundings = _series(frame)
        self.statuses = _statuses(frame)
        self.metrics: dict[tuple[str, str], list[str]] = {}
        for cell, role, metric in dict.fromkeys((*self.series, *self.statuses)):
            self.metrics.setdefault((cell, role), []).append(metric)

    def of(self, cell: str, role: str, metric: str) -> Series:
        """Block to value."""
        return self.series.get((cell, role, metric), {})

    def rounding(self, cell: str, role: str, metric: str) -> Series:
        """Block to how far rounding can have moved the value."""
        return self.roundings.get((cell, role, metric), {})

    def missing(self, cell: str, role: str, metric: str) -> dict[int, str]:
        """Block to status, for the blocks that gave no value."""
        found, given = self.statuses.get((cell, role, metric), {}), self.of(cell, role, metric)
        return {block: status for block, status in found.items() if block not in given}


def _series(frame: pd.DataFrame) -> tuple[dict[Key, Series], dict[Key, Series]]:
    """Return the values, and how far rounding can have moved each."""
    ok = frame[(frame["status"] == "ok") & np.isfinite(frame["value"])]
    ok = ok if ROUNDING in ok else ok.assign(**{ROUNDING: 0.0})
    found: dict[Key, dict[int, list[tuple[float, float]]]] = {}
    for cell, role, metric, block, *told in tuples_of(ok, "cell", "role", "metric", "block", "value", ROUNDING):
        found.setdefault((cell, role, metric), {}).setdefault(int(block), []).append((told[0], told[1]))
    values = {key: {b: _middle([one for one, _ in told]) for b, told in one.items()} for key, one in found.items()}
    return values, {key: {b: _middle_rounding(told) for b, told in one.items()} for key, one in found.items()}


def _middle_rounding(told: list[tuple[float, float]]) -> float:
    """Return how far the middle lies from that of the least values, or of the most, that rounding leaves."""
    if len(told) == 1:
        return told[0][1]
    values, least = [value for value, _ in told], [max(0.0, value - moved) for value, moved in told]
    low = 0.0 if min(least) == 0 < min(values) else _middle(least)
    return max(_middle(values) - low, _middle([value + moved for value, moved in told]) - _middle(values))


def _middle(values: list[float]) -> float:
    """Divide by a baseline that ran first and last: its geometric mean (arithmetic where there are zeros)."""
    if len(values) == 1:
        return values[0]
    return (
        math.exp(math.fsum(map(math.log, values)) / len(values)) if min(values) > 0 else math.fsum(values) / len(values)
    )


def _statuses(frame: pd.DataFrame) -> dict[Key, dict[int, str]]:
    """Whatever is neither a word nor a finite number, by block; an ok row with neither has failed to measure."""
    found: dict[Key, dict[int, str]] = {}
    without = frame[(frame["status"] != "ok") | (~np.isfinite(frame["value"]) & frame["text"].isna())]
    for cell, role, metric, block, status in tuples_of(without, "cell", "role", "metric", "block", "status"):
        found.setdefault((cell, role, metric), {})[int(block)] = "failed" if status == "ok" else status
    return found


def tuples_of(frame: pd.DataFrame, *columns: str) -> Iterator[tuple[Any, ...]]:
    """Yield the rows of some columns."""
    # By way of objects: pandas takes texts out of Arrow one by one otherwise, and its to_dict is slower still.
    return zip(*(frame[column].astype(object).tolist() for column in columns), strict=True)


def drop_unresolved(frame: pd.DataFrame, plan: Plan) -> pd.DataFrame:
    """Return the frame with its column ROUNDING.

    As it is, or made from the plan's options where it was read from a file.
    """
    if ROUNDING in frame:
        return frame
    options = {(planned.cell.id, planned.role): planned.options for planned in plan.cells}
    values: dict[str, dict[str, float]] = {}
    for trial, metric, value in tuples_of(frame[frame["value"].notna()], "trial", "metric", "value"):
        values.setdefault(trial, {})[metric] = value
    moved = []
    for trial, cell, role, load, clock, payload, metric, value in tuples_of(
        frame, "trial", "cell", "role", "load", "clock", "payload", "metric", "value"
    ):
        size = None if pd.isna(payload) else int(payload)
        source = resolution.ResolutionSource(load, clock, size, options.get((cell, role), {}), values.get(trial, {}))
        moved.append(resolution.rounding_of(metric, value, source))
    return frame.assign(**{ROUNDING: moved})


# --- what rounding leaves ------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Logs:
    """Log-ratios, or differences of them: as they were told, and the least and the most that rounding leaves."""

    told: Floats
    low: Floats
    high: Floats

    @property
    def are_rounded(self) -> bool:
        """Whether any of them may be another than was told."""
        return bool((self.high - self.low > NO_SPREAD).any())

    @property
    def unrounded(self) -> Logs:
        """As if nothing had been rounded."""
        return Logs(self.told, self.told, self.told)

    @property
    def size(self) -> float:
        """The largest difference that they leave, as a share (0.01: 1 %)."""
        return ratio_of(max(float(self.high.max()), float(-self.low.min()))) - 1


def widen_by_rounding(x: Floats, y: Floats, moved_x: Floats, moved_y: Floats) -> Logs:
    """Return the log-ratios x/y of positive values whose rounding can have moved them so far, up or down."""
    with np.errstate(divide="ignore", over="ignore"):
        told = np.log(x) - np.log(y)
        low = np.log(np.maximum(x - moved_x, 0.0)) - np.log(y + moved_y)
        high = np.log(x + moved_x) - np.log(np.maximum(y - moved_y, 0.0))
    return Logs(told, low, high)


@dataclass(frozen=True, slots=True)
class Chances:
    """Two-sided p that a location lies below -margin, above +margin, and within ±margin."""

    less: float
    more: float
    within: float


def one_sample_chances(logs: Logs, margin: float) -> Chances:
    """Return those of the location of log-ratios, by Wilcoxon's signed-rank test."""
    less, more = p_beyond(logs.high, margin)[0], p_beyond(logs.low, margin)[1]
    return Chances(less, more, p_within(logs.low, margin, logs.high))


def two_sample_chances(x: Logs, y: Logs, margin: float) -> Chances:
    """Return those of how far ``y`` lies above ``x``, by the Mann-Whitney test."""
    least, most = differences(x.high, y.low), differences(x.low, y.high)
    cdf = mann_whitney_cdf(len(x.told), len(y.told))
    less = two_sided(cdf, (most >= -margin).sum())
    more = two_sided(cdf, (least <= margin).sum())
    within = max(two_sided(cdf, (least <= -margin).sum()), two_sided(cdf, (most >= margin).sum()))
    return Chances(less, more, within)


def exact_location(logs: Logs, margin: float) -> Literal["less", "more", "equivalent", "inconclusive"]:
    """Return where log-ratios lie that have no noise: below -margin, above +margin, or within."""
    low, high = float(logs.low.min()), float(logs.high.max())
    if low >= -margin and high <= margin:
        return "equivalent"
    if high < -margin:
        return "less"
    return "more" if low > margin else "inconclusive"


def are_identical(metric: str, x: Floats, y: Floats, moved: Floats) -> bool:
    """Return whether equal values are equal to the last digit.

    Nothing was rounded, or nothing was counted but equal counts.

    Equal values that were rounded are no more than not far from each other.
    """
    if not (len(x) and np.array_equal(x, y)):
        return False
    return not moved.any() or METRICS[metric].whole or (metric == "loss" and not x.any())


#: How notes begin that say that rounding, or a quantile of too few values, leaves something undecided.
ROUNDED = ("could be rounding: ", "no difference larger than ", "too few round trips ")


def why_rounded(note: str) -> str:
    """Return what of a note says that rounding leaves something undecided; empty where it does not."""
    said = note.removeprefix(f"{EMULATED}; ")
    return said if said.startswith(ROUNDED) else ""


def rounded_note(metric: str, where: tuple[str, str], logs: Logs, value: float, moved: float) -> str:
    """Why rounding leaves values undecided, and what would decide; ``where``: the load and the clock."""
    why = resolution.explain_rounding(metric, *where, value, moved)
    if math.isinf(moved):
        return why
    if logs.told.any() or not math.isfinite(logs.size):
        return f"could be rounding: {why}"
    return f"no difference larger than {100 * logs.size:.2g} %: {why}"


# --- comparisons ---------------------------------------------------------------------------------------------------


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
    """Return one row a cell (its baselines apart), metric and baseline: columns :data:`COLUMNS`, medians in ``unit``.

    ``ratio`` is the Hodges-Lehmann estimate of cell over baseline, ``ratio_low``/``ratio_high`` its 95 % interval,
    not adjusted; ``difference`` the median of the blocks' differences in ``unit``; ``delta`` the margin; ``verdict``
    the word, from ``p_adjusted`` in ``family`` (gate, exploratory, canary); ``resolution`` how far rounding can have
    moved the ratio, as a share, which the interval has in it (nan: the value tells nothing). Metrics without a
    direction and yes/no metrics are not compared (see :func:`words`).
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


def rows_of(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Return a frame's rows as dicts by column name."""
    return [dict(zip(table.columns, values, strict=True)) for values in tuples_of(table, *table.columns)]


def _first_rows(frame: pd.DataFrame) -> Iterator[tuple[str, dict[str, Any]]]:
    first = frame.drop_duplicates("cell")
    keys = ["cell", "lab", "accelerator", "clock", "kernel"]
    return ((row["cell"], row) for row in rows_of(first[keys]))


def _kernel_locations(plan: Plan, shared: Mapping[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Return where cells of the same axis kernel ran, by that word: a cell that never ran would have run there too."""
    cells = [planned.cell for planned in plan.cells]
    return {cell.kernel: shared[cell.id] for cell in cells if cell.id in shared}


def _comparisons(values: BlockValues, plan: Plan) -> Iterator[tuple[Cell, _Comparison]]:
    for planned in plan.cells:
        if planned.role not in ("cell", "canary"):
            continue
        cell, role = planned.cell, planned.role
        metrics = [m for m in values.metrics.get((cell.id, role), [HEADLINE[cell.load]]) if comparable(m)]
        for place, baseline in enumerate(planned.baselines or (None,)):
            for metric in metrics:
                gate = planned.gate and place == 0 and metric == HEADLINE[cell.load]
                margin, exact = plan.margins.get(metric, MARGIN[plan.clock]), plan.clock == "instructions"
                yield cell, _Comparison(cell.id, cell.load, role, metric, baseline, place == 0, gate, margin, exact)


def decided_minima(table: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of :func:`compare` whose fastest round trip is decided while their median is not."""
    cells = table[table["role"] == "cell"].set_index(["cell", "baseline"], drop=False)
    vague = cells.index[(cells["metric"] == FLOORED) & (cells["verdict"] == "inconclusive")]
    found = cells[(cells["metric"] == FLOOR) & cells["verdict"].isin(["faster", "slower", "equivalent"])]
    return found[found.index.isin(vague)].reset_index(drop=True)


def comparable(metric: str) -> bool:
    """Return whether a ratio of this metric means something: a quantity with a direction."""
    known = METRICS.get(metric)
    return known is not None and known.better != "none" and known.unit != "bool"


def _row(asked: _Comparison, values: BlockValues, shared: Mapping[str, Any], compared: Cell) -> dict[str, Any]:
    cell = values.of(asked.cell, asked.role, asked.metric)
    base = values.of(asked.baseline, "baseline", asked.metric) if asked.baseline else {}
    known = METRICS[asked.metric]
    return {
        **_axes(compared), **shared, "cell": asked.cell, "role": asked.role, "baseline": asked.baseline,
        "metric": asked.metric, "unit": _unit(asked), "better": known.better, "delta": asked.margin,
        "baseline_median": _median(base.values()), "cell_median": _median(cell.values()),
        "family": "canary" if asked.role == "canary" else "gate" if asked.gate else "exploratory",
        **_measured(asked, cell, base, values),
    }  # fmt: skip


def _axes(cell: Cell) -> dict[str, Any]:
    return cell.axes | {"cpus": ",".join(map(str, cell.cpus)) if isinstance(cell.cpus, tuple) else cell.cpus}


def _unit(asked: _Comparison) -> str:
    return unit_on("instructions" if asked.exact else "wall", METRICS[asked.metric].unit)


def _median(values: Iterable[float]) -> float:
    found = list(values)
    return float(median(found)) if found else math.nan


def _measured(asked: _Comparison, cell: Series, base: Series, values: BlockValues) -> dict[str, Any]:
    blocks = sorted(cell.keys() & base.keys())
    gaps = {**_unpaired_blocks(cell, base),
            **values.missing(asked.baseline or "", "baseline", asked.metric),
            **values.missing(asked.cell, asked.role, asked.metric)}  # fmt: skip
    pairs = _paired(asked, blocks, cell, base, values)
    found = {"n": len(blocks), "difference": _median(pairs.x - pairs.y), **_ratios(pairs.logs, asked.exact)}
    named = _without_pairs(asked, cell, gaps) if not blocks else _without_statistics(pairs, asked, gaps)
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
    """Blocks' values of a cell and its baseline, how far rounding can have moved each, and the log-ratios if any."""

    x: Floats
    y: Floats
    moved: tuple[Floats, Floats]
    logs: Logs | None


def _paired(asked: _Comparison, blocks: Sequence[int], cell: Series, base: Series, values: BlockValues) -> _Pairs:
    sides = (asked.cell, asked.role, cell), (asked.baseline or "", "baseline", base)
    x, y = (np.array([series[b] for b in blocks]) for *_, series in sides)
    told = [values.rounding(who, role, asked.metric) for who, role, _ in sides]
    moved = np.array([told[0].get(b, 0.0) for b in blocks]), np.array([told[1].get(b, 0.0) for b in blocks])
    positive = len(blocks) and bool((x > 0).all() and (y > 0).all())
    return _Pairs(x, y, moved, widen_by_rounding(x, y, *moved) if positive else None)


def _rounded(pairs: _Pairs, asked: _Comparison) -> str:
    """Why rounding leaves undecided what would else be decided; empty where it does not."""
    logs = pairs.logs
    if logs is None or not logs.are_rounded:
        return ""
    if asked.exact:
        undecided = _exact_verdict(logs.unrounded, asked) == "inconclusive"
    else:
        undecided = len(pairs.x) < FEWEST or min(_p(logs.unrounded, asked).values()) > ALPHA
    if undecided and not is_more_rounding_than_noise(logs, hodges_lehmann(logs.told)):
        return ""
    where = asked.load, "instructions" if asked.exact else "wall"
    side = int(pairs.moved[1].max() > pairs.moved[0].max())
    worst = int(np.argmax(pairs.moved[side]))
    return rounded_note(asked.metric, where, logs, (pairs.x, pairs.y)[side][worst], pairs.moved[side][worst])


def _unpaired_blocks(cell: Series, base: Series) -> dict[int, str]:
    """Blocks that only one of the two has a row of; in the last block that is no gap: a run may end within it."""
    last = max(cell.keys() | base.keys(), default=0)
    return dict.fromkeys((cell.keys() ^ base.keys()) - {last}, "not run") if cell and base else {}


def pivot_blocks(logs: Logs) -> Effect:
    """Return the estimate of what was told, and its interval with what rounding leaves beside it."""
    told = hodges_lehmann(logs.told)
    return Effect(told.estimate, hodges_lehmann(logs.low).low, hodges_lehmann(logs.high).high, told.n)


def is_more_rounding_than_noise(logs: Logs, told: Effect) -> bool:
    """Return whether rounding widens the interval by more than the noise of what was told makes it wide."""
    return bool(np.median(logs.high - logs.low) > told.high - told.low)


def _ratios(logs: Logs | None, exact: bool) -> dict[str, float]:
    if logs is None:
        return {}
    effect = pivot_blocks(logs)
    low, high = (float(logs.low.min()), float(logs.high.max())) if exact else (effect.low, effect.high)
    found = {"ratio": effect.estimate, "ratio_low": low, "ratio_high": high,
             "median_ratio": float(np.median(logs.told))}  # fmt: skip
    found |= {"resolution": float(np.median(logs.high - logs.low)) / 2}
    told = {name: ratio_of(value) if math.isfinite(value) else math.nan for name, value in found.items()}
    return {**told, "resolution": told["resolution"] - 1}


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
    """Return the verdict that can be told without statistics; None where they must decide."""
    if gaps:
        return "incomplete"
    same = are_identical(asked.metric, pairs.x, pairs.y, np.concatenate(pairs.moved))
    if asked.exact:
        return "identical" if same else _exact_verdict(pairs.logs, asked) if pairs.logs else "zeros"
    names = {
        "one_block": len(pairs.x) == 1,
        "identical": same,
        "zeros": pairs.logs is None,
        "too_few_blocks": len(pairs.x) < FEWEST,
        "constant": pairs.logs is not None and is_constant(pairs.logs),
    }
    return next((name for name, holds in names.items() if holds), None)


def is_constant(*series: Logs) -> bool:
    """Return whether there is no spread to judge by, and rounding does not account for that."""
    return all(float(np.ptp(logs.told)) < NO_SPREAD and not logs.are_rounded for logs in series)


def _exact_verdict(logs: Logs, asked: _Comparison) -> str:
    found = exact_location(logs, math.log1p(asked.margin))
    if found in ("equivalent", "inconclusive"):
        return found
    return "faster" if (found == "less") == (METRICS[asked.metric].better == "lower") else "slower"


def _describe_rounding(named: str | None, gaps: Mapping[int, str], n: int) -> str:
    if named == "incomplete":
        return f"{len(gaps)} of {len(gaps) + n} blocks without a pair ({', '.join(sorted(set(gaps.values())))})"
    return DEGENERATE.get(named or "", "")


def _with_verdicts(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Fill in what depends on how many were asked: adjusted p, the verdict, and the note that goes with it."""
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


# --- the sweep's questions -----------------------------------------------------------------------------------------


def precision_reached(frame: pd.DataFrame, precision: float, baseline: str | None = None) -> bool:
    """Return whether every cell of a group is known well enough: half the 95 % interval's width at most ``precision``.

    ``frame`` holds one group's rows, ``baseline`` is the id of its main baseline (the group's name; the first
    baseline seen where not given), ``precision`` a share (0.01: ±1 %). Only the deciding metric of each load counts;
    cells without a value (dead, failed, nothing to compare with) do not hold the others up. What rounding adds is left
    out, since no number of blocks takes it away. Never looks at whether there is a difference.
    """
    values = BlockValues(frame)
    bases = [cell for cell, role in values.metrics if role == "baseline"]
    main = baseline or (bases[0] if bases else "")
    loads = dict(tuples_of(frame.drop_duplicates("cell"), "cell", "load"))
    pairs = [(c, r, HEADLINE[loads[c]]) for c, r in values.metrics if r in ("cell", "canary")]
    widths = [_width(values.of(*pair), values.of(main, "baseline", pair[2]), frame) for pair in pairs]
    return all(width is None or width <= precision for width in widths)


def _width(cell: Series, base: Series, frame: pd.DataFrame) -> float | None:
    logs = _unrounded_logs(cell, base)
    if not len(logs):
        return None
    if (frame["clock"] == "instructions").any():
        return 0.0
    width = hodges_lehmann(logs).half_width
    return math.inf if math.isnan(width) else width


def _unrounded_logs(cell: Series, base: Series) -> Floats:
    pairs = [(cell[b], base[b]) for b in sorted(cell.keys() & base.keys())]
    return np.array([math.log(x) - math.log(y) for x, y in pairs if x > 0 and y > 0])


def drift(frame: pd.DataFrame, margins: Mapping[str, float] | None = None) -> pd.DataFrame:
    """Return the baselines that ran first and last in a block: last over first, a row a baseline, rounding allowed for.

    Columns cell, metric, n, ratio, ratio_low, ratio_high, verdict (``drift``: beyond the margin; ``steady``: within
    it; ``inconclusive``).
    """
    rows = frame[(frame["role"] == "baseline") & (frame["status"] == "ok") & frame["value"].notna()]
    headline = rows[rows["metric"] == rows["load"].map(HEADLINE)].sort_values("position")
    found = [_drift(str(cell), mine, margins or {}) for cell, mine in headline.groupby("cell", sort=False)]
    columns = ["cell", "metric", "n", "ratio", "ratio_low", "ratio_high", "verdict"]
    return pd.DataFrame([row for row in found if row], columns=columns)


def _drift(cell: str, rows: pd.DataFrame, margins: Mapping[str, float]) -> dict[str, Any] | None:
    metric, clock = str(rows["metric"].iloc[0]), str(rows["clock"].iloc[0])
    rows = rows if ROUNDING in rows else rows.assign(**{ROUNDING: 0.0})
    blocks = rows.groupby("block")[["value", ROUNDING]].agg(["first", "last", "size"])
    value, moved = blocks["value"], blocks[ROUNDING]
    whole = (value["size"] > 1) & (value["first"] > 0) & (value["last"] > 0)
    if not whole.any():
        return None
    last, first = (value.loc[whole, which].to_numpy(dtype=float) for which in ("last", "first"))
    logs = widen_by_rounding(
        last, first, *(moved.loc[whole, which].to_numpy(dtype=float) for which in ("last", "first"))
    )
    effect = pivot_blocks(logs)
    margin = math.log1p(margins.get(metric, MARGIN[clock]))
    return {"cell": cell, "metric": metric, "n": effect.n, "ratio": ratio_of(effect.estimate),
            "ratio_low": ratio_of(effect.low), "ratio_high": ratio_of(effect.high),
            "verdict": _drift_verdict(effect, margin)}  # fmt: skip


def _drift_verdict(effect: Effect, margin: float) -> Literal["drift", "steady", "inconclusive"]:
    if effect.low > margin or effect.high < -margin:
        return "drift"
    return "steady" if -margin <= effect.low and effect.high <= margin else "inconclusive"


# --- words ---------------------------------------------------------------------------------------------------------


def categorical_metrics(frame: pd.DataFrame) -> pd.DataFrame:
    """Yes/no and word metrics: a row a cell, a column a metric; the share of yes (0-1), or the commonest word."""
    ok = frame[(frame["status"] == "ok") & ~frame["role"].isin(ASIDE) & frame["unit"].isin(["bool", "text"])]
    shares = ok[ok["unit"] == "bool"].pivot_table(
        index="cell", columns="metric", values="value", aggfunc="mean", sort=False
    )
    said = ok[(ok["unit"] == "text") & ok["text"].notna()]
    texts = said.groupby(["cell", "metric"])["text"].agg(lambda found: found.mode().iloc[0]).unstack()
    return shares.join(texts, how="outer").rename_axis(index="cell", columns=None)


def dead_wires(frame: pd.DataFrame) -> pd.DataFrame:
    """Reachability cells where nothing ever answered: index cell, columns ``reachable_v6`` and ``dropped_at``."""
    found = categorical_metrics(frame)
    if "reachable" not in found:
        return pd.DataFrame(columns=["reachable_v6", "dropped_at"])
    return found[found["reachable"] == 0].reindex(columns=["reachable_v6", "dropped_at"])
