"""The programs that are attached to a device: BPF_PROG_QUERY, rtnetlink's XDP and tc filters
(bpf(2)).
"""

from __future__ import annotations

import ctypes
import os
import struct
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pyroute2.netlink import nla
from pyroute2.netlink.exceptions import NetlinkError
from pyroute2.netlink.rtnl.tcmsg import sched_bpf

from yogurtbench.core.hook_specs import hooks_of
from yogurtbench.ebpf.syscall import bpf, filled
from yogurtbench.lab.namespace import Namespace

#: enum bpf_cmd, uapi/linux/bpf.h.
_PROG_GET_FD_BY_ID, _OBJ_GET_INFO_BY_FD, _PROG_QUERY = 13, 15, 16
_MOST = 64
#: struct bpf_prog_info up to its name: type, id, tag, lengths and addresses of the two texts, …,
#: name.
_INFO = struct.Struct("=II8sIIQQQIIQ16s")
_INSTRUCTION = struct.Struct("=BBhi")
_CALL = 0x85  # BPF_JMP | BPF_CALL
#: How XDP is attached, in pyroute2's words for XDP_ATTACHED_* of uapi/linux/if_link.h.
_XDP = {"xdp": "xdp_native", "xdpgeneric": "xdp_generic", "xdpoffload": "xdp_offload"}


class FilterOptions(nla):  # type: ignore[misc]  # pyroute2 is untyped
    """TCA_OPTIONS of a bpf filter.

    Pyroute2's own knows no program id (TCA_BPF_* of uapi/linux/pkt_cls.h).
    """

    nla_map = (
        *(
            (name, "hex" if index in (1, 2) else kind)
            for index, (name, kind) in enumerate(sched_bpf.options.nla_map[:9])
        ),
        ("TCA_BPF_FLAGS_GEN", "uint32"),
        ("TCA_BPF_TAG", "hex"),
        ("TCA_BPF_ID", "uint32"),
    )


sched_bpf.options = FilterOptions


@dataclass(frozen=True, slots=True)
class AttachedProgram:
    """An attached program: ``id`` and ``name`` are the kernel's, ``helpers`` what it calls."""

    hook: str
    id: int
    name: str
    helpers: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ProgramInfo:
    """The kernel's information on a loaded program.

    ``calls``: the offsets of the helpers it calls, in order.
    """

    id: int
    name: str
    calls: tuple[int, ...]


def read_attached(
    namespace: Namespace, link: Any, helper: Callable[[int], str]
) -> Iterator[AttachedProgram]:
    """Yield a device's programs (it comes as a link message), hook by hook.

    ``helper`` names a call of ProgramInfo.
    """
    with namespace.entered():
        found = [*_multi(link["index"]), *_filters(namespace, link["index"]), *_xdp(link)]
    for hook, identifier in found:
        info = read_info(identifier)
        yield AttachedProgram(
            hook, identifier, info.name, tuple(dict.fromkeys(filter(None, map(helper, info.calls))))
        )


def _multi(ifindex: int) -> Iterator[tuple[str, int]]:
    """Yield what is attached to tcx and netkit hooks, which take several programs each."""
    ids = (ctypes.c_uint32 * _MOST)()
    for hook, spec in {**hooks_of("tcx"), **hooks_of("netkit")}.items():
        asked = struct.pack("=IIIIQI4x", ifindex, spec.number, 0, 0, ctypes.addressof(ids), _MOST)
        try:
            _, answer = filled(_PROG_QUERY, asked)
        except OSError:  # the kernel knows no such hook, or the device has none
            continue
        (count,) = struct.unpack_from("=I", answer, 24)
        yield from ((hook, ids[at]) for at in range(min(count, _MOST)))


def _filters(namespace: Namespace, ifindex: int) -> Iterator[tuple[str, int]]:
    for hook, spec in hooks_of("clsact").items():
        try:
            filters = list(namespace.ip.get_filters(index=ifindex, parent=spec.number))
        except NetlinkError:  # no clsact there
            continue
        for one in filters:
            options = one.get_attr("TCA_OPTIONS")
            identifier = options.get_attr("TCA_BPF_ID") if options else None
            if identifier:
                yield hook, int(identifier)


def _xdp(link: Any) -> Iterator[tuple[str, int]]:
    xdp = link.get_attr("IFLA_XDP")
    identifier = xdp.get_attr("IFLA_XDP_PROG_ID") if xdp else None
    if identifier:
        mode = str(xdp.get_attr("IFLA_XDP_ATTACHED"))
        yield _XDP.get(mode, mode), int(identifier)


def read_info(identifier: int) -> ProgramInfo:
    """Return a loaded program by its id. Raises OSError where it is gone."""
    descriptor = bpf(_PROG_GET_FD_BY_ID, struct.pack("=I", identifier))
    try:
        return read_info_of(descriptor)
    finally:
        os.close(descriptor)


def read_info_of(descriptor: int) -> ProgramInfo:
    """Return a loaded program by its file descriptor."""
    size = _asked(descriptor, 0, 0)[4]
    code = ctypes.create_string_buffer(size)
    fields = _asked(descriptor, size, ctypes.addressof(code))
    name = fields[11].split(b"\0")[0].decode(errors="replace")
    return ProgramInfo(fields[1], name, tuple(_calls(code.raw[: fields[4]])))


def _asked(descriptor: int, size: int, address: int) -> tuple[Any, ...]:
    room = ctypes.create_string_buffer(
        _INFO.pack(0, 0, b"", 0, size, 0, address, 0, 0, 0, 0, b""), _INFO.size
    )
    bpf(_OBJ_GET_INFO_BY_FD, struct.pack("=IIQ", descriptor, _INFO.size, ctypes.addressof(room)))
    return _INFO.unpack(room.raw)


def _calls(code: bytes) -> Iterator[int]:
    """Yield the helpers a translated program calls.

    How far each lies from __bpf_call_base; 0 where the kernel hides it.
    """
    for operation, registers, _, immediate in _INSTRUCTION.iter_unpack(code):
        if operation == _CALL and registers >> 4 == 0:
            yield immediate


def helper_names(bpf_handle: Any) -> Callable[[int], str]:
    """Names offsets by /proc/kallsyms, through a bcc handle; empty for what it does not know."""
    base = bpf_handle.ksymname(b"__bpf_call_base")

    def named(offset: int) -> str:
        if not offset or base in (0, -1):
            return ""
        symbol = bpf_handle.ksym((base + offset) & (2**64 - 1)).decode(errors="replace")
        return "" if symbol.startswith("[") else str(symbol)

    return named


def full_names(functions: Mapping[Any, Any]) -> dict[int, str]:
    """Return a wire's programs by id with their whole C names, of which the kernel keeps 15
    characters.
    """
    return {
        read_info_of(function.fd).id: attachment.program
        for attachment, function in functions.items()
    }
