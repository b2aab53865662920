"""Find where a series of runs changed its level. Pure.

On the wall clock: PELT [1] as ruptures [2] has it, on least squares, with a penalty that the
series' own noise sets. On the instruction clock nothing is estimated: a difference beyond the
margin is a change. On neither clock is a step that rounding can have made.

[1] Killick, Fearnhead, Eckley: Optimal detection of changepoints with a linear computational cost,
JASA 107 (2012). [2] Truong, Oudre, Vayatis: Selective review of offline change point detection
methods, Signal Processing 167 (2020).
"""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec

import numpy as np
import scipy  # its parts are imported when they are used: a typo must not wait for them
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

Floats = NDArray[np.float64]

#: Fewest runs in which a change is looked for: below, the noise is known too badly to judge by.
FEWEST = 30
#: Chance that a flat family of series (say, the deciding metrics of an experiment) shows any change
#: at all.
ALPHA = 0.05
#: A new level is believed from so many runs on: one run that stands alone is an outlier.
SHORTEST = 2
#: Log-ratios closer together than this differ by rounding alone.
_ROUNDING = 1e-9
#: How many differences are worth one degree of freedom of the variance that their median absolute
#: deviation gives: its efficiency for normal noise is 0.37, and successive differences are worth
#: 2/3 of independent values.
_RUNS_A_DEGREE = 4


def why_unavailable() -> str:
    """Return why nothing can be searched, in a sentence; empty where it can."""
    if find_spec("ruptures"):
        return ""
    return (
        "no changes are looked for: the library ruptures is not installed (there is none "
        "for Python 3.14 and newer yet)"
    )


def change_points(logs: Floats, family: int = 1) -> list[int]:
    """Return the indexes at which a series of log-ratios, oldest first, begins a new level.

    ``family``: how many series are searched together. None below :data:`FEWEST` values, nor where
    :func:`lacking`.
    """
    if len(logs) < FEWEST or why_unavailable():
        return []
    from ruptures import KernelCPD

    search = KernelCPD(kernel="linear", min_size=SHORTEST).fit(_median_filter_3(logs))
    return [int(place) for place in search.predict(pen=penalty(logs, family))[:-1]]


def _median_filter_3(logs: Floats) -> Floats:
    """Return running medians of three: single outliers go, steps stay sharp."""
    inner = np.median(sliding_window_view(logs, 3), axis=1)
    first, last = np.median([logs[0], *inner[:2]]), np.median([logs[-1], *inner[-2:]])
    return np.array([first, *inner, last])


def penalty(logs: Floats, family: int = 1) -> float:
    """Return what a change must take off the sum of squares to be believed: noise² t².

    In a flat series with normal noise, a change at a given place takes off noise² z², z standard
    normal. ``t`` is the quantile that z, divided by a *measured* noise (hence Student's t), exceeds
    anywhere among the n-1 places of any of the family's series with chance :data:`ALPHA` at most
    (Bonferroni). Nothing in it is tuned: the tests count how often flat series of several kinds of
    noise show a change.
    """
    places = (len(logs) - 1) * max(1, family)
    quantile = scipy.stats.t.ppf(1 - ALPHA / (2 * places), len(logs) / _RUNS_A_DEGREE)
    return float((estimate_noise(logs) * quantile) ** 2)


def estimate_noise(logs: Floats) -> float:
    """Return the robust standard deviation between runs.

    It is the median absolute deviation of successive differences, scaled.

    A step is in one difference only and an outlier in two, so neither is taken for noise.
    """
    spread = scipy.stats.median_abs_deviation(np.diff(logs), scale="normal") / np.sqrt(2)
    return max(float(spread), _ROUNDING)


def steps(logs: Floats, margin: float, moved: Floats | None = None) -> list[int]:
    """Return where an exact series leaves its level by more than ``margin`` (a share of the ratio).

    ``moved``: how far rounding can have moved each value, up or down.
    """
    moved = np.zeros(len(logs)) if moved is None else moved
    return list(_steps(logs, float(np.log1p(margin)) + _ROUNDING, moved))


def _steps(logs: Floats, limit: float, moved: Floats) -> Iterator[int]:
    level = 0
    for place, value in enumerate(logs):
        if abs(value - logs[level]) > limit + moved[place] + moved[level]:
            yield place
            level = place


def beyond_rounding(logs: Floats, places: list[int], moved: Floats) -> list[int]:
    """Return the change points whose step is larger than rounding can have made."""
    kept = list(places)
    while kept:
        level, most = levels(logs, kept), levels(moved, kept)
        small = [
            i for i in range(len(kept)) if abs(level[i + 1] - level[i]) <= most[i + 1] + most[i]
        ]
        if not small:
            break
        del kept[min(small, key=lambda i: abs(level[i + 1] - level[i]))]
    return kept


def levels(logs: Floats, changes: list[int]) -> list[float]:
    """Return the median of each stretch between changes."""
    return [float(np.median(stretch)) for stretch in np.split(logs, changes)]
