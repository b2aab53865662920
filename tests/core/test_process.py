"""Processes: started in one place, ended at their deadline with all they started, and never left
behind.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from trials import eventually, gone

from yogurtbench.core import process
from yogurtbench.core.process import CommandFailed


def test_run_gives_exit_code_both_outputs_and_lifetime() -> None:
    done = process.run(["sh", "-c", "echo out; echo err >&2"])
    assert (done.code, done.stdout, done.stderr) == (0, "out\n", "err\n")
    assert 0 < done.seconds < 10


def test_a_bad_end_carries_argv_code_and_stderr() -> None:
    with pytest.raises(CommandFailed, match="ended with exit code 7: no luck") as failed:
        process.run(["sh", "-c", "echo no luck >&2; exit 7"])
    assert failed.value.completed.code == 7
    assert failed.value.completed.argv[0] == "sh"


def test_a_bad_end_may_be_asked_for() -> None:
    assert process.run(["sh", "-c", "exit 7"], check=False).code == 7


def test_a_program_that_is_not_there_is_a_failed_command() -> None:
    with pytest.raises(
        CommandFailed, match=r"no-such-tool --now: could not be started \(No such file"
    ):
        process.run(["no-such-tool", "--now"])


def test_past_its_deadline_a_process_is_ended_and_what_it_said_is_kept() -> None:
    with pytest.raises(
        CommandFailed, match=r"did not end within 0\.2 s: waiting for Godot"
    ) as failed:
        process.run(["sh", "-c", "echo waiting for Godot >&2; exec sleep 60"], timeout=0.2)
    assert failed.value.completed.code == -signal.SIGTERM


def test_what_ignores_the_request_to_end_is_killed() -> None:
    with pytest.raises(CommandFailed) as failed:
        process.run(["sh", "-c", "trap '' TERM; while :; do sleep 1; done"], timeout=0.2)
    assert failed.value.completed.code == -signal.SIGKILL


def test_a_process_is_ended_with_all_that_it_started(tmp_path: Path) -> None:
    script = f"sleep 60 & echo $! > {tmp_path}/child; wait"
    with process.run_in_background(["sh", "-c", script]) as started:
        child = int(
            eventually(lambda: (tmp_path / "child").exists() and (tmp_path / "child").read_text())
        )
        assert started.alive
    assert not started.alive
    assert eventually(lambda: gone(child))


def test_a_background_process_ends_with_its_block_also_when_the_block_fails() -> None:
    with pytest.raises(ZeroDivisionError), process.run_in_background(["sleep", "60"]) as started:
        raise ZeroDivisionError
    assert gone(started.process.pid)


def test_ending_twice_is_harmless() -> None:
    with process.run_in_background(["sleep", "60"]) as started:
        started.end()


def test_a_process_dies_with_us_even_when_we_are_killed(tmp_path: Path) -> None:
    program = (
        "import pathlib, sys, time; from yogurtbench.core import process\n"
        "started = process.start(process.kill_with_parent(['sleep', '60']))\n"
        "pathlib.Path(sys.argv[1]).write_text(f'{started.process.pid}\\n'); started.process.wait()"
    )
    note = tmp_path / "pid"
    outer = subprocess.Popen([sys.executable, "-c", program, str(note)])
    inner = int(
        eventually(lambda: note.exists() and note.read_text().endswith("\n") and note.read_text())
    )
    assert eventually(lambda: b"sleep" in Path(f"/proc/{inner}/cmdline").read_bytes()[:6])
    outer.kill()
    outer.wait()
    assert eventually(lambda: gone(inner))


def test_a_load_does_not_see_the_users_locale(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LC_ALL", "de_DE.UTF-8")
    assert process.run(["sh", "-c", "echo $LC_ALL"]).stdout == "C\n"
    assert os.environ["LC_ALL"] == "de_DE.UTF-8"


def test_output_that_is_not_utf_8_does_not_matter() -> None:
    assert process.run(["printf", r"\377ok"]).stdout == "�ok"


def test_chunks_arrive_as_they_are_printed_until_all_pipes_close() -> None:
    started = process.start(["sh", "-c", "echo one; echo two >&2"])
    pipes = {started.process.stdout: "stdout", started.process.stderr: "stderr"}
    assert sorted(process.chunks(pipes)) == [("stderr", "two\n"), ("stdout", "one\n")]
    assert started.process.wait() == 0


def test_an_error_names_the_tool_and_not_what_it_is_started_through() -> None:
    wrapped = ["nsenter", "--net=/run/netns/a", "--", "taskset", "-c", "0", "setpriv", "-x", "--"]
    assert list(process.tool_command([*wrapped, "netperf", "--", "-r", "1"])) == [
        *("netperf", "--", "-r", "1"),
    ]
    alone = ["setpriv", "--pdeathsig", "KILL", "qemu"]
    assert process.tool_command(alone) == alone
