"""The rules for cells that cannot be built, with reasons. Pure.

Whether a wire *works* is not asked here: a wire that drops everything is an experiment with a
result.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from yogurtbench.core.hook_specs import (
    HELPERS,
    HOOKS,
    can_call,
    has_hook,
    is_in_container,
    is_xdp,
)
from yogurtbench.core.records import Cell
from yogurtbench.matrix.axes import PAYLOADS

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
    """Return the hooks on the pairs under test.

    An uplink's way in is attached to its uplink, always a veth.
    """
    return (cell.return_hook,) if cell.topology == "uplink" else (cell.hook, cell.return_hook)


def _refusals(cell: Cell) -> set[str]:
    """Return why the cell's device does not have its hooks; empty where it has them."""
    return {HOOKS[hook].refusal for hook in _pair_hooks(cell) if not has_hook(cell.device, hook)}


def _calls_in_vain(cell: Cell, name: str) -> bool:
    """Return whether a program on a hook that may not call it is to call this helper."""
    return any(
        hook in HOOKS and helper == name and not can_call(hook, name)
        for hook, helper in _ways(cell)
    )


_XDP_HELPERS = [name for name, spec in HELPERS.items() if "XDP" in spec.program_types]
_HOOKS = ("hook", "return_hook")
_HELPERS = ("helper", "return_helper", *_HOOKS)

WIRE_RULES: tuple[Rule, ...] = (
    Rule(
        lambda c: c.device == "veth" and c.mode == "l3",
        "veth has no mode l3: it is always l2",
        ("mode", "device"),
    ),
    *(
        Rule(
            lambda c, refusal=refusal: refusal in _refusals(c),  # type: ignore[misc]
            refusal,
            (*_HOOKS, "device"),
        )
        for refusal in dict.fromkeys(hook.refusal for hook in HOOKS.values() if hook.refusal)
    ),
    Rule(
        lambda c: c.topology == "uplink" and not has_hook("veth", c.hook),
        "the way in of an uplink is attached to the uplink, a veth, which has no netkit hooks",
        ("hook", "topology"),
    ),
    Rule(
        lambda c: c.topology == "uplink" and is_in_container(c.hook),
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
    *(
        Rule(
            lambda c, name=name: _calls_in_vain(c, name),  # type: ignore[misc]
            helper.refusal,
            _HELPERS,
        )
        for name, helper in HELPERS.items()
        if helper.refusal
    ),
    Rule(
        lambda c: any(
            is_xdp(hook) and helper != "none" and not can_call(hook, helper)
            for hook, helper in _ways(c)
        ),
        f"XDP programs can only {' and '.join(_XDP_HELPERS)}",
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
