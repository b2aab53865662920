"""Invented runs: attempts with plausible block noise, for tests of what reads stored runs."""

from __future__ import annotations

import hashlib
import json
import math
import random
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from yogurtbench.analysis import comparison
from yogurtbench.analysis.measured_run import MeasuredRun
from yogurtbench.core.metrics import METRICS_OF
from yogurtbench.core.records import Attempt, Cell, Environment, Observation, Role, Trial
from yogurtbench.plan.plan import Blocks, Plan, PlannedCell
from yogurtbench.results import run_folder
from yogurtbench.results.frame import to_frame, write_tables
from yogurtbench.results.run_folder import StoredRun

SHARED: dict[str, Any] = {
    "return_hook": "none",
    "return_helper": "none",
    "policy": None,
    "primary": None,
    "peer": None,
    "scrub": None,
    "headroom": None,
    "program": "builtin",
    "neighbours": None,
    "ip": 4,
    "payload": 64,
    "mtu": 1500,
    "streams": 1,
    "gso": "on",
    "gro": "off",
    "checksum": "on",
    "cpus": "same",
    "kernel": "host",
    "load": "sockperf",
}


def cell(
    device: str = "netkit", hook: str = "netkit_peer", helper: str = "redirect", **axes: Any
) -> Cell:
    """A cell with the usual defaults of its device."""
    own: dict[str, Any] = (
        {"mode": "l2", "neighbours": "arp"}
        if device == "veth"
        else {"mode": "l3", "policy": "blackhole"}
    )
    if device == "netkit":
        own |= {"primary": "pass", "peer": "none", "scrub": "default", "headroom": 0}
    topology = "direct" if hook == "none" else "wire"
    ways = {"return_hook": hook, "return_helper": helper}
    found = {**SHARED, **own, **ways, "topology": topology, **axes}
    if found["load"] in ("reachability", "isolation"):
        found |= {"ip": None, "payload": None, "streams": None, "cpus": None}
    return Cell(device=device, hook=hook, helper=helper, defaults=dict(SHARED), **found)


def baseline_of(other: Cell) -> Cell:
    """The direct veth pair under the same traffic."""
    return cell(
        "veth",
        "none",
        "none",
        ip=other.ip,
        payload=other.payload,
        streams=other.streams,
        load=other.load,
    )


