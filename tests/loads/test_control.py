"""No wire is called dead where nobody could have known: rights, families and buffers that are
missing, and no IPv6.
"""

from __future__ import annotations

import errno
import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from refusing import SENDTO, SOCKET, refuse
from trials import DIRECT, WIRE, trial

from yogurtbench.agent.trial import run_trial
from yogurtbench.ebpf.programs import Programs
from yogurtbench.lab import namespace, topology
from yogurtbench.loads import control, probes
from yogurtbench.loads.asking import CannotAsk, probing

InRoom = Callable[..., Any]
Axes = dict[str, Any]

DEAD = {**WIRE, "helper": "redirect_neigh"}
RAW_ECHO = {"0": socket.AF_INET, "1": socket.SOCK_RAW}


def tried(load: str, **axes: Any) -> Axes:
    """What became of a trial: its status, and by metric its value, or status and reason."""
    attempt = run_trial(trial(load, **axes), Programs())
    rows = {
        o.metric: o.value if o.status == "ok" else [o.status, o.error] for o in attempt.observations
    }
    return {
        "status": attempt.status,
        "error": attempt.error,
        **rows,
        "seconds": sum(attempt.seconds.values()),
    }


def refused(
    call: int, number: int, arguments: dict[str, int], *trials: tuple[str, Axes]
) -> list[Axes]:
    refuse(call, number, arguments)
    return [tried(load, **axes) for load, axes in trials]


# -- errors ----------------------------------------------------------------------------------------

OURS = [
    "EPERM",
    "EACCES",
    "EAFNOSUPPORT",
    "EPROTONOSUPPORT",
    "ENOPROTOOPT",
    "ENOBUFS",
    "ENOMEM",
    "EMFILE",
    "ENFILE",
]
OURS += ["EADDRNOTAVAIL", "EADDRINUSE", "EINVAL", "ENODEV", "ENOSYS", "ENETUNREACH"]
THEIRS = ["EHOSTUNREACH", "ECONNREFUSED", "ECONNRESET", "ETIMEDOUT", "EPIPE", "ENETDOWN"]


@pytest.mark.parametrize("name", OURS)
def test_an_error_of_ours_is_no_answer(name: str) -> None:
    number = getattr(errno, name)
    with (
        pytest.raises(CannotAsk, match=rf"could not ask over TCP: a socket: .* \({name}\)"),
        probing("TCP", "a socket"),
    ):
        raise OSError(number, os.strerror(number))


@pytest.mark.parametrize("name", THEIRS)
def test_what_the_network_says_stays_what_it_is(name: str) -> None:
    number = getattr(errno, name)
    with pytest.raises(OSError, match=os.strerror(number)), probing("TCP", "connecting"):
        raise OSError(number, os.strerror(number))


@given(st.integers(0, 4096))
def test_every_number_is_either(number: int) -> None:
    with pytest.raises((OSError, CannotAsk)), probing("IPv4", "an echo"):
        raise OSError(number, "some words")


# -- a slow exchange -------------------------------------------------------------------------------


def carry_back(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):  # the test is over
        target.sendall(source.recv(1))


def pump(source: socket.socket, target: socket.socket, pause: float, limit: int) -> None:
    """Carry bytes slowly, and no more than the limit; the other way at once."""
    while limit > 0 and (piece := source.recv(min(4096, limit))):
        time.sleep(pause)
        target.sendall(piece)
        limit -= len(piece)


