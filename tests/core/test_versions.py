"""What a newer yogurtbench has stored is told as that, never as damaged.

What is damaged, as damaged.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cli_runner import Said, caller
from fake_runs import Invented, cell, stored, unseal

import yogurtbench
from yogurtbench.core import versions

WIRE, REACH = cell(), cell(load="reachability")
NEWER = "99.1.0"


@pytest.fixture
def call(capfd: pytest.CaptureFixture[str]) -> Callable[..., Said]:
    """A command line, called in this process."""
    return caller(capfd)


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A stored run."""
    return stored(Invented((REACH, WIRE), blocks=6), tmp_path / "results")


def edit(file: Path, change: Callable[[Any], object]) -> None:
    """Change a JSON file."""
    if (file.parent / "environment.json").is_file():
        unseal(file.parent)
    data = json.loads(file.read_text())
    change(data)
    file.write_text(json.dumps(data))


def edit_lines(file: Path, change: Callable[[Any], object]) -> None:
    """Change each line of a file of JSON lines."""
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    for line in lines:
        change(line)
    file.write_text("".join(f"{json.dumps(line)}\n" for line in lines))


def test_every_run_and_baseline_says_who_made_it(run: Path, call: Callable[..., Said]) -> None:
    assert (
        json.loads((run / "environment.json").read_text())["yogurtbench"] == yogurtbench.__version__
    )
    assert call("baseline", run, "--out", run / "b.json").code == 0
    assert f'\\"yogurtbench\\":\\"{yogurtbench.__version__}\\"' in (run / "b.json").read_text()


CHANGES: list[Callable[[Path], None]] = [
    lambda run: edit(run / "environment.json", lambda data: data.update(weather="fine")),
    lambda run: edit(
        run / "plan.json", lambda data: data["cells"][-1]["cell"].update(colour="blue")
    ),
    lambda run: edit(
        run / "plan.json", lambda data: data["cells"][-1]["cell"].update(load="connect_tcp")
    ),
    lambda run: edit(run / "plan.json", lambda data: data["cells"][-1].update(role="witness")),
    lambda run: (
        edit(run / "plan.json", lambda data: data.update(cells={}))
        or edit(run / "plan.json", lambda data: data.pop("cells"))
    ),
    lambda run: edit_lines(run / "trials.jsonl", lambda one: one.update(weather="fine")),
    lambda run: edit_lines(run / "trials.jsonl", lambda one: one["trial"].update(weather="fine")),
    lambda run: edit_lines(
        run / "trials.jsonl", lambda one: one["trial"]["cell"].update(colour="blue")
    ),
    lambda run: edit_lines(
        run / "trials.jsonl", lambda one: one["trial"]["cell"].update(load="connect_tcp")
    ),
    lambda run: edit_lines(run / "trials.jsonl", lambda one: one.update(status="paused")),
    lambda run: edit_lines(
        run / "trials.jsonl", lambda one: one["observations"][0].update(metric="rtt_p99999")
    ),
    lambda run: edit_lines(
        run / "trials.jsonl", lambda one: one["observations"][0].update(weather="fine")
    ),
    lambda run: edit_lines(run / "trials.jsonl", lambda one: one.pop("trial")),
]


@pytest.mark.parametrize("command", ["report", "baseline", "compare", "history"])
@pytest.mark.parametrize("change", CHANGES)
def test_a_run_of_a_newer_version_is_reported_as_that(
    run: Path, call: Callable[..., Said], change: Callable[[Path], None], command: str
) -> None:
    argv = {
        "report": ["report", run],
        "baseline": ["baseline", run, "--out", run / "b.json"],
        "compare": ["compare", run, run],
        "history": ["history", run.parent],
    }[command]
    change(run)
    said = call(*argv)
    text = said.out if command == "history" else said.err
    assert said.code == (0 if command == "history" else 2)
    assert "was damaged" in text and "a newer yogurtbench" not in text
    edit(run / "environment.json", lambda data: data.update(yogurtbench=NEWER))
    said = call(*argv)
    text = said.out if command == "history" else said.err
    assert said.code == (0 if command == "history" else 2)
    assert f"made by a newer yogurtbench ({NEWER}; this is {yogurtbench.__version__})" in " ".join(
        text.split()
    )
    assert "damaged" not in text and "unexpected keyword" not in text


def test_a_run_of_a_newer_version_that_says_nothing_new_is_read(
    run: Path, call: Callable[..., Said]
) -> None:
    edit(run / "environment.json", lambda data: data.update(yogurtbench=NEWER))
    assert call("report", run).code == 0


@pytest.mark.parametrize(
    ("made_by", "told"), [(NEWER, "made by a newer yogurtbench (99.1.0"), ("0.0.1", "was damaged")]
)
def test_a_baseline_of_a_newer_version_is_reported_as_that(
    run: Path, call: Callable[..., Said], made_by: str, told: str
) -> None:
    file = run / "b.json"
    call("baseline", run, "--out", file)
    text = file.read_text().replace(
        f'\\"yogurtbench\\":\\"{yogurtbench.__version__}\\"',
        f'\\"yogurtbench\\":\\"{made_by}\\",\\"new\\":1',
    )
    assert made_by in text
    file.write_text(text)
    said = call("check", run, "--baseline", file)
    assert said.code == 2 and told in said.err and said.err.count("\n") == 1
    assert call("baseline", run, "--out", file).code == 0  # it is a baseline: it may be made anew


@pytest.mark.parametrize(
    ("version", "newer"),
    [("0.1.1", True), ("0.2.0rc1", True), ("1", True), ("0.10.0", True), ("v3.0", True), ("0.1.0", False),
     ("0.1.0.0", False), ("0.0.9", False), ("", False), ("yesterday", False), ("-1", False)],
)  # fmt: skip
def test_versions_are_compared_by_their_numbers(
    version: str, newer: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("yogurtbench.core.version.__version__", "0.1.0")
    assert ("newer" in versions.misread(version)) == newer
