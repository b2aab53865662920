"""The commands of the documentation, and a folder in which they can be run."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import doc_commands
import pytest
import typer
from doc_commands import HOME, Command
from fake_runs import stored, yogurt_phone

from yogurtbench import __main__ as command
from yogurtbench.cli import app
from yogurtbench.report.export import baseline as baselines

#: Commands that need a guest (or root): these lines are run in the guest by tests marked vm, and as
#: a plan by all.
IN_A_GUEST = {"run", "lab", "profile"}
#: Exit codes that the pages themselves explain: a regression, or nobody can tell.
JUDGED = {"check", "compare"}
#: What takes minutes even in its smallest form, and is run elsewhere: test_instruction_clock.py
#: boots twice, test_ab.py measures both sides. Here their options are read by the command itself,
#: and their matrices planned.
LONG = {
    ("doctor", "--clock"),
    ("check", "--base-program"),
    ("check", "--base-programs"),
}

OURS = [line for line in doc_commands.commands() if line.ours]


def is_long(line: Command) -> bool:
    return any(line.arguments[0] == verb and option in line.arguments for verb, option in LONG)


def in_a_guest(line: Command) -> bool:
    return line.arguments[0] in IN_A_GUEST


def own_matrix(line: Command) -> str:
    """The matrix that a line names."""
    return next(word for word in line.arguments if word.endswith(".yaml"))


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with every file, run and baseline that the documentation names.

    Not to be changed.
    """
    folder = tmp_path_factory.mktemp("shown")
    given = {"old_wire.c": "my_wire.c", "my.yaml": "my_question.yaml"}
    texts = doc_commands.files()
    for name, text in [
        *texts.items(),
        *((name, texts[like]) for name, like in given.items()),
        ("bzImage", ""),
    ]:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    shutil.copy(HOME / "experiments/filter_wire.c", folder / "old_filter.c")
    for experiment, name in doc_commands.runs():
        run = stored(yogurt_phone(name=experiment, blocks=6), folder / "results")
        run.rename(run.with_name(name))
    shutil.copytree(folder / "results/my_question", folder / "nightly/my_question")
    for line in OURS:
        if line.arguments[0] == "baseline":
            run, out = (folder / parsed(line.arguments)[key] for key in ("run_folder", "out"))
            baselines.write(run, out)
    return folder


@pytest.fixture
def workspace(shown: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of it, made current."""
    folder = shutil.copytree(shown, tmp_path / "workspace")
    monkeypatch.chdir(folder)
    monkeypatch.setenv("YOGURTBENCH_CACHE", str(folder / "cache"))  # clean is run for real
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(folder / "summary.md"))
    return folder


@pytest.fixture
def call(capfd: pytest.CaptureFixture[str]) -> Callable[[list[str]], tuple[int, str]]:
    """A command line called in this process: its exit code and what it said."""

    def calling(arguments: list[str]) -> tuple[int, str]:
        code = command.run(arguments)
        out, err = capfd.readouterr()
        return code, out + err

    return calling


def fine(line: Command) -> set[int]:
    return (
        {0, 1, 4}
        if line.arguments[0] in JUDGED
        else {0, 3}
        if line.arguments[0] == "doctor"
        else {0}
    )


def parsed(arguments: list[str]) -> Any:
    """What the command's own parser makes of a line.

    Raises where it knows an option or a command not.
    """
    group: Any = typer.main.get_command(app.app)
    name, *rest = arguments
    return group.commands[name].make_context(name, list(rest)).params
