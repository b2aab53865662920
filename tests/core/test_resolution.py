"""What rounding can have made is never decided: per tool, on both clocks, in the statistics and in
the gate.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from fake_runs import Invented, cell, environment, stored
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from matrices import planned

from yogurtbench import report
from yogurtbench.analysis import change_points, comparison, gate, precision
from yogurtbench.analysis.findings import Finding
from yogurtbench.analysis.measured_run import MeasuredRun
from yogurtbench.analysis.values import BlockValues
from yogurtbench.core import resolution
from yogurtbench.core.metrics import METRICS, METRICS_OF
from yogurtbench.core.records import Attempt, Observation
from yogurtbench.core.resolution import ResolutionSource, rounding_of
from yogurtbench.loads import ping, sockperf
from yogurtbench.plan.describe import describe_plan
from yogurtbench.plan.estimate import too_coarse
from yogurtbench.report.run_data import RunData
from yogurtbench.report.sections import advice, warnings
from yogurtbench.report.terminal import run as terminal
from yogurtbench.results.frame import COLUMNS, OBSERVATIONS, to_frame, write_tables

DATA = Path(__file__).parents[1] / "data"
OPTIONS: dict[str, dict[str, Any]] = {
    "ping": {"count": 100, "interval": 0.01},
    "sockperf": {"duration": 1.0},
}
#: A cell's and its baseline's value in each block.
Pairs = Sequence[tuple[float, float]]
BOTH = pytest.mark.parametrize("clock", ["wall", "instructions"])
DECIDED = {"faster", "slower", "equivalent", "identical"}
PASSED = {"improvement", "regression", "equivalent", "identical"}


def run_of(load: str, blocks: int, clock: str, **changes: Any) -> Invented:
    return Invented((cell(load=load),), blocks=blocks, clock=clock, **changes)


def attempts_of(
    run: Invented, metric: str, values: Callable[[Attempt], float], options: dict[str, Any] | None = None,
    beside: dict[str, float] | None = None, details: dict[str, Any] | None = None,
) -> list[Attempt]:  # fmt: skip
    """A run's attempts with one metric's values given, and what stands ``beside`` it."""
    found = []
    for one in run.attempts():
        clock, load = one.trial.clock, one.trial.cell.load
        asked = OPTIONS.get(load, {"duration": 1.0}) if options is None else options
        told = {**(beside or {}), metric: values(one)}
        rows = tuple(Observation.of(name, value, clock) for name, value in told.items())
        trial = replace(one.trial, options=asked)
        found.append(replace(one, trial=trial, observations=rows, details=details or {}))
    return found


def compared(
    pairs: Pairs, load: str, clock: str, metric: str = "rtt_p50", **rest: Any
) -> pd.Series:
    """The comparison of such (cell, baseline) values."""
    margins = rest.pop("margins", {})
    run = run_of(load, len(pairs), clock, margins=margins)
    attempts = attempts_of(
        run, metric, lambda one: pairs[one.trial.block][one.trial.role != "cell"], **rest
    )
    table = comparison.compare(to_frame(attempts, "run"), run.plan())
    return table[(table["role"] == "cell") & (table["metric"] == metric)].iloc[0]


def gated(
    old: Sequence[float],
    new: Sequence[float],
    load: str,
    clock: str,
    metric: str = "rtt_p50",
    **rest: Any,
) -> Finding:
    """The gate's finding on two sides of these values, over one baseline: ``base``, or the first of
    the old.
    """
    margins, base = rest.pop("margins", {}), rest.pop("base", old[0])
    sides = []
    for values in (old, new):
        run = run_of(load, len(values), clock, margins=margins)
        told = attempts_of(
            run,
            metric,
            lambda one, v=values: v[one.trial.block] if one.trial.role == "cell" else base,
            **rest,
        )  # type: ignore[misc]
        sides.append(MeasuredRun.of("run", run.plan(), environment(run), to_frame(told, "run")))
    found = gate.decide(*sides).findings
    (mine,) = [one for one in found if one.metric == metric and one.role == "cell"]
    return mine


# --- what the tools do ----------------------------------------------------------------------------


def printed_by_ping(ns: float, phase: float) -> float:
    """What iputils prints of a round trip that began ``phase`` ns after a microsecond
    (ping_common.c), as ns.
    """
    us = math.floor((phase + ns) / 1000) - math.floor(phase / 1000)
    if us >= 100_000 - 50:
        text = f"{(us + 500) // 1000}"
    elif us >= 10_000 - 5:
        text = f"{(us + 50) // 1000}.{(us + 50) % 1000 // 100:01d}"
    elif us >= 1000:
        text = f"{(us + 5) // 1000}.{(us + 5) % 1000 // 10:02d}"
    else:
        text = f"{us // 1000}.{us % 1000:03d}"
    line = (
        f"72 bytes from 10.42.0.2: icmp_seq=1 ttl=64 time={text} ms\n\n1 packets "
        "transmitted, 1 received, 0% loss\n"
    )
    return ping.parse(line, count=1).values["rtt_p50"]


ROUND_TRIPS = st.integers(1_000, 3_000_000_000) | st.integers(1_000, 200_000)
PHASES = st.integers(0, 999)


@settings(max_examples=1000)
@given(ROUND_TRIPS, PHASES)
def test_a_round_trip_lies_within_the_rounding_of_what_ping_prints(ns: int, phase: int) -> None:
    told = printed_by_ping(ns, phase)
    for metric in ("rtt_p50", "rtt_min", "rtt_p99", "rtt_mean"):
        assert abs(told - ns) <= rounding_of(metric, told, ResolutionSource("ping", "wall")) + 1e-6


@settings(max_examples=200)
@given(st.lists(st.tuples(ROUND_TRIPS, PHASES), min_size=1, max_size=40))
def test_so_do_quantiles_and_means_of_many(trips: list[tuple[int, int]]) -> None:
    truth = np.array([float(ns) for ns, _ in trips])
    told = np.array([printed_by_ping(ns, phase) for ns, phase in trips])
    source = ResolutionSource("ping", "wall")
    for metric, of in {
        "rtt_p50": np.median, "rtt_p90": lambda x: np.quantile(x, 0.9), "rtt_p99": lambda x: np.quantile(x, 0.99),
        "rtt_mean": np.mean, "rtt_min": np.min,
    }.items():  # fmt: skip
        assert abs(of(told) - of(truth)) <= rounding_of(metric, float(of(told)), source) + 1e-3, (
            metric
        )


@pytest.mark.parametrize(
    ("file", "step"),
    [("ping.txt", 1e3), ("ping_late.txt", 1e5)],
    ids=["below a millisecond", "above ten"],
)
def test_recorded_pings_are_whole_steps(file: str, step: float) -> None:
    told = ping.parse((DATA / file).read_text()).quantiles
    for percent in ("0", "100"):
        steps = told[percent] / step
        assert steps == pytest.approx(round(steps))


def test_sockperf_tells_nanoseconds_and_how_many_it_counted() -> None:
    report = sockperf.parse((DATA / "sockperf_udp.txt").read_text())
    assert report.quantiles["50"] == 73_419.0 and report.counted == 8258
    for clock in ("wall", "instructions"):
        assert rounding_of("rtt_p50", 73_419.0, ResolutionSource("sockperf", clock)) == 0.0
        assert rounding_of("rtt_mean", 66_584.0, ResolutionSource("sockperf", clock)) == 0.5


@pytest.mark.parametrize(
    ("metric", "value", "moved"),
    [
        ("rtt_min", 5_000.0, 999.0),
        ("rtt_p50", 16_000.0, 999.0),
        ("rtt_p90", 99_000.0, 999.0),
        ("rtt_p90", 100_000.0, 10_999.0),
        ("rtt_p99", 5_600_000.0, 100_999.0),
        ("rtt_mean", 16_991.0, 0.5 + 999 / 200),
    ],
)
def test_netperf_sorts_its_times_into_steps(metric: str, value: float, moved: float) -> None:
    source = ResolutionSource("netperf_tcp_rr", "wall", details={"counted": 200})
    assert rounding_of(metric, value, source) == pytest.approx(moved)


def test_every_metric_has_a_resolution_of_each_load_that_tells_it() -> None:
    for load, metrics in METRICS_OF.items():
        for metric in metrics:
            if METRICS[metric].unit != "text":
                for clock in ("wall", "instructions"):
                    moved = rounding_of(metric, 1.0, ResolutionSource(load, clock))
                    assert math.isfinite(moved) and moved >= 0, (load, metric)


def test_throughput_is_reported_as_finely_as_time_is() -> None:
    """iperf3's clock: whole microseconds of it, cut off at both ends."""
    recorded = json.loads((DATA / "iperf3_tcp.json").read_text())["end"]["sum_received"]
    bits, seconds = recorded["bits_per_second"], recorded["seconds"]
    moved = rounding_of(
        "throughput", bits, ResolutionSource("iperf3_tcp", "wall", options={"duration": seconds})
    )
    least, most = (recorded["bytes"] * 8 / (seconds + off) for off in (1e-6, -1e-6))
    assert (
        bits - moved <= least * (1 + 1e-9)
        and most * (1 - 1e-9) <= bits + moved
        and moved < 1e-5 * bits
    )


