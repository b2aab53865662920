"""The features of the running kernel, found out by trying them.

Runs where the agent lives, in its own namespace.
"""

from __future__ import annotations

import errno
import struct

from pyroute2.netlink.exceptions import NetlinkError

from yogurtbench.core.hook_specs import HOOKS
from yogurtbench.ebpf.syscall import bpf
from yogurtbench.lab import namespace, netkit

_BPF_PROG_QUERY = 16
_TCX_INGRESS = HOOKS["tcx_ingress"].number
_LOOPBACK = 1
_PROBE_INDEX = 4_000


def probe() -> dict[str, bool]:
    """``netkit``, ``veth`` and ``tcx``: whether this kernel has them.

    Raises NetlinkError where it may not be tried: then it is unknown.
    """
    return {"netkit": _can_make("netkit"), "veth": _can_make("veth"), "tcx": _supports_tcx()}


def _can_make(kind: str) -> bool:
    """Return whether a pair of the kind can be made (and is taken away again).

    Raises NetlinkError where that is forbidden.
    """
    host = namespace.host()
    try:
        peer = netkit.peer_info("yb-probe1", _PROBE_INDEX + 1, host.fd, 1500)
        name = ("yb-probe0", _PROBE_INDEX, 1500, peer)
        request = (
            netkit.veth_request(*name)
            if kind == "veth"
            else netkit.netkit_request(
                *name, mode="l3", policy="forward", scrub="default", headroom=0
            )
        )
        host.ip.link("add", **request)
        host.ip.link("del", index=_PROBE_INDEX)
    except NetlinkError as error:
        if error.code in (errno.EPERM, errno.EACCES):
            raise
        return False
    return True


def _supports_tcx() -> bool:
    """BPF_PROG_QUERY on lo's tcx ingress: EINVAL from a kernel that knows no such attach type
    (bpf(2)).

    Where bpf(2) itself is forbidden nothing can be attached there either.
    """
    try:
        bpf(_BPF_PROG_QUERY, struct.pack("=IIII", _LOOPBACK, _TCX_INGRESS, 0, 0))
    except OSError as error:
        return error.errno not in (errno.EINVAL, errno.ENOSYS, errno.EPERM, errno.EACCES)
    return True