@dataclass
class Invented:
    """What a run is invented from: ``effects`` maps a wire (device, hook, helper) to its ratio of
    durations.

    ``effect_of`` gives a cell's ratio where that is too coarse, ``baselines`` what a cell is
    compared with, ``opened`` the isolation metrics that are open by wire id, ``details`` what every
    attempt of a load keeps beside its values.
    """

    cells: tuple[Cell, ...]
    effects: dict[tuple[str, str, str], float] = field(default_factory=dict)
    blocks: int = 12
    noise: float = 0.01
    clock: str = "wall"
    lab: str = "vm"
    accelerator: str = "kvm"
    kernel: str = "6.12.117+deb13-amd64"
    dead: frozenset[str] = frozenset()
    failing: dict[str, str] = field(default_factory=dict)
    name: str = "yogurt-phone"
    question: str = "Which eBPF wire joins two namespaces best?"
    margins: dict[str, float] = field(default_factory=dict)
    gate: str = "redirect"
    canary: float = 1.0
    drift: float = 1.0
    seed: int = 1
    effect_of: Callable[[Cell], float] | None = None
    baselines: tuple[Callable[[Cell], Cell], ...] = (baseline_of,)
    opened: dict[str, frozenset[str]] = field(default_factory=dict)
    details: dict[str, dict[str, Any]] = field(default_factory=dict)

    def plan(self) -> Plan:
        """The plan that the run was made from."""
        cells = tuple(one for group in self.groups() for one in self._planned(group))
        blocks = Blocks(self.blocks, self.blocks, precision=0.01)
        return Plan(
            self.name,
            self.question,
            self.lab,
            self.clock,
            self.seed,
            blocks,
            self.margins,
            cells,
            source=MATRIX,
            path="yogurt_phone.yaml",
        )

    def groups(self) -> list[str]:
        """Ids of the main baselines."""
        return list(dict.fromkeys(self.group(one) for one in self.cells))

    def group(self, one: Cell) -> str:
        """The group a cell belongs to."""
        return "" if one.load in ("reachability", "isolation") else self.baselines[0](one).id

    def _planned(self, group: str) -> Iterator[PlannedCell]:
        mine = [one for one in self.cells if self.group(one) == group]
        bases = [baseline(mine[0]) for baseline in self.baselines] if group else []
        for base in bases:
            yield self._entry(base, "baseline", group, ())
        if group:
            yield self._entry(bases[0], "canary", group, (group,))
        for one in mine:
            yield self._entry(one, "cell", group, tuple(base.id for base in bases))

    def _entry(self, one: Cell, role: Role, group: str, baselines: tuple[str, ...]) -> PlannedCell:
        gate = role == "cell" and one.helper == self.gate
        return PlannedCell(one, role, group, baselines, gate, {"duration": 1.0, "timeout": 10.0})

    def trials(self) -> Iterator[Trial]:
        """Every trial, block by block; with more than eight cells the baseline first and last."""
        plan = self.plan().cells
        for block in range(self.blocks):
            for group in self.groups():
                yield from self._block([one for one in plan if one.group == group], group, block)

    def _block(self, entries: list[PlannedCell], group: str, block: int) -> Iterator[Trial]:
        order = [one for one in entries if one.role != "baseline"]
        base = [one for one in entries if one.role == "baseline"]
        twice = len(order) > 8
        for position, one in enumerate(base + order + (base if twice else [])):
            text = f"{group}/{block}/{position}"
            trial = hashlib.sha256(text.encode()).hexdigest()[:12]
            yield Trial(trial, one.cell, block, position, one.role, self.clock, dict(one.options))

    def attempts(self) -> Iterator[Attempt]:
        """Every attempt, with the noise of its block and its own."""
        noise = random.Random(self.seed)
        blocks = [noise.gauss(0, 0.05) for _ in range(self.blocks)]
        return (self._attempt(trial, blocks[trial.block], noise) for trial in self.trials())

    def _attempt(self, trial: Trial, block: float, noise: random.Random) -> Attempt:
        where: dict[str, Any] = {
            "host": "yard",
            "lab": self.lab,
            "accelerator": self.accelerator,
            "kernel": self.kernel,
        }
        if trial.cell.id in self.dead:
            return self._of_dead(trial, where)
        if trial.cell.id in self.failing and noise.random() < 0.4:
            return Attempt.without_values(trial, "failed", self.failing[trial.cell.id], **where)
        effect = self._effect(trial) * math.exp(
            0 if self.clock == "instructions" else block + noise.gauss(0, self.noise)
        )
        rows = tuple(_rows(trial, effect, noise if self.clock == "wall" else random.Random(0)))
        if trial.cell.load == "isolation" and trial.cell.wire_id in self.opened:
            rows = tuple(
                replace(row, value=float(row.metric in self.opened[trial.cell.wire_id]))
                for row in rows
            )
        details = (
            {"quantiles": _quantiles(rows[0].value or 0.0)} if trial.cell.load == "sockperf" else {}
        )
        details |= self.details.get(trial.cell.load, {})
        seconds = {"lab": 0.012, "wire": 0.02, "load": 1.0}
        return Attempt(trial, "ok", rows, seconds=seconds, details=details, **where)

    def _of_dead(self, trial: Trial, where: dict[str, Any]) -> Attempt:
        if trial.cell.load != "reachability":
            return Attempt.without_values(
                trial, "skipped", "the wire is dead: nothing answered", **where
            )
        no = [Observation.of(metric, 0.0) for metric in METRICS_OF["reachability"]]
        return Attempt(
            trial, "ok", (*no, Observation.of("dropped_at", "netkit_xmit:NOT_SPECIFIED")), **where
        )

    def _effect(self, trial: Trial) -> float:
        one = trial.cell
        if trial.role == "canary":
            return self.canary
        if self.effect_of:
            return self.effect_of(one)
        last = self.drift if trial.role == "baseline" and trial.position else 1.0
        return last * self.effects.get((one.device, one.hook, one.helper), 1.0)


def _rows(trial: Trial, effect: float, noise: random.Random) -> Iterable[Observation]:
    load, payload = trial.cell.load, trial.cell.payload or 64
    if load == "reachability":
        return [Observation.of(m, 1.0) for m in METRICS_OF[load]] + [
            Observation.of("hops_queue", 4.0)
        ]
    if load == "isolation":
        return [Observation.of(m, float(m.startswith("eavesdrop"))) for m in METRICS_OF[load]]
    if load in ("iperf3_tcp", "iperf3_udp"):
        return _bulk(load, trial.clock, payload, effect)
    base = 28_113 if trial.clock == "instructions" else 9_000 + payload
    late = 2.1 * math.exp(noise.gauss(0, 0.1))
    tail = {"rtt_p50": 1.0, "rtt_p90": 1.3, "rtt_p99": late, "rtt_mean": 1.1, "rtt_min": 0.8}
    return [Observation.of(m, round(base * effect * k), trial.clock) for m, k in tail.items()] + [
        Observation.of("loss", 0.0)
    ]


