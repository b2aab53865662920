"""What a run answers, in words: one sentence made from the verdicts, the best wires, and what to be wary of."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd

from yogurtbench.records import METRICS
from yogurtbench.report.names import Wire, better_word, change, interval, load_name
from yogurtbench.report.story import Story


@dataclass(frozen=True, slots=True)
class Caution:
    """Something to know before believing a number. ``grave`` ones change what the numbers mean."""

    kind: Literal["emulated", "canary", "drift", "failures", "unfinished", "mixed"]
    text: str
    grave: bool = True


@dataclass(frozen=True, slots=True)
class Standing:
    """A wire's effects: load -> its rows of the comparison; ``gain`` > 0 is better than the baseline (log ratio)."""

    wire: Wire
    loads: dict[str, pd.DataFrame]
    gain: float


def standings(story: Story) -> list[Standing]:
    """The wires with effects, best first: mean gain over the loads, each load the mean over its traffic."""
    rows = story.headlines[story.headlines["ratio"].notna()]
    found: dict[str, dict[str, pd.DataFrame]] = {}
    wires = rows["cell"].map(lambda cell: story.wire(cell).id)
    for (wire, load), mine in rows.groupby([wires, rows["load"]], sort=False):
        found.setdefault(str(wire), {})[str(load)] = mine
    told = [
        Standing(story.wires[wire], loads, float(np.mean([_gain(r) for r in loads.values()])))
        for wire, loads in found.items()
    ]
    return sorted(told, key=lambda one: -one.gain)


def _gain(rows: pd.DataFrame) -> float:
    sign = -1 if METRICS[str(rows["metric"].iloc[0])].better == "lower" else 1
    return sign * float(np.log(rows["ratio"]).mean())


def answer(story: Story) -> str:
    """One sentence from the verdicts, never more certain than they are."""
    lead = "In emulation (TCG): " if story.emulated else ""
    return lead + (_by_effects(story) or _by_reach(story) or "Nothing was measured: no trial gave a value.")


def _by_effects(story: Story) -> str:
    ranked = standings(story)
    if not ranked:
        return ""
    better = [one for one in ranked if _verdicts(one) & {"faster"} and not _verdicts(one) & {"slower"}]
    if better:
        return (
            f"{better[0].wire.name} is best: {_clauses(better[0])}, against {_reference(story)}{_rest(ranked, better)}."
        )
    return _none_better(story, ranked)


def _none_better(story: Story, ranked: list[Standing]) -> str:
    reference, counts = _reference(story), Counter(story.headlines["verdict"])
    equal = [one.wire.name for one in ranked if _verdicts(one) <= {"equivalent", "identical"}]
    if equal:
        others = f" and {len(equal) - 1} more" if len(equal) > 1 else ""
        return f"No wire beats {reference}; {equal[0]}{others} equal it within the margin."
    if counts["slower"] and not counts["inconclusive"]:
        return f"No wire beats {reference}; {ranked[0].wire.name} comes nearest: {_clauses(ranked[0])}."
    told = counts["faster"] + counts["slower"] + counts["equivalent"] + counts["identical"]
    decided = f"only {told}" if told else "none"
    return f"We don't know yet: {decided} of {counts.total()} comparisons with {reference} are decided."


def _verdicts(one: Standing) -> set[str]:
    return {str(word) for rows in one.loads.values() for word in rows["verdict"]}


def _clauses(one: Standing) -> str:
    said: dict[str, list[str]] = {}
    for load, rows in one.loads.items():
        decided = rows[rows["verdict"].isin(["faster", "slower"])]
        if not decided.empty:
            effect, where = _strongest(load, decided, sweep=len(rows) > 1)
            said.setdefault(effect, []).append(where)
    return _listed([f"{effect} ({_listed(where)})" for effect, where in said.items()])


def _strongest(load: str, decided: pd.DataFrame, *, sweep: bool) -> tuple[str, str]:
    row = decided.loc[np.log(decided["ratio"]).abs().idxmax()]
    size = f" at {row['payload']} B" if sweep and pd.notna(row["payload"]) else ""
    return better_word(str(row["metric"]), float(row["ratio"])), load_name(load) + size


