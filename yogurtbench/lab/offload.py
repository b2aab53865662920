"""Offload switches of a lab's devices, where a cell wants them otherwise than the kernel makes
them.

gso, checksum: on as the kernel makes them. Without checksum offload the kernel segments nothing
late either
    (netdev_fix_features): checksum off takes gso with it, and bytes_per_skb shows it.
gro: off as the kernel makes veth (since 5.13, veth_setup). On, a veth end polls (NAPI) and merges
what it receives.
    netkit delivers through the backlog and never merges: there the switch changes nothing.
"""

from __future__ import annotations

from pyroute2.ethtool.ioctl import IoctlEthtool

from yogurtbench.core.records import Cell
from yogurtbench.lab.endpoint import Interface

#: The kernel's feature names behind each axis (net/ethtool/common.c: netdev_features_strings), and
#: which word of the axis is not the kernel's own choice.
_FEATURES = {
    "gso": (
        "off",
        (
            "tx-generic-segmentation",
            "tx-tcp-segmentation",
            "tx-tcp6-segmentation",
            "tx-udp-segmentation",
        ),
    ),
    "gro": ("on", ("rx-gro",)),
    "checksum": (
        "off",
        ("tx-checksum-ip-generic", "tx-checksum-ipv4", "tx-checksum-ipv6", "rx-checksum"),
    ),
}


def apply_offloads(end: Interface, cell: Cell) -> None:
    """Switch one end's features as the cell says."""
    wanted: dict[str, bool] = {}
    for axis, (word, names) in _FEATURES.items():
        if getattr(cell, axis) == word:
            wanted |= dict.fromkeys(names, word == "on")
    if not wanted:
        return
    with end.namespace.entered():
        tool = IoctlEthtool(end.name)
        try:
            features = tool.get_features()
            for name, on in wanted.items():
                if name in features and features.is_available(name):
                    features[name] = on
            tool.set_features(features)
        finally:
            tool.close()
