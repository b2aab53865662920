"""The gate: what stops a change, what lets it pass, and what it refuses to say."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from fake_runs import Invented, cell, side_of
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from yogurtbench.analysis.findings import Decision, Finding
from yogurtbench.analysis.gate import decide
from yogurtbench.analysis.measured_run import MeasuredCell, MeasuredRun, plan_digest
from yogurtbench.analysis.statistics import mann_whitney_cdf, shift
from yogurtbench.core.records import Attempt, Environment, Observation, canonical

WIRE, OTHER = cell("netkit"), cell("veth", "tcx_ingress")
KEY = ("netkit", "netkit_peer", "redirect")
BASE = cell("veth", "none", "none")
HERE = Environment("yard", "vm", "kvm", "wall", "6.12", {"iperf3": "3.12", "guest": "aa"})
THERE = replace(HERE, accelerator="tcg", clock="instructions")


def sweep(seed: int = 1, **changes: Any) -> Invented:
    return replace(Invented((WIRE, OTHER), blocks=12, noise=0.005, seed=seed), **changes)


def entry(
    values: list[float],
    role: Any = "cell",
    metric: str = "rtt_p50",
    one: Any = WIRE,
    gate: bool = True,
) -> MeasuredCell:
    baselines = (BASE.id,) if role == "cell" else ()
    return MeasuredCell(
        one, role, baselines, gate, {}, {metric: dict(enumerate(values))} if values else {}, {}, {}
    )


def side(
    values: list[float], where: Environment = HERE, base: float = 100.0, metric: str = "rtt_p50"
) -> MeasuredRun:
    reference = replace(entry([base] * max(1, len(values)), "baseline", metric, BASE), gate=False)
    entries = (reference, entry(values, metric=metric))
    return MeasuredRun("run", where, "", {}, (), {(one.cell.id, one.role): one for one in entries})


def the(decision: Decision, metric: str = "rtt_p50", one: Any = WIRE) -> Finding:
    (found,) = [
        f for f in decision.findings if f.cell == one and f.metric == metric and f.role == "cell"
    ]
    return found


def noisy(seed: int, ratio: float, spread: float, blocks: int = 10) -> list[float]:
    draw = np.random.default_rng(seed)
    return [100 * ratio * math.exp(value) for value in draw.normal(0, spread, blocks)]


# --- the wall clock -------------------------------------------------------------------------------


@pytest.mark.parametrize(("m", "n"), [(1, 1), (4, 4), (5, 9), (10, 10), (12, 7)])
def test_the_null_distribution_is_scipys(m: int, n: int) -> None:
    draw = np.random.default_rng(m * n)
    x, y = draw.normal(size=m), draw.normal(size=n)
    u = int((y[:, None] < x[None, :]).sum())
    known = stats.mannwhitneyu(x, y, alternative="less", method="exact").pvalue
    assert mann_whitney_cdf(m, n)[u] == pytest.approx(known)
    assert mann_whitney_cdf(m, n)[-1] == pytest.approx(1.0)


@settings(max_examples=50, deadline=None)
@given(
    st.lists(st.floats(-1, 1), min_size=4, max_size=14),
    st.lists(st.floats(-1, 1), min_size=4, max_size=14),
)
def test_a_shift_lies_in_its_interval_and_turns_with_the_sides(
    x: list[float], y: list[float]
) -> None:
    there, back = shift(np.array(x), np.array(y)), shift(np.array(y), np.array(x))
    assert there.low <= there.estimate <= there.high
    assert (there.estimate, there.low, there.high) == pytest.approx(
        (-back.estimate, -back.high, -back.low)
    )


def test_the_interval_covers_the_truth_as_often_as_it_says() -> None:
    draw = np.random.default_rng(7)
    for noise in (lambda n: draw.normal(size=n), lambda n: draw.standard_t(2, size=n)):
        effects = [shift(noise(10), noise(10) + 1.0) for _ in range(1000)]
        assert 0.93 <= np.mean([e.low <= 1.0 <= e.high for e in effects]) <= 0.98


@pytest.mark.parametrize("spread", [0.02, 0.03, 0.04])
def test_a_tenth_slower_is_found_in_18_of_20(spread: float) -> None:
    seen = [
        decide(side(noisy(2 * k, 1.0, spread)), side(noisy(2 * k + 1, 1.1, spread))).verdict
        for k in range(20)
    ]
    assert seen.count("regression") >= 18


@pytest.mark.parametrize("spread", [0.01, 0.04, 0.2])
def test_the_same_wire_twice_is_no_regression(spread: float) -> None:
    """At most 2.5 % may be: the alarm is one side of a two-sided 5 %, and the margin makes it rarer
    still.
    """
    seen = [
        decide(side(noisy(2 * k, 1.0, spread)), side(noisy(2 * k + 1, 1.0, spread))).verdict
        for k in range(400)
    ]
    assert seen.count("regression") <= 10
    assert spread > 0.01 or seen.count("fine") > 350


def test_on_the_margin_the_alarm_keeps_to_its_rate() -> None:
    seen = [
        decide(side(noisy(2 * k, 1.0, 0.03)), side(noisy(2 * k + 1, 1.03, 0.03))).verdict
        for k in range(400)
    ]
    assert seen.count("regression") <= 0.025 * 400 + 10  # three standard errors


def test_a_whole_sweep_slower_machine_and_all_is_reported_by_its_ratios() -> None:
    """Invented blocks share their noise with their baseline, so that the machine's mood cancels."""
    old, new = side_of(sweep(1)), side_of(sweep(2, effects={KEY: 1.12}))
    decision = decide(old, new)
    assert decision.exit_code == 1 and [one.cell for one in decision.regressions] == [WIRE]
    found = the(decision)
    assert found.low < 1.12 < found.high and found.ratio == pytest.approx(1.12, rel=0.03)
    assert decide(new, old).improvements[0].cell == WIRE and decide(new, old).exit_code == 0