def test_a_share_of_few_packets_has_few_steps() -> None:
    assert rounding_of(
        "loss", 0.02, ResolutionSource("ping", "wall", options={"count": 50})
    ) == pytest.approx(0.01)
    many = ResolutionSource("sockperf", "wall", details={"counted": 8258})
    assert rounding_of("loss", 1 / 8258, many) == pytest.approx(0.5 / 8258)
    rate = ResolutionSource("iperf3_udp", "wall", 1400, {"duration": 2.0}, {"throughput": 1e6})
    assert rounding_of("packets_per_second", 10.0, rate) == pytest.approx(0.5, rel=1e-3)


def test_cpu_time_in_ticks_is_reported_by_ticks() -> None:
    """One second of CPU over 10^9 bytes: ticks of 10 ms in two columns of two CPUs where a kernel
    keeps them apart.
    """
    values = {"throughput": 8e9}
    found = [
        rounding_of(
            "cpu_ns_per_byte",
            1.0,
            ResolutionSource("iperf3_tcp", "wall", 1400, {"duration": 1.0}, values, {"cpu": cpu}),
        )
        for cpu in ({"interrupts_apart": False}, {"interrupts_apart": True})
    ]
    assert found[0] < 1e-5 and found[1] == pytest.approx(0.04, rel=0.01)


