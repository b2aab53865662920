"""An experiment's runs over time: each cell's ratio to its baseline, and where it changed.

Only ratios travel between runs: each is a run's own, a cell over the baseline of the same blocks,
so that a slower machine or a busier day falls out of it. Runs of another lab, accelerator, clock,
kernel or machine are another series.
"""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from yogurtbench.analysis import change_points, comparison, gate, values
from yogurtbench.analysis.change_points import Floats
from yogurtbench.core.errors import MatrixError
from yogurtbench.core.labels import traffic_names, wire_names
from yogurtbench.core.metrics import HEADLINE, METRICS
from yogurtbench.core.records import Attempt, Cell, Environment, canonical
from yogurtbench.core.wording import suggest_nearest
from yogurtbench.plan.plan import Plan
from yogurtbench.results import run_folder

PAGE = "history.html"


@dataclass(frozen=True, slots=True)
class Setup:
    """The identity that runs of one series share.

    ``machine`` is empty where it does not matter.
    """

    lab: str
    accelerator: str
    clock: str
    kernel: str
    machine: str

    @classmethod
    def of(cls, environment: Environment) -> Setup:
        """Of a run's environment."""
        where = environment
        machine = where.identity.get("machine", "")
        return cls(where.lab, where.accelerator, where.clock, where.kernel, machine)

    @property
    def name(self) -> str:
        """The place in words."""
        accelerator = "" if self.accelerator == "none" else f" ({self.accelerator})"
        words = [
            f"{self.lab} lab{accelerator}",
            f"Linux {self.kernel}",
            f"{self.clock} clock",
            self.machine,
        ]
        return ", ".join(filter(None, words))

    @property
    def emulated(self) -> str:
        """The label that everything made of emulated numbers carries; else empty."""
        return comparison.EMULATED if self.accelerator == "tcg" else ""


@dataclass(frozen=True, slots=True)
class LevelChange:
    """A change: the first run of a new level, the ratios before and after, what else changed."""

    run: str
    place: int
    before: float
    after: float
    beside: tuple[str, ...]

    @property
    def ratio(self) -> float:
        """The new level over the old."""
        return self.after / self.before


@dataclass(frozen=True, slots=True)
class RatioSeries:
    """A cell's metric over runs: its ratio to the baseline, oldest first, with 95 % intervals.

    ``resolution``: how far rounding can have moved each ratio, as a share.

    ``runs`` are the names of the runs that have a ratio, ``missing`` of those of this place that
    asked and have none.
    """

    where: Setup
    cell: Cell
    options: str
    wire: str
    colour: str
    mark: str
    traffic: str
    baseline: str
    metric: str
    runs: tuple[str, ...]
    missing: tuple[str, ...]
    ratio: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]
    resolution: tuple[float, ...]
    changes: tuple[LevelChange, ...] = ()

    @property
    def deciding(self) -> bool:
        """True where this is its load's deciding metric."""
        return self.metric == HEADLINE[self.cell.load]

    @property
    def logs(self) -> Floats:
        """The logarithms of the ratios."""
        return np.asarray(np.log(self.ratio), dtype=np.float64)

    @property
    def levels(self) -> list[float]:
        """The ratio of each stretch between changes."""
        return [
            float(np.exp(level))
            for level in change_points.levels(self.logs, [one.place for one in self.changes])
        ]

    @property
    def more_needed(self) -> int:
        """The number of runs that are missing before changes are searched.

        None on the instruction clock.
        """
        return (
            0
            if self.where.clock == "instructions"
            else max(0, change_points.FEWEST - len(self.runs))
        )

    def is_worse(self, change: LevelChange) -> bool:
        """Return whether a change is one for the worse."""
        return (change.ratio > 1) == (METRICS[self.metric].better == "lower")


@dataclass(frozen=True, slots=True)
class History:
    """An experiment over time.

    ``left_out`` maps names of runs to why they are not in it; ``note``: what is amiss.
    """

    name: str
    folder: Path
    runs: tuple[str, ...]
    left_out: dict[str, str]
    series: tuple[RatioSeries, ...]
    note: str = ""

    @property
    def places(self) -> list[Setup]:
        """The places of the runs, oldest first."""
        return list(dict.fromkeys(one.where for one in self.series))

    def to_json(self) -> dict[str, Any]:
        """JSON object; ratios without an interval have null for its ends."""
        return {
            "name": self.name,
            "runs": self.runs,
            "left_out": self.left_out,
            "note": self.note,
            "needed": change_points.FEWEST,
            "series": [_series_json(one) for one in self.series],
        }


