"""Quantiles without numpy: the guest has none, and needs none.

statistics.quantiles rounds otherwise: one in twenty would be stored with another last digit.
"""

from __future__ import annotations

from collections.abc import Sequence


def quantile(ordered: Sequence[float], p: float) -> float:
    """Return quantile ``p`` (0–1) of sorted values, linear (numpy's default; Hyndman & Fan type 7).

    >>> quantile([1.0, 2.0, 4.0], 0.5)
    2.0
    """
    place = p * (len(ordered) - 1)
    low = int(place)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (ordered[high] - ordered[low]) * (place - low)
