"""Sentences on how the wires compare with their baseline, and with each other."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from functools import lru_cache
from itertools import chain
from typing import Any

import numpy as np
import pandas as pd

from yogurtbench.analysis.comparison import decided_minima
from yogurtbench.analysis.values import rows_of
from yogurtbench.core.labels import load_name, metric_name, wire_name
from yogurtbench.core.load_specs import LOADS, loads_of
from yogurtbench.core.metrics import FLOOR, FLOORED, HEADLINE, METRICS
from yogurtbench.report.format import better_word, format_change, format_interval, format_number
from yogurtbench.report.run_data import RunData
from yogurtbench.report.sections.advice import ranking
from yogurtbench.report.sections.ranking import WireRank, rank_wires
from yogurtbench.report.sections.summary.wording import (
    DECIDED,
    EQUAL,
    differing_axes,
    format_figure,
    join_words,
)

#: What a packet costs, where a bulk load measured it.
PER_PACKET = ("cpu_ns_per_packet", "instructions_per_packet")


#: Loads by what they are about, the one that shows it best first.
_KINDS = {"round trips": loads_of("request_response"), "bulk transfers": loads_of("bulk")}


def describe_effects(story: RunData) -> str:
    """Return the sentences on the comparisons; empty where there is none."""
    rows = ranking(story)
    ranked = rank_wires(story, rows)
    if not ranked:
        return ""
    if len(ranked) == 1:
        return _single(story, rank_wires(story)[0])
    if split := _kind_sentences(story, rows):
        return split
    better = [one for one in ranked if one.verdicts & {"faster"} and "slower" not in one.verdicts]
    if better:
        best, rest = (
            better[0],
            f"; {len(better)} of {len(ranked)} wires beat{'s' if len(better) == 1 else ''} it",
        )
        said = (
            f"{_best(story, best, ranked)}: {_clauses(story, best)}, against "
            f"{reference_words(story)}{rest}"
        )
        return f"{said}{_best_of_others(story, ranked, best)}{_others(story, best)}"
    return _none_better(story, ranked)


def _best(story: RunData, best: WireRank, ranked: list[WireRank]) -> str:
    """``X is best``, or on a clock of instructions ``cheapest``, with those that may be as good."""
    equal = [one.wire.name for one in ranked if one is not best and not _apart(best, one)]
    first = f"{best.wire.name} is {'cheapest' if story.exact else 'best'}"
    if not equal:
        return first
    peers = equal[0] if len(equal) == 1 else f"{equal[0]} and {len(equal) - 1} more"
    if not story.exact:
        return f"{first} ({peers} may equal it)"
    return f"{first} ({peers} {'costs' if len(equal) == 1 else 'cost'} the same)"


def _apart(best: WireRank, other: WireRank) -> bool:
    """Return whether a wire is known to be better than another in some load: their intervals do not
    touch.
    """
    return any(
        _is_below(rows, other.loads[load])
        for load, rows in best.loads.items()
        if load in other.loads
    )


def _is_below(mine: pd.DataFrame, theirs: pd.DataFrame) -> bool:
    """Return whether one wire's interval is better than another's in some traffic."""
    lower = METRICS[str(mine["metric"].iloc[0])].better == "lower"
    sizes = theirs.set_index(theirs["payload"].fillna(-1))
    for row in rows_of(mine.assign(size=mine["payload"].fillna(-1))):
        for other in rows_of(sizes.loc[sizes.index == row["size"]]):
            better = (
                row["ratio_high"] < other["ratio_low"]
                if lower
                else row["ratio_low"] > other["ratio_high"]
            )
            if better and {str(row["verdict"]), str(other["verdict"])} <= DECIDED | EQUAL:
                return True
    return False


def _kind_sentences(story: RunData, rows: pd.DataFrame) -> str:
    """Return the cheapest for round trips and for bulk, where they are not the same and differ in
    both.
    """
    by_kind = {
        kind: rank_wires(story, rows[rows["load"].isin(loads)]) for kind, loads in _KINDS.items()
    }
    if not all(by_kind.values()):
        return ""
    trips, bulk = (by_kind[kind] for kind in _KINDS)
    if trips[0].wire.id == bulk[0].wire.id:
        return ""
    wires = ((trips, bulk[0].wire.id), (bulk, trips[0].wire.id))
    others = [next((one for one in ranked if one.wire.id == wire), None) for ranked, wire in wires]
    if not all(
        other and _apart(ranked[0], other) for (ranked, _), other in zip(wires, others, strict=True)
    ):
        return ""
    sentences = [
        f"for {kind} {_best(story, ranked[0], ranked)}: {_all_clauses(story, ranked[0])}"
        for kind, ranked in by_kind.items()
    ]
    return f"F{'; '.join(sentences)[1:]}, against {reference_words(story)}"


def _none_better(story: RunData, ranked: list[WireRank]) -> str:
    reference = reference_words(story)
    counts: Counter[str] = Counter()
    for rows in chain.from_iterable(one.loads.values() for one in ranked):
        counts.update(map(str, rows["verdict"]))
    equal = [one.wire.name for one in ranked if one.verdicts <= EQUAL]
    decided, asked = sum(counts[word] for word in DECIDED | EQUAL), counts.total()
    if not decided:
        return f"We don't know yet: none of {asked} comparisons with {reference} are decided"
    beats = "beats" if decided == asked else "is known to beat"
    if equal:
        others = f" and {len(equal) - 1} more" if len(equal) > 1 else ""
        return (
            f"No wire {beats} {reference}; {equal[0]}{others} equal{'' if others else 's'} "
            "it within the margin"
        )
    known = [one for one in ranked if one.verdicts & (DECIDED | EQUAL)]
    near = known[0]
    everywhere = " in every load" if counts["faster"] else ""
    first = (
        _best(story, near, known)
        if story.exact and decided == asked
        else f"{near.wire.name} comes nearest"
    )
    doubt = "" if decided == asked else f"; {asked - decided} of {asked} comparisons are undecided"
    clauses = _clauses(story, near) or _all_clauses(story, near)
    return (
        f"No wire {beats} {reference}{everywhere}; {first}: {clauses}{_others(story, near)}{doubt}"
    )


def _single(story: RunData, one: WireRank) -> str:
    """Return the one wire there is, against each of its baselines, equal and undecided loads
    too.
    """
    if not one.verdicts & (DECIDED | EQUAL):
        return (
            f"We don't know yet how {one.wire.name} compares with {reference_words(story)}: "
            f"{_all_clauses(story, one)}"
        )
    said = f"{one.wire.name} against {reference_words(story)}: {_all_clauses(story, one)}"
    return said + _others(story, one)


def _others(story: RunData, one: WireRank) -> str:
    """Return the same wire against the baselines that are not the main one."""
    rows = story.comparison[
        (story.comparison["role"] == "cell") & story.comparison["baseline"].notna()
    ]
    rows = rows[rows["metric"] == rows["load"].map(HEADLINE)]
    rows = rows[(rows["cell"].map(story.main) != rows["baseline"])]
    rows = rows[rows["cell"].map(lambda cell: story.wire(cell).id) == one.wire.id]
    references = rows["baseline"].map(lambda cell: story.wire(cell).id)
    found = ""
    for wire, mine in rows.groupby(references, sort=False):
        for rank in rank_wires(story, mine):
            found += f"; against {story.wires[str(wire)].name}: {_all_clauses(story, rank)}"
    return found


def _best_of_others(story: RunData, ranked: list[WireRank], best: WireRank) -> str:
    """Return the best wire over the other device, where both were tried: what the device adds to
    the rest.
    """
    devices = {cell.wire_id: cell.device for cell in story.cells.values()}
    other = next((one for one in ranked if devices[one.wire.id] != devices[best.wire.id]), None)
    if other is None:
        return ""
    return (
        f", over {devices[other.wire.id]} best {other.wire.name} "
        f"({_clauses(story, other) or 'no difference decided'})"
    )


def _clauses(story: RunData, one: WireRank) -> str:
    """Return the decided effects: ``12 % shorter median round trip (ping and sockperf UDP)``."""
    said: dict[str, list[str]] = {}
    for load, rows in one.loads.items():
        decided = rows[rows["verdict"].isin(DECIDED)]
        if not decided.empty:
            effect, where = _strongest(story, load, decided, sweep=len(rows) > 1)
            said.setdefault(effect, []).append(where)
    return join_words([f"{effect} ({join_words(where)})" for effect, where in said.items()])


def _all_clauses(story: RunData, one: WireRank) -> str:
    """Return the decided effects, then the loads where it is equal, then the undecided
    ones.
    """
    words = {load: {str(word) for word in rows["verdict"]} for load, rows in one.loads.items()}
    equal = [load_name(load) for load, found in words.items() if found <= EQUAL]
    unclear = [load for load, found in words.items() if not found & (DECIDED | EQUAL)]
    unknown = [_undecided(story, load, one.loads[load]) for load in unclear]
    parts = [
        _clauses(story, one),
        f"equal within the margin ({join_words(equal)})" if equal else "",
        f"undecided ({join_words(unknown)})" if unknown else "",
    ]
    return ", ".join(filter(None, parts))


def _undecided(story: RunData, load: str, rows: pd.DataFrame) -> str:
    row = rows_of(rows)[0]
    span = format_interval(row["ratio_low"], row["ratio_high"])
    return (
        f"{load_name(load)}: {span}{describe_floor(story, row)}"
        if span and len(rows) == 1
        else load_name(load)
    )


def describe_floor(story: RunData, row: Mapping[str, Any]) -> str:
    """Return what is known of the fastest round trip where the median is undecided.

    A neighbour's noise adds, never takes.
    """
    rows = _floors(story)
    found = rows_of(rows[(rows["cell"] == row["cell"]) & (rows["baseline"] == row["baseline"])])
    if not found or row["metric"] != FLOORED:
        return ""
    known = (
        format_change(found[0]["ratio"])
        if found[0]["verdict"] in DECIDED
        else "the same within the margin"
    )
    return f", but the {metric_name(FLOOR)} {known}"


@lru_cache(maxsize=1)
def _floors(story: RunData) -> pd.DataFrame:
    return decided_minima(story.comparison)


def _strongest(story: RunData, load: str, decided: pd.DataFrame, *, sweep: bool) -> tuple[str, str]:
    row = decided.loc[np.log(decided["ratio"]).abs().idxmax()]
    size = f" at {row['payload']} B" if sweep and pd.notna(row["payload"]) else ""
    absolute = absolute_difference(story, row)
    if absolute:
        absolute = f": {absolute}" if story.exact else f": about {absolute}"
    return better_word(str(row["metric"]), float(row["ratio"])), load_name(load) + size + absolute


def absolute_difference(story: RunData, row: Mapping[str, Any]) -> str:
    """Return a difference in the clock's own unit, a round trip and a packet.

    ``34 guest instructions a round trip more``.
    """
    difference, unit = abs(float(row["difference"])), str(row["unit"])
    word = "more" if float(row["difference"]) > 0 else "less"
    if str(row["metric"]) in PER_PACKET:
        return f"{format_number(difference, unit.partition('/')[0])} a packet {word}"
    if not str(row["metric"]).startswith("rtt_"):
        return ""
    said = f"{format_number(difference, unit)} a round trip {word}"
    half = format_figure(difference / 2) if story.exact else format_number(difference / 2, unit)
    return said + (f", {half} a packet" if _one_packet(story, str(row["cell"])) else "")


def _one_packet(story: RunData, cell: str) -> bool:
    """Return whether a round trip of the cell is two packets: one message each way, in one
    piece.
    """
    one = story.cells[cell]
    spec = LOADS[one.load]
    headers = (40 if one.ip == 6 else 20) + spec.header_bytes
    return (
        spec.packets_per_round_trip == 2
        and one.payload is not None
        and one.payload + headers <= one.mtu
    )


def reference_words(story: RunData) -> str:
    """Return what the wires are held to.

    Where each has it under its own switches: ``veth direct with the same mtu, gso``.
    """
    wires = dict.fromkeys(
        story.cells[base].wire_id for base in story.main.values() if base in story.cells
    )
    cells = {wire: cell for cell in story.cells.values() if (wire := cell.wire_id) in wires}
    plain = list(dict.fromkeys(wire_name(cells[wire]) for wire in wires))
    if len(plain) == 1 and len(wires) > 1:
        return f"{plain[0]} with the same {', '.join(differing_axes(cells.values()))}"
    return " or ".join(story.wires[wire].name for wire in wires) if wires else "the baseline"


#: So many headings without a baseline are named.
TELL_LEVELS = 2


#: So many dead wires are named.
TELL_DEAD = 2
