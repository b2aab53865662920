"""The command line: exit codes, one sentence for what is wrong, and nothing but results on
stdout.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cli_runner import Said, is_one_sentence

import yogurtbench
from yogurtbench.core import leftovers
from yogurtbench.ebpf import headers
from yogurtbench.matrix import planner

NOBODY = 65534
DIRECT = textwrap.dedent("""\
    name: direct
    axes: {device: veth, topology: direct, hook: none, helper: none}
    loads: [{kind: ping, count: 3, interval: 2ms, timeout: 5s}]
    blocks: {min: 1, max: 1}
""")
BOMB = (
    "name: bomb\na: &a [x, x, x, x, x, x, x, x, x, x]\n"
    + "".join(
        f"{n}: &{n} [{', '.join(['*' + p] * 10)}]\n"
        for p, n in zip("abcdefgh", "bcdefghi", strict=True)
    )
    + "axes: {payload: *i}\nloads: [ping]\n"
)


def files(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


AXES = "name: m\naxes: {device: veth, hook: tcx_ingress, helper: redirect}\nloads: [ping]\n"

BAD = {
    "an unknown axis": (AXES.replace("helper", "helpers"), "2:41", "helper"),
    "an unknown word": (AXES.replace("tcx_ingress", "tcx_ingres"), "2:28", "tcx_ingress"),
    "an empty axis": (AXES.replace("redirect", "[]"), "2:49", "helper"),
    "a payload above the limit": (
        AXES.replace("redirect}", "redirect, payload: 65508}"),
        "2:68",
        "65507",
    ),
    "a baseline with an unknown word": (AXES + "baseline: {device: vet}\n", "4:20", "veth"),
    "a kernel without quotes": (
        AXES.replace("redirect}", "redirect, kernel: 6.12}"),
        "2:67",
        "quote",
    ),
    "a YAML alias bomb": (BOMB, r"\d+:\d+", ""),
    "two axes of one name": (
        AXES.replace("redirect}", "redirect, helper: redirect_peer}"),
        "2:59",
        "helper",
    ),
    "an unknown key": (AXES + "block: {min: 1}\n", "4:1", "blocks"),
    "no YAML at all": ("name: [\n", r"\d+:\d+", ""),
    "an empty file": ("", r"\d+:\d+", ""),
    "a list instead of a matrix": ("- ping\n", "1:1", ""),
    "a tab": ("name: m\n\taxes: {}\n", "2:1", ""),
}


@pytest.mark.parametrize("name", BAD)
@pytest.mark.parametrize("verb", ["plan", "run"])
def test_bad_matrices_are_refused_with_their_place(
    here: Path, call: Callable[..., Said], verb: str, name: str
) -> None:
    text, place, word = BAD[name]
    (here / "m.yaml").write_text(text)
    said = call(verb, "m.yaml")
    is_one_sentence(said, 2)
    assert re.match(rf"yogurtbench: m\.yaml:{place}: ", said.err), said.err
    assert word in said.err
    assert files(here) == {"m.yaml"}


def test_a_file_that_is_not_text_is_refused(here: Path, call: Callable[..., Said]) -> None:
    (here / "m.yaml").write_bytes(b"\xff\xfe\x00name")
    is_one_sentence(call("run", "m.yaml"), 2)


@pytest.mark.parametrize("verb", ["plan", "run"])
def test_a_missing_file_is_refused(here: Path, call: Callable[..., Said], verb: str) -> None:
    said = call(verb, "nowhere.yaml")
    is_one_sentence(said, 2)
    assert "nowhere.yaml: no such file" in said.err.lower()
    assert files(here) == set()


def test_a_folder_is_no_matrix(here: Path, call: Callable[..., Said]) -> None:
    (here / "m.yaml").mkdir()
    is_one_sentence(call("run", "m.yaml"), 2)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["run", "m.yaml", "--lab", "moon"], "--lab moon: not one of auto, native, vm"),
        (["run", "m.yaml", "--clock", "sun"], "--clock sun: not one of auto, wall, instructions"),
        (
            ["run", "m.yaml", "--lab", "natve"],
            "--lab natve: not one of auto, native, vm: did you mean native?",
        ),
        (["run", "m.yaml", "--only", "hook=nosuch"], "hook does not know 'nosuch'"),
        (["run", "m.yaml", "--only", "hok=none"], "there is no axis 'hok': did you mean hook?"),
        (["run", "m.yaml", "--only", "hook=tcx_ingres"], "did you mean tcx_ingress?"),
        (
            ["run", "m.yaml", "--only", "tcx_ingres"],
            "not a selector: did you mean hook=tcx_ingress?",
        ),
        (
            ["run", "m.yaml", "--only", "load=sockperf"],
            "no cell of the matrix has load=sockperf; its load: ping",
        ),
        (
            ["run", "experiments/quikstart.yaml"],
            "no such file: did you mean experiments/quickstart.yaml?",
        ),
        (["plan", "my.yaml"], "my.yaml: no such file: did you mean m.yaml?"),
        (["plan", "m.yml"], "m.yml: no such file: did you mean m.yaml?"),
        (["run", "m.yaml", "--budget", "ten"], "--budget ten: a duration is a number with a unit"),
        (
            ["run", "m.yaml", "--jobs", "2"],
            "--jobs 2: on the wall clock trials side by side would disturb each other",
        ),
        (["run", "m.yaml", "--resume", "nowhere"], "nowhere: no such run folder"),
        (["report", "nowhere"], "nowhere: no such run folder"),
        (["report", "."], "not a run folder"),
        (["lab", "m.yaml", "--", "true"], "name a cell with --cell"),
        (
            ["lab", "m.yaml", "--cell", "load=ping", "--trace", "--", "true"],
            "cannot be combined with a command",
        ),
        (
            ["lab", "m.yaml", "--cell", "topology=moon", "--", "true"],
            "topology does not know 'moon'",
        ),
        (["lab", "m.yaml", "--cell", "topology=dirct", "--", "true"], "did you mean direct?"),
    ],
)
def test_bad_options_are_refused_in_one_sentence(
    here: Path, call: Callable[..., Said], arguments: list[str], words: str
) -> None:
    (here / "m.yaml").write_text(DIRECT)
    said = call(*arguments)
    is_one_sentence(said, 2)
    assert words in said.err
    assert files(here) == {"m.yaml"}


@pytest.mark.parametrize(
    "arguments",
    [
        ["run"],
        ["nosuch"],
        ["run", "m.yaml", "--blocks", "0"],
        ["run", "m.yaml", "--jobs", "0"],
        ["run", "m.yaml", "--nosuch"],
        [],
    ],
)
def test_a_wrong_command_line_exits_2_and_never_1(
    call: Callable[..., Said], arguments: list[str]
) -> None:
    said = call(*arguments)
    assert said.code == 2
    assert "Traceback" not in said.err


@pytest.mark.parametrize(
    ("arguments", "meant"),
    [
        (["rnu", "m.yaml"], "run"),
        (["doctr"], "doctor"),
        (["run", "m.yaml", "--block", "1"], "--blocks"),
    ],
)
def test_misspelled_commands_and_options_are_answered_with_the_nearest(
    call: Callable[..., Said], arguments: list[str], meant: str
) -> None:
    said = call(*arguments)
    assert said.code == 2
    assert re.search(rf"(Did you mean|Possible options:) '?{meant}\b", said.err), said.err


@pytest.mark.root
def test_a_missing_tool_is_the_machines_fault(
    here: Path, call: Callable[..., Said], monkeypatch: pytest.MonkeyPatch
) -> None:
    (here / "m.yaml").write_text(DIRECT)
    tools = here / "tools"
    tools.mkdir()
    for tool in ("unshare", "nsenter", "taskset", "mount"):
        (tools / tool).symlink_to(str(shutil.which(tool)))
    monkeypatch.setenv("PATH", str(tools))
    said = call("run", "m.yaml", "--lab", "native")
    is_one_sentence(said, 3)
    assert (
        "the native lab needs ping, which is not installed; yogurtbench doctor says how to add it"
        in said.err
    )
    assert not (here / "results").exists()


@pytest.mark.root
def test_missing_headers_are_the_machines_fault(
    here: Path, call: Callable[..., Said], monkeypatch: pytest.MonkeyPatch
) -> None:
    (here / "m.yaml").write_text(AXES)
    monkeypatch.setattr(headers, "find_headers", lambda: None)
    said = call("run", "m.yaml", "--lab", "native")
    is_one_sentence(said, 3)
    assert "any kernel's headers" in said.err


@pytest.mark.root
def test_netkit_on_a_kernel_without_it_is_the_machines_fault(
    here: Path, call: Callable[..., Said]
) -> None:
    from yogurtbench.hosts import native

    with native.host() as host:
        if host.features["netkit"]:
            pytest.skip("this kernel has netkit")
    (here / "m.yaml").write_text(AXES.replace("veth", "netkit"))
    said = call("run", "m.yaml", "--lab", "native")
    is_one_sentence(said, 3)
    assert "this kernel has no netkit" in said.err
    assert files(here) == {"m.yaml"}


def as_nobody(nobodys_python: list[str], folder: Path, *arguments: str) -> Said:
    argv = [*nobodys_python, "-m", "yogurtbench", *arguments]
    environment = {**os.environ, "HOME": str(folder)}
    done = subprocess.run(
        argv, cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    return Said(done.returncode, done.stdout, done.stderr)


@pytest.mark.root
def test_the_native_lab_without_root_is_refused_in_one_sentence(
    nobodys_python: list[str], everybodys: Path
) -> None:
    (everybodys / "m.yaml").write_text(DIRECT)
    said = as_nobody(nobodys_python, everybodys, "run", "m.yaml", "--lab", "native")
    is_one_sentence(said, 3)
    assert "the native lab needs root: run it with sudo, or use --lab vm" in said.err
    assert files(everybodys) == {"m.yaml"}


@pytest.mark.root
def test_an_unreadable_file_is_refused_in_one_sentence(
    nobodys_python: list[str], everybodys: Path
) -> None:
    (everybodys / "m.yaml").write_text(DIRECT)
    (everybodys / "m.yaml").chmod(0)
    said = as_nobody(nobodys_python, everybodys, "plan", "m.yaml")
    is_one_sentence(said, 2)
    assert "m.yaml" in said.err
    assert "Permission denied".lower() in said.err.lower()


@pytest.mark.root
def test_an_unreadable_run_folder_is_reported_in_one_sentence(
    nobodys_python: list[str], everybodys: Path
) -> None:
    (everybodys / "run").mkdir(mode=0o700)
    said = as_nobody(nobodys_python, everybodys, "report", "run")
    is_one_sentence(said, 3)
    assert "run/plan.json: Permission denied" in said.err


def test_an_error_of_ours_exits_70_and_says_how_to_see_more(
    here: Path, call: Callable[..., Said], monkeypatch: pytest.MonkeyPatch
) -> None:
    def breaks(_path: Path) -> None:
        raise ZeroDivisionError("we cannot count")

    (here / "m.yaml").write_text(DIRECT)
    monkeypatch.setattr(planner, "load", breaks)
    said = call("plan", "m.yaml")
    assert said.code == 70
    assert "an error of ours, please report it: ZeroDivisionError: we cannot count" in said.err
    assert "YOGURTBENCH_TRACEBACK=1" in said.err
    assert "Traceback" not in said.err
    monkeypatch.setenv("YOGURTBENCH_TRACEBACK", "1")
    assert "Traceback" in call("plan", "m.yaml").err


def test_an_interrupt_exits_130_without_a_word(
    here: Path, call: Callable[..., Said], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupts(_path: Path) -> None:
        raise KeyboardInterrupt

    (here / "m.yaml").write_text(DIRECT)
    monkeypatch.setattr(planner, "load", interrupts)
    assert call("plan", "m.yaml") == Said(130, "", "")


def test_a_reader_that_leaves_is_no_error(here: Path) -> None:
    argv = [sys.executable, "-P", "-m", "yogurtbench", "schema"]
    read_end, write_end = os.pipe()
    os.close(read_end)
    done = subprocess.run(argv, stdout=write_end, stderr=subprocess.PIPE, text=True, check=False)
    os.close(write_end)
    assert done.returncode == 0
    assert "Traceback" not in done.stderr


def test_the_version_is_the_packages(call: Callable[..., Said]) -> None:
    assert call("--version") == Said(0, f"yogurtbench {yogurtbench.__version__}\n", "")


HEAVY = {
    "bcc",
    "matplotlib",
    "numpy",
    "pandas",
    "psutil",
    "pydantic",
    "pyroute2",
    "ruamel",
    "scipy",
}


@pytest.mark.parametrize(
    ("arguments", "heavy"),
    [
        (["--help"], HEAVY),
        (
            ["--version"],
            HEAVY - {"pydantic"},
        ),  # Typer itself imports pydantic where there are options to convert
        (["run", "--help"], HEAVY - {"pydantic"}),
        (["lab", "--help"], HEAVY - {"pydantic"}),
    ],
)
def test_help_imports_nothing_heavy(arguments: list[str], heavy: set[str]) -> None:
    program = (
        "import sys; from yogurtbench.__main__ import run\n"
        f"code = run({arguments!r})\n"
        f"print(sorted({heavy!r} & set(sys.modules)), file=sys.stderr); sys.exit(code)"
    )
    done = subprocess.run(
        [sys.executable, "-P", "-c", program], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "[]\n")


def test_a_plan_says_what_would_run_and_runs_nothing(here: Path, call: Callable[..., Said]) -> None:
    (here / "m.yaml").write_text(DIRECT)
    said = call("plan", "m.yaml")
    assert (said.code, said.err) == (0, "")
    assert "1 cell, " in said.out
    assert files(here) == {"m.yaml"}


def test_a_plan_as_json_is_json_and_nothing_else(here: Path, call: Callable[..., Said]) -> None:
    (here / "m.yaml").write_text(DIRECT)
    said = call("plan", "m.yaml", "--json")
    assert (said.code, said.err) == (0, "")
    found = json.loads(said.out)
    assert found["name"] == "direct" and found["budget"] == []
    assert {
        "counts",
        "seconds",
        "filled_in",
        "warnings",
        "first_block",
        "left_out",
        "collapsed",
    } <= set(found)


def test_a_plan_says_what_a_budget_buys(here: Path, call: Callable[..., Said]) -> None:
    (here / "m.yaml").write_text(DIRECT)
    said = call("plan", "m.yaml", "--budget", "10m")
    assert (said.code, said.err) == (0, "") and "a budget of 10 min on native: " in said.out
    (native, *_) = json.loads(call("plan", "m.yaml", "--budget", "10m", "--json").out)["budget"]
    assert native["lab"] == "native" and native["seconds"] == 600 and native["blocks"] >= 1
    is_one_sentence(call("plan", "m.yaml", "--budget", "10"), 2)
    assert files(here) == {"m.yaml"}


def test_the_schema_is_json(call: Callable[..., Said]) -> None:
    said = call("schema")
    assert (said.code, said.err) == (0, "")
    assert "draft-07" in json.loads(said.out)["$schema"]


def test_doctor_as_json_is_json_and_nothing_else(call: Callable[..., Said]) -> None:
    said = call("doctor", "--json")
    assert said.err == ""
    assert {finding["state"] for finding in json.loads(said.out)} <= {"ok", "missing", "limited"}
    assert said.code in (0, 3)


def test_clean_removes_what_was_left_half_made_and_keeps_the_rest(
    here: Path, call: Callable[..., Said], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("YOGURTBENCH_CACHE", str(here / "cache"))
    (here / "cache/headers/.making-1/include").mkdir(parents=True)
    (here / "cache/headers/whole").mkdir()
    said = call("clean")
    assert (said.code, said.out) == (0, f"removed {here}/cache/headers/.making-1\n")
    assert files(here / "cache") == {"headers", "headers/whole"}
    assert call("clean", "--cache").code == 0
    assert not (here / "cache").exists()
    assert call("clean", "--cache") == Said(0, "", "")


def test_clean_shows_what_it_would_remove_and_removes_nothing(
    here: Path, call: Callable[..., Said], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("YOGURTBENCH_CACHE", str(here / "cache"))
    left = here / "cache/guest/userland/.building-x-1/whole"
    left.mkdir(parents=True)
    (left / "archive").write_bytes(bytes(3 << 20))
    said = call("clean", "--dry-run")
    assert (said.code, said.out) == (0, f"to be removed: {left.parent} (3.0 MiB)\n")
    listed = call("clean", "--dry-run", "--json")
    assert json.loads(listed.out) == {"to_be_removed": [str(left.parent)]}
    assert left.exists()
    said = call("clean")
    assert said.err == f"to be removed: {left.parent} (3.0 MiB)\n"
    assert said.out == f"removed {left.parent}\n"
    assert not left.exists()


def test_clean_leaves_what_another_run_is_making(
    here: Path, call: Callable[..., Said], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("YOGURTBENCH_CACHE", str(here / "cache"))
    (here / "cache/guest/kernel").mkdir(parents=True)
    with leftovers.make_folder(here / "cache/guest/kernel", "6.12") as making:
        assert call("clean") == Said(0, "", "")
        assert making.is_dir()
    assert files(here / "cache") == {"guest", "guest/kernel"}


def in_the_lab(call: Callable[..., Said], *argv: str) -> Said:
    Path("m.yaml").write_text(DIRECT)
    return call("lab", "m.yaml", "--lab", "native", "--cell", "topology=direct", "--", *argv)


@pytest.mark.root
@pytest.mark.parametrize("code", [0, 1, 9, 255])
def test_a_command_in_a_lab_gives_its_own_exit_code(call: Callable[..., Said], code: int) -> None:
    assert in_the_lab(call, "sh", "-c", f"exit {code}").code == code


@pytest.mark.root
def test_stdout_of_a_lab_is_the_commands_alone(call: Callable[..., Said]) -> None:
    said = in_the_lab(call, "sh", "-c", "echo out; echo err >&2; ip netns list 2>&1 | sort")
    assert said.code == 0
    assert [line.split()[0] for line in said.out.splitlines()] == ["out", "yogurt-1", "yogurt-2"]
    assert "err" in said.err.splitlines()


@pytest.mark.root
def test_the_lab_is_up_while_its_command_runs_and_options_after_the_dashes_are_the_commands(
    call: Callable[..., Said],
) -> None:
    said = in_the_lab(call, "ip", "netns", "exec", "yogurt-1", "ping", "-n", "-c1", "10.42.0.2")
    assert said.code == 0
    assert "1 received" in said.out


@pytest.mark.root
def test_a_command_that_is_not_there_is_reported_in_one_line(call: Callable[..., Said]) -> None:
    said = in_the_lab(call, "no-such-command")
    assert (said.code, said.err.count("\n")) == (3, 1)
    assert "no-such-command: could not be started" in said.err


@pytest.mark.root
def test_a_run_as_json_prints_json_and_nothing_else(here: Path, call: Callable[..., Said]) -> None:
    (here / "m.yaml").write_text(DIRECT)
    said = call("run", "m.yaml", "--lab", "native", "--quiet", "--json")
    assert (said.code, said.err) == (0, "")
    result: Any = json.loads(said.out)
    assert isinstance(result, list)
