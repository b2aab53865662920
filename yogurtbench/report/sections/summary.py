"""The answer of a run in one or two sentences, made from the verdicts and never more certain than
they are.

The first says which wires carry packets, which of them is cheapest and by how much, against what
they are held to. The second, where it was measured, who on the host can listen in or talk in; else
what a sweep of payloads or of offloads came to. Where nobody can tell yet, the last is a command
that would (see advice).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from typing import Any

import numpy as np
import pandas as pd

from yogurtbench.analysis.comparison import decided_minima
from yogurtbench.analysis.values import rows_of
from yogurtbench.core.labels import load_name, metric_name, wire_name
from yogurtbench.core.load_specs import LOADS, loads_of
from yogurtbench.core.metrics import BULK, FLOOR, FLOORED, HEADLINE, METRICS
from yogurtbench.core.records import Cell
from yogurtbench.report.format import (
    better_word,
    format_change,
    format_grouped,
    format_interval,
    format_number,
)
from yogurtbench.report.measured import Level, levels
from yogurtbench.report.run_data import RunData
from yogurtbench.report.sections import advice
from yogurtbench.report.sections.advice import ranking
from yogurtbench.report.sections.isolation import (
    CAPTURES,
    INJECTIONS,
    IsolationResult,
    isolation_results,
)
from yogurtbench.report.sections.ranking import WireRank, rank_wires
from yogurtbench.report.sections.reachability import drop_sites, liveness, looping

_EQUAL = frozenset({"equivalent", "identical"})
_DECIDED = frozenset({"faster", "slower"})
#: What a packet costs, where a bulk load measured it.
_PER_PACKET = ("cpu_ns_per_packet", "instructions_per_packet")
#: Axes that switch a kernel's batching, whatever the wire.
_SWITCHES = ("mtu", "gso", "gro", "checksum")
#: So few dead wires are left to the table.
_TELL_DEATHS = 3


@lru_cache(maxsize=1)  # the page, the Markdown and the terminal ask one after another
def summarise(story: RunData) -> str:
    """Return one sentence or two from the verdicts, and where they decide nothing a command that
    would.
    """
    lead = "In emulation (TCG): " if story.emulated else ""
    effects = _by_own_programs(story) or _effect_sentences(story) or _by_levels(story)
    second = _by_isolation(story)
    first = f"{_joined(_reach(story), effects)}." if effects else _by_reach(story, named=not second)
    second = second or _by_payload(story) or _by_switches(story)
    said = " ".join(filter(None, (first, second, _advice(story, effects))))
    return lead + (said or "Nothing was measured: no trial gave a value.")


#: How a sentence says that something is not known; what would decide it is then told too.
_OPEN = ("We don't know", "is known to", "undecided")


def _advice(story: RunData, said: str) -> str:
    """Return a sentence that ends with a command to copy.

    Empty where the sentence leaves nothing open.
    """
    return advice.sentence(story) if any(word in said for word in _OPEN) else ""


def _joined(first: str, then: str) -> str:
    """Two clauses as one; the beginnings of ours are made small, names stay as they are."""
    small = then[0].lower() + then[1:] if then.startswith(("No wire", "We don't", "For ")) else then
    return f"{first}; {small}" if first else then


# --- effects --------------------------------------------------------------------------------------

#: Loads by what they are about, the one that shows it best first.
_KINDS = {"round trips": loads_of("request_response"), "bulk transfers": loads_of("bulk")}


def _effect_sentences(story: RunData) -> str:
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
            f"{_reference(story)}{rest}"
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
    """Return whether the interval of one wire's ratios lies on the better side of another's, for
    some traffic.
    """
    lower = METRICS[str(mine["metric"].iloc[0])].better == "lower"
    sizes = theirs.set_index(theirs["payload"].fillna(-1))
    for row in rows_of(mine.assign(size=mine["payload"].fillna(-1))):
        for other in rows_of(sizes.loc[sizes.index == row["size"]]):
            better = (
                row["ratio_high"] < other["ratio_low"]
                if lower
                else row["ratio_low"] > other["ratio_high"]
            )
            if better and {str(row["verdict"]), str(other["verdict"])} <= _DECIDED | _EQUAL:
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
    told = [
        f"for {kind} {_best(story, ranked[0], ranked)}: {_all_clauses(story, ranked[0])}"
        for kind, ranked in by_kind.items()
    ]
    return f"F{'; '.join(told)[1:]}, against {_reference(story)}"


def _none_better(story: RunData, ranked: list[WireRank]) -> str:
    reference = _reference(story)
    counts = Counter(
        str(word) for one in ranked for rows in one.loads.values() for word in rows["verdict"]
    )
    equal = [one.wire.name for one in ranked if one.verdicts <= _EQUAL]
    told, asked = sum(counts[word] for word in _DECIDED | _EQUAL), counts.total()
    if not told:
        return f"We don't know yet: none of {asked} comparisons with {reference} are decided"
    beats = "beats" if told == asked else "is known to beat"
    if equal:
        others = f" and {len(equal) - 1} more" if len(equal) > 1 else ""
        return (
            f"No wire {beats} {reference}; {equal[0]}{others} equal{'' if others else 's'} "
            "it within the margin"
        )
    known = [one for one in ranked if one.verdicts & (_DECIDED | _EQUAL)]
    near = known[0]
    everywhere = " in every load" if counts["faster"] else ""
    first = (
        _best(story, near, known)
        if story.exact and told == asked
        else f"{near.wire.name} comes nearest"
    )
    doubt = "" if told == asked else f"; {asked - told} of {asked} comparisons are undecided"
    clauses = _clauses(story, near) or _all_clauses(story, near)
    return (
        f"No wire {beats} {reference}{everywhere}; {first}: {clauses}{_others(story, near)}{doubt}"
    )


def _single(story: RunData, one: WireRank) -> str:
    """Return the one wire there is, against each of its baselines, equal and undecided loads
    too.
    """
    if not one.verdicts & (_DECIDED | _EQUAL):
        return (
            f"We don't know yet how {one.wire.name} compares with {_reference(story)}: "
            f"{_all_clauses(story, one)}"
        )
    said = f"{one.wire.name} against {_reference(story)}: {_all_clauses(story, one)}"
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
    found = [
        f"; against {story.wires[str(wire)].name}: {_all_clauses(story, told)}"
        for wire, mine in rows.groupby(references, sort=False)
        for told in rank_wires(story, mine)
    ]
    return "".join(found)


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
        decided = rows[rows["verdict"].isin(_DECIDED)]
        if not decided.empty:
            effect, where = _strongest(story, load, decided, sweep=len(rows) > 1)
            said.setdefault(effect, []).append(where)
    return _listed([f"{effect} ({_listed(where)})" for effect, where in said.items()])


def _all_clauses(story: RunData, one: WireRank) -> str:
    """Return the decided effects, then the loads where it is equal, then those where nobody
    knows.
    """
    words = {load: {str(word) for word in rows["verdict"]} for load, rows in one.loads.items()}
    equal = [load_name(load) for load, found in words.items() if found <= _EQUAL]
    unclear = [load for load, found in words.items() if not found & (_DECIDED | _EQUAL)]
    unknown = [_undecided(story, load, one.loads[load]) for load in unclear]
    parts = [
        _clauses(story, one),
        f"equal within the margin ({_listed(equal)})" if equal else "",
        f"undecided ({_listed(unknown)})" if unknown else "",
    ]
    return ", ".join(filter(None, parts))


def _undecided(story: RunData, load: str, rows: pd.DataFrame) -> str:
    row = rows_of(rows)[0]
    span = format_interval(row["ratio_low"], row["ratio_high"])
    return (
        f"{load_name(load)}: {span}{_floor(story, row)}"
        if span and len(rows) == 1
        else load_name(load)
    )


def _floor(story: RunData, row: Mapping[str, Any]) -> str:
    """Return what is known of the fastest round trip where the median is undecided.

    A neighbour's noise adds, never takes.
    """
    rows = _floors(story)
    found = rows_of(rows[(rows["cell"] == row["cell"]) & (rows["baseline"] == row["baseline"])])
    if not found or row["metric"] != FLOORED:
        return ""
    known = (
        format_change(found[0]["ratio"])
        if found[0]["verdict"] in _DECIDED
        else "the same within the margin"
    )
    return f", but the {metric_name(FLOOR)} {known}"


@lru_cache(maxsize=1)
def _floors(story: RunData) -> pd.DataFrame:
    return decided_minima(story.comparison)


def _strongest(story: RunData, load: str, decided: pd.DataFrame, *, sweep: bool) -> tuple[str, str]:
    row = decided.loc[np.log(decided["ratio"]).abs().idxmax()]
    size = f" at {row['payload']} B" if sweep and pd.notna(row["payload"]) else ""
    absolute = _absolute(story, row)
    if absolute:
        absolute = f": {absolute}" if story.exact else f": about {absolute}"
    return better_word(str(row["metric"]), float(row["ratio"])), load_name(load) + size + absolute


def _absolute(story: RunData, row: Mapping[str, Any]) -> str:
    """Return a difference in the clock's own unit, a round trip and a packet.

    ``34 guest instructions a round trip more``.
    """
    difference, unit = abs(float(row["difference"])), str(row["unit"])
    word = "more" if float(row["difference"]) > 0 else "less"
    if str(row["metric"]) in _PER_PACKET:
        return f"{format_number(difference, unit.partition('/')[0])} a packet {word}"
    if not str(row["metric"]).startswith("rtt_"):
        return ""
    said = f"{format_number(difference, unit)} a round trip {word}"
    half = _figure(difference / 2) if story.exact else format_number(difference / 2, unit)
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


def _figure(value: float) -> str:
    return format_number(value, "") if value != int(value) else format_grouped(value)


def _listed(parts: list[str]) -> str:
    return " and ".join([", ".join(parts[:-1]), parts[-1]] if len(parts) > 1 else parts)


def _reference(story: RunData) -> str:
    """Return what the wires are held to.

    Where each has it under its own switches: ``veth direct with the same mtu, gso``.
    """
    wires = dict.fromkeys(
        story.cells[base].wire_id for base in story.main.values() if base in story.cells
    )
    cells = {wire: cell for cell in story.cells.values() if (wire := cell.wire_id) in wires}
    plain = list(dict.fromkeys(wire_name(cells[wire]) for wire in wires))
    if len(plain) == 1 and len(wires) > 1:
        return f"{plain[0]} with the same {', '.join(_differing(cells.values()))}"
    return " or ".join(story.wires[wire].name for wire in wires) if wires else "the baseline"


def _differing(cells: Iterable[Cell]) -> list[str]:
    networks = [cell.wire for cell in cells]
    return [axis for axis in networks[0] if len({str(one[axis]) for one in networks}) > 1]


# --- custom programs ------------------------------------------------------------------------


def _by_own_programs(story: RunData) -> str:
    """Return what custom wires cost against the wires they are held to, where these have
    another program.
    """
    rows = story.comparison[
        (story.comparison["role"] == "cell") & story.comparison["ratio"].notna()
    ]
    rows = rows[rows["baseline"] == rows["cell"].map(story.main)]
    own = [
        _is_own(story, str(cell), str(base))
        for cell, base in zip(rows["cell"], rows["baseline"], strict=True)
    ]
    ranked = rank_wires(story, _deciding(rows[own])) if any(own) else []
    known = [one for one in ranked if one.verdicts & (_DECIDED | _EQUAL)]
    unknown = [one for one in ranked if not one.verdicts & (_DECIDED | _EQUAL)]
    said = [f"{one.wire.name} costs {_own_cost(story, one)}" for one in known]
    leads = ["We don't know yet what", *["nor what"] * len(unknown)]
    said += [
        f"{lead} {one.wire.name} costs: {_own_cost(story, one)}"
        for lead, one in zip(leads, unknown, strict=False)
    ]
    return "; ".join(said)


def _is_own(story: RunData, cell: str, base: str) -> bool:
    ours, theirs = story.cells[cell], story.cells[base]
    return ours.program not in ("builtin", theirs.program) and (ours.hook, ours.device) == (
        theirs.hook,
        theirs.device,
    )


def _deciding(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the rows that say what a wire costs.

    A bulk load's cost of a packet where it is known, else the main metric.
    """
    paid = rows["load"].isin(BULK) & rows["metric"].isin(_PER_PACKET)
    by_packet = set(rows.loc[paid, "cell"])
    return rows[
        paid | ((rows["metric"] == rows["load"].map(HEADLINE)) & ~rows["cell"].isin(by_packet))
    ]


