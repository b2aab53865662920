"""Log-ratios of rounded values: their bounds, and what these leave undecided."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np

from yogurtbench.analysis.statistics import (
    Effect,
    Floats,
    differences,
    hodges_lehmann,
    mann_whitney_cdf,
    p_beyond,
    p_within,
    ratio_of,
    two_sided,
)
from yogurtbench.core import resolution
from yogurtbench.core.metrics import METRICS

#: Log-ratios closer together than this differ by the rounding of floating-point numbers alone.
NO_SPREAD = 1e-12


@dataclass(frozen=True, slots=True)
class Logs:
    """Log-ratios, or differences of them, with the bounds that rounding leaves."""

    reported: Floats
    low: Floats
    high: Floats

    @property
    def are_rounded(self) -> bool:
        """True where rounding can have moved one of them."""
        return bool((self.high - self.low > NO_SPREAD).any())

    @property
    def unrounded(self) -> Logs:
        """As if nothing had been rounded."""
        return Logs(self.reported, self.reported, self.reported)

    @property
    def size(self) -> float:
        """The largest difference that they leave, as a share (0.01: 1 %)."""
        return ratio_of(max(float(self.high.max()), float(-self.low.min()))) - 1


def widen_by_rounding(x: Floats, y: Floats, moved_x: Floats, moved_y: Floats) -> Logs:
    """Return the log-ratios x/y of positive values whose rounding can have moved them so far, up or
    down.
    """
    with np.errstate(divide="ignore", over="ignore"):
        reported = np.log(x) - np.log(y)
        low = np.log(np.maximum(x - moved_x, 0.0)) - np.log(y + moved_y)
        high = np.log(x + moved_x) - np.log(np.maximum(y - moved_y, 0.0))
    return Logs(reported, low, high)


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
    cdf = mann_whitney_cdf(len(x.reported), len(y.reported))
    less = two_sided(cdf, (most >= -margin).sum())
    more = two_sided(cdf, (least <= margin).sum())
    within = max(two_sided(cdf, (least <= -margin).sum()), two_sided(cdf, (most >= margin).sum()))
    return Chances(less, more, within)


def exact_location(
    logs: Logs, margin: float
) -> Literal["less", "more", "equivalent", "inconclusive"]:
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


#: How notes begin that say that rounding, or a quantile of too few values, leaves something
#: undecided.
ROUNDED = ("could be rounding: ", "no difference larger than ", "too few round trips ")


def rounded_note(
    metric: str, where: tuple[str, str], logs: Logs, value: float, moved: float
) -> str:
    """Return why rounding leaves values undecided, and what would decide.

    ``where``: the load and the clock.
    """
    why = resolution.explain_rounding(metric, *where, value, moved)
    if math.isinf(moved):
        return why
    if logs.reported.any() or not math.isfinite(logs.size):
        return f"could be rounding: {why}"
    return f"no difference larger than {100 * logs.size:.2g} %: {why}"


def effect_with_rounding(logs: Logs) -> Effect:
    """Return the estimate of what was reported, and its interval with what rounding leaves beside
    it.
    """
    effect = hodges_lehmann(logs.reported)
    return Effect(
        effect.estimate, hodges_lehmann(logs.low).low, hodges_lehmann(logs.high).high, effect.n
    )


def is_more_rounding_than_noise(logs: Logs, effect: Effect) -> bool:
    """Return whether rounding widens the interval by more than the noise of what was reported
    does.
    """
    return bool(np.median(logs.high - logs.low) > effect.high - effect.low)


def is_constant(*series: Logs) -> bool:
    """Return whether there is no spread to judge by, and rounding does not account for that."""
    return all(float(np.ptp(logs.reported)) < NO_SPREAD and not logs.are_rounded for logs in series)
