"""The axes: their words, their defaults, and which combinations cannot exist. Pure.

``fill`` turns what a matrix names into a whole Cell, ``impossible`` says why a cell cannot be built. Whether a wire
*works* is none of our business here: a wire that drops everything is an experiment with a result.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from yogurtbench.core.glossary import meaning
from yogurtbench.core.load_specs import LOADS
from yogurtbench.core.metrics import BULK, YES_NO
from yogurtbench.core.records import AXES, Cell
from yogurtbench.core.wording import format_words, in_quotes, is_whole, kind, suggest_nearest

Value = str | int | tuple[int, int]
Point = dict[str, Value]

TC_HELPERS = (
    "redirect",
    "redirect_ingress",
    "redirect_container",
    "redirect_peer",
    "redirect_neigh",
    "redirect_neigh_nexthop",
)
XDP_HELPERS = ("redirect", "redirect_map")
XDP_HOOKS = ("xdp_native", "xdp_generic")
NETKIT_HOOKS = ("netkit_peer", "netkit_primary")
TC_HOOKS = ("tcx_ingress", "tcx_egress", "tc_ingress", "tc_egress", "tcx_egress_container")
HOOKS = (*NETKIT_HOOKS, *TC_HOOKS, *XDP_HOOKS, "none")
HELPERS = (*TC_HELPERS, "redirect_map", "none")
#: The kernel that is there; every other one has to be booted.
HOST_KERNEL = "host"

#: What a load can hand to its socket at once: the least and the most bytes; and the default.
PAYLOADS: dict[str, tuple[int, int]] = {
    name: (spec.payload.low, spec.payload.high) for name, spec in LOADS.items() if spec.payload
}
PAYLOAD: dict[str, int] = {name: spec.payload.default for name, spec in LOADS.items() if spec.payload}
#: RFC 8200, section 5: no IPv6 below this MTU.
IPV6_MTU = 1280

#: What else people write for on and off.
_SWITCHES = {"true": "on", "yes": "on", "y": "on", "on": "on", "1": "on", "enabled": "on"}
_SWITCHES |= {"false": "off", "no": "off", "n": "off", "off": "off", "0": "off", "disabled": "off"}

_RELEASE = re.compile(r"\d+\.\d+[A-Za-z0-9.+~_-]*")


@dataclass(frozen=True, slots=True)
class Axis:
    """One axis: what it means and what it takes: words, numbers from ``low`` to ``high``, or what ``own`` can parse."""

    name: str
    meaning: str
    words: tuple[str, ...] = ()
    low: int = 0
    high: int = 0
    own: Callable[[object], Value] | None = None
    schema: Mapping[str, Any] | None = None

    def parse(self, value: object) -> Value:
        """Return the value, checked. Raises ValueError with a sentence that names the nearest valid word."""
        if self.own is not None:
            return self.own(value)
        if self.words:
            return self._word(value)
        return self._number(value)

    def read(self, text: str) -> Value:
        """Return the value of a word on the command line, where everything is text: ``64``, ``0:1``, ``redirect``."""
        if re.fullmatch(r"\d+:\d+", text) and self.name == "cpus":
            return self.parse([int(part) for part in text.split(":")])
        is_number = self.name in _NUMBERS and re.fullmatch(r"-?\d{1,18}", text)
        return self.parse(int(text) if is_number else text)

    def _word(self, value: object) -> Value:
        if isinstance(value, str) and value in self.words:
            return value
        if "on" in self.words and (switch := _SWITCHES.get(str(value).lower())):
            raise ValueError(f"{self.name} is on or off: did you mean {switch}?")
        if value is None and "none" in self.words:
            raise ValueError(f"{self.name} is given nothing: did you mean none?")
        if isinstance(value, str):
            raise ValueError(f"{self.name} does not know {value!r}{suggest_nearest(value, self.words)}")
        raise ValueError(f"{self.name} takes a word ({', '.join(self.words)}), not {kind(value)}")

    def _number(self, value: object) -> Value:
        if isinstance(value, bool) or not isinstance(value, int):
            raise ValueError(f"{self.name} takes a whole number, not {kind(value)}{_whole_hint(value)}")
        if not self.low <= value <= self.high:
            raise ValueError(f"{self.name} {format_words(value)} is out of range: {self.low} to {self.high}")
        return int(value)

    def json_schema(self) -> dict[str, Any]:
        """JSON Schema (draft 7) of one value."""
        if self.schema is not None:
            return dict(self.schema)
        if self.words:
            return _enum(self.name, self.words)
        return {"type": "integer", "minimum": self.low, "maximum": self.high}


def _enum(axis: str, words: Sequence[str]) -> dict[str, Any]:
    """JSON Schema of words with their meanings, as VS Code and the YAML language server show them."""
    return {"enum": list(words), "enumDescriptions": [meaning(axis, word) for word in words]}


def _whole_hint(value: object) -> str:
    """``1e3`` and ``64.0`` are fractions to YAML."""
    is_meant = isinstance(value, float) and value.is_integer() and abs(value) < 2**63
    return f": did you mean {int(value)}?" if isinstance(value, float) and is_meant else ""


def _ip(value: object) -> Value:
    if isinstance(value, int) and value in (4, 6):
        return int(value)
    raise ValueError(f"ip is 4 or 6, not {kind(value)}")


def _kernel(value: object) -> Value:
    if isinstance(value, int | float) and not isinstance(value, bool):
        raise ValueError(f"kernel {format_words(value)} was read as a number{in_quotes(value)}")
    if isinstance(value, str) and (value == HOST_KERNEL or "/" in value or _RELEASE.fullmatch(value)):
        return value
    if isinstance(value, str):
        hint = suggest_nearest(value, [HOST_KERNEL, 'a release in quotes ("6.12")', "a path with a slash"])
        raise ValueError(f"kernel does not know {value!r}{hint}")
    raise ValueError(f"kernel takes host, a release in quotes or a path, not {kind(value)}")


def _program(value: object) -> Value:
    if isinstance(value, str) and (value == "builtin" or value.endswith(".c")):
        return value
    if isinstance(value, str):
        hint = suggest_nearest(value, ["builtin", "a C file (./my_wire.c)"])
        raise ValueError(f"program does not know {value!r}{hint}")
    raise ValueError(f"program takes builtin or the name of a C file, not {kind(value)}")


_CPUS = ("same", "split", "free")


def is_pair(value: object) -> bool:
    """Return whether a list is one value of axis cpus, [client, server], and not a list of values."""
    return isinstance(value, list) and len(value) == 2 and all(map(is_whole, value))


def _cpus(value: object) -> Value:
    if isinstance(value, str) and value in _CPUS:
        return value
    if isinstance(value, list) and is_pair(value):
        if min(value) < 0 or max(value) > 8191:
            raise ValueError(f"cpus {value} is out of range: 0 to 8191")
        return (int(value[0]), int(value[1]))
    if isinstance(value, str):
        raise ValueError(f"cpus does not know {value!r}{suggest_nearest(value, _CPUS)}, or [client, server]")
    raise ValueError(f"cpus takes {', '.join(_CPUS)} or [client, server], not {kind(value)}")


_ON_OFF = ("on", "off")
_PAIR = {"type": "array", "items": {"type": "integer", "minimum": 0}, "minItems": 2, "maxItems": 2}

#: Every axis by name, in the order of the contract's table.
WORDS: dict[str, Axis] = {
    axis.name: axis
    for axis in (
        Axis("device", "the kind of pair that leads into a namespace", ("netkit", "veth")),
        Axis("mode", "netkit's mode: l3 has no link layer; veth is always l2", ("l3", "l2")),
        Axis(
            "topology",
            "wire: two pairs joined by eBPF; direct: one pair spanning both namespaces; bridge: two pairs and a Linux "
            "bridge; routed: two pairs and IP forwarding; uplink: an outside namespace, a veth as the host's uplink, "
            "the container behind it; loopback: both ends in one namespace",
            ("wire", "direct", "bridge", "routed", "uplink", "loopback"),
        ),
        Axis("hook", "where the wire's program hangs", HOOKS),
        Axis("helper", "how the program sends a packet on", HELPERS),
        Axis("return_hook", "the hook of the way back; left out: the same", HOOKS),
        Axis("return_helper", "the helper of the way back; left out: the same", HELPERS),
        Axis("policy", "netkit's own verdict where no program is attached", ("blackhole", "forward")),
        Axis(
            "primary",
            "the program on netkit's primary hook; left out: what the wire needs",
            ("none", "pass", "next", "redirect_in", "guard_cb", "guard_mark"),
        ),
        Axis("peer", "the program on netkit's peer hook when the wire hangs elsewhere", ("none", "pass")),
        Axis("scrub", "what netkit clears of a packet that changes namespaces", ("default", "none")),
        Axis("headroom", "bytes netkit reserves in front of a packet; 0: the default", low=0, high=65_535),
        Axis(
            "program",
            "builtin, or a C file beside the matrix: a wire of one's own",
            own=_program,
            schema={"anyOf": [_enum("program", ["builtin"]), {"type": "string", "pattern": r"\.c$"}]},
        ),
        Axis("neighbours", "how link-layer addresses are found (l2)", ("arp", "static")),
        Axis("ip", "the IP version of the loads", own=_ip, schema={"enum": [4, 6]}),
        Axis("payload", "bytes per message, or per write (TCP)", low=1, high=1_048_576),
        Axis("mtu", "bytes per IP packet", low=68, high=65_535),
        Axis("streams", "parallel streams of a bulk load", low=1, high=128),
        Axis("gso", "segmentation offload", _ON_OFF),
        Axis("gro", "receive offload of veth; netkit has none", _ON_OFF),
        Axis("checksum", "checksum offload", _ON_OFF),
        Axis(
            "cpus",
            "where client and server are pinned: one CPU, two, anywhere, or [client, server]",
            own=_cpus,
            schema={"anyOf": [_enum("cpus", _CPUS), _PAIR]},
        ),
        Axis(
            "kernel",
            "host, a Debian kernel release in quotes, or a path to a bzImage",
            own=_kernel,
            schema={
                "anyOf": [_enum("kernel", [HOST_KERNEL]), {"type": "string", "pattern": f"/|^{_RELEASE.pattern}$"}]
            },
        ),
        Axis("load", "what is sent", tuple(LOADS)),
    )
}
assert tuple(WORDS) == AXES


#: The axes whose words on a command line may be numbers; a kernel 7 is text.
_NUMBERS = frozenset({"ip", "cpus", *(name for name, one in WORDS.items() if not one.words and one.own is None)})


def axis_named(name: str) -> Axis:
    """Return the axis of a name. Raises ValueError with the nearest one."""
    if name not in WORDS:
        raise ValueError(f"there is no axis {name!r}{suggest_nearest(name, WORDS)}")
    return WORDS[name]


# -- defaults --------------------------------------------------------------------------------------------------------
# Each sees the axes above it in _WIRE_DEFAULTS, resolved. None: the axis does not apply, and whatever was named for it
# collapses. What keeps ids stable: a default looks only at axes above it, and never changes.

_Seen = Mapping[str, Any]


def _mode(seen: _Seen) -> str:
    # A Linux bridge takes only devices with a MAC address, so bridged netkit is l2 unless somebody insists.
    return "l3" if seen["device"] == "netkit" and seen["topology"] != "bridge" else "l2"


def _hook(seen: _Seen) -> str:
    if seen["topology"] == "wire":
        return "netkit_peer" if seen["device"] == "netkit" else "tcx_ingress"
    # North-south: in on the uplink, a veth, and by redirect_peer straight into the container: what netkit was made for.
    return "tcx_ingress" if seen["topology"] == "uplink" else "none"


def _helper(seen: _Seen) -> str:
    if seen["hook"] == "none":
        return "none"
    return "redirect_peer" if seen["topology"] == "uplink" and seen["hook"] not in XDP_HOOKS else "redirect"


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
        return "redirect" if hook in XDP_HOOKS else "redirect_neigh"
    fits = helper in (XDP_HELPERS if hook in XDP_HOOKS else TC_HELPERS)
    return str(helper) if fits else "redirect"


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
    on_netkit = {seen["return_hook"]} if seen["topology"] == "uplink" else {seen["hook"], seen["return_hook"]}
    if on_netkit == {own}:
        return None
    wired = {seen["hook"], seen["return_hook"]} != {"none"}
    return "pass" if seen["policy"] == "blackhole" and wired else "none"


def _gro(seen: _Seen) -> str:
    """Off, as the kernel makes it; native XDP redirects into a veth only where its end polls, which gro makes it do."""
    return "on" if "xdp_native" in (seen["hook"], seen["return_hook"]) else "off"


def _gso(seen: _Seen) -> str:
    """On, as the kernel makes it; XDP redirects nothing larger than the far end's MTU (xdp_ok_fwd_dev).

    Packets that were left to be segmented later would be dropped, and TCP would crawl from time-out to time-out.
    """
    return "off" if {*XDP_HOOKS} & {seen["hook"], seen["return_hook"]} else "on"


def _checksum(seen: _Seen) -> str:
    """On, as the kernel makes it; but what native XDP redirects must carry its checksum already.

    A struct xdp_frame has no csum_start: the far end would drop its UDP and TCP as corrupt.
    """
    return "off" if "xdp_native" in (seen["hook"], seen["return_hook"]) else "on"


def _neighbours(seen: _Seen) -> str | None:
    """Add the neighbours of the containers, as a network plugin does: redirect_neigh carries no ARP."""
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
    """Turns points into whole cells on one clock; remembers the wires it has seen, since most cells share theirs."""

    def __init__(self, clock: str) -> None:
        self.clock = clock
        self._wires: dict[tuple[Any, ...], tuple[dict[str, Any], dict[str, Any], tuple[Rule, ...]]] = {}

    def fill(self, point: Mapping[str, Any]) -> tuple[Cell, Rule | None]:
        """Return the cell that a point (its load among it) names, and the rule that forbids it, if one does."""
        wire, defaults, broken = self._wire(point)
        load = point["load"]
        traffic_defaults = _traffic_defaults(load, self.clock)
        traffic = {name: _named(point, name, default) for name, default in traffic_defaults.items()}
        if self.clock == "instructions":
            traffic["cpus"] = traffic_defaults["cpus"]
        cell = Cell(**wire, **traffic, load=load, defaults={**defaults, **traffic_defaults})
        return cell, broken[0] if broken else next((rule for rule in TRAFFIC_RULES if rule.broken(cell)), None)

    def _wire(self, point: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any], tuple[Rule, ...]]:
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


# -- what cannot exist -----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Rule:
    """A kind of cell that cannot be built: which, why, and the axes to blame, the likeliest first."""

    broken: Callable[[Cell], bool]
    reason: str
    axes: tuple[str, ...]


def _ways(cell: Cell) -> tuple[tuple[str, str], ...]:
    return (cell.hook, cell.helper), (cell.return_hook, cell.return_helper)


def _pair_hooks(cell: Cell) -> tuple[str, ...]:
    """Return the hooks on the pairs under test: an uplink's way in hangs on its uplink, always a veth."""
    return (cell.return_hook,) if cell.topology == "uplink" else (cell.hook, cell.return_hook)


