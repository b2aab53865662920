"""Drops under load: counted by function and reason, as many as the kernel's own counters say, in
diagnoses alone.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from trials import LOSSY, WIRE, cell, trial

from yogurtbench.agent.trial import run_trial
from yogurtbench.ebpf import tracer
from yogurtbench.ebpf.drops import counting, tally
from yogurtbench.ebpf.programs import Programs
from yogurtbench.ebpf.wire import attach_wire
from yogurtbench.lab import Lab, bring_up
from yogurtbench.loads.probes import is_reachable

InRoom = Callable[..., Any]


def test_places_of_one_function_and_reason_are_one_and_the_most_come_first() -> None:
    rows = [
        ("ip_rcv_core.isra.0+0x5", "NOT_SPECIFIED", 2),
        ("udp_queue_rcv_one_skb", "SOCKET_RCVBUFF", 7),
        ("ip_rcv_core", "IP_CSUM", 2),
        ("ip_rcv_core+0x1b", "NOT_SPECIFIED", 3),
        ("netkit_xmit [netkit]", "77", 2),
    ]
    assert list(tally(rows).items()) == [
        ("udp_queue_rcv_one_skb:SOCKET_RCVBUFF", 7),
        ("ip_rcv_core:NOT_SPECIFIED", 5),
        ("ip_rcv_core:IP_CSUM", 2),
        ("netkit_xmit:77", 2),
    ]
    assert tally([]) == {}


def receive_buffer_errors(lab: Lab) -> int:
    """UDP's own count (proc(5), /proc/net/snmp)."""
    with lab.server.namespace.entered():
        names, values = [
            line.split()
            for line in Path("/proc/thread-self/net/snmp").read_text().splitlines()
            if "Udp:" in line
        ][:2]
    return int(dict(zip(names, values, strict=True))["RcvbufErrors"])


def overfill(lab: Lab, datagrams: int) -> None:
    """Send to a socket in yogurt-2 that nobody reads, and to a port that is nobody's."""
    with lab.server.namespace.entered():
        full = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    with lab.client.namespace.entered():
        sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    with full, sender:
        full.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        full.bind((lab.server.ipv4, 0))
        for _ in range(datagrams):
            sender.sendto(bytes(1000), full.getsockname())
        sender.sendto(bytes(10), (lab.server.ipv4, 9))


def overfilled(looked_at: str) -> dict[str, Any]:
    """What is counted in one namespace while another one's socket is full, and after nobody looks
    any more.
    """
    programs = Programs()
    with bring_up(cell(**WIRE)) as lab, attach_wire(programs, lab):
        lab.settle()
        assert is_reachable(lab, 4)
        before = receive_buffer_errors(lab)
        with counting(programs.drops(), [getattr(lab, looked_at).namespace]) as drops:
            overfill(lab, 300)
            refused = receive_buffer_errors(lab) - before
        overfill(lab, 50)
        return {"counted": drops.counted(), "refused": refused}


def by_reason(counted: dict[str, int]) -> dict[str, int]:
    return {site.partition(":")[2]: count for site, count in counted.items()}


@pytest.mark.root
@pytest.mark.skipif(not tracer.layout(), reason="this kernel has no BTF")
def test_a_full_socket_drops_exactly_what_udp_says_it_refused(in_room: InRoom) -> None:
    found = in_room(overfilled, "server")
    reasons = by_reason(found["counted"])
    assert reasons["NO_SOCKET"] == 1
    assert reasons["SOCKET_RCVBUFF"] == found["refused"] > 200


@pytest.mark.root
@pytest.mark.skipif(not tracer.layout(), reason="this kernel has no BTF")
def test_what_is_dropped_in_other_namespaces_is_not_counted(in_room: InRoom) -> None:
    found = in_room(overfilled, "client")
    assert found["refused"] > 200
    assert not {"SOCKET_RCVBUFF", "NO_SOCKET"} & set(by_reason(found["counted"]))


#: Carries what is small, and every other of what is large.


def dropped_by_the_wire() -> dict[str, Any]:
    lossy = trial(
        "iperf3_udp", options={"source": LOSSY}, **WIRE, payload=1400, program="./lossy.c"
    )
    attempt = run_trial(replace(lossy, role="diagnostic"), Programs())
    return {"status": attempt.status, "error": attempt.error, **attempt.details}


@pytest.mark.root
@pytest.mark.skipif(not tracer.layout(), reason="this kernel has no BTF")
def test_what_a_wire_drops_is_counted_one_by_one(in_room: InRoom) -> None:
    found = in_room(dropped_by_the_wire)
    assert found["status"] == "ok", found["error"]
    dropped = found["tallies"]["forward"][0][0]
    assert dropped > 1000
    assert (
        sum(count for site, count in found["drops"].items() if site.endswith(":TC_INGRESS"))
        == dropped
    )


def diagnosed(role: str, seen: bool) -> dict[str, Any]:
    if not seen:
        tracer.layout.cache_clear()
        tracer.btf.VMLINUX = Path("/nonexistent")
    one = trial("iperf3_udp", **WIRE, payload=1400)
    attempt = run_trial(replace(one, role=role), Programs())  # type: ignore[arg-type]
    return {"status": attempt.status, "error": attempt.error, **attempt.details}


@pytest.mark.root
@pytest.mark.skipif(not tracer.layout(), reason="this kernel has no BTF")
def test_a_diagnosis_under_a_lossy_load_says_what_was_dropped(in_room: InRoom) -> None:
    found = in_room(diagnosed, "diagnostic", True)
    assert found["status"] == "ok", found["error"]
    assert any("SOCKET_RCVBUFF" in site and count > 100 for site, count in found["drops"].items())
    assert found["run_times"].keys() == {"wire.forward", "wire.return"}


@pytest.mark.root
@pytest.mark.parametrize(("role", "seen"), [("cell", True), ("diagnostic", False)])
def test_other_trials_and_kernels_without_btf_count_none(
    in_room: InRoom, role: str, seen: bool
) -> None:
    found = in_room(diagnosed, role, seen)
    assert found["status"] == "ok", found["error"]
    assert "drops" not in found