# --- ping at 11 against 12 µs ---------------------------------------------------------------------


def dithering(rng: np.random.Generator, blocks: int, *levels: float) -> list[float]:
    return [float(value) for value in rng.choice(levels, blocks)]


@BOTH
@pytest.mark.parametrize("blocks", [1, 10, 40])
@pytest.mark.parametrize("margin", [None, 0.0, 0.03])
def test_ping_at_11_against_12_is_undecided_and_says_why(
    clock: str, blocks: int, margin: float | None
) -> None:
    margins = {} if margin is None else {"rtt_p50": margin}
    row = compared([(12_000.0, 11_000.0)] * blocks, "ping", clock, margins=margins)
    found = gated([11_000.0] * blocks, [12_000.0] * blocks, "ping", clock, margins=margins)
    if clock == "wall" and blocks == 1:
        assert row["verdict"] == found.verdict == "one_block"
        return
    for verdict, note in ((row["verdict"], row["note"]), (found.verdict, found.note)):
        assert verdict == "inconclusive"
        assert "could be rounding: ping prints whole microseconds" in note and "sockperf" in note


@BOTH
def test_equal_pings_are_not_identical(clock: str) -> None:
    row = compared([(11_000.0, 11_000.0)] * 10, "ping", clock)
    found = gated([11_000.0] * 10, [11_000.0] * 10, "ping", clock)
    for verdict, note in ((row["verdict"], row["note"]), (found.verdict, found.note)):
        assert (
            verdict == "inconclusive" and "no difference larger than" in note and "sockperf" in note
        )
    assert row["ratio_low"] == pytest.approx(10_001 / 11_999) and row[
        "ratio_high"
    ] == pytest.approx(11_999 / 10_001)
    assert row["resolution"] == pytest.approx(
        math.sqrt(11_999 / 10_001 * 11_999 / 10_001) - 1, rel=1e-3
    )
    assert (
        compared([(11_000.0, 11_000.0)] * 10, "ping", clock, margins={"rtt_p50": 0.25})["verdict"]
        == "equivalent"
    )
    assert (
        gated([11_000.0] * 10, [11_000.0] * 10, "ping", clock, margins={"rtt_p50": 0.5}).verdict
        == "equivalent"
    )


