"""Counts beside the results, medians over blocks: packets, programs, devices, drops.

And what that counting costs the programs, where the clock can tell.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from statistics import median
from typing import Any

from yogurtbench.core.labels import load_name, metric_name
from yogurtbench.core.metrics import unit_on
from yogurtbench.core.records import ASIDE, Attempt
from yogurtbench.report.format import format_number, unit_name
from yogurtbench.report.run_data import RunData
from yogurtbench.report.sections.table import Mark, Row, Table

#: Metrics that stand beside a payload, in the order of the columns.
_BESIDE = (
    "packet_size",
    "bytes_per_skb",
    "retransmits",
    "loss",
    "packets_per_second",
    "cpu_ns_per_packet",
    "cpu_ns_per_byte",
    "instructions_per_packet",
    "instructions_per_byte",
)
_DEVICE = (
    "rx_packets",
    "rx_bytes",
    "tx_packets",
    "tx_bytes",
    "rx_errors",
    "tx_errors",
    "rx_dropped",
    "tx_dropped",
)
#: Softnet columns that mean lost packets.
_SOFTNET_LOSSES = ("dropped", "flow_limit_count")
#: Tables longer than this are folded; none is cut.
_OPEN = 60


#: The columns before those of a table's own, behind the wire.
_SHARED = ("load", "traffic")


@dataclass(frozen=True, slots=True)
class CounterTable:
    """A table of counts, with what the page says of it; ``name`` is a word for its anchor."""

    name: str
    title: str
    table: Table
    caption: str
    folded: bool = False

    @property
    def shared(self) -> int:
        """How many marks the rows of a cell have in common, before their own."""
        return len(_SHARED)

    @property
    def cells(self) -> list[list[Row]]:
        """The rows of each cell, together."""
        return self.table.runs(self.shared)

    @property
    def opened(self) -> bool:
        """True where it is shown unfolded."""
        return not self.folded and len(self.table.rows) <= _OPEN


def counter_tables(story: RunData) -> list[CounterTable]:
    """Everything that was counted in a run, the tables without rows left out."""
    made = (
        _packets,
        _losses,
        _drops,
        _programs,
        _counting,
        _run_times,
        _tallies,
        _devices,
        _softnet,
    )
    return [found for found in (make(story) for make in made) if found.table.rows]


def warned(story: RunData) -> dict[str, tuple[str, ...]]:
    """Cell id -> what its trials warned of their packets.

    The same warning with other figures is given once.
    """
    found: dict[str, dict[str, str]] = {}
    for attempt in _counted(story):
        for text in attempt.details.get("warnings", ()):
            found.setdefault(attempt.trial.cell.id, {}).setdefault(re.sub(r"\d+", "", text), text)
    return {cell: tuple(texts.values()) for cell, texts in found.items()}


def sized(story: RunData) -> int:
    """Of how many cells the packets were looked at."""
    return len(
        {attempt.trial.cell.id for attempt in _counted(story) if "warnings" in attempt.details}
    )


def _counted(story: RunData) -> Iterator[Attempt]:
    """Yield the attempts whose counts belong to results: canaries are baselines, asides are
    none.
    """
    return (
        one
        for one in story.attempts
        if one.status == "ok"
        and one.trial.role not in {*ASIDE, "canary"}
        and one.trial.cell.id in story.cells
    )


def _by_cell(attempts: Iterable[Attempt]) -> dict[str, list[Attempt]]:
    found: dict[str, list[Attempt]] = {}
    for attempt in attempts:
        found.setdefault(attempt.trial.cell.id, []).append(attempt)
    return found


def _rows(
    story: RunData,
    attempts: Iterable[Attempt],
    lines: Callable[[list[Attempt]], Iterable[tuple[str, ...]]],
    *,
    words: int = 0,
) -> list[Row]:
    """Return the lines of each cell, in the order of the plan; the first ``words`` of a line are
    text.
    """
    groups = _by_cell(attempts)
    return [
        _row(story, key, line, words=words)
        for key in story.cells
        if key in groups
        for line in lines(groups[key])
    ]


def _row(
    story: RunData, cell: str, line: Sequence[str], notes: tuple[str, ...] = (), *, words: int = 0
) -> Row:
    shared = (load_name(story.cells[cell].load), story.traffic[cell])
    marks = [Mark(text, "words") for text in (*shared, *line[:words])]
    return Row(story.wire(cell), [*marks, *(Mark(text, "number") for text in line[words:])], notes)


def _table(heads: Iterable[str], rows: list[Row]) -> Table:
    return Table([*_SHARED, *heads], rows)


def _count(value: float) -> str:
    return format_number(value, "")


def _details(attempts: Iterable[Attempt], name: str) -> list[Mapping[str, Any]]:
    """Return what the attempts keep under a name, of those that keep something there."""
    return [found for one in attempts if isinstance(found := one.details.get(name), Mapping)]


def _keys(maps: Iterable[Mapping[str, Any]]) -> list[str]:
    return list(dict.fromkeys(chain.from_iterable(maps)))


# --- packets --------------------------------------------------------------------------------------


def _packets(story: RunData) -> CounterTable:
    rows = story.frame[(story.frame["status"] == "ok") & story.frame["metric"].isin(_BESIDE)]
    rows = rows[
        ~rows["role"].isin([*ASIDE, "canary"])
        & rows["value"].notna()
        & rows["cell"].isin(list(story.cells))
    ]
    medians = rows.groupby(["cell", "metric"])["value"].median()
    units = {
        str(m): str(u) for m, u in rows.drop_duplicates("metric")[["metric", "unit"]].to_numpy()
    }
    metrics, warnings, cells = [m for m in _BESIDE if m in units], warned(story), set(rows["cell"])
    found = [
        _row(
            story,
            key,
            [_count(medians.get((key, metric), float("nan"))) for metric in metrics],
            warnings.get(key, ()),
        )
        for key in story.cells
        if key in cells
    ]
    heads = tuple(_head(metric, units[metric]) for metric in metrics)
    caption = (
        "Packet size: mean bytes of the client's IP packets as they cross the wire, a GSO "
        "batch being one packet; "
        "bytes per skb: the same with the link-layer header."
    )
    return CounterTable("packets", "Packets, and what they cost", _table(heads, found), caption)


def _head(metric: str, unit: str) -> str:
    return f"{metric_name(metric)} ({unit_name(unit)})"


# --- losses ---------------------------------------------------------------------------------------


def _losses(story: RunData) -> CounterTable:
    rows = _rows(story, _counted(story), _lost, words=2)
    caption = (
        "Errors and drops that a device or the CPUs' backlogs counted in any trial. "
        "Where nothing stands, nothing was."
    )
    heads = ("where", "what", "median", "most in one trial", "trials with it")
    return CounterTable("losses", "Errors and drops", _table(heads, rows), caption)


def _lost(attempts: list[Attempt]) -> Iterator[tuple[str, ...]]:
    devices = _details(attempts, "devices")
    for device in _keys(devices):
        for what in _DEVICE[4:]:
            yield from _loss(
                device, what, [int(one.get(device, {}).get(what, 0)) for one in devices]
            )
    softnet = _details(attempts, "softnet")
    for what in _SOFTNET_LOSSES:
        yield from _loss(
            "softnet, whole machine", what, [sum(one.get(what, ())) for one in softnet]
        )


def _loss(where: str, what: str, counts: list[int]) -> Iterator[tuple[str, ...]]:
    hit = sum(count > 0 for count in counts)
    if hit:
        share = f"{hit} of {len(counts)}"
        yield where, what.replace("_", " "), _count(median(counts)), _count(max(counts)), share


def _drops(story: RunData) -> CounterTable:
    """Return drops by kernel function and reason, of the trials that watched for them."""
    attempts = [one for one in story.attempts if one.status == "ok" and one.details.get("drops")]
    rows = _rows(story, attempts, _dropped, words=1)
    roles = {one.trial.role for one in attempts}
    where = (
        "Counted in diagnostic trials, whose other figures are thrown away"
        if roles == {"diagnostic"}
        else "Counted"
    )
    caption = f"{where}: packets freed as dropped, by kernel function and reason."
    heads = ("where", "packets", "trials")
    return CounterTable("drops", "Drops by function and reason", _table(heads, rows), caption)


def _dropped(attempts: list[Attempt]) -> Iterator[tuple[str, ...]]:
    drops = _details(attempts, "drops")
    totals = {site: sum(int(one.get(site, 0)) for one in drops) for site in _keys(drops)}
    for site, total in sorted(totals.items(), key=lambda item: (-item[1], item[0])):
        yield site, _count(total), _count(len(drops))


# --- programs -------------------------------------------------------------------------------------


def _programs(story: RunData) -> CounterTable:
    rows = _rows(story, _counted(story), _carried, words=1)
    caption = "What the eBPF programs counted themselves, by role and way, while the load ran."
    heads = ("program", "packets", "bytes", "bytes a packet")
    return CounterTable("programs", "What the programs counted", _table(heads, rows), caption)


def _carried(attempts: list[Attempt]) -> Iterator[tuple[str, ...]]:
    counters = _details(attempts, "counters")
    for name in _keys(counters):
        packets, volume = _pair(one[name] for one in counters if name in one)
        yield (
            name.replace(".", " "),
            _count(packets),
            _count(volume),
            _count(_mean(volume, packets)),
        )


def _pair(pairs: Iterable[Iterable[float]]) -> tuple[float, float]:
    packets, volumes = zip(*pairs, strict=True)
    return median(packets), median(volumes)


def _mean(volume: float, packets: float) -> float:
    return volume / packets if packets else float("nan")


@dataclass(frozen=True, slots=True)
class CounterCost:
    """Return the cost of a wire's counters: its round trip with and without them.

    ``packets``: how often a program counts in one round trip.
    """

    cell: str
    counted: float
    blind: float
    packets: int

    @property
    def cost(self) -> float:
        """Guest instructions a packet that is counted."""
        return (self.counted - self.blind) / self.packets


def counting_costs(story: RunData) -> list[CounterCost]:
    """Return what the counters cost each wire that was also run with programs that do not count.

    See Plan.diagnostics.
    """
    blind = _by_cell(
        one for one in story.attempts if one.status == "ok" and one.trial.role == "blind"
    )
    seen = _by_cell(
        one for one in _counted(story) if one.trial.cell.id in blind and one.details.get("messages")
    )
    found = [
        CounterCost(key, _round_trip(seen[key]), _round_trip(blind[key]), _counts(seen[key]))
        for key in seen
    ]
    return [one for one in found if one.packets]


def _round_trip(attempts: list[Attempt]) -> float:
    values: list[float] = []
    for attempt in attempts:
        values += [o.value for o in attempt.observations if o.metric == "rtt_p50" and o.value]
    return median(values)


def _counts(attempts: list[Attempt]) -> int:
    """Return how often the programs count in a round trip.

    The last answer may come too late to be counted.
    """
    return round(median(_total(one) / float(one.details["messages"]) for one in attempts))


def _total(attempt: Attempt) -> float:
    return sum(float(packets) for packets, _ in attempt.details.get("counters", {}).values())


def cost_of_looking(story: RunData) -> str:
    """Return what the counters cost, in a sentence; empty where nothing ran without them."""
    costs = sorted(one.cost for one in counting_costs(story))
    if not costs:
        return ""
    span = " to ".join(dict.fromkeys(f"{cost:.6g}" for cost in (costs[0], costs[-1])))
    return f"Counting costs a program {span} guest instructions a packet."


def _counting(story: RunData) -> CounterTable:
    rows = [_row(story, one.cell, _looked(one)) for one in counting_costs(story)]
    caption = (
        f"{cost_of_looking(story)} The same cell was run once more, its programs compiled "
        "without their counters; "
        "the difference of the medians, shared among the packets counted in a round trip, is exact."
    )
    heads = (
        "median round trip (guest instructions)",
        "without counting",
        "counted packets a round trip",
        "cost a packet",
    )
    return CounterTable("counting", "What the counting costs", _table(heads, rows), caption)


def _looked(one: CounterCost) -> tuple[str, ...]:
    return _count(one.counted), _count(one.blind), _count(one.packets), f"{one.cost:.6g}"


def _run_times(story: RunData) -> CounterTable:
    attempts = [
        one for one in story.attempts if one.status == "ok" and one.details.get("run_times")
    ]
    rows = _rows(story, attempts, _ran, words=1)
    unit = unit_name(unit_on(story.plan.clock, "ns"))
    caption = (
        "Measured in separate diagnostic trials, with the kernel's BPF statistics switched "
        "on; they slow every run, so "
        "all other figures of those trials are thrown away."
    )
    heads = ("program", "runs", f"all runs ({unit})", f"a run ({unit})")
    return CounterTable("run-times", "Run time of the programs", _table(heads, rows), caption)


def _ran(attempts: list[Attempt]) -> Iterator[tuple[str, ...]]:
    times = _details(attempts, "run_times")
    for name in _keys(times):
        runs, spent = (
            median(float(one[name][what]) for one in times if name in one)
            for what in ("runs", "ns")
        )
        yield name.replace(".", " "), _count(runs), _count(spent), _count(_mean(spent, runs))


def _tallies(story: RunData) -> CounterTable:
    rows = _rows(story, _counted(story), _tallied, words=1)
    caption = (
        "What a custom wire counted with YB_COUNT, by way and slot; slots where "
        "nothing was are left out."
    )
    heads = ("slot", "packets", "bytes")
    return CounterTable("tallies", "Custom counters", _table(heads, rows), caption)


def _tallied(attempts: list[Attempt]) -> Iterator[tuple[str, ...]]:
    tallies = _details(attempts, "tallies")
    for way in _keys(tallies):
        slots = [one[way] for one in tallies if way in one]
        for place in range(max(map(len, slots))):
            packets, volume = _pair(one[place] for one in slots if place < len(one))
            if any(place < len(one) and any(one[place]) for one in slots):
                yield f"{way} {place}", _count(packets), _count(volume)


# --- machine --------------------------------------------------------------------------------------


def _devices(story: RunData) -> CounterTable:
    rows = _rows(story, _counted(story), _device_lines, words=1)
    heads = ("device", *(name.replace("_", " ") for name in _DEVICE))
    caption = (
        "Differences of the devices' own counters (rtnl_link_stats64) from the load's "
        "beginning to its end."
    )
    return CounterTable("devices", "Devices", _table(heads, rows), caption, folded=True)


def _device_lines(attempts: list[Attempt]) -> Iterator[tuple[str, ...]]:
    devices = _details(attempts, "devices")
    for device in _keys(devices):
        mine = [one[device] for one in devices if device in one]
        yield device, *(_count(median(int(one.get(name, 0)) for one in mine)) for name in _DEVICE)


def _softnet(story: RunData) -> CounterTable:
    columns = _keys(_details(_counted(story), "softnet"))
    rows = _rows(story, _counted(story), lambda attempts: _softnet_line(attempts, columns))
    caption = (
        "/proc/net/softnet_stat, summed over all CPUs of the machine, packets of others included."
    )
    heads = tuple(name.replace("_", " ") for name in columns)
    return CounterTable("softnet", "Softnet", _table(heads, rows), caption, folded=True)


def _softnet_line(attempts: list[Attempt], columns: list[str]) -> Iterator[tuple[str, ...]]:
    softnet = _details(attempts, "softnet")
    if softnet:
        yield tuple(_count(median(sum(one.get(name, ())) for one in softnet)) for name in columns)