_HOOKS = ("hook", "return_hook")
_HELPERS = ("helper", "return_helper", *_HOOKS)

WIRE_RULES: tuple[Rule, ...] = (
    Rule(lambda c: c.device == "veth" and c.mode == "l3", "veth has no mode l3: it is always l2", ("mode", "device")),
    Rule(
        lambda c: c.device == "veth" and any(hook in NETKIT_HOOKS for hook in _pair_hooks(c)),
        "veth has no netkit hooks: use tcx_ingress, or device netkit",
        (*_HOOKS, "device"),
    ),
    Rule(
        lambda c: c.device == "netkit" and "xdp_native" in _pair_hooks(c),
        "netkit has no native XDP: use xdp_generic, or device veth",
        (*_HOOKS, "device"),
    ),
    Rule(
        lambda c: c.topology == "uplink" and c.hook in NETKIT_HOOKS,
        "the way in of an uplink hangs on the uplink, a veth, which has no netkit hooks",
        ("hook", "topology"),
    ),
    Rule(
        lambda c: c.topology == "uplink" and c.hook == "tcx_egress_container",
        "an uplink's container end only sends outwards: it can be the return_hook, not the hook",
        ("hook", "topology"),
    ),
    Rule(
        lambda c: c.topology not in ("wire", "uplink") and (c.hook != "none" or c.return_hook != "none"),
        "only the topologies wire and uplink have hooks: leave hook and helper out, or set them to none",
        (*_HOOKS, "topology"),
    ),
    Rule(
        lambda c: any(hook == "none" and helper != "none" for hook, helper in _ways(c)),
        "a helper needs a program to call it, and the hook is none",
        _HELPERS,
    ),
    Rule(
        lambda c: any(hook != "none" and helper == "none" for hook, helper in _ways(c)),
        "a program on a hook needs a helper to send packets with",
        _HELPERS,
    ),
    Rule(
        lambda c: any(hook not in (*XDP_HOOKS, "none") and helper == "redirect_map" for hook, helper in _ways(c)),
        "redirect_map sends through a devmap, which only XDP programs have",
        _HELPERS,
    ),
    Rule(
        lambda c: any(hook in XDP_HOOKS and helper not in (*XDP_HELPERS, "none") for hook, helper in _ways(c)),
        "XDP programs can only redirect and redirect_map",
        _HELPERS,
    ),
    Rule(
        lambda c: c.topology == "bridge" and c.mode == "l3",
        "a Linux bridge takes no l3 device: it has no MAC address",
        ("mode", "topology"),
    ),
    Rule(
        lambda c: c.program != "builtin" and c.hook == c.return_hook == "none",
        "a program of one's own needs a hook to hang on",
        ("program", "hook", "topology"),
    ),
)