@pytest.mark.parametrize("seed", range(5))
def test_pings_that_dither_between_two_steps_decide_nothing_of_their_size(seed: int) -> None:
    rng = np.random.default_rng(seed)
    cells, base = (
        dithering(rng, 20, 11_000.0, 12_000.0, 12_000.0),
        dithering(rng, 20, 11_000.0, 11_000.0, 12_000.0),
    )
    row = compared(list(zip(cells, base, strict=True)), "ping", "wall")
    assert row["verdict"] == "inconclusive" and "ping prints whole microseconds" in row["note"]
    assert gated(base, cells, "ping", "wall").verdict == "inconclusive"


@BOTH
def test_what_is_larger_than_the_steps_is_decided(clock: str) -> None:
    assert compared([(30_000.0, 11_000.0)] * 10, "ping", clock)["verdict"] == "slower"
    assert compared([(11_000.0, 30_000.0)] * 10, "ping", clock)["verdict"] == "faster"
    assert gated([11_000.0] * 10, [30_000.0] * 10, "ping", clock).verdict == "regression"
    assert gated([30_000.0] * 10, [11_000.0] * 10, "ping", clock).verdict == "improvement"


def test_an_instruction_decides_by_sockperf() -> None:
    assert compared([(28_114.0, 28_113.0)], "sockperf", "instructions")["verdict"] == "slower"
    assert compared([(28_113.0, 28_113.0)], "sockperf", "instructions")["verdict"] == "identical"
    margins = {"rtt_p50": 0.0}
    assert (
        gated([28_113.0], [28_114.0], "sockperf", "instructions", margins=margins).verdict
        == "regression"
    )
    assert (
        gated([28_113.0], [28_112.0], "sockperf", "instructions", margins=margins).verdict
        == "improvement"
    )


def test_a_quickstart_by_ping_does_not_contradict_sockperf() -> None:
    """Seen: 11 to 14 µs by ping, "+27.3 %", where sockperf said 9.4 %.

    The interval has room for both.
    """
    row = compared([(14_000.0, 11_000.0)], "ping", "instructions")
    assert row["ratio_low"] < 1.094 < row["ratio_high"]


# --- the other tools' -----------------------------------------------------------------------------


@BOTH
def test_one_packet_lost_of_fifty_decides_nothing(clock: str) -> None:
    options = {"count": 50, "interval": 0.01}
    for pairs in ([(0.02, 0.0)] * 10, [(0.02, 0.02)] * 10, [(0.04, 0.02)] * 10):
        row = compared(pairs, "ping", clock, "loss", options=options)
        assert row["verdict"] not in DECIDED, pairs
        old, new = [base for _, base in pairs], [value for value, _ in pairs]
        assert gated(old, new, "ping", clock, "loss", options=options).verdict not in PASSED
    assert (
        compared([(0.0, 0.0)] * 10, "ping", clock, "loss", options=options)["verdict"]
        == "identical"
    )
    assert (
        compared([(0.8, 0.02)] * 10, "ping", clock, "loss", options=options)["verdict"] == "slower"
    )


@BOTH
def test_a_retransmission_more_or_less_decides_nothing(clock: str) -> None:
    for one, other in ((1.0, 0.0), (6.0, 5.0), (0.0, 1.0)):
        assert (
            compared([(one, other)] * 10, "iperf3_tcp", clock, "retransmits")["verdict"]
            not in DECIDED
        )
        assert (
            gated([other] * 10, [one] * 10, "iperf3_tcp", clock, "retransmits").verdict
            not in PASSED
        )
    assert compared([(200.0, 5.0)] * 10, "iperf3_tcp", clock, "retransmits")["verdict"] == "slower"


@BOTH
def test_throughput_within_a_microsecond_of_time_decides_nothing(clock: str) -> None:
    bits = 2.2e10
    margins = {"throughput": 0.0}
    close = compared(
        [(bits * (1 + 1e-6), bits)] * 10, "iperf3_tcp", clock, "throughput", margins=margins
    )
    assert close["verdict"] == "inconclusive" and "a longer transfer" in close["note"]
    assert (
        compared([(bits * 1.1, bits)] * 10, "iperf3_tcp", clock, "throughput")["verdict"]
        == "faster"
    )
    assert (
        gated([bits] * 10, [bits * 0.9] * 10, "iperf3_tcp", clock, "throughput", base=bits).verdict
        == "regression"
    )