@dataclass(frozen=True, slots=True)
class _Run:
    """A stored run: its comparisons by (cell, baseline, metric, options), and what else was as it
    was.
    """

    name: str
    where: Setup
    cells: dict[str, Cell]
    reference: frozenset[str]
    rows: dict[tuple[str, str, str, str], dict[str, Any]]
    margins: dict[str, float]
    beside: dict[str, str]


_Key = tuple[Setup, tuple[str, str, str, str]]


def find_runs(asked: Path, out: Path) -> Path:
    """Return the folder of an experiment: its path, or its name below ``out``.

    Raises MatrixError where there is none.
    """
    found = next((path for path in (out / asked, asked) if path.is_dir()), None)
    if found is None:
        known = sorted(path.name for path in out.iterdir() if path.is_dir()) if out.is_dir() else []
        guess = suggest_nearest(str(asked), known) if known else f"; there is no folder {out} yet"
        raise MatrixError(f"{asked}: no experiment of that name in {out}{guess}")
    if (found / run_folder.TRIALS).exists():
        raise MatrixError(f"{asked}: a single run; its experiment is {found.resolve().parent}")
    if not _has_runs(found):
        inside = sorted(path.name for path in found.iterdir() if path.is_dir() and _has_runs(path))
        hint = (
            f", but experiments: {', '.join(inside)}"
            if inside
            else "; an experiment's folder is results/<name>"
        )
        raise MatrixError(f"{asked}: no runs in it{hint}")
    return found


def _has_runs(folder: Path) -> bool:
    names = (run_folder.TRIALS, run_folder.PLAN)
    return any((path / name).exists() for path, name in itertools.product(folder.iterdir(), names))


def read(folder: Path) -> History:
    """Return the history of an experiment's folder (see :func:`find`)."""
    runs: list[_Run] = []
    left_out: dict[str, str] = {}
    for path in sorted(
        path for path in folder.iterdir() if path.is_dir() and not path.name.startswith(".")
    ):
        try:
            runs.append(_run(path))
        except MatrixError as error:
            left_out[path.name] = str(error).removeprefix(f"{path}: ").replace(f"{path}/", "")
    series = _judge_levels(list(_series(runs)), {run.name: run for run in runs})
    names = tuple(run.name for run in runs)
    return History(
        folder.resolve().name,
        folder,
        names,
        left_out,
        tuple(series),
        change_points.why_unavailable(),
    )


# --- a run ----------------------------------------------------------------------------------------


def _run(path: Path) -> _Run:
    """Return a finished run; MatrixError says why a folder is none."""
    attempts, frame = run_folder.load(path)
    plan, environment = run_folder.read_plan(path), run_folder.read_environment(path)
    _check_finished(attempts, plan)
    options: dict[tuple[str, str], str] = {
        (planned.cell.id, planned.role): canonical(planned.options) for planned in plan.cells
    }
    return _Run(
        path.name,
        Setup.of(environment),
        {one.cell.id: one.cell for one in plan.cells},
        frozenset(one.cell.wire_id for one in plan.cells if one.role == "baseline"),
        dict(_rows(values.rows_of(comparison.compare(frame, plan)), options)),
        dict(plan.margins),
        _changed_versions(environment, plan),
    )


def _check_finished(attempts: Iterable[Attempt], plan: Plan) -> None:
    """Every cell was tried in every block that the matrix demands at least."""
    tried = {(one.trial.cell.id, one.trial.role, one.trial.block) for one in attempts}
    cells = [(planned.cell.id, planned.role) for planned in plan.cells]
    due = {(*cell, block) for cell, block in itertools.product(cells, range(plan.blocks.min))}
    if due - tried:
        raise MatrixError(f"unfinished: {len(due & tried)} of at least {len(due)} trials")


def _rows(
    compared: Iterable[dict[str, Any]], options: Mapping[tuple[str, str], str]
) -> Iterator[tuple[tuple[str, str, str, str], dict[str, Any]]]:
    for row in compared:
        if row["role"] == "cell" and isinstance(row["baseline"], str):
            yield (row["cell"], row["baseline"], row["metric"], options[row["cell"], "cell"]), row


def _changed_versions(environment: Environment, plan: Plan) -> dict[str, str]:
    """Return versions and custom programs' digests: shown beside a change of theirs."""
    digests = {
        name: hashlib.sha256(text.encode()).hexdigest()[:8] for name, text in plan.programs.items()
    }
    versions = {
        name: value for name, value in environment.identity.items() if name not in _OF_THE_PLACE
    }
    return {**versions, **digests}


_OF_THE_PLACE = frozenset({"lab", "accelerator", "clock", "kernel", "machine"})


