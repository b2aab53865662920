"""The environment of a run, and the steps to make it again."""

from __future__ import annotations

import shlex
from dataclasses import dataclass

from yogurtbench.core.version import __version__
from yogurtbench.report.run_data import RunData


@dataclass(frozen=True, slots=True)
class EnvironmentItem:
    """A line of the environment, with the reason where there was a choice."""

    name: str
    value: str
    why: str = ""


def environment_items(story: RunData) -> list[EnvironmentItem]:
    """Kernel, lab, accelerator and clock, with why; then tool versions."""
    where, why = story.environment, story.environment.reasons
    first = [
        EnvironmentItem("kernel", where.kernel),
        EnvironmentItem("lab", where.lab, why.get("lab", "")),
        EnvironmentItem("accelerator", where.accelerator, why.get("accelerator", "")),
        EnvironmentItem(
            "clock", "guest instructions" if story.exact else "wall", why.get("clock", "")
        ),
        EnvironmentItem("blocks", f"{story.blocks}, {len(story.attempts)} trials"),
        EnvironmentItem("host", where.host),
    ]
    named = {fact.name for fact in first}
    rest = {**where.identity, **where.system}
    return first + [
        EnvironmentItem(name, str(value)) for name, value in rest.items() if name not in named
    ]


def reproduction_steps(story: RunData) -> str:
    """Return the command that runs the same plan again."""
    plan = story.plan
    blocks = plan.blocks
    fixed = ["--blocks", str(blocks.min)] if blocks.min and blocks.min == blocks.max else []
    where = ["--lab", story.environment.lab, "--clock", plan.clock]
    only = ["--only", plan.only] if plan.only else []
    return shlex.join(["yogurtbench", "run", plan.path or "matrix.yaml", *where, *only, *fixed])


def versions(story: RunData) -> str:
    """With what it was run, in one line; the guest's fingerprint stands for every package in it."""
    known = {"Linux": story.environment.kernel, **story.environment.identity}
    said = ", ".join(
        f"{name} {value}"
        for name, value in known.items()
        if name not in ("kernel", "lab", "accelerator", "clock")
    )
    return f"yogurtbench {__version__} (this report); {said}"