def _own_cost(story: RunData, one: WireRank) -> str:
    parts = [part for load, rows in one.loads.items() for part in _own_parts(story, load, rows)]
    return f"{_listed(parts)}, against {_reference(story)}"


def _own_parts(story: RunData, load: str, rows: pd.DataFrame) -> Iterator[str]:
    for row in rows_of(rows):
        size = f" at {row['payload']} B" if len(rows) > 1 and pd.notna(row["payload"]) else ""
        what, where = metric_name(str(row["metric"])), load_name(load) + size
        about = "" if story.exact else "about "
        if row["verdict"] in _DECIDED:
            absolute = _absolute(story, row)
            yield (
                f"{better_word(row['metric'], row['ratio'])} "
                f"({where}{f': {about}{absolute}' if absolute else ''})"
            )
        elif row["verdict"] in _EQUAL:
            same = (
                "exactly the same"
                if row["verdict"] == "identical"
                else "within the margin the same"
            )
            yield f"{same} {what} ({where})"
        else:
            span = format_interval(row["ratio_low"], row["ratio_high"]) or "too few blocks"
            yield (
                f"an undecided {format_change(row['ratio'])} of {what} ({where}: "
                f"{span}{_floor(story, row)})"
            )


# --- who can listen, who can talk -----------------------------------------------------------------


