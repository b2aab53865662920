"""A plan: what runs, in which groups, blocks and order, how long it takes and what it cannot decide. Pure.

A plan needs neither the matrix nor YAML: it is stored as plan.json in the run folder, and reports start from there.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from typing import Any

from yogurtbench.core.builds import NOW, ProgramBuilds, required_builds
from yogurtbench.core.labels import axis_text, axis_word
from yogurtbench.core.load_specs import LOADS, loads_of
from yogurtbench.core.metrics import REQUEST_RESPONSE, YES_NO
from yogurtbench.core.records import AXES, Cell, Role, Trial
from yogurtbench.core.resolution import FEWEST_FOR
from yogurtbench.core.wording import count_of

#: Groups with more cells than this run their baseline twice a block, first and last (contract).
FEW_CELLS = 8
#: The block of trials that belong to none.
NO_BLOCK = -1
#: The loads that show what a program costs, the best first: one packet at a time.
_DIAGNOSED = (
    *(name for name in loads_of("request_response") if LOADS[name].packets_per_round_trip),
    *loads_of("bulk"),
)
#: Trials of the first block that a description lists.
SHOWN = 60
#: Level of the tests that Holm's method adjusts.
ALPHA = 0.05
#: Seconds that lab, wire, probe and undoing cost a trial; that a load's tools take to start; that a program takes to
#: compile, once a sweep; that a sweep takes to begin. Measured on two cores, vm under TCG: the truth table (480 cells
#: of reachability, the isolation of the 127 live ones) took 12 min, quickstart.yaml (138 trials, one wire of four
#: dead) 6 min. A dead wire costs less than is planned here, since its loads are skipped; KVM is faster.
TRIAL_SECONDS = {"native": 0.15, "vm": 0.6}
TOOL_SECONDS = {"native": 0.0, "vm": 0.7}
COMPILE_SECONDS = {"native": 0.3, "vm": 3.0}
BOOT_SECONDS = {"native": 1.0, "vm": 12.0}
#: On the instruction clock, on the same machine: boot and save took 50 to 80 s (1 s where the saved guest is kept), a
#: trial 1 to 3 s from waking to its end (idle time passes at once). A custom program takes 20 s more to boot, for each
#: way of looking at it.
SAVED_SECONDS, WOKEN_SECONDS, OWN_SECONDS = 65.0, 2.5, 20.0
#: Of rtt_under_load there, whose bulk transfer leaves the guest never idle.
BUSY_SECONDS = 60.0
#: Under an emulator a guest second of work lasts this many seconds at worst.
SLOWEST = 10.0


@dataclass(frozen=True, slots=True)
class Blocks:
    """How many blocks at least and at most, and the precision to stop at: half the interval's width as a ratio."""

    min: int = 10
    max: int = 40
    precision: float = 0.01


@dataclass(frozen=True, slots=True)
class ExcludedCells:
    """Combinations that cannot exist: why, how many fell out of the cross product, and one of them as a selector."""

    reason: str
    count: int
    example: str


@dataclass(frozen=True, slots=True)
class PlannedCell:
    """A cell and its part in the plan.

    ``group``: the id of its completed main baseline, empty where there is none. ``baselines``: the ids of all its
    completed baselines, the main one first. ``options``: its load's, durations in seconds.
    """

    cell: Cell
    role: Role
    group: str
    baselines: tuple[str, ...]
    gate: bool
    options: dict[str, Any]

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> PlannedCell:
        """Return the inverse of ``dataclasses.asdict``, also after a round trip through JSON text."""
        return cls(**{**data, "cell": Cell.from_json(data["cell"]), "baselines": tuple(data["baselines"])})


