"""Wires: attaches a cell's programs to a lab, counts what they saw, detaches them.

Attachment uses BPF_PROG_ATTACH through bcc's ``attach_func``, which takes an ifindex
where it says fd; both netkit hooks attach through the ifindex of the primary device, the host end.
"""

from __future__ import annotations

import ipaddress
import struct
from collections.abc import Callable, Collection, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

from yogurtbench.core.builds import UserProgram
from yogurtbench.core.errors import HostError
from yogurtbench.core.hook_specs import HELPERS, HOOKS, Family, HelperSpec
from yogurtbench.core.records import Cell
from yogurtbench.ebpf import run_time
from yogurtbench.ebpf.programs import NoSuchProgram, Programs
from yogurtbench.ebpf.run_time import RunTime
from yogurtbench.lab import Endpoint, Interface, Lab, Unsupported
from yogurtbench.lab.link_down import LinkDown, switch

#: Rows of the maps, as in yogurt.h: role row + way.
ROLE_ROWS = {"wire": 0, "primary": 2, "peer": 4}
WAYS = ("forward", "return")
#: YB_TALLIES of yogurt.h.
TALLIES = 8


@dataclass(frozen=True, slots=True)
class Counters:
    """Packets and bytes of one row's programs since they were attached, summed over CPUs."""

    packets: int
    bytes: int

    def __sub__(self, earlier: Counters) -> Counters:
        return Counters(self.packets - earlier.packets, self.bytes - earlier.bytes)


@dataclass(frozen=True, slots=True)
class Attachment:
    """One program on one hook of one end.

    ``end``: ``a`` or ``b``; ``role``: ``wire``, ``primary`` or ``peer``.
    """

    end: str
    hook: str
    role: str
    way: str
    program: str

    @property
    def row(self) -> int:
        """The row of `targets` and `traffic` that the program uses."""
        return ROLE_ROWS[self.role] + WAYS.index(self.way)


def attachments(cell: Cell, own: UserProgram | None = None) -> tuple[Attachment, ...]:
    """Return which programs go where, for a cell: pure, in the order in which they are attached.

    ``own`` is the custom wire that the cell names; what it does not define is built in.

    What is attached to netkit's primary hook of an end serves the packets on their way *into* that
    end's container, so on end b it serves the forward way.
    """
    found: list[Attachment] = []
    for end, way, hook, helper in (
        ("a", "forward", cell.hook, cell.helper),
        ("b", "return", cell.return_hook, cell.return_helper),
    ):
        into = "return" if way == "forward" else "forward"
        roles = own.roles if own else ()
        on_netkit = cell.topology != "uplink" or end == "b"  # an uplink is a veth
        if on_netkit and cell.primary not in (None, "none") and hook != "netkit_primary":
            found.append(
                Attachment(
                    end,
                    "netkit_primary",
                    "primary",
                    into,
                    _companion_program("primary", cell.primary, roles, into),
                )
            )
        if on_netkit and cell.peer not in (None, "none") and hook != "netkit_peer":
            found.append(
                Attachment(
                    end,
                    "netkit_peer",
                    "peer",
                    way,
                    _companion_program("peer", cell.peer, roles, way),
                )
            )
        if hook != "none":
            found.append(
                Attachment(
                    end, hook, "wire", way, "yb_wire" if own else _program(cell, hook, helper, way)
                )
            )
    return tuple(found)


def _companion_program(role: str, word: str, own: Collection[str], way: str) -> str:
    """Return the program of a role beside the wire: the user's where the file defines it."""
    return f"yb_{role}" if role in own else f"{role}_{word}_{way}"


def _program(cell: Cell, hook: str, helper: str, way: str) -> str:
    name = HELPERS[helper].program_name
    if HOOKS[hook].family == "xdp":
        return f"xdp_{name}_{way}"
    stamp = f"_{cell.primary}" if cell.primary in ("guard_cb", "guard_mark") else ""
    return f"{name}{stamp}_{way}"


