"""Isolation: who captures from veth wires of this kernel, and who injects into them.

No no without its control.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from trials import DIRECT, WIRE, trial

from yogurtbench.agent.trial import run_trial
from yogurtbench.core.metrics import METRICS_OF
from yogurtbench.ebpf.wire import Programs
from yogurtbench.lab import bring_up, packet_socket
from yogurtbench.loads import isolation, raw, unprivileged
from yogurtbench.loads.base import LoadContext
from yogurtbench.loads.isolation import EAVESDROPS, Verdicts
from yogurtbench.loads.packets import checksum, echo_request, udp_packet

InRoom = Callable[..., Any]

LISTEN = dict(zip(EAVESDROPS, (1.0, 1.0, 1.0), strict=True))
TALK = {"inject_raw": 1.0, "inject_bypass": 1.0, "inject_unprivileged": 1.0, "inject_raw_a": 0.0}
OPEN = {**LISTEN, **TALK, "host_ping": 0.0}
ROUTED, BRIDGE = ({**DIRECT, "topology": topology} for topology in ("routed", "bridge"))


def asked(*wires: dict[str, Any]) -> list[dict[str, Any]]:
    programs, found = Programs(), []
    for wire in wires:
        attempt = run_trial(trial("isolation", **wire), programs)
        rows = [o for o in attempt.observations if o.metric in METRICS_OF["isolation"]]
        answers = {o.metric: o.value if o.status == "ok" else [o.status, o.error] for o in rows}
        found.append(
            {
                "status": attempt.status,
                "error": attempt.error,
                "answers": answers,
                **attempt.details,
            }
        )
    return found


@pytest.mark.root
def test_who_listens_in_depends_on_where_the_wire_takes_the_packet(in_room: InRoom) -> None:
    redirect, peer, generic = in_room(
        asked, WIRE, {**WIRE, "helper": "redirect_peer"}, {**WIRE, "hook": "xdp_generic"}
    )
    assert redirect["answers"] == OPEN
    # redirect_peer goes around the transmission on end b, generic XDP comes before the taps on a
    # and goes around b's.
    assert peer["answers"] == {**OPEN, "eavesdrop_host_b": 0}
    assert generic["answers"] == {**OPEN, **dict.fromkeys(EAVESDROPS, 0)}
    assert {one["status"] for one in (redirect, peer, generic)} == {"ok"}


@pytest.mark.root
def test_a_host_that_forwards_hears_all_and_a_router_also_pings(in_room: InRoom) -> None:
    bridge, routed = in_room(asked, BRIDGE, ROUTED)
    assert bridge["answers"] == OPEN
    assert routed["answers"] == {**OPEN, "host_ping": 1}
    # A bridge port lends nobody an address: only the limited broadcast gets by without one.
    assert bridge["isolation"]["unprivileged"]["arrived"] == ["broadcast"]
    assert routed["isolation"]["unprivileged"]["arrived"] == list(unprivileged.WAYS)


@pytest.mark.root
def test_without_host_ends_nothing_is_said_about_them(in_room: InRoom) -> None:
    for found in in_room(asked, DIRECT, {**DIRECT, "topology": "loopback"}):
        assert found["answers"] == {"eavesdrop_any": 0, "host_ping": 0}


@pytest.mark.root
def test_a_dead_wire_is_not_listened_to_but_still_talked_into(in_room: InRoom) -> None:
    (dead,) = in_room(asked, {**WIRE, "helper": "redirect_neigh"})
    assert dead["status"] == "ok" and dead["isolation"]["carried"] is False
    assert {dead["answers"][metric][0] for metric in EAVESDROPS} == {"skipped"}
    assert "nothing to capture" in dead["answers"]["eavesdrop_any"][1]
    assert {metric: dead["answers"][metric] for metric in TALK} == TALK


@pytest.mark.root
def test_what_an_egress_program_took_was_never_handed_to_the_device(in_room: InRoom) -> None:
    (dead,) = in_room(asked, {**WIRE, "hook": "tcx_egress"})
    status, error = dead["answers"]["inject_raw"]
    assert status == "skipped" and "yg2-host was never handed the frame" in error
    assert dead["answers"]["inject_bypass"] == 1  # past the hook, into the container


# -- controls that fail ----------------------------------------------------------------------------


def sabotaged(how: str) -> dict[str, Any]:
    _SABOTAGE[how]()
    with bring_up(trial("isolation", **BRIDGE).cell) as network:
        network.settle()
        measured = isolation.run(LoadContext(network, trial("isolation", **BRIDGE)))
    return {"values": measured.values, "missing": measured.missing}


def deaf() -> None:
    packet_socket.ETH_P_ALL = 0x88B6  # the sniffers hear another protocol only


def mute() -> None:
    raw.Transmitter.send = lambda self, *frame, **how: ""  # type: ignore[method-assign]  # says so, sends nothing


def privileged() -> None:
    unprivileged._UID = 0


def hung() -> None:
    def hangs(*_: Any) -> dict[str, Any]:
        while True:
            pass

    unprivileged._send_as_other_user = hangs


def lost() -> None:
    """Yogurt-2 hears the first datagram, and nothing after it."""
    once, hear = isolation._eavesdrop, isolation.UdpReceiver._collect

    def eavesdrop(*arguments: Any) -> None:
        once(*arguments)
        isolation.UdpReceiver._collect = lambda self, patience: (
            hear(self, patience) and self.got.clear() is not None
        )  # type: ignore[method-assign]

    isolation._eavesdrop = eavesdrop


_SABOTAGE = {one.__name__: one for one in (deaf, mute, hung, lost)}


@pytest.mark.root
@pytest.mark.parametrize(
    ("how", "metrics", "said"),
    [
        ("deaf", EAVESDROPS, "the socket did not see a control frame sent through yg"),
        ("mute", ("inject_raw", "inject_bypass"), "yg2-host was never handed the frame"),
        ("mute", ("inject_raw_a",), "yg1-host was never handed the frame"),
        ("hung", ("inject_unprivileged",), "the unprivileged sender did not report"),
        ("lost", tuple(TALK), "the receiver got no control datagram either"),
    ],
)
def test_a_no_whose_control_failed_is_no_answer(
    in_room: InRoom, how: str, metrics: tuple[str, ...], said: str
) -> None:
    found = in_room(sabotaged, how)
    for metric in metrics:
        assert metric not in found["values"]
        status, error = found["missing"][metric]
        assert status == "failed" and said in error


def test_a_yes_needs_no_control_and_a_failed_one_fails_live_wires_only() -> None:
    live, dead = Verdicts(carried=True), Verdicts(carried=False)
    for verdicts in (live, dead):
        verdicts.judge("inject_raw", True, "the control failed")
        verdicts.judge("inject_bypass", False, "")
        verdicts.judge("host_ping", False, "the control failed")
        assert verdicts.values == {"inject_raw": 1, "inject_bypass": 0}
    assert live.missing["host_ping"][0] == "failed" and dead.missing["host_ping"][0] == "skipped"


def as_nobody() -> list[Any]:
    sent = unprivileged.send_unprivileged("lo", "127.0.0.1", 9, [b"one", b"two"])
    return [sent.ways, sent.errors, sent.capabilities]


def as_somebody() -> int:
    privileged()
    return unprivileged.send_unprivileged("lo", "127.0.0.1", 9, [b"one", b"two"]).capabilities


@pytest.mark.root
def test_the_unprivileged_sender_has_no_capability_left(in_room: InRoom) -> None:
    ways, errors, capabilities = in_room(as_nobody)
    assert (
        "unicast" in ways
        and not [e for e in errors if e.startswith("unicast")]
        and capabilities == 0
    )
    assert in_room(as_somebody) != 0  # the check can tell


# -- packets made by hand --------------------------------------------------------------------------


@given(payload=st.binary(max_size=1400), port=st.integers(1, 65_535))
def test_a_udp_packet_is_one(payload: bytes, port: int) -> None:
    packet = udp_packet("10.42.0.1", "10.42.0.2", port, payload)
    assert checksum(packet[:20]) == 0  # a header with its checksum in it sums to nothing (RFC 1071)
    length, protocol = struct.unpack("!H", packet[2:4])[0], packet[9]
    assert (length, protocol, packet[12:20]) == (
        len(packet),
        17,
        bytes([10, 42, 0, 1, 10, 42, 0, 2]),
    )
    assert struct.unpack("!HHHH", packet[20:28]) == (port, port, 8 + len(payload), 0)
    assert packet[28:] == payload


@given(body=st.binary(max_size=64))
def test_an_echo_request_is_one(body: bytes) -> None:
    request = echo_request(4, 0, 1, body)
    assert request[0] == 8 and checksum(request) == 0 and request[8:] == body
