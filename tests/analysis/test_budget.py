"""What a budget buys."""

import json
import math
from dataclasses import asdict
from pathlib import Path

import pytest
from fake_runs import Invented, cell, stored
from matrices import planned

from yogurtbench.analysis.budget import (
    ASSUMED,
    describe_budget,
    estimate_budget,
    expected_width,
    measured_deviations,
)
from yogurtbench.plan.estimate import block_seconds

MATRIX = """\
name: t
axes: {hook: [netkit_peer, tcx_ingress]}
baseline: {device: veth, topology: direct}
loads: [sockperf]
gate: [hook=netkit_peer]
"""


def test_as_many_whole_blocks_as_fit_and_no_more_than_planned(tmp_path: Path) -> None:
    plan = planned(tmp_path, MATRIX)
    block = block_seconds(plan, "native")
    assert [estimate_budget(plan, "native", block * n).blocks for n in (0.9, 1.0, 12.5, 400)] == [
        0,
        1,
        12,
        40,
    ]
    bought = estimate_budget(plan, "native", block * 12.5)
    assert (bought.decidable, bought.gate_cells) == (102, 1)
    assert json.loads(json.dumps(asdict(bought)))["half_widths"][0] == [
        0.01,
        expected_width(12, 0.01),
    ]


def test_more_blocks_buy_precision_and_noise_costs_it() -> None:
    # simulated: 0.717 standard deviations
    assert expected_width(10, 0.03) == pytest.approx(0.0224, abs=0.0005)
    assert expected_width(5, 0.03) is None
    widths = [expected_width(n, 0.03) or math.nan for n in (10, 20, 40)]
    assert widths == sorted(widths, reverse=True)


def test_what_is_assumed_is_said_to_be(tmp_path: Path) -> None:
    plan = planned(tmp_path, MATRIX)
    said = "\n".join(describe_budget(estimate_budget(plan, "vm", 12 * block_seconds(plan, "vm"))))
    assert "12 blocks" in said and "assumed, not measured" in said and "stops at ±1.0%" in said
    assert all(f"SD {sd:.1%}: ±" in said for sd in ASSUMED)
    assert "can decide (Holm): 102; in the gate: 1" in said


@pytest.mark.parametrize(
    ("blocks", "clock", "text", "word"),
    [
        (5, "wall", MATRIX, "no interval and no verdict: they need 6 blocks"),
        (0.5, "wall", MATRIX, "no interval and no verdict"),
        (1, "instructions", MATRIX, "one block is enough"),
        (1, "wall", "name: t\nloads: [reachability]\n", "one block is enough"),
        (0.5, "instructions", MATRIX, "one would be enough"),
    ],
)
def test_where_there_is_no_interval_none_is_promised(
    tmp_path: Path, blocks: float, clock: str, text: str, word: str
) -> None:
    plan = planned(tmp_path, text, clock=clock)
    said = "\n".join(
        describe_budget(estimate_budget(plan, "vm", blocks * block_seconds(plan, "vm")))
    )
    assert word in said and "±" not in said


def test_a_stored_run_of_the_experiment_tells_its_noise(tmp_path: Path) -> None:
    """Every trial has a noise of 2 %: a ratio of two, 2.8 %."""
    run = Invented((cell(), cell(headroom=64)), noise=0.02, blocks=40)
    plan = run.plan()
    assert measured_deviations(plan, tmp_path, "vm") is None
    folder = stored(run, tmp_path)
    noise = measured_deviations(plan, tmp_path, "vm")
    assert noise and noise.source == str(folder)
    assert noise.median == pytest.approx(0.028, rel=0.3) and noise.most >= noise.median
    said = "\n".join(describe_budget(estimate_budget(planned(tmp_path, MATRIX), "vm", 1e6, noise)))
    assert f"measured in {folder}" in said and "assumed" not in said
    assert measured_deviations(plan, tmp_path, "native") is None


def test_runs_that_tell_nothing_about_noise_are_passed_over(tmp_path: Path) -> None:
    run = Invented((cell(),), blocks=4)
    plan = run.plan()
    stored(run, tmp_path)  # too few blocks
    stored(Invented((cell(),), clock="instructions"), tmp_path)
    (stored(Invented((cell(),)), tmp_path) / "trials.jsonl").write_text("broken\n")
    (tmp_path / run.name / "no-run").mkdir()
    assert measured_deviations(plan, tmp_path, "vm") is None
