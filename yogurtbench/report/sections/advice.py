"""Advice on what would decide open comparisons: a command, and its time."""

from __future__ import annotations

import math
import shlex
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any

import pandas as pd

from yogurtbench import launch
from yogurtbench.analysis import comparison, statistics, values
from yogurtbench.core import allowance, paths
from yogurtbench.core.errors import HostError, MatrixError
from yogurtbench.core.load_specs import LOADS
from yogurtbench.core.wording import format_duration
from yogurtbench.matrix.units import MAX_BLOCKS
from yogurtbench.plan.estimate import estimate_seconds
from yogurtbench.plan.plan import Blocks, Plan
from yogurtbench.report.run_data import RunData

_OPEN = frozenset({"inconclusive", "one_block", "too_few_blocks"})
#: What shows round trips finer than ping does, which prints whole microseconds.
_FINER = frozenset(
    name for name, spec in LOADS.items() if spec.nanoseconds and "throughput" not in spec.metrics
)
#: The fewest blocks that are advised, and in what steps: 40, not 37.
_FEWEST, _STEP = 10, 5
#: A wall clock that takes longer than this to decide is no advice where instructions can be
#: counted.
_PATIENCE = 3600.0


@dataclass(frozen=True, slots=True)
class Advice:
    """``what`` would decide it, as the beginning of a sentence.

    By which command, in about how many seconds.
    """

    what: str
    command: str
    seconds: float


def ranking(story: RunData) -> pd.DataFrame:
    """Return the comparisons that rank wires; ping's only where there is no finer tool's."""
    rows = story.headlines
    return (
        rows[rows["load"] != "ping"]
        if _FINER & set(rows.loc[rows["ratio"].notna(), "load"])
        else rows
    )


def sentence(story: RunData) -> str:
    """Return what would decide what is open, its command last, to be copied.

    Empty where nothing of ours would.
    """
    given = give_advice(story)
    if given:
        return f"{given.what}, in about {format_duration(given.seconds)}: {given.command}"
    rows = ranking(story)
    rounded = bool(_are_rounded(rows).any()) or story.exact
    if rounded and not rows.empty and set(rows["load"]) == {"ping"}:
        finer = "single instructions" if story.exact else "nanoseconds"
        return f"The load sockperf would decide it: it prints {finer}, ping whole microseconds."
    return ""


def _are_rounded(rows: pd.DataFrame) -> pd.Series:
    """Return the undecided comparisons that rounding alone leaves open."""
    return rows["note"].map(lambda note: bool(comparison.why_rounded(note))).astype(bool)


def give_advice(story: RunData) -> Advice | None:
    """Return the instruction clock where times are too noisy, else the blocks to ask for."""
    rows = ranking(story)
    rows = rows[rows["verdict"].isin(_OPEN) & ~_are_rounded(rows)]
    if story.exact or rows.empty:
        return None
    try:
        exact = _exactly(story.plan)
        more = _with_blocks(story, story.plan, _blocks(story, rows))
    except (KeyError, TypeError):  # of another version: a report reads it all the same
        return None
    return exact if exact and (story.emulated or more.seconds > _PATIENCE) else more


def _exactly(plan: Plan) -> Advice | None:
    """Return the same matrix on the instruction clock; None where that cannot measure it."""
    exact = _exact(plan)
    if exact is None:
        return None
    seconds = estimate_seconds(exact, "vm", jobs=allowance.available_cpus())
    what = "Counting instructions instead would decide it"
    return Advice(what, _command(plan, ["--clock", "instructions"]), seconds)


def _exact(plan: Plan) -> Plan | None:
    """Return the matrix's plan for that clock.

    Where there is no matrix at hand, or no YAML reader, about what it would be.
    """
    path = paths.matrix(Path(plan.path))
    with suppress(MatrixError, HostError, OSError, ImportError):
        if path.is_file():
            from yogurtbench.matrix import clocks, planner

            return clocks.plans_by_clock(
                planner.load(path), lab="vm", clock="auto", only=plan.only or None
            ).exact
    asked = {one.cell.named.get("cpus", "same") for one in plan.cells} - {"same"}
    return (
        None
        if asked or path.is_file()
        else replace(plan, clock="instructions", lab="vm", blocks=Blocks(1, 1))
    )


def _with_blocks(story: RunData, plan: Plan, blocks: int) -> Advice:
    lab = story.environment.lab
    more = replace(plan, blocks=Blocks(blocks, blocks))
    words = ["--lab", lab, "--clock", "wall", "--blocks", str(blocks)]
    what = f"{blocks} blocks would decide most of it"
    return Advice(what, _command(plan, words), estimate_seconds(more, lab))


def _command(plan: Plan, words: list[str]) -> str:
    only = ["--only", plan.only] if plan.only else []
    return shlex.join([_ourselves(), "run", plan.path, *only, *words])


def _ourselves() -> str:
    """Return how we are called from here: in a checkout of ours by its script."""
    here = Path(launch.ROOT)
    return "./yb" if (here / "yb").is_file() and Path.cwd() == here.resolve() else "yogurtbench"


def _blocks(story: RunData, rows: pd.DataFrame) -> int:
    """Return the number of blocks that would decide half of the open comparisons.

    More than ran.
    """
    needed = [_needed(row) for row in values.rows_of(rows)]
    wanted = max(_FEWEST, story.blocks + 1, math.ceil(median(needed)))
    return min(MAX_BLOCKS, _STEP * math.ceil(wanted / _STEP))


def _needed(row: Mapping[str, Any]) -> float:
    """Return the blocks whose interval is narrow enough to lie on one side of the margin, or within
    it.

    An interval narrows with the root of the blocks.
    """
    low, high, n = float(row["ratio_low"]), float(row["ratio_high"]), int(row["n"])
    if n < statistics.FEWEST or not low > 0 or math.isnan(high):
        return _FEWEST
    room = abs(abs(math.log(float(row["ratio"]))) - math.log1p(float(row["delta"])))
    wanted = max(room, _NARROWEST)
    # blocks take no rounding away
    noise = math.log(high / low) / 2 - math.log1p(float(row["resolution"]))
    return n * (max(0.0, noise) / wanted) ** 2


#: Right on the margin no number of blocks would do: the advice is never a narrower half of an
#: interval.
_NARROWEST = 0.01
