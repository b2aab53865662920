"""Every command of the documentation is run: as it stands, with limits in the guest, or (few,
listed) as its plan.
"""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import doc_commands
import pytest
import typer
from doc_commands import HOME, Command
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

from yogurtbench.cli import app

__all__ = ["call", "shown", "workspace"]  # fixtures
pytestmark = pytest.mark.commands

#: Lines of other tools, by their beginning. What is not here is a mistake in the documentation.
OTHERS = (
    "git show origin/main:my_wire.c > old_wire.c",
    "git worktree add /tmp/before origin/main",
    "git config --global --add safe.directory",
    "apt-get update && apt-get install -y git python3",
    "tar -czf run.tar.gz results/",
    ".venv/bin/python -m pip install jupyterlab",
    ".venv/bin/jupyter lab",
)
YB_TEST = [line for line in doc_commands.commands() if line.words[:2] == ("./yb", "test")]
REST = [line for line in doc_commands.commands() if line not in OURS and line not in YB_TEST]


# --- what is there --------------------------------------------------------------------------------


def test_there_are_commands_on_every_page() -> None:
    assert {line.page.name for line in OURS} >= {
        "README.md", "start.md", "write-a-matrix.md", "read-a-report.md", "recipes.md",
    }  # fmt: skip
    assert len(OURS) > 30


def test_the_exceptions_are_few() -> None:
    assert len([line for line in OURS if is_long(line)]) <= 8
    assert len(REST) <= 8


@pytest.mark.parametrize("line", REST, ids=str)
def test_lines_of_other_tools_are_known(line: Command) -> None:
    assert " ".join(line.words).startswith(OTHERS)


@pytest.mark.parametrize("line", YB_TEST, ids=str)
def test_sessions_of_nox_exist(line: Command) -> None:
    functions = {
        one.name
        for one in ast.parse((HOME / "noxfile.py").read_text()).body
        if isinstance(one, ast.FunctionDef)
    }
    named = [
        session
        for option, session in zip(line.words, line.words[1:], strict=False)
        if option == "-s"
    ]
    assert set(named) <= functions


def test_links_lead_somewhere() -> None:
    for page in doc_commands.PAGES:
        for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", page.read_text()):
            if "://" not in target:
                assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_every_experiment_is_on_the_first_page() -> None:
    text = (HOME / "docs/start.md").read_text()
    shown = set(re.findall(r"`(experiments/\w+\.yaml)`", text))
    assert {
        f"experiments/{path.name}" for path in (HOME / "experiments").glob("*.yaml")
    } - shown <= {
        "experiments/clock.yaml"  # doctor --clock runs it
    }
    assert all((HOME / name).exists() for name in shown)


# --- command lines --------------------------------------------------------------------------------


@pytest.mark.parametrize("line", OURS, ids=str)
def test_every_line_is_read_by_the_command_itself(line: Command) -> None:
    assert parsed(line.arguments) is not None


def test_a_line_with_an_option_that_is_not_there_would_be_noticed() -> None:
    with pytest.raises(Exception, match="No such option"):
        parsed(["run", "my.yaml", "--nosuch"])
    with pytest.raises(KeyError):
        parsed(["nosuch"])


@pytest.mark.parametrize("line", doc_commands.inline(), ids=str)
def test_lines_in_running_text_name_commands_and_options_that_exist(line: Command) -> None:
    group: Any = typer.main.get_command(app.app)
    if line.words[1] == "test":
        return
    named = group.commands[line.words[1]] if not line.words[1].startswith("-") else group
    known = {option for one in named.params for option in one.opts}
    ours = line.words[: line.words.index("--")] if "--" in line.words else line.words
    assert {word for word in ours if word.startswith("--")} <= known


@pytest.mark.parametrize(
    "line", [one for one in OURS if not in_a_guest(one) and not is_long(one)], ids=str
)
def test_lines_that_need_no_guest_are_run(
    line: Command, workspace: Path, call: Callable[[list[str]], tuple[int, str]]
) -> None:
    code, said = call(line.arguments)
    assert code in fine(line), said
    assert said or line.arguments[0] == "clean"


@pytest.mark.parametrize(
    "line",
    [one for one in OURS if in_a_guest(one) or (is_long(one) and "doctor" not in one.arguments)],
    ids=str,
)
def test_lines_that_need_a_guest_have_a_plan(
    line: Command, workspace: Path, call: Callable[[list[str]], tuple[int, str]]
) -> None:
    """The same matrix, lab, clock, cells and blocks, planned: what plan refuses, run refuses."""
    given = parsed(line.arguments)
    options = [
        [f"--{name}", str(given[name])]
        for name in ("lab", "clock", "only", "blocks")
        if given.get(name)
    ]
    code, said = call(["plan", own_matrix(line), *(word for option in options for word in option)])
    assert code == 0, said
    assert re.search(r"\b[1-9]\d* cells", said), said
    if given.get("cell"):
        from yogurtbench.core.paths import matrix
        from yogurtbench.matrix.planner import load, make_plan
        from yogurtbench.matrix.selector import find_cell

        assert find_cell(make_plan(load(matrix(Path(own_matrix(line))))), given["cell"])


@pytest.mark.parametrize(
    "name", [name for name in doc_commands.files() if name.endswith(".yaml") and "/" not in name]
)
def test_every_matrix_on_the_pages_has_a_plan(
    name: str, workspace: Path, call: Callable[[list[str]], tuple[int, str]]
) -> None:
    code, said = call(["plan", name])
    assert code == 0, said


# --- notebooks ------------------------------------------------------------------------------------


def test_the_notebook_page_runs_from_top_to_bottom(workspace: Path) -> None:
    code = [
        block.text
        for block in doc_commands.blocks()
        if block.language == "python" and block.page.name == "notebook.md"
    ]
    assert len(code) >= 6
    program = workspace / "notebook.py"
    program.write_text("\n".join(code))
    done = subprocess.run(
        [sys.executable, "-P", str(program)],
        capture_output=True,
        text=True,
        check=False,
        cwd=workspace,
    )
    assert done.returncode == 0, done.stderr
    assert "forest sockperf" in done.stdout
    assert (workspace / "forest.png").stat().st_size > 10_000
