"""Wires: compiles bpf/*.c once, attaches a cell's programs to a lab, counts what they saw, detaches them.

The only module that imports bcc. Attachment uses BPF_PROG_ATTACH through bcc's ``attach_func``, which takes an ifindex
where it says fd; both netkit hooks attach through the ifindex of the primary device, the host end.
"""

from __future__ import annotations

import ipaddress
import os
import struct
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from yogurtbench import headers, witness
from yogurtbench.lab import End, Lab, Pot, Unsupported
from yogurtbench.records import Cell, HostError

#: enum bpf_attach_type, uapi/linux/bpf.h
_ATTACH_TYPES = {"tcx_ingress": 46, "tcx_egress": 47, "netkit_primary": 54, "netkit_peer": 55}
_XDP_FLAGS = {"xdp_generic": 1 << 1, "xdp_native": 1 << 2}  # XDP_FLAGS_SKB_MODE, XDP_FLAGS_DRV_MODE
_CLSACT_PARENTS = {"tc_ingress": 0xFFFFFFF2, "tc_egress": 0xFFFFFFF3}

#: The order of the text: the header first, redirect_neigh before the variant that uses its helper declaration.
_FILES = (
    "yogurt.h",
    "redirect.c",
    "redirect_ingress.c",
    "redirect_peer.c",
    "redirect_neigh.c",
    "redirect_neigh_nexthop.c",
    "pass.c",
    "next.c",
    "redirect_in.c",
    "guard_cb.c",
    "guard_mark.c",
    "xdp.c",
)

#: Rows of the maps, as in yogurt.h: role row + way.
ROLE_ROWS = {"wire": 0, "primary": 2, "peer": 4}
WAYS = ("forward", "return")


@dataclass(frozen=True, slots=True)
class Counters:
    """What one row's programs saw since they were attached: packets and bytes, summed over CPUs."""

    packets: int
    bytes: int

    def __sub__(self, earlier: Counters) -> Counters:
        return Counters(self.packets - earlier.packets, self.bytes - earlier.bytes)


@dataclass(frozen=True, slots=True)
class Attachment:
    """One program on one hook of one end. ``end``: ``a`` or ``b``; ``role``: ``wire``, ``primary`` or ``peer``."""

    end: str
    hook: str
    role: str
    way: str
    program: str

    @property
    def row(self) -> int:
        """The row of `targets` and `traffic` that the program uses."""
        return ROLE_ROWS[self.role] + WAYS.index(self.way)


def attachments(cell: Cell) -> tuple[Attachment, ...]:
    """Which programs go where, for a cell: pure, in the order in which they are attached.

    What hangs on netkit's primary hook of an end serves the packets on their way *into* that end's container, so on
    end b it serves the forward way.
    """
    found: list[Attachment] = []
    for end, way, hook, helper in (
        ("a", "forward", cell.hook, cell.helper),
        ("b", "return", cell.return_hook, cell.return_helper),
    ):
        into = "return" if way == "forward" else "forward"
        if cell.primary not in (None, "none") and hook != "netkit_primary":
            found.append(Attachment(end, "netkit_primary", "primary", into, f"primary_{cell.primary}_{into}"))
        if cell.peer not in (None, "none") and hook != "netkit_peer":
            found.append(Attachment(end, "netkit_peer", "peer", way, f"peer_{cell.peer}_{way}"))
        if hook != "none":
            found.append(Attachment(end, hook, "wire", way, _program(cell, hook, helper, way)))
    return tuple(found)


def _program(cell: Cell, hook: str, helper: str, way: str) -> str:
    name = "redirect" if helper == "redirect_container" else helper
    if hook.startswith("xdp"):
        return f"xdp_{name}_{way}"
    stamp = f"_{cell.primary}" if cell.primary in ("guard_cb", "guard_mark") else ""
    return f"{name}{stamp}_{way}"


