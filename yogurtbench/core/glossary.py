"""A line on each word of a matrix, for editors and shell completion."""

from __future__ import annotations

from collections.abc import Mapping

from yogurtbench.core.hook_specs import HELPERS, HOOKS, NONE
from yogurtbench.core.load_specs import LOADS

_HOOK = {name: spec.meaning for name, spec in HOOKS.items()} | {NONE: "no program"}
_HELPER = {name: spec.meaning for name, spec in HELPERS.items()} | {NONE: "nothing is sent on"}
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