def _by_isolation(story: RunData) -> str:
    """Return how many live wires are shut to the rest of the host, and the tightest.

    Wires without a program beside none.
    """
    told = isolation_results(story)
    told = [one for one in told if one.has_program] or told
    known = [one for one in told if not one.unknown]
    if not told:
        return ""
    counts = f"{_shut(told)}; " if len(told) > 2 else ""
    if not known:
        return f"{counts}who can listen in or talk in could not be told of any." if counts else ""
    best = min(known, key=lambda one: one.opens)
    same = [
        one for one in known if (one.captures, one.injections) == (best.captures, best.injections)
    ]
    more = f" and {len(same) - 1} more" if len(same) > 1 else ""
    verb = "are" if more else "is"
    lead = f"tightest towards the host {verb} " if len(told) > 1 else ""
    kept_out = "" if counts else _kept_out(known, best)
    said = f"{counts}{lead}{best.wire.name}{more}: {_open_to(best)}{kept_out}."
    return said[0].upper() + said[1:] if counts or lead else said


def _shut(told: list[IsolationResult]) -> str:
    mute, deaf = sum(one.injection_proof for one in told), sum(one.capture_proof for one in told)
    unsure = sum(bool(one.unknown) for one in told)
    doubt = f" ({unsure} not fully measured)" if unsure else ""
    are = "is" if mute == 1 or not mute else "are"
    return (
        f"of {len(told)} live wires {mute or 'none'} {are} closed to whoever on the host "
        "would talk in, "
        f"{deaf or 'none'} to whoever would listen in{doubt}"
    )