def test_only_what_the_gate_names_decides() -> None:
    wires = {"effects": {("veth", "tcx_ingress", "redirect_peer"): 1.3}}
    cells = (WIRE, cell("veth", "tcx_ingress", "redirect_peer"))
    old, new = side_of(sweep(1, cells=cells)), side_of(sweep(2, cells=cells, **wires))
    decision = decide(old, new)
    assert decision.exit_code == 0
    assert (
        the(decision, one=cells[1]).verdict == "regression"
        and not the(decision, one=cells[1]).deciding
    )
    ungated = decide(
        *(side_of(sweep(k, cells=cells, gate="", **w)) for k, w in ((1, {}), (2, wires)))
    )
    assert ungated.exit_code == 1
    assert decide(old, new, gate={cells[1].id}).exit_code == 1


def test_the_margin_is_the_metrics_own_and_the_old_sides() -> None:
    old, slower = side(noisy(1, 1.0, 0.01)), side(noisy(2, 1.1, 0.01))
    assert decide(replace(old, margins={"rtt_p50": 0.2}), slower).exit_code == 0
    decision = decide(old, replace(slower, margins={"rtt_p50": 0.2}))
    assert decision.exit_code == 1 and any("margins differ" in one for one in decision.cautions)


def test_more_throughput_is_better() -> None:
    old, new = (
        side(noisy(k, ratio, 0.01), metric="throughput") for k, ratio in ((1, 1.0), (2, 1.1))
    )
    both = [
        replace(one, entries={key: _bulk(e) for key, e in one.entries.items()})
        for one in (old, new)
    ]
    assert [f.verdict for f in decide(*both).deciding] == ["improvement"]
    assert [f.verdict for f in decide(*reversed(both)).deciding] == ["regression"]


def _bulk(one: MeasuredCell) -> MeasuredCell:
    return replace(one, cell=replace(one.cell, load="iperf3_tcp"))


def test_a_canary_that_sings_and_an_emulator_are_reported() -> None:
    old = side_of(sweep(1, accelerator="tcg"))
    decision = decide(old, side_of(sweep(2, accelerator="tcg", canary=1.2)))
    assert any("canary" in one for one in decision.cautions) and any(
        "TCG" in one for one in decision.cautions
    )
    assert decision.exit_code == 0


