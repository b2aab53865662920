"""A measured run as the gate sees it, from a run folder or a stored baseline: each cell's values,
gaps and words.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal, cast

import pandas as pd

from yogurtbench.analysis.values import BlockValues, Series, comparable, drop_unresolved
from yogurtbench.core import resolution
from yogurtbench.core.metrics import HEADLINE, METRICS
from yogurtbench.core.records import ASIDE, Cell, Environment, Role, canonical
from yogurtbench.plan.plan import Plan, PlannedCell
from yogurtbench.results import run_folder
from yogurtbench.results.schema import (
    ROLES,
    STATUSES,
    check_cell,
    check_counts,
    check_environment,
    check_finite,
    check_options,
    check_types,
    check_word,
)

Key = tuple[str, str]  # cell id and role
State = Literal["measured", "incomplete", "missing", "failed", "looping", "unsupported", "dead"]
PER_PACKET, PER_BYTE = "instructions_per_packet", "instructions_per_byte"


@dataclass(frozen=True, slots=True)
class MeasuredCell:
    """A cell as one side measured it.

    ``values`` maps metrics to one value a block, ``missing`` metrics to the status of blocks
    without one, ``words`` metrics to the commonest word. ``baselines``: ids, the main one first;
    ``options``: its load's. ``roundings``: how far rounding can have moved a value, by metric and
    block, where it can; None where the value tells nothing. A baseline that an older version stored
    has none: see :meth:`rounding`.
    """

    cell: Cell
    role: Role
    baselines: tuple[str, ...]
    gate: bool
    options: dict[str, Any]
    values: dict[str, Series]
    missing: dict[str, dict[int, str]]
    words: dict[str, str]
    roundings: dict[str, dict[int, float | None]] | None = None

    def rounding(self, metric: str, block: int) -> float:
        """Return how far rounding can have moved the value of a block, up or down.

        Made from what is known where need be.
        """
        if self.roundings is not None:
            moved = self.roundings.get(metric, {}).get(block, 0.0)
            return math.inf if moved is None else moved
        cell, values = (
            self.cell,
            {name: series[block] for name, series in self.values.items() if block in series},
        )
        clock = "instructions" if {PER_PACKET, PER_BYTE} & values.keys() else "wall"
        source = resolution.ResolutionSource(cell.load, clock, cell.payload, self.options, values)
        return resolution.rounding_of(metric, values[metric], source)

    @property
    def metrics(self) -> list[str]:
        """Everything it has a value or the status of a value for, that can be compared."""
        return [
            name
            for name in dict.fromkeys((*self.values, *self.missing))
            if comparable(name) or is_yes_no(name)
        ]

    def gaps(self, metric: str) -> dict[int, str]:
        """Block to status.

        A metric without rows inherits the status of the load's headline metric.
        """
        if metric in self.values or metric in self.missing:
            return self.missing.get(metric, {})
        return self.missing.get(HEADLINE[self.cell.load], {})

    def state(self, metric: str) -> State:
        """Return whether there are values, and if not, why not."""
        gaps = self.gaps(metric)
        if self.values.get(metric):
            return "incomplete" if gaps else "measured"
        return next(
            (state for status, state in _STATES.items() if status in gaps.values()), "missing"
        )

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> MeasuredCell:
        """Return the inverse of ``dataclasses.asdict``, also after a round trip through JSON
        text.
        """
        return cls(
            **{
                **data,
                "cell": Cell.from_json(data["cell"]),
                "baselines": tuple(data["baselines"]),
                "values": {metric: _by_block(series) for metric, series in data["values"].items()},
                "missing": {
                    metric: _by_block(series) for metric, series in data["missing"].items()
                },
                "roundings": _by_metric(data.get("roundings")),
            }
        )


_STATES: dict[str, State] = {
    "crashed": "failed",
    "failed": "failed",
    "looping": "looping",
    "unsupported": "unsupported",
    "skipped": "dead",
}


@dataclass(frozen=True, slots=True)
class MeasuredRun:
    """A measured run as the gate sees it: from a run folder, or from a stored baseline.

    ``failed`` has a sentence for each trial that failed or crashed, ``plan`` is the digest of what
    was asked.
    """

    name: str
    environment: Environment
    plan: str
    margins: dict[str, float]
    failed: tuple[str, ...]
    entries: dict[Key, MeasuredCell]

    @classmethod
    def of(
        cls, name: str, plan: Plan, environment: Environment, frame: pd.DataFrame
    ) -> MeasuredRun:
        """From a run's plan, its environment and its tidy frame (to_frame)."""
        rows = drop_unresolved(frame, plan)[~frame["role"].isin(ASIDE)]
        values, words = BlockValues(rows), _words(rows)
        entries = [_entry(planned, values, words) for planned in plan.cells]
        return cls(
            name,
            environment,
            plan_digest(plan),
            dict(plan.margins),
            tuple(_failed(frame)),
            {(entry.cell.id, entry.role): entry for entry in entries},
        )

    @property
    def exact(self) -> bool:
        """True where the clock counted guest instructions."""
        return self.environment.clock == "instructions"

    @property
    def gate(self) -> frozenset[str]:
        """The ids of the cells that decide: those the matrix names, or all.

        A baseline decides only where values stand for themselves: on the instruction clock.
        """
        roles = ("cell", "baseline") if self.exact else ("cell",)
        named = {entry.cell.id for entry in self.entries.values() if entry.gate}
        return frozenset(named or {cell for cell, role in self.entries if role in roles})

    def to_json(self) -> dict[str, Any]:
        """JSON object; ``entries`` become a list."""
        data = asdict(replace(self, entries={}))
        return data | {"entries": [asdict(entry) for entry in self.entries.values()]}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> MeasuredRun:
        """Return the inverse of :meth:`to_json`, also after a round trip through JSON text."""
        entries = [MeasuredCell.from_json(entry) for entry in data["entries"]]
        environment, failed = Environment.from_json(data["environment"]), tuple(data["failed"])
        keyed = {(entry.cell.id, entry.role): entry for entry in entries}
        return cls(**{**data, "environment": environment, "failed": failed, "entries": keyed})


