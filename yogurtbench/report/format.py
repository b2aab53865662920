"""Numbers as a report writes them: figures, units, changes, intervals."""

from __future__ import annotations

import math

from yogurtbench.core.labels import group_digits, metric_name

#: Unit -> steps (factor, what it is then called), largest first.
_STEPS: dict[str, tuple[tuple[float, str], ...]] = {
    "ns": ((1e9, "s"), (1e6, "ms"), (1e3, "µs"), (1, "ns")),
    "bit/s": ((1e9, "Gbit/s"), (1e6, "Mbit/s"), (1e3, "kbit/s"), (1, "bit/s")),
    "packets/s": ((1e6, "M packets/s"), (1e3, "k packets/s"), (1, "packets/s")),
    "bit/Ginstructions": (
        (1e9, "bit per guest instruction"),
        (1, "bit per 10⁹ guest instructions"),
    ),
    "packets/Ginstructions": ((1, "packets per 10⁹ guest instructions"),),
}


def scale_of(unit: str, value: float) -> tuple[float, str]:
    """Return the factor to divide by and the unit to print for numbers about as large as
    ``value``.
    """
    for factor, name in _STEPS.get(unit, ()):
        if abs(value) >= factor:
            return factor, name
    return 1.0, unit_name(unit)


def unit_name(unit: str) -> str:
    """Return a unit in words: instructions are the guest's."""
    return unit.replace("instructions", "guest instructions")


def format_number(value: float, unit: str) -> str:
    """Return a value with three or four figures and its unit."""
    if value is None or math.isnan(value):
        return "–"
    factor, name = scale_of(unit, value)
    return f"{_figures(value / factor, whole=factor == 1 and value == int(value))} {name}".strip()


def format_grouped(value: float) -> str:
    """Return a tick's number: digits in threes."""
    return group_digits(value, ".0f") if abs(value) >= 1000 else f"{value:g}"


def _figures(value: float, *, whole: bool) -> str:
    if whole or abs(value) >= 1000:
        return group_digits(value, ".0f")
    return f"{value:.{max(0, 2 - math.floor(math.log10(abs(value))))}f}"


def format_change(ratio: float, digits: int = 1) -> str:
    """Return a ratio as a signed percentage: 0.88 is −12.0 %."""
    if ratio is None or math.isnan(ratio):
        return "–"
    percent = round((ratio - 1) * 100, digits)
    return f"{sign_of(percent)}{abs(percent):.{digits}f} %"


def sign_of(value: float) -> str:
    """Return the sign that is written before a difference."""
    if value < 0:
        return "−"
    return "+" if value > 0 else "±"


def format_interval(low: float, high: float, digits: int = 1) -> str:
    """Two ratios as a range of percentages; empty where there is none."""
    if math.isnan(low) or math.isnan(high):
        return ""
    return f"{format_change(low, digits)[:-2]} … {format_change(high, digits)}"


#: What is of less and of more, by how the metric's name begins; else less and more.
_WORDS = {
    "rtt_": ("shorter", "longer"),
    "instructions_": ("fewer", "more"),
    "retransmits": ("fewer", "more"),
}


def better_word(metric: str, ratio: float) -> str:
    """Return an effect as a clause, such as ``12 % shorter median round trip``."""
    size = abs(ratio - 1) * 100
    words = next(
        (pair for start, pair in _WORDS.items() if metric.startswith(start)), ("less", "more")
    )
    digits = 0 if size >= 10 else 1
    return f"{size:.{digits}f} % {words[ratio > 1]} {metric_name(metric)}"