# --- the instruction clock ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("new", "verdict", "code"),
    [
        (28113, "identical", 0),
        (28147, "equivalent", 0),
        (28170, "regression", 1),
        (28000, "improvement", 0),
    ],
)
def test_a_difference_is_a_difference_and_the_margin_decides(
    new: int, verdict: str, code: int
) -> None:
    decision = decide(side([28113.0], THERE), side([float(new)], THERE))
    found = the(decision)
    assert (found.verdict, decision.exit_code) == (verdict, code)
    assert found.difference == new - 28113 and found.per_packet == (new - 28113) / 2


def test_a_margin_of_nothing_lets_nothing_pass() -> None:
    assert (
        decide(side([28113.0], THERE), side([28114.0], THERE), margins={"rtt_p50": 0.0}).exit_code
        == 1
    )


def test_exact_values_that_straddle_the_margin_are_undecided() -> None:
    decision = decide(side([1000.0, 1000.0], THERE), side([1000.0, 1100.0], THERE))
    assert the(decision).verdict == "inconclusive" and decision.exit_code == 4


def test_bulk_is_judged_by_what_a_packet_and_a_byte_cost() -> None:
    bulk = cell(load="iperf3_udp", payload=1400)
    runs = [
        Invented((bulk,), effects={KEY: e}, blocks=1, clock="instructions", accelerator="tcg")
        for e in (1, 1.01)
    ]
    decision = decide(*map(side_of, runs))
    assert {one.metric for one in decision.deciding} == {
        "instructions_per_packet",
        "instructions_per_byte",
    }
    assert decision.exit_code == 1
    packet = the(decision, "instructions_per_packet", bulk)
    assert packet.per_packet == packet.difference == round(5210 * 1.01) - 5210


@pytest.mark.parametrize("seed", range(20))
def test_twenty_times_the_same_gives_twenty_times_no_change(seed: int) -> None:
    run = sweep(clock="instructions", accelerator="tcg", blocks=1, gate="")
    decision = decide(side_of(run), side_of(replace(run, seed=seed)))
    assert {one.verdict for one in decision.findings} == {"identical"} and decision.exit_code == 0


# --- what must not be compared --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("what", "there"),
    [
        ("guest", replace(HERE, identity={**HERE.identity, "guest": "bb"})),
        ("iperf3", replace(HERE, identity={"guest": "aa"})),
        ("kernel", replace(HERE, kernel="6.13")),
        ("accelerator", replace(HERE, accelerator="tcg")),
        ("clock", replace(HERE, clock="instructions")),
    ],
)
def test_unlike_environments_are_refused(what: str, there: Environment) -> None:
    decision = decide(side(noisy(1, 1.0, 0.01)), side(noisy(2, 2.0, 0.01), there))
    assert [one.what for one in decision.unlike] == [what] and not decision.findings
    assert (decision.verdict, decision.exit_code) == ("not comparable", 4)


def test_the_machines_name_alone_does_not_matter() -> None:
    assert not decide(
        side(noisy(1, 1, 0.01)), side(noisy(2, 1, 0.01), replace(HERE, host="barn"))
    ).unlike


def test_other_load_options_and_other_baselines_are_refused() -> None:
    old, new = side(noisy(1, 1.0, 0.01)), side(noisy(2, 1.0, 0.01))
    key = (WIRE.id, "cell")
    longer = replace(
        new, entries={**new.entries, key: replace(new.entries[key], options={"duration": 3.0})}
    )
    assert [str(one) for one in decide(old, longer).unlike] == ["sockperf duration: none → 3.0"]
    other = replace(
        new, entries={**new.entries, key: replace(new.entries[key], baselines=("other",))}
    )
    assert decide(old, other).exit_code == 4 and "baseline" in decide(old, other).unlike[0].what


