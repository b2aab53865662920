"""A recorded probe as text: one line an event, in order of time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

#: Lines of a probe; what goes round would fill the screen, and says the same again and again.
_MOST = 80


def as_text(record: Mapping[str, Any]) -> str:
    """Return a record (see agent.probe_trace), with ``accelerator``, for people."""
    lines = [line for probe in record["probes"] for line in (*_probe(probe), "")]
    if record["accelerator"] == "tcg":
        lines.append("emulated (TCG): the order is the kernel's, the times are not hardware's")
    return "\n".join(lines).rstrip()


def headline(probe: Mapping[str, Any]) -> str:
    """Return what came of a probe, in one sentence."""
    asked = f"IPv{probe['ip']}: echo from {probe['source']} to {probe['destination']}"
    if probe["looped"] is not None:
        return f"{asked}: went round inside the kernel until it was silenced after {probe['looped']:.2f} s"
    if probe["answered"]:
        return f"{asked}: answered"
    return f"{asked}: no answer; " + (f"dropped at {probe['dropped']}" if probe["dropped"] else "no drop was seen")


def _probe(probe: Mapping[str, Any]) -> Iterator[str]:
    yield headline(probe)
    events = probe["events"]
    rows = [_row(event) for event in events[:_MOST]]
    rows.insert(0, ("ns", "event", "where", "packet", "note"))
    widths = [max(len(row[column]) for row in rows) for column in range(5)]
    for ns, *words in rows:
        cells = [ns.rjust(widths[0]), *(w.ljust(width) for w, width in zip(words, widths[1:], strict=True))]
        yield ("  " + "  ".join(cells)).rstrip()
    if len(events) > _MOST or probe["overflowed"]:
        more = f"{len(events) - _MOST} more events" if len(events) > _MOST else "more than the record holds"
        yield f"  … {more}{' and more than the record holds' if probe['overflowed'] and len(events) > _MOST else ''}"
    if probe["answered"] and any(e["what"] == "kfree_skb" and e["packet"] == "echo reply" for e in events):
        yield "  (a reply is freed like a dropped packet once the asking socket has its copy)"


def _row(event: Mapping[str, Any]) -> tuple[str, ...]:
    where = ":".join(filter(None, (event["namespace"], event["device"])))
    packet = f"#{event['skb']} {event['packet']}" if event["skb"] else ""
    return f"{event['ns']:,}", event["what"], where, packet, event["note"]