def _open_to(one: IsolationResult) -> str:
    heard, spoke = (
        [CAPTURES[metric] for metric in one.captures],
        [INJECTIONS[metric] for metric in one.injections],
    )
    if not heard and not spoke:
        return "nobody on the host listens in or talks in"
    listens = f"{_listed(heard)} can listen in" if heard else "nobody can listen in"
    talks = f"{_listed(spoke)} get in" if spoke else "nobody can talk in"
    return f"{listens}, {talks}"


def _kept_out(known: list[IsolationResult], best: IsolationResult) -> str:
    """Return what the baseline lets in and the tightest does not."""
    reference = next((one for one in known if one.wire.reference), None)
    if reference is None or best.wire.reference:
        return ""
    shut = [
        (CAPTURES | INJECTIONS)[metric]
        for metric in (*reference.captures, *reference.injections)
        if metric not in (*best.captures, *best.injections)
    ]
    return f"; {reference.wire.name} is also open to {_listed(shut)}" if shut else ""


# --- sweeps ---------------------------------------------------------------------------------------


def _by_payload(story: RunData) -> str:
    """From which payload on the wires equal what they are held to, by load."""
    rows = story.headlines[story.headlines["ratio"].notna() & story.headlines["payload"].notna()]
    said: dict[str, list[str]] = {}
    for load, mine in rows.groupby("load", sort=False):
        if mine["payload"].nunique() > 1:
            said.setdefault(_turn(mine), []).append(load_name(str(load)))
    parts = [f"{_listed(loads)} {turn}" for turn, loads in said.items()]
    return f"Where every wire equals {_reference(story)}: {'; '.join(parts)}." if parts else ""


def _turn(rows: pd.DataFrame) -> str:
    """In words: the smallest payload from which on every wire was judged equal, up to the largest
    tried.
    """
    states = {
        size: _state(set(rows.loc[rows["payload"] == size, "verdict"]))
        for size in map(int, rows["payload"])
    }
    sizes = sorted(states)
    equal: list[int] = []
    for size in reversed(sizes):
        if states[size] != "equal":
            break
        equal.append(size)
    if len(equal) == len(sizes):
        return f"at all payloads tried ({_bytes(sizes[0])} to {_bytes(sizes[-1])})"
    below = sizes[len(sizes) - len(equal) - 1]
    if equal:
        doubt = (
            f" at the latest (at {_bytes(below)} we don't know)"
            if states[below] == "unknown"
            else ""
        )
        return f"from {_bytes(equal[-1])} on{doubt}"
    return (
        f"we don't know, not even at {_bytes(below)}"
        if states[below] == "unknown"
        else f"not at {_bytes(below)}"
    )


