"""Tools that do strange things, in a native lab: executables of the tools' names, in front of them
on the PATH.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from trials import DIRECT, trial

from yogurtbench import loads
from yogurtbench.agent import __main__, environment
from yogurtbench.agent.trial import run_trial
from yogurtbench.core import process
from yogurtbench.core.metrics import METRICS_OF
from yogurtbench.ebpf.programs import Programs
from yogurtbench.lab import Lab, bring_up, inherited, sandbox

InRoom = Callable[..., Any]
DATA = Path(__file__).parents[1] / "data"


def put(folder: str, tool: str, script: str) -> None:
    """A tool that runs ``script``; $REAL is the real one."""
    real = shutil.which(tool)
    Path(folder, tool).write_text(f"#!/bin/sh\nREAL={real}\n{script}\n")
    Path(folder, tool).chmod(0o755)


def with_tool(
    folder: str, tool: str, script: str, load: str, options: dict[str, Any], axes: dict[str, Any]
) -> Any:
    """The attempt of a load whose tool is another, and of a sound one by the same agent's process
    afterwards.
    """
    put(folder, tool, script)
    path, os.environ["PATH"] = os.environ["PATH"], f"{folder}:{os.environ['PATH']}"
    strange = run_trial(trial(load, options=options, **{**DIRECT, **axes}), Programs())
    os.environ["PATH"] = path
    after = run_trial(trial("ping", **DIRECT), Programs())
    return [strange.to_json(), [after.status, after.error]]


def failing(
    in_room: InRoom, folder: Path, tool: str, script: str, load: str, **options: Any
) -> str:
    """The error of a load with a strange tool, after which everything goes on."""
    axes = options.pop("axes", {})
    strange, after = in_room(with_tool, str(folder), tool, script, load, options, axes)
    assert (strange["status"], after) == ("failed", ["ok", ""])
    rows = {row["metric"]: row for row in strange["observations"]}
    assert set(METRICS_OF[load]) <= set(rows)
    assert {(row["status"], row["value"]) for row in rows.values()} == {("failed", None)}
    assert strange["error"].isprintable()
    return str(strange["error"])


#: A script for a client, while the server is real.
REAL_SERVER = 'case " $* " in *" server "*|*--server*) exec $REAL "$@";; esac\n'


def client(text: str) -> str:
    return f"{REAL_SERVER}cat <<'END'\n{text}\nEND"


@pytest.mark.root
@pytest.mark.parametrize(
    "printed",
    [
        "{}",
        "null",
        "[1]",
        '{"end": null}',
        "warning: odd\n{}",
        "{} {}",
        '{"end": {"sum_sent": []',
        "\x1b[2J",
    ],
)
def test_an_iperf3_that_prints_odd_things_is_a_failed_row(
    in_room: InRoom, tmp_path: Path, printed: str
) -> None:
    error = failing(in_room, tmp_path, "iperf3", client(printed), "iperf3_tcp")
    assert " ".join(printed.replace("\x1b", r"\x1b").split())[:12] in error


@pytest.mark.root
def test_a_tool_that_dies_by_a_signal_after_its_figures_is_a_failed_row(
    in_room: InRoom, tmp_path: Path
) -> None:
    script = f'{REAL_SERVER}$REAL "$@"; kill -SEGV $$'
    assert "iperf3 was ended by SIGSEGV" in failing(
        in_room, tmp_path, "iperf3", script, "iperf3_udp"
    )
    assert "ping was ended by SIGSEGV" in failing(
        in_room, tmp_path, "ping", '$REAL "$@"; kill -SEGV $$', "ping"
    )
    assert "sockperf was ended by SIGKILL" in failing(
        in_room, tmp_path, "sockperf", f'{REAL_SERVER}$REAL "$@"; kill -KILL $$', "sockperf"
    )


@pytest.mark.root
def test_a_tool_that_ends_badly_after_its_figures_is_a_failed_row(
    in_room: InRoom, tmp_path: Path
) -> None:
    for tool, load, bad in (
        ("iperf3", "iperf3_tcp", 3),
        ("ping", "ping", 2),
        ("sockperf", "sockperf_tcp", 1),
    ):
        error = failing(
            in_room, tmp_path, tool, f'{REAL_SERVER}$REAL "$@"; echo oh >&2; exit {bad}', load
        )
        assert f"{tool} ended with exit code {bad}: oh |" in error


@pytest.mark.root
def test_a_server_that_dies_during_the_load_is_a_failed_row(
    in_room: InRoom, tmp_path: Path
) -> None:
    """After the client had its figures: nothing but the server's own end tells."""
    dying = (
        '[ "$1" = server ] || { $REAL "$@"; echo done > {0}/done; exit 0; }\n$REAL "$@" & '
        "real=$!\n".replace("{0}", str(tmp_path))
    )
    dying += (
        f"while [ ! -e {tmp_path}/done ]; do sleep 0.01; done; kill $real; echo gone "
        ">&2; kill -KILL $$"
    )
    slow = dying.replace("exit 0", "sleep 1; exit 0")
    assert "the server was ended by SIGKILL during the load: gone" in failing(
        in_room, tmp_path, "sockperf", slow, "sockperf"
    )
    script = 'case "$*" in *--server*) $REAL "$@"; echo oh >&2; exit 9;; esac\nexec $REAL "$@"'
    error = failing(in_room, tmp_path, "iperf3", script, "iperf3_tcp")
    assert "the server ended with exit code 9 during the load: oh" in error


