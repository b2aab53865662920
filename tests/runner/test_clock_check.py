"""The self-test of the instruction clock, on invented attempts: equal is equal, and a difference
has its place.
"""

from __future__ import annotations

import json
from dataclasses import replace

from trials import DIRECT, cell

from yogurtbench.core.records import Attempt, Observation, Trial
from yogurtbench.runner import clock_check


def boot(median: float = 28_237.0, status: str = "ok") -> list[Attempt]:
    """What one boot gives: plain veth, reachable, and its median round trip."""
    reach = Trial("none-b000-p00", cell("reachability", **DIRECT), 0, 0, clock="instructions")
    trip = Trial("none-b000-p01", cell("sockperf", **DIRECT), 0, 1, clock="instructions")
    alive = Attempt(
        reach, "ok", (Observation.of("reachable", 1.0), Observation.of("dropped_at", "no_one"))
    )
    if status != "ok":
        return [alive, Attempt.without_values(trip, "crashed", "the guest died")]
    return [alive, Attempt(trip, "ok", (Observation.of("rtt_p50", median, "instructions"),))]


def test_equal_boots_pass_whatever_ended_first_and_however_long_it_took() -> None:
    again = [
        replace(attempt, seconds={"load": 7.0}, details={"argv": []})
        for attempt in reversed(boot())
    ]
    answer = clock_check.compare_boots(boot(), again)
    assert answer.passed
    assert answer.differences == ()
    assert answer.digests[0] == answer.digests[1]
    assert answer.as_text().splitlines()[-1] == "the instruction clock: two boots, digests equal"


def test_one_instruction_more_is_reported_with_its_cell_its_metric_and_both_values() -> None:
    answer = clock_check.compare_boots(boot(), boot(28_238.0))
    assert not answer.passed
    (found,) = answer.differences
    assert (found.cell, found.load, found.metric) == (
        cell("sockperf", **DIRECT).id,
        "sockperf",
        "rtt_p50",
    )
    assert (found.first, found.second) == ("28237.0 instructions", "28238.0 instructions")
    assert (
        f"{found.cell} {found.wire}, sockperf: rtt_p50 was 28237.0 instructions, then"
        in answer.as_text()
    )
    assert set(answer.digests) <= set(answer.as_text().split())


def test_another_word_is_a_difference() -> None:
    second = boot()
    word = Observation.of("dropped_at", "someone")
    second[0] = replace(second[0], observations=(second[0].observations[0], word))
    (found,) = clock_check.compare_boots(boot(), second).differences
    assert (found.metric, found.first, found.second) == ("dropped_at", "no_one", "someone")


def test_a_trial_that_crashed_once_differs_and_one_that_crashed_twice_is_no_pass_either() -> None:
    once, twice = (
        clock_check.compare_boots(boot(), boot(status="crashed")),
        clock_check.compare_boots(*[boot(status="crashed")] * 2),
    )
    differing = {one.metric: (one.first, one.second) for one in once.differences}
    assert differing["rtt_p50"] == ("28237.0 instructions", "crashed")
    assert differing["rtt_p90"] == ("nothing", "crashed")
    assert twice.digests[0] == twice.digests[1] and twice.differences == ()
    assert not twice.passed
    assert "crashed: the guest died" in twice.as_text()


def test_json_has_the_verdict_both_digests_and_where_they_differ() -> None:
    told = json.loads(clock_check.compare_boots(boot(), boot(28_238.0)).as_json())
    assert told["passed"] is False
    assert len(told["digests"]) == 2 and told["digests"][0] != told["digests"][1]
    assert told["differences"][0]["metric"] == "rtt_p50"


def test_the_plan_is_small_and_on_the_instruction_clock() -> None:
    plan = clock_check.clock_plan()
    loads = {(one.cell.device, one.cell.load) for one in plan.cells}
    assert loads == {
        (device, load)
        for device in ("netkit", "veth")
        for load in ("reachability", "sockperf", "iperf3_tcp")
    }
    assert (plan.clock, plan.blocks.max, plan.diagnostics()) == ("instructions", 1, [])