@dataclass(frozen=True)
class Plan:
    """Everything a sweep has to know. Equal plans give equal trials in equal order.

    ``collapsed`` counts combinations that differ from another only in axes that do not apply, ``doubles`` those that
    say what another says, ``notes`` are sentences on includes and excludes without the effect that somebody may have
    meant, ``named`` the axes the matrix gives its cells,
    ``programs`` the sources of the wires of one's own by the matrix's word, ``side`` which of the programs of bpf/ are
    run (texts.NOW or BASE), ``asides`` whether there are diagnostics after the last block, ``source`` and ``path`` the
    matrix itself, ``only`` the selector that chose among its cells.
    """

    name: str
    question: str
    lab: str
    clock: str
    seed: int
    blocks: Blocks
    margins: dict[str, float]
    cells: tuple[PlannedCell, ...]
    left_out: tuple[ExcludedCells, ...] = ()
    collapsed: int = 0
    named: tuple[str, ...] = ()
    programs: dict[str, str] = field(default_factory=dict)
    side: str = NOW
    asides: bool = True
    source: str = ""
    path: str = ""
    only: str = ""
    doubles: int = 0
    notes: tuple[str, ...] = ()

    @cached_property
    def _by_group(self) -> dict[str, tuple[PlannedCell, ...]]:
        found: dict[str, list[PlannedCell]] = {}
        for planned in self.cells:
            found.setdefault(planned.group, []).append(planned)
        return {group: tuple(members) for group, members in found.items()}

    @property
    def groups(self) -> tuple[str, ...]:
        """The groups: those that ask whether a wire is alive first, since a dead one needs no more asking."""
        first = {group: members[0].cell.load != "reachability" for group, members in self._by_group.items()}
        return tuple(sorted(first, key=first.__getitem__))

    def members(self, group: str) -> tuple[PlannedCell, ...]:
        """Return what is planned in a group. Raises KeyError."""
        return self._by_group[group]

    def trials(self, group: str, block: int) -> list[Trial]:
        """Return a block's trials in their order.

        Random from seed, group and block, reachability before the other loads.

        With more than eight cells the main baseline runs first and last. Blocks and positions count from 0.
        """
        order = list(self.members(group))
        random.Random(f"{self.seed}/{group}/{block}").shuffle(order)
        order.sort(key=lambda planned: planned.cell.load != "reachability")
        if sum(planned.role == "cell" for planned in order) > FEW_CELLS:
            main = [planned for planned in order if _is_main(planned)]
            order = [*main, *(planned for planned in order if not _is_main(planned)), *main]
        return [self._trial(planned, block, position) for position, planned in enumerate(order)]

    @property
    def texts(self) -> ProgramBuilds:
        """The texts that it runs."""
        return required_builds([*_first_trials(self), *self.diagnostics()])

    def diagnostics(self) -> list[Trial]:
        """Return what runs once, after the last block: trials whose values stay out of the results.

        BPF run times: a trial for each wire that has programs and payload, under the load that comes first in
        _DIAGNOSED. On the instruction clock also what the counting costs: see :meth:`_blind`.
        """
        return [*self._run_times(), *self._blind()] if self.asides else []

    def _run_times(self) -> list[Trial]:
        chosen: dict[str, PlannedCell] = {}
        for planned in sorted(self.cells, key=lambda one: one.role != "cell"):
            if planned.role in ("cell", "baseline") and planned.cell.load == self._diagnosed_by[planned.cell.wire_id]:
                chosen.setdefault(planned.cell.id, planned)
        return [
            replace(self._trial(planned, NO_BLOCK, position), role="diagnostic", id=f"diagnostic-p{position:02d}")
            for position, planned in enumerate(chosen.values())
        ]

    def _blind(self) -> list[Trial]:
        """Return a trial without counters for each built-in wire under sockperf, of its smallest payload.

        Only where the clock counts instructions: their few are lost in the noise of any other.
        """
        if self.clock != "instructions":
            return []
        chosen: dict[str, PlannedCell] = {}
        for planned in sorted(self.cells, key=lambda one: one.cell.payload or 0):
            cell = planned.cell
            seen = planned.role in ("cell", "baseline") and cell.load == "sockperf" and cell.program == "builtin"
            if seen and cell.has_programs:
                chosen.setdefault(cell.wire_id, planned)
        return [
            replace(self._trial(planned, NO_BLOCK, position), role="blind", id=f"blind-p{position:02d}")
            for position, planned in enumerate(chosen.values())
        ]

    @cached_property
    def _diagnosed_by(self) -> dict[str, str]:
        """The load that a wire is diagnosed under; empty where it has no programs or none of these loads."""
        loads: dict[str, set[str]] = {}
        for planned in self.cells:
            loads.setdefault(planned.cell.wire_id, set()).update([planned.cell.load] * planned.cell.has_programs)
        return {wire: next((load for load in _DIAGNOSED if load in found), "") for wire, found in loads.items()}

    def _trial(self, planned: PlannedCell, block: int, position: int) -> Trial:
        name = f"{planned.group or 'none'}-b{block:03d}-p{position:02d}"
        options = dict(planned.options)
        if planned.cell.program in self.programs:
            options["source"] = self.programs[planned.cell.program]
        options["programs"] = self.side
        limit = deadline(planned.cell, options, self.clock)
        return Trial(name, planned.cell, block, position, planned.role, self.clock, options, limit)

    def to_json(self) -> dict[str, Any]:
        """JSON object, equal to what a stored one reads back as; :meth:`from_json` is its inverse."""
        data: dict[str, Any] = json.loads(json.dumps(asdict(self)))
        return data

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Plan:
        """Return the plan of a stored plan.json."""
        return cls(
            **{
                **_UNSTORED,
                **data,
                "blocks": Blocks(**data.get("blocks", {"min": 0, "max": 0})),
                "cells": tuple(PlannedCell.from_json(planned) for planned in data["cells"]),
                "left_out": tuple(ExcludedCells(**left) for left in data.get("left_out", ())),
                "named": tuple(data.get("named", ())),
                "notes": tuple(data.get("notes", ())),
                "programs": data.get("programs") or {},
            }
        )