def test_cpu_time_of_a_few_ticks_decides_nothing_and_of_many_does() -> None:
    details = {"cpu": {"interrupts_apart": True}}
    for bits, verdict in ((8e7, "inconclusive"), (8e10, "slower")):
        row = compared(
            [(1.3, 1.0)] * 10,
            "iperf3_tcp",
            "wall",
            "cpu_ns_per_byte",
            beside={"throughput": bits},
            details=details,
        )
        assert row["verdict"] == verdict


@BOTH
def test_what_a_packet_costs_is_decided_beyond_a_microsecond_of_the_transfer(clock: str) -> None:
    metric, beside = "instructions_per_packet", {"throughput": 1e9}
    options = {"bytes": 1_250_000}  # 10 ms
    for more, verdict in ((1e-4, "inconclusive"), (1e-3, "slower")):
        pairs = [(5210.0 * (1 + more), 5210.0)] * 10
        row = compared(
            pairs,
            "iperf3_udp",
            clock,
            metric,
            options=options,
            beside=beside,
            margins={metric: 0.0},
        )
        assert row["verdict"] == verdict


@BOTH
@pytest.mark.parametrize(("count", "decided"), [(50, False), (99, False), (100, True)])
def test_a_percentile_that_so_few_round_trips_do_not_have_decides_nothing(
    clock: str, count: int, decided: bool
) -> None:
    options = {"count": count, "interval": 0.01}
    row = compared([(900_000.0, 100_000.0)] * 10, "ping", clock, "rtt_p99", options=options)
    assert (row["verdict"] == "slower") == decided
    assert decided or "too few round trips for a 99th percentile" in row["note"]
    assert decided or row["verdict"] == "inconclusive"
    assert (
        compared([(900_000.0, 100_000.0)] * 10, "ping", clock, "rtt_p90", options=options)[
            "verdict"
        ]
        == "slower"
    )
    other = compared(
        [(9e5 + n, 1e5) for n in range(10)],
        "sockperf",
        clock,
        "rtt_p99",
        details={"counted": count},
    )
    assert other["verdict"] == ("slower" if decided else "inconclusive")


def test_lost_answers_are_no_round_trips() -> None:
    options, beside = {"count": 100, "interval": 0.01}, {"loss": 0.5}
    row = compared(
        [(9e5, 1e5)] * 10, "ping", "instructions", "rtt_p99", options=options, beside=beside
    )
    assert row["verdict"] == "inconclusive"


# --- rounding alone never decides: simulated truths, rounded as the tools do ----------------------

TRUTHS = st.integers(2_000, 60_000)


@settings(max_examples=100, deadline=None)
@given(
    TRUTHS,
    TRUTHS,
    st.lists(st.tuples(PHASES, PHASES), min_size=1, max_size=12),
    st.sampled_from([0.0, 0.03]),
)
def test_on_the_instruction_clock_a_verdict_is_true_of_what_was_rounded(
    cell_ns: int, base_ns: int, phases: list[tuple[int, int]], margin: float
) -> None:
    pairs = [(printed_by_ping(cell_ns, a), printed_by_ping(base_ns, b)) for a, b in phases]
    assume(min(min(pair) for pair in pairs) > 0)
    row = compared(pairs, "ping", "instructions", margins={"rtt_p50": margin})
    _check_true(row["verdict"], cell_ns, base_ns, margin, {"faster": "faster", "slower": "slower"})
    found = gated(
        [b for _, b in pairs],
        [a for a, _ in pairs],
        "ping",
        "instructions",
        margins={"rtt_p50": margin},
    )
    _check_true(
        found.verdict, cell_ns, base_ns, margin, {"improvement": "faster", "regression": "slower"}
    )
    assert row["ratio_low"] <= cell_ns / base_ns <= row["ratio_high"]
    if abs(cell_ns - base_ns) > 4_000 and margin == 0:
        assert row["verdict"] in ("faster", "slower")