@pytest.mark.parametrize(("limit", "arrives"), [(65_536, True), (40_000, False)])
def test_a_tcp_exchange_fails_when_it_stalls_and_not_when_it_is_slow(
    monkeypatch: pytest.MonkeyPatch, limit: int, arrives: bool
) -> None:
    """Sixteen pieces of 20 ms each take longer than the 200 ms for which nothing may move."""
    monkeypatch.setattr(probes, "_STALLED", 0.2)
    client, near = socket.socketpair()
    far, served = socket.socketpair()
    there = threading.Thread(target=pump, args=(near, far, 0.02, limit), daemon=True)
    back = threading.Thread(target=carry_back, args=(far, near), daemon=True)
    there.start()
    back.start()
    began = time.monotonic()
    client.setblocking(False)
    assert probes._talk(client, served) is arrives
    assert time.monotonic() - began > 0.2
    for end in (client, near, far, served):
        end.shutdown(socket.SHUT_RDWR)
    there.join()
    back.join()
    for end in (client, near, far, served):
        end.close()


# -- the machine refuses ---------------------------------------------------------------------------


@pytest.mark.root
@pytest.mark.parametrize(
    "number", [errno.EPERM, errno.EMFILE, errno.ENOBUFS, errno.EPROTONOSUPPORT]
)
def test_a_refused_socket_makes_no_dead_wire(in_room: InRoom, number: int) -> None:
    loads = ("reachability", WIRE), ("ping", WIRE), ("isolation", WIRE), ("reachability", DEAD)
    seen, ping, isolation, dead = in_room(refused, SOCKET, number, RAW_ECHO, *loads)
    name = errno.errorcode[number]
    for found in (seen, dead):
        assert found["status"] == "failed"
        assert found["reachable"][0] == "failed"
        assert found["reachable"][1].startswith("could not ask over IPv4: a raw ICMP socket: ")
        assert name in found["reachable"][1]
    assert (seen["reachable_v6"], seen["tcp_ok"]) == (1, 1)
    assert (dead["reachable_v6"], dead["tcp_ok"]) == (0, 0)
    assert (ping["status"], name in ping["error"]) == ("failed", True)
    assert isolation["host_ping"][0] == "failed" and name in isolation["host_ping"][1]
    assert isolation["eavesdrop_host_a"] == 1


@pytest.mark.root
def test_an_address_family_that_is_not_there_says_nothing_about_the_other(in_room: InRoom) -> None:
    loads = ("reachability", WIRE), ("ping", WIRE), ("ping", {**WIRE, "ip": 6})
    seen, four, six = in_room(refused, SOCKET, errno.EAFNOSUPPORT, {"0": socket.AF_INET6}, *loads)
    assert (seen["reachable"], seen["tcp_ok"], seen["reachable_v6"][0]) == (1, 1, "failed")
    assert "EAFNOSUPPORT" in seen["reachable_v6"][1]
    assert four["status"] == "ok"
    assert six["status"] == "failed" and "could not ask over IPv6" in six["error"]


@pytest.mark.root
def test_tcp_that_cannot_be_asked_is_not_refused_by_the_wire(in_room: InRoom) -> None:
    stream = {"0": socket.AF_INET, "1": socket.SOCK_STREAM}
    (seen,) = in_room(refused, SOCKET, errno.EACCES, stream, ("reachability", WIRE))
    assert (seen["reachable"], seen["tcp_ok"][0]) == (1, "failed")
    assert (
        seen["tcp_ok"][1].startswith("could not ask over TCP: ") and "EACCES" in seen["tcp_ok"][1]
    )


@pytest.mark.root
def test_packet_sockets_that_are_refused_hear_nothing_and_say_so(in_room: InRoom) -> None:
    loads = ("isolation", WIRE), ("isolation", DEAD), ("isolation", DIRECT)
    for found in in_room(refused, SOCKET, errno.EPERM, {"0": socket.AF_PACKET}, *loads):
        assert found["status"] == "failed"
        raw = [
            metric
            for metric in found
            if metric.startswith(("eavesdrop", "inject_raw", "inject_bypass"))
        ]
        for metric in raw:
            assert (
                found[metric][0] == "failed"
                and "could not ask over packet sockets" in found[metric][1]
            )
        assert found["host_ping"] == 0


