"""The tables of hooks and helpers: one entry each, from which every other such table is derived.

A new hook of a family that is here is an entry in HOOKS; a new family also needs a way to attach
(``ebpf.wire``) and to be listed (``ebpf.attached``). A new helper is an entry in HELPERS and its
programs in bpf/.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

#: How programs attach: by BPF_PROG_ATTACH to an ifindex (netkit, tcx), as a filter of the clsact
#: qdisc, or as a link's XDP program.
Family = Literal["netkit", "tcx", "clsact", "xdp"]
#: The word for no hook, and for no helper.
NONE = "none"


@dataclass(frozen=True, slots=True)
class HookSpec:
    """A hook.

    ``number``: enum bpf_attach_type of uapi/linux/bpf.h for netkit and tcx, the parent's handle
    for clsact, XDP_FLAGS_* of uapi/linux/if_link.h for XDP. ``on``: the hook's own name where ours
    also says that it is the container's end. ``devices``: those that have it, ``refusal``: why the
    others do not. ``raw_frames``: it redirects struct xdp_frame, which only a polling end takes
    (gro) and which has no csum_start.
    """

    name: str
    meaning: str
    family: Family
    number: int
    on: str = ""
    devices: tuple[str, ...] = ("netkit", "veth")
    refusal: str = ""
    raw_frames: bool = False

    @property
    def program_type(self) -> str:
        """The type of its programs, as bcc names it."""
        return "XDP" if self.family == "xdp" else "SCHED_CLS"

    @property
    def attach_point(self) -> str:
        """The hook's name on the end that it belongs to."""
        return self.on or self.name

    @property
    def in_container(self) -> bool:
        """True where it belongs to the container's own end."""
        return bool(self.on)


@dataclass(frozen=True, slots=True)
class HelperSpec:
    """A helper.

    ``program``: the program of bpf/ that calls it, without its prefix and way. ``program_types``:
    those that may call it, ``refusal``: why the others may not. ``into_container``: its target is
    the ifindex of the container's end. ``by_map``: its target is an entry of a devmap.
    """

    name: str
    meaning: str
    program: str = ""
    program_types: tuple[str, ...] = ("SCHED_CLS",)
    refusal: str = ""
    into_container: bool = False
    by_map: bool = False

    @property
    def program_name(self) -> str:
        """The program's name, without its prefix and way."""
        return self.program or self.name


_ONLY_NETKIT = "veth has no netkit hooks: use tcx_ingress, or device netkit"

HOOKS: dict[str, HookSpec] = {
    spec.name: spec
    for spec in (
        HookSpec(
            "netkit_peer",
            "netkit's program on what the container sends, before the host end sees it",
            "netkit",
            55,
            devices=("netkit",),
            refusal=_ONLY_NETKIT,
        ),
        HookSpec(
            "netkit_primary",
            "netkit's program on what the host end sends into the container",
            "netkit",
            54,
            devices=("netkit",),
            refusal=_ONLY_NETKIT,
        ),
        HookSpec(
            "tcx_ingress", "on the host end, what comes out of the container, by tcx", "tcx", 46
        ),
        HookSpec("tcx_egress", "on the host end, what goes into the container, by tcx", "tcx", 47),
        HookSpec(
            "tc_ingress",
            "on the host end, what comes out of the container, by a clsact qdisc",
            "clsact",
            0xFFFFFFF2,
        ),
        HookSpec(
            "tc_egress",
            "on the host end, what goes into the container, by a clsact qdisc",
            "clsact",
            0xFFFFFFF3,
        ),
        HookSpec(
            "tcx_egress_container",
            "on the container's own end, what it sends, by tcx",
            "tcx",
            47,
            on="tcx_egress",
        ),
        HookSpec(
            "xdp_native",
            "on the host end, XDP in the driver; veth only",
            "xdp",
            1 << 2,
            devices=("veth",),
            refusal="netkit has no native XDP: use xdp_generic, or device veth",
            raw_frames=True,
        ),
        HookSpec(
            "xdp_generic",
            "on the host end, XDP on packets that the kernel has already built",
            "xdp",
            1 << 1,
        ),
    )
}

HELPERS: dict[str, HelperSpec] = {
    spec.name: spec
    for spec in (
        HelperSpec(
            "redirect",
            "bpf_redirect to the other host end, to be sent into its container",
            program_types=("SCHED_CLS", "XDP"),
        ),
        HelperSpec(
            "redirect_ingress",
            "bpf_redirect with BPF_F_INGRESS, as if the other host end had received it: it loops",
        ),
        HelperSpec(
            "redirect_container",
            "bpf_redirect to the container end's ifindex, which is another device here",
            program="redirect",
            into_container=True,
        ),
        HelperSpec(
            "redirect_peer",
            "bpf_redirect_peer, straight into the other container: from tc ingress only",
        ),
        HelperSpec(
            "redirect_neigh",
            "bpf_redirect_neigh, which finds the link-layer address for the packet's own "
            "destination",
        ),
        HelperSpec(
            "redirect_neigh_nexthop",
            "bpf_redirect_neigh with the next hop named by the program",
        ),
        HelperSpec(
            "redirect_map",
            "bpf_redirect_map through a devmap; XDP only",
            program_types=("XDP",),
            refusal="redirect_map sends through a devmap, which only XDP programs have",
            by_map=True,
        ),
    )
}


def hooks_of(family: Family) -> dict[str, HookSpec]:
    """Return the hooks of a family on the ends that they belong to, by their names there."""
    return {name: spec for name, spec in HOOKS.items() if spec.family == family and not spec.on}


def is_xdp(hook: str) -> bool:
    """Return whether a hook's programs are XDP's."""
    return hook in HOOKS and HOOKS[hook].program_type == "XDP"


def context(hook: str) -> str:
    """Return the struct that a hook hands to its programs."""
    return "xdp_md" if is_xdp(hook) else "__sk_buff"


def attach_family(hook: str) -> str:
    """Return how a hook's programs attach; empty where there is no hook."""
    return HOOKS[hook].family if hook in HOOKS else ""


def has_hook(device: str, hook: str) -> bool:
    """Return whether a device has a hook; every device has none."""
    return hook not in HOOKS or device in HOOKS[hook].devices


def is_in_container(hook: str) -> bool:
    """Return whether a hook belongs to the container's own end."""
    return hook in HOOKS and HOOKS[hook].in_container


def has_raw_frames(*hooks: str) -> bool:
    """Return whether one of the hooks redirects struct xdp_frame."""
    return any(hook in HOOKS and HOOKS[hook].raw_frames for hook in hooks)


def can_call(hook: str, helper: str) -> bool:
    """Return whether a program on a hook may call a helper."""
    return (
        hook in HOOKS
        and helper in HELPERS
        and HOOKS[hook].program_type in HELPERS[helper].program_types
    )
