"""The namespaces, devices and addresses of a lab that is up, as the kernel reports them
(rtnetlink(7)).
"""

from __future__ import annotations

from typing import Any

from yogurtbench.lab import netkit
from yogurtbench.lab.namespace import Namespace
from yogurtbench.lab.network import Lab

_MODES = {number: word for word, number in netkit.MODES.items()}


def read_inventory(lab: Lab) -> list[dict[str, Any]]:
    """Return the lab's namespaces: ``name`` and ``devices``, a dictionary each.

    A device has ``name, ifindex, kind, mode`` (netkit alone), ``mtu`` (bytes), ``state, mac,
    addresses, peer`` (``namespace:name``), ``master``; what it does not have is None or empty.
    """
    found: list[dict[str, Any]] = [
        {"name": _name(namespace), "devices": _devices(namespace)} for namespace in lab.namespaces
    ]
    # No two devices of a lab share an index, lo apart: so it shows who is whose peer.
    names: dict[int, str] = {}
    for namespace in found:
        for device in namespace["devices"]:
            if device["ifindex"] != 1:
                names[device["ifindex"]] = f"{namespace['name']}:{device['name']}"
    for namespace in found:
        for device in namespace["devices"]:
            device["peer"] = names.get(device["peer"])
            device["master"] = names.get(device["master"])
    return found


def _name(namespace: Namespace) -> str:
    return namespace.name or "host"


def _devices(namespace: Namespace) -> list[dict[str, Any]]:
    addresses: dict[int, list[str]] = {}
    for address in namespace.ip.get_addr():
        text = f"{address.get_attr('IFA_ADDRESS')}/{address['prefixlen']}"
        addresses.setdefault(address["index"], []).append(text)
    return [_device(link, addresses.get(link["index"], [])) for link in namespace.ip.get_links()]


def _device(link: Any, addresses: list[str]) -> dict[str, Any]:
    info = link.get_attr("IFLA_LINKINFO")
    details = netkit.attributes(link)
    return {
        "name": link.get_attr("IFLA_IFNAME"),
        "ifindex": link["index"],
        "kind": info.get_attr("IFLA_INFO_KIND") if info else None,
        "mode": _MODES.get(details.get("IFLA_NETKIT_MODE", -1)),
        "mtu": link.get_attr("IFLA_MTU"),
        "state": "up" if link["state"] == "up" else "down",
        "mac": link.get_attr("IFLA_ADDRESS"),
        "addresses": addresses,
        "peer": link.get_attr("IFLA_LINK"),
        "master": link.get_attr("IFLA_MASTER"),
    }
