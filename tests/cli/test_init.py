"""A matrix to start from: it plans as it is written, and overwrites nothing."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from yogurtbench import __main__ as command
from yogurtbench.cli import init
from yogurtbench.core.errors import MatrixError
from yogurtbench.matrix.planner import load, make_plan


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("question", init.QUESTIONS)
def test_what_init_writes_plans_as_it_is(question: str, capfd: pytest.CaptureFixture[str]) -> None:
    assert command.run(["init", "--question", question]) == 0
    file = f"{question.replace('-', '_')}.yaml"
    out, err = capfd.readouterr()
    assert f"wrote {file}" in out and f"next: yogurtbench plan {file}" in out and err == ""
    assert command.run(["plan", file]) == 0
    said = capfd.readouterr()
    assert (said.err, "warning" in said.out, "left out" in said.out) == ("", False, False)
    plan = make_plan(load(file))
    assert plan.name == Path(file).stem and plan.question
    assert all(
        f"{word} {file}" in plan.source
        for word in ("plan", "run")
        if question != "regression" or word == "run"
    )


@pytest.mark.parametrize("question", init.QUESTIONS)
def test_every_key_is_commented_and_no_mark_is_left(question: str) -> None:
    text = init.write(question)[0].read_text()
    assert not re.search(r"@\w+@", text)
    assert text.startswith("# yaml-language-server: $schema=/")
    assert Path(text.splitlines()[0].partition("=")[2]).is_file()
    assert sum("#" in line for line in text.splitlines()) >= 15


def test_a_wire_of_ones_own_comes_with_its_program(here: Path) -> None:
    matrix, program = init.write("own-wire", Path("sub.yaml"))
    assert (matrix.name, program.name) == ("sub.yaml", "sub.c")
    assert "int wire(struct __sk_buff *skb)" in program.read_text()
    assert "./sub.c" in make_plan(load(matrix)).programs


def test_a_file_of_ones_own_names_the_results() -> None:
    assert load(init.write("payload", Path("mine.yaml"))[0]).name == "mine"


def test_json_names_the_files(capfd: pytest.CaptureFixture[str]) -> None:
    assert command.run(["init", "--question", "own-wire", "--json"]) == 0
    assert json.loads(capfd.readouterr().out) == {
        "question": "own-wire",
        "files": ["own_wire.yaml", "own_wire.c"],
        "next": "yogurtbench plan own_wire.yaml",
    }


@pytest.mark.parametrize("there", ["own_wire.yaml", "own_wire.c"])
def test_nothing_is_overwritten_and_nothing_half_written(
    here: Path, there: str, capfd: pytest.CaptureFixture[str]
) -> None:
    (here / there).write_text("mine")
    assert command.run(["init", "--question", "own-wire"]) == 2
    said = capfd.readouterr()
    assert (said.out, said.err.count("\n")) == ("", 1)
    assert f"{there}: is there already, and nothing is overwritten" in said.err
    assert [path.name for path in here.iterdir()] == [there]
    assert (here / there).read_text() == "mine"


@pytest.mark.parametrize(
    ("question", "file", "words"),
    [
        ("which_wire", None, "did you mean which-wire?"),
        ("everything", None, "known: which-wire, payload, regression, own-wire"),
        ("payload", "a b.yaml", "letters, digits"),
        (
            "payload",
            "nowhere/m.yaml",
            "nowhere/m.yaml: cannot be written (No such file or directory)",
        ),
    ],
)
def test_what_cannot_be_written_is_refused(question: str, file: str | None, words: str) -> None:
    with pytest.raises(MatrixError, match=re.escape(words)):
        init.write(question, Path(file) if file else None)
