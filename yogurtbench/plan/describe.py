"""A plan in lines of text and as JSON, as ``yogurtbench plan`` prints it. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from yogurtbench.core.labels import axis_text, axis_word
from yogurtbench.core.records import AXES
from yogurtbench.core.wording import count_of, format_duration
from yogurtbench.plan.estimate import estimate_seconds, too_coarse, warnings
from yogurtbench.plan.plan import Plan, first_block

#: Trials of the first block that a description lists.
SHOWN = 60


def defaulted_axes(plan: Plan) -> dict[str, list[str]]:
    """Return the axes that the matrix leaves out, and the values the defaults gave its cells
    (``-``.

    Does not apply).
    """
    cells = [planned.cell for planned in plan.cells if planned.role == "cell"]
    values = {
        axis: sorted({axis_word(getattr(cell, axis)) for cell in cells})
        for axis in AXES
        if axis not in plan.named
    }
    return {axis: words for axis, words in values.items() if words not in (["-"], [])}


def describe_plan(plan: Plan, *labs: str, said: Iterable[str] = (), jobs: int = 1) -> str:
    """Return the plan in lines of text, as ``yogurtbench plan`` prints it.

    ``labs``: whose time to estimate.

    ``said``: lines on the clock and on what a budget buys; ``jobs``: trials side by side.
    """
    return "\n".join(
        [*_summary(plan, labs, jobs), *said, *_losses(plan), *_describe_first_block(plan)]
    )


def plan_facts(plan: Plan, *labs: str, jobs: int = 1) -> dict[str, Any]:
    """Return a plan's description as a JSON object: times in seconds by lab."""
    roles = [planned.role for planned in plan.cells]
    return {
        "counts": {role: roles.count(role) for role in ("cell", "baseline", "canary")}
        | {"group": len(plan.groups)},
        "seconds": {
            lab: [
                estimate_seconds(plan, lab, count, jobs)
                for count in (plan.blocks.min, plan.blocks.max)
            ]
            for lab in labs
        },
        "filled_in": defaulted_axes(plan),
        "warnings": warnings(plan),
        "too_coarse": too_coarse(plan),
        "first_block": [
            {"cell": trial.cell.id, "role": trial.role, "axes": trial.cell.named}
            for trial in first_block(plan)
        ],
    }


def _summary(plan: Plan, labs: Sequence[str], jobs: int) -> Iterator[str]:
    roles, blocks = [planned.role for planned in plan.cells], plan.blocks
    yield f"{plan.name}: {plan.question}" if plan.question else plan.name
    canaries = count_of(roles.count("canary"), "A/A canary", "A/A canaries")
    yield (
        f"{count_of(roles.count('cell'), 'cell')}, "
        f"{count_of(roles.count('baseline'), 'baseline')}, {canaries}"
    )
    until = f"{blocks.min} to {blocks.max} blocks each, until ±{blocks.precision:.2%}"
    whole = f"{count_of(blocks.max, 'block')} each"
    yield f"{count_of(len(plan.groups), 'group')}, {until if blocks.min < blocks.max else whole}"
    yield from (describe_duration(plan, lab, jobs) for lab in labs)
    yield "filled in: " + "; ".join(
        f"{axis} {'/'.join(values)}" for axis, values in defaulted_axes(plan).items()
    )


def describe_duration(plan: Plan, lab: str, jobs: int) -> str:
    """``about 2 min on vm, 2 trials side by side``."""
    fewest, most = (
        format_duration(estimate_seconds(plan, lab, count, jobs))
        for count in (plan.blocks.min, plan.blocks.max)
    )
    beside = f", {jobs} trials side by side" if jobs > 1 and plan.clock == "instructions" else ""
    return (
        f"about {fewest} to {most} on {lab}{beside}"
        if fewest != most
        else f"about {fewest} on {lab}{beside}"
    )


def _losses(plan: Plan) -> Iterator[str]:
    for left in plan.left_out:
        yield f"left out: {left.count} × {left.reason} (such as {left.example})"
    if plan.collapsed:
        differ = "differs" if plan.collapsed == 1 else "differ"
        yield (
            f"collapsed: {count_of(plan.collapsed, 'combination')} {differ} only in axes "
            "that do not apply there"
        )
    if plan.doubles:
        say = "says" if plan.doubles == 1 else "say"
        yield f"doubles: {count_of(plan.doubles, 'combination')} {say} what another says already"
    yield from (f"warning: {warning}" for warning in warnings(plan))
    yield from (f"too coarse: {sentence}" for sentence in too_coarse(plan))


def _describe_first_block(plan: Plan) -> Iterator[str]:
    """Yield the order of the first block, as far as anybody would read on."""
    trials = first_block(plan)
    yield f"the first block, {count_of(len(trials), 'trial')} in this order:"
    for trial in trials[:SHOWN]:
        yield f"  {trial.cell.id}  {trial.role:8}  {axis_text(trial.cell.named)}"
    if len(trials) > SHOWN:
        yield f"  … and {len(trials) - SHOWN} more"