# --- series ---------------------------------------------------------------------------------------


def _series(runs: list[_Run]) -> Iterator[RatioSeries]:
    cells = dict(chain.from_iterable(run.cells.items() for run in runs))
    wires = wire_names(cells.values(), set(chain.from_iterable(run.reference for run in runs)))
    traffic, keyed = traffic_names(cells), _by_key(runs)
    for (where, key), mine in keyed.items():
        good = [(run, run.rows[key]) for run in mine if run.rows[key]["ratio"] > 0]
        if good:
            cell, wire = cells[key[0]], wires[cells[key[0]].wire_id]
            ratio, low, high, resolution = (
                tuple(float(row[name]) for _, row in good) for name in _RATIOS
            )
            have = tuple(run.name for run, _ in good)
            yield RatioSeries(
                where=where,
                cell=cell,
                options=key[3],
                wire=wire.name,
                colour=wire.colour,
                mark=wire.mark,
                traffic=traffic[cell.id] + _read_margins(key, keyed),
                baseline=wires[cells[key[1]].wire_id].name,
                metric=key[2],
                runs=have,
                missing=tuple(run.name for run in mine if run.name not in have),
                ratio=ratio,
                low=low,
                high=high,
                resolution=resolution,
            )


_RATIOS = ("ratio", "ratio_low", "ratio_high", "resolution")


def _by_key(runs: list[_Run]) -> dict[_Key, list[_Run]]:
    found: dict[_Key, list[_Run]] = {}
    for run in runs:
        for key in run.rows:
            found.setdefault((run.where, key), []).append(run)
    return found


def _read_margins(key: tuple[str, str, str, str], keyed: Iterable[_Key]) -> str:
    """Return the options of a load that was not asked in the same way in all runs."""
    alike = [json.loads(other[3]) for _, other in keyed if other[:3] == key[:3]]
    mine = json.loads(key[3])
    return "".join(
        f", {name} {mine[name]}"
        for name in mine
        if any(one.get(name) != mine[name] for one in alike)
    )


def _judge_levels(series: list[RatioSeries], runs: Mapping[str, _Run]) -> list[RatioSeries]:
    """With their changes: deciding metrics are one family, the others another, as in a report."""
    long_enough = [
        one.deciding for one in series if not one.more_needed and one.where.clock == "wall"
    ]
    families = {deciding: long_enough.count(deciding) for deciding in (True, False)}
    return [
        replace(one, changes=tuple(_changes(one, runs, families[one.deciding]))) for one in series
    ]


def _changes(one: RatioSeries, runs: Mapping[str, _Run], family: int) -> Iterator[LevelChange]:
    exact = one.where.clock == "instructions"
    margin = runs[one.runs[-1]].margins.get(one.metric, gate.MARGINS["instructions"])
    moved = np.log1p(np.nan_to_num(np.array(one.resolution), nan=np.inf))
    places = (
        change_points.steps(one.logs, margin, moved)
        if exact
        else change_points.change_points(one.logs, family)
    )
    places = change_points.beyond_rounding(one.logs, places, moved)
    levels = np.exp(change_points.levels(one.logs, places))
    for place, before, after in zip(places, levels, levels[1:], strict=False):
        beside = tuple(
            _differing(one, runs[one.runs[place - 1]].beside, runs[one.runs[place]].beside)
        )
        yield LevelChange(one.runs[place], place, float(before), float(after), beside)


def _differing(
    one: RatioSeries, before: Mapping[str, str], after: Mapping[str, str]
) -> Iterator[str]:
    for name in dict.fromkeys((*before, *after)):
        if before.get(name) != after.get(name) and (
            not name.endswith(".c") or name == one.cell.program
        ):
            yield f"{name} {before.get(name, '–')} → {after.get(name, '–')}"


def _series_json(one: RatioSeries) -> dict[str, Any]:
    return {
        **asdict(one.where),
        "cell": one.cell.id,
        "wire": one.wire,
        "load": one.cell.load,
        "traffic": one.traffic,
        "options": one.options,
        "baseline": one.baseline,
        "metric": one.metric,
        "better": METRICS[one.metric].better,
        "deciding": one.deciding,
        "more_needed": one.more_needed,
        "runs": one.runs,
        "missing": one.missing,
        "ratio": one.ratio,
        "ratio_low": _nulls(one.low),
        "ratio_high": _nulls(one.high),
        "changes": [
            {**asdict(change), "ratio": change.ratio, "worse": one.is_worse(change)}
            for change in one.changes
        ],
    }


def _nulls(values: Iterable[float]) -> list[float | None]:
    return [None if np.isnan(value) else value for value in values]
