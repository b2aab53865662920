"""Locations and their intervals from exact distributions, p values and their adjustment. Pure.

[1] Hollander, Wolfe, Chicken: Nonparametric Statistical Methods, 3rd ed., sections 3.1-3.3 (signed
rank), 4.1-4.3
    (Mann-Whitney).
[2] Hodges, Lehmann: Estimates of location based on rank tests, Ann. Math. Stat. 34 (1963).
[3] Holm: A simple sequentially rejective multiple test procedure, Scand. J. Stat. 6 (1979).
[4] Benjamini, Hochberg: Controlling the false discovery rate, J. R. Stat. Soc. B 57 (1995).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from statistics import median
from typing import Literal

import numpy as np
import scipy  # its parts are imported when they are used: a typo must not wait for them
from numpy.typing import NDArray

Floats = NDArray[np.float64]

ALPHA = 0.05
#: Fewest blocks for which a 95 % signed-rank interval exists (2 ** -5 / 2 < 0.025).
FEWEST = 6
#: What p values are adjusted together: what decides, the A/A comparison, the rest.
Family = Literal["gate", "canary", "exploratory"]


@dataclass(frozen=True, slots=True)
class Effect:
    """A location of log-ratios: estimate, 95 % interval (nan where none exists), blocks."""

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
    """Return the n(n+1)/2 means of all pairs, a value with itself included, sorted.

    Not to be written to.
    """
    return _walsh(np.asarray(values, dtype=float).tobytes())


@lru_cache(maxsize=8)  # estimate, interval and every p of the same values rest on the same averages
def _walsh(data: bytes) -> Floats:
    values = np.frombuffer(data)
    i, j = _pairs(len(values))
    return np.asarray(np.sort((values[i] + values[j]) / 2))


@lru_cache(maxsize=256)
def _pairs(n: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    return np.triu_indices(n)


#: The most values whose signed-rank distribution is computed exactly: that takes n³ steps.
_EXACT = 1000


@lru_cache(maxsize=256)
def signed_rank_cdf(n: int) -> Floats:
    """P(T <= t), t = 0 … n(n+1)/2, of Wilcoxon's signed-rank statistic under its null hypothesis.

    Exact up to n = 1,000, which takes half a second. Beyond, by the normal approximation with the
    correction for continuity: there the two differ by less than 0.0001.
    """
    if n > _EXACT:
        spread = math.sqrt(n * (n + 1) * (2 * n + 1) / 24)
        statistic = np.arange(n * (n + 1) // 2 + 1, dtype=float)
        return np.asarray(scipy.special.ndtr((statistic + 0.5 - n * (n + 1) / 4) / spread))
    p = np.zeros(n * (n + 1) // 2 + 1)
    p[0] = 1.0
    for rank in range(1, n + 1):
        p[rank:] += p[:-rank].copy()
        p /= 2
    return np.cumsum(p)


@lru_cache(maxsize=256)
def critical(n: int, alpha: float = ALPHA) -> int:
    """Return how many Walsh averages to leave out at either end for an interval at 1 - alpha.

    -1 where none exists.
    """
    return int(np.searchsorted(signed_rank_cdf(n), alpha / 2, side="right")) - 1


def hodges_lehmann(values: Sequence[float] | Floats, alpha: float = ALPHA) -> Effect:
    """Return the median of the Walsh averages and its signed-rank interval at 1 - ``alpha``.

    The interval is nan below six values.
    """
    data = np.asarray(values, dtype=float)
    if not len(data):
        return Effect(math.nan, math.nan, math.nan, 0)
    walsh, out = walsh_averages(data), critical(len(data), alpha)
    low, high = (walsh[out], walsh[-1 - out]) if out >= 0 else (math.nan, math.nan)
    return Effect(float(median(walsh.tolist())), float(low), float(high), len(data))


def widths_in_deviations(n: int) -> float:
    """Half the width to expect of the interval of ``n`` normal values, in their standard
    deviations; nan below six.

    Student's quantile at the level that the signed-rank interval has at this n, and the estimate's
    asymptotic variance (pi/3 of the mean's); within 6 % of simulation from n = 6 on.
    """
    if n < FEWEST:
        return math.nan
    level = 2 * float(signed_rank_cdf(n)[critical(n)])
    return float(scipy.stats.t.ppf(1 - level / 2, n - 1)) * math.sqrt(math.pi / 3 / n)


def p_beyond(values: Floats, margin: float) -> tuple[float, float]:
    """Two-sided p that the location lies below -margin, and above +margin: the interval at 1 - p
    just touches it.
    """
    walsh, cdf = walsh_averages(values), signed_rank_cdf(len(values))
    return two_sided(cdf, (walsh >= -margin).sum()), two_sided(cdf, (walsh <= margin).sum())


def p_within(values: Floats, margin: float, most: Floats | None = None) -> float:
    """Two-sided p that the location lies within ±margin.

    ``most``: where ``values`` are only the least it can be.
    """
    least, most = walsh_averages(values), walsh_averages(values if most is None else most)
    cdf = signed_rank_cdf(len(values))
    return max(two_sided(cdf, (least <= -margin).sum()), two_sided(cdf, (most >= margin).sum()))


def two_sided(cdf: Floats, against: int) -> float:
    """Return the p of so many values against it, of an exact distribution."""
    return min(1.0, 2 * float(cdf[against]))


@lru_cache(maxsize=256)
def mann_whitney_cdf(m: int, n: int) -> Floats:
    """P(U <= u), u = 0 … mn, of the Mann-Whitney statistic under its null hypothesis; exact.

    The counts are the coefficients of the Gaussian binomial: the product of (1 - q^(n+i)) / (1 -
    q^i), i = 1 … m.
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
    return (
        [float(value) for value in scipy.stats.false_discovery_control(list(p))] if len(p) else []
    )


def judge(chances: Mapping[str, float], adjusted: float) -> tuple[str, str]:
    """Return the verdict of the least of these p values once it is adjusted, and a note on it.

    ``chances``: p by the verdict it speaks for.
    """
    likely = min(chances, key=lambda word: chances[word])
    if adjusted <= ALPHA:
        return likely, ""
    return "inconclusive", f"{likely} before adjustment" if chances[likely] <= ALPHA else ""


def family_of(role: str, decides: bool) -> Family:
    """Return the family of a comparison, by its cell's role and whether it decides the gate."""
    if role == "canary":
        return "canary"
    return "gate" if decides else "exploratory"
