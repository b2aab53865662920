"""The decision of the gate, for a terminal and for scripts."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from io import StringIO
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from yogurtbench.analysis.findings import FINE, Decision, Finding
from yogurtbench.analysis.measured_run import MeasuredRun
from yogurtbench.core.labels import (
    WireLabel,
    group_digits,
    load_name,
    metric_name,
    traffic_names,
    wire_names,
)
from yogurtbench.core.metrics import METRICS
from yogurtbench.report.format import (
    format_change,
    format_interval,
    format_number,
    scale_of,
    sign_of,
    unit_name,
)

#: Findings that are hidden where nothing depends on them.
_QUIET = FINE - {"improvement"}
_STYLES = {
    "regression": "bold red",
    "improvement": "green",
    "missing": "yellow",
    "failed": "yellow",
}
#: Trials that failed, of which this many are named.
_MOST_NAMED = 5
#: Columns of text from which there is room for the measured values, and as many as a summary on a
#: page takes.
ROOM_FOR_VALUES, _PAGE = 95, 140


def as_json(decision: Decision, renew: str = "") -> str:
    """Return the decision as JSON: verdict, exit code, both sides, why not comparable, every
    finding.

    Absent numbers: null.
    """
    data = {
        "verdict": decision.verdict, "exit_code": decision.exit_code,
        "old": _side(decision.old), "new": _side(decision.new),
        "unlike": [{"what": one.what, "old": one.old, "new": one.new} for one in decision.unlike],
        "renew": renew, "failed": list(decision.failed), "cautions": list(decision.cautions),
        "findings": [_finding(one) for one in decision.findings],
    }  # fmt: skip
    return json.dumps(data, indent=1, ensure_ascii=False, allow_nan=False)


def _side(side: MeasuredRun) -> dict[str, Any]:
    return {"run": side.name, "plan": side.plan, "environment": side.environment.to_json()}


_NUMBERS = (
    "old",
    "new",
    "difference",
    "per_packet",
    "ratio",
    "low",
    "high",
    "p",
    "p_adjusted",
    "margin",
)


def _finding(one: Finding) -> dict[str, Any]:
    numbers = {name: _or_null(getattr(one, name)) for name in _NUMBERS}
    words = {
        name: getattr(one, name) for name in ("role", "metric", "unit", "family", "verdict", "note")
    }
    return {"cell": one.cell.id, "axes": one.cell.axes, **words, **numbers}


def _or_null(value: float) -> float | None:
    return value if math.isfinite(value) else None


def sentences(decision: Decision, renew: str = "") -> Iterator[str]:
    """Yield the decision in words: the answer last, before it what it rests on."""
    left_out = _left_out(decision)
    yield from [left_out] if left_out else []
    yield from decision.cautions
    yield from (f"failed: {one}" for one in decision.failed[:_MOST_NAMED])
    yield from (f"not comparable: {one}" for one in decision.unlike)
    yield from (
        f"run with --clock {one.old} to measure as then"
        for one in decision.unlike
        if one.what == "clock"
    )
    names = _names(decision)
    for verdict, found in (("regression", decision.regressions), ("undecided", decision.undecided)):
        yield from (f"{verdict}: {_said(one, names)}" for one in found)
    yield answer(decision)
    if renew and (decision.unlike or any(one.verdict == "missing" for one in decision.undecided)):
        yield f"renew the baseline: {renew}"


def answer(decision: Decision) -> str:
    """Return the verdict in a sentence."""
    improved = len(decision.improvements)
    better = f", {improved} of them improved" if improved else ""
    return {
        "failed": f"Failed: {len(decision.failed)} trials failed or crashed, so the run is no "
        "evidence.",
        "regression": f"Regression: {len(decision.regressions)} of {len(decision.deciding)} "
        "values became worse.",
        "not comparable": "Not comparable: the two were not measured in the same way.",
        "inconclusive": f"Inconclusive: {len(decision.undecided)} of {len(decision.deciding)} "
        "values are undecided.",
        "fine": f"Fine: none of {len(decision.deciding)} values became worse{better}.",
    }[decision.verdict]


def _said(one: Finding, names: dict[str, str]) -> str:
    effect = f" {_effect(one)}" if math.isfinite(one.ratio) and one.verdict != "missing" else ""
    why = "; ".join(filter(None, ["" if one.verdict == "regression" else one.verdict, one.note]))
    return f"{names[one.cell.id]}, {metric_name(one.metric)}{effect}" + (f" ({why})" if why else "")


def _effect(one: Finding) -> str:
    exact = one.unit.startswith("instructions")
    return (
        f"{format_change(one.ratio, 2)}, {signed(one.difference, one.unit)}"
        if exact
        else format_change(one.ratio)
    )


def _names(decision: Decision) -> dict[str, str]:
    """Wire, load and traffic by cell id."""
    wires, sent = _wires(decision), _sent(decision)
    return {key: f"{name}, {sent[key]}" for key, name in wires.items()}


def _wires(decision: Decision) -> dict[str, str]:
    cells = {one.cell.id: one.cell for one in decision.findings}
    wires: dict[str, WireLabel] = wire_names(cells.values(), ())
    return {key: wires[cell.wire_id].name for key, cell in cells.items()}


def _sent(decision: Decision) -> dict[str, str]:
    cells = {one.cell.id: one.cell for one in decision.findings}
    traffic = traffic_names(cells)
    return {
        key: ", ".join(filter(None, (load_name(cell.load), traffic[key])))
        for key, cell in cells.items()
    }


def markdown(decision: Decision, renew: str = "") -> str:
    """Return the decision for a job's summary: the answer, and folded below it the table and what
    it rests on.

    Those stand in a block of code whose fence is longer than any row of backticks in them: names
    stay text.
    """
    page = StringIO()
    console = Console(file=page, width=_PAGE, color_system=None)
    if decision.findings:
        console.print(table(decision, _PAGE))
    rest = [one for one in sentences(decision, renew) if one != answer(decision)]
    text = "\n".join([*(line.rstrip() for line in page.getvalue().splitlines()), *rest])
    fence = "`" * max(3, 1 + max(map(len, re.findall("`+", text)), default=0))
    title = f"### {answer(decision)}"
    opened = " open" if decision.exit_code else ""
    summary = f"<details{opened}><summary>old and new, side by side</summary>"
    return "\n".join([title, "", summary, "", f"{fence}text", text, fence, "", "</details>"]) + "\n"


def regressions(decision: Decision) -> list[str]:
    """Return a sentence for each value that became worse."""
    names = _names(decision)
    return [_said(one, names) for one in decision.regressions]


def table(decision: Decision, width: int) -> Table:
    """Return both sides side by side, ``width`` columns wide.

    What decides first, then whatever else is known to differ.

    Yes and no that stayed the same are only counted. Signs and words carry all that colour does.
    """
    title = f"old: {decision.old.name}\nnew: {decision.new.name}"
    found = Table(title=title, title_justify="left", box=None, pad_edge=False, header_style="dim")
    heads = _heads(decision, width)
    for head in heads:
        words = head in ("wire", "verdict")
        found.add_column(
            head, justify="left" if words else "right", no_wrap=head != "wire", overflow="fold"
        )
    wires, sent = _wires(decision), _sent(decision)
    for heading, findings in _sections(decision, sent).items():
        found.add_row(Text(heading, style="bold"))
        for one in findings:
            cells = _columns(one, f"  {wires[one.cell.id]}", exact=decision.new.exact)
            found.add_row(*(cells[head] for head in heads))
    return found


def _heads(decision: Decision, width: int) -> list[str]:
    exact = decision.new.exact
    if width < ROOM_FOR_VALUES:
        return ["wire", "difference" if exact else "change", "verdict"]
    counted = any(math.isfinite(one.per_packet) for one in decision.findings)
    how = ["difference", *["per packet"] * counted] if exact else ["95 % interval"]
    return ["wire", "old", "new", "change", *how, "verdict"]


def _sections(decision: Decision, sent: dict[str, str]) -> dict[str, list[Finding]]:
    found: dict[str, list[Finding]] = {}
    for one in decision.findings:
        if _is_shown(one):
            found.setdefault(_heading(one, sent, exact=decision.new.exact), []).append(one)
    return found


def _is_shown(one: Finding) -> bool:
    if one.deciding:
        return METRICS[one.metric].unit != "bool" or one.verdict not in _QUIET
    return not _is_still(one) and one.verdict != "inconclusive"


def _is_still(one: Finding) -> bool:
    """Return whether nothing happened: exactly counted, the smallest difference is one."""
    exact = math.isnan(one.p) and one.difference != 0
    return one.verdict in _QUIET and not (one.verdict == "equivalent" and exact)


def _heading(one: Finding, sent: dict[str, str], *, exact: bool) -> str:
    """Return what was measured; exact numbers stand without their unit, so it is said here."""
    unit = f", in {scale_of(one.unit, 1.0)[1]}" if exact and one.unit != "bool" else ""
    aside = "" if one.deciding else f" ({one.family})"
    return f"{metric_name(one.metric)}, {sent[one.cell.id]}{unit}{aside}"


def _columns(one: Finding, name: str, *, exact: bool) -> dict[str, Text]:
    style = _STYLES.get(one.verdict, "")
    return {
        "wire": Text(name),
        "old": Text(shown(one.old, one, exact=exact)),
        "new": Text(shown(one.new, one, exact=exact)),
        "change": Text(format_change(one.ratio, 2 if exact else 1), style),
        "95 % interval": Text(format_interval(one.low, one.high)),
        "difference": Text(signed(one.difference), style),
        "per packet": Text(signed(one.per_packet)),
        "verdict": Text(one.verdict.replace("_", " "), style),
    }


def _left_out(decision: Decision) -> str:
    """Return how much the table leaves out; empty where nothing."""
    same = sum(
        one.deciding and METRICS[one.metric].unit == "bool" and one.verdict in _QUIET
        for one in decision.findings
    )
    rest = [one for one in decision.findings if not one.deciding]
    unknown = sum(one.verdict == "inconclusive" for one in rest)
    still = sum(map(_is_still, rest))
    counts = ((same, "deciding yes or no unchanged"), (still, "exploratory values unchanged"),
              (unknown, "exploratory values undecided"))  # fmt: skip
    said = "; ".join(f"{count} {what}" for count, what in counts if count)
    return f"not shown: {said}" if said else ""


def shown(value: float, one: Finding, *, exact: bool) -> str:
    """Return a side's value: yes or no, an exact count, or rounded with its unit."""
    if METRICS[one.metric].unit == "bool" and value in (0.0, 1.0):
        return "yes" if value else "no"
    return _figures(value) if exact and math.isfinite(value) else format_number(value, one.unit)


def _figures(value: float) -> str:
    """To the last digit that was counted."""
    return group_digits(value, ".12g")


def signed(value: float, unit: str = "") -> str:
    """Return a difference with its sign, to the last digit."""
    if not math.isfinite(value):
        return "–"
    return f"{sign_of(value)}{_figures(abs(value))} {unit_name(unit)}".strip()
