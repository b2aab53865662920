"""A floor plan in words: a line a device, its programs below it, and only commands whose tools are
there.
"""

from __future__ import annotations

from typing import Any

from yogurtbench.report.terminal import lab_map


def device(name: str, ifindex: int, **fields: Any) -> dict[str, Any]:
    empty = {
        "kind": "netkit",
        "mode": "l3",
        "mtu": 1500,
        "state": "up",
        "mac": None,
        "addresses": [],
        "peer": None,
    }
    return {"name": name, "ifindex": ifindex, **empty, "master": None, "programs": [], **fields}


def plan(**fields: Any) -> dict[str, Any]:
    program = {
        "hook": "netkit_peer",
        "id": 23,
        "name": "redirect_forward",
        "helpers": ["bpf_redirect"],
    }
    host = device(
        "yg1-host", 1001, peer="yogurt-1:yg1-cont", master="host:yg-bridge", programs=[program]
    )
    one = device("yg1-cont", 1002, addresses=["10.42.0.1/24", "fd42::1/64"])
    pots = {"namespace": "yogurt-1", "device": "yg1-cont", "ipv4": "10.42.0.1", "ipv6": "fd42::1"}
    namespaces = [{"name": "host", "devices": [host]}, {"name": "yogurt-1", "devices": [one]}]
    tools = ["tcpdump", "ping", "bpftool", "ip"]
    return {
        "cell": "abc",
        "client": pots,
        "server": pots,
        "namespaces": namespaces,
        "tools": tools,
        **fields,
    }


def test_devices_stand_in_their_namespaces_with_their_programs_below_them() -> None:
    lines = lab_map.as_text(plan(), "device=netkit").splitlines()
    assert lines[0] == "lab of cell abc: device=netkit"
    assert lines[2:4] == [
        "yogurt-1",
        "  1002  yg1-cont  netkit l3  mtu 1500  up  10.42.0.1/24 fd42::1/64",
    ]
    assert lines[5] == "host (the lab's host namespace: you are here)"
    assert (
        lines[6]
        == "  1001  yg1-host  netkit l3  mtu 1500  up  ── yogurt-1:yg1-cont  in host:yg-bridge"
    )
    assert lines[7] == "        netkit_peer: redirect_forward (program 23, calls bpf_redirect)"


def test_only_commands_whose_tools_are_there_are_proposed() -> None:
    everything = lab_map.as_text(plan(), "")
    assert "  bpftool prog dump xlated id 23" in everything and "not installed" not in everything
    less = lab_map.as_text(plan(tools=["ping", "ip"]), "")
    assert "prog dump" not in less
    assert less.endswith("not installed here: tcpdump, bpftool")
