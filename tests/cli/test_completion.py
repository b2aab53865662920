"""Shell completion, by the protocol that the shells speak and in a real bash: what is offered, and
how fast.
"""

from __future__ import annotations

import os
import pty
import resource
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from fake_runs import stored, yogurt_phone

from yogurtbench.cli import init
from yogurtbench.matrix.planner import load, make_plan
from yogurtbench.matrix.selector import find_cell

pytestmark = pytest.mark.commands

ROOT = Path(__file__).parents[2]
MATRIX = """\
name: m
question: What is offered?
axes: {device: [netkit, veth], hook: [tcx_ingress, tc_ingress], helper: redirect, cpus: [[0, 1], split]}
baseline: {device: veth, topology: direct}
loads: [ping, {kind: iperf3_tcp, duration: 1s}]
"""
COMMAND = [sys.executable, "-P", "-m", "yogurtbench"]


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a matrix in it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    Path("m.yaml").write_text(MATRIX)
    return tmp_path


def asked(shell: str, **words: str) -> str:
    environment = {**os.environ, "_YOGURTBENCH_COMPLETE": f"complete_{shell}", **words}
    done = subprocess.run(COMMAND, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def offered(*words: str) -> list[str]:
    """What bash is offered for the last word, apart at = and : as bash takes them."""
    line = ["yogurtbench", *words]
    return asked("bash", COMP_WORDS="\n".join(line), COMP_CWORD=str(len(line) - 1)).splitlines()


def test_commands_options_and_their_words() -> None:
    assert offered("che") == ["check"]
    assert {"--lab", "--clock", "--json", "--only"} <= set(offered("run", "--"))
    assert offered("run", "m.yaml", "--lab", "") == ["auto", "native", "vm"]
    assert offered("plan", "m.yaml", "--clock", "=", "w") == ["wall"]
    assert offered("init", "--question", "") == list(init.QUESTIONS)


def test_matrices_of_the_folder_and_of_those_below_and_ours(here: Path) -> None:
    assert offered("run", "m") == ["m.yaml"]
    assert "experiments/quickstart.yaml" in offered("run", "exp")
    (here / "mine").mkdir()
    (here / "mine/other.yml").touch()
    (here / "mine/notes.txt").touch()
    assert offered("run", "mi") == offered("plan", "mine/") == ["mine/other.yml"]
    assert offered("run", "nothing") == []  # bash then offers files


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["hook", "=", "tc"], ["tcx_ingress", "tc_ingress"]),
        (["hook", "="], ["tcx_ingress", "tc_ingress"]),
        (["hoo"], ["hook=tcx_ingress", "hook=tc_ingress"]),
        (["hook", "=", "tc_ingress,device", "=", "v"], ["veth"]),
        (["hook", "=", "tc_ingress,dev"], ["tc_ingress,device=netkit", "tc_ingress,device=veth"]),
        (["cpus", "=", "0", ":"], ["1"]),
        (["load", "=", ""], ["ping", "iperf3_tcp"]),
        (["primary", "=", "gu"], ["guard_cb", "guard_mark"]),  # not named in it, but known
    ],
)
def test_the_words_that_the_matrix_names(words: list[str], expected: list[str]) -> None:
    assert offered("run", "m.yaml", "--only", *words) == expected


def test_without_a_matrix_every_word_is_offered_once_with_its_meaning() -> None:
    said = asked("zsh", _TYPER_COMPLETE_ARGS="yogurtbench run --only primary=gu")
    assert '"primary=guard_cb":"lets in only what the wire stamped in skb->cb"' in said
    assert "hook=" not in said


def test_a_second_word_after_a_bar() -> None:
    assert offered("run", "m.yaml", "--only", "hook=tc_ingress|tcx") == ["tc_ingress|tcx_ingress"]


def test_cells_by_what_tells_them_apart_and_by_id() -> None:
    plan = make_plan(load("m.yaml"))
    ids = {one.cell.id for one in plan.cells}
    said = asked(
        "fish",
        _TYPER_COMPLETE_ARGS="yogurtbench lab m.yaml --cell ",
        _TYPER_COMPLETE_FISH_ACTION="get-args",
    )
    names = dict(line.split("\t") for line in said.splitlines())
    assert set(names.values()) == ids
    assert {find_cell(plan, name).id for name in names} == ids
    some = next(one for one in sorted(ids) if any(letter.isdigit() for letter in one[:4]))
    assert some in offered("lab", "m.yaml", "--cell", some[:4])


