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
    off = [name for axis, names in _FEATURES.items() if getattr(cell, axis) == "off" for name in names]
    if not off:
        return
    with end.namespace.entered():
        tool = IoctlEthtool(end.name)
        try:
            features = tool.get_features()
            for name in off:
                if name in features and features.is_available(name):
                    features[name] = False
            tool.set_features(features)
        finally:
            tool.close()
