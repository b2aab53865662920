"""Device pairs over rtnetlink: a netkit plugin for pyroute2, and veth with peer indexes.

Attribute numbers: enum in uapi/linux/if_link.h (IFLA_NETKIT_*). pyroute2 has no netkit, and its
veth shorthand cannot give the peer an ifindex; both are added through its own registry.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pyroute2.netlink import nla
from pyroute2.netlink.rtnl.ifinfmsg import ifinfmsg, ifinfveth

POLICIES = {"forward": 0, "blackhole": 2}
MODES = {"l2": 0, "l3": 1}
SCRUBS = {"none": 0, "default": 1}


class NetkitData(nla):  # type: ignore[misc]  # pyroute2 is untyped
    """IFLA_INFO_DATA of a netkit link."""

    prefix = "IFLA_NETKIT_"
    nla_map = (
        ("IFLA_NETKIT_UNSPEC", "none"),
        ("IFLA_NETKIT_PEER_INFO", "peer"),
        ("IFLA_NETKIT_PRIMARY", "uint8"),
        ("IFLA_NETKIT_POLICY", "uint32"),
        ("IFLA_NETKIT_PEER_POLICY", "uint32"),
        ("IFLA_NETKIT_MODE", "uint32"),
        ("IFLA_NETKIT_SCRUB", "uint32"),
        ("IFLA_NETKIT_PEER_SCRUB", "uint32"),
        ("IFLA_NETKIT_HEADROOM", "uint16"),
        ("IFLA_NETKIT_TAILROOM", "uint16"),
    )

    @staticmethod
    def peer(*_args: Any, **_kwargs: Any) -> type:
        """Return the peer is described by a whole link message, as for veth."""
        return ifinfveth  # type: ignore[no-any-return]


class VethData(nla):  # type: ignore[misc]
    """IFLA_INFO_DATA of a veth link whose peer has an index of its own."""

    prefix = "VETH_INFO_"
    nla_map = (("VETH_INFO_UNSPEC", "none"), ("VETH_INFO_PEER", "peer"))

    peer = staticmethod(NetkitData.peer)


ifinfmsg.ifinfo.register_link_kind(module={"netkit": NetkitData, "veth": VethData})


def peer_info(name: str, index: int, netns_fd: int, mtu: int) -> dict[str, Any]:
    """Return the far end's nested link message: its own namespace and index at once."""
    attributes = [("IFLA_IFNAME", name), ("IFLA_NET_NS_FD", netns_fd), ("IFLA_MTU", mtu)]
    return {"index": index, "attrs": attributes}


def veth_request(name: str, index: int, mtu: int, peer: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments for ``IPRoute.link("add", …)`` that make a veth pair."""
    return {
        "kind": "veth",
        "ifname": name,
        "index": index,
        "state": "up",
        "mtu": mtu,
        "VETH_INFO_PEER": dict(peer),
    }


def netkit_request(
    name: str,
    index: int,
    mtu: int,
    peer: Mapping[str, Any],
    *,
    mode: str,
    policy: str,
    scrub: str,
    headroom: int,
) -> dict[str, Any]:
    """Arguments for ``IPRoute.link("add", …)`` that make a netkit pair.

    Both ends get the same policy and scrub.

    Scrub and headroom are sent only where they differ from the default. A kernel that does not know
    them may well ignore them (rtnetlink parses IFLA_INFO_DATA leniently): see :func:`ignored`.
    """
    request: dict[str, Any] = {
        "kind": "netkit",
        "ifname": name,
        "index": index,
        "state": "up",
        "mtu": mtu,
        "IFLA_NETKIT_PEER_INFO": dict(peer),
        "IFLA_NETKIT_MODE": MODES[mode],
        "IFLA_NETKIT_POLICY": POLICIES[policy],
        "IFLA_NETKIT_PEER_POLICY": POLICIES[policy],
    }
    if scrub != "default":
        request |= {"IFLA_NETKIT_SCRUB": SCRUBS[scrub], "IFLA_NETKIT_PEER_SCRUB": SCRUBS[scrub]}
    if headroom:
        request["IFLA_NETKIT_HEADROOM"] = headroom
    return request


#: What a request may ask for and a link reports back, and what each value means.
_REPORTED: dict[str, tuple[str, dict[int, str]]] = {
    "IFLA_NETKIT_MODE": ("mode", {number: word for word, number in MODES.items()}),
    "IFLA_NETKIT_POLICY": ("policy", {number: word for word, number in POLICIES.items()}),
    "IFLA_NETKIT_PEER_POLICY": ("peer policy", {number: word for word, number in POLICIES.items()}),
    "IFLA_NETKIT_SCRUB": ("scrub", {number: word for word, number in SCRUBS.items()}),
    "IFLA_NETKIT_PEER_SCRUB": ("peer scrub", {number: word for word, number in SCRUBS.items()}),
    "IFLA_NETKIT_HEADROOM": ("headroom", {}),
}


def ignored(request: Mapping[str, Any], attributes: Mapping[str, Any]) -> list[str]:
    """Return what of a netkit request the kernel did not do, by the attributes that the made link
    tells.

    A phrase each.
    """
    found = []
    for attribute, (name, words) in _REPORTED.items():
        wanted, is_so = request.get(attribute), attributes.get(attribute)
        if wanted is not None and is_so != wanted:
            outcome = (
                "it knows no such attribute"
                if is_so is None
                else f"it made {words.get(is_so, is_so)}"
            )
            found.append(f"{name} {words.get(wanted, wanted)} ({outcome})")
    return found


def attributes(link: Any) -> dict[str, Any]:
    """Return the netkit attributes of a link message by name; empty where it has none."""
    info = link.get_attr("IFLA_LINKINFO")
    data = info.get_attr("IFLA_INFO_DATA") if info else None
    return dict(data["attrs"]) if data else {}
