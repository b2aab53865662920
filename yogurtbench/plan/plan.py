"""A plan: what runs, in which groups, blocks and order. Pure.

A plan needs neither the matrix nor YAML: it is stored as plan.json in the run folder, and reports
start from there.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from itertools import chain
from typing import Any

from yogurtbench.core.builds import NOW, ProgramBuilds, required_builds
from yogurtbench.core.load_specs import LOADS, loads_of
from yogurtbench.core.records import Cell, Role, Trial

#: Groups with more cells than this run their baseline twice a block, first and last (contract).
FEW_CELLS = 8
#: The block of trials that belong to none.
NO_BLOCK = -1
#: The loads that show what a program costs, the best first: one packet at a time.
_DIAGNOSED = (
    *(name for name in loads_of("request_response") if LOADS[name].packets_per_round_trip),
    *loads_of("bulk"),
)
#: Under an emulator a guest second of work lasts this many seconds at worst.
SLOWEST = 10.0


@dataclass(frozen=True, slots=True)
class Blocks:
    """The fewest and most blocks, and the precision to stop at (half an interval, as a ratio)."""

    min: int = 10
    max: int = 40
    precision: float = 0.01


@dataclass(frozen=True, slots=True)
class ExcludedCells:
    """Combinations that cannot exist: the reason, their number, and one as a selector."""

    reason: str
    count: int
    example: str


@dataclass(frozen=True, slots=True)
class PlannedCell:
    """A cell and its part in the plan.

    ``group``: the id of its completed main baseline, empty where there is none. ``baselines``: the
    ids of all its completed baselines, the main one first. ``options``: its load's, durations in
    seconds.
    """

    cell: Cell
    role: Role
    group: str
    baselines: tuple[str, ...]
    gate: bool
    options: dict[str, Any]

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> PlannedCell:
        """Return the inverse of ``dataclasses.asdict``, also after a round trip through JSON
        text.
        """
        return cls(
            **{**data, "cell": Cell.from_json(data["cell"]), "baselines": tuple(data["baselines"])}
        )


@dataclass(frozen=True)
class Plan:
    """Everything a sweep has to know. Equal plans give equal trials in equal order.

    ``collapsed`` counts combinations that differ from another only in axes that do not apply,
    ``doubles`` those that say what another says, ``notes`` are sentences on includes and excludes
    without the effect that somebody may have meant, ``named`` the axes the matrix gives its cells,
    ``programs`` the sources of the custom wires by the matrix's word, ``side`` which of the
    programs of bpf/ are run (texts.NOW or BASE), ``asides`` whether there are diagnostics after the
    last block, ``source`` and ``path`` the matrix itself, ``only`` the selector that chose among
    its cells.
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
        """The groups: those that ask whether a wire is alive first, since a dead one needs no more
        asking.
        """
        first = {
            group: members[0].cell.load != "reachability"
            for group, members in self._by_group.items()
        }
        return tuple(sorted(first, key=first.__getitem__))

    def members(self, group: str) -> tuple[PlannedCell, ...]:
        """Return what is planned in a group. Raises KeyError."""
        return self._by_group[group]

    def trials(self, group: str, block: int) -> list[Trial]:
        """Return a block's trials in their order.

        Random from seed, group and block, reachability before the other loads.

        With more than eight cells the main baseline runs first and last. Blocks and positions count
        from 0.
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
        return required_builds([*first_block(self), *self.diagnostics()])

    def diagnostics(self) -> list[Trial]:
        """Return what runs once, after the last block: trials whose values stay out of the results.

        BPF run times: a trial for each wire that has programs and payload, under the load that
        comes first in _DIAGNOSED. On the instruction clock also what the counting costs: see
        :meth:`_blind`.
        """
        return [*self._run_times(), *self._blind()] if self.asides else []

    def _run_times(self) -> list[Trial]:
        chosen: dict[str, PlannedCell] = {}
        for planned in sorted(self.cells, key=lambda one: one.role != "cell"):
            if (
                planned.role in ("cell", "baseline")
                and planned.cell.load == self._diagnosed_by[planned.cell.wire_id]
            ):
                chosen.setdefault(planned.cell.id, planned)
        return [
            replace(
                self._trial(planned, NO_BLOCK, position),
                role="diagnostic",
                id=f"diagnostic-p{position:02d}",
            )
            for position, planned in enumerate(chosen.values())
        ]

    def _blind(self) -> list[Trial]:
        """Return a trial without counters for each built-in wire under sockperf, of its smallest
        payload.

        Only where the clock counts instructions: their few are lost in the noise of any other.
        """
        if self.clock != "instructions":
            return []
        chosen: dict[str, PlannedCell] = {}
        for planned in sorted(self.cells, key=lambda one: one.cell.payload or 0):
            cell = planned.cell
            seen = (
                planned.role in ("cell", "baseline")
                and cell.load == "sockperf"
                and cell.program == "builtin"
            )
            if seen and cell.has_programs:
                chosen.setdefault(cell.wire_id, planned)
        return [
            replace(
                self._trial(planned, NO_BLOCK, position), role="blind", id=f"blind-p{position:02d}"
            )
            for position, planned in enumerate(chosen.values())
        ]

    @cached_property
    def _diagnosed_by(self) -> dict[str, str]:
        """The load that a wire is diagnosed under.

        Empty where it has no programs or none of these loads.
        """
        loads: dict[str, set[str]] = {}
        for planned in self.cells:
            loads.setdefault(planned.cell.wire_id, set()).update(
                [planned.cell.load] * planned.cell.has_programs
            )
        return {
            wire: next((load for load in _DIAGNOSED if load in found), "")
            for wire, found in loads.items()
        }

    def _trial(self, planned: PlannedCell, block: int, position: int) -> Trial:
        name = f"{planned.group or 'none'}-b{block:03d}-p{position:02d}"
        options = dict(planned.options)
        if planned.cell.program in self.programs:
            options["source"] = self.programs[planned.cell.program]
        options["programs"] = self.side
        limit = deadline(planned.cell, options, self.clock)
        return Trial(name, planned.cell, block, position, planned.role, self.clock, options, limit)

    def to_json(self) -> dict[str, Any]:
        """JSON object, equal to what a stored one reads back as.

        :meth:`from_json` is its inverse.
        """
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
_UNSTORED: dict[str, Any] = {
    "question": "",
    "lab": "auto",
    "clock": "wall",
    "seed": 0,
    "margins": {},
}


def _is_main(planned: PlannedCell) -> bool:
    return planned.role == "baseline" and planned.cell.id == planned.group


def load_seconds(load: str, options: Mapping[str, Any]) -> float:
    """Seconds a load's processes live, with these options, when all goes well."""
    return LOADS[load].seconds(options)


def deadline(cell: Cell, options: Mapping[str, Any], clock: str) -> float:
    """Seconds after which a trial is given up: generous, for an emulator compiles and connects
    slowly.
    """
    lifetime = load_seconds(cell.load, options) + float(options["timeout"])
    return 60.0 + lifetime * (SLOWEST if clock == "instructions" else 2.0)


def narrow_plan(plan: Plan, cells: Iterable[PlannedCell]) -> Plan:
    """Return a plan of these cells on the instruction clock, each once and for itself.

    A count of instructions needs neither baseline nor blocks.
    """
    once = {
        one.cell.id: replace(one, role="cell", group="", baselines=())
        for one in cells
        if one.role != "canary"
    }
    blocks = replace(plan.blocks, min=1, max=1)
    return replace(
        plan,
        cells=tuple(once.values()),
        clock="instructions",
        lab="vm",
        blocks=blocks,
        asides=False,
    )


def first_block(plan: Plan) -> list[Trial]:
    """Return the trials of every group's first block, in order."""
    return list(chain.from_iterable(plan.trials(group, 0) for group in plan.groups))