@pytest.mark.root
def test_what_is_swallowed_before_it_reaches_a_wire_makes_none_dead(in_room: InRoom) -> None:
    """The kernel says that the request was sent, and it was not: only the control on a plain pair
    can tell.
    """
    loads = ("reachability", WIRE), ("ping", WIRE), ("reachability", DIRECT)
    seen, ping, direct = in_room(refused, SENDTO, 0, {"2": 25}, *loads)
    for found in (seen, direct):
        assert (found["reachable"][0], found["reachable_v6"][0]) == ("failed", "failed")
        assert (
            "over a plain veth pair without any program there is no answer either"
            in found["reachable"][1]
        )
        assert found["tcp_ok"] == 1
    assert ping["status"] == "failed" and "could not ask over IPv4" in ping["error"]


def controls() -> dict[str, str]:
    return dict(control.unmeasurable())


@pytest.mark.root
def test_where_nothing_is_missing_the_control_finds_nothing(in_room: InRoom) -> None:
    assert in_room(controls) == {}
    (dead,) = in_room(
        refused, SOCKET, errno.EPERM, {"0": socket.AF_BLUETOOTH}, ("reachability", DEAD)
    )
    assert (dead["status"], dead["reachable"], dead["reachable_v6"], dead["tcp_ok"]) == (
        "ok",
        0,
        0,
        0,
    )


MATRIX = """
name: m
lab: native
axes: {device: veth, hook: tcx_ingress, helper: redirect}
loads: [reachability, {kind: ping, count: 5, interval: 10ms}]
blocks: {min: 1, max: 1}
"""


def run_with(folder: Path, matrix: str, *before: str) -> tuple[int, str, list[Axes]]:
    (folder / "m.yaml").write_text(matrix)
    argv = [*before, sys.executable, "-P", "-m", "yogurtbench", "run", "m.yaml"]
    done = subprocess.run(
        argv, cwd=folder, capture_output=True, text=True, timeout=120, check=False
    )
    lines = [
        line
        for file in folder.glob("results/*/*/trials.jsonl")
        for line in file.read_text().splitlines()
    ]
    return done.returncode, done.stderr, [json.loads(line) for line in lines]


@pytest.mark.root
def test_a_run_without_the_right_to_ask_fails_with_the_reason(tmp_path: Path) -> None:
    matrix = MATRIX.replace("kind: ping, count: 5, interval: 10ms", "kind: sockperf, duration: 1s")
    code, said, attempts = run_with(
        tmp_path, matrix, "setpriv", "--bounding-set=-net_raw", "--inh-caps=-net_raw"
    )
    assert code == 3
    assert "the capability CAP_NET_RAW is missing" in said
    assert {attempt["status"] for attempt in attempts} == {"failed"}
    rows = [row for attempt in attempts for row in attempt["observations"]]
    assert not any(row["value"] == 0 for row in rows)


@pytest.mark.root
def test_a_run_that_gave_no_value_at_all_ends_with_3(tmp_path: Path) -> None:
    """Every trial unsupported: two CPUs are wanted and one may be used."""
    matrix = MATRIX.replace(
        "[reachability, {kind: ping, count: 5, interval: 10ms}]", "[{kind: ping, count: 5}]"
    )
    one_cpu = ["taskset", "-c", str(min(os.sched_getaffinity(0)))]
    code, said, attempts = run_with(
        tmp_path, matrix.replace("redirect}", "redirect, cpus: split}"), *one_cpu
    )
    assert (code, {attempt["status"] for attempt in attempts}) == (3, {"unsupported"}), said
    assert "nothing could be measured: cpus split needs two CPUs" in said


