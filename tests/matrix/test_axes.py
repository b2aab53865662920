import dataclasses
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from matrices import cell

from yogurtbench.core import labels, records
from yogurtbench.core.records import AXES, Cell
from yogurtbench.matrix import axes
from yogurtbench.matrix.axes import WORDS
from yogurtbench.matrix.defaults import BaselineBuilder, CellBuilder

DEFAULTS = [
    (
        {},
        {
            "device": "netkit",
            "mode": "l3",
            "topology": "wire",
            "hook": "netkit_peer",
            "helper": "redirect",
        },
    ),
    (
        {},
        {
            "return_hook": "netkit_peer",
            "return_helper": "redirect",
            "policy": "blackhole",
            "scrub": "default",
        },
    ),
    (
        {},
        {
            "primary": "pass",
            "peer": None,
            "headroom": 0,
            "neighbours": None,
            "program": "builtin",
            "ip": 4,
        },
    ),
    (
        {},
        {
            "mtu": 1500,
            "gso": "on",
            "gro": "off",
            "checksum": "on",
            "kernel": "host",
            "payload": 64,
            "streams": None,
        },
    ),
    ({"mode": "l2"}, {"neighbours": "arp"}),
    ({"hook": "netkit_primary"}, {"primary": None, "peer": "pass"}),
    ({"hook": "tcx_ingress"}, {"primary": "pass", "peer": "pass"}),
    ({"hook": "xdp_generic"}, {"helper": "redirect", "primary": "pass", "peer": "pass"}),
    ({"hook": "tcx_ingress", "policy": "forward"}, {"primary": "none", "peer": "none"}),
    ({"policy": "forward"}, {"primary": "none", "peer": None}),
    (
        {"hook": "none"},
        {"helper": "none", "return_hook": "none", "primary": "none", "peer": "none"},
    ),
    (
        {"return_hook": "tcx_ingress"},
        {"primary": "pass", "peer": "pass", "return_helper": "redirect"},
    ),
    ({"hook": "tcx_ingress", "return_hook": "netkit_peer"}, {"peer": "pass"}),
    (
        {"hook": "xdp_generic", "helper": "redirect_map", "return_hook": "tcx_ingress"},
        {"return_helper": "redirect"},
    ),
    ({"helper": "redirect_peer"}, {"return_helper": "redirect_peer"}),
    (
        {"device": "veth"},
        {"mode": "l2", "hook": "tcx_ingress", "helper": "redirect", "neighbours": "arp"},
    ),
    ({"device": "veth", "hook": "xdp_native"}, {"gro": "on", "gso": "off", "checksum": "off"}),
    ({"hook": "xdp_generic"}, {"gro": "off", "gso": "off", "checksum": "on"}),
    (
        {"device": "veth"},
        {"policy": None, "primary": None, "peer": None, "scrub": None, "headroom": None},
    ),
    (
        {"topology": "direct"},
        {"hook": "none", "helper": "none", "policy": "forward", "primary": "none", "mode": "l3"},
    ),
    ({"topology": "bridge"}, {"mode": "l2", "policy": "forward"}),
    (
        {"topology": "uplink"},
        {"hook": "tcx_ingress", "helper": "redirect_peer", "policy": "blackhole"},
    ),
    (
        {"topology": "uplink"},
        {"return_hook": "netkit_peer", "return_helper": "redirect_neigh", "peer": None},
    ),
    (
        {"topology": "uplink", "device": "veth"},
        {"return_hook": "tcx_ingress", "return_helper": "redirect_neigh"},
    ),
    (
        {"topology": "uplink", "hook": "none"},
        {"helper": "none", "return_hook": "none", "return_helper": "none"},
    ),
    ({"load": "ping"}, {"payload": 56, "cpus": "same", "streams": None}),
    ({"load": "sockperf_tcp"}, {"payload": 64, "cpus": "same"}),
    ({"load": "iperf3_tcp"}, {"payload": 131_072, "cpus": "split", "streams": 1}),
    ({"load": "iperf3_udp"}, {"payload": 1400, "cpus": "split", "streams": 1}),
    ({"load": "rtt_under_load"}, {"payload": 64, "cpus": "split", "streams": 1}),
    ({"load": "reachability"}, {"payload": None, "cpus": None, "streams": None, "ip": None}),
    ({"load": "isolation"}, {"payload": None, "cpus": None, "streams": None, "ip": None}),
    ({"load": "iperf3_tcp", "clock": "instructions"}, {"cpus": "same"}),
    ({"load": "iperf3_tcp", "clock": "instructions", "cpus": "split"}, {"cpus": "same"}),
    # What does not apply collapses, whatever was named.
    (
        {"device": "veth", "policy": "forward", "primary": "next", "scrub": "none", "headroom": 8},
        {"primary": None},
    ),
    ({"mode": "l3", "neighbours": "static"}, {"neighbours": None}),
    ({"load": "reachability", "payload": 99, "cpus": "free"}, {"payload": None, "cpus": None}),
]