def test_the_digest_of_a_plan_knows_its_options_and_not_its_seed() -> None:
    plan = sweep().plan()
    assert plan_digest(plan) == plan_digest(sweep(2).plan())
    first, *rest = plan.cells
    longer = replace(plan, cells=(replace(first, options={"duration": 2.0}), *rest))
    assert plan_digest(longer) != plan_digest(sweep().plan())


# --- failures, gaps, the dead ---------------------------------------------------------------------


def test_a_failed_trial_comes_before_a_regression() -> None:
    run = sweep(2, effects={KEY: 1.5}, failing={OTHER.id: "iperf3 hung"})
    decision = decide(side_of(sweep(1)), side_of(run))
    assert decision.exit_code == 3 and decision.regressions and "iperf3 hung" in decision.failed[0]
    assert the(decision, one=OTHER).verdict == "incomplete"


def test_a_failed_trial_comes_before_unlikeness() -> None:
    run = sweep(2, kernel="7.3", failing={OTHER.id: "hung"})
    assert decide(side_of(sweep(1)), side_of(run)).exit_code == 3


def test_a_crash_in_every_block_is_neither_a_regression_nor_fine() -> None:
    attempts = [_crashed(one) if one.trial.cell == WIRE else one for one in sweep(2).attempts()]
    decision = decide(side_of(sweep(1)), side_of(sweep(2), attempts))
    assert the(decision).verdict == "failed" and decision.exit_code == 3


def _crashed(one: Attempt) -> Attempt:
    return Attempt.without_values(
        one.trial, "crashed", "panic", lab=one.lab, accelerator=one.accelerator
    )


def test_a_metric_that_failed_in_a_fine_trial_fails_no_trial() -> None:
    attempts = [replace(one, observations=(*one.observations, LOST)) for one in sweep(2).attempts()]
    assert decide(side_of(sweep(1)), side_of(sweep(2), attempts)).exit_code == 0


LOST = Observation.missing("cpu_ns_per_byte", "failed", "no counter")


@pytest.mark.parametrize("turned", [False, True])
def test_a_missing_cell_is_named_and_undecided(turned: bool) -> None:
    sides = [side_of(sweep(1), name="whole"), side_of(sweep(2, cells=(WIRE,)), name="half")]
    decision = decide(*(reversed(sides) if turned else sides))
    assert the(decision, one=OTHER).verdict == "missing" and decision.exit_code == 4
    assert "half" in the(decision, one=OTHER).note


def test_a_planned_cell_without_a_trial_is_missing() -> None:
    attempts = [one for one in sweep(2).attempts() if one.trial.cell != WIRE]
    decision = decide(side_of(sweep(1)), side_of(sweep(2), attempts))
    assert the(decision).verdict == "missing" and decision.exit_code == 4


def test_a_regression_comes_before_what_is_missing() -> None:
    new = side_of(sweep(2, cells=(WIRE,), effects={KEY: 1.3}))
    assert decide(side_of(sweep(1)), new).exit_code == 1


@pytest.mark.parametrize("clock", ["wall", "instructions"])
def test_a_wire_that_died_is_a_regression(clock: str) -> None:
    reach = cell(load="reachability")
    run = sweep(cells=(WIRE, reach), clock=clock, accelerator="tcg")
    gone = replace(run, dead=frozenset({WIRE.id, reach.id}))
    decision = decide(side_of(run), side_of(gone))
    assert decision.exit_code == 1
    assert the(decision).verdict == "regression" and "dead" in the(decision).note
    assert "netkit_xmit:NOT_SPECIFIED" in the(decision, "reachable", reach).note
    back = decide(side_of(gone), side_of(run))
    assert back.exit_code == 0 and the(back).verdict == "improvement"
    still = decide(side_of(gone), side_of(gone))
    assert still.exit_code == 0 and the(still).verdict == "unchanged"


def test_a_wire_that_sometimes_answers_is_unsteady() -> None:
    reach = cell(load="reachability")
    run = sweep(cells=(reach,))
    gone = replace(run, dead=frozenset({reach.id}))
    mixed = [
        a if a.trial.block % 2 else b for a, b in zip(run.attempts(), gone.attempts(), strict=True)
    ]
    decision = decide(side_of(run), side_of(run, mixed))
    assert the(decision, "reachable", reach).verdict == "unsteady" and decision.exit_code == 4