def _quantiles(median: float) -> dict[str, float]:
    tail = {
        "0": 0.8,
        "25": 0.96,
        "50": 1.0,
        "75": 1.1,
        "90": 1.3,
        "99": 2.1,
        "99.9": 4.0,
        "99.99": 9.0,
        "100": 20.0,
    }
    return {share: round(median * factor) for share, factor in tail.items()}


def _bulk(load: str, clock: str, payload: int, effect: float) -> list[Observation]:
    bits = 2.2e10 * min(1.0, payload / 1400) / effect
    found = {
        "throughput": bits,
        "packets_per_second": bits / 8 / payload,
        "bytes_per_skb": 47_929.0,
    }
    found |= {"retransmits": 0.0} if load == "iperf3_tcp" else {"loss": 0.0}
    if clock == "instructions":
        found |= {
            "instructions_per_packet": round(5210 * effect),
            "instructions_per_byte": 3.6 * effect,
        }
    return [Observation.of(metric, value, clock) for metric, value in found.items()]


MATRIX = """name: yogurt-phone
question: Which eBPF wire joins two namespaces best?
axes:
  device: [netkit, veth]
"""

WIRES = (
    ("netkit", "netkit_peer", "redirect"),
    ("netkit", "netkit_peer", "redirect_peer"),
    ("netkit", "tcx_ingress", "redirect"),
    ("veth", "tcx_ingress", "redirect"),
    ("veth", "tcx_ingress", "redirect_peer"),
)
EFFECTS = dict(zip(WIRES, (0.88, 0.995, 1.07, 1.18, 1.02), strict=True))


def yogurt_phone(**changes: Any) -> Invented:
    """Five wires, latency and throughput at two payloads, one of them dead."""
    traffic = [("sockperf", 64), ("sockperf", 1400), ("iperf3_tcp", 1400), ("iperf3_udp", 1400)]
    dead = cell("netkit", "tcx_ingress", "redirect_peer")
    wires = [
        cell(*wire, payload=p, load=load) for load, p in traffic for wire in (*WIRES, key(dead))
    ]
    reach = [cell(*wire, load="reachability") for wire in (*WIRES, key(dead))]
    watch = [cell(*wire, load="isolation") for wire in WIRES]
    cells = (*reach, *wires, *watch)
    gone = frozenset(one.id for one in cells if key(one) == key(dead))
    return replace(Invented(cells, EFFECTS, dead=gone), **changes)


def key(one: Cell) -> tuple[str, str, str]:
    """What names a wire here."""
    return one.device, one.hook, one.helper


def environment(run: Invented) -> Environment:
    """environment.json to go with it."""
    tools = {
        "kernel": run.kernel,
        "iperf3": "3.12",
        "sockperf": "3.7",
        "ping": "iputils 20221126",
        "qemu": "7.2.22",
    }
    why = {"lab": "this kernel has no netkit", "accelerator": "/dev/kvm cannot be opened"}
    return Environment(
        "yard", run.lab, run.accelerator, run.clock, run.kernel, tools, {"cpus": "2"}, why
    )


def stored(run: Invented, out: Path) -> Path:
    """The run in a folder, finished."""
    with StoredRun.create(out, run.name, MATRIX, run.plan(), environment(run)) as folder:
        (folder.path / "trials.jsonl").write_bytes(b"".join(_line(one) for one in run.attempts()))
    write_run_tables(folder.path)
    return folder.path


def write_run_tables(run: Path) -> None:
    """The tables of a run folder, as a report writes them."""
    frame = run_folder.load(run)[1]
    write_tables(run, frame, comparison.compare(frame, run_folder.read_plan(run)))


def _line(attempt: Attempt) -> bytes:
    from yogurtbench.core.records import canonical

    return canonical(attempt.to_json()).encode() + b"\n"


def side_of(run: Invented, attempts: list[Attempt] | None = None, name: str = "run") -> MeasuredRun:
    """A run as the gate sees it; with other attempts than its own where they are given."""
    told = list(run.attempts()) if attempts is None else attempts
    return MeasuredRun.of(name, run.plan(), environment(run), to_frame(told, name))


def unseal(folder: Path) -> None:
    """Take the digests out of environment.json: a run of a version before them, free to change."""
    file = folder / "environment.json"
    data = json.loads(file.read_text())
    for name in ("run", "plan", "check"):
        data.pop(name, None)
    file.write_text(json.dumps(data))