def text(folder: Path, *more: str) -> str:
    """All programs as one C text; ``#line`` keeps the compiler's messages in the authors' own files."""
    return "".join(f'#line 1 "{name}"\n{(folder / name).read_text()}\n' for name in (*_FILES, *more))


def source_folder() -> Path:
    """Where the C programs lie: inside the installed package, or beside it in a checkout."""
    inside = Path(__file__).parent / "bpf"
    return inside if inside.is_dir() else Path(__file__).parent.parent / "bpf"


class Programs:
    """The compiled wires: made once a sweep, used by every trial."""

    @cached_property
    def bpf(self) -> Any:
        """Bcc's handle, compiled at first use. Raises HostError where bcc or its headers are missing."""
        headers.provide()
        try:
            from bcc import BPF
        except ImportError as error:
            raise HostError(
                "the Python binding of bcc is missing: install the distribution's package (Debian, Ubuntu: "
                "apt-get install python3-bpfcc); PyPI's bcc is something else"
            ) from error
        layout = witness.layout()
        more = ["trace.c"] if layout else []
        with _quiet() as said:
            try:
                return BPF(text=text(source_folder(), *more), cflags=["-w", *layout])
            except Exception as error:
                raise HostError(f"bcc could not compile the wires: {error}: {said()}") from error

    def load(self, name: str, kind: str) -> Any:
        """A loaded program by its C name, ``kind`` SCHED_CLS or XDP. Raises HostError with the verifier's log."""
        with _quiet() as said:
            try:
                return self.bpf.load_func(name, getattr(self.bpf, kind))
            except Exception as error:
                raise HostError(f"the kernel refused the program {name}: {error}: {said()}") from error


@contextmanager
def _quiet() -> Iterator[Callable[[], str]]:
    """Catch what LLVM and libbpf write to file descriptor 2; the yielded call gives the last lines of it."""
    read_end, write_end = os.pipe2(os.O_NONBLOCK)
    saved = os.dup(2)
    os.dup2(write_end, 2)

    def said() -> str:
        try:
            return " | ".join(os.read(read_end, 1 << 16).decode(errors="replace").strip().splitlines()[-12:])
        except BlockingIOError:
            return "no message"

    try:
        yield said
    finally:
        os.dup2(saved, 2)
        for descriptor in (saved, read_end, write_end):
            os.close(descriptor)


@dataclass(slots=True)
class Wire:
    """A cell's programs, attached. ``counters`` may be read at any time."""

    programs: Programs
    attached: tuple[Attachment, ...]
    undo: ExitStack = field(repr=False)

    def counters(self) -> dict[str, Counters]:
        """Packets and bytes per role and way, e.g. ``wire.forward``, of what is attached."""
        table = self.programs.bpf["traffic"]
        return {f"{a.role}.{a.way}": _sum(table[table.Key(a.row)]) for a in self.attached}

    def detach(self) -> None:
        """Take every program off now; calling it twice is fine."""
        self.undo.close()


def _sum(per_cpu: Any) -> Counters:
    return Counters(sum(cpu.packets for cpu in per_cpu), sum(cpu.bytes for cpu in per_cpu))


@contextmanager
def attached(programs: Programs, lab: Lab) -> Iterator[Wire]:
    """The wire of the lab's cell for the length of the block, its counters at zero.

    The programs leave with their devices when the lab goes down, all at once; detaching each would wait for an RCU
    grace period apiece. ``Wire.detach`` is for those who cannot wait.

    Raises Unsupported where the kernel knows no such hook, HostError where a program is refused.
    """
    wanted = attachments(lab.cell)
    detaching = ExitStack()
    for attachment in wanted:
        _aim(programs, attachment, lab)
    for attachment in wanted:
        _attach(programs, attachment, lab, detaching)
    yield Wire(programs, wanted, detaching)


