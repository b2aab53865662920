"""The value of a time budget: how many blocks, how precise, how many gate cells decided.

The precision hangs on the noise, which a plan does not know: it is given for assumed standard
deviations, or for those that a stored run of the same experiment had.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from yogurtbench.analysis import comparison, statistics
from yogurtbench.core.errors import YogurtError
from yogurtbench.core.metrics import HEADLINE
from yogurtbench.core.wording import count_of, format_duration
from yogurtbench.plan.estimate import block_seconds, is_estimated, max_decidable_cells
from yogurtbench.plan.plan import Plan
from yogurtbench.results import run_folder
from yogurtbench.results.frame import ROUNDING

#: Standard deviations of a block's log-ratio that are assumed where nothing was measured; two equal
#: labs, pinned to one CPU of a shared machine, had 2.4 %.
ASSUMED = (0.01, 0.03, 0.05)


@dataclass(frozen=True, slots=True)
class Noise:
    """A block's log-ratio deviation: of the median and of the noisiest cell of run ``source``."""

    median: float
    most: float
    source: str


@dataclass(frozen=True, slots=True)
class BudgetEstimate:
    """The whole blocks that ``seconds`` buy on ``lab``, ``block_seconds`` each, as the plan allows.

    ``half_widths``: (standard deviation, half the width of the 95 % interval to expect as a share,
    None where no interval exists), empty where nothing is estimated. ``noise``: where the
    deviations come from, None where they are assumed. ``precision``: the half width that the plan
    stops at, None where it does not. ``decidable``: how many gate cells so many blocks can decide
    by Holm's method, of ``gate_cells``.
    """

    lab: str
    seconds: float
    block_seconds: float
    blocks: int
    most_blocks: int
    half_widths: tuple[tuple[float, float | None], ...]
    noise: Noise | None
    precision: float | None
    decidable: int
    gate_cells: int


def estimate_budget(
    plan: Plan, lab: str, seconds: float, noise: Noise | None = None
) -> BudgetEstimate:
    """Return what so many seconds buy of a plan.

    Counted as ``run --budget`` counts them, from the first trial on.
    """
    block = block_seconds(plan, lab)
    blocks = min(plan.blocks.max, int(seconds / block))
    deviations = (noise.median, noise.most) if noise else ASSUMED
    return BudgetEstimate(
        lab=lab,
        seconds=seconds,
        block_seconds=round(block, 1),
        blocks=blocks,
        most_blocks=plan.blocks.max,
        half_widths=tuple((sd, expected_width(blocks, sd)) for sd in deviations)
        if is_estimated(plan)
        else (),
        noise=noise,
        precision=plan.blocks.precision if plan.blocks.min < plan.blocks.max else None,
        decidable=max_decidable_cells(blocks),
        gate_cells=sum(planned.gate for planned in plan.cells),
    )


def expected_width(blocks: int, sd: float) -> float | None:
    """Half the width to expect of the interval of so many blocks, as a share.

    None where there is no interval.
    """
    width = math.expm1(sd * statistics.widths_in_deviations(blocks))
    return None if math.isnan(width) else round(width, 6)


def measured_deviations(plan: Plan, out: Path, lab: str) -> Noise | None:
    """Return what the newest run of the same experiment below ``out`` measured on that lab.

    None where there is none.

    A run counts where it compared cells of this plan, over enough blocks for an interval, on the
    wall clock.
    """
    for folder in sorted((out / plan.name).glob("*-*"), reverse=True):
        if deviations := _deviations(plan, folder, lab):
            return Noise(median(deviations), max(deviations), str(folder))
    return None


def _deviations(plan: Plan, folder: Path, lab: str) -> list[float]:
    """Return each deciding comparison's standard deviation, from its robust interval."""
    try:
        if (where := run_folder.read_environment(folder)).lab != lab or where.clock != "wall":
            return []
        # As reported: what rounding adds to an interval is no noise, and more blocks do not take it
        # away.
        table = comparison.compare(
            run_folder.load(folder)[1].assign(**{ROUNDING: 0.0}),
            run_folder.read_plan(folder),
        )
    except YogurtError:  # not a run, or a damaged one: it says nothing about noise
        return []
    known = {planned.cell.id for planned in plan.cells}
    rows = table[table["cell"].isin(known) & (table["metric"] == table["load"].map(HEADLINE))]
    rows = rows[rows["ratio_low"].notna() & (rows["n"] >= statistics.FEWEST)]
    widths = zip(rows["ratio_low"], rows["ratio_high"], rows["n"], strict=True)
    return [
        math.log(high / low) / 2 / statistics.widths_in_deviations(int(n))
        for low, high, n in widths
    ]


def describe_budget(bought: BudgetEstimate) -> Iterator[str]:
    """Yield a budget in lines of text, as ``yogurtbench plan`` prints it."""
    whole = (
        f"{'' if bought.blocks < bought.most_blocks else 'all '}{count_of(bought.blocks, 'block')}"
    )
    budget, each = format_duration(bought.seconds), format_duration(bought.block_seconds)
    yield f"a budget of {budget} on {bought.lab}: {whole} of about {each} each"
    if not bought.half_widths:
        yield (
            f"  {'one block is enough' if bought.blocks else 'one would be enough'}: "
            "nothing is estimated here"
        )
    elif bought.blocks < statistics.FEWEST:
        yield f"  no interval and no verdict: they need {statistics.FEWEST} blocks"
    else:
        yield f"  {_given(bought.noise)}"
        asked = f" (the plan stops at ±{bought.precision:.1%})" if bought.precision else ""
        yield f"  half the width of the 95 % interval to expect{asked}:"
        yield "  " + " · ".join(
            f"SD {sd:.1%}: ±{width:.1%}" for sd, width in bought.half_widths if width is not None
        )
        yield (
            f"  gate cells that these blocks can decide (Holm): {bought.decidable}; in the "
            f"gate: {bought.gate_cells}"
        )


def _given(noise: Noise | None) -> str:
    if noise is None:
        return "noise: assumed, not measured (SD: the standard deviation of a block's ratio)"
    return (
        f"noise: as measured in {noise.source} (SD: of a block's ratio, for the median and "
        "the noisiest cell)"
    )
