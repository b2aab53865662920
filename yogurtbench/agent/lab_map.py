"""The map of a lab: its namespaces, devices and attached programs, as the kernel reports them.

Runs in the lab.
"""

from __future__ import annotations

import shutil
from dataclasses import asdict
from typing import Any

from yogurtbench.ebpf import attached
from yogurtbench.ebpf.programs import Programs
from yogurtbench.ebpf.wire import Wire
from yogurtbench.lab import Lab
from yogurtbench.lab.inventory import read_inventory

#: What somebody in a lab's shell may want to look with.
_TOOLS = ("tcpdump", "ping", "bpftool", "ip", "iperf3")


def draw(lab: Lab, wire: Wire | None, programs: Programs) -> dict[str, Any]:
    """Return the floor plan, as a dictionary that may travel.

    ``cell`` (its id), ``client`` and ``server`` (``namespace, device, ipv4, ipv6``), ``namespaces``
    (see lab.survey; every device has its ``programs`` too: ``hook, id, name, helpers``), ``tools``
    (those that are there).
    """
    namespaces = read_inventory(lab)
    names = attached.full_names(wire.functions) if wire else {}
    helper = attached.helper_names(programs.ours(traced=False)) if wire else _unnamed
    for namespace, entry in zip(lab.namespaces, namespaces, strict=True):
        links = {link["index"]: link for link in namespace.ip.get_links()}
        for device in entry["devices"]:
            found = attached.read_attached(namespace, links[device["ifindex"]], helper)
            device["programs"] = [
                {**asdict(one), "name": names.get(one.id, one.name)} for one in found
            ]
    pots = {
        role: {
            "namespace": pot.namespace.name,
            "device": pot.end.name,
            "ipv4": pot.ipv4,
            "ipv6": "" if lab.no_ipv6 else pot.ipv6,
        }
        for role, pot in (("client", lab.client), ("server", lab.server))
    }
    return {
        "cell": lab.cell.id,
        **pots,
        "namespaces": namespaces,
        "tools": [t for t in _TOOLS if shutil.which(t)],
    }


def _unnamed(_offset: int) -> str:
    return ""
