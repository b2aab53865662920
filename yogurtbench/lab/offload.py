"""Offload switches of a lab's devices, where a cell turns one off. `on` leaves them as the kernel made them."""

from __future__ import annotations

from pyroute2.ethtool.ioctl import IoctlEthtool

from yogurtbench.lab.pot import End
from yogurtbench.records import Cell

#: The kernel's feature names behind each axis (net/ethtool/common.c: netdev_features_strings).
_FEATURES = {
    "gso": ("tx-generic-segmentation", "tx-tcp-segmentation", "tx-tcp6-segmentation", "tx-udp-segmentation"),
    "gro": ("rx-gro", "rx-gro-list", "rx-udp-gro-forwarding"),
    "checksum": ("tx-checksum-ip-generic", "tx-checksum-ipv4", "tx-checksum-ipv6", "rx-checksum"),
}


def apply(end: End, cell: Cell) -> None:
    """Turn off, on one end, what the cell turns off."""
    off = {name: False for axis, names in _FEATURES.items() if getattr(cell, axis) == "off" for name in names}
    wanted = {"rx-gro": True} | off if _polls(end, cell) else off
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


def _polls(end: End, cell: Cell) -> bool:
    """Whether an end needs NAPI: native XDP redirects into a veth only where its container end polls (veth_xdp_xmit).

    GRO makes it poll; the kernel leaves it off on veth until it is asked for.
    """
    return "xdp_native" in (cell.hook, cell.return_hook) and end.namespace.name is not None
