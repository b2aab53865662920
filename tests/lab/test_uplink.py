"""North-south: an outside namespace, the host's uplink, the container behind it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from trials import cell, trial

from yogurtbench.agent.trial import run_trial
from yogurtbench.ebpf.wire import Programs, attachments

VETH = {"device": "veth", "topology": "uplink"}
Answers = dict[str, dict[str, Any]]


def asked(*wires: dict[str, Any]) -> list[dict[str, Any]]:
    programs = Programs()
    found = []
    for wire in wires:
        attempt = run_trial(trial("reachability", **VETH, **wire), programs)
        seen = {o.metric: o.value if o.text is None else o.text for o in attempt.observations}
        found.append({"status": attempt.status, "error": attempt.error, **seen, **attempt.details})
    return found


def ping_through(wire: dict[str, Any]) -> list[Any]:
    programs = Programs()
    attempts = [run_trial(trial("ping", **VETH, **wire, ip=ip), programs) for ip in (4, 6)]
    return [[a.status, a.error, a.details.get("counters")] for a in attempts]


def test_the_default_goes_in_by_redirect_peer_on_the_uplink_and_out_by_redirect_neigh() -> None:
    for device, hook in (("netkit", "netkit_peer"), ("veth", "tcx_ingress")):
        inward, outward = (
            a for a in attachments(cell(topology="uplink", device=device)) if a.role == "wire"
        )
        assert (inward.end, inward.hook, inward.program) == (
            "a",
            "tcx_ingress",
            "redirect_peer_forward",
        )
        assert (outward.end, outward.hook, outward.program) == ("b", hook, "redirect_neigh_return")


def test_no_netkit_program_hangs_on_the_uplink() -> None:
    attached = attachments(
        cell(topology="uplink", device="netkit", primary="pass", return_hook="tcx_ingress")
    )
    assert {a.end for a in attached if a.hook.startswith("netkit")} == {"b"}


def test_without_a_wire_the_container_is_reached_by_forwarding() -> None:
    plain = cell(topology="uplink", device="netkit", hook="none")
    assert plain.policy == "forward" and not attachments(plain)


def test_containers_behind_an_uplink_know_their_gateway() -> None:
    assert cell(topology="uplink", device="veth").neighbours == "static"
    assert cell(topology="uplink", device="netkit", mode="l2").neighbours == "static"
    assert cell(topology="uplink", device="netkit").neighbours is None


@pytest.mark.root
def test_in_and_out_over_the_uplink(in_room: Callable[..., Any]) -> None:
    peer, neigh, plain, asking = in_room(
        asked,
        {},
        {"helper": "redirect_neigh"},
        {"hook": "none"},
        {"hook": "none", "neighbours": "arp"},
    )
    for answer in (peer, neigh, plain, asking):
        assert (answer["reachable"], answer["reachable_v6"], answer["tcp_ok"]) == (1, 1, 1), answer
    # redirect_peer saves the backlog queue on the way into the container, and nothing on the way
    # out.
    assert plain["hops_netif_rx"] == neigh["hops_netif_rx"] == peer["hops_netif_rx"] + 1


@pytest.mark.root
def test_what_must_die_on_the_uplink_dies_where_it_must(in_room: Callable[..., Any]) -> None:
    redirect, asking = in_room(asked, {"helper": "redirect"}, {"neighbours": "arp"})
    # Nobody wrote the container's address into the frame: it looks like somebody else's.
    assert redirect["reachable"] == 0 and redirect["dropped_at"] == "ip_rcv_core:OTHERHOST"
    # redirect_neigh drops what is not IP: the container finds no gateway.
    assert asking["reachable"] == 0 and asking["dropped_at"].startswith("arp:skb_do_redirect")


@pytest.mark.root
def test_the_wires_programs_count_the_flow_and_nothing_else(in_room: Callable[..., Any]) -> None:
    for status, error, counters in in_room(ping_through, {}):
        assert status == "ok", error
        assert counters["wire.forward"][0] == counters["wire.return"][0] == 5
