"""GitHub Actions: what stands in the job's summary, and what is annotated."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from cli_runner import Said, caller
from fake_runs import Invented, cell, stored, yogurt_phone

from yogurtbench.cli import github
from yogurtbench.core.errors import HostError

WIRE, REACH = cell(), cell(load="reachability")
KEY = ("netkit", "netkit_peer", "redirect")


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Callable[..., Said]:
    monkeypatch.setenv("COLUMNS", "200")
    return caller(capfd)


@pytest.fixture
def page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The summary's file, as a runner names it; an earlier step wrote to it."""
    file = tmp_path / "summary.md"
    file.write_text("before\n")
    monkeypatch.setenv(github.VARIABLE, str(file))
    return file


def exact(effect: float = 1.0) -> Invented:
    run = Invented((REACH, WIRE), blocks=1, clock="instructions", accelerator="tcg")
    return replace(run, effects={KEY: effect})


@pytest.mark.parametrize(
    "arguments",
    [
        ["run", "m.yaml"],
        ["report", "run"],
        ["compare", "a", "b"],
        ["check", "run", "--baseline", "b.json"],
    ],
)
def test_outside_of_a_workflow_it_is_refused_before_anything_is_done(
    arguments: list[str], call: Callable[..., Said], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(github.VARIABLE, raising=False)
    said = call(*arguments, "--github")
    assert (said.code, said.out, said.err.count("\n")) == (2, "", 1)
    assert "--github: GITHUB_STEP_SUMMARY is not set" in said.err


def test_a_report_is_added_below_what_is_there(
    page: Path, tmp_path: Path, call: Callable[..., Said]
) -> None:
    run = stored(yogurt_phone(), tmp_path)
    said = call("report", run, "--github", "--json")
    assert (said.code, said.err) == (0, "") and json.loads(said.out)
    assert page.read_text() == f"before\n{(run / 'report.md').read_text().rstrip()}\n\n"


def test_regressions_are_summed_up_and_annotated_and_stdout_stays_the_results(
    page: Path, tmp_path: Path, call: Callable[..., Said]
) -> None:
    old, new = stored(exact(), tmp_path), stored(exact(1.25), tmp_path)
    said = call("compare", old, new, "--github", "--json")
    assert said.code == 1 and json.loads(said.out)["verdict"] == "regression"
    lines = said.err.splitlines()
    assert lines and all(
        line.startswith("::error title=Regression::netkit l3 · netkit_peer → redirect")
        for line in lines
    )
    assert any("median round trip +25.00 %25" in line for line in lines)
    text = page.read_text()
    assert (
        text.startswith("before\n### Regression: ")
        and "<details open>" in text
        and "regression: netkit l3" in text
    )
    assert text.count("```") == 2 and max(map(len, text.splitlines())) <= 160


def test_a_fine_check_is_reported_and_folded(
    page: Path, tmp_path: Path, call: Callable[..., Said]
) -> None:
    old, new = stored(exact(), tmp_path), stored(exact(), tmp_path)
    base = tmp_path / "base.json"
    call("baseline", old, "--out", base)
    said = call("check", new, "--baseline", base, "--github")
    assert (said.code, said.err) == (0, "")
    assert "### Fine: " in page.read_text() and "<details>" in page.read_text()


def test_names_from_a_matrix_stay_text(
    page: Path, tmp_path: Path, call: Callable[..., Said]
) -> None:
    evil = cell(program="./```\n</details><img src=x>%0A::error::.c")
    runs = [
        stored(replace(exact(), cells=(evil,), effect_of=lambda _one, e=e: e), tmp_path)
        for e in (1.0, 1.3)
    ]
    said = call("compare", *runs, "--github")
    assert said.code == 1
    assert all(
        line.startswith("::error title=Regression::netkit") for line in said.err.splitlines()
    )
    assert "%250A" in said.err
    before, fence, rest = page.read_text().partition("````text\n")
    assert fence and "<img" not in before and "<img" not in rest.rpartition("````")[2]


def test_a_summary_that_cannot_be_written_is_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(github.VARIABLE, str(tmp_path))
    with pytest.raises(HostError, match="the job's summary cannot be written"):
        github.append("text")
