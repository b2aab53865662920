"""The answer of a run in one or two sentences, never more certain than its verdicts.

The first says which wires carry packets, which of them is cheapest and by how much, against what
they are held to. The second, where it was measured, who on the host can capture or inject; else
what a sweep of payloads or of offloads came to. Where it is not decided yet, the last is a command
that would (see advice).
"""

from __future__ import annotations

from functools import lru_cache

from yogurtbench.report.run_data import RunData
from yogurtbench.report.sections import advice
from yogurtbench.report.sections.summary.custom_wires import describe_custom_wires
from yogurtbench.report.sections.summary.effects import describe_effects
from yogurtbench.report.sections.summary.isolation import describe_isolation
from yogurtbench.report.sections.summary.reachability import describe_reach, reach_clause
from yogurtbench.report.sections.summary.sweeps import (
    describe_levels,
    describe_offloads,
    describe_payload,
)
from yogurtbench.report.sections.summary.wording import join_clauses


@lru_cache(maxsize=1)  # the page, the Markdown and the terminal ask one after another
def summarise(story: RunData) -> str:
    """Return one sentence or two from the verdicts, and where they decide nothing a command that
    would.
    """
    lead = "In emulation (TCG): " if story.emulated else ""
    effects = describe_custom_wires(story) or describe_effects(story) or describe_levels(story)
    second = describe_isolation(story)
    first = (
        f"{join_clauses(reach_clause(story), effects)}."
        if effects
        else describe_reach(story, named=not second)
    )
    second = second or describe_payload(story) or describe_offloads(story)
    said = " ".join(filter(None, (first, second, _advice(story, effects))))
    return lead + (said or "Nothing was measured: no trial gave a value.")


#: How a sentence says that something is not known; what would decide it is then said too.
_OPEN = ("We don't know", "is known to", "undecided")


def _advice(story: RunData, said: str) -> str:
    """Return a sentence that ends with a command to copy.

    Empty where the sentence leaves nothing open.
    """
    return advice.sentence(story) if any(word in said for word in _OPEN) else ""
