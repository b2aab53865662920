"""Offloads, mtu and streams: each changes what it says, seen in the packets and in the devices' own
switches.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from offloads import switches
from trials import WIRE, trial

from yogurtbench.agent.trial import run_trial
from yogurtbench.ebpf.wire import Programs

InRoom = Callable[..., Any]
pytestmark = pytest.mark.root


def bulk(*axes: dict[str, Any]) -> list[dict[str, Any]]:
    programs, found = Programs(), []
    for wanted in axes:
        attempt = run_trial(trial("iperf3_tcp", **WIRE, **wanted), programs)
        assert attempt.status == "ok", attempt.error
        packets, volume = attempt.details["counters"]["wire.forward"]
        size = next(o.value for o in attempt.observations if o.metric == "bytes_per_skb")
        found.append({"sent": size, "carried": volume / packets, "argv": attempt.details["argv"]})
    return found


def test_without_gso_a_packet_is_at_most_an_mtu_and_with_it_many(in_room: InRoom) -> None:
    batched, single, jumbo = in_room(bulk, {}, {"gso": "off"}, {"gso": "off", "mtu": 9000})
    assert batched["sent"] > 10 * 1514
    assert 0.9 * 1514 < single["sent"] <= 1514
    assert 0.9 * 9014 < jumbo["sent"] <= 9014


def test_gro_merges_what_arrives_and_only_then(in_room: InRoom) -> None:
    apart, merged = in_room(bulk, {"gso": "off"}, {"gso": "off", "gro": "on"})
    assert apart["carried"] <= 1514
    assert merged["sent"] <= 1514 < 2 * 1514 < merged["carried"]


def test_checksum_off_takes_gso_with_it(in_room: InRoom) -> None:
    (without,) = in_room(bulk, {"checksum": "off"})
    assert without["sent"] <= 1514


@pytest.mark.parametrize(
    ("axes", "name", "on"),
    [
        ({}, "tx-checksum-ip-generic", True),
        ({"checksum": "off"}, "tx-checksum-ip-generic", False),
        ({}, "tx-generic-segmentation", True),
        ({"gso": "off"}, "tx-generic-segmentation", False),
        ({"gso": "off"}, "tx-tcp-segmentation", False),
        ({}, "rx-gro", False),
        ({"gro": "on"}, "rx-gro", True),
    ],
)
def test_every_device_says_so_itself(
    in_room: InRoom, axes: dict[str, Any], name: str, on: bool
) -> None:
    ends = in_room(switches, axes)
    assert {end: features[name] for end, features in ends.items()} == dict.fromkeys(ends, on)


def test_streams_are_parallel_connections(in_room: InRoom) -> None:
    (four,) = in_room(bulk, {"streams": 4})
    assert four["argv"][four["argv"].index("--parallel") + 1] == "4"


def big_datagrams() -> list[Any]:
    programs, found = Programs(), []
    for mtu in (1500, 9000):
        attempt = run_trial(trial("sockperf", **WIRE, mtu=mtu, payload=8000), programs)
        size = next(o.value for o in attempt.observations if o.metric == "packet_size")
        found.append([attempt.status, size, attempt.details["warnings"]])
    return found


def test_a_larger_mtu_carries_a_datagram_whole(in_room: InRoom) -> None:
    (cut, small, warnings), (whole, large, silence) = in_room(big_datagrams)
    assert (cut, whole) == ("ok", "ok")
    assert small < 1500 and "fragments" in warnings[0]
    assert large == 8028 and silence == []
