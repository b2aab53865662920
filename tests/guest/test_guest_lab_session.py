"""A visit to labs in the guest: a shell there, and what is recorded of a live and of a dead netkit
wire. One boot.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from trials import trial

from yogurtbench.hosts.base import AgentHost
from yogurtbench.hosts.vm.host import host
from yogurtbench.runner import lab_session
from yogurtbench.runner.lab_session import LabOptions

pytestmark = pytest.mark.vm

LIVE = trial(device="netkit", hook="netkit_peer", helper="redirect")
DEAD = trial(device="netkit", hook="netkit_peer", helper="redirect_peer")


@pytest.fixture(scope="module")
def guest() -> Iterator[AgentHost]:
    """One of its own: in a guest that others used before, their programs are still loaded."""
    with host("host", print) as booted:
        yield booted


@pytest.fixture
def typed(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """``typed(text)``: our standard input is a pipe with the text in it."""
    kept = os.dup(0)

    def prepare(text: str) -> None:
        told, tell = os.pipe()
        os.write(tell, text.encode())
        os.close(tell)
        os.dup2(told, 0)
        os.close(told)

    yield prepare
    os.dup2(kept, 0)
    os.close(kept)


def test_a_shell_in_the_guest_reads_commands_from_a_pipe(
    guest: AgentHost, typed: Any, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    typed(
        "yogurt-1 ping -c1 -W5 10.42.0.2 | grep -o '1 received'\nbpftool prog show | grep -c "
        "redirect_\n"
        "timeout 20 tcpdump -ni yg2-host -c1 icmp 2> said &\n"
        "until grep -q listening said; do sleep 0.1; kill -0 $! || exit 3; done\n"
        "yogurt-1 ping -c1 -W5 10.42.0.2 > /dev/null; wait\nprintf '\\377\\n'; exit 7\n"
    )
    said: list[str] = []
    assert lab_session.run_in_lab(guest, LIVE, LabOptions(), said.append) == 7
    out = capfdbinary.readouterr().out
    (plan,) = said
    assert "1001  yg1-host  netkit l3  mtu 1500   up  ── yogurt-1:yg1-cont" in plan
    assert "netkit_peer: redirect_forward (program " in plan and "calls bpf_redirect)" in plan
    assert "netkit_primary: primary_pass_return (program " in plan
    assert "not installed" not in plan
    lines = out.splitlines()
    assert lines[0] == b"1 received"
    assert lines[1] == b"2"
    assert b"10.42.0.1 > 10.42.0.2: ICMP echo request" in lines[2]
    assert lines[3] == b"\xff"


#: A terminal's abilities must be known for top and less.
PAGER = (
    "python3 -c 'import curses; curses.setupterm()' && echo kno''wn, $(less -V | grep -o "
    "'^less [0-9]*')\r"
)


class Typist:
    """Somebody at a terminal who types a line each time the prompt has come, and Ctrl-C (0x03)
    among them.
    """

    def __init__(self, *lines: str) -> None:
        self._lines = list(lines)
        self._told, self._tell = os.pipe()
        self.descriptors = [self._told]
        self.seen = ""

    def heard(self, event: dict[str, Any]) -> None:
        if event["event"] != "bytes":
            return
        self.seen += event["bytes"]
        if self.seen.endswith("host# ") or self.seen.endswith("sleeps\r\n"):
            os.write(self._tell, b"!")

    def said(self, descriptor: int) -> dict[str, Any]:
        os.read(descriptor, 1)
        return {"op": "typed", "bytes": self._lines.pop(0)}


def test_a_shell_in_the_guest_has_a_terminal_of_its_own(guest: AgentHost) -> None:
    # What says so is the foreground job itself: Ctrl-C cannot meet the shell between two commands.
    sleeper = "sh -c 'echo sle\"\"eps; exec sleep 60'"
    typist = Typist(
        f"stty size; {sleeper}\r", "\x03", "echo went $?\r", PAGER, "sleep 60 &\r", "exit 9\r"
    )
    order = {
        "op": "shell",
        "trial": LIVE.to_json(),
        "terminal": {"rows": 31, "columns": 97, "term": "xterm"},
    }
    assert guest.ordered(order, typist.heard, lambda: typist) == 9
    assert "31 97" in typist.seen
    assert "went 130" in typist.seen
    assert re.search(r"known, less \d", typist.seen)
    assert f"lab {LIVE.cell.id} host# " in typist.seen


def recorded(
    guest: AgentHost, capfd: pytest.CaptureFixture[str], one: Any, **wishes: Any
) -> dict[str, Any]:
    capfd.readouterr()
    assert (
        lab_session.run_in_lab(guest, one, LabOptions(as_json=True, trace=True, **wishes), print)
        == 0
    )
    record: dict[str, Any] = json.loads(capfd.readouterr().out)
    return record


def test_a_live_netkit_wire_is_recorded_and_captured(
    guest: AgentHost, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    record = recorded(guest, capfd, LIVE, pcap=tmp_path / "live.pcapng")
    assert [(p["ip"], p["answered"], p["dropped"], p["looped"]) for p in record["probes"]] == [
        (4, True, None, None),
        (6, True, None, None),
    ]
    for probe in record["probes"]:
        times = [event["ns"] for event in probe["events"]]
        assert times == sorted(times) and 0 < times[0] < times[-1] < 500_000_000
        hits = [
            (event["device"], event["note"])
            for event in probe["events"]
            if event["what"] == "program"
        ]
        assert hits[0] == ("yg1-host", "netkit_peer: redirect_forward")
        assert ("yg2-host", "netkit_peer: redirect_return") in hits
        assert {"net_dev_queue", "net_dev_xmit", "netif_receive_skb"} <= {
            event["what"] for event in probe["events"]
        }
    assert record["frames"]["yogurt-1:yg1-cont"] == record["frames"]["yogurt-2:yg2-cont"] == 4
    assert record["accelerator"] in ("kvm", "tcg")
    if shutil.which("tcpdump"):
        argv = ["tcpdump", "-n", "-r", str(tmp_path / "live.pcapng"), "icmp"]
        read = subprocess.run(argv, capture_output=True, text=True, check=True).stdout
        assert "10.42.0.1 > 10.42.0.2: ICMP echo request" in read
        assert "10.42.0.2 > 10.42.0.1: ICMP echo reply" in read


def test_a_dead_netkit_wire_shows_where_it_dies(
    guest: AgentHost, capfd: pytest.CaptureFixture[str]
) -> None:
    record = recorded(guest, capfd, DEAD)
    for probe in record["probes"]:
        assert not probe["answered"]
        drops = [event for event in probe["events"] if event["what"] == "kfree_skb"]
        assert drops[0]["note"] == probe["dropped"].replace(":", ": ")
        before = [event["what"] for event in probe["events"] if event["ns"] < drops[0]["ns"]]
        assert before[0] == "net_dev_queue" and before[-1] == "program"
