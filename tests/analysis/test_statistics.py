"""Statistics of runs with thousands of blocks."""

from __future__ import annotations

import time

import numpy as np
import pytest

from yogurtbench.analysis import statistics


def test_the_approximation_continues_the_exact_distribution(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    exact = statistics.signed_rank_cdf.__wrapped__(1000)
    monkeypatch.setattr(statistics, "_EXACT", 999)
    approximate = statistics.signed_rank_cdf.__wrapped__(1000)
    assert np.abs(exact - approximate).max() < 1e-4
    for p in (0.025, 1e-3, 1e-4):
        place = np.searchsorted(exact, p)
        assert approximate[place] == pytest.approx(exact[place], rel=0.03)


def test_thousands_of_blocks_take_seconds() -> None:
    values = np.random.default_rng(1).normal(size=4000)
    began = time.process_time()
    found = statistics.hodges_lehmann(values)
    assert time.process_time() - began < 20  # with the exact distribution a minute
    assert found.low < found.estimate < found.high
    half = statistics.widths_in_deviations(4000)
    assert (found.high - found.low) / 2 == pytest.approx(half, rel=0.1)
