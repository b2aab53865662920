"""Every command alike: examples in its help, one JSON document with --json, words that complete."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import typer.main
from fake_runs import stored, yogurt_phone

from yogurtbench import __main__ as command
from yogurtbench.cli.app import app

COMMANDS = typer.main.get_command(app).commands  # type: ignore[attr-defined]
#: Commands whose output is not ours to shape: a schema is JSON as it is, a lab's stdout is its
#: command's.
WITHOUT_JSON = {"schema", "lab"}

MATRIX = """\
name: m
axes: {device: veth, hook: [tcx_ingress, tc_ingress], helper: redirect}
baseline: {device: veth, topology: direct}
loads: [ping, sockperf]
"""


@pytest.fixture
def call(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Callable[..., str]:
    """What a command line, called in this process in an empty folder, prints to stdout.

    It must end well.
    """
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("YOGURTBENCH_CACHE", str(tmp_path / "cache"))

    def calling(*arguments: object, codes: tuple[int, ...] = (0,)) -> str:
        code = command.run([str(one) for one in arguments])
        out, err = capfd.readouterr()
        assert code in codes, err
        return out

    return calling


@pytest.mark.parametrize("name", sorted(set(COMMANDS) - WITHOUT_JSON))
def test_every_command_that_prints_results_has_json(name: str) -> None:
    assert "--json" in {option for parameter in COMMANDS[name].params for option in parameter.opts}


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_the_help_of_every_command_has_examples_of_it(name: str) -> None:
    example = " ".join((COMMANDS[name].help or "").partition("Example")[2].split())
    assert f"yogurtbench {name}" in example


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_the_readme_lists_every_command(name: str) -> None:
    commands = (
        (Path(__file__).parents[2] / "README.md")
        .read_text()
        .partition("## Commands")[2]
        .partition("\n## ")[0]
    )
    assert f"`{name}" in commands


def test_json_is_one_document_and_nothing_else(tmp_path: Path, call: Callable[..., str]) -> None:
    """run and doctor, which need a lab or a look at the machine, are told so in test_cli."""
    Path("m.yaml").write_text(MATRIX)
    old, new = (stored(yogurt_phone(seed=seed), tmp_path) for seed in (1, 2))
    (tmp_path / "cache/.making-1").mkdir(parents=True)
    base = tmp_path / "base.json"
    said = {
        "plan": call("plan", "m.yaml", "--json"),
        "report": call("report", old, "--json"),
        "baseline": call("baseline", old, "--out", base, "--json"),
        "check": call("check", new, "--baseline", base, "--json", codes=(0, 1, 4)),
        "compare": call("compare", old, new, "--json", codes=(0, 1, 4)),
        "clean": call("clean", "--json"),
        "schema": call("schema"),
    }
    found = {name: json.loads(text) for name, text in said.items()}
    assert found["clean"] == {"removed": [str(tmp_path / "cache/.making-1")]}
    assert found["baseline"]["file"] == str(base)


def test_folders_and_files_that_are_not_there_are_answered_with_the_nearest(
    tmp_path: Path,
    call: Callable[..., str],
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    old, new = sorted(
        stored(yogurt_phone(blocks=2, seed=seed), tmp_path / "results") for seed in (1, 2)
    )
    call("baseline", old, "--out", "base.json")
    for arguments, words in [
        (["report", f"{old}0"], f"no such run folder: did you mean {old}?"),
        (
            ["compare", old, new.parent],
            f"not a run folder, plan.json is missing: did you mean {new}, the newest in it?",
        ),
        (
            ["check", new, "--baseline", "bas.json"],
            "bas.json: no such file: did you mean base.json?",
        ),
        (["check", new, "--baseline", "other"], "yogurtbench baseline RUN --out other makes it"),
    ]:
        assert command.run([str(one) for one in arguments]) == 2
        assert words in capfd.readouterr().err