@pytest.mark.root
def test_a_tool_that_prints_without_end_is_a_failed_row(in_room: InRoom, tmp_path: Path) -> None:
    assert "printed more than 64 MiB" in failing(
        in_room, tmp_path, "ping", "exec yes", "ping", timeout=30.0
    )


@pytest.mark.root
def test_pings_that_there_was_no_time_for_are_reported(in_room: InRoom, tmp_path: Path) -> None:
    error = failing(
        in_room, tmp_path, "ping", 'exec $REAL "$@"', "ping", count=500, interval=0.01, timeout=1.0
    )
    assert "of 500 requests within its timeout of 1 s: raise timeout, or lower count" in error


@pytest.mark.root
def test_an_interval_is_what_the_matrix_says(in_room: InRoom) -> None:
    """Of 2 ms, which ping spins for: no flood.

    How much longer it takes says how busy the machine is.
    """
    assert in_room(pinged, 0.002) >= 99 * 0.0018


def pinged(interval: float) -> float:
    made = run_trial(
        trial("ping", options={"count": 100, "interval": interval}, **DIRECT), Programs()
    )
    assert made.status == "ok", made.error
    return made.seconds["load"]


@pytest.mark.root
@pytest.mark.alone
@pytest.mark.parametrize("streams", [1, 4])
def test_the_offered_bitrate_is_the_matrix_s(in_room: InRoom, streams: int) -> None:
    throughput = in_room(offered, streams)
    assert throughput == pytest.approx(40e6, rel=0.05)


def offered(streams: int) -> float:
    options = {"duration": 1.0, "bitrate": 40_000_000}
    made = run_trial(trial("iperf3_udp", options=options, streams=streams, **DIRECT), Programs())
    assert made.status == "ok", made.error
    return next(row.value for row in made.observations if row.metric == "throughput") or 0.0


def raising(kind: str) -> list[str]:
    """A load with a mistake in it."""
    import builtins

    def run(_bench: Any) -> Any:
        raise getattr(builtins, kind)("\x1b[31mwhat")

    real, loads.RUN["ping"] = loads.RUN["ping"], run
    made = run_trial(trial("ping", **DIRECT), Programs())
    loads.RUN["ping"] = real
    return [made.status, made.error, run_trial(trial("ping", **DIRECT), Programs()).status]


@pytest.mark.root
@pytest.mark.parametrize(
    "kind", ["KeyError", "ValueError", "RecursionError", "AssertionError", "ZeroDivisionError"]
)
def test_a_mistake_of_ours_in_a_load_is_a_failed_row(in_room: InRoom, kind: str) -> None:
    status, error, after = in_room(raising, kind)
    assert (status, after) == ("failed", "ok")
    assert f"an error of ours: {kind} in agent/trial.py:" in error and r"\x1b[31mwhat" in error


