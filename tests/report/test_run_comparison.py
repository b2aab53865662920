"""baseline, check and compare on the command line: exit codes, what they print, what pyperf makes
of the file.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyperf
import pytest
from cli_runner import Said, caller
from fake_runs import Invented, cell, environment, side_of, stored, yogurt_phone
from rich.console import Console

from yogurtbench.analysis import gate, measured_run
from yogurtbench.core.errors import MatrixError
from yogurtbench.report.export import baseline
from yogurtbench.report.sections import gate as reports

KEY = ("netkit", "netkit_peer", "redirect")
WIRE, OTHER, REACH = cell(), cell("veth", "tcx_ingress"), cell(load="reachability")
BULK = cell(load="iperf3_udp", payload=1400)


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Callable[..., Said]:
    """A command line, called in this process, on a wide terminal."""
    monkeypatch.setenv("COLUMNS", "240")
    return caller(capfd)


def noisy(seed: int = 1, **changes: Any) -> Invented:
    return replace(
        Invented((REACH, WIRE, OTHER, BULK), blocks=12, noise=0.004, seed=seed), **changes
    )


def exact(effect: float = 1.0, **changes: Any) -> Invented:
    how: dict[str, Any] = {"blocks": 1, "clock": "instructions", "accelerator": "tcg", **changes}
    return replace(Invented((REACH, WIRE, OTHER, BULK), effects={KEY: effect}), **how)


@pytest.fixture
def file(tmp_path: Path, call: Callable[..., Said]) -> Path:
    """A stored baseline of the wall clock."""
    path = tmp_path / "baselines" / "phone.json"
    said = call("baseline", stored(noisy(), tmp_path), "--out", path)
    assert said.code == 0 and said.err == "" and str(path) in said.out
    return path


# --- the file -------------------------------------------------------------------------------------


@pytest.mark.parametrize("verb", ["show", "stats", "hist", "metadata"])
def test_pyperf_reads_a_baseline(file: Path, verb: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pyperf", verb, file], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0 and "netkit" in done.stdout, done.stderr


def test_pyperf_compares_two_baselines(
    file: Path, tmp_path: Path, call: Callable[..., Said]
) -> None:
    other = tmp_path / "other.json"
    call("baseline", stored(noisy(2, effects={KEY: 1.3}), tmp_path), "--out", other)
    argv = [sys.executable, "-m", "pyperf", "compare_to", file, other]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode == 0 and "slower" in done.stdout, done.stderr


def test_a_baseline_says_seconds_and_keeps_everything_a_decision_needs(
    file: Path, tmp_path: Path
) -> None:
    suite = pyperf.BenchmarkSuite.load(str(file))
    units = {one.get_metadata()["meaning"]: one.get_unit() for one in suite}
    assert units["seconds per byte"] == "second" and units["seconds"] == "second"
    side = baseline.read(file)
    assert (
        replace(measured_run.read_run(next(tmp_path.glob("yogurt-phone/*"))), name=side.name)
        == side
    )
    assert side.environment == environment(noisy()) and len(side.plan) == 64


@pytest.mark.parametrize("run", [exact(), yogurt_phone(blocks=6), noisy(cells=(REACH,))])
def test_a_side_survives_its_baseline(tmp_path: Path, run: Invented) -> None:
    folder = stored(run, tmp_path)
    baseline.write(folder, tmp_path / "b.json")
    assert baseline.read(tmp_path / "b.json") == measured_run.read_run(folder)


def test_no_baseline_is_made_of_failures_or_of_nothing(
    tmp_path: Path, call: Callable[..., Said]
) -> None:
    failing = stored(noisy(3, failing={OTHER.id: "hung\nbadly"}), tmp_path)
    said = call("baseline", failing, "--out", tmp_path / "b.json")
    assert said.code == 3 and "hung" in said.err and not (tmp_path / "b.json").exists()
    nothing = stored(noisy(cells=(WIRE,), dead=frozenset({WIRE.id})), tmp_path)
    (nothing / "trials.jsonl").write_text("")
    assert call("baseline", nothing, "--out", tmp_path / "b.json").code == 2


def test_a_baseline_that_cannot_be_written_is_one_sentence(
    tmp_path: Path, call: Callable[..., Said]
) -> None:
    said = call("baseline", stored(noisy(), tmp_path), "--out", tmp_path)
    assert said.code == 2 and said.err.count("\n") == 1 and "cannot be written" in said.err


@pytest.mark.parametrize(
    "text", ["", "{}", "[1]", '{"benchmarks": []}', "\x00", '{"version": "1.0", "benchmarks": 3}']
)
def test_what_is_no_baseline_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "b.json").write_text(text)
    with pytest.raises(MatrixError, match="not a baseline"):
        baseline.read(tmp_path / "b.json")


def test_somebody_elses_pyperf_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "b.json"
    pyperf.BenchmarkSuite([pyperf.Benchmark([pyperf.Run([1.0], metadata={"name": "x"})])]).dump(
        str(path)
    )
    with pytest.raises(MatrixError, match="not a baseline"):
        baseline.read(path)


# --- check ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("run", "code", "words"),
    [
        (noisy(2), 0, "Fine: none of 6 values became worse."),
        (noisy(2, effects={KEY: 0.8}), 0, "2 of them improved"),
        (noisy(2, effects={KEY: 1.2}), 1, "Regression: 2 of 6 values became worse."),
        (noisy(2, dead=frozenset({WIRE.id, REACH.id})), 1, "the wire was alive and is now dead"),
        (noisy(2, effects={KEY: 1.2}, failing={OTHER.id: "hung"}), 3, "failed: sockperf"),
        (noisy(2, cells=(REACH, WIRE, BULK)), 4, "does not have this cell"),
        (noisy(2, noise=0.3), 4, "Inconclusive"),
        (noisy(2, kernel="7.3.4"), 4, "not comparable: kernel: 6.12.117+deb13-amd64 → 7.3.4"),
        (noisy(2, accelerator="tcg"), 4, "not comparable: accelerator: kvm → tcg"),
        (exact(), 4, "not comparable: clock: wall → instructions"),
        (exact(), 4, "run with --clock wall to measure as then"),
    ],
)
def test_check_decides(
    file: Path, tmp_path: Path, call: Callable[..., Said], run: Invented, code: int, words: str
) -> None:
    folder = stored(run, tmp_path / "new")
    said = call("check", folder, "--baseline", file)
    assert said.code == code and words in said.out and said.err == "", said
    renewed = f"yogurtbench baseline {folder} --out {file}" in said.out
    assert renewed == ("not comparable" in said.out or "does not have" in said.out)


def test_check_says_it_as_json(file: Path, tmp_path: Path, call: Callable[..., Said]) -> None:
    folder = stored(noisy(2, effects={KEY: 1.2}), tmp_path)
    said = call("check", folder, "--baseline", file, "--json")
    data = json.loads(said.out)
    assert (said.code, data["exit_code"], data["verdict"]) == (1, 1, "regression")
    slower = [
        one
        for one in data["findings"]
        if one["verdict"] == "regression" and one["family"] == "gate"
    ]
    assert {one["cell"] for one in slower} == {WIRE.id, BULK.id}
    assert data["new"]["run"] == folder.name and data["new"]["plan"] == data["old"]["plan"]


def test_emulated_wall_clock_numbers_are_labelled(
    tmp_path: Path, call: Callable[..., Said]
) -> None:
    folders = [stored(noisy(seed, accelerator="tcg"), tmp_path) for seed in (1, 2)]
    assert "emulated (TCG)" in call("compare", *folders).out
    assert any(
        "TCG" in one for one in json.loads(call("compare", *folders, "--json").out)["cautions"]
    )


@pytest.mark.parametrize(
    "arguments", [["check", "RUN"], ["baseline", "RUN"], ["compare", "RUN"], ["check", "nowhere"]]
)
def test_half_a_command_line_is_exit_2(
    tmp_path: Path, call: Callable[..., Said], arguments: list[str]
) -> None:
    folder = str(stored(noisy(), tmp_path))
    assert call(*(folder if one == "RUN" else one for one in arguments)).code == 2


def test_missing_files_and_folders_are_one_sentence(
    file: Path, tmp_path: Path, call: Callable[..., Said]
) -> None:
    folder = stored(noisy(), tmp_path)
    for arguments in (
        ("check", folder, "--baseline", tmp_path / "no.json"),
        ("check", tmp_path / "no", "--baseline", file),
        ("compare", folder, tmp_path / "no"),
    ):
        said = call(*arguments)
        assert (said.code, said.out, said.err.count("\n")) == (2, "", 1), said


def test_a_damaged_plan_is_exit_2(file: Path, tmp_path: Path, call: Callable[..., Said]) -> None:
    folder = stored(noisy(), tmp_path / "new")
    (folder / "plan.json").write_text('{"name": "x"}')
    said = call("check", folder, "--baseline", file)
    assert said.code == 2 and "not a plan" in said.err


# --- compare --------------------------------------------------------------------------------------


def test_two_exact_runs_differ_by_instructions_and_per_packet(
    tmp_path: Path, call: Callable[..., Said]
) -> None:
    old, new = (stored(exact(28113 * e / 28113), tmp_path) for e in (1.0, 28147 / 28113))
    said = call("compare", old, new)
    assert said.code == 0 and "+34" in said.out and "+17" in said.out
    assert old.name in said.out and new.name in said.out
    assert "mean round trip" not in said.out  # the timer's interrupts fall into it
    same = call("compare", old, old)
    assert "exploratory)" not in same.out
    assert same.code == 0 and "±0" in same.out


def test_compare_has_checks_exit_codes(tmp_path: Path, call: Callable[..., Said]) -> None:
    old = stored(exact(), tmp_path)
    assert call("compare", old, stored(exact(1.01), tmp_path)).code == 1
    assert call("compare", old, stored(exact(0.99), tmp_path)).code == 0
    assert call("compare", old, stored(exact(kernel="7.3"), tmp_path)).code == 4
    assert call("compare", stored(exact(failing={WIRE.id: "x"}, seed=3), tmp_path), old).code == 3


@pytest.mark.parametrize("width", [60, 100, 180])
def test_the_table_fits_and_needs_no_colour(width: int) -> None:
    decision = gate.decide(side_of(noisy(1)), side_of(noisy(2, effects={KEY: 1.2})))
    console = Console(width=width, no_color=True, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    console.print(reports.table(decision, width))
    said = console.export_text()
    assert all(len(line.rstrip()) <= width for line in said.splitlines())
    assert "regression" in said and "exploratory" in said and ("µs" in said) == (width >= 95)
