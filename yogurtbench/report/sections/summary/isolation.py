"""A sentence on who on the host can capture from the cheapest wires or inject into them."""

from __future__ import annotations

from yogurtbench.report.run_data import RunData
from yogurtbench.report.sections.isolation import (
    CAPTURES,
    INJECTIONS,
    IsolationResult,
    isolation_results,
)
from yogurtbench.report.sections.summary.wording import join_words


def describe_isolation(story: RunData) -> str:
    """Return how many live wires are shut to the rest of the host, and the tightest.

    Wires without a program beside none.
    """
    results = isolation_results(story)
    results = [one for one in results if one.has_program] or results
    known = [one for one in results if not one.unknown]
    if not results:
        return ""
    counts = f"{_shut(results)}; " if len(results) > 2 else ""
    if not known:
        return (
            f"{counts}who can capture or inject could not be found out for any." if counts else ""
        )
    best = min(known, key=lambda one: one.opens)
    same = [
        one for one in known if (one.captures, one.injections) == (best.captures, best.injections)
    ]
    more = f" and {len(same) - 1} more" if len(same) > 1 else ""
    verb = "are" if more else "is"
    lead = f"tightest towards the host {verb} " if len(results) > 1 else ""
    kept_out = "" if counts else _kept_out(known, best)
    said = f"{counts}{lead}{best.wire.name}{more}: {_open_to(best)}{kept_out}."
    return said[0].upper() + said[1:] if counts or lead else said


def _shut(results: list[IsolationResult]) -> str:
    mute, deaf = (
        sum(one.injection_proof for one in results),
        sum(one.capture_proof for one in results),
    )
    unsure = sum(bool(one.unknown) for one in results)
    doubt = f" ({unsure} not fully measured)" if unsure else ""
    are = "is" if mute == 1 or not mute else "are"
    return (
        f"of {len(results)} live wires {mute or 'none'} {are} closed to injection from the host, "
        f"{deaf or 'none'} to capture{doubt}"
    )


def _open_to(one: IsolationResult) -> str:
    heard, spoke = (
        [CAPTURES[metric] for metric in one.captures],
        [INJECTIONS[metric] for metric in one.injections],
    )
    if not heard and not spoke:
        return "no one on the host can capture or inject"
    listens = f"{join_words(heard)} can capture" if heard else "no one can capture"
    talks = f"{join_words(spoke)} can inject" if spoke else "no one can inject"
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
    return f"; {reference.wire.name} is also open to {join_words(shut)}" if shut else ""