def answered(folder: Path) -> tuple[str, list[list[str]]]:
    """The whole agent: its word for a tool's version, and what came of a broken and of a sound
    order.
    """
    order = {"op": "trial", "trial": trial("ping", **DIRECT).to_json()}
    broken = {"op": "trial", "trial": {**trial("ping", **DIRECT).to_json(), "options": {}}}
    done = subprocess.run(
        sandbox.sandbox_command([sys.executable, "-P", "-m", "yogurtbench.agent"]),
        input="".join(f"{json.dumps(one)}\n" for one in (broken, order, {"op": "stop"})),
        env={**os.environ, "PATH": f"{folder}:{os.environ['PATH']}"},
        cwd=DATA.parent.parent,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    events = [json.loads(line) for line in done.stdout.splitlines()]
    attempts = [event["attempt"] for event in events if event["event"] == "attempt"]
    return events[0]["versions"]["sockperf"], [[one["status"], one["error"]] for one in attempts]


@pytest.mark.root
@pytest.mark.parametrize(
    ("script", "version"),
    [
        ("exec sleep 600", "unknown: it did not end within"),
        ("printf '\\033[31mbroken \\377\\n'", r"unknown: \x1b[31mbroken"),
        ("exit 1", "unknown: it printed nothing"),
    ],
)
def test_a_tool_that_does_not_tell_its_version_leaves_the_agent_alive(
    tmp_path: Path, script: str, version: str
) -> None:
    put(str(tmp_path), "sockperf", script)
    told, (broken, sound) = answered(tmp_path)
    assert told.startswith(version)
    assert broken[0] == "failed" and broken[1].startswith(
        "an error of ours: KeyError in loads/ping.py:"
    )
    assert sound == ["ok", ""]


def interrupted(load: str) -> list[str]:
    """As on the instruction clock, where timeout(1) interrupts sockperf and ends with a code of its
    own.
    """
    options = (
        {"duration": 1.0, "timeout": 10.0} if load == "rtt_under_load" else {"bytes": 10_000_000}
    )
    made = run_trial(
        replace(trial(load, options=options, **DIRECT), clock="instructions"), Programs()
    )
    return [made.status, made.error]


# Alone and up to three times: by the machine's own clock the client's stops come late where others
# keep it busy, and then no round trip lies between them. In a guest they are never late.
@pytest.mark.root
@pytest.mark.alone
@pytest.mark.parametrize("load", ["sockperf", "sockperf_tcp", "iperf3_tcp", "rtt_under_load"])
def test_a_tool_that_is_interrupted_by_design_has_not_failed(in_room: InRoom, load: str) -> None:
    answers = (in_room(interrupted, load) for _ in range(3))
    assert any(answer == ["ok", ""] for answer in answers)


# -- what the lab has from the machine -------------------------------------------------------------

SETTINGS = {
    "ipv4/ip_forward": ("1", "0"),
    "ipv4/conf/all/rp_filter": ("1", "0"),
    "ipv4/conf/default/rp_filter": ("2", "0"),
    "ipv4/conf/default/arp_ignore": ("1", "0"),
    "ipv4/tcp_congestion_control": ("reno", "cubic"),
}
#: Where the kernel gives no cubic to a namespace it keeps what it has, and the run's identity tells
#: it.
HAS_CUBIC = "cubic" in Path("/proc/sys/net/ipv4/tcp_allowed_congestion_control").read_text()
if not HAS_CUBIC:
    SETTINGS["ipv4/tcp_congestion_control"] = ("reno", "reno")


def _of(lab: Lab, key: str) -> list[str]:
    found = []
    for namespace in lab.namespaces:
        with namespace.entered():
            found.append(Path("/proc/sys/net", key).read_text().strip())
    return found


def settings_of_a_lab() -> dict[str, list[str]]:
    """By key, of every namespace of a lab."""
    with bring_up(
        trial("ping", device="veth", topology="direct", hook="none", helper="none").cell
    ) as lab:
        return {key: _of(lab, key) for key in SETTINGS}


@pytest.fixture
def _of_another_machine() -> Any:
    """The machine forwards, filters and controls congestion as few do: for new namespaces, until
    the test ends.
    """
    files = {
        Path("/proc/sys/net", key): value
        for key, (value, _) in SETTINGS.items()
        if "forward" not in key
    }
    before = {file: file.read_text() for file in files}
    try:
        for file, value in files.items():
            file.write_text(value)
        yield
    finally:
        for file, value in before.items():
            file.write_text(value)


@pytest.mark.root
@pytest.mark.usefixtures("_of_another_machine")
def test_a_lab_does_not_take_over_how_the_machine_is_set(in_room: InRoom) -> None:
    seen = in_room(settings_of_a_lab)
    assert seen == {key: [usual] * len(seen[key]) for key, (_, usual) in SETTINGS.items()}


def test_what_belongs_to_the_whole_machine_is_reported_where_it_is_unusual(
    tmp_path: Path, monkeypatch: Any
) -> None:
    monkeypatch.setattr(inherited, "_NET", tmp_path)
    values = {
        "core/default_qdisc": "fq",
        "core/bpf_jit_harden": "2",
        "core/busy_poll": "0",
        "ipv6/mld_qrv": "2",
    }
    for key, value in values.items():
        (tmp_path / key).parent.mkdir(exist_ok=True)
        (tmp_path / key).write_text(f"{value}\n")
    assert inherited.of_the_machine() == {
        "net.core.default_qdisc": "fq",
        "net.core.bpf_jit_harden": "2",
    }


@pytest.mark.root
def test_a_native_runs_identity_has_what_cannot_be_set() -> None:
    from yogurtbench.hosts import native

    with native.host() as host:
        identity = host.environment.identity
    assert {"net.ipv4.tcp_rmem", "net.ipv4.tcp_wmem", "net.core.default_qdisc"} <= set(identity)
    assert ("net.ipv4.tcp_congestion_control" in identity) != HAS_CUBIC


def test_versions_are_asked_for_side_by_side(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(__main__, "_VERSION_SECONDS", 0.3)
    put(str(tmp_path), "ip", "exec sleep 60")
    put(str(tmp_path), "ping", "exec sleep 60")
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    versions = __main__.ask_versions()()
    assert versions["iproute2"].startswith("unknown: it did not end within")
    assert versions["ping"].startswith("unknown: it did not end within")
    assert process.run(["sh", "-c", "exit 0"]).code == 0


# -- privileges ------------------------------------------------------------------------------------


def seen_by_tools(folder: str, load: str, options: dict[str, Any]) -> list[list[str]]:
    """Of each process of a load's tool: user, effective and bounding capabilities, new ones."""
    tool = "iperf3" if load.startswith("iperf3") else load
    put(folder, tool, f'cat /proc/self/status >> {folder}/seen; exec $REAL "$@"')
    path, os.environ["PATH"] = os.environ["PATH"], f"{folder}:{os.environ['PATH']}"
    made = run_trial(trial(load, options=options, **DIRECT), Programs())
    os.environ["PATH"] = path
    assert made.status == "ok", made.error
    lines = [line.split() for line in Path(folder, "seen").read_text().splitlines()]
    wanted = ("Uid:", "CapEff:", "CapBnd:", "NoNewPrivs:")
    fields = [line[1] for line in lines if line and line[0] in wanted]
    return [fields[at : at + len(wanted)] for at in range(0, len(fields), len(wanted))]


NOBODY = ["65534", "0" * 16, "0" * 16, "1"]
RAW_ROOT = ["0", f"{1 << 13:016x}", f"{1 << 13:016x}", "1"]


@pytest.mark.root
@pytest.mark.parametrize(
    ("load", "options", "seen"),
    [
        ("ping", {"count": 3, "interval": 0.001, "timeout": 5.0}, [RAW_ROOT]),
        ("sockperf", {"duration": 1.0, "timeout": 10.0}, [NOBODY, NOBODY]),
        ("iperf3_tcp", {"duration": 1.0, "timeout": 10.0}, [NOBODY, NOBODY]),
    ],
)
def test_tools_run_without_privileges(
    in_room: InRoom, everybodys: Path, load: str, options: dict[str, Any], seen: list[list[str]]
) -> None:
    assert in_room(seen_by_tools, str(everybodys), load, options) == seen


@pytest.mark.root
def test_tools_in_a_private_folder_run_as_root_without_capabilities(
    in_room: InRoom, tmp_path: Path
) -> None:
    seen = in_room(seen_by_tools, str(tmp_path), "sockperf", {"duration": 1.0, "timeout": 10.0})
    assert seen == [["0", *NOBODY[1:]]] * 2


@pytest.mark.root
def test_tools_inherit_no_variables_of_the_user(
    everybodys: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(str(everybodys), "ping", f'env | sort > {everybodys}/seen; exec $REAL "$@"')
    for name in ("LD_PRELOAD", "IPERF3_PASSWORD", "TMPDIR", "SECRET"):
        monkeypatch.setenv(name, "" if name == "LD_PRELOAD" else "/nonexistent")
    (everybodys / "seen").touch(mode=0o666)
    _, (_, sound) = answered(everybodys)
    assert sound == ["ok", ""]
    names = {line.partition("=")[0] for line in (everybodys / "seen").read_text().splitlines()}
    of_the_shell = {"LANG", "LC_ALL", "PWD", "_", "SHLVL", "OLDPWD"}
    assert names <= of_the_shell | environment.KEPT
