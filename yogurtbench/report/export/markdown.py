"""The short report for a pull request: at most forty lines, the rest folded away."""

from __future__ import annotations

import re

from yogurtbench.report import measured
from yogurtbench.report.run_data import RunData
from yogurtbench.report.sections import counters, summary, tables, warnings
from yogurtbench.report.sections.dead_wires import dead_wires
from yogurtbench.report.sections.environment import (
    EnvironmentItem,
    environment_items,
    reproduction_steps,
)
from yogurtbench.report.sections.failures import failure_counts
from yogurtbench.report.sections.table import Mark

#: Lines that a pull request bears.
LINES = 40
_BEST, _MORE, _LEVELS = 6, 8, 10


def render(story: RunData) -> str:
    """Return the report as Markdown, at most :data:`LINES` lines."""
    lines = [
        f"### {_text(story.plan.question or story.plan.name)}",
        "",
        f"**{_text(summary.summarise(story))}**",
        "",
    ]
    lines += _cautions(story) + _glance(story) + _measured(story) + _details(story)
    return "\n".join(lines[:LINES]) + "\n"


def _cautions(story: RunData) -> list[str]:
    found = [f"> ⚠ {_text(one.text)}  " for one in warnings.collect_warnings(story)]
    return [*found, ""] if found else []


def _glance(story: RunData) -> list[str]:
    table = tables.ranking_table(story, _BEST)
    if not table.rows:
        return []
    label = " (emulated)" if story.emulated else ""
    heads = [f"wire, against its baseline{label}", *table.heads]
    rows = [_row([row.wire.name, *(_mark(mark) for mark in row.marks)]) for row in table.rows]
    rest = [f"<sub>{table.of - _BEST} more wires in report.html</sub>"] if table.of > _BEST else []
    return [_row(heads), _row(["---"] * len(heads), escape=False), *rows, *rest, ""]


def _measured(story: RunData) -> list[str]:
    """Return the values where nothing is compared."""
    levels = measured.levels(story)
    if not levels:
        return []
    label = " (emulated)" if story.emulated else ""
    heads = [f"wire{label}", "measured", "median", "smallest … largest block", "blocks"]
    rows = [
        _row([one.wire, one.heading, one.value, one.spread, str(one.blocks)])
        for one in levels[:_LEVELS]
    ]
    rest = (
        [f"<sub>{len(levels) - _LEVELS} more values in report.html</sub>"]
        if len(levels) > _LEVELS
        else []
    )
    return [_row(heads), _row(["---"] * len(heads), escape=False), *rows, *rest, ""]


def _mark(mark: Mark) -> str:
    return f"{mark.text} {mark.kind}" if mark.kind not in ("none", "mixed") else mark.text


def _details(story: RunData) -> list[str]:
    return [
        *_folded("Dead wires and failures", _troubles(story)),
        *_folded("Environment", _where(story)),
    ]


def _troubles(story: RunData) -> list[str]:
    dead = [
        f"- {_text(one.wire.name)}: dead, at `{_code(one.site)}`{_guard(one.guard)}"
        for one in dead_wires(story)
    ]
    bad = [
        f"- {_text(one.wire.name)}, {one.load}: {one.status} ×{one.count}: "
        f"`{_code(one.error[:120])}`"
        for one in failure_counts(story)
    ]
    found = bad + dead
    return found if len(found) <= _MORE else [*found[:_MORE], f"- and {len(found) - _MORE} more"]


def _guard(guard: str) -> str:
    return f" ({_text(guard)})" if guard else ""


def _why_this_clock(fact: EnvironmentItem) -> str:
    """Say why this clock: what the numbers mean depends on it; the page has the other reasons."""
    return f" ({fact.why})" if fact.name == "clock" and fact.why else ""


def _where(story: RunData) -> list[str]:
    facts = environment_items(story)
    cost = counters.cost_of_looking(story)
    return [
        "- "
        + _text(", ".join(f"{fact.name} {fact.value}{_why_this_clock(fact)}" for fact in facts)),
        *([f"- {_text(cost)}"] if cost else []),
        f"- `{_code(reproduction_steps(story))}`",
    ]


def _folded(title: str, lines: list[str]) -> list[str]:
    return [f"<details><summary>{title}</summary>", "", *lines, "", "</details>"] if lines else []


def _row(cells: list[str], *, escape: bool = True) -> str:
    return "| " + " | ".join(_text(cell) if escape else cell for cell in cells) + " |"


def _text(text: str) -> str:
    """Text that stays text in Markdown: no markup, no HTML, no line breaks, no mentions or
    links.
    """
    return re.sub(r"([\\`*_{}\[\]<>#|~!@&])", r"\\\1", " ".join(text.split()))


def _code(text: str) -> str:
    return " ".join(text.split()).replace("`", "'")
