"""A pair of the cell's device, each end made in its own namespace under an index of its own."""

from __future__ import annotations

import errno
from collections.abc import Mapping
from typing import Any

from pyroute2.netlink.exceptions import NetlinkError

from yogurtbench.core.records import Cell
from yogurtbench.lab import namespace, netkit
from yogurtbench.lab.endpoint import Interface
from yogurtbench.lab.namespace import Namespace

#: All devices of a lab are in one group, so that one request takes them all down: one RCU grace
#: period, not four.
GROUP = 42
_UNKNOWN = {errno.EOPNOTSUPP, errno.EINVAL, errno.ENOTSUP, errno.ERANGE}
#: Where an end will live, its name and its index there.
Place = tuple[Namespace, str, int]


class Unsupported(Exception):
    """The kernel cannot make what the cell asks for; the text says what."""


def make_pair(cell: Cell, near: Place, far: Place) -> list[Interface]:
    """Make a pair of the cell's device, both ends up.

    Whoever made the near namespace's devices removes them.
    """
    (near_ns, near_name, near_index), (far_ns, far_name, far_index) = near, far
    peer = netkit.peer_info(far_name, far_index, far_ns.fd, cell.mtu)
    if cell.device == "veth":
        request = netkit.veth_request(near_name, near_index, cell.mtu, peer)
    else:
        # A netkit cell has them by construction.
        assert cell.policy and cell.scrub and cell.headroom is not None
        shape = {
            "mode": cell.mode,
            "policy": cell.policy,
            "scrub": cell.scrub,
            "headroom": cell.headroom,
        }
        request = netkit.netkit_request(near_name, near_index, cell.mtu, peer, **shape)  # type: ignore[arg-type]
    try:
        near_ns.ip.link("add", group=GROUP, **request)
    except NetlinkError as error:
        if error.code in _UNKNOWN:
            raise Unsupported(_unsupported_part(cell, error)) from error
        raise
    if cell.device == "netkit" and (
        cell.scrub != "default" or cell.headroom
    ):  # what first netkits did not have
        _verify_attributes(near_ns, near_index, request)
    ends = [Interface(near_ns, near_name, near_index), Interface(far_ns, far_name, far_index)]
    # A far end that is up before the near one knows it is refused (veth_open: ENOTCONN).
    far_ns.ip.link("set", index=far_index, state="up")
    for end in ends:
        namespace.set_neighbour_timeouts(end.namespace, end.name)
    return ends


def _verify_attributes(where: Namespace, index: int, request: Mapping[str, Any]) -> None:
    """Read the made link back: what a kernel does not know it may ignore in silence.

    Raises Unsupported.
    """
    (link,) = where.ip.get_links(index)
    if ignored := netkit.ignored(request, netkit.attributes(link)):
        raise Unsupported(f"this kernel does not support netkit with {' and '.join(ignored)}")


def _unsupported_part(cell: Cell, error: NetlinkError) -> str:
    extras = [f"scrub {cell.scrub}"] if cell.scrub not in (None, "default") else []
    extras += [f"headroom {cell.headroom}"] if cell.headroom else []
    what = f"{cell.device} with {' and '.join(extras)}" if extras else f"{cell.device} devices"
    return f"this kernel does not support {what} ({error})"
