"""Comparisons, verdicts and the rule that stops a sweep."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any, cast

import numpy as np
import pandas as pd
import pytest
from fake_runs import Invented, cell, yogurt_phone
from hypothesis import example, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import stats

from yogurtbench.analysis import comparison, precision, statistics
from yogurtbench.core.records import Attempt, Observation, Status
from yogurtbench.results.frame import to_frame

Floats = NDArray[np.float64]
ONE = cell()
SIGNIFICANT = {"faster", "slower"}


def compared(run: Invented) -> pd.DataFrame:
    return comparison.compare(to_frame(run.attempts(), "run"), run.plan())


Pairs = Sequence[tuple[float | None, float | None]]


def made(pairs: Pairs, metric: str = "rtt_p50", **changes: Any) -> pd.Series:
    """The comparison of invented (cell, baseline) values, one pair a block.

    None: the trial failed.
    """
    run = Invented((ONE,), blocks=len(pairs), **changes)
    attempts = [
        _given(one, pairs[one.trial.block], metric)
        for one in run.attempts()
        if one.trial.role != "canary"
    ]
    table = comparison.compare(to_frame(attempts, "run"), run.plan())
    return table[(table["role"] == "cell") & (table["metric"] == metric)].iloc[0]


def _given(attempt: Attempt, pair: tuple[float | None, float | None], metric: str) -> Attempt:
    value = pair[attempt.trial.role == "baseline"]
    clock = attempt.trial.clock
    found = (
        Observation.missing(metric, "failed", "no", clock)
        if value is None
        else Observation.of(metric, value, clock)
    )
    return replace(attempt, observations=(found,), status=found.status)


# --- estimate and interval ------------------------------------------------------------------------


@pytest.mark.parametrize("n", range(1, 26))
def test_distribution_is_scipys(n: int) -> None:
    values = np.arange(1, n + 1) * np.where(np.arange(n) % 3, 1.0, -1.0)
    statistic = int(values[values > 0].sum())
    less = stats.wilcoxon(values, alternative="less", method="exact")
    assert statistics.signed_rank_cdf(n)[statistic] == pytest.approx(less.pvalue)


def test_interval_is_that_of_hollander_and_wolfe() -> None:
    """Example 3.1 of the book (Hamilton depression scale): estimate -0.46, 96 % interval -0.786 to
    -0.010 (n = 9).
    """
    x = np.array([1.83, 0.50, 1.62, 2.48, 1.68, 1.88, 1.55, 3.06, 1.30])
    y = np.array([0.878, 0.647, 0.598, 2.05, 1.06, 1.29, 1.06, 3.14, 1.29])
    effect = statistics.hodges_lehmann(y - x, alpha=0.04)
    assert effect.estimate == pytest.approx(-0.46)
    assert [effect.low, effect.high] == pytest.approx([-0.786, -0.010])


@pytest.mark.parametrize("n", [6, 7, 10, 14, 20, 40])
def test_the_width_to_expect_is_that_of_simulated_intervals(n: int) -> None:
    walsh, out = (
        np.sort(walsh_averages(np.random.default_rng(n).normal(0, 1, (1000, n)))),
        statistics.critical(n),
    )
    simulated = float((walsh[:, -1 - out] - walsh[:, out]).mean() / 2)
    assert statistics.widths_in_deviations(n) == pytest.approx(simulated, rel=0.08)


@pytest.mark.parametrize("n", range(6))
def test_no_interval_exists_below_six_values(n: int) -> None:
    effect = statistics.hodges_lehmann(np.arange(n, dtype=float))
    assert math.isnan(effect.low) and math.isnan(effect.high) and effect.n == n
    assert math.isnan(statistics.widths_in_deviations(n))


@given(st.lists(st.floats(-1, 1), min_size=6, max_size=30), st.floats(0.001, 0.2))
def test_tests_and_intervals_agree(values: list[float], margin: float) -> None:
    data = np.array(values)
    effect, (below, above) = statistics.hodges_lehmann(data), statistics.p_beyond(data, margin)
    assert (above <= statistics.ALPHA) == (effect.low > margin)
    assert (below <= statistics.ALPHA) == (effect.high < -margin)
    assert (statistics.p_within(data, margin) <= statistics.ALPHA) == (
        -margin < effect.low and effect.high < margin
    )


def test_adjustments_are_those_of_the_books() -> None:
    assert statistics.holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert statistics.benjamini_hochberg([0.01, 0.04, 0.03, 0.005]) == pytest.approx(
        [0.02, 0.04, 0.04, 0.02]
    )
    assert statistics.holm([]) == statistics.benjamini_hochberg([]) == []


# --- verdicts -------------------------------------------------------------------------------------


def test_known_effects_are_found_with_the_metrics_own_direction() -> None:
    table = compared(yogurt_phone())
    found = table[
        (table["hook"] == "netkit_peer")
        & (table["helper"] == "redirect")
        & (table["family"] == "gate")
    ]
    assert set(found["verdict"]) == {"faster"}
    latency, throughput = (
        found[found["metric"] == metric].iloc[0] for metric in ("rtt_p50", "throughput")
    )
    assert latency["ratio"] == pytest.approx(0.88, abs=0.02) and throughput[
        "ratio"
    ] == pytest.approx(1 / 0.88, abs=0.02)
    assert latency["ratio_low"] < latency["ratio"] < latency["ratio_high"]


def test_noise_shared_by_a_block_divides_out() -> None:
    rng = np.random.default_rng(3)
    blocks = rng.uniform(0.2, 5, 12)
    pairs = [
        (float(100 * b * e), float(100 * b))
        for b, e in zip(blocks, rng.normal(1.1, 0.003, 12), strict=True)
    ]
    row = made(pairs)
    assert row["verdict"] == "slower" and row["ratio"] == pytest.approx(1.1, abs=0.01)


def test_a_margin_of_its_own_decides_for_its_metric() -> None:
    rng = np.random.default_rng(4)
    pairs = [(float(x), 100.0) for x in rng.normal(105, 0.5, 12)]
    assert made(pairs)["verdict"] == "slower"
    assert made(pairs, margins={"rtt_p50": 0.1})["verdict"] == "equivalent"


def test_gate_cells_share_holms_level_and_the_rest_is_exploratory() -> None:
    table = compared(yogurt_phone())
    gate = table[table["family"] == "gate"]
    assert set(gate["helper"]) == {"redirect"} and set(gate["metric"]) == {"rtt_p50", "throughput"}
    assert (gate["p_adjusted"] >= gate["p"]).all()
    assert set(table[table["role"] == "canary"]["family"]) == {"canary"}


def test_ten_blocks_decide_twenty_five_gate_cells_and_no_more() -> None:
    p = 2 / 2**10
    assert max(statistics.holm([p] * 25)) <= statistics.ALPHA < max(statistics.holm([p] * 26))


def noisy(n: int, ratio: float = 2.0) -> list[tuple[float, float]]:
    rng = np.random.default_rng(n)
    return [
        (float(100 * ratio * rng.normal(1, 0.01)), float(100 * rng.normal(1, 0.01)))
        for _ in range(n)
    ]


@pytest.mark.parametrize(
    ("pairs", "verdict"),
    [
        ([(200.0, 100.0)], "one_block"),
        (noisy(5), "too_few_blocks"),
        ([(100.0, 100.0)] * 10, "identical"),
        ([(200.0, 100.0)] * 10, "constant"),
        ([(0.0, 100.0), *noisy(9)], "zeros"),
        ([(0.0, 0.0)] * 10, "identical"),
        ([(-1.0, 100.0), *noisy(9)], "zeros"),
        ([(None, 100.0), *noisy(9)], "incomplete"),
        ([(100.0, None), *noisy(9)], "incomplete"),
        ([(None, 100.0)] * 10, "failed"),
        ([(100.0, None)] * 10, "failed"),
        ([(None, None)], "failed"),
    ],
)
def test_degenerate_data_has_a_name(pairs: Pairs, verdict: str) -> None:
    row = made(pairs)
    assert row["verdict"] == verdict
    assert row["note"] and math.isnan(row["p_adjusted"])


#: What a trial may leave behind: a value, one that is none, a status without a value, or (None) no
#: row at all.
Left = float | str | None
VALUES = st.sampled_from([100.0, 100.0, 250.0, 0.0, -1.0, 5e-324, 1e308]) | st.floats(1, 1e9)
NO_VALUES = st.sampled_from(
    [math.nan, math.inf, "failed", "crashed", "looping", "unsupported", "skipped", None]
)


def left(
    pairs: Sequence[tuple[Left, Left]], clock: str = "wall", gate: str = "redirect"
) -> pd.Series:
    """The comparison where each block left such a (cell, baseline) behind."""
    run = Invented((ONE,), blocks=len(pairs), clock=clock, gate=gate)
    attempts = [one for one in run.attempts() if one.trial.role != "canary"]
    found = [(one, pairs[one.trial.block][one.trial.role == "baseline"]) for one in attempts]
    frame = to_frame([_left(one, what) for one, what in found if what is not None], "run")
    precision.precision_reached(frame, 0.01, run.groups()[0])  # must not crash either
    return (
        comparison.compare(frame, run.plan())
        .query("role == 'cell' and metric == 'rtt_p50'")
        .iloc[0]
    )


def _left(attempt: Attempt, what: float | str) -> Attempt:
    clock = attempt.trial.clock
    if isinstance(what, str):
        return Attempt.without_values(attempt.trial, cast("Status", what), "why", kernel="6.12")
    return replace(attempt, observations=(Observation.of("rtt_p50", what, clock),))


@pytest.mark.parametrize(
    ("pair", "verdict"),
    [
        ((math.nan, 100.0), "incomplete"),
        ((200.0, math.nan), "incomplete"),
        ((math.inf, 100.0), "incomplete"),
        ((200.0, None), "incomplete"),
        ((None, 100.0), "incomplete"),
        (("crashed", 100.0), "incomplete"),
        ((200.0, "looping"), "incomplete"),
    ],
)
@pytest.mark.parametrize("clock", ["wall", "instructions"])
def test_a_block_without_a_pair_is_shown_whatever_the_others_say(
    pair: tuple[Left, Left], verdict: str, clock: str
) -> None:
    row = left([pair, *noisy(11)], clock)
    assert row["verdict"] == verdict and "1 of 12 blocks without a pair" in row["note"]


def test_a_run_that_ended_within_its_last_block_is_judged_by_the_others() -> None:
    row = left([*noisy(11), (None, 100.0)])
    assert row["verdict"] == "slower" and row["n"] == 11


@settings(max_examples=60)
@example([(100.0, 100.0)] * 4 + [(100.0, 5e-324), (5e-324, 100.0)], "wall", "redirect")
@given(
    st.lists(st.tuples(VALUES | NO_VALUES, VALUES | NO_VALUES), min_size=1, max_size=12),
    st.sampled_from(["wall", "instructions"]),
    st.sampled_from(["redirect", "nobody"]),
)
def test_whatever_a_run_leaves_behind_has_a_verdict_and_none_is_significant_by_accident(
    pairs: list[tuple[Left, Left]], clock: str, gate: str
) -> None:
    row = left(pairs, clock, gate)
    told = SIGNIFICANT | {"equivalent", "inconclusive"}
    assert row["verdict"] in told | comparison.DEGENERATE.keys()
    whole = [(x, y) for x, y in pairs if _is_positive(x) and _is_positive(y)]
    if len(pairs[:-1]) > len([pair for pair in pairs[:-1] if pair in whole]) or not whole:
        assert row["verdict"] not in told  # zeros, words or gaps: nothing is judged
    if clock == "wall" and len(whole) < statistics.FEWEST:
        assert row["verdict"] not in told
    if all(x == y for x, y in pairs):
        assert row["verdict"] not in told


def _is_positive(value: Left) -> bool:
    return isinstance(value, float) and 0 < value < math.inf


def test_one_wild_block_in_ten_makes_nothing_significant() -> None:
    assert made([*noisy(9, 1.0), (1e9, 100.0)])["verdict"] not in SIGNIFICANT


def test_dead_wires_are_named_dead_and_nothing_else() -> None:
    run = yogurt_phone(blocks=6)
    table = compared(run)
    dead = table[table["cell"].isin(run.dead) & table["baseline"].notna()]
    assert set(dead["verdict"]) == {"dead"}
    words = comparison.categorical_metrics(to_frame(run.attempts(), "run"))
    assert list(words[words["reachable"] == 0]["dropped_at"]) == ["netkit_xmit:NOT_SPECIFIED"]


def test_a_cell_without_a_baseline_and_one_that_never_ran() -> None:
    run = yogurt_phone(blocks=6)
    hops = compared(run)[lambda table: table["metric"] == "hops_queue"]
    assert set(hops["verdict"]) == {"no_baseline"}
    nothing = comparison.compare(to_frame([], "run"), run.plan())
    assert set(nothing["verdict"]) == {"not_run"} and tuple(nothing.columns) == comparison.COLUMNS


def test_emulation_is_in_every_row() -> None:
    table = compared(yogurt_phone(accelerator="tcg", blocks=6))
    assert table["note"].str.startswith(comparison.EMULATED).all()


# --- the instruction clock ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("pairs", "verdict", "difference"),
    [
        ([(28113.0, 28113.0)], "identical", 0.0),
        ([(28147.0, 28113.0)], "slower", 34.0),
        ([(28112.0, 28113.0)] * 3, "faster", -1.0),
        ([(28112.0, 28113.0), (28114.0, 28113.0)], "inconclusive", 0.0),
    ],
)
def test_on_the_instruction_clock_a_difference_is_a_difference(
    pairs: Pairs, verdict: str, difference: float
) -> None:
    row = made(pairs, clock="instructions")
    assert (row["verdict"], row["difference"], row["unit"]) == (verdict, difference, "instructions")


def test_a_margin_counts_on_the_instruction_clock_where_one_is_given() -> None:
    pairs: Pairs = [(28147.0, 28113.0)]
    assert made(pairs, clock="instructions", margins={"rtt_p50": 0.002})["verdict"] == "equivalent"


# --- drift, canary, words -------------------------------------------------------------------------


def many(**changes: Any) -> Invented:
    """More than eight cells: the baseline runs first and last."""
    helpers = (
        "redirect",
        "redirect_peer",
        "redirect_neigh",
        "redirect_ingress",
        "redirect_container",
    )
    cells = tuple(
        cell(hook=hook, helper=helper)
        for hook in ("netkit_peer", "tcx_ingress")
        for helper in helpers
    )
    return Invented(cells, **changes)


def test_the_geometric_mean_of_first_and_last_divides() -> None:
    row = compared(many(drift=1.21, noise=1e-9)).query("role == 'cell'").iloc[0]
    assert row["ratio"] == pytest.approx(1 / 1.1, rel=1e-3)


@pytest.mark.parametrize(("factor", "verdict"), [(1.1, "drift"), (1.0, "steady")])
def test_drift_is_last_over_first(factor: float, verdict: str) -> None:
    found = precision.drift(to_frame(many(drift=factor, noise=0.005).attempts(), "run"))
    assert list(found["verdict"]) == [verdict]
    assert found["ratio"].iloc[0] == pytest.approx(factor, rel=0.02)


@pytest.mark.parametrize(("factor", "verdicts"), [(1.0, set()), (1.2, {"slower"})])
def test_the_canary_tells_when_the_baseline_differs_from_itself(
    factor: float, verdicts: set[str]
) -> None:
    table = compared(many(canary=factor)).query("role == 'canary' and metric == 'rtt_p50'")
    assert set(table["verdict"]) & SIGNIFICANT == verdicts


def test_words_are_shares_and_the_commonest_word() -> None:
    run = yogurt_phone(blocks=3)
    found = comparison.categorical_metrics(to_frame(run.attempts(), "run"))
    assert set(found["reachable"].dropna()) == {0.0, 1.0}
    assert set(found["dropped_at"].dropna()) == {"netkit_xmit:NOT_SPECIFIED"}


# --- when to stop ---------------------------------------------------------------------------------


def test_precision_is_half_the_intervals_width() -> None:
    run = Invented((ONE,), noise=0.01, blocks=20)
    frame = to_frame(run.attempts(), "run")
    width = compared(run).query("role == 'cell' and metric == 'rtt_p50'").iloc[0]
    canary = compared(run).query("role == 'canary' and metric == 'rtt_p50'").iloc[0]
    reached = max(math.sqrt(row["ratio_high"] / row["ratio_low"]) - 1 for row in (width, canary))
    group = run.groups()[0]
    assert precision.precision_reached(frame, reached * 1.001, group)
    assert not precision.precision_reached(frame, reached * 0.999, group)


def test_without_an_interval_precision_is_not_reached() -> None:
    assert not precision.precision_reached(
        to_frame(Invented((ONE,), blocks=5).attempts(), "run"), 0.5
    )


def test_dead_cells_and_cells_without_a_baseline_hold_nobody_up() -> None:
    dead = Invented((ONE,), dead=frozenset({ONE.id}), blocks=10, noise=1e-6)
    assert precision.precision_reached(to_frame(dead.attempts(), "run"), 0.01)
    alone = Invented((cell(load="reachability"),), blocks=2)
    assert precision.precision_reached(to_frame(alone.attempts(), "run"), 0.01, None)


def test_on_the_instruction_clock_one_block_is_precise() -> None:
    assert precision.precision_reached(
        to_frame(Invented((ONE,), blocks=1, clock="instructions").attempts(), "run"), 1e-9
    )


# --- calibration of the sequential rule -----------------------------------------------------------
#
# Simulated groups: an array of log-ratios, (runs, cells, blocks). The cells of a group share the
# baseline's noise.

Noise = Callable[[np.random.Generator, tuple[int, ...]], Floats]
MOST = 40
NAUGHT = 1e-9  # a margin of next to nothing


def normal(rng: np.random.Generator, shape: tuple[int, ...]) -> Floats:
    return rng.normal(0, 0.02, shape)


def heavy_tailed(rng: np.random.Generator, shape: tuple[int, ...]) -> Floats:
    return 0.014 * rng.standard_t(3, shape)


def spiky(rng: np.random.Generator, shape: tuple[int, ...]) -> Floats:
    """A tenth of all trials takes a third longer."""
    return rng.normal(0, 0.015, shape) + (rng.random(shape) < 0.1) * rng.exponential(0.3, shape)


def contaminated(rng: np.random.Generator, shape: tuple[int, ...]) -> Floats:
    """A tenth of all trials is ten times as noisy."""
    return np.asarray(rng.normal(0, 0.015, shape) * np.where(rng.random(shape) < 0.1, 10, 1))


NOISES = [normal, heavy_tailed, spiky, contaminated]


@lru_cache(maxsize=16)
def simulated(noise: Noise, runs: int, cells: int, seed: int) -> Floats:
    rng = np.random.default_rng(seed)
    return noise(rng, (runs, cells, MOST)) - noise(rng, (runs, 1, MOST))


def walsh_averages(data: Floats) -> Floats:
    i, j = np.triu_indices(data.shape[-1])
    return np.asarray((data[..., i] + data[..., j]) / 2)


def stopped(
    data: Floats, precision: float, fewest: int = 10
) -> tuple[Floats, Floats, NDArray[np.int_]]:
    """Interval ends, (runs, cells), and lengths of runs, each stopped by the widest interval of its
    group.

    Vectorised for speed; test_the_simulated_rule_is_the_sweeps holds it against precision_reached.
    """
    runs, cells, most = data.shape
    low, high, length = np.zeros((runs, cells)), np.zeros((runs, cells)), np.zeros(runs, dtype=int)
    for n in range(fewest, most + 1):
        open_ = np.flatnonzero(length == 0)
        out = statistics.critical(n)
        walsh = np.partition(walsh_averages(data[open_, :, :n]), [out, n * (n + 1) // 2 - 1 - out])
        low[open_], high[open_] = walsh[..., out], walsh[..., -1 - out]
        done = (np.expm1((high[open_] - low[open_]) / 2) <= precision).all(axis=1) | (n == most)
        length[open_[done]] = n
    return low, high, length


Adjust = Callable[[Sequence[float]], list[float]]
Words = NDArray[np.str_]


def told(data: Floats, length: NDArray[np.int_], margin: float, adjust: Adjust) -> Words:
    """The verdicts on the cells of simulated runs of these lengths, (runs, cells), where less is
    better.
    """
    p, likely = np.ones(data.shape[:2]), np.zeros(data.shape[:2], dtype=int)
    for n in set(length):
        mine = np.flatnonzero(length == n)
        chances = _chances(
            walsh_averages(data[mine, :, :n]), math.log1p(margin), statistics.signed_rank_cdf(n)
        )
        p[mine], likely[mine] = chances.min(axis=0), chances.argmin(axis=0)
    significant = np.array([adjust(list(family)) for family in p]) <= statistics.ALPHA
    return np.where(
        significant, np.array(["faster", "slower", "equivalent"])[likely], "inconclusive"
    )


def _chances(walsh: Floats, margin: float, cdf: Floats) -> Floats:
    faster, slower = cdf[(walsh >= -margin).sum(axis=-1)], cdf[(walsh <= margin).sum(axis=-1)]
    within = np.maximum(cdf[(walsh <= -margin).sum(axis=-1)], cdf[(walsh >= margin).sum(axis=-1)])
    return np.minimum(1, 2 * np.stack([faster, slower, within]))


def share(found: Words, *words: str) -> float:
    """The share of runs in which any cell is called one of these words."""
    return float(np.isin(found, words).any(axis=1).mean())


def chance_allows(runs: int) -> float:
    """The nominal rate, and three standard errors of a simulation of so many runs."""
    return statistics.ALPHA + 3 * math.sqrt(statistics.ALPHA * (1 - statistics.ALPHA) / runs)


@pytest.mark.parametrize(
    ("gate", "adjust"), [("redirect", statistics.holm), ("none", statistics.benjamini_hochberg)]
)
def test_the_simulated_rule_is_the_sweeps(gate: str, adjust: Adjust) -> None:
    """Simulated runs told as attempts: the sweep stops where the simulation does, and compare says
    the same words.
    """
    data = simulated(normal, 4, 3, seed=5) + np.array([[[0.1], [0.0], [0.05]]])
    _, _, length = stopped(data, 0.015)
    words = told(data, length, 0.03, adjust)
    assert set(length) - {10, MOST}  # some stopped on the way
    for log_ratios, n, verdicts in zip(data, length, words, strict=True):
        run = Invented(tuple(cell(headroom=room) for room in (32, 64, 96)), blocks=MOST, gate=gate)
        frame = to_frame(_attempts(run, log_ratios), "run")
        reached = [
            precision.precision_reached(frame[frame["block"] < m], 0.015, run.groups()[0])
            for m in range(10, n + 1)
        ]
        assert reached[:-1] == [False] * (n - 10) and (reached[-1] or n == MOST)
        table = comparison.compare(frame[frame["block"] < n], run.plan())
        assert list(table.query("role == 'cell'")["verdict"]) == list(verdicts)


def _attempts(run: Invented, log_ratios: Floats) -> list[Attempt]:
    places = {one.id: place for place, one in enumerate(run.cells)}
    return [
        replace(
            one,
            observations=(
                Observation.of("rtt_p50", 1e4 * math.exp(log_ratios[place, one.trial.block])),
            ),
        )
        if (place := places.get(one.trial.cell.id)) is not None
        else replace(one, observations=(Observation.of("rtt_p50", 1e4),))
        for one in run.attempts()
        if one.trial.role != "canary"
    ]


@pytest.mark.parametrize("noise", NOISES)
@pytest.mark.parametrize(("cells", "precision"), [(2, 0.011), (2, 0.015), (2, 1.0), (6, 0.0125)])
def test_coverage_of_the_sequential_rule_is_93_to_97_percent(
    noise: Noise, cells: int, precision: float
) -> None:
    """Two are a cell and its group's canary, the fewest there can be.

    A series alone would come down to 93.3 %.
    """
    low, high, length = stopped(simulated(noise, 4000 // cells, cells, seed=7), precision)
    assert length.min() >= 10
    assert 0.93 <= float(((low <= 0) & (high >= 0)).mean()) <= 0.97


@pytest.mark.parametrize("noise", NOISES)
def test_false_alarms_of_a_family_stay_below_the_nominal_rate(noise: Noise) -> None:
    """Six cells like the baseline.

    And six exactly at the margin, where calling them anything is wrong.
    """
    same = simulated(noise, 600, 6, seed=8)
    _, _, length = stopped(same, 0.015)
    for adjust in (statistics.holm, statistics.benjamini_hochberg):
        assert share(told(same, length, 0.03, adjust), *SIGNIFICANT) <= 0.001
        assert share(told(same, length, NAUGHT, adjust), *SIGNIFICANT) <= chance_allows(600)
        border = told(same + math.log1p(0.03), length, 0.03, adjust)
        assert share(border, "slower") <= statistics.ALPHA
        assert share(border, "equivalent") <= statistics.ALPHA


@pytest.mark.parametrize("noise", NOISES)
def test_of_the_differences_that_benjamini_and_hochberg_let_pass_few_are_false(
    noise: Noise,
) -> None:
    """Half of the cells differ, half do not: the false share of what is called different, on
    average over the runs.
    """
    data = simulated(noise, 600, 6, seed=8)
    _, _, length = stopped(data, 0.015)
    effect = np.array([0.1, 0.1, 0.1, 0.0, 0.0, 0.0])[:, None]
    found = np.isin(
        told(data + effect, length, NAUGHT, statistics.benjamini_hochberg), [*SIGNIFICANT]
    )
    assert found[:, :3].mean() >= 0.9
    assert (
        float((found[:, 3:].sum(axis=1) / np.maximum(1, found.sum(axis=1))).mean())
        <= statistics.ALPHA
    )


def three_percent(rng: np.random.Generator, shape: tuple[int, ...]) -> Floats:
    return rng.normal(0, 0.03, shape)


@pytest.mark.parametrize(("gates", "precision"), [(1, 1.0), (1, 0.01), (6, 0.01)])
def test_a_slowdown_of_a_tenth_is_found_at_a_noise_of_3_percent(
    gates: int, precision: float
) -> None:
    """Beyond a margin of 3 %, the other gate cells unchanged, in at least 18 of 20 runs.

    Of ten blocks (1.0) too.
    """
    data = simulated(three_percent, 500, gates, seed=10).copy()
    _, _, length = stopped(data, precision)
    data[:, 0] += math.log(1.1)
    assert float((told(data, length, 0.03, statistics.holm)[:, 0] == "slower").mean()) >= 0.9


def test_a_cell_that_never_ran_is_taken_to_be_of_the_kernel_that_the_others_ran_on() -> None:
    run = yogurt_phone(blocks=6)
    frame = to_frame(run.attempts(), "r")
    gone = run.cells[-6].id
    table = comparison.compare(frame[frame["cell"] != gone], run.plan())
    assert (table["cell"] == gone).any()
    assert set(table["kernel"]) == {run.kernel}