@settings(max_examples=50, deadline=None)
@given(
    TRUTHS,
    TRUTHS,
    st.lists(st.tuples(PHASES, PHASES), min_size=6, max_size=12),
    st.sampled_from([0.0, 0.03]),
)
def test_on_the_wall_clock_too_where_nothing_but_rounding_varies(
    cell_ns: int, base_ns: int, phases: list[tuple[int, int]], margin: float
) -> None:
    pairs = [(printed_by_ping(cell_ns, a), printed_by_ping(base_ns, b)) for a, b in phases]
    assume(min(min(pair) for pair in pairs) > 0)
    verdict = compared(pairs, "ping", "wall", margins={"rtt_p50": margin})["verdict"]
    _check_true(verdict, cell_ns, base_ns, margin, {"faster": "faster", "slower": "slower"})
    found = gated(
        [b for _, b in pairs],
        [a for a, _ in pairs],
        "ping",
        "wall",
        base=20_000.0,
        margins={"rtt_p50": margin},
    )
    _check_true(
        found.verdict, cell_ns, base_ns, margin, {"improvement": "faster", "regression": "slower"}
    )
    if cell_ns > 3 * base_ns and base_ns > 10_000:
        assert verdict == "slower"


def _check_true(
    verdict: str, cell_ns: int, base_ns: int, margin: float, means: dict[str, str]
) -> None:
    """A verdict is true of the values before they were rounded."""
    assert verdict != "identical"
    ratio = cell_ns / base_ns
    if verdict == "equivalent":
        assert 1 / (1 + margin) <= ratio <= 1 + margin
    elif verdict in means:
        assert ratio > 1 + margin if means[verdict] == "slower" else ratio < 1 / (1 + margin)


# --- what is made of it ---------------------------------------------------------------------------


def test_a_frame_read_from_a_file_is_rounded_by_the_plan(tmp_path: Path) -> None:
    run = run_of("ping", 10, "wall")
    attempts = attempts_of(
        run, "rtt_p50", lambda one: 12_000.0 if one.trial.role == "cell" else 11_000.0
    )
    frame = to_frame(attempts, "run")
    write_tables(tmp_path, frame, comparison.compare(frame, run.plan()))
    read = pd.read_parquet(tmp_path / OBSERVATIONS)
    assert list(read.columns) == list(COLUMNS)
    pd.testing.assert_frame_equal(
        comparison.compare(read, run.plan()),
        comparison.compare(frame, run.plan()),
        check_dtype=False,
    )


@BOTH
def test_the_reports_say_why_it_is_undecided_and_what_decides(tmp_path: Path, clock: str) -> None:
    run = run_of(
        "ping", 8, clock, effects={("netkit", "netkit_peer", "redirect"): 1.05}, noise=0.001
    )
    folder = stored(run, tmp_path)
    report.make(folder)
    why = "ping prints whole microseconds"
    lines = " ".join(line.plain.strip() for line in terminal.comparisons(RunData.read(folder), 100))
    assert f"1 undecided: could be rounding: {why}" in lines and "; sockperf " in lines
    assert why in (folder / "report.md").read_text() and why in (folder / "report.html").read_text()
    told = json.loads((folder / "verdicts.json").read_text())
    assert [one["kind"] for one in told["cautions"]].count("resolution") == 1
    (mine,) = [
        one for one in told["comparisons"] if one["role"] == "cell" and one["metric"] == "rtt_p50"
    ]
    assert mine["verdict"] == "inconclusive" and why in mine["note"] and mine["resolution"] > 0.05


@BOTH
def test_the_advice_is_sockperf_and_no_blocks_where_only_rounding_is_in_the_way(
    tmp_path: Path, clock: str
) -> None:
    run = run_of(
        "ping", 8, clock, effects={("netkit", "netkit_peer", "redirect"): 1.05}, noise=0.001
    )
    story = RunData.read(stored(run, tmp_path))
    assert advice.give_advice(
        story
    ) is None and "The load sockperf would decide it" in advice.sentence(story)


def test_reports_of_what_is_reported_finely_say_nothing_of_it(tmp_path: Path) -> None:
    folder = stored(run_of("sockperf", 8, "wall"), tmp_path)
    assert "resolution" not in {one.kind for one in warnings.collect_warnings(RunData.read(folder))}