def _payload_fits(cell: Cell) -> bool:
    low, high = PAYLOADS.get(cell.load, (0, 0))
    return cell.payload is None or low <= cell.payload <= high


TRAFFIC_RULES: tuple[Rule, ...] = (
    Rule(lambda c: c.ip == 6 and c.mtu < IPV6_MTU, f"IPv6 needs an mtu of at least {IPV6_MTU}", ("mtu", "ip")),
    *(
        Rule(
            lambda c, load=load: c.load == load and not _payload_fits(c),  # type: ignore[misc]
            f"payload is out of range for {load}: {low} to {high} bytes",
            ("payload", "load"),
        )
        for load, (low, high) in PAYLOADS.items()
    ),
)

#: Axes a baseline always takes over from the cell it is compared with: the same traffic through the same kernel.
_SHARED = ("ip", "payload", "mtu", "streams", "gso", "gro", "checksum", "cpus", "kernel", "load")


class BaselineBuilder:
    """Completes one partial baseline for cell after cell."""

    def __init__(self, baseline: Mapping[str, Any], filler: CellBuilder) -> None:
        self.baseline = dict(baseline)
        self._filler = filler
        self._kept: dict[tuple[tuple[str, Any], ...], Point] = {}

    def complete(self, cell: Cell) -> tuple[Cell, Rule | None]:
        """Return the baseline of ``cell``, and the rule that forbids it, if one does.

        What the baseline does not name comes from the cell: its traffic always, its wire where the cell differs from
        the defaults and the baseline's own device and topology have such a thing. The rest are the baseline's defaults.
        """
        shared = {name: value for name in _SHARED if (value := getattr(cell, name)) is not None}
        wire = tuple((k, v) for k, v in cell.named.items() if k not in _SHARED and k not in self.baseline)
        if wire not in self._kept:
            self._kept[wire] = self._fitting(wire)
        return self._filler.fill({**shared, **self._kept[wire], **self.baseline})

    def _fitting(self, wire: tuple[tuple[str, Any], ...]) -> Point:
        """Return those axes of the cell's wire that the baseline can have, taken one after another."""
        kept: Point = {}
        for name, value in wire:
            tried = {"load": "reachability", **kept, name: value, **self.baseline}
            if self._filler.fill(tried)[1] is None:
                kept[name] = value
        return kept
