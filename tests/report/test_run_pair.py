"""What a made netkit link tells of itself is held against what was asked for: no axis is ignored in
silence.
"""

from __future__ import annotations

from typing import Any

import pytest
from pyroute2.netlink.rtnl.ifinfmsg import ifinfmsg

from yogurtbench.lab import netkit

SHAPE: dict[str, Any] = {"mode": "l3", "policy": "blackhole", "scrub": "default", "headroom": 0}


def request(**shape: Any) -> dict[str, Any]:
    return netkit.netkit_request("yg1-host", 1001, 1500, {}, **{**SHAPE, **shape})


def link(kind: str, **data: int) -> Any:
    """A link message as a kernel would send it: encoded and decoded again."""
    attributes = [(f"IFLA_NETKIT_{name.upper()}", value) for name, value in data.items()]
    info = [("IFLA_INFO_KIND", kind), *[("IFLA_INFO_DATA", {"attrs": attributes})] * bool(data)]
    message = ifinfmsg()
    message["index"] = 1001
    message["attrs"] = [("IFLA_IFNAME", "yg1-host"), ("IFLA_LINKINFO", {"attrs": info})]
    message.encode()
    decoded = ifinfmsg(message.data)
    decoded.decode()
    return decoded


#: Linux 6.8: neither scrub nor headroom; 6.12: scrub; 6.14: both.
OLD = {"primary": 1, "policy": 2, "mode": 1, "peer_policy": 2}
SCRUBBING = {**OLD, "scrub": 1, "peer_scrub": 1}
NEW = {**SCRUBBING, "headroom": 0, "tailroom": 0}


def ignored(made: dict[str, int], **shape: Any) -> list[str]:
    return netkit.ignored(request(**shape), netkit.attributes(link("netkit", **made)))


@pytest.mark.parametrize("made", [OLD, SCRUBBING, NEW])
def test_what_was_made_as_asked_is_fine_whatever_else_a_kernel_knows(made: dict[str, int]) -> None:
    assert ignored(made) == []


def test_values_that_were_taken_are_fine() -> None:
    made = {
        **NEW,
        "mode": 0,
        "policy": 0,
        "peer_policy": 0,
        "scrub": 0,
        "peer_scrub": 0,
        "headroom": 64,
    }
    assert ignored(made, mode="l2", policy="forward", scrub="none", headroom=64) == []


def test_an_attribute_that_the_kernel_does_not_tell_was_ignored() -> None:
    assert ignored(SCRUBBING, headroom=64) == ["headroom 64 (it knows no such attribute)"]
    assert ignored(OLD, scrub="none") == [
        "scrub none (it knows no such attribute)",
        "peer scrub none (it knows no such attribute)",
    ]


def test_a_value_that_the_kernel_tells_otherwise_is_named_with_what_it_made() -> None:
    assert ignored({**NEW, "mode": 0}) == ["mode l3 (it made l2)"]
    assert ignored({**NEW, "peer_policy": 0}) == ["peer policy blackhole (it made forward)"]
    assert ignored({**NEW, "peer_scrub": 1, "scrub": 0}, scrub="none") == [
        "peer scrub none (it made default)"
    ]
    assert ignored(NEW, headroom=64) == ["headroom 64 (it made 0)"]


def test_a_link_without_netkit_attributes_tells_nothing() -> None:
    assert netkit.attributes(link("veth")) == {}
    assert netkit.attributes(ifinfmsg()) == {}
