"""A session in one cell's lab: a command, a shell, or one recorded probe."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Any

from yogurtbench.core import output
from yogurtbench.core.errors import MatrixError
from yogurtbench.core.labels import axis_text
from yogurtbench.core.records import Trial
from yogurtbench.hosts import local_terminal
from yogurtbench.hosts.base import AgentHost, InputSource
from yogurtbench.hosts.choose import choose_host
from yogurtbench.matrix.selector import find_cell
from yogurtbench.plan.plan import Plan
from yogurtbench.report.terminal import lab_map, probe_trace
from yogurtbench.runner import pcap as capture

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class LabOptions:
    """The task in the lab; a shell where nothing is named.

    ``pcap``: the file for a recorded probe's frames.
    """

    argv: Sequence[str] = ()
    pcap: Path | None = None
    trace: bool = False
    as_json: bool = False


def open_lab(plan: Plan, cell: str, wishes: LabOptions, say: Say) -> int:
    """Go there, do it, come back.

    The exit code of the command or the shell, 0 for a recorded probe.

    Raises MatrixError for wishes that do not go together, HostError where there is no lab.
    """
    if not cell:
        raise MatrixError(
            "lab: name a cell with --cell: its id, or axes as in hook=netkit_peer,load=ping"
        )
    if wishes.argv and (wishes.pcap or wishes.trace or wishes.as_json):
        raise MatrixError("lab: --pcap, --trace and --json cannot be combined with a command")
    chosen = find_cell(plan, cell)
    if wishes.pcap:
        capture.check(wishes.pcap)
    options = {"source": plan.programs[chosen.program]} if chosen.program in plan.programs else {}
    with ExitStack() as undo:
        here = tuple(planned for planned in plan.cells if planned.cell == chosen)
        host = choose_host(replace(plan, clock="wall", cells=here), undo, say)
        return run_in_lab(host, Trial("lab", chosen, 0, 0, options=options), wishes, say)


def run_in_lab(host: AgentHost, trial: Trial, wishes: LabOptions, say: Say) -> int:
    """Return the same on a host that is there, in the lab of a trial's cell."""
    if wishes.argv:
        return host.lab(trial, wishes.argv, _pass_on)
    if wishes.pcap or wishes.trace:
        return _record(host, trial, wishes)
    return _print_plan(host, trial) if wishes.as_json else _shell(host, trial, say)


def _shell(host: AgentHost, trial: Trial, say: Say) -> int:
    """Return the floor plan, then the shell: its keyboard is ours from then on."""
    with ExitStack() as undo:
        sitting: list[InputSource] = []

        def heard(event: dict[str, Any]) -> None:
            if event["event"] == "plan":
                say(lab_map.as_text(event["plan"], axis_text(_words(trial))))
                sitting.append(undo.enter_context(local_terminal.keyboard()))
            else:
                local_terminal.show(event)

        order = {"op": "shell", "trial": trial.to_json(), "terminal": local_terminal.here()}
        return host.ordered(order, heard, lambda: sitting[0] if sitting else None)


def _print_plan(host: AgentHost, trial: Trial) -> int:
    (plan,) = _answers(host, trial, "plan")
    _print_json(plan | {"axes": _words(trial)})
    return 0


def _record(host: AgentHost, trial: Trial, wishes: LabOptions) -> int:
    (record,) = _answers(host, trial, "record")
    written = capture.write(wishes.pcap, record["probes"]) if wishes.pcap else {}
    cut = any(tap["cut"] for tap in chain.from_iterable(one["taps"] for one in record["probes"]))
    for probe in record["probes"]:
        del probe["taps"]  # what frames say stands in the capture
    record = {"cell": trial.cell.id, "accelerator": host.environment.accelerator, **record}
    if wishes.as_json:
        _print_json(record | ({"pcap": str(wishes.pcap), "frames": written} if wishes.pcap else {}))
        return 0
    print(
        probe_trace.as_text(record)
        if wishes.trace
        else "\n".join(map(probe_trace.headline, record["probes"]))
    )
    if wishes.pcap:
        counts = ", ".join(f"{name} {count}" for name, count in written.items())
        print(
            f"{wishes.pcap}: frames by device: {counts}"
            + (" (the first ones: there were more)" if cut else "")
        )
    return 0


def _words(trial: Trial) -> dict[str, Any]:
    """Return what the lab is made of, and what else the cell names."""
    cell = trial.cell
    made_of = {
        name: getattr(cell, name) for name in ("device", "mode", "topology", "hook", "helper")
    }
    return made_of | cell.named


def _answers(host: AgentHost, trial: Trial, kind: str) -> list[Any]:
    """Return what the agent answers to an order that is one word."""
    found: list[Any] = []
    host.ordered({"op": kind, "trial": trial.to_json()}, lambda event: found.append(event[kind]))
    return found


def _print_json(value: Any) -> None:
    output.echo_json(json.dumps(value, indent=1, ensure_ascii=False))


def _pass_on(stream: str, text: str) -> None:
    target = sys.stderr if stream == "stderr" else sys.stdout
    target.write(text)
    target.flush()