def test_a_new_leak_is_a_regression() -> None:
    watch = cell(load="isolation")
    run = sweep(cells=(watch,))
    leaky = [
        replace(one, observations=tuple(map(_leaking, one.observations))) for one in run.attempts()
    ]
    decision = decide(side_of(run), side_of(run, leaky))
    assert decision.exit_code == 1 and {one.metric for one in decision.regressions} == {
        "inject_raw"
    }
    assert decide(side_of(run, leaky), side_of(run)).exit_code == 0


def _leaking(one: Observation) -> Observation:
    return replace(one, value=1.0) if one.metric == "inject_raw" else one


@pytest.mark.parametrize(
    ("old", "new", "verdict"),
    [
        ([100.0], [150.0], "one_block"),
        ([100.0, 101.0, 102.0], [150.0, 151.0, 152.0], "too_few_blocks"),
        ([100.0] * 10, [100.0] * 10, "identical"),
        ([100.0] * 10, [150.0] * 10, "constant"),
        ([100.0] * 9 + [0.0], [100.0] * 10, "zeros"),
        ([0.0] * 10, [0.0] * 10, "identical"),
        ([100.0] * 10, [], "missing"),
        ([], [], "missing"),
    ],
)
def test_degenerate_numbers_have_a_name(old: list[float], new: list[float], verdict: str) -> None:
    decision = decide(side(old), side(new))
    assert the(decision).verdict == verdict
    assert decision.exit_code == (0 if verdict == "identical" else 4)


def test_exact_zeros_have_a_name_too() -> None:
    assert the(decide(side([0.0], THERE), side([5.0], THERE))).verdict == "zeros"
    assert the(decide(side([0.0], THERE), side([0.0], THERE))).verdict == "identical"


def test_without_a_baseline_nothing_noisy_is_decided() -> None:
    old, new = (side(noisy(k, 1.0, 0.01)) for k in (1, 2))
    bare = [_bare(one) for one in (old, new)]
    assert the(decide(*bare)).verdict == "no_baseline" and decide(*bare).exit_code == 4


def _bare(one: MeasuredRun) -> MeasuredRun:
    alone = replace(one.entries[(WIRE.id, "cell")], baselines=())
    return replace(one, entries={(WIRE.id, "cell"): alone})


def test_where_nothing_decides_nothing_is_fine() -> None:
    empty = MeasuredRun("run", HERE, "", {}, (), {})
    assert decide(empty, empty).exit_code == 4


_NUMBERS = st.floats(min_value=0, max_value=1e300, allow_nan=False) | st.sampled_from(
    [0.0, 5e-324, 1.0]
)


@settings(max_examples=200, deadline=None)
@given(
    st.lists(_NUMBERS, max_size=8), st.lists(_NUMBERS, max_size=8), st.sampled_from([HERE, THERE])
)
def test_no_numbers_crash_it_and_a_side_never_regresses_from_itself(
    old: list[float], new: list[float], where: Environment
) -> None:
    assert decide(side(old, where), side(new, where)).exit_code in (0, 1, 4)
    assert decide(side(old, where), side(old, where)).exit_code in (0, 4)


@settings(max_examples=100, deadline=None)
@given(st.floats(0.5, 2.0), st.floats(0.0, 0.2))
def test_exact_verdicts_follow_the_ratio(ratio: float, margin: float) -> None:
    found = the(decide(side([1e6], THERE), side([1e6 * ratio], THERE), margins={"rtt_p50": margin}))
    assert (found.verdict == "regression") == (found.low > 1 + margin)
    assert (found.verdict == "improvement") == (found.high < 1 / (1 + margin))


def test_a_side_survives_its_way_through_json() -> None:
    one = side_of(sweep(1, failing={OTHER.id: "hung"}))
    assert MeasuredRun.from_json(json.loads(canonical(one.to_json()))) == one
