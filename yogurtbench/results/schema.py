"""The one typed border for what is read back: attempts, plans, environments.

The records themselves are the schema (core.records, plan.plan): msgspec converts what was read to
their types, strictly. Beside that stands what a type cannot say: known words, possible values.
"""

from __future__ import annotations

import math
import re
from collections.abc import Container, Mapping
from typing import Any, get_args

import msgspec

from yogurtbench.core.metrics import METRICS, METRICS_OF
from yogurtbench.core.records import (
    Attempt,
    Cell,
    Details,
    Environment,
    Observation,
    Role,
    Status,
)
from yogurtbench.plan.plan import Plan

ROLES, STATUSES = frozenset(get_args(Role)), frozenset(get_args(Status))
_CLOCKS = frozenset({"wall", "instructions"})
#: No count of ours is larger: blocks, positions, CPUs, bytes of a payload.
_MOST = 2**31
#: The loads' options that are numbers (matrix.load_options), and more than any of them is.
_NUMBERS = frozenset({"count", "interval", "duration", "timeout", "bytes", "bitrate"})
_MOST_OPTION = 2.0**53
_ALL = 100.0
_INTEGERS = ("headroom", "ip", "payload", "mtu", "streams")


#: What Python and msgspec raise for data that is no record of ours.
DAMAGES = (
    ValueError,
    KeyError,
    TypeError,
    AttributeError,
    RecursionError,
    OverflowError,
    msgspec.MsgspecError,
)


def describe_damage(error: Exception) -> str:
    """Return what is wrong with data that is no record of ours, in a reader's words."""
    if isinstance(error, KeyError):
        return f"{error} is missing"
    if isinstance(error, RecursionError):
        return "its values are nested too deeply"
    text = re.sub(
        r"^\w+\.__init__\(\) got an unexpected keyword argument", "an unknown key,", str(error)
    )
    text = re.sub(r"^\w+\.__init__\(\) missing \d+ required .* arguments?:", "missing:", text)
    return re.sub(r"^(.*) - at `\$?\.?(.*)`$", r"\2: \1", text)


def check_attempt(attempt: Attempt) -> None:
    """Raise ValueError where an attempt is not one that this version stores."""
    check_types(attempt, Attempt)
    trial = attempt.trial
    check_cell(trial.cell)
    check_options(trial.options)
    check_word("role", trial.role, ROLES)
    check_word("clock", trial.clock, _CLOCKS)
    check_counts(("block", trial.block + 1), ("position", trial.position))  # asides: block -1
    check_finite(("deadline", trial.deadline), *attempt.seconds.items())
    for one in attempt.observations:
        _check_observation(one)
    _check_details(attempt.details)


def _check_details(details: Details) -> None:
    """Check what readers take apart: percents, and pairs of packets and bytes."""
    for percent in details.get("quantiles", {}):
        if not (re.fullmatch(r"\d+(\.\d+)?", percent, re.ASCII) and float(percent) <= _ALL):
            raise ValueError(f"details.quantiles: {percent!r} is no percent")
    pairs = [(f"counters.{name}", pair) for name, pair in details.get("counters", {}).items()]
    for way, slots in details.get("tallies", {}).items():
        pairs += [(f"tallies.{way}", pair) for pair in slots]
    for name, pair in pairs:
        if len(pair) != len(("packets", "bytes")):
            raise ValueError(f"details.{name}: {len(pair)} numbers are no packets and bytes")


def _check_observation(one: Observation) -> None:
    check_word("metric", one.metric, METRICS)
    if one.value is not None:
        METRICS[one.metric].check(one.value)


def check_options(options: Mapping[str, Any]) -> None:
    """Raise ValueError where a load's option is not the number that it has to be."""
    for name in _NUMBERS & options.keys():
        value = options[name]
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise ValueError(f"options.{name}: {value!r} is no number")
        if not 0 <= value < _MOST_OPTION:
            raise ValueError(f"options.{name}: {value} cannot be")


def check_plan(plan: Plan) -> None:
    """Raise ValueError where a plan is not one that this version makes."""
    check_types(plan, Plan)
    check_word("clock", plan.clock, _CLOCKS)
    check_counts(("seed", abs(plan.seed) % _MOST), ("blocks.max", plan.blocks.max))
    if not 0 <= plan.blocks.min <= plan.blocks.max:
        raise ValueError(f"blocks: {plan.blocks.min} to {plan.blocks.max} is no range")
    check_finite(("blocks.precision", plan.blocks.precision), *plan.margins.items())
    known = {planned.cell.id for planned in plan.cells}
    for planned in plan.cells:
        check_cell(planned.cell)
        check_options(planned.options)
        check_word("role", planned.role, ROLES)
        for baseline in planned.baselines:
            check_word("baseline", baseline, known)


def check_environment(environment: Environment) -> None:
    """Raise ValueError where an environment is not one that this version stores."""
    check_types(environment, Environment)
    check_word("clock", environment.clock, _CLOCKS)


def check_cell(cell: Cell) -> None:
    """Raise ValueError where a cell has words or numbers that no cell has."""
    check_word("load", cell.load, METRICS_OF)
    check_counts(*((name, getattr(cell, name) or 0) for name in _INTEGERS))
    if isinstance(cell.cpus, tuple):
        check_counts(*(("cpus", cpu) for cpu in cell.cpus))


def decode_object(text: bytes) -> dict[str, Any]:
    """Return a JSON object. Raises ValueError."""
    try:
        data = msgspec.json.decode(text)
    except (msgspec.MsgspecError, RecursionError) as error:
        raise ValueError(f"not JSON ({describe_damage(error)})") from error
    if not isinstance(data, dict):
        raise ValueError("not a JSON object")
    return data


def check_types(record: Any, kind: type) -> None:
    """Raise ValueError where a record does not have the types of its kind."""
    try:
        msgspec.convert(msgspec.to_builtins(record), kind, strict=True)
    except msgspec.ValidationError as error:
        raise ValueError(str(error)) from error


def check_word(what: str, word: str, known: Container[str]) -> None:
    """Raise ValueError for an unknown word."""
    if word not in known:
        raise ValueError(f"an unknown {what}, {word!r}")


def check_counts(*counts: tuple[str, int]) -> None:
    """Raise ValueError for a number that counts nothing of ours."""
    for name, count in counts:
        if not 0 <= count < _MOST:
            raise ValueError(f"{name}: {count} cannot be")


def check_finite(*numbers: tuple[str, float]) -> None:
    """Raise ValueError for a number that is none."""
    for name, number in numbers:
        if not math.isfinite(number):
            raise ValueError(f"{name}: {number} is no number")