def _listed(parts: list[str]) -> str:
    return " and ".join([", ".join(parts[:-1]), parts[-1]] if len(parts) > 1 else parts)


def _reference(story: Story) -> str:
    names = list(dict.fromkeys(wire.name for wire in story.wires.values() if wire.reference))
    return " or ".join(names) if names else "the baseline"


def _rest(ranked: list[Standing], better: list[Standing]) -> str:
    return f"; {len(better)} of {len(ranked)} wires beat{'s' if len(better) == 1 else ''} it" if len(ranked) > 1 else ""


def _by_reach(story: Story) -> str:
    if "reachable" not in story.words:
        return ""
    reached = story.words["reachable"].dropna()
    live = [story.wire(str(cell)).name for cell in reached.index[reached > 0.5] if str(cell) in story.cells]
    named = f": {', '.join(live[:3])}{' …' if len(live) > 3 else ''}" if live else ""
    return f"{len(live)} of {len(reached)} wires carry packets{named}."


def cautions(story: Story) -> list[Caution]:
    """What a reader must know, the gravest first."""
    found = [_emulated(story), _canary(story), _drift(story), _failures(story), _unfinished(story), _mixed(story)]
    return [one for one in found if one is not None]


def _emulated(story: Story) -> Caution | None:
    if not story.emulated:
        return None
    if story.exact:
        text = "Emulated (TCG): values are counts of guest instructions, without caches, contention or a second CPU. "
        return Caution("emulated", text + "They are exact, and not a statement about time on hardware.", grave=False)
    text = "Emulated (TCG): not a statement about hardware. Which wires work is true of this kernel; how fast is not."
    return Caution("emulated", text)


def _canary(story: Story) -> Caution | None:
    seen = story.canaries[story.canaries["verdict"].isin(["faster", "slower"])]
    if seen.empty:
        return None
    worst = seen.iloc[int(np.argmax(np.abs(np.log(seen["ratio"].to_numpy(dtype=float)))))]
    text = f"The baseline differs from itself by {change(worst['ratio'])} ({worst['metric']}, {worst['load']}): "
    return Caution(
        "canary", text + "something other than the wires moves these numbers; do not trust differences of that size."
    )


def _drift(story: Story) -> Caution | None:
    seen = story.drift[story.drift["verdict"] == "drift"]
    if seen.empty:
        return None
    worst = seen.loc[np.log(seen["ratio"]).abs().idxmax()]
    span = interval(worst["ratio_low"], worst["ratio_high"])
    text = f"The baseline drifted within the blocks: {change(worst['ratio'])} ({span}) from first to last."
    return Caution("drift", text, grave=False)


def _failures(story: Story) -> Caution | None:
    counts = Counter(attempt.status for attempt in story.attempts if attempt.status in ("failed", "crashed", "looping"))
    if not counts:
        return None
    said = ", ".join(f"{count} {status}" for status, count in counts.most_common())
    return Caution("failures", f"Of {len(story.attempts)} trials: {said}. See Failures.", grave=False)


def _unfinished(story: Story) -> Caution | None:
    planned = int(story.plan.get("blocks", {}).get("min", 0))
    absent = int((story.headlines["verdict"] == "not_run").sum())
    if story.blocks >= planned and not absent:
        return None
    lost = f"; {absent} cells have no trial" if absent else ""
    return Caution(
        "unfinished", f"The run is not complete: {story.blocks} of at least {planned} blocks{lost}.", grave=False
    )


def _mixed(story: Story) -> Caution | None:
    mixed = [name for name in ("host", "lab", "accelerator", "clock") if story.frame[name].nunique() > 1]
    return (
        Caution("mixed", f"Trials differ in {', '.join(mixed)}; cells are only compared within a block.")
        if mixed
        else None
    )


def effect(row: dict[str, Any]) -> tuple[str, str]:
    """A row of the comparison as (change, interval) in percent."""
    return change(float(row["ratio"])), interval(float(row["ratio_low"]), float(row["ratio_high"]))