def test_a_plan_says_beforehand_what_is_reported_too_coarsely(tmp_path: Path) -> None:
    base = "name: t\nbaseline: {device: veth, topology: direct}\nloads: "
    ping_alone = planned(tmp_path, base + "[{kind: ping, count: 50}]")
    found = too_coarse(ping_alone)
    assert any("50 pings have no 99th percentile" in one for one in found)
    assert any("whole microseconds" in one and "sockperf" in one for one in found)
    assert all(f"too coarse: {one}" in describe_plan(ping_alone, "vm") for one in found)
    assert too_coarse(planned(tmp_path, base + "[ping, sockperf]")) == []
    assert too_coarse(planned(tmp_path, base + "[iperf3_tcp]")) == []


def test_sides_keep_it_and_old_ones_are_given_it() -> None:
    run = run_of("ping", 1, "instructions")
    sides = []
    for value in (11_000.0, 12_000.0):
        told = attempts_of(run, "rtt_p50", lambda one, v=value: v)  # type: ignore[misc]
        sides.append(MeasuredRun.of("run", run.plan(), environment(run), to_frame(told, "run")))
    again = [
        MeasuredRun.from_json(json.loads(json.dumps(side.to_json(), allow_nan=False)))
        for side in sides
    ]
    # as text: from Python 3.13 on two dataclasses that hold NaN are never equal
    assert str(gate.decide(*again).findings) == str(gate.decide(*sides).findings)
    for entry in (data := again[0].to_json())["entries"]:
        del entry["roundings"]
    old = MeasuredRun.from_json(data)
    assert {one.verdict for one in gate.decide(old, sides[1]).findings} == {"inconclusive"}


def test_what_tells_nothing_is_kept_in_a_side_as_json_has_it() -> None:
    run = run_of("ping", 1, "instructions")
    told = attempts_of(run, "rtt_p99", lambda _: 1e5, options={"count": 10, "interval": 0.01})
    side = MeasuredRun.of("run", run.plan(), environment(run), to_frame(told, "run"))
    again = MeasuredRun.from_json(json.loads(json.dumps(side.to_json(), allow_nan=False)))
    assert math.isinf(next(iter(again.entries.values())).rounding("rtt_p99", 0))


def test_a_baseline_that_ran_twice_is_as_wide_as_both() -> None:
    frame = pd.DataFrame(
        {
            "cell": "c",
            "role": "baseline",
            "metric": "rtt_p50",
            "block": 0,
            "value": [3_000.0, 30_000.0],
            "rounding": [999.0, 999.0],
            "status": "ok",
            "text": None,
        },
    )
    values = BlockValues(frame)
    (value,), (moved,) = (
        one("c", "baseline", "rtt_p50").values() for one in (values.of, values.rounding)
    )
    for first in (2_001.0, 3_999.0):
        for last in (29_001.0, 30_999.0):
            assert abs(math.sqrt(first * last) - value) <= moved + 1e-6


def test_drift_within_the_rounding_is_none() -> None:
    for last, verdict in ((12_000.0, "inconclusive"), (40_000.0, "drift")):
        rows = pd.DataFrame(
            [
                {
                    "cell": "c",
                    "role": "baseline",
                    "load": "ping",
                    "metric": "rtt_p50",
                    "clock": "wall",
                    "block": block,
                    "position": place,
                    "value": value,
                    "rounding": 999.0,
                    "status": "ok",
                }
                for block in range(10)
                for place, value in ((0, 11_000.0), (9, last))
            ]
        )
        assert list(precision.drift(rows)["verdict"]) == [verdict]


def test_a_step_of_rounding_is_no_change_in_a_history() -> None:
    logs = np.log(np.repeat([11.0, 12.0, 30.0], 20))
    moved = np.full(60, math.log(12 / 11))
    assert change_points.steps(logs, 0.002) == [20, 40] and change_points.steps(
        logs, 0.002, moved
    ) == [40]
    assert change_points.beyond_rounding(logs, [20, 40], moved) == [40]
    assert change_points.beyond_rounding(logs, [20, 40], np.zeros(60)) == [20, 40]


def test_a_frame_of_many_values_is_rounded_in_little_time() -> None:
    source = ResolutionSource("ping", "wall", options={"count": 100})
    begun = time.process_time()
    for _ in range(20_000):
        resolution.rounding_of("rtt_p50", 11_000.0, source)
    assert time.process_time() - begun < 1.0