#: What a reader makes of a plan.json that does not say it.
_UNSTORED: dict[str, Any] = {"question": "", "lab": "auto", "clock": "wall", "seed": 0, "margins": {}}


def _is_main(planned: PlannedCell) -> bool:
    return planned.role == "baseline" and planned.cell.id == planned.group


# -- time ------------------------------------------------------------------------------------------------------------


def load_seconds(load: str, options: Mapping[str, Any]) -> float:
    """Seconds a load's processes live, with these options, when all goes well."""
    return LOADS[load].seconds(options)


def deadline(cell: Cell, options: Mapping[str, Any], clock: str) -> float:
    """Seconds after which a trial is given up: generous, for an emulator compiles and connects slowly."""
    lifetime = load_seconds(cell.load, options) + float(options["timeout"])
    return 60.0 + lifetime * (SLOWEST if clock == "instructions" else 2.0)


def estimate_seconds(plan: Plan, lab: str, blocks: int | None = None, jobs: int = 1) -> float:
    """Seconds the plan takes on ``native`` or ``vm``, for ``blocks`` blocks (default: the fewest it may stop at).

    ``jobs``: trials side by side; of account on the instruction clock alone.
    """
    count = plan.blocks.min if blocks is None else blocks
    trials = block_seconds(plan, lab) * count + _seconds(plan.diagnostics(), lab)
    return _begin_seconds(plan, lab) + trials / (jobs if plan.clock == "instructions" else 1)


def block_seconds(plan: Plan, lab: str) -> float:
    """Seconds that a block of every group takes."""
    return _seconds(_first_trials(plan), lab)


def _begin_seconds(plan: Plan, lab: str) -> float:
    """Estimate a boot, and compiling each program once."""
    if plan.clock == "instructions":
        return SAVED_SECONDS + OWN_SECONDS * len(plan.texts.own)
    cells = [planned.cell for planned in plan.cells]
    named = {name for one in cells for name in (one.helper, one.return_helper, one.primary, one.peer, one.program)}
    return BOOT_SECONDS[lab] + COMPILE_SECONDS[lab] * len(named - {None, "none", "builtin"})


def _seconds(trials: Iterable[Trial], lab: str) -> float:
    return sum(_trial_seconds(trial, lab) for trial in trials)


