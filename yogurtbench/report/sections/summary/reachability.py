"""Sentences on which wires carry packets and where the others die."""

from __future__ import annotations

from collections import Counter

from yogurtbench.report.run_data import RunData
from yogurtbench.report.sections.reachability import drop_sites, liveness, looping
from yogurtbench.report.sections.summary.effects import TELL_DEAD
from yogurtbench.report.sections.summary.wording import join_words

#: So few dead wires are left to the table.
_TELL_DEATHS = 3


def _wires_asked(story: RunData) -> dict[str, bool]:
    """Wire id -> whether it carries packets.

    A baseline without a program is no wire to ask about, beside others.
    """
    alive = liveness(story)
    bare = {cell.wire_id for cell in story.cells.values() if not cell.has_programs}
    found = {wire: alive[wire] for wire in story.wires if wire in alive}
    return {
        wire: lives
        for wire, lives in found.items()
        if not (story.wires[wire].reference and wire in bare)
    } or found


def reach_clause(story: RunData) -> str:
    """Return how many of the wires carry packets, naming the fewer."""
    asked = _wires_asked(story)
    dead = [story.wires[wire].name for wire, lives in asked.items() if not lives]
    live = [story.wires[wire].name for wire, lives in asked.items() if lives]
    was_asked = any(cell.load == "reachability" for cell in story.cells.values())
    if not (dead or (was_asked and len(asked) > 1)):
        return ""
    if not dead:
        return f"all {len(asked)} wires carry packets"
    named = f" (all but {join_words(dead)})" if len(dead) <= TELL_DEAD and len(live) > 1 else ""
    return (
        f"{len(live)} of {len(asked)} wires carr{'ies' if len(live) == 1 else 'y'} packets{named}"
    )


def describe_reach(story: RunData, *, named: bool) -> str:
    """Return which wires carry packets; ``named``: with the names of the first."""
    asked = _wires_asked(story)
    if not asked:
        return ""
    live = [story.wires[wire].name for wire, lives in asked.items() if lives]
    shown = ", ".join(live[:3]) + (" …" if len(live) > 3 else "")
    names = f": {shown}" if live and named else ""
    return (
        f"{len(live)} of {len(asked)} wires carry "
        f"packets{names}{_deaths(story, len(asked) - len(live))}."
    )


def _deaths(story: RunData, dead: int) -> str:
    """Return where the wires that carry nothing lose their packets.

    The functions that drop most of them, and what loops.
    """
    if dead <= _TELL_DEATHS:
        return ""
    sites = (str(site).removeprefix("arp:").removeprefix("nd:") for site in drop_sites(story))
    counts = Counter(site.partition(":")[0] for site in sites)
    parts = [
        f"{count} die{'s' * (count == 1)} in {function}"
        for function, count in counts.most_common(3)
    ]
    if others := counts.total() - sum(count for _, count in counts.most_common(3)):
        parts.append(f"{others} elsewhere")
    if loops := looping(story.attempts):
        parts.append(f"{len(loops)} loop{'s' * (len(loops) == 1)} in the kernel")
    return f"; of the others {join_words(parts)}" if parts else ""
