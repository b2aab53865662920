"""The gate: two runs that measured the same cells, and whether the new one became worse. Pure.

On the wall clock both sides' log-ratios to their own block's baseline are compared: the two-sample
Hodges-Lehmann estimate with the Mann-Whitney interval, exact, Holm over what decides,
Benjamini-Hochberg over the rest. On the instruction clock a difference is a difference, held
against the margin. On either clock a value stands for all that its tool's rounding can have made it
from, as in comparison. What cannot be decided has a name, and sides that were not measured in the
same way are not compared at all.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain, starmap

import numpy as np

from yogurtbench.analysis.comparison import EMULATED, MARGIN
from yogurtbench.analysis.findings import UNDECIDED, Decision, Finding, Mismatch
from yogurtbench.analysis.measured_run import (
    PER_BYTE,
    PER_PACKET,
    Key,
    MeasuredCell,
    MeasuredRun,
    State,
    is_yes_no,
)
from yogurtbench.analysis.rounding import (
    NO_SPREAD,
    Logs,
    are_identical,
    exact_location,
    is_constant,
    is_more_rounding_than_noise,
    rounded_note,
    two_sample_chances,
    widen_by_rounding,
)
from yogurtbench.analysis.statistics import (
    ALPHA,
    Effect,
    Floats,
    benjamini_hochberg,
    family_of,
    holm,
    judge,
    mann_whitney_cdf,
    ratio_of,
    shift,
)
from yogurtbench.analysis.values import Series
from yogurtbench.core.load_specs import LOADS
from yogurtbench.core.metrics import BULK, HEADLINE, METRICS, METRICS_OF, YES_NO, unit_on
from yogurtbench.core.records import Environment

#: What counts as unchanged where the matrix names no margin, by clock.
MARGINS = {"wall": MARGIN["wall"], "instructions": 0.002}


# --- deciding -------------------------------------------------------------------------------------


def decide(
    old: MeasuredRun,
    new: MeasuredRun,
    margins: Mapping[str, float] | None = None,
    gate: Collection[str] | None = None,
) -> Decision:
    """Hold ``new`` against ``old``.

    ``margins``: shares by metric (default: the old side's, as promised then); ``gate``: ids of the
    cells that decide (default: those of either side).
    """
    differing = tuple(mismatches(old, new))
    if differing:
        return Decision(old, new, differing, (), ())
    margins, gate = (
        old.margins if margins is None else margins,
        old.gate | new.gate if gate is None else gate,
    )
    asked = [
        _CellComparison(old, new, key, margins, gate)
        for key in dict.fromkeys((*old.entries, *new.entries))
    ]
    findings = tuple(_with_verdict_of(list(chain.from_iterable(one.findings() for one in asked))))
    return Decision(old, new, (), findings, tuple(_cautions(old, new, findings)))


def mismatches(old: MeasuredRun, new: MeasuredRun) -> Iterator[Mismatch]:
    """Return what differs and must be equal: environment's identity, options, baselines."""
    ours, theirs = _identity(old.environment), _identity(new.environment)
    for name in dict.fromkeys((*ours, *theirs)):
        if ours.get(name) != theirs.get(name):
            yield Mismatch(name, ours.get(name, ""), theirs.get(name, ""))
    shared = [(old.entries[key], new.entries[key]) for key in old.entries if key in new.entries]
    yield from dict.fromkeys(chain.from_iterable(starmap(_option_mismatches, shared)))


def _identity(environment: Environment) -> dict[str, str]:
    fields = ("lab", "kernel", "accelerator", "clock")
    return {**{name: getattr(environment, name) for name in fields}, **environment.identity}


def _option_mismatches(old: MeasuredCell, new: MeasuredCell) -> Iterator[Mismatch]:
    load = old.cell.load
    for name in dict.fromkeys((*old.options, *new.options)):
        before, now = (one.options.get(name, "") for one in (old, new))
        if before != now:
            yield Mismatch(f"{load} {name}", str(before), str(now))
    if old.baselines[:1] != new.baselines[:1]:
        yield Mismatch(
            f"baseline of {load} {old.cell.id}", *("".join(one.baselines[:1]) for one in (old, new))
        )


@dataclass(frozen=True, slots=True)
class _CellComparison:
    """A cell (or baseline, or canary) of either side, and what is asked about it."""

    before: MeasuredRun
    after: MeasuredRun
    key: Key
    margins: Mapping[str, float]
    gate: Collection[str]

    def findings(self) -> Iterator[tuple[Finding, dict[str, float]]]:
        """Yield a finding per metric, with the chances that its verdict will be made from."""
        old, new = self.before.entries.get(self.key), self.after.entries.get(self.key)
        one = old or new
        assert one is not None
        known = [set(side.metrics) if side else set() for side in (old, new)]
        deciding = _deciding(one.cell.load, known[0] | known[1], exact=self.before.exact)
        for metric in dict.fromkeys((*deciding, *sorted(known[0] & known[1]))):
            if self._is_asked(one, metric):
                yield self._finding(old, new, self._blank(one, metric, metric in deciding))

    def _is_asked(self, one: MeasuredCell, metric: str) -> bool:
        """Say what decides: main baselines divide on the wall clock.

        Canary and tails only where there is noise.
        """
        if self.before.exact and metric in _TAILS:
            return False
        if one.role == "canary":
            return not self.before.exact and metric == HEADLINE[one.cell.load]
        return one.role == "cell" or self.before.exact or bool(one.baselines) or is_yes_no(metric)

    def _blank(self, one: MeasuredCell, metric: str, deciding: bool) -> Finding:
        decides = deciding and one.role != "canary" and one.cell.id in self.gate
        family = family_of(one.role, decides)
        clock = self.before.environment.clock
        margin = self.margins.get(metric, MARGINS[clock])
        return Finding(
            one.cell, one.role, metric, unit_on(clock, METRICS[metric].unit), family, margin
        )

    def _finding(
        self, old: MeasuredCell | None, new: MeasuredCell | None, blank: Finding
    ) -> tuple[Finding, dict[str, float]]:
        if old is None or new is None:
            absent = self.before.name if old is None else self.after.name
            return replace(blank, verdict="missing", note=f"{absent} does not have this cell"), {}
        metric = blank.metric
        x, y = old.values.get(metric, {}), new.values.get(metric, {})
        blank = _with_medians(blank, x, y)
        named, note = self._by_state(old, new, metric)
        if named:
            return replace(blank, verdict=named, note=note), {}
        if is_yes_no(metric):
            return _yes_or_no(blank, old, new), {}
        return _exact(blank, old, new) if self.before.exact else self._noisy(blank, old, new)

    def _by_state(self, old: MeasuredCell, new: MeasuredCell, metric: str) -> tuple[str, str]:
        """Return a verdict for sides that do not both have a value in every block.

        None where they have.
        """
        before, now = old.state(metric), new.state(metric)
        if "missing" in (before, now):
            return (
                "missing",
                "no trial of it was run in "
                f"{self.before.name if before == 'missing' else self.after.name}",
            )
        for state in ("failed", "incomplete"):
            if state in (before, now):
                return state, UNDECIDED[state]
        if before == now == "measured":
            return "", ""
        if before == now or {before, now} <= _GONE:
            return (
                "unchanged",
                f"{before} on both sides" if before == now else f"{before}, now {now}",
            )
        return _liveness_change(before, now)

    def _noisy(
        self, blank: Finding, old: MeasuredCell, new: MeasuredCell
    ) -> tuple[Finding, dict[str, float]]:
        sides = ((self.before, old), (self.after, new))
        cells = [entry.values[blank.metric] for _, entry in sides]
        if not old.baselines:
            same = _are_identical(blank, [old, new])
            return _named(blank, "identical" if same else "no_baseline"), {}
        bases = [_base(side, entry) for side, entry in sides]
        named = _why_no_ratio(
            cells, [base.values.get(blank.metric, {}) if base else {} for base in bases]
        )
        if named == "identical" and not _are_identical(blank, [old, new]):
            named = "zeros"
        if named:
            return _named(blank, named), {}
        x, y = (
            _side_logs(entry, base, blank.metric)
            for (_, entry), base in zip(sides, bases, strict=True)
        )
        found, named = _with_effect(blank, _wide_shift(x, y)), _without_statistics(x, y)
        if named:
            return _named(found, named), {}
        return replace(found, note=_rounded(blank, x, y, old, new)), _chances(x, y, blank)


_GONE = {"dead", "looping"}


def _liveness_change(before: State, now: State) -> tuple[str, str]:
    if now in _GONE and before == "measured":
        return "regression", f"the wire was alive and is now {now}"
    if before in _GONE and now == "measured":
        return "improvement", f"the wire was {before} and is now alive"
    return "unsupported", f"{before}, now {now}"


#: On the instruction clock the timer's interrupts fall into these (into the fastest just not), and
#: a byte more in an order moves them: programs that were equal had 99th percentiles 568
#: instructions apart.
_TAILS = frozenset({"rtt_p90", "rtt_p99", "rtt_mean", "rtt_min"})


def _deciding(load: str, metrics: Collection[str], *, exact: bool) -> list[str]:
    """Return the metrics that decide for a load.

    Its headline; every yes and no; what a packet costs where that is exact.
    """
    if load in YES_NO:
        return list(METRICS_OF[load])
    counted = [metric for metric in (PER_PACKET, PER_BYTE) if metric in metrics]
    return counted if exact and load in BULK and counted else [HEADLINE[load]]


def _named(blank: Finding, verdict: str) -> Finding:
    return replace(blank, verdict=verdict, note=UNDECIDED.get(verdict, ""))


def _with_medians(blank: Finding, x: Series, y: Series) -> Finding:
    old, new = (
        float(np.median(list(series.values()))) if series else math.nan for series in (x, y)
    )
    difference = new - old
    packets = LOADS[blank.cell.load].packets_per_round_trip if blank.metric == "rtt_p50" else None
    known = (blank.unit == "instructions" and packets) or blank.metric == PER_PACKET
    per_packet = difference / (packets or 1) if known else math.nan
    return replace(blank, old=old, new=new, difference=difference, per_packet=per_packet)


def _with_effect(blank: Finding, effect: Effect) -> Finding:
    return replace(
        blank, ratio=_ratio(effect.estimate), low=_ratio(effect.low), high=_ratio(effect.high)
    )


# --- yes and no -----------------------------------------------------------------------------------


def _yes_or_no(blank: Finding, old: MeasuredCell, new: MeasuredCell) -> Finding:
    before, now = (set(entry.values[blank.metric].values()) for entry in (old, new))
    if len(before) > 1 or len(now) > 1:
        return _named(blank, "unsteady")
    if before == now:
        return replace(blank, verdict="identical", note=_other_kernel_site(old, new))
    was, now_is = max(before), max(now)
    note = f"was {_ANSWER[was]}, is {_ANSWER[now_is]}{_died_at(new)}"
    return replace(blank, verdict=_direction(blank, more=now_is > was), note=note)


_ANSWER: dict[float, str] = {0.0: "no", 1.0: "yes"}


def _died_at(new: MeasuredCell) -> str:
    site = new.words.get("dropped_at")
    return f" (dies at {site})" if site else ""


def _other_kernel_site(old: MeasuredCell, new: MeasuredCell) -> str:
    before, now = (entry.words.get("dropped_at", "") for entry in (old, new))
    return f"dies at {now}, before at {before}" if before != now and before and now else ""


# --- the instruction clock ------------------------------------------------------------------------


def _exact(
    blank: Finding, old: MeasuredCell, new: MeasuredCell
) -> tuple[Finding, dict[str, float]]:
    """Return every block of one side against every block of the other.

    There should be no spread in either.
    """
    if _are_identical(blank, [old, new]):
        return replace(blank, verdict="identical", ratio=1.0, low=1.0, high=1.0), {}
    x, y = (_describe_finding(entry, blank.metric) for entry in (old, new))
    if min(*x[0], *y[0]) <= 0:
        return _named(blank, "zeros"), {}
    logs = _all_metrics(x, y)
    low, high = _ratio(float(logs.low.min())), _ratio(float(logs.high.max()))
    found = replace(
        blank, ratio=blank.new / blank.old, low=low, high=high, verdict=_exact_verdict(blank, logs)
    )
    unrounded = _exact_verdict(blank, logs.unrounded)
    rounded = (
        found.verdict == "inconclusive"
        and logs.are_rounded
        and (unrounded != "inconclusive" or not logs.reported.any())
    )
    return replace(found, note=_why(blank, logs, old, new) if rounded else ""), {}


def _exact_verdict(blank: Finding, logs: Logs) -> str:
    found = exact_location(logs, math.log1p(blank.margin))
    return (
        found
        if found in ("equivalent", "inconclusive")
        else _direction(blank, more=found == "more")
    )


def _all_metrics(x: tuple[Floats, Floats], y: tuple[Floats, Floats]) -> Logs:
    """Return the log-ratios of all pairs of ``y`` and ``x``, each with how far it can have been
    moved.
    """
    pairs = [np.repeat(one, len(x[0])) for one in y], [np.tile(one, len(y[0])) for one in x]
    return widen_by_rounding(pairs[0][0], pairs[1][0], pairs[0][1], pairs[1][1])


def _describe_finding(entry: MeasuredCell, metric: str) -> tuple[Floats, Floats]:
    """Return a side's values, and how far rounding can have moved each."""
    series = entry.values[metric]
    return np.array(list(series.values())), np.array(
        [entry.rounding(metric, block) for block in series]
    )


def _are_identical(blank: Finding, entries: Sequence[MeasuredCell]) -> bool:
    described = [_describe_finding(entry, blank.metric) for entry in entries]
    values, moved = (np.concatenate(one) for one in zip(*described, strict=True))
    return are_identical(blank.metric, values, np.full_like(values, values[0]), moved)


def _why(blank: Finding, logs: Logs, *entries: MeasuredCell) -> str:
    """Return why rounding leaves it undecided, by the value that it moved the most."""
    described = (_describe_finding(entry, blank.metric) for entry in entries)
    pairs = chain.from_iterable(zip(*one, strict=True) for one in described)
    value, moved = max(pairs, key=lambda pair: pair[1])
    clock = "instructions" if "instructions" in blank.unit else "wall"
    return rounded_note(blank.metric, (blank.cell.load, clock), logs, value, moved)


def _ratio(log: float) -> float:
    return ratio_of(log) if math.isfinite(log) else math.nan


def _direction(blank: Finding, *, more: bool) -> str:
    return "regression" if more == (METRICS[blank.metric].better == "lower") else "improvement"


# --- the wall clock -------------------------------------------------------------------------------


def _wide_shift(x: Logs, y: Logs) -> Effect:
    """Return how far ``y`` lies above ``x`` as reported, and the interval with what rounding leaves
    beside it.
    """
    effect = shift(x.reported, y.reported)
    return replace(effect, low=shift(x.high, y.low).low, high=shift(x.low, y.high).high)


def _rounded(blank: Finding, x: Logs, y: Logs, *entries: MeasuredCell) -> str:
    """Return what is to be said of rounding where nothing is decided.

    Empty where it is not what leaves it undecided.
    """
    every = Logs(
        *(
            np.subtract.outer(b, a).ravel()
            for a, b in ((x.reported, y.reported), (x.high, y.low), (x.low, y.high))
        )
    )
    if not every.are_rounded:
        return ""
    chance = min(_chances(x.unrounded, y.unrounded, blank).values())
    if chance > ALPHA and not is_more_rounding_than_noise(every, shift(x.reported, y.reported)):
        return ""
    return _why(blank, every, *entries)


def _chances(x: Logs, y: Logs, blank: Finding) -> dict[str, float]:
    """Two-sided p by the verdict it speaks for: the interval at 1 - p just touches the margin."""
    p = two_sample_chances(x, y, math.log1p(blank.margin))
    return {
        "equivalent": p.within,
        _direction(blank, more=False): p.less,
        _direction(blank, more=True): p.more,
    }


def _base(side: MeasuredRun, entry: MeasuredCell) -> MeasuredCell | None:
    return side.entries.get((entry.baselines[0], "baseline"))


def _why_no_ratio(cells: Sequence[Series], bases: Sequence[Series]) -> str:
    """Return why a block has no ratio; empty where all have one."""
    pairs = list(zip(cells, bases, strict=True))
    if any(not cell.keys() & base.keys() for cell, base in pairs):
        return "no_baseline"
    if any(cell.keys() - base.keys() for cell, base in pairs):
        return "incomplete"
    if not any(any(cell.values()) for cell in cells):
        return "identical"
    least = min(min(*cell.values(), *(base[block] for block in cell)) for cell, base in pairs)
    return "" if least > 0 else "zeros"


def _side_logs(cell: MeasuredCell, base: MeasuredCell | None, metric: str) -> Logs:
    """Return a side's log-ratios to its own blocks' baseline."""
    assert base
    blocks = sorted(cell.values[metric])
    values = [np.array([one.values[metric][block] for block in blocks]) for one in (cell, base)]
    moved = [np.array([one.rounding(metric, block) for block in blocks]) for one in (cell, base)]
    return widen_by_rounding(values[0], values[1], moved[0], moved[1])


def _without_statistics(x: Logs, y: Logs) -> str:
    """Return the verdict that is known without statistics; empty where they must decide."""
    few = len(x.reported), len(y.reported)
    same = float(np.ptp(np.concatenate([x.reported, y.reported]))) < NO_SPREAD
    names = {
        "one_block": min(few) == 1,
        "too_few_blocks": 2 * float(mann_whitney_cdf(*few)[0]) > ALPHA,
        "identical": same and not (x.are_rounded or y.are_rounded),
        "constant": is_constant(x, y),
    }
    return next((name for name, holds in names.items() if holds), "")


def _with_verdict_of(asked: list[tuple[Finding, dict[str, float]]]) -> Iterator[Finding]:
    """Make the verdicts that depend on how many were asked; what decides comes first."""
    for family, adjust in (("gate", holm), ("canary", holm), ("exploratory", benjamini_hochberg)):
        mine = [(one, chances) for one, chances in asked if one.family == family]
        adjusted = iter(adjust([min(chances.values()) for _, chances in mine if chances]))
        for one, chances in mine:
            yield _with_verdict(one, chances, next(adjusted)) if chances else one


def _with_verdict(one: Finding, chances: Mapping[str, float], adjusted: float) -> Finding:
    verdict, note = judge(chances, adjusted)
    if verdict == "inconclusive":
        note = note or one.note
    return replace(one, verdict=verdict, note=note, p=min(chances.values()), p_adjusted=adjusted)


# --- what to be wary of ---------------------------------------------------------------------------


def _cautions(old: MeasuredRun, new: MeasuredRun, findings: Iterable[Finding]) -> Iterator[str]:
    if new.environment.accelerator == "tcg" and not new.exact:
        yield EMULATED
    moved = [
        one
        for one in findings
        if one.role == "canary" and one.verdict in ("regression", "improvement")
    ]
    if moved:
        yield (
            "the baseline differs from itself (A/A canary): something other than the wires "
            "moves these numbers"
        )
    if old.margins != new.margins:
        yield f"the margins differ between the sides; those of {old.name} count"