def check_measured_run(side: MeasuredRun) -> None:
    """Raise ValueError where a side that was read is not one that this version stores."""
    check_environment(side.environment)
    check_types([side.name, side.plan, *side.failed], list[str])
    check_types(side.margins, dict[str, float])
    check_finite(*side.margins.items())
    cells = {cell for cell, _ in side.entries}
    for entry in side.entries.values():
        check_types(entry, MeasuredCell)
        check_cell(entry.cell)
        check_options(entry.options)
        check_word("role", entry.role, ROLES)
        for baseline in entry.baselines:
            check_word("baseline", baseline, cells)
        _check_values(entry)


def _check_values(entry: MeasuredCell) -> None:
    for metric, values in entry.values.items():
        check_word("metric", metric, METRICS)
        for block, value in values.items():
            check_counts(("block", block))
            METRICS[metric].check(value)
    for metric, statuses in entry.missing.items():
        check_word("metric", metric, METRICS)
        for block, status in statuses.items():
            check_counts(("block", block))
            check_word("status", status, STATUSES)


def plan_digest(plan: Plan) -> str:
    """SHA-256 of the clock and of each cell with its role, baselines and options."""
    cells = [[one.cell.id, one.role, list(one.baselines), one.options] for one in plan.cells]
    return hashlib.sha256(
        canonical([plan.clock, sorted(cells, key=canonical)]).encode()
    ).hexdigest()


def _entry(
    planned: PlannedCell, values: BlockValues, words: Mapping[Key, dict[str, str]]
) -> MeasuredCell:
    cell, role = planned.cell, planned.role
    metrics = values.metrics.get((cell.id, role), [])
    series = {metric: values.of(cell.id, role, metric) for metric in metrics}
    missing = {metric: values.missing(cell.id, role, metric) for metric in metrics}
    return MeasuredCell(
        cell,
        role,
        planned.baselines,
        planned.gate,
        dict(planned.options),
        {metric: found for metric, found in series.items() if found},
        {metric: found for metric, found in missing.items() if found},
        words.get((cell.id, role), {}),
        {
            metric: found
            for metric in metrics
            if (found := _moved(values.rounding(cell.id, role, metric)))
        },
    )


def _words(rows: pd.DataFrame) -> dict[Key, dict[str, str]]:
    said = rows[(rows["status"] == "ok") & rows["text"].notna()]
    found: dict[Key, dict[str, str]] = {}
    for key, texts in said.groupby(["cell", "role", "metric"])["text"]:
        cell, role, metric = cast("tuple[str, str, str]", key)
        found.setdefault((cell, role), {})[metric] = str(texts.mode().iloc[0])
    return found


def _failed(frame: pd.DataFrame) -> Iterator[str]:
    """Yield a sentence a trial that failed as a whole.

    A single metric without a value is not a failed trial.
    """
    whole = ~frame["trial"].isin(frame["trial"][frame["status"] == "ok"])
    rows = frame[whole & frame["status"].isin(["failed", "crashed"])].drop_duplicates("trial")
    for row in rows.to_dict("records"):
        yield f"{row['load']} {row['cell']} in block {row['block']} {row['status']}: {row['error']}"


def _moved(series: Series) -> dict[int, float | None]:
    """As JSON has numbers: None for what is not finite."""
    return {
        block: moved if math.isfinite(moved) else None for block, moved in series.items() if moved
    }


def _by_metric(
    roundings: Mapping[str, Mapping[Any, Any]] | None,
) -> dict[str, dict[int, float | None]] | None:
    return (
        None
        if roundings is None
        else {metric: _by_block(series) for metric, series in roundings.items()}
    )


def _by_block(series: Mapping[Any, Any]) -> dict[int, Any]:
    return {int(block): value for block, value in series.items()}


def is_yes_no(metric: str) -> bool:
    """Return whether a metric answers yes or no."""
    return metric in METRICS and METRICS[metric].unit == "bool"


def read_run(folder: Path) -> MeasuredRun:
    """Return the side that a run folder is. Raises MatrixError where it is none."""
    _, frame = run_folder.load(folder)
    plan, environment = run_folder.read_plan(folder), run_folder.read_environment(folder)
    return MeasuredRun.of(folder.resolve().name, plan, environment, frame)