def _trial_seconds(trial: Trial, lab: str) -> float:
    if trial.clock == "instructions":
        return BUSY_SECONDS if trial.cell.load == "rtt_under_load" else WOKEN_SECONDS
    tool = 0.0 if trial.cell.load in YES_NO else TOOL_SECONDS[lab]
    return TRIAL_SECONDS[lab] + tool + load_seconds(trial.cell.load, trial.options)


# -- what a person wants to know beforehand --------------------------------------------------------------------------


def max_decidable_cells(blocks: int) -> int:
    """Return how many gate cells Holm's method can decide: n blocks give a signed-rank p of 2/2^n at best."""
    return int(ALPHA * 2.0 ** (min(blocks, 1000) - 1))


def blocks_needed(gate_cells: int) -> int:
    """Return the fewest blocks that can decide so many gate cells."""
    return next(blocks for blocks in range(1, 1001) if max_decidable_cells(blocks) >= gate_cells)


def warnings(plan: Plan) -> list[str]:
    """Return what the plan cannot give, a sentence each.

    On the instruction clock a difference is a difference: nothing.
    """
    if plan.clock == "instructions":
        return [*plan.notes]
    return [*plan.notes, *_too_many_gates(plan), *_too_few_blocks(plan)]


def too_coarse(plan: Plan) -> list[str]:
    """Return what no number of blocks decides, since a tool tells it too coarsely, a sentence each."""
    compared = [planned for planned in plan.cells if planned.baselines]
    pings = [planned for planned in compared if planned.cell.load == "ping"]
    few = sorted({one.options["count"] for one in pings if one.options["count"] < FEWEST_FOR["rtt_p99"]})
    found = [f"{count} pings have no 99th percentile: it takes {FEWEST_FOR['rtt_p99']}" for count in few]
    if pings and not any(one.cell.load in REQUEST_RESPONSE - {"ping"} for one in compared):
        steps = "2,000 instructions" if plan.clock == "instructions" else "2 µs"
        found.append(
            f"ping tells whole microseconds: what differs by less than {steps} a round trip stays undecided; "
            "sockperf decides it"
        )
    return found


def _too_many_gates(plan: Plan) -> Iterator[str]:
    gates, most = sum(planned.gate for planned in plan.cells), max_decidable_cells(plan.blocks.min)
    if gates > most and most:
        yield (
            f"{plan.blocks.min} blocks decide at most {most} gate cells, and the gate has {gates}: "
            f"name fewer, or set blocks min to {blocks_needed(gates)}"
        )


def _too_few_blocks(plan: Plan) -> Iterator[str]:
    needed = blocks_needed(1)
    if is_estimated(plan) and plan.blocks.min < needed:
        yield (
            f"from {count_of(plan.blocks.min, 'block')} no 95 % interval can be made: they give estimates, no verdicts "
            f"(verdicts need blocks min {needed} or more)"
        )


def is_estimated(plan: Plan) -> bool:
    """Return whether anything is compared that noise reaches: neither yes/no nor on the instruction clock."""
    noisy = (planned for planned in plan.cells if planned.cell.load not in YES_NO)
    return plan.clock == "wall" and any(planned.baselines for planned in noisy)


def defaulted_axes(plan: Plan) -> dict[str, list[str]]:
    """Return the axes that the matrix leaves out, and the values the defaults gave its cells (``-``.

    Does not apply).
    """
    cells = [planned.cell for planned in plan.cells if planned.role == "cell"]
    values = {
        axis: sorted({axis_word(getattr(cell, axis)) for cell in cells}) for axis in AXES if axis not in plan.named
    }
    return {axis: words for axis, words in values.items() if words not in (["-"], [])}


def possible_labs(plan: Plan) -> tuple[str, ...]:
    """Return where the plan may run, whose time is worth estimating: ``native``, ``vm`` or both."""
    if plan.clock == "instructions":
        return ("vm",)
    return ("native", "vm") if plan.lab == "auto" else (plan.lab,)