@pytest.mark.root
def test_doctor_shares_the_control_and_says_what_cannot_be_measured() -> None:
    argv = [
        "setpriv",
        "--bounding-set=-net_raw",
        "--inh-caps=-net_raw",
        sys.executable,
        "-P",
        "-m",
        "yogurtbench",
    ]
    done = subprocess.run(
        [*argv, "doctor", "--json"], capture_output=True, text=True, timeout=120, check=False
    )
    found = {finding["what"]: finding for finding in json.loads(done.stdout)}
    for question in ("IPv4", "IPv6", "packet sockets"):
        finding = found[f"asking over {question}"]
        assert (
            finding["state"] == "limited"
            and "the capability CAP_NET_RAW is missing" in finding["detail"]
        )
    assert found["asking over TCP"]["state"] == found["asking over UDP"]["state"] == "ok"
    assert "asking over IPv4" in found["native lab"]["detail"]


# -- no IPv6 to be had -----------------------------------------------------------------------------

TOPOLOGIES = ("wire", "direct", "bridge", "routed", "loopback", "uplink")


def axes_of(name: str) -> Axes:
    return {"wire": WIRE, "uplink": {"device": "veth", "topology": "uplink"}}.get(
        name, {**DIRECT, "topology": name}
    )


def without_ipv6(*trials: tuple[str, Axes]) -> list[Axes]:
    """Trials in namespaces whose devices are made with IPv6 switched off."""
    created = namespace.create

    def create(name: str) -> namespace.Namespace:
        made = created(name)
        for key in ("all", "default"):
            made.sysctl(f"ipv6/conf/{key}/disable_ipv6", 1)
        return made

    topology.namespace.create = create
    for key in ("all", "default"):
        namespace.host().sysctl(f"ipv6/conf/{key}/disable_ipv6", 1)
    return [tried(load, **axes) for load, axes in trials]


def small(*trials: tuple[str, Axes]) -> list[Axes]:
    return [tried(load, **axes) for load, axes in trials]


def is_ipv4_only(found: Axes, reason: str) -> bool:
    assert found["status"] == "ok", found
    assert (found["reachable"], found["tcp_ok"]) == (1, 1)
    assert found["reachable_v6"][0] == "unsupported" and reason in found["reachable_v6"][1]
    return bool(found["seconds"] < 5)


@pytest.mark.root
def test_ipv4_stays_measurable_on_a_machine_without_ipv6(in_room: InRoom) -> None:
    asked = [("reachability", axes_of(name)) for name in TOPOLOGIES]
    rest: list[tuple[str, Axes]] = [
        ("ping", WIRE),
        ("ping", {**WIRE, "ip": 6}),
        ("isolation", WIRE),
        ("reachability", DEAD),
    ]
    *found, four, six, isolation, dead = in_room(without_ipv6, *asked, *rest)
    assert all(is_ipv4_only(one, "IPv6 is switched off here") for one in found)
    assert four["status"] == "ok"
    assert six["status"] == "unsupported" and "IPv6 is switched off here" in six["error"]
    assert isolation["status"] == "ok"
    assert (dead["status"], dead["reachable"], dead["reachable_v6"][0]) == ("ok", 0, "unsupported")


@pytest.mark.root
@pytest.mark.parametrize("mtu", [68, 576, 1000, 1279])
def test_ipv4_stays_measurable_over_a_small_mtu(in_room: InRoom, mtu: int) -> None:
    asked = [("reachability", {**axes_of(name), "mtu": mtu}) for name in TOPOLOGIES]
    static = {**WIRE, "mtu": mtu, "neighbours": "static"}
    *found, ping, isolation = in_room(small, *asked, ("ping", static), ("isolation", static))
    assert all(is_ipv4_only(one, "IPv6 needs an mtu of at least 1280") for one in found)
    assert (ping["status"], isolation["status"]) == ("ok", "ok"), (ping, isolation)


@pytest.mark.root
def test_from_1280_on_there_is_ipv6(in_room: InRoom) -> None:
    (found,) = in_room(small, ("reachability", {**WIRE, "mtu": 1280}))
    assert (found["reachable"], found["reachable_v6"]) == (1, 1)
