"""Every command of the documentation is run: as it stands, with limits in the guest, or (few,
listed) as its plan.
"""

from __future__ import annotations

import ast
import re
import shutil
import subprocess
import sys
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
from yogurtbench.results import run_folder

pytestmark = pytest.mark.commands

#: Commands that need a guest (or root): these lines are run in the guest by tests marked vm, and as
#: a plan by all.
IN_A_GUEST = {"run", "lab"}
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
#: Not run in the guest, since ``run my_wire.yaml --clock instructions`` shows the same; planned as
#: every line is.
OWN_AGAIN = ("experiments/your_own_wire.yaml", "--clock", "instructions")
#: What a run is cut down to here: one boot, and no trial is started after this.
LIMITS = ["--lab", "vm", "--blocks", "1", "--budget", "1s", "--quiet"]

OURS = [line for line in doc_commands.commands() if line.ours]
YB_TEST = [line for line in doc_commands.commands() if line.words[:2] == ("./yb", "test")]
REST = [line for line in doc_commands.commands() if line not in OURS and line not in YB_TEST]


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


def parsed(arguments: list[str]) -> Any:
    """What the command's own parser makes of a line.

    Raises where it knows an option or a command not.
    """
    group: Any = typer.main.get_command(app.app)
    name, *rest = arguments
    return group.commands[name].make_context(name, list(rest)).params


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


# --- in the guest ---------------------------------------------------------------------------------


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


@pytest.mark.vm
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


@pytest.mark.vm
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


@pytest.mark.vm
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


READERS = {"report", "baseline", "check", "compare", "history"}