def describe_plan(plan: Plan, *labs: str, said: Iterable[str] = (), jobs: int = 1) -> str:
    """Return the plan in lines of text, as ``yogurtbench plan`` prints it; ``labs``: whose time to estimate.

    ``said``: lines on the clock and on what a budget buys; ``jobs``: trials side by side.
    """
    return "\n".join([*_summary(plan, labs, jobs), *said, *_losses(plan), *_first_block(plan)])


def plan_facts(plan: Plan, *labs: str, jobs: int = 1) -> dict[str, Any]:
    """Return what :func:`describe` prints beside the plan itself, as a JSON object: times in seconds by lab."""
    roles = [planned.role for planned in plan.cells]
    return {
        "counts": {role: roles.count(role) for role in ("cell", "baseline", "canary")} | {"group": len(plan.groups)},
        "seconds": {
            lab: [estimate_seconds(plan, lab, count, jobs) for count in (plan.blocks.min, plan.blocks.max)]
            for lab in labs
        },
        "filled_in": defaulted_axes(plan),
        "warnings": warnings(plan),
        "too_coarse": too_coarse(plan),
        "first_block": [
            {"cell": trial.cell.id, "role": trial.role, "axes": trial.cell.named} for trial in _first_trials(plan)
        ],
    }


def _summary(plan: Plan, labs: Sequence[str], jobs: int) -> Iterator[str]:
    roles, blocks = [planned.role for planned in plan.cells], plan.blocks
    yield f"{plan.name}: {plan.question}" if plan.question else plan.name
    canaries = count_of(roles.count("canary"), "A/A canary", "A/A canaries")
    yield f"{count_of(roles.count('cell'), 'cell')}, {count_of(roles.count('baseline'), 'baseline')}, {canaries}"
    until = f"{blocks.min} to {blocks.max} blocks each, until ±{blocks.precision:.2%}"
    whole = f"{count_of(blocks.max, 'block')} each"
    yield f"{count_of(len(plan.groups), 'group')}, {until if blocks.min < blocks.max else whole}"
    yield from (describe_duration(plan, lab, jobs) for lab in labs)
    yield "filled in: " + "; ".join(f"{axis} {'/'.join(values)}" for axis, values in defaulted_axes(plan).items())


def describe_duration(plan: Plan, lab: str, jobs: int) -> str:
    """``about 2 min on vm, 2 trials side by side``."""
    fewest, most = (
        format_duration(estimate_seconds(plan, lab, count, jobs)) for count in (plan.blocks.min, plan.blocks.max)
    )
    beside = f", {jobs} trials side by side" if jobs > 1 and plan.clock == "instructions" else ""
    return f"about {fewest} to {most} on {lab}{beside}" if fewest != most else f"about {fewest} on {lab}{beside}"


def _losses(plan: Plan) -> Iterator[str]:
    for left in plan.left_out:
        yield f"left out: {left.count} × {left.reason} (such as {left.example})"
    if plan.collapsed:
        differ = "differs" if plan.collapsed == 1 else "differ"
        yield f"collapsed: {count_of(plan.collapsed, 'combination')} {differ} only in axes that do not apply there"
    if plan.doubles:
        say = "says" if plan.doubles == 1 else "say"
        yield f"doubles: {count_of(plan.doubles, 'combination')} {say} what another says already"
    yield from (f"warning: {warning}" for warning in warnings(plan))
    yield from (f"too coarse: {sentence}" for sentence in too_coarse(plan))


def _first_block(plan: Plan) -> Iterator[str]:
    """Yield the order of the first block, as far as anybody would read on."""
    trials = _first_trials(plan)
    yield f"the first block, {len(trials)} trials in this order:"
    for trial in trials[:SHOWN]:
        yield f"  {trial.cell.id}  {trial.role:8}  {axis_text(trial.cell.named)}"
    if len(trials) > SHOWN:
        yield f"  … and {len(trials) - SHOWN} more"


def _first_trials(plan: Plan) -> list[Trial]:
    return [trial for group in plan.groups for trial in plan.trials(group, 0)]


def format_duration(seconds: float) -> str:
    """Return a duration for people."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