@pytest.mark.parametrize(
    ("point", "expected"), DEFAULTS, ids=[f"{p} {next(iter(e))}" for p, e in DEFAULTS]
)
def test_what_is_left_out_takes_its_default(
    point: dict[str, Any], expected: dict[str, Any]
) -> None:
    filled = cell(**point)
    assert {name: getattr(filled, name) for name in expected} == expected


IMPOSSIBLE = [
    ({"device": "veth", "mode": "l3"}, "veth has no mode l3", "mode"),
    ({"device": "veth", "hook": "netkit_peer"}, "veth has no netkit hooks", "hook"),
    ({"device": "veth", "return_hook": "netkit_primary"}, "veth has no netkit hooks", "hook"),
    (
        {"device": "veth", "topology": "uplink", "return_hook": "netkit_peer"},
        "veth has no netkit hooks",
        "hook",
    ),
    ({"hook": "xdp_native"}, "netkit has no native XDP", "hook"),
    ({"topology": "uplink", "return_hook": "xdp_native"}, "netkit has no native XDP", "hook"),
    ({"topology": "uplink", "hook": "netkit_peer"}, "the way in of an uplink", "hook"),
    ({"topology": "uplink", "hook": "tcx_egress_container"}, "only sends outwards", "hook"),
    (
        {"topology": "direct", "hook": "netkit_peer"},
        "only the topologies wire and uplink have hooks",
        "hook",
    ),
    (
        {"topology": "routed", "return_hook": "tcx_ingress"},
        "only the topologies wire and uplink",
        "hook",
    ),
    ({"topology": "bridge", "mode": "l3"}, "a Linux bridge takes no l3 device", "mode"),
    ({"hook": "none", "helper": "redirect"}, "a helper needs a program", "helper"),
    ({"helper": "none"}, "needs a helper", "helper"),
    ({"return_helper": "none"}, "needs a helper", "helper"),
    ({"helper": "redirect_map"}, "only XDP programs have", "helper"),
    ({"hook": "xdp_generic", "helper": "redirect_neigh"}, "XDP programs can only", "helper"),
    ({"hook": "xdp_generic", "helper": "redirect_container"}, "XDP programs can only", "helper"),
    ({"program": "./mine.c", "topology": "direct"}, "needs a hook to attach to", "program"),
    ({"ip": 6, "mtu": 1279}, "IPv6 needs an mtu", "mtu"),
    ({"payload": 13}, "payload is out of range for sockperf: 14 to 65507", "payload"),
    ({"payload": 15, "load": "ping"}, "payload is out of range for ping: 16 to 65507", "payload"),
    (
        {"payload": 65_508, "load": "iperf3_udp"},
        "payload is out of range for iperf3_udp: 1 to 65507",
        "payload",
    ),
]


