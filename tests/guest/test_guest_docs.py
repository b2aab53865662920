"""The documentation's commands that need a guest, run in one: cut down to what one boot takes."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import doc_commands
import pytest
from doc_commands import Command
from doc_workspace import (
    OURS,
    call,
    fine,
    in_a_guest,
    is_long,
    own_matrix,
    parsed,
    shown,
    workspace,
)

from yogurtbench.results import run_folder

__all__ = ["call", "shown", "workspace"]  # fixtures
pytestmark = pytest.mark.vm

#: Not run in the guest, since ``run my_wire.yaml --clock instructions`` shows the same; planned as
#: every line is.
OWN_AGAIN = ("experiments/your_own_wire.yaml", "--clock", "instructions")
#: What a run is cut down to here: one boot, and no trial is started after this.
LIMITS = ["--lab", "vm", "--blocks", "1", "--budget", "1s", "--quiet"]
READERS = {"report", "baseline", "check", "compare", "history"}


def once_each(lines: list[Command]) -> list[Command]:
    """One line a command, matrix and clock, the one with the most words: the others differ in what
    plan has checked.

    In a lab a command, a recording and a shell are three things.
    """
    first: dict[tuple[str, ...], Command] = {}
    for line in sorted(lines, key=lambda line: -len(line.words)):
        apart = (word for word in line.words if word in ("instructions", "--", "--trace"))
        first.setdefault((line.arguments[0], own_matrix(line), *apart), line)
    return list(first.values())


def can_run(line: Command) -> bool:
    """Not a run that is broken off, nor a custom kernel: we have neither here.

    Of the custom wires on the instruction clock one is enough.
    """
    return (
        "--resume" not in line.words and "bzImage" not in str(line) and line.words[2:5] != OWN_AGAIN
    )


_NEEDING = once_each([one for one in OURS if in_a_guest(one) and can_run(one)])


@pytest.fixture
def kept_cache(monkeypatch: pytest.MonkeyPatch, workspace: Path, warm_guest: object) -> Path:
    """The workspace, with the machine's own cache of guests, and one that is up."""
    monkeypatch.delenv("YOGURTBENCH_CACHE")
    return workspace


@pytest.mark.parametrize("line", [one for one in _NEEDING if one.arguments[0] == "run"], ids=str)
def test_runs_are_run_in_the_guest_cut_down_to_what_one_boot_takes(
    line: Command, kept_cache: Path, call: Callable[[list[str]], tuple[int, str]]
) -> None:
    arguments = [word for word in line.arguments if word != "--quiet"]
    clock = [] if "instructions" in str(line) else ["--clock", "wall"]
    code, said = call([*arguments, *LIMITS, *clock])
    assert code == 0, said
    out = Path(parsed(line.arguments)["out"])
    newest = max(out.glob("*/*/trials.jsonl"), key=lambda path: path.stat().st_mtime)
    assert newest.parent.name in said, said
    assert [one.status for one in run_folder.read_attempts(newest.parent)]


@pytest.mark.parametrize("line", [one for one in _NEEDING if one.arguments[0] == "lab"], ids=str)
def test_labs_are_brought_up_in_the_guest(
    line: Command, kept_cache: Path, call: Callable[[list[str]], tuple[int, str]]
) -> None:
    at = line.arguments.index("--") if "--" in line.arguments else len(line.arguments)
    a_shell = not set(line.arguments) & {"--", "--trace", "--pcap"}
    code, said = call(
        [*line.arguments[:at], "--lab", "vm", *["--json"] * a_shell, *line.arguments[at:]]
    )
    assert code == 0, said
    assert "yg1-host" in said or "3 received" in said, said


@pytest.mark.parametrize(
    "line", [one for one in _NEEDING if one.arguments[0] == "profile"], ids=str
)
def test_profiles_are_made(
    line: Command, kept_cache: Path, call: Callable[[list[str]], tuple[int, str]]
) -> None:
    code, said = call(line.arguments)
    assert code == 0 and "guest instructions" in said, said


def test_what_one_run_in_the_guest_leaves_serves_every_line_that_reads_runs(
    kept_cache: Path, call: Callable[[list[str]], tuple[int, str]]
) -> None:
    """The tiny matrix of a page, measured once; its run stands where the pages' runs stand."""
    code, said = call(
        [
            "run",
            "my_question.yaml",
            "--lab",
            "vm",
            "--clock",
            "wall",
            "--blocks",
            "1",
            "--only",
            "helper=redirect",
            "--quiet",
        ]
    )
    assert code == 0, said
    (made,) = set(Path("results/my_question").iterdir()) - {
        Path("results", *named) for named in doc_commands.runs() if named[0] == "my_question"
    }
    for experiment, name in doc_commands.runs():
        shutil.rmtree(Path("results", experiment, name))
        shutil.copytree(made, Path("results", experiment, name))
    shutil.rmtree("nightly/my_question")
    shutil.copytree("results/my_question", "nightly/my_question")
    reading = [one for one in OURS if not is_long(one) and one.arguments[0] in READERS]
    assert {one.arguments[0] for one in reading} == READERS
    for line in reading:
        code, said = call(line.arguments)
        assert code in fine(line), (str(line), said)
