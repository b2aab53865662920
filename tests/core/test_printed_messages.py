"""What a stranger types: usage under our own name, and one sentence that is true for what cannot
be.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from cli_runner import Said, caller

from yogurtbench.cli.app import app

YB = [sys.executable, "-P", "-m", "yogurtbench"]
COMMANDS = sorted(str(one.callback.__name__) for one in app.registered_commands if one.callback)
MATRIX = "name: m\naxes: {device: veth, topology: direct}\nloads: [ping]\n"


@pytest.fixture
def call(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Callable[..., Said]:
    """A command line, called in this process beside a matrix, a folder, a file and a pipe."""
    monkeypatch.chdir(tmp_path)
    Path("m.yaml").write_text(MATRIX)
    Path("folder").mkdir()
    Path("file").write_text("x")
    os.mkfifo("pipe")
    return caller(capfd)


@pytest.mark.parametrize(
    "arguments",
    [["--help"], *([one, "--help"] for one in COMMANDS), *([one, "--nope"] for one in COMMANDS)],
)
def test_usage_is_of_yogurtbench(call: Callable[..., Said], arguments: list[str]) -> None:
    said = call(*arguments)
    text = f"{said.out}{said.err}"
    command = "" if arguments[0] == "--help" else f"{arguments[0]} "
    assert (
        f"Usage: yogurtbench {command}" in text and "python" not in text and "__main__" not in text
    )


@pytest.mark.parametrize("arguments", [["--help"], ["run"], ["nope"], ["plan", "--nope"]])
def test_usage_is_of_yogurtbench_as_a_module_too(arguments: list[str]) -> None:
    done = subprocess.run(
        [*YB, *arguments], capture_output=True, text=True, timeout=60, check=False
    )
    text = f"{done.stdout}{done.stderr}"
    assert "Usage: yogurtbench" in text and "python -m" not in text
    assert done.returncode == (0 if arguments == ["--help"] else 2)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (
            "plan m.yaml --budget 0s",
            "--budget 0s: the duration 0s is out of range: more than 0, at most 24h",
        ),
        ("plan m.yaml --budget 5", "not the word '5': did you mean 5s?"),
        ("plan m.yaml --budget 25h", "is out of range"),
        ("plan m.yaml --blocks 99999999999999999999", "at most 10000 blocks"),
        ("plan m.yaml --only kernel=7", "kernel does not know '7'"),
        (
            "plan m.yaml --only kernel=6.10",
            "no cell of the matrix has kernel=6.10; its kernel: host",
        ),
        ("report file", "file: a file, not a run's folder"),
        ("report pipe", "pipe: a file, not a run's folder"),
        ("run m.yaml --resume file", "file: a file, not a run's folder"),
        ("check folder --baseline folder", "folder: a folder, not a baseline"),
        ("check folder --baseline pipe", "pipe: a device or a pipe, not a baseline"),
        ("check folder --baseline /dev/zero", "/dev/zero: a device or a pipe, not a baseline"),
        ("init --question=", "--question ''; known: which-wire"),
        ("plan m.yaml --lab=", "--lab '': not one of auto, native, vm"),
        (f"plan {'a' * 300}", "File name too long"),
        (f"report {'a' * 300}", "File name too long"),
        (f"history {'a' * 300}", "File name too long"),
        (f"check folder --baseline {'a' * 300}", "File name too long"),
        (f"compare {'a' * 300} folder", "File name too long"),
        (f"check m.yaml --base-program {'a' * 300}", "it has none"),
        ("plan file/m.yaml", "Not a directory"),
        ("report file/run", "no such run folder"),
    ],
)
def test_what_cannot_be_is_reported_in_one_true_sentence(
    call: Callable[..., Said], arguments: str, sentence: str
) -> None:
    said = call(*arguments.split())
    assert said.code in (2, 3) and said.out == "" and said.err.count("\n") == 1, said.err
    assert (
        sentence in said.err
        and said.err.startswith("yogurtbench: ")
        and "an error of ours" not in said.err
    )
