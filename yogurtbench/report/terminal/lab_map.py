"""The map of a lab as text: namespaces, devices, attached programs, and a few commands to try."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping
from itertools import chain
from typing import Any

from rich.text import Text

from yogurtbench.report.terminal.lines import lines_of, make_grid


def as_text(plan: Mapping[str, Any], axes: str) -> str:
    """Return a plan (see agent.lab_map) for people; ``axes``: the cell's in words."""
    lines = [f"lab of cell {plan['cell']}: {axes}"]
    order = {plan["server"]["namespace"]: 2, "host": 1, plan["client"]["namespace"]: 0}
    for namespace in sorted(plan["namespaces"], key=lambda n: order.get(n["name"], 1)):
        name = namespace["name"]
        lines += ["", "host (the lab's host namespace: you are here)" if name == "host" else name]
        lines += _devices(namespace["devices"])
    lines += ["", "to try (exit takes the lab down):", *_commands(plan)]
    return "\n".join(lines)


def _devices(devices: list[dict[str, Any]]) -> Iterator[str]:
    table = make_grid(indent=2)
    for device in devices:
        table.add_row("", *map(Text, _row(device)))
    index = max(len(str(device["ifindex"])) for device in devices)
    for device, line in zip(devices, lines_of(table), strict=True):
        yield line.plain
        for program in device["programs"]:
            calls = f", calls {', '.join(program['helpers'])}" if program["helpers"] else ""
            yield (
                f"{' ' * (4 + index)}{program['hook']}: {program['name']} (program "
                f"{program['id']}{calls})"
            )


def _row(device: Mapping[str, Any]) -> tuple[str, ...]:
    places = [
        " ".join(device["addresses"]),
        f"── {device['peer']}" if device["peer"] else "",
        f"in {device['master']}" if device["master"] else "",
    ]
    return (
        str(device["ifindex"]),
        device["name"],
        " ".join(filter(None, (device["kind"], device["mode"]))),
        f"mtu {device['mtu']}",
        device["state"],
        "  ".join(filter(None, places)),
    )


def _commands(plan: Mapping[str, Any]) -> Iterator[str]:
    """Commands for the tools that are there, with this lab's own names."""
    client, server = plan["client"], plan["server"]
    devices: list[dict[str, Any]] = []
    programs: list[dict[str, Any]] = []
    for namespace in plan["namespaces"]:
        programs += chain.from_iterable(device["programs"] for device in namespace["devices"])
        if namespace["name"] == "host":
            devices += [device for device in namespace["devices"] if device["ifindex"] != 1]
    tools = {
        "ping": [
            f"{client['namespace']} ping -c3 {server['ipv4']}",
            f"{client['namespace']} ping -c3 {server['ipv6']}",
        ],
        "tcpdump": [f"tcpdump -ni {shlex.quote(devices[-1]['name'])} &"] if devices else [],
        "bpftool": [f"bpftool prog dump xlated id {programs[0]['id']}"] if programs else [],
        "ip": [f"{server['namespace']} ip -s link show {server['device']}"],
    }
    for tool, commands in tools.items():
        yield from (f"  {command}" for command in commands if tool in plan["tools"])
    yield f"  {client['namespace']}    (a shell in that namespace)"
    if missing := [tool for tool in tools if tool not in plan["tools"]]:
        yield f"not installed here: {', '.join(missing)}"
