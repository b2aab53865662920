"""Which cells cannot be built, and why. Pure.

Whether a wire *works* is not asked here: a wire that drops everything is an experiment with a
result.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from yogurtbench.core.records import Cell
from yogurtbench.matrix.axes import NETKIT_HOOKS, PAYLOADS, XDP_HELPERS, XDP_HOOKS

#: RFC 8200, section 5: no IPv6 below this MTU.
IPV6_MTU = 1280


@dataclass(frozen=True, slots=True)
class Rule:
    """A kind of cell that cannot be built: which, why, and the axes to blame, the likeliest
    first.
    """

    broken: Callable[[Cell], bool]
    reason: str
    axes: tuple[str, ...]


def _ways(cell: Cell) -> tuple[tuple[str, str], ...]:
    return (cell.hook, cell.helper), (cell.return_hook, cell.return_helper)


def _pair_hooks(cell: Cell) -> tuple[str, ...]:
    """Return the hooks on the pairs under test: an uplink's way in hangs on its uplink, always a
    veth.
    """
    return (cell.return_hook,) if cell.topology == "uplink" else (cell.hook, cell.return_hook)


_HOOKS = ("hook", "return_hook")
_HELPERS = ("helper", "return_helper", *_HOOKS)

WIRE_RULES: tuple[Rule, ...] = (
    Rule(
        lambda c: c.device == "veth" and c.mode == "l3",
        "veth has no mode l3: it is always l2",
        ("mode", "device"),
    ),
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
        lambda c: (
            c.topology not in ("wire", "uplink") and (c.hook != "none" or c.return_hook != "none")
        ),
        "only the topologies wire and uplink have hooks: leave hook and helper out, or set "
        "them to none",
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
        lambda c: any(
            hook not in (*XDP_HOOKS, "none") and helper == "redirect_map"
            for hook, helper in _ways(c)
        ),
        "redirect_map sends through a devmap, which only XDP programs have",
        _HELPERS,
    ),
    Rule(
        lambda c: any(
            hook in XDP_HOOKS and helper not in (*XDP_HELPERS, "none") for hook, helper in _ways(c)
        ),
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
        "a custom program needs a hook to attach to",
        ("program", "hook", "topology"),
    ),
)


def _payload_fits(cell: Cell) -> bool:
    low, high = PAYLOADS.get(cell.load, (0, 0))
    return cell.payload is None or low <= cell.payload <= high


TRAFFIC_RULES: tuple[Rule, ...] = (
    Rule(
        lambda c: c.ip == 6 and c.mtu < IPV6_MTU,
        f"IPv6 needs an mtu of at least {IPV6_MTU}",
        ("mtu", "ip"),
    ),
    *(
        Rule(
            lambda c, load=load: c.load == load and not _payload_fits(c),  # type: ignore[misc]
            f"payload is out of range for {load}: {low} to {high} bytes",
            ("payload", "load"),
        )
        for load, (low, high) in PAYLOADS.items()
    ),
)
