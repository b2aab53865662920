"""What each word of a matrix means, in a line: for editors, which show it beside the word, and for
shell completion.
"""

from __future__ import annotations

from collections.abc import Mapping

from yogurtbench.core.load_specs import LOADS

_HOOK = {
    "netkit_peer": "netkit's program on what the container sends, before the host end sees it",
    "netkit_primary": "netkit's program on what the host end sends into the container",
    "tcx_ingress": "on the host end, what comes out of the container, by tcx",
    "tcx_egress": "on the host end, what goes into the container, by tcx",
    "tc_ingress": "on the host end, what comes out of the container, by a clsact qdisc",
    "tc_egress": "on the host end, what goes into the container, by a clsact qdisc",
    "tcx_egress_container": "on the container's own end, what it sends, by tcx",
    "xdp_native": "on the host end, XDP in the driver; veth only",
    "xdp_generic": "on the host end, XDP on packets that the kernel has already built",
    "none": "no program",
}
_HELPER = {
    "redirect": "bpf_redirect to the other host end, to be sent into its container",
    "redirect_ingress": "bpf_redirect with BPF_F_INGRESS, as if the other host end had "
    "received it: it loops",
    "redirect_container": "bpf_redirect to the container end's ifindex, which is another "
    "device here",
    "redirect_peer": "bpf_redirect_peer, straight into the other container: from tc ingress only",
    "redirect_neigh": "bpf_redirect_neigh, which finds the link-layer address for the "
    "packet's own destination",
    "redirect_neigh_nexthop": "bpf_redirect_neigh with the next hop named by the program",
    "redirect_map": "bpf_redirect_map through a devmap; XDP only",
    "none": "nothing is sent on",
}
_ON_OFF = {"on": "on", "off": "off"}

#: Axis -> word -> meaning, for every axis that takes words.
MEANINGS: Mapping[str, Mapping[str, str]] = {
    "device": {
        "netkit": "pairs made for containers, with BPF programs of their own; Linux 6.7 or newer",
        "veth": "pairs of virtual Ethernet devices",
    },
    "mode": {"l3": "bare IP packets: no MAC addresses, no ARP", "l2": "Ethernet frames"},
    "topology": {
        "wire": "two pairs joined by eBPF in the host's namespace: the yogurt-phone",
        "direct": "one pair from namespace to namespace",
        "bridge": "two pairs and a Linux bridge",
        "routed": "two pairs and IP forwarding",
        "uplink": "north-south: an outside namespace, a veth as the host's uplink, the "
        "container behind it",
        "loopback": "both ends in one namespace: the upper limit",
    },
    "hook": _HOOK,
    "helper": _HELPER,
    "return_hook": _HOOK,
    "return_helper": _HELPER,
    "policy": {
        "blackhole": "what no program handles is dropped",
        "forward": "what no program handles goes through the pair",
    },
    "primary": {
        "none": "no program: the policy decides",
        "pass": "lets everything into the container",
        "next": "leaves it to the next program; without one the packet passes",
        "redirect_in": "delivers into the container by itself, with BPF_F_INGRESS",
        "guard_cb": "lets in only what the wire stamped in skb->cb",
        "guard_mark": "lets in only what the wire stamped in skb->mark; needs scrub none",
    },
    "peer": {
        "none": "no program: the policy decides",
        "pass": "lets everything out of the container",
    },
    "scrub": {
        "default": "mark and priority are cleared between namespaces",
        "none": "they are kept",
    },
    "neighbours": {
        "arp": "asked for, by ARP or neighbour discovery",
        "static": "entered beforehand",
    },
    "gso": _ON_OFF,
    "gro": _ON_OFF,
    "checksum": _ON_OFF,
    "cpus": {
        "same": "client and server on one CPU",
        "split": "client and server on two CPUs",
        "free": "wherever the scheduler puts them",
    },
    "kernel": {"host": "the kernel that is running"},
    "program": {"builtin": "the program of bpf/ that fits hook and helper"},
    "load": {name: spec.summary for name, spec in LOADS.items()},
    "lab": {
        "auto": "this kernel where it can do every cell, else a guest",
        "native": "this kernel, as root",
        "vm": "a kernel booted in QEMU; needs no root",
    },
    "clock": {
        "auto": "wall natively and under KVM, instructions where only emulation is left",
        "wall": "time, in nanoseconds",
        "instructions": "executed guest instructions, as QEMU counts them: the same on every "
        "boot (vm only)",
    },
}


def meaning(axis: str, word: object) -> str:
    """Return what a word means on an axis; empty where there is nothing to say: numbers, files."""
    return MEANINGS.get(axis, {}).get(str(word), "")
