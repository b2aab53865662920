"""verdicts.json: what a script needs to know of a run, and nothing that is not in its report."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fake_runs import Invented, baseline_of, cell, environment, key, stored, yogurt_phone

from yogurtbench import report
from yogurtbench.core.metrics import HEADLINE
from yogurtbench.core.records import Attempt
from yogurtbench.report.export.verdicts import verdicts
from yogurtbench.report.pages.run import render
from yogurtbench.report.run_data import RunData
from yogurtbench.report.sections import overhead
from yogurtbench.report.sections.summary import summarise
from yogurtbench.results import run_folder
from yogurtbench.results.frame import to_frame


def story_of(run: Invented, attempts: list[Attempt] | None = None) -> RunData:
    told = attempts if attempts is not None else list(run.attempts())
    return RunData.tell("run", "matrix", run.plan(), environment(run), told, to_frame(told, "run"))


def entry(found: dict[str, Any], one: Any, metric: str, role: str = "cell") -> dict[str, Any]:
    (mine,) = [
        row
        for row in found["comparisons"]
        if (row["cell"], row["metric"], row["role"]) == (one.id, metric, role)
    ]
    return dict(mine)


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The file of a stored run, as a script reads it."""
    path = stored(yogurt_phone(), tmp_path_factory.mktemp("runs"))
    assert path / "verdicts.json" in report.make(path)
    data = json.loads((path / "verdicts.json").read_text(encoding="utf-8"))
    assert data["run"] == path.name
    return dict(data)


def test_it_says_what_the_report_says(found: dict[str, Any]) -> None:
    run = yogurt_phone()
    story = story_of(run)
    assert found["answer"] == summarise(story)
    assert (found["question"], found["clock"], found["emulated"]) == (run.question, "wall", False)
    assert len(found["comparisons"]) == len(story.comparison)
    assert found["advice"]["seconds"] > 0 and " --blocks " in found["advice"]["command"]
    command = verdicts(story_of(yogurt_phone(blocks=1)))["advice"]["command"]
    assert command.endswith(" --lab vm --clock wall --blocks 10")


def test_a_comparison_has_its_cell_its_baseline_and_its_verdict(found: dict[str, Any]) -> None:
    best = next(one for one in yogurt_phone().cells if (one.load, one.payload) == ("sockperf", 64))
    row = entry(found, best, "rtt_p50")
    assert (row["verdict"], row["family"], row["load"], row["unit"]) == (
        "faster",
        "gate",
        "sockperf",
        "ns",
    )
    assert row["baseline"] == baseline_of(best).id
    assert row["axes"]["hook"] == best.hook and row["axes"]["payload"] == 64
    assert 0.8 < row["low"] < row["ratio"] < row["high"] < 0.97 and row["p_adjusted"] < 0.05
    assert row["difference"] is None  # nothing on the wall clock is exact


def test_on_the_instruction_clock_the_difference_is_exact() -> None:
    run = yogurt_phone(
        clock="instructions",
        accelerator="tcg",
        blocks=1,
        effect_of=lambda one: 2.0 - (one.hook == "none"),
    )
    data = verdicts(story_of(run))
    one = next(one for one in run.cells if one.load == "sockperf" and one.id not in run.dead)
    row = entry(data, one, "rtt_p50")
    assert (row["difference"], row["unit"], row["p_adjusted"]) == (28_113.0, "instructions", None)
    assert data["emulated"] is True and data["cautions"][0]["kind"] == "emulated"


@pytest.mark.parametrize(("canary", "word"), [(1.0, "ok"), (1.2, "moved")])
def test_what_the_canary_shows_is_reported(canary: float, word: str) -> None:
    run = yogurt_phone(canary=canary)
    told = verdicts(story_of(run))["canary"]
    assert told["verdict"] == word
    assert bool(told["moved"]) == (word == "moved")
    assert all(one["verdict"] in ("faster", "slower") for one in told["moved"])
    plain = Invented((cell(load="reachability"),), blocks=1)
    assert verdicts(story_of(plain))["canary"]["verdict"] == "none"


def test_on_the_instruction_clock_only_what_decides_makes_a_canary_move() -> None:
    run = yogurt_phone(clock="instructions", accelerator="tcg", blocks=1, canary=1.2)
    told = verdicts(story_of(run))["canary"]
    assert told["verdict"] == "moved"
    assert all(one["metric"] == HEADLINE[one["load"]] for one in told["moved"])


def test_each_cell_says_whether_its_wire_carries_packets(found: dict[str, Any]) -> None:
    run = yogurt_phone()
    told = {one["cell"]: one for one in found["cells"]}
    assert told.keys() >= {one.id for one in run.cells}
    dead = {key(one) for one in run.cells if one.id in run.dead}
    for one in run.cells:
        assert told[one.id]["reachability"] == ("dead" if key(one) in dead else "alive")
    gone = next(
        told[one.id] for one in run.cells if one.id in run.dead and one.load == "reachability"
    )
    assert (
        gone["words"]["dropped_at"] == "netkit_xmit:NOT_SPECIFIED"
        and gone["words"]["reachable"] == 0
    )
    watched = next(told[one.id] for one in run.cells if one.load == "isolation")
    assert watched["words"]["eavesdrop_any"] == 1 and watched["words"]["host_ping"] == 0


def test_what_could_not_be_reported_is_neither_alive_nor_dead() -> None:
    one = cell(load="reachability")
    run = Invented((one,), blocks=1)
    attempts = list(run.attempts())
    for status in ("looping", "unsupported", "crashed"):
        odd = [
            Attempt.without_values(a.trial, status, "no") if a.trial.cell == one else a
            for a in attempts
        ]
        (told,) = [c for c in verdicts(story_of(run, odd))["cells"] if c["cell"] == one.id]
        assert told["reachability"] == status
    (told,) = [c for c in verdicts(story_of(run, []))["cells"] if c["cell"] == one.id]
    assert told["reachability"] == "not_run"


def test_the_harnesss_share_is_what_the_loads_left() -> None:
    run = yogurt_phone(blocks=2)
    attempts = [replace(a, seconds={"load": 3.0, "lab": 0.5, "undo": 0.5}) for a in run.attempts()]
    story = story_of(run, attempts)
    assert verdicts(story)["overhead_ratio"] == pytest.approx(0.25)
    assert [(one.name, one.share) for one in overhead.phases(story)] == [
        ("lab", pytest.approx(0.125)),
        ("load", pytest.approx(0.75)),
        ("undo", pytest.approx(0.125)),
    ]
    page = render(story, [])
    assert "25 % the harness" in page and "overhead_ratio 0.250" in page
    nothing = story_of(run, [])
    assert verdicts(nothing)["overhead_ratio"] is None and 'id="overhead"' not in render(
        nothing, []
    )


def test_guest_time_is_not_called_wall_time() -> None:
    run = yogurt_phone(clock="instructions", accelerator="tcg", blocks=1)
    assert "guest seconds (10⁹ guest instructions)" in render(story_of(run), [])


def test_it_is_strict_json_of_an_empty_run_too(tmp_path: Path) -> None:
    run = yogurt_phone()
    with run_folder.StoredRun.create(tmp_path, run.name, "", run.plan(), environment(run)) as empty:
        report.make(empty.path)
    data = json.loads((empty.path / "verdicts.json").read_text(), parse_constant=pytest.fail)
    assert {one["verdict"] for one in data["comparisons"]} == {"not_run"}