@pytest.mark.parametrize(
    ("point", "reason", "blamed"), IMPOSSIBLE, ids=[f"{p}" for p, *_ in IMPOSSIBLE]
)
def test_what_cannot_exist_has_a_reason(point: dict[str, Any], reason: str, blamed: str) -> None:
    rule = CellBuilder("wall").fill({"load": "sockperf", **point})[1]
    assert rule is not None
    assert reason in rule.reason
    assert rule.axes[0] == blamed


POSSIBLE: list[dict[str, Any]] = [
    {"hook": "none"},  # a dead wire is an experiment
    {"hook": "tcx_egress", "helper": "redirect_peer"},
    {"helper": "redirect_neigh"},
    {"hook": "xdp_generic", "helper": "redirect_map"},
    {"device": "veth", "hook": "xdp_native"},
    {"device": "veth", "hook": "tcx_egress_container", "helper": "redirect_container"},
    {"topology": "uplink", "hook": "xdp_native"},
    {"topology": "uplink", "return_hook": "tcx_egress_container"},
    {"topology": "bridge"},
    {"topology": "direct", "policy": "blackhole"},
    {"primary": "guard_mark", "scrub": "default"},
    {"ip": 6, "mtu": 1280},
    {"payload": 65_508, "load": "iperf3_tcp"},
    {"payload": 1, "load": "iperf3_udp"},
    {"load": "reachability", "mtu": 100},
]


@pytest.mark.parametrize("point", POSSIBLE, ids=str)
def test_what_may_be_dead_is_still_possible(point: dict[str, Any]) -> None:
    assert CellBuilder("wall").fill({"load": "sockperf", **point})[1] is None


def test_an_id_is_made_of_what_is_not_default() -> None:
    assert cell().id == cell(device="netkit", hook="netkit_peer", primary="pass", payload=64).id
    assert cell(helper="redirect_peer").named == {"helper": "redirect_peer", "load": "sockperf"}


def test_ids_are_as_they_were() -> None:
    """They stand in stored results: changing a default or a word would orphan those."""
    assert cell().id == "bc5fe53ed050"
    assert cell(device="veth", topology="direct").id == "e9c91f6d8b60"
    assert cell(load="iperf3_tcp", hook="tcx_ingress", helper="redirect_peer").id == "97e36b5d9ef2"


_POINTS = st.fixed_dictionaries(
    {"load": st.sampled_from(tuple(axes.LOADS))},
    optional={
        **{
            name: st.sampled_from(WORDS[name].words)
            for name in AXES
            if WORDS[name].words and name != "load"
        },
        "payload": st.sampled_from([16, 64, 1400]),
        "mtu": st.sampled_from([1500, 9000]),
        "cpus": st.sampled_from(["same", "split", "free", (0, 1)]),
        "ip": st.sampled_from([4, 6]),
        "streams": st.sampled_from([1, 4]),
    },
)


@given(_POINTS)
def test_the_named_axes_alone_give_the_cell_again(point: dict[str, Any]) -> None:
    """So equal ids mean equal cells, and naming a default changes nothing."""
    filled = CellBuilder("wall").fill(point)[0]
    assert CellBuilder("wall").fill(filled.named)[0] == filled
    assert (
        CellBuilder("wall").fill({k: v for k, v in filled.axes.items() if v is not None})[0]
        == filled
    )


@dataclasses.dataclass(frozen=True, slots=True)
class Wider(Cell):
    """A cell of a later version, with one axis more."""

    new_axis: str = "usual"


@given(_POINTS, st.sampled_from(["usual", "rare"]))
def test_an_id_changes_only_where_a_new_axis_is_not_at_its_default(
    point: dict[str, Any], value: str
) -> None:
    filled = CellBuilder("wall").fill(point)[0]
    before = filled.id
    fields = {
        **filled.axes,
        "new_axis": value,
        "defaults": {**filled.defaults, "new_axis": "usual"},
    }
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(records, "AXES", (*AXES, "new_axis"))
        assert (Wider(**fields).id == before) == (value == "usual")