@dataclass(slots=True)
class Wire:
    """A cell's programs, attached. ``counters`` may be read at any time."""

    programs: Programs
    attached: tuple[Attachment, ...]
    own: UserProgram | None
    traced: bool
    functions: dict[Attachment, Any] = field(repr=False)
    switch: LinkDown = field(repr=False)
    undo: ExitStack = field(repr=False)

    def counters(self) -> dict[str, Counters]:
        """Packets and bytes per role and way, e.g. ``wire.forward``, of what is attached."""
        return {f"{a.role}.{a.way}": self._row("traffic", a, a.row) for a in self.attached}

    def run_times(self) -> dict[str, RunTime]:
        """Return how long each program has run since it was loaded, by role and way.

        It grows while statistics are on.
        """
        return {
            f"{a.role}.{a.way}": run_time.read_run_time(function.fd)
            for a, function in self.functions.items()
        }

    def names_by_tag(self) -> dict[str, list[str]]:
        """Return the programs' C names by their tag, a digest of the code (bpf_prog_calc_tag).

        /proc/kallsyms has the tag, and of a long name the beginning. Programs of the same code have
        the same.
        """
        found: dict[str, list[str]] = {}
        for attachment, function in self.functions.items():
            found.setdefault(run_time.read_tag(function.fd), []).append(attachment.program)
        return found

    def tallies(self) -> dict[str, list[Counters]]:
        """Return what a custom wire counted by itself (YB_COUNT), per way: a list by slot.

        Empty for built-in wires.
        """
        wires = [a for a in self.attached if self.own and a.role == "wire"]
        return {a.way: [self._row("yb_tallies", a, slot) for slot in range(TALLIES)] for a in wires}

    def places(self, lab: Lab) -> dict[int, str]:
        """Return where each program is attached, by its row: ``tcx_ingress of yg1-host:
        redirect_forward``.
        """
        return {
            a.row: f"{a.hook} of {attachment_point(a, lab)[0].name}: {a.program}"
            for a in self.attached
        }

    def _row(self, name: str, attachment: Attachment, row: int) -> Counters:
        table = self.programs.handle(attachment, self.own, traced=self.traced)[name]
        return _sum(table[table.Key(row)])

    def records(self) -> list[Any]:
        """Return the handles of a traced custom wire: its hits stand in records beside the
        tracer's.
        """
        if not (self.own and self.traced):
            return []
        theirs = [a for a in self.attached if a.program.startswith("yb_")]
        return list(
            {
                id(h): h for h in (self.programs.handle(a, self.own, traced=True) for a in theirs)
            }.values()
        )

    def silence(self) -> None:
        """End all traffic at once, also from within a signal handler."""
        self.switch.off()

    def detach(self) -> None:
        """Take every program off now; calling it twice is fine.

        The host ends go down first: detaching under fire would patch the kernel's code (static
        keys) where packets are running through it.
        """
        self.silence()
        self.undo.close()


def _sum(per_cpu: Any) -> Counters:
    return Counters(sum(cpu.packets for cpu in per_cpu), sum(cpu.bytes for cpu in per_cpu))


@contextmanager
def attach_wire(
    programs: Programs, lab: Lab, own: UserProgram | None = None, *, traced: bool = False
) -> Iterator[Wire]:
    """Yield the wire of the lab's cell for the length of the block, its counters at zero.

    ``traced``: for a tracer.

    The programs leave with their devices when the lab goes down, all at once; detaching each would
    wait for an RCU grace period apiece. ``Wire.detach`` is for those who cannot wait.

    Raises Unsupported where the kernel knows no such hook, HostError where a program is refused.
    """
    wanted = attachments(lab.cell, own)
    detaching = ExitStack()
    for attachment in wanted:
        _set_target(programs.handle(attachment, own, traced=traced), attachment, lab)
    functions: dict[Attachment, Any] = {}
    for attachment in wanted:
        handle = programs.handle(attachment, own, traced=traced)
        try:
            functions[attachment] = programs.load(
                handle, attachment.program, HOOKS[attachment.hook].program_type, own
            )
        except NoSuchProgram as absent:
            raise Unsupported(str(absent)) from absent
        _attach(handle, functions[attachment], attachment, lab, detaching)
    with switch(lab) as off_switch:
        yield Wire(programs, wanted, own, traced, functions, off_switch, detaching)