def _state(verdicts: set[str]) -> str:
    if verdicts & _DECIDED:
        return "differs"
    return "equal" if verdicts <= _EQUAL else "unknown"


def _bytes(size: int) -> str:
    return f"{format_grouped(size)} B"


def _by_switches(story: RunData) -> str:
    """Say how far the baseline itself moves with offloads and MTU: what is not the wire."""
    for load in dict.fromkeys(story.headlines["load"]):
        rows = story.headlines[
            (story.headlines["load"] == load) & story.headlines["baseline_median"].notna()
        ]
        found = {
            str(row["baseline"]): row for row in rows_of(rows) if row["baseline"] in story.cells
        }
        cells = {base: story.cells[base] for base in found}
        names, wires = (
            {wire_name(cell) for cell in cells.values()},
            {cell.wire_id for cell in cells.values()},
        )
        if len(names) == 1 and len(wires) > 1:
            return _span_of_switches(names.pop(), HEADLINE[load], found, cells)
    return ""


def _span_of_switches(
    name: str, metric: str, found: Mapping[str, Mapping[str, Any]], cells: Mapping[str, Cell]
) -> str:
    """Return the least and the most that was measured of a baseline, and under which switches."""
    axes = [axis for axis in _differing(cells.values()) if axis in _SWITCHES]
    ordered = sorted(found, key=lambda base: float(found[base]["baseline_median"]))
    least, most = (
        f"{format_number(found[base]['baseline_median'], found[base]['unit'])} "
        f"({_switched(cells[base], axes)})"
        for base in (ordered[0], ordered[-1])
    )
    return (
        f"{name} itself was measured with a {metric_name(metric)} from {least} to {most}, "
        "by the switches alone."
    )


def _switched(cell: Cell, axes: list[str]) -> str:
    return ", ".join(f"{axis} {getattr(cell, axis)}" for axis in axes)


# --- nothing to be held to ------------------------------------------------------------------------


def _by_levels(story: RunData) -> str:
    """Return the best wire of each load where nothing is compared.

    Exact where the clock is, else no more than a figure.
    """
    by_heading: dict[str, list[Level]] = {}
    for level in levels(story):
        by_heading.setdefault(level.heading, []).append(level)
    told = [
        _leading(story, heading, mine) for heading, mine in list(by_heading.items())[:_TELL_LEVELS]
    ]
    return "; ".join(told)


#: So many headings without a baseline are told.
_TELL_LEVELS = 2


def _leading(story: RunData, heading: str, mine: list[Level]) -> str:
    first, rest = mine[0], mine[1:]
    if not rest:
        return f"{first.wire} was measured with {first.value} ({heading})"
    equal = [one.wire for one in rest if one.median == first.median]
    if story.exact and equal:
        more = f" and {len(equal) - 1} more" if len(equal) > 1 else ""
        return f"{first.wire} is cheapest, as is {equal[0]}{more}, with {first.value} ({heading})"
    lead = "is cheapest" if story.exact else "came first, not held to a baseline,"
    return (
        f"{first.wire} {lead} with {first.value}, then {rest[0].wire} with {rest[0].value} "
        f"({heading})"
    )


# --- reach ----------------------------------------------------------------------------------------


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


def _reach(story: RunData) -> str:
    """Return how many of the wires carry packets, where that was asked or some do not, by the names
    of the fewer.
    """
    asked = _wires_asked(story)
    dead = [story.wires[wire].name for wire, lives in asked.items() if not lives]
    live = [story.wires[wire].name for wire, lives in asked.items() if lives]
    was_asked = any(cell.load == "reachability" for cell in story.cells.values())
    if not (dead or (was_asked and len(asked) > 1)):
        return ""
    if not dead:
        return f"all {len(asked)} wires carry packets"
    named = f" (all but {_listed(dead)})" if len(dead) <= _TELL_DEAD and len(live) > 1 else ""
    return (
        f"{len(live)} of {len(asked)} wires carr{'ies' if len(live) == 1 else 'y'} packets{named}"
    )


#: So many dead wires are named.
_TELL_DEAD = 2


def _by_reach(story: RunData, *, named: bool) -> str:
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
        parts.append(f"{len(loops)} go{'es' * (len(loops) == 1)} round in the kernel")
    return f"; of the others {_listed(parts)}" if parts else ""