@given(_POINTS)
def test_a_cell_crosses_borders_as_json(point: dict[str, Any]) -> None:
    filled = CellBuilder("wall").fill(point)[0]
    again = Cell.from_json(json.loads(json.dumps(filled.to_json())))
    assert again == filled
    assert again.id == filled.id


VETH = {"device": "veth", "topology": "direct"}
COMPLETED: list[tuple[dict[str, Any], dict[str, Any], dict[str, Any]]] = [
    (
        VETH,
        {"payload": 99, "mtu": 9000, "ip": 6, "cpus": "free"},
        {"payload": 99, "mtu": 9000, "ip": 6, "cpus": "free"},
    ),
    (
        VETH,
        {"helper": "redirect_peer", "mode": "l2"},
        {"helper": "none", "mode": "l2", "policy": None, "peer": None},
    ),
    (
        VETH,
        {"load": "iperf3_tcp", "streams": 4, "gso": "off"},
        {"streams": 4, "gso": "off", "load": "iperf3_tcp"},
    ),
    (VETH, {"load": "reachability"}, {"load": "reachability", "payload": None}),
    (VETH, {"kernel": "6.12"}, {"kernel": "6.12"}),
    (VETH, {"program": "./mine.c"}, {"program": "builtin"}),
    (VETH, {"mode": "l2", "neighbours": "static"}, {"neighbours": "static"}),
    (
        {"topology": "direct"},
        {"hook": "tcx_ingress"},
        {"hook": "none", "policy": "forward", "primary": "none"},
    ),
    (
        {"topology": "direct"},
        {"mode": "l2", "scrub": "none"},
        {"mode": "l2", "scrub": "none", "neighbours": "arp"},
    ),
    (
        {"hook": "tcx_ingress"},
        {"helper": "redirect_peer"},
        {"helper": "redirect_peer", "peer": "pass"},
    ),
    (
        {"hook": "tcx_ingress"},
        {"hook": "xdp_generic", "helper": "redirect_map"},
        {"helper": "redirect"},
    ),
    (
        {"program": "builtin"},
        {"program": "./mine.c", "mode": "l2"},
        {"program": "builtin", "mode": "l2"},
    ),
    ({"device": "veth"}, {"hook": "netkit_primary"}, {"hook": "tcx_ingress"}),
    (
        {"device": "veth"},
        {"hook": "xdp_generic", "helper": "redirect_map"},
        {"helper": "redirect_map"},
    ),
    (
        {"device": "netkit"},
        {"device": "veth", "hook": "tcx_egress"},
        {"device": "netkit", "hook": "tcx_egress"},
    ),
    (
        {"load": "sockperf"},
        {"load": "sockperf_tcp", "payload": 99},
        {"load": "sockperf", "payload": 99},
    ),
]


@pytest.mark.parametrize(
    ("baseline", "point", "expected"), COMPLETED, ids=[f"{b} {p}" for b, p, _ in COMPLETED]
)
def test_a_baseline_takes_from_the_cell_what_it_does_not_name(
    baseline: Any, point: Any, expected: Any
) -> None:
    base, rule = BaselineBuilder(baseline, CellBuilder("wall")).complete(cell(**point))
    assert rule is None
    assert {name: getattr(base, name) for name in expected} == expected


@given(_POINTS)
def test_a_completed_baseline_is_its_own_baseline(point: dict[str, Any]) -> None:
    completer = BaselineBuilder(VETH, CellBuilder("wall"))
    base, _ = completer.complete(CellBuilder("wall").fill(point)[0])
    assert completer.complete(base)[0] == base


def test_words_of_the_command_line_become_values() -> None:
    assert WORDS["payload"].read("64") == 64
    assert WORDS["cpus"].read("0:1") == (0, 1)
    assert WORDS["kernel"].read("6.12") == "6.12"
    assert WORDS["ip"].read("6") == 6
    assert labels.axis_word((0, 1)) == "0:1"
    assert labels.axis_word(None) == "-"