def _destination(attachment: Attachment, lab: Lab) -> tuple[Interface, Endpoint]:
    """Return the host end and the pot that the packets of an attachment's way are bound for."""
    assert lab.a and lab.b  # only topologies with two host ends have wires
    return (lab.b, lab.server) if attachment.way == "forward" else (lab.a, lab.client)


def _set_target(bpf: Any, attachment: Attachment, lab: Lab) -> None:
    """Write the row's target and zero its counters."""
    host_end, pot = _destination(attachment, lab)
    helper = _helper(attachment, lab)
    into_container = attachment.role == "primary" or helper.into_container
    ifindex = pot.end.ifindex if into_container else host_end.ifindex
    targets, traffic = bpf["targets"], bpf["traffic"]
    row = targets.Key(attachment.row)
    nexthop6 = struct.unpack("=4I", ipaddress.ip_address(pot.ipv6).packed)
    (nexthop4,) = struct.unpack("=I", ipaddress.ip_address(pot.ipv4).packed)
    targets[row] = targets.Leaf(ifindex, pot.end.ifindex, nexthop4, nexthop6)
    traffic[row] = traffic.Leaf()
    if helper.by_map and attachment.role == "wire":
        devices = bpf["devices"]
        devices[devices.Key(attachment.row)] = devices.Leaf(ifindex)


def _helper(attachment: Attachment, lab: Lab) -> HelperSpec:
    """Return the helper of an attachment's way; a custom wire without one redirects."""
    name = lab.cell.helper if attachment.way == "forward" else lab.cell.return_helper
    return HELPERS.get(name, HELPERS["redirect"])


def attachment_point(attachment: Attachment, lab: Lab) -> tuple[Interface, str]:
    """Return the end a program is attached to, and its hook there."""
    hook = HOOKS[attachment.hook]
    if hook.in_container:
        pot = lab.client if attachment.end == "a" else lab.server
        return pot.end, hook.attach_point
    host_end = lab.a if attachment.end == "a" else lab.b
    assert host_end
    return host_end, hook.attach_point


def _attach(handle: Any, function: Any, attachment: Attachment, lab: Lab, undo: ExitStack) -> None:
    """Attach one program and register its undoing."""
    end, _ = attachment_point(attachment, lab)
    hook = HOOKS[attachment.hook]
    try:
        with end.namespace.entered():
            detach = _ATTACH[hook.family](handle, function, end, hook.number)
    except (
        Exception
    ) as error:  # bcc raises bare Exception, pyroute2 NetlinkError: both mean "this kernel says no"
        if not end.exists():
            raise HostError(
                f"{end.name} was removed by something else before {attachment.hook} was attached"
            ) from error
        raise Unsupported(
            f"this kernel does not attach to {attachment.hook} on {end.name}: {error}"
        ) from error
    undo.callback(_detach, end, detach)


def _detach(end: Interface, detach: Callable[[], Any]) -> None:
    with end.namespace.entered():
        detach()


def _attach_by_type(bpf: Any, function: Any, end: Interface, kind: int) -> Callable[[], Any]:
    bpf.attach_func(function, end.ifindex, kind)
    return lambda: bpf.detach_func(function, end.ifindex, kind)


def _attach_clsact(_bpf: Any, function: Any, end: Interface, parent: int) -> Callable[[], Any]:
    """Return a direct-action filter on clsact (tc-bpf(8))."""
    ip = end.namespace.ip
    ip.tc("add", "clsact", end.ifindex)
    arguments = {"fd": function.fd, "name": "yogurt", "classid": 1, "direct_action": True}
    ip.tc("add-filter", "bpf", end.ifindex, ":1", parent=parent, **arguments)
    return lambda: ip.tc("del", "clsact", end.ifindex)


def _attach_xdp(bpf: Any, function: Any, end: Interface, flags: int) -> Callable[[], Any]:
    bpf.attach_xdp(end.name, function, flags)
    return lambda: bpf.remove_xdp(end.name, flags)


#: By a hook's family; each takes the hook's number.
_ATTACH: dict[Family, Callable[[Any, Any, Interface, int], Callable[[], Any]]] = {
    "netkit": _attach_by_type,
    "tcx": _attach_by_type,
    "clsact": _attach_clsact,
    "xdp": _attach_xdp,
}
