"""A visit to a lab of this kernel: the shell, the floor plan, and what is recorded of live, dead
and looping wires.
"""

from __future__ import annotations

import json
import os
import pty
import re
import select
import shutil
import signal
import subprocess
import sys
import termios
import textwrap
import time
from pathlib import Path
from typing import Any

import pytest
from trials import eventually, gone

MATRIX = textwrap.dedent("""\
    name: visited
    lab: native
    include:
      - {device: veth, hook: tcx_ingress, helper: [redirect, redirect_ingress]}
      - {device: veth, hook: tcx_egress, helper: redirect_peer}
      - {device: veth, hook: tc_ingress, helper: redirect}
      - {device: veth, hook: xdp_generic, helper: redirect}
      - {device: veth, hook: tcx_ingress, program: ./mine.c}
    loads: [reachability]
    blocks: {min: 1, max: 1}
""")
MINE = "int wire(struct __sk_buff *skb)\n{\n\treturn bpf_redirect(YB_TARGET, 0);\n}\n"
LIVE, LOOPING = "hook=tcx_ingress,helper=redirect,program=builtin", "helper=redirect_ingress"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "m.yaml").write_text(MATRIX)
    (tmp_path / "mine.c").write_text(MINE)
    return tmp_path


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-P", "-m", "yogurtbench", "lab", "m.yaml", *arguments]


