"""The native host, seen from outside: what a run leaves behind, whatever happens to it."""

from __future__ import annotations

import ctypes
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import psutil
import pytest
from private_mounts import machine_mounts
from trials import DIRECT, eventually, run_on, trial

from yogurtbench.core.errors import HostError
from yogurtbench.hosts import native
from yogurtbench.matrix.planner import load, make_plan

pytestmark = pytest.mark.root

QUICK = textwrap.dedent("""
    name: quick
    axes: {device: veth, hook: tcx_ingress, helper: [redirect, redirect_peer]}
    baseline: {device: veth, topology: direct, hook: none, helper: none}
    loads: [reachability, {kind: ping, count: 5, interval: 2ms, timeout: 5s}]
    blocks: {min: 2, max: 2}
""")
LONG = textwrap.dedent("""
    name: long
    axes: {device: veth, hook: tcx_ingress, helper: redirect}
    loads: [{kind: iperf3_tcp, duration: 30s}]
    blocks: {min: 1, max: 1}
""")
NOBODY = 65534
_SYS_BPF = {"x86_64": 321}.get(os.uname().machine, 280)
_BPF_PROG_GET_FD_BY_ID = 13


def start(folder: Path, *arguments: str) -> subprocess.Popen[str]:
    """The command in a session of its own, as a terminal would have it.

    Its temporary files below ``folder``.
    """
    (folder / "tmp").mkdir(exist_ok=True)
    # A shell's background jobs ignore SIGINT, and so would their children: these must not.
    argv = ["env", "--default-signal=INT", sys.executable, "-P", "-m", "yogurtbench", *arguments]
    return subprocess.Popen(
        argv,
        cwd=folder,
        env={**os.environ, "TMPDIR": str(folder / "tmp")},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def finish(started: subprocess.Popen[str]) -> tuple[int, str, str]:
    stdout, stderr = started.communicate(timeout=120)
    return started.returncode, stdout, stderr


def run_folder(folder: Path, name: str = "quick") -> Path:
    (found,) = (folder / "results" / name).iterdir()
    return found


def attempts(folder: Path) -> list[dict[str, Any]]:
    lines = (folder / "trials.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines]


def outside() -> dict[str, Any]:
    """What of the machine's own network and mounts a run could disturb."""
    runs = Path("/run/netns")
    return {
        "devices": sorted(os.listdir("/sys/class/net")),
        "names": sorted(os.listdir(runs)) if runs.exists() else None,
        "mounts": machine_mounts(),
        "namespace": os.readlink("/proc/self/ns/net"),
        "forwarding": Path("/proc/sys/net/ipv4/ip_forward").read_text(),
    }


def in_namespace(inode: str) -> list[str]:
    """Processes in a network namespace."""
    found = []
    for process in psutil.process_iter(["pid"]):
        try:
            if os.readlink(f"/proc/{process.pid}/ns/net") == inode:
                found.append(process.name())
        except OSError:  # it just ended
            continue
    return found


def programs_of(processes: list[psutil.Process]) -> set[int]:
    """Ids of the BPF programs that processes hold (proc(5), fdinfo)."""
    held = set()
    for process in processes:
        for info in Path(f"/proc/{process.pid}/fdinfo").iterdir():
            try:
                held |= {
                    int(number)
                    for number in re.findall(r"^prog_id:\s*(\d+)", info.read_text(), re.MULTILINE)
                }
            except OSError:  # that descriptor was closed
                continue
    return held


def argv_of(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:  # it just ended
        return []


def program_exists(number: int) -> bool:
    """Whether the kernel still has a program of this id (bpf(2))."""
    attribute = (ctypes.c_uint32 * 32)(number)
    descriptor = ctypes.CDLL(None).syscall(
        _SYS_BPF, _BPF_PROG_GET_FD_BY_ID, attribute, ctypes.sizeof(attribute)
    )
    if descriptor >= 0:
        os.close(descriptor)
    return bool(descriptor >= 0)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "quick.yaml").write_text(QUICK)
    (tmp_path / "long.yaml").write_text(LONG)
    return tmp_path


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A folder with a run that ended well, and what it printed."""
    where = tmp_path_factory.mktemp("finished")
    (where / "quick.yaml").write_text(QUICK)
    (where / "long.yaml").write_text(LONG)
    before = outside()
    code, stdout, stderr = finish(start(where, "run", "quick.yaml", "--lab", "native"))
    assert code == 0, stderr
    assert outside() == before
    return where, stdout


def test_a_run_ends_well_and_leaves_the_machine_as_it_was(finished: tuple[Path, str]) -> None:
    folder, stdout = finished
    made = attempts(run_folder(folder))
    assert {a["status"] for a in made} == {"ok"}
    assert {(a["lab"], a["accelerator"], a["kernel"]) for a in made} == {
        ("native", "none", os.uname().release)
    }
    assert str(run_folder(folder).relative_to(folder) / "report.html") in stdout
    assert list((folder / "tmp").iterdir()) == []


def test_a_run_of_another_plan_is_not_resumed(finished: tuple[Path, str]) -> None:
    folder, _ = finished
    arguments = ["run", "long.yaml", "--lab", "native", "--resume", str(run_folder(folder))]
    code, _, stderr = finish(start(folder, *arguments))
    assert (code, stderr.count("\n")) == (2, 1)
    assert "this run was made from another plan" in stderr


def test_a_report_is_made_again_from_the_stored_files_alone_and_without_root(
    finished: tuple[Path, str], nobodys_python: list[str], everybodys: Path
) -> None:
    made = ("report.*", "charts", "*.csv", "pyperf.json")
    copy = everybodys / "copy"
    shutil.copytree(run_folder(finished[0]), copy, ignore=shutil.ignore_patterns(*made))
    for path in (copy, *copy.rglob("*")):
        os.chown(path, NOBODY, NOBODY)
    hidden = (
        "import sys; sys.modules.update(bcc=None, pyroute2=None); from "
        "yogurtbench.__main__ import main; main()"
    )
    argv = [*nobodys_python, "-c", hidden]
    environment = {**os.environ, "HOME": str(copy), "MPLCONFIGDIR": str(copy / "mpl")}
    done = subprocess.run(
        [*argv, "report", str(copy), "--json"],
        cwd="/",
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert isinstance(json.loads(done.stdout), list)
    assert (copy / "report.html").stat().st_size > 10_000


def test_killed_in_the_middle_a_run_leaves_nothing(folder: Path) -> None:
    """SIGKILL of the command alone: the kernel ends every process, and frees namespace, devices and
    programs.
    """
    before = outside()
    command = start(folder, "run", "long.yaml", "--lab", "native", "--quiet")

    def family() -> list[psutil.Process]:
        return psutil.Process(command.pid).children(recursive=True)

    def sending() -> bool:
        return any("--client" in argv_of(process) for process in family())

    assert eventually(sending, 30), command.poll()
    processes = family()
    room = {os.readlink(f"/proc/{process.pid}/ns/net") for process in processes} - {
        before["namespace"]
    }
    programs = programs_of(processes)
    assert room
    assert programs
    assert all(program_exists(number) for number in programs)
    command.kill()
    command.communicate(timeout=10)
    assert eventually(
        lambda: not [p for p in processes if p.is_running() and p.status() != psutil.STATUS_ZOMBIE]
    )
    assert eventually(lambda: not [name for inode in room for name in in_namespace(inode)])
    assert eventually(lambda: not [number for number in programs if program_exists(number)])
    assert outside() == before
    assert list((folder / "tmp").iterdir()) == []


def test_two_runs_at_once_do_not_disturb_each_other(folder: Path) -> None:
    both = [
        start(folder, "run", "quick.yaml", "--lab", "native", "--out", out)
        for out in ("one", "two")
    ]
    for started in both:
        code, _, stderr = finish(started)
        assert code == 0, stderr
    for out in ("one", "two"):
        (run,) = (folder / out / "quick").iterdir()
        assert {a["status"] for a in attempts(run)} == {"ok"}


def interrupted(folder: Path, number: signal.Signals) -> Path:
    """A run folder that was interrupted after its third trial."""
    before = outside()
    command = start(folder, "run", "quick.yaml", "--lab", "native", "--blocks", "4")

    def lines() -> list[str]:
        return [
            line for path in folder.glob("results/quick/*/trials.jsonl") for line in path.open()
        ]

    assert eventually(lambda: len(lines()) >= 3, 30)
    os.killpg(command.pid, number)  # as a terminal does: to the whole group
    code, _, stderr = finish(command)
    run = run_folder(folder)
    assert code == 130, stderr
    assert "Traceback" not in stderr
    assert f"--resume {run.relative_to(folder)}" in stderr
    assert (run / "report.html").exists()
    assert outside() == before
    return run


def test_ended_from_outside_a_run_keeps_and_reports_what_it_has(folder: Path) -> None:
    kept = attempts(interrupted(folder, signal.SIGTERM))
    assert 3 <= len(kept) < len(planned(folder, 4))
    assert {a["status"] for a in kept} == {"ok"}


def test_interrupted_a_run_can_be_finished(folder: Path) -> None:
    run = interrupted(folder, signal.SIGINT)
    kept = attempts(run)
    again = start(
        folder, "run", "quick.yaml", "--lab", "native", "--blocks", "4", "--resume", str(run)
    )
    code, _, stderr = finish(again)
    assert code == 0, stderr
    stored = attempts(run)
    assert [a["trial"] for a in stored[: len(kept)]] == [a["trial"] for a in kept]
    whole = [a for a in stored if not a.get("superseded")]
    done = [a["trial"]["id"] for a in whole]
    assert len(done) == len(set(done))
    repeated = {a["trial"]["id"] for a in stored if a.get("superseded")}
    assert repeated <= set(done)
    assert len({a["trial"]["block"] for a in stored if a.get("superseded")}) <= 1
    assert planned(folder, 4) <= set(done)


def planned(folder: Path, blocks: int) -> set[str]:
    plan = make_plan(load(folder / "quick.yaml"), blocks=blocks)
    return {
        trial.id
        for group in plan.groups
        for block in range(blocks)
        for trial in plan.trials(group, block)
    }


def test_a_trial_whose_agent_is_killed_is_crashed_and_the_rest_goes_on() -> None:
    with native.host() as host:
        (first,) = run_on(host, [trial("ping", **DIRECT)])
        assert host._machine
        host._machine._process.kill()  # type: ignore[attr-defined]
        crashed, after = run_on(host, [trial("ping", **DIRECT), trial("ping", **DIRECT)])
    assert [first.status, crashed.status, after.status] == ["ok", "crashed", "ok"]
    assert "the machine died in this trial" in crashed.error


def test_a_room_that_cannot_be_made_is_reported_in_the_tools_words(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    refusing = tmp_path / "unshare"
    refusing.write_text("#!/bin/sh\necho unshare failed: Operation not permitted >&2\nexit 1\n")
    refusing.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    with (
        pytest.raises(
            HostError, match="could not be made: unshare failed: Operation not permitted"
        ),
        native.host(),
    ):
        pass


def test_the_environment_says_what_must_be_equal_to_compare() -> None:
    with native.host() as host:
        identity = host.environment.identity
    assert {"kernel", "machine", "iperf3", "sockperf", "ping", "bcc"} <= set(identity)
    assert identity["iperf3"][0].isdigit()
