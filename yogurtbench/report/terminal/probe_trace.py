"""A recorded probe as text: one line an event, in order of time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rich.table import Table
from rich.text import Text

from yogurtbench.report.terminal.lines import lines_of, make_grid

#: Lines of a probe; what loops would fill the screen, and says the same again and again.
_MOST = 80


def as_text(record: Mapping[str, Any]) -> str:
    """Return a record (see agent.probe_trace), with ``accelerator``, for people."""
    lines: list[str] = []
    for probe in record["probes"]:
        lines += [*_probe(probe), ""]
    if record["accelerator"] == "tcg":
        lines.append("emulated (TCG): the order is the kernel's, the times are not hardware's")
    return "\n".join(lines).rstrip()


def headline(probe: Mapping[str, Any]) -> str:
    """Return what came of a probe, in one sentence."""
    asked = f"IPv{probe['ip']}: echo from {probe['source']} to {probe['destination']}"
    if probe["looped"] is not None:
        return (
            f"{asked}: went round inside the kernel until it was silenced after "
            f"{probe['looped']:.2f} s"
        )
    if probe["answered"]:
        return f"{asked}: answered"
    return f"{asked}: no answer; " + (
        f"dropped at {probe['dropped']}" if probe["dropped"] else "no drop was seen"
    )


def _probe(probe: Mapping[str, Any]) -> Iterator[str]:
    yield headline(probe)
    events = probe["events"]
    yield from (line.plain for line in lines_of(_table(events[:_MOST])))
    if len(events) > _MOST or probe["overflowed"]:
        more = (
            f"{len(events) - _MOST} more events"
            if len(events) > _MOST
            else "more than the record holds"
        )
        cut = probe["overflowed"] and len(events) > _MOST
        yield f"  … {more} and more than the record holds" if cut else f"  … {more}"
    if probe["answered"] and any(
        e["what"] == "kfree_skb" and e["packet"] == "echo reply" for e in events
    ):
        yield "  (a reply is freed like a dropped packet once the asking socket has its copy)"


def _table(events: Sequence[Mapping[str, Any]]) -> Table:
    table = make_grid(indent=2)
    for head in ("ns", "event", "where", "packet", "note"):
        table.add_column(justify="right" if head == "ns" else "left", no_wrap=True)
    table.add_row("", "ns", "event", "where", "packet", "note")
    for event in events:
        table.add_row("", *map(Text, _row(event)))
    return table


def _row(event: Mapping[str, Any]) -> tuple[str, ...]:
    where = ":".join(filter(None, (event["namespace"], event["device"])))
    packet = f"#{event['skb']} {event['packet']}" if event["skb"] else ""
    return f"{event['ns']:,}", event["what"], where, packet, event["note"]