@pytest.mark.parametrize(
    "name", ["quickstart", "which_wire", "north_south", "isolation", "offloads", "cost"]
)
def test_every_name_that_is_offered_is_one_cell(name: str) -> None:
    path = ROOT / f"experiments/{name}.yaml"
    plan = make_plan(load(path))
    names = offered("lab", str(path), "--cell", "")
    assert len(names) == len(set(names)) == len({one.cell.id for one in plan.cells})
    assert all(find_cell(plan, one) for one in names[:: max(1, len(names) // 40)])


def test_a_matrix_with_a_mistake_is_no_reason_to_complain() -> None:
    Path("m.yaml").write_text(MATRIX.replace("axes", "axis"))
    assert offered("lab", "m.yaml", "--cell", "") == []
    assert offered("run", "m.yaml", "--only", "load", "=", "p") == ["ping"]
    assert offered("run", "none.yaml", "--only", "load", "=", "pi") == ["ping"]


def test_runs_and_baselines(here: Path) -> None:
    run = stored(yogurt_phone(blocks=1), here / "results").relative_to(here)
    (here / "results/baselines").mkdir()
    (here / "results/baselines/phone.json").touch()
    assert offered("report", "") == offered("compare", str(run), "res") == [str(run)]
    assert offered("run", "m.yaml", "--resume", "results/") == [str(run)]
    assert offered("check", "") == [str(run), "m.yaml", *ours()]
    assert offered("history", "") == offered("history", run.parent.name[:2]) == [run.parent.name]
    assert offered("check", "m.yaml", "--baseline", "") == ["results/baselines/phone.json"]


def ours() -> list[str]:
    return [f"experiments/{path.name}" for path in sorted((ROOT / "experiments").glob("*.yaml"))]


def test_fish_offers_files_where_we_have_nothing() -> None:
    environment = {
        **os.environ,
        "_YOGURTBENCH_COMPLETE": "complete_fish",
        "_TYPER_COMPLETE_FISH_ACTION": "is-args",
    }
    codes = [
        subprocess.run(
            COMMAND, env={**environment, "_TYPER_COMPLETE_ARGS": line}, check=False
        ).returncode
        for line in ("yogurtbench report nothing", "yogurtbench run m")
    ]
    assert codes == [1, 0]


def test_a_question_in_brackets_is_shown_as_it_stands(here: Path) -> None:
    (here / "m.yaml").write_text(MATRIX.replace("What is offered?", "Which [bold] of [1, 2]?"))
    line = {"_TYPER_COMPLETE_FISH_ACTION": "get-args", "_TYPER_COMPLETE_ARGS": "yogurtbench run m"}
    assert asked("fish", **line) == "m.yaml\tWhich [bold] of [1, 2]?\n"


@pytest.mark.parametrize(
    "words",
    [
        ["ru"],
        ["run", ""],
        ["run", "m.yaml", "--only", ""],
        ["lab", "m.yaml", "--cell", ""],
        ["report", ""],
    ],
)
def test_it_is_quick(words: list[str]) -> None:
    """At most six imports of Typer, some 0.4 s: a ratio, because a busy neighbour on the core slows
    both.
    """
    pairs = [(cpu_seconds(lambda: offered(*words)), cpu_seconds(import_typer)) for _ in range(5)]
    assert min(ours for ours, _ in pairs) < 6 * min(typers for _, typers in pairs)


def import_typer() -> None:
    subprocess.run([sys.executable, "-c", "import typer"], check=True)


def cpu_seconds(work: Callable[[], object]) -> float:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    work()
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


@pytest.mark.parametrize(
    "words", [["run", "m.yaml", "--only", ""], ["lab", "m.yaml", "--cell", ""], ["report", ""]]
)
def test_it_imports_nothing_heavy(words: list[str]) -> None:
    program = textwrap.dedent("""\
        import sys
        from yogurtbench.__main__ import main
        try:
            main()
        except SystemExit:
            pass
        print(sorted({"bcc", "matplotlib", "numpy", "pandas", "pyroute2", "scipy"} & set(sys.modules)), file=sys.stderr)
    """)
    line = ["yogurtbench", *words]
    asking = {
        "_YOGURTBENCH_COMPLETE": "complete_bash",
        "COMP_WORDS": "\n".join(line),
        "COMP_CWORD": str(len(words)),
    }
    argv = [sys.executable, "-P", "-c", program]
    done = subprocess.run(
        argv, env={**os.environ, **asking}, capture_output=True, text=True, check=False
    )
    assert done.stderr == "[]\n"


@pytest.fixture
def bash(here: Path) -> Callable[[str], str]:
    """``bash(line)``: the line as a real bash on a terminal completes it where it holds a tab."""
    command = here / "bin/yogurtbench"
    command.parent.mkdir()
    command.write_text(f'#!/bin/sh\nexec {" ".join(COMMAND)} "$@"\n')
    command.chmod(0o755)
    setting = (
        f'PATH={command.parent}:$PATH; PS1="> "; eval '
        '"$(_YOGURTBENCH_COMPLETE=source_bash yogurtbench)"; echo ready\n'
    )

    def completed(line: str) -> str:
        child, terminal = pty.fork()
        if child == 0:
            os.execvpe(
                "bash",
                ["bash", "--norc", "--noprofile", "-i"],
                {**os.environ, "TERM": "dumb", "COLUMNS": "500"},
            )
        try:
            os.write(terminal, setting.encode())
            read_until(terminal, "\nready")
            os.write(terminal, f"{line}\x01printf '<%s>' \x05; echo\n".encode())
            return read_until(terminal, ">\r\n").rpartition("\n<yogurtbench>")[2].splitlines()[0]
        finally:
            os.close(terminal)
            os.waitpid(child, 0)

    return completed


def read_until(terminal: int, end: str) -> str:
    said, deadline = "", time.monotonic() + 30
    while end not in said:
        assert time.monotonic() < deadline, said
        said += os.read(terminal, 4096).decode(errors="replace")
    return said


def test_a_real_bash_completes_words_behind_an_equals_sign(bash: Callable[[str], str]) -> None:
    assert (
        bash("yogurtbench run m.y\t--only hook=tcx\t") == "<run><m.yaml><--only><hook=tcx_ingress>"
    )
