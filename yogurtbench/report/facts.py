"""Where a run was made and how to make it again."""

from __future__ import annotations

import shlex
from dataclasses import dataclass

from yogurtbench.report.story import Story


@dataclass(frozen=True, slots=True)
class Fact:
    """A line of the environment, with the reason where there was a choice."""

    name: str
    value: str
    why: str = ""


def surroundings(story: Story) -> list[Fact]:
    """Kernel, lab, accelerator and clock, with why; then tool versions."""
    where, why = story.environment, story.environment.reasons
    first = [
        Fact("kernel", where.kernel),
        Fact("lab", where.lab, why.get("lab", "")),
        Fact("accelerator", where.accelerator, why.get("accelerator", "")),
        Fact("clock", "guest instructions" if story.exact else "wall", why.get("clock", "")),
        Fact("blocks", f"{story.blocks}, {len(story.attempts)} trials"),
        Fact("host", where.host),
    ]
    told = {fact.name for fact in first}
    rest = {**where.identity, **where.system}
    return first + [Fact(name, str(value)) for name, value in rest.items() if name not in told]


def reproduce(story: Story) -> str:
    """The command that runs the same plan again."""
    plan = story.plan
    matrix = str(plan.get("path") or "matrix.yaml")
    return shlex.join(
        ["yogurtbench", "run", matrix, "--lab", story.environment.lab, "--clock", str(plan.get("clock", "wall"))]
    )
