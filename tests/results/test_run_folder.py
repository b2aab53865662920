"""The stored run."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from fake_runs import MATRIX, Invented, cell, environment, write_run_tables, yogurt_phone
from pyarrow import parquet

from yogurtbench import report
from yogurtbench.core.errors import MatrixError
from yogurtbench.results import run_folder
from yogurtbench.results.frame import COLUMNS, arrow_schema, frame_digest, to_frame
from yogurtbench.results.run_folder import StoredRun


@pytest.fixture
def small() -> Invented:
    return yogurt_phone(blocks=2)


def written(run: Invented, out: Path, count: int | None = None) -> Path:
    with StoredRun.create(out, run.name, MATRIX, run.plan(), environment(run)) as folder:
        for attempt in list(run.attempts())[:count]:
            folder.append(attempt)
    return folder.path


def test_folder_is_named_by_time_and_holds_what_was_given(small: Invented, tmp_path: Path) -> None:
    path = written(small, tmp_path, 0)
    assert path.parent == tmp_path / "yogurt-phone"
    assert len(path.name) == len("20261123T190512Z-a1b2c3") and path.name[15:17] == "Z-"
    assert (path / "matrix.yaml").read_text() == MATRIX
    assert run_folder.read_plan(path) == small.plan()
    assert run_folder.read_environment(path) == environment(small)


def test_attempts_come_back_as_they_were(small: Invented, tmp_path: Path) -> None:
    attempts, frame = run_folder.load(written(small, tmp_path))
    assert attempts == list(small.attempts())
    assert len(frame) == sum(len(one.observations) for one in attempts)


def test_each_line_is_on_disk_before_append_returns(small: Invented, tmp_path: Path) -> None:
    with StoredRun.create(tmp_path, "n", MATRIX, small.plan(), environment(small)) as run:
        run.append(next(small.attempts()))
        assert (run.path / "trials.jsonl").read_bytes().endswith(b"}\n")


def test_a_torn_last_line_is_left_out_and_cut_on_resume(small: Invented, tmp_path: Path) -> None:
    path = written(small, tmp_path, 4)
    file = path / "trials.jsonl"
    file.write_bytes(file.read_bytes()[:-20])
    assert len(run_folder.load(path)[0]) == 3
    with StoredRun.resume(path) as run:
        kept = len(run.attempts)  # of blocks that are whole
        assert run.attempts == list(small.attempts())[:kept] and kept <= 3
        for attempt in list(small.attempts())[kept:]:
            run.append(attempt)
    assert run_folder.load(path)[0] == list(small.attempts())


def test_two_writers_are_refused(small: Invented, tmp_path: Path) -> None:
    with (
        StoredRun.create(tmp_path, "n", MATRIX, small.plan(), environment(small)) as run,
        pytest.raises(MatrixError, match="still being written"),
    ):
        StoredRun.resume(run.path)


def test_parquet_has_the_columns_and_types_of_the_contract(small: Invented, tmp_path: Path) -> None:
    path = written(small, tmp_path)
    write_run_tables(path)
    table = parquet.read_table(path / "observations.parquet")
    assert tuple(table.column_names) == COLUMNS
    assert table.schema.equals(arrow_schema())
    assert set(table["run"].to_pylist()) == {path.name}
    assert set(table["kernel"].to_pylist()) == {small.kernel}
    row = next(row for row in table.to_pylist() if row["load"] == "reachability")
    assert row["payload"] is None and row["cpus"] is None
    veth = next(row for row in table.to_pylist() if row["device"] == "veth")
    assert veth["policy"] is None and veth["headroom"] is None
    words = next(row for row in table.to_pylist() if row["metric"] == "dropped_at")
    assert words["value"] is None and words["text"] == "netkit_xmit:NOT_SPECIFIED"
    assert (path / "comparison.csv").read_text().startswith("cell,")


def test_an_empty_run_can_be_finished(small: Invented, tmp_path: Path) -> None:
    path = written(small, tmp_path, 0)
    write_run_tables(path)
    assert parquet.read_table(path / "observations.parquet").schema.equals(arrow_schema())


def test_a_pinned_pair_of_cpus_is_a_word(tmp_path: Path) -> None:
    run = Invented((cell(cpus=(0, 1)),), blocks=1)
    assert "0,1" in set(run_folder.load(written(run, tmp_path))[1]["cpus"])


def test_digest_depends_on_what_was_measured_and_on_nothing_else(small: Invented) -> None:
    attempts = list(small.attempts())
    frame = to_frame(attempts, "a")
    assert frame_digest(frame) == frame_digest(to_frame(reversed(attempts), "b"))
    changed = frame.copy()
    changed["value"] += 1e-9
    assert frame_digest(changed) != frame_digest(frame)


def test_digest_is_the_same_on_every_machine() -> None:
    run = Invented((cell(),), blocks=1, clock="instructions")
    assert frame_digest(to_frame(run.attempts(), "x")) == DIGEST


DIGEST = "5467d2b5b51c6f1a3a0cf087a9a225415b0a9945fafa2db98935da6807d1de58"


def test_what_is_no_run_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(MatrixError, match="no such run folder"):
        run_folder.load(tmp_path / "nothing")
    with pytest.raises(MatrixError, match=r"plan\.json is missing"):
        run_folder.load(tmp_path)


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("trials.jsonl", '{"a": 1}\n{}\n', r"trials\.jsonl:1: not an attempt"),
        ("trials.jsonl", "[]\n", r"trials\.jsonl:1: not an attempt"),
        ("plan.json", "{", r"plan\.json: not JSON"),
        ("plan.json", "[]", r"plan\.json: not a JSON object"),
        ("environment.json", "{}", r"environment\.json: not an environment"),
    ],
)
def test_damage_is_named(name: str, text: str, says: str, small: Invented, tmp_path: Path) -> None:
    path = written(small, tmp_path, 1)
    (path / name).write_text(text)
    with pytest.raises(MatrixError, match=says):
        report.make(path)


def test_a_folder_that_cannot_be_made_is_reported(small: Invented, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(MatrixError, match="cannot be written"):
        StoredRun.create(tmp_path / "file", "n", MATRIX, small.plan(), environment(small))


def test_a_plan_of_an_earlier_version_is_read(small: Invented, tmp_path: Path) -> None:
    """What it does not say has the value that every reader made of it."""
    file = written(small, tmp_path, 0) / "plan.json"
    told = json.loads(file.read_text())
    kept = {"name": told["name"], "cells": told["cells"]}
    file.write_text(json.dumps(kept))
    (file.parent / "environment.json").write_text(json.dumps(environment(small).to_json()))
    plan = run_folder.read_plan(file.parent)
    assert (plan.question, plan.lab, plan.clock, plan.margins, plan.blocks.min) == (
        "",
        "auto",
        "wall",
        {},
        0,
    )
    assert plan.cells == small.plan().cells and plan.to_json()["cells"] == kept["cells"]