def visit(folder: Path, *arguments: str, typed: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(*arguments),
        cwd=folder,
        input=typed,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def recorded(folder: Path, cell: str, *arguments: str) -> dict[str, Any]:
    done = visit(folder, "--cell", cell, "--trace", "--json", *arguments)
    assert done.returncode == 0, done.stderr
    record: dict[str, Any] = json.loads(done.stdout)
    return record


def events(probe: dict[str, Any], *fields: str) -> list[tuple[Any, ...]]:
    return [tuple(event[field] for field in fields) for event in probe["events"]]


@pytest.mark.root
def test_commands_from_a_pipe_run_in_the_lab_and_the_exit_code_is_the_shells(folder: Path) -> None:
    typed = "yogurt-1 ping -c1 10.42.0.2 | grep -o '1 received'; echo err >&2; sleep 300 & exit 7\n"
    done = visit(folder, "--cell", LIVE, typed=typed)
    assert (done.returncode, done.stdout) == (7, "1 received\n")
    assert done.stderr.endswith("err\n")
    assert "1001  yg1-host  veth  mtu 1500   up  ── yogurt-1:yg1-cont" in done.stderr
    assert re.search(
        r"tcx_ingress: redirect_forward \(program \d+, calls bpf_redirect\)", done.stderr
    )


@pytest.mark.root
def test_a_shell_that_a_signal_ends_tells_so(folder: Path) -> None:
    assert visit(folder, "--cell", LIVE, typed="kill -TERM $$\n").returncode == 128 + signal.SIGTERM


@pytest.mark.root
@pytest.mark.parametrize(
    ("cell", "hook", "name"),
    [
        ("hook=tc_ingress", "tc_ingress", "redirect_forward"),
        ("hook=xdp_generic", "xdp_generic", "xdp_redirect_forward"),
        ("program=./mine.c", "tcx_ingress", "yb_wire"),
    ],
)
def test_the_floor_plan_is_what_the_kernel_tells(
    folder: Path, cell: str, hook: str, name: str
) -> None:
    done = visit(folder, "--cell", cell, "--json")
    assert done.returncode == 0, done.stderr
    plan = json.loads(done.stdout)
    devices = {f"{n['name']}:{d['name']}": d for n in plan["namespaces"] for d in n["devices"]}
    (program,) = devices["host:yg1-host"]["programs"]
    assert (program["hook"], program["name"]) == (hook, name)
    assert any("redirect" in helper for helper in program["helpers"])
    assert devices["yogurt-1:yg1-cont"]["programs"] == []
    assert devices["yogurt-2:yg2-cont"]["addresses"] == ["10.42.0.2/24", "fd42::2/64"]
    assert (devices["yogurt-2:yg2-cont"]["peer"], devices["yogurt-2:yg2-cont"]["kind"]) == (
        "host:yg2-host",
        "veth",
    )


class InputSource:
    """Somebody at a terminal of 30 by 100."""

    def __init__(self, folder: Path, *arguments: str) -> None:
        self.process, self._terminal = pty.fork()
        if self.process == 0:
            os.chdir(folder)
            os.execve(sys.executable, command(*arguments), {**os.environ, "TERM": "xterm"})
        self.resize(30, 100)

    def resize(self, rows: int, columns: int) -> None:
        termios.tcsetwinsize(self._terminal, (rows, columns))

    def types(self, text: str, until: str) -> str:
        """What is seen from then on, until a text is among it."""
        os.write(self._terminal, text.encode())
        return self.sees(until)

    def sees(self, until: str) -> str:
        seen, deadline = "", time.monotonic() + 30
        while until not in seen and time.monotonic() < deadline:
            if select.select([self._terminal], [], [], 0.1)[0]:
                try:
                    seen += os.read(self._terminal, 1 << 16).decode()
                except OSError:
                    break
        assert until in seen, seen
        return seen

    def code(self) -> int:
        return os.waitstatus_to_exitcode(os.waitpid(self.process, 0)[1])


@pytest.fixture
def person(folder: Path) -> InputSource:
    return InputSource(folder, "--cell", LIVE)


@pytest.mark.root
def test_a_terminal_has_a_prompt_job_control_ctrl_c_line_editing_and_its_size(
    person: InputSource,
) -> None:
    seen = person.sees("host# ")
    assert re.search(r"lab [0-9a-f]{12} host# ", seen)
    assert "30 100\r\n" in person.types("stty size\r", "host# ")
    person.types("echo a''b; sleep 300\r", "ab\r\n")
    assert eventually(lambda: any("sleep" in name(each) for each in children(person.process)))
    assert "^C" in person.types("\x03", "host# ")
    person.types("sed -u s/this/that/\rlike this\n", "like that\r\n")
    assert "Stopped" in person.types("\x1a", "host# ")
    assert "[1]+  Stopped" in person.types("jobs\r", "host# ")
    assert re.search(r"[\r\n]right\r\n", person.types("kill %1; echo wrong\x17ri''ght\r", "host# "))
    person.types("yogurt-1\r", "yogurt-1# ")
    assert "10.42.0.1/24" in person.types("ip -color=never addr\r", "yogurt-1# ")
    person.resize(50, 132)
    assert eventually(lambda: "50 132" in person.types("stty size\r", "yogurt-1# "))
    os.write(person._terminal, b"exit\rexit 9\r")
    assert person.code() == 9


def name(process: int) -> str:
    try:
        return Path(f"/proc/{process}/comm").read_text()
    except OSError:  # it has just ended
        return ""


def children(of: int) -> list[int]:
    found = Path(f"/proc/{of}/task/{of}/children").read_text().split()
    return [each for child in map(int, found) for each in (child, *children(child))]


@pytest.mark.root
def test_a_terminal_that_is_closed_takes_everything_with_it(person: InputSource) -> None:
    person.sees("host# ")
    person.types("sleep 300 & echo do''ne\r", "\ndone\r\n")
    living = children(person.process)
    assert len(living) >= 3
    os.close(person._terminal)
    person.code()
    assert eventually(lambda: all(map(gone, living)))


@pytest.mark.root
def test_a_live_wire_is_traced_there_and_back_in_order_of_time(folder: Path) -> None:
    four, six = recorded(folder, LIVE)["probes"]
    for probe in (four, six):
        assert (probe["answered"], probe["dropped"], probe["looped"]) == (True, None, None)
        times = [event["ns"] for event in probe["events"]]
        assert times == sorted(times) and 0 < times[0] < times[-1] < 500_000_000
    echo = [
        event
        for event in four["events"]
        if event["packet"].startswith("echo") or event["what"] == "program"
    ]
    there = [(e["what"], e["namespace"], e["device"]) for e in echo if e["packet"] != "echo reply"]
    from_the_echo = there[there.index(("net_dev_queue", "yogurt-1", "yg1-cont")) :]
    assert from_the_echo[:8] == [
        ("net_dev_queue", "yogurt-1", "yg1-cont"),
        ("netif_rx", "host", "yg1-host"),
        ("net_dev_xmit", "yogurt-1", "yg1-cont"),
        ("netif_receive_skb", "host", "yg1-host"),
        ("program", "host", "yg1-host"),
        ("net_dev_queue", "host", "yg2-host"),
        ("netif_rx", "yogurt-2", "yg2-cont"),
        ("net_dev_xmit", "host", "yg2-host"),
    ]
    hits = [
        (device, note)
        for what, device, note in events(four, "what", "device", "note")
        if what == "program"
    ]
    assert hits[:2] == [
        ("yg1-host", "tcx_ingress: redirect_forward"),
        ("yg2-host", "tcx_ingress: redirect_return"),
    ]


@pytest.mark.root
def test_a_dead_wire_shows_where_its_packets_die(folder: Path) -> None:
    for probe in recorded(folder, "hook=tcx_egress")["probes"]:
        assert not probe["answered"] and probe["dropped"]
        (drop, *_) = [event for event in probe["events"] if event["what"] == "kfree_skb"]
        assert drop["note"].replace(": ", ":") == probe["dropped"].partition(":")[2]


@pytest.mark.root
def test_a_looping_wire_is_silenced_and_its_beginning_is_kept(folder: Path) -> None:
    record = recorded(folder, LOOPING, "--pcap", "loop.pcapng")
    for probe in record["probes"]:
        assert 0 < probe["looped"] < 2
        assert probe["overflowed"]
    assert 200 <= record["frames"]["host:yg1-host"] <= 400


@pytest.mark.root
def test_a_wire_of_ones_own_records_its_hits(folder: Path) -> None:
    four, six = recorded(folder, "program=./mine.c")["probes"]
    for probe in (four, six):
        hits = [
            (device, note)
            for what, device, note in events(probe, "what", "device", "note")
            if what == "program"
        ]
        assert probe["answered"]
        assert {("yg1-host", "tcx_ingress: yb_wire"), ("yg2-host", "tcx_ingress: yb_wire")} == set(
            hits
        )


@pytest.mark.root
def test_a_capture_has_every_device_by_name_and_reads_back_in_tcpdump(folder: Path) -> None:
    done = visit(folder, "--cell", LIVE, "--pcap", "live.pcapng")
    assert done.returncode == 0, done.stderr
    assert "IPv4: echo from 10.42.0.1 to 10.42.0.2: answered" in done.stdout
    assert "live.pcapng: frames by device: host:yg1-host 8, host:yg2-host 8" in done.stdout
    content = (folder / "live.pcapng").read_bytes()
    assert all(
        name in content for name in (b"yogurt-1:yg1-cont", b"host:yg1-host", b"yogurt-2:yg2-cont")
    )
    if shutil.which("tcpdump"):
        argv = ["tcpdump", "-n", "-e", "-r", "live.pcapng", "icmp or arp"]
        read = subprocess.run(argv, cwd=folder, capture_output=True, text=True, check=True).stdout
        assert (
            len(re.findall("ICMP echo request", read))
            == len(re.findall("ICMP echo reply", read))
            == 4
        )
        assert "ARP" in read.splitlines()[0]


@pytest.mark.root
def test_a_trace_for_people_has_a_line_an_event(folder: Path) -> None:
    done = visit(folder, "--cell", LIVE, "--trace")
    assert done.returncode == 0
    lines = done.stdout.splitlines()
    assert lines[0] == "IPv4: echo from 10.42.0.1 to 10.42.0.2: answered"
    assert lines[1].split() == ["ns", "event", "where", "packet", "note"]
    assert re.fullmatch(r" +[\d,]+  net_dev_queue +yogurt-1:yg1-cont +#1 ARP request", lines[2])
    assert "emulated" not in done.stdout


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (
            ["--cell", "hook=tcx_ingres"],
            "hook does not know 'tcx_ingres': did you mean tcx_ingress?",
        ),
        (["--cell", "tc_ingres"], "did you mean hook=tc_ingress?"),
        (
            ["--cell", LIVE, "--pcap", "nowhere/x.pcapng"],
            "--pcap nowhere/x.pcapng: cannot be written (No such file",
        ),
        (["--cell", LIVE, "--pcap", "."], "--pcap .: cannot be written (Is a directory)"),
        (["--cell", LIVE, "--trace", "--", "true"], "cannot be combined with a command"),
    ],
)
def test_wishes_that_cannot_be_are_reported_before_anything_is_brought_up(
    folder: Path, arguments: list[str], words: str
) -> None:
    before = sorted(path.name for path in folder.iterdir())
    done = visit(folder, *arguments)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert words in done.stderr
    assert sorted(path.name for path in folder.iterdir()) == before
