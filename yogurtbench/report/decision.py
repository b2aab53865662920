"""What the gate says, for a terminal and for scripts."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from typing import Any

from rich.table import Table
from rich.text import Text

from yogurtbench.gate import FINE, Decision, Finding, Side
from yogurtbench.records import METRICS
from yogurtbench.report.names import (
    Wire,
    change,
    interval,
    load_name,
    metric_name,
    number,
    traffic_names,
    unit_name,
    wire_names,
)

#: Findings that nobody needs to see where nothing hangs on them.
_QUIET = FINE - {"improvement"}
_STYLES = {"regression": "bold red", "improvement": "green", "missing": "yellow", "failed": "yellow"}
#: Trials that failed, of which this many are told.
_TOLD = 5


def as_json(decision: Decision, renew: str = "") -> str:
    """The decision as JSON: verdict, exit code, both sides, why not comparable, every finding. Absent numbers: null."""
    data = {
        "verdict": decision.verdict, "exit_code": decision.exit_code,
        "old": _side(decision.old), "new": _side(decision.new),
        "unlike": [{"what": one.what, "old": one.old, "new": one.new} for one in decision.unlike],
        "renew": renew, "failed": list(decision.failed), "cautions": list(decision.cautions),
        "findings": [_finding(one) for one in decision.findings],
    }  # fmt: skip
    return json.dumps(data, indent=1, ensure_ascii=False, allow_nan=False)


def _side(side: Side) -> dict[str, Any]:
    return {"run": side.name, "plan": side.plan, "environment": side.environment.to_json()}


_NUMBERS = ("old", "new", "difference", "per_packet", "ratio", "low", "high", "p", "p_adjusted", "margin")


def _finding(one: Finding) -> dict[str, Any]:
    numbers = {name: _or_null(getattr(one, name)) for name in _NUMBERS}
    words = {name: getattr(one, name) for name in ("role", "metric", "unit", "family", "verdict", "note")}
    return {"cell": one.cell.id, "axes": one.cell.axes, **words, **numbers}


def _or_null(value: float) -> float | None:
    return value if math.isfinite(value) else None


def sentences(decision: Decision, renew: str = "") -> Iterator[str]:
    """The decision in words: the answer last, before it what it rests on."""
    yield from decision.cautions
    yield from (f"failed: {one}" for one in decision.failed[:_TOLD])
    yield from (f"not comparable: {one}" for one in decision.unlike)
    names = _names(decision)
    for verdict, found in (("regression", decision.regressions), ("undecided", decision.undecided)):
        yield from (f"{verdict}: {_said(one, names)}" for one in found)
    yield _answer(decision)
    if renew and (decision.unlike or any(one.verdict == "missing" for one in decision.undecided)):
        yield f"renew the baseline: {renew}"


def _answer(decision: Decision) -> str:
    improved = len(decision.improvements)
    better = f", {improved} of them improved" if improved else ""
    return {
        "failed": f"Failed: {len(decision.failed)} trials failed or crashed, so the run is no evidence.",
        "regression": f"Regression: {len(decision.regressions)} of {len(decision.deciding)} values became worse.",
        "not comparable": "Not comparable: the two were not measured in the same way.",
        "inconclusive": f"Inconclusive: {len(decision.undecided)} of {len(decision.deciding)} values are undecided.",
        "fine": f"Fine: none of {len(decision.deciding)} values became worse{better}.",
    }[decision.verdict]


def _said(one: Finding, names: dict[str, str]) -> str:
    effect = f" {_effect(one)}" if math.isfinite(one.ratio) and one.verdict != "missing" else ""
    why = "; ".join(filter(None, ["" if one.verdict == "regression" else one.verdict, one.note]))
    return f"{names[one.cell.id]}, {metric_name(one.metric)}{effect}" + (f" ({why})" if why else "")


def _effect(one: Finding) -> str:
    exact = one.unit.startswith("instructions")
    return f"{change(one.ratio, 2)}, {_signed(one.difference, one.unit)}" if exact else change(one.ratio)


def _names(decision: Decision) -> dict[str, str]:
    """Wire, load and traffic by cell id."""
    cells = {one.cell.id: one.cell for one in decision.findings}
    wires: dict[str, Wire] = wire_names(cells.values(), ())
    traffic = traffic_names(cells)
    return {
        key: ", ".join(filter(None, (load_name(cell.load), wires[cell.wire_id].name, traffic[key])))
        for key, cell in cells.items()
    }


def table(decision: Decision) -> Table:
    """Both sides side by side: what decides first, then whatever else differs or is not known."""
    names = _names(decision)
    found = Table(box=None, pad_edge=False, header_style="dim")
    heads = (
        "",
        decision.old.name,
        decision.new.name,
        "change",
        "difference" if decision.new.exact else "95 % interval",
    )
    for place, head in enumerate((*heads, *(["per packet"] if _per_packet(decision) else []), "verdict")):
        justify = "right" if 0 < place < len(heads) + _per_packet(decision) else "left"
        found.add_column(head, justify=justify, overflow="fold")  # type: ignore[arg-type]
    for heading, findings in _sections(decision):
        found.add_row(Text(heading, style="bold"))
        for one in findings:
            found.add_row(*_row(one, names[one.cell.id], decision))
    return found


def _sections(decision: Decision) -> Iterator[tuple[str, Sequence[Finding]]]:
    rest = [one for one in decision.findings if not one.deciding]
    loud = [one for one in rest if one.verdict not in _QUIET]
    if decision.deciding:
        yield "deciding", decision.deciding
    if loud:
        yield f"exploratory, {len(rest) - len(loud)} more without a difference", loud


def _per_packet(decision: Decision) -> bool:
    return decision.new.exact and any(math.isfinite(one.per_packet) for one in decision.findings)


def _row(one: Finding, name: str, decision: Decision) -> list[Text]:
    style = _STYLES.get(one.verdict, "")
    digits = 2 if decision.new.exact else 1
    span = _signed(one.difference, one.unit) if decision.new.exact else interval(one.low, one.high)
    packet = [Text(_signed(one.per_packet, ""))] if _per_packet(decision) else []
    verdict = Text(one.verdict.replace("_", " "), style)
    said = Text(f"  {name}, {metric_name(one.metric)}")
    values = [Text(_value(value, one)) for value in (one.old, one.new)]
    return [said, *values, Text(change(one.ratio, digits), style), Text(span), *packet, verdict]


def _value(value: float, one: Finding) -> str:
    if METRICS[one.metric].unit == "bool" and value in (0.0, 1.0):
        return "yes" if value else "no"
    if one.unit.startswith("instructions") and math.isfinite(value):
        return f"{value:,.10g}".replace(",", "\u202f")
    return number(value, one.unit)


def _signed(value: float, unit: str) -> str:
    """A difference to the last digit: exact numbers are not rounded to three figures."""
    if not math.isfinite(value):
        return "–"
    sign = "−" if value < 0 else "+" if value > 0 else "±"
    return f"{sign}{abs(value):,.10g} {unit_name(unit)}".strip().replace(",", "\u202f")
