"""Fill in what a matrix leaves out, of points and of baselines. Pure.

Each default sees the axes above it in _WIRE_DEFAULTS, resolved. None: the axis does not apply, and
whatever was named for it collapses. What keeps ids stable: a default looks only at axes above it,
and never changes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from yogurtbench.core.hook_specs import can_call, has_raw_frames, is_xdp
from yogurtbench.core.metrics import BULK, YES_NO
from yogurtbench.core.records import Cell
from yogurtbench.matrix.axes import HOST_KERNEL, PAYLOAD, Point, Value
from yogurtbench.matrix.rules import TRAFFIC_RULES, WIRE_RULES, Rule

_Seen = Mapping[str, Any]


def _mode(seen: _Seen) -> str:
    # A Linux bridge takes only devices with a MAC address, so bridged netkit is l2 unless somebody
    # insists.
    return "l3" if seen["device"] == "netkit" and seen["topology"] != "bridge" else "l2"


def _hook(seen: _Seen) -> str:
    if seen["topology"] == "wire":
        return "netkit_peer" if seen["device"] == "netkit" else "tcx_ingress"
    # North-south: in on the uplink, a veth, and by redirect_peer straight into the container: what
    # netkit was made for.
    return "tcx_ingress" if seen["topology"] == "uplink" else "none"


def _helper(seen: _Seen) -> str:
    if seen["hook"] == "none":
        return "none"
    into_peer = seen["topology"] == "uplink" and not is_xdp(seen["hook"])
    return "redirect_peer" if into_peer else "redirect"


def _return_hook(seen: _Seen) -> str:
    if seen["topology"] == "uplink" and seen["hook"] != "none":
        return "netkit_peer" if seen["device"] == "netkit" else "tcx_ingress"
    return str(seen["hook"])


def _return_helper(seen: _Seen) -> str:
    hook, helper = seen["return_hook"], seen["helper"]
    if hook == "none":
        return "none"
    # Out through the uplink the next hop's address must be found: redirect_neigh.
    if seen["topology"] == "uplink":
        return "redirect" if is_xdp(hook) else "redirect_neigh"
    return str(helper) if can_call(hook, helper) else "redirect"


def _policy(seen: _Seen) -> str | None:
    if seen["device"] != "netkit":
        return None
    if seen["topology"] == "uplink":  # without a wire an uplink is plain IP forwarding
        return "blackhole" if {seen["hook"], seen["return_hook"]} != {"none"} else "forward"
    return "blackhole" if seen["topology"] == "wire" else "forward"


def _companion(seen: _Seen, own: str) -> str | None:
    """Return the program on the netkit hook ``own`` beside the wire.

    ``pass`` where the policy would drop what the wire sends.

    Does not apply where the wire itself hangs there, both ways.
    """
    if seen["device"] != "netkit":
        return None
    on_netkit = (
        {seen["return_hook"]}
        if seen["topology"] == "uplink"
        else {seen["hook"], seen["return_hook"]}
    )
    if on_netkit == {own}:
        return None
    wired = {seen["hook"], seen["return_hook"]} != {"none"}
    return "pass" if seen["policy"] == "blackhole" and wired else "none"


def _gro(seen: _Seen) -> str:
    """Off, as the kernel makes it.

    Native XDP redirects into a veth only where its end polls, which gro makes it do.
    """
    return "on" if has_raw_frames(seen["hook"], seen["return_hook"]) else "off"


def _gso(seen: _Seen) -> str:
    """On, as the kernel makes it.

    XDP redirects nothing larger than the far end's MTU (xdp_ok_fwd_dev).

    Packets that were left to be segmented later would be dropped, and TCP would crawl from time-out
    to time-out.
    """
    return "off" if is_xdp(seen["hook"]) or is_xdp(seen["return_hook"]) else "on"


def _checksum(seen: _Seen) -> str:
    """On, as the kernel makes it; but what native XDP redirects must carry its checksum already.

    A struct xdp_frame has no csum_start: the far end would drop its UDP and TCP as corrupt.
    """
    return "off" if has_raw_frames(seen["hook"], seen["return_hook"]) else "on"


def _neighbours(seen: _Seen) -> str | None:
    """Add the neighbours of the containers, as a network plugin does: redirect_neigh carries no
    ARP.
    """
    if seen["mode"] != "l2":
        return None
    return "static" if seen["topology"] == "uplink" else "arp"


def _cpus_of(load: str, clock: str) -> str | None:
    if load in YES_NO:
        return None
    # The instruction clock knows one CPU.
    bulk = load in BULK or load == "rtt_under_load"
    return "split" if bulk and clock != "instructions" else "same"


def _only_netkit(value: Value) -> Callable[[_Seen], Value | None]:
    return lambda seen: value if seen["device"] == "netkit" else None


def _always(value: Value) -> Callable[[_Seen], Value | None]:
    return lambda _seen: value


_WIRE_DEFAULTS: tuple[tuple[str, Callable[[_Seen], Value | None]], ...] = (
    ("device", _always("netkit")),
    ("topology", _always("wire")),
    ("mode", _mode),
    ("hook", _hook),
    ("helper", _helper),
    ("return_hook", _return_hook),
    ("return_helper", _return_helper),
    ("policy", _policy),
    ("primary", lambda seen: _companion(seen, "netkit_primary")),
    ("peer", lambda seen: _companion(seen, "netkit_peer")),
    ("scrub", _only_netkit("default")),
    ("headroom", _only_netkit(0)),
    ("program", _always("builtin")),
    ("neighbours", _neighbours),
    ("mtu", _always(1500)),
    ("gso", _gso),
    ("gro", _gro),
    ("checksum", _checksum),
    ("kernel", _always(HOST_KERNEL)),
)
_WIRE_AXES = tuple(name for name, _ in _WIRE_DEFAULTS)


def _traffic_defaults(load: str, clock: str) -> dict[str, Value | None]:
    return {
        "ip": None if load in YES_NO else 4,
        "payload": PAYLOAD.get(load),
        "streams": 1 if load in BULK or load == "rtt_under_load" else None,
        "cpus": _cpus_of(load, clock),
    }


class CellBuilder:
    """Turns points into whole cells on one clock.

    Remembers the wires it has seen, since most cells share theirs.
    """

    def __init__(self, clock: str) -> None:
        self.clock = clock
        self._wires: dict[
            tuple[Any, ...], tuple[dict[str, Any], dict[str, Any], tuple[Rule, ...]]
        ] = {}

    def fill(self, point: Mapping[str, Any]) -> tuple[Cell, Rule | None]:
        """Return the cell that a point (its load among it) names, and the rule that forbids it, if
        one does.
        """
        wire, defaults, broken = self._wire(point)
        load = point["load"]
        traffic_defaults = _traffic_defaults(load, self.clock)
        traffic = {name: _named(point, name, default) for name, default in traffic_defaults.items()}
        if self.clock == "instructions":
            traffic["cpus"] = traffic_defaults["cpus"]
        cell = Cell(**wire, **traffic, load=load, defaults={**defaults, **traffic_defaults})
        return cell, broken[0] if broken else next(
            (rule for rule in TRAFFIC_RULES if rule.broken(cell)), None
        )

    def _wire(
        self, point: Mapping[str, Any]
    ) -> tuple[dict[str, Any], dict[str, Any], tuple[Rule, ...]]:
        key = tuple(point.get(name) for name in _WIRE_AXES)
        if key not in self._wires:
            self._wires[key] = _resolve(point)
        return self._wires[key]


def _named(point: Mapping[str, Any], name: str, default: Value | None) -> Any:
    return None if default is None else point.get(name, default)


def _resolve(point: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any], tuple[Rule, ...]]:
    seen: dict[str, Any] = {}
    defaults: dict[str, Any] = {}
    for name, default in _WIRE_DEFAULTS:
        defaults[name] = default(seen)
        seen[name] = _named(point, name, defaults[name])
    probe = Cell(**seen, ip=None, payload=None, streams=None, cpus=None, load="reachability")
    return seen, defaults, tuple(rule for rule in WIRE_RULES if rule.broken(probe))


#: Axes a baseline always takes over from the cell it is compared with: the same traffic through the
#: same kernel.
_SHARED = ("ip", "payload", "mtu", "streams", "gso", "gro", "checksum", "cpus", "kernel", "load")


class BaselineBuilder:
    """Completes one partial baseline for cell after cell."""

    def __init__(self, baseline: Mapping[str, Any], filler: CellBuilder) -> None:
        self.baseline = dict(baseline)
        self._filler = filler
        self._kept: dict[tuple[tuple[str, Any], ...], Point] = {}

    def complete(self, cell: Cell) -> tuple[Cell, Rule | None]:
        """Return the baseline of ``cell``, and the rule that forbids it, if one does.

        What the baseline does not name comes from the cell: its traffic always, its wire where the
        cell differs from the defaults and the baseline's own device and topology have such a thing.
        The rest are the baseline's defaults.
        """
        shared = {name: value for name in _SHARED if (value := getattr(cell, name)) is not None}
        wire = tuple(
            (k, v) for k, v in cell.named.items() if k not in _SHARED and k not in self.baseline
        )
        if wire not in self._kept:
            self._kept[wire] = self._fitting(wire)
        return self._filler.fill({**shared, **self._kept[wire], **self.baseline})

    def _fitting(self, wire: tuple[tuple[str, Any], ...]) -> Point:
        """Return those axes of the cell's wire that the baseline can have, taken one after
        another.
        """
        kept: Point = {}
        for name, value in wire:
            tried = {"load": "reachability", **kept, name: value, **self.baseline}
            if self._filler.fill(tried)[1] is None:
                kept[name] = value
        return kept