def _far(attachment: Attachment, lab: Lab) -> tuple[End, Pot]:
    """The host end and the pot that the packets of an attachment's way are bound for."""
    assert lab.a and lab.b  # only topologies with two host ends have wires
    return (lab.b, lab.server) if attachment.way == "forward" else (lab.a, lab.client)


def _aim(programs: Programs, attachment: Attachment, lab: Lab) -> None:
    """Write the row's target and zero its counters."""
    host_end, pot = _far(attachment, lab)
    helper = lab.cell.helper if attachment.way == "forward" else lab.cell.return_helper
    into_container = attachment.role == "primary" or helper == "redirect_container"
    ifindex = pot.end.ifindex if into_container else host_end.ifindex
    targets, traffic = programs.bpf["targets"], programs.bpf["traffic"]
    row = targets.Key(attachment.row)
    nexthop6 = struct.unpack("=4I", ipaddress.ip_address(pot.ipv6).packed)
    (nexthop4,) = struct.unpack("=I", ipaddress.ip_address(pot.ipv4).packed)
    targets[row] = targets.Leaf(ifindex, nexthop4, nexthop6)
    traffic[row] = traffic.Leaf()
    if helper == "redirect_map" and attachment.role == "wire":
        devices = programs.bpf["devices"]
        devices[devices.Key(attachment.row)] = devices.Leaf(ifindex)


def _attach(programs: Programs, attachment: Attachment, lab: Lab, undo: ExitStack) -> None:
    """Attach one program and register its undoing."""
    host_end = lab.a if attachment.end == "a" else lab.b
    assert host_end
    pot = lab.client if attachment.end == "a" else lab.server
    in_container = attachment.hook.endswith("_container")
    end, hook = (pot.end, attachment.hook.removesuffix("_container")) if in_container else (host_end, attachment.hook)
    kind = "XDP" if hook.startswith("xdp") else "SCHED_CLS"
    function = programs.load(attachment.program, kind)
    try:
        with end.namespace.entered():
            detach = _ATTACH[hook](programs, function, end, hook)
    except Exception as error:  # bcc raises bare Exception, pyroute2 NetlinkError: both mean "this kernel says no"
        raise Unsupported(f"this kernel does not attach to {attachment.hook} on {end.name}: {error}") from error
    undo.callback(_leaving, end, detach)


def _leaving(end: End, detach: Callable[[], Any]) -> None:
    with end.namespace.entered():
        detach()


def _attach_by_type(programs: Programs, function: Any, end: End, hook: str) -> Callable[[], Any]:
    kind = _ATTACH_TYPES[hook]
    programs.bpf.attach_func(function, end.ifindex, kind)
    return lambda: programs.bpf.detach_func(function, end.ifindex, kind)


def _attach_clsact(_programs: Programs, function: Any, end: End, hook: str) -> Callable[[], Any]:
    """A direct-action filter on clsact (tc-bpf(8))."""
    ip = end.namespace.ip
    ip.tc("add", "clsact", end.ifindex)
    arguments = {"fd": function.fd, "name": "yogurt", "classid": 1, "direct_action": True}
    ip.tc("add-filter", "bpf", end.ifindex, ":1", parent=_CLSACT_PARENTS[hook], **arguments)
    return lambda: ip.tc("del", "clsact", end.ifindex)


def _attach_xdp(programs: Programs, function: Any, end: End, hook: str) -> Callable[[], Any]:
    flags = _XDP_FLAGS[hook]
    programs.bpf.attach_xdp(end.name, function, flags)
    return lambda: programs.bpf.remove_xdp(end.name, flags)


_ATTACH: dict[str, Callable[[Programs, Any, End, str], Callable[[], Any]]] = {
    **dict.fromkeys(_ATTACH_TYPES, _attach_by_type),
    **dict.fromkeys(_CLSACT_PARENTS, _attach_clsact),
    **dict.fromkeys(_XDP_FLAGS, _attach_xdp),
}
