"""Reading what tools print: one way to fail (LoadFailed, with the tool's words), whatever they
print.

Nothing here but the standard library: the guest has no more.
"""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

from yogurtbench.core.metrics import METRICS, MOST, ImpossibleValue
from yogurtbench.core.printable import printable, quoted
from yogurtbench.core.process import Completed, how_ended
from yogurtbench.loads.base import LoadFailed

#: Longest text that is read at all: a report is a few hundred kilobytes at most.
_LONGEST = 32 * 2**20


@dataclass(frozen=True, slots=True)
class JsonField:
    """A place in a tool's JSON report: ``path`` leads to ``value``, ``text`` is all that the tool
    printed.
    """

    tool: str
    text: str
    value: Any
    path: str = ""

    def has(self, key: str) -> bool:
        """Return whether this mapping has such a key with a value.

        Raises LoadFailed where it is none.
        """
        return self._mapping().get(key) is not None

    def at(self, *keys: str) -> JsonField:
        """Return what lies below this mapping. Raises LoadFailed where there is nothing."""
        here = self
        for key in keys:
            found = here._mapping()
            if key not in found:
                here._fail(f"{here._below(key)} is missing")
            here = JsonField(here.tool, here.text, found[key], here._below(key))
        return here

    def number(self, *keys: str) -> float:
        """Return a finite number from 0 below this mapping. Raises LoadFailed."""
        found = self.at(*keys)
        if isinstance(found.value, bool) or not isinstance(found.value, int | float):
            found._fail(f"{found.path} is {printable(repr(found.value), 60)} and no number")
        if not 0 <= found.value <= MOST:
            found._fail(f"{found.path} cannot be {printable(repr(found.value), 60)}")
        return float(found.value)

    def count(self, *keys: str) -> int:
        """Return a whole number from 0 below this mapping. Raises LoadFailed."""
        number = self.number(*keys)
        if number != int(number):
            self._fail(f"{self.at(*keys).path} is {number} and no count")
        return int(number)

    def _mapping(self) -> dict[str, Any]:
        if not isinstance(self.value, dict):
            self._fail(f"{self.path or 'the report'} is no mapping")
        return self.value

    def _below(self, key: str) -> str:
        return f"{self.path}.{key}" if self.path else key

    def _fail(self, sentence: str) -> NoReturn:
        raise LoadFailed(
            f"{self.tool}'s report cannot be used: {sentence}; it printed: {quoted(self.text)}"
        )


def json_report(tool: str, stdout: str, stderr: str = "") -> JsonField:
    """Return the one JSON mapping that a tool printed.

    Raises LoadFailed where it printed anything else.
    """
    try:
        if len(stdout) > _LONGEST:
            raise ValueError(f"{len(stdout)} characters are no report")
        value = json.loads(stdout, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        why = f" ({error})" if stdout.strip() else ""
        raise LoadFailed(f"{tool} printed no JSON: {quoted(stderr, stdout)}{why}") from None
    if not isinstance(value, dict) or not value:
        raise LoadFailed(f"{tool} printed no report: {quoted(stderr, stdout)}")
    return JsonField(tool, stdout, value)


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number")


def number(tool: str, text: str, printed: str) -> float:
    """Return a number that a regular expression found in ``text``.

    Raises LoadFailed where it is none after all.
    """
    try:
        value = float(printed)
    except ValueError:
        value = math.nan
    if not 0 <= value <= MOST:
        raise LoadFailed(
            f"{tool} printed {printable(printed, 60)} where a number stands: {quoted(text)}"
        )
    return value


def check_values(tool: str, values: Mapping[str, float], *outputs: str) -> None:
    """Raise LoadFailed, with the tool's words, where one of its metrics cannot have been
    measured.
    """
    for name, value in values.items():
        try:
            METRICS[name].check(value)
        except ImpossibleValue as error:
            raise LoadFailed(
                f"{tool}'s figures cannot be: {error}; it printed: {quoted(*outputs)}"
            ) from None


def check_quantiles(tool: str, quantiles: Mapping[str, float], mean: float, *outputs: str) -> None:
    """Raise LoadFailed where quantiles (by percent) do not rise, or the mean lies outside them."""
    ordered = [quantiles[p] for p in sorted(quantiles, key=float)]
    if ordered != sorted(ordered):
        raise LoadFailed(f"{tool}'s percentiles are out of order: {quoted(*outputs)}")
    # Each is rounded to the tool's last digit, the mean too.
    if not ordered[0] - 1 <= mean <= ordered[-1] + 1:
        raise LoadFailed(
            f"{tool}'s mean of {mean:g} lies outside its minimum and maximum: {quoted(*outputs)}"
        )


def check_not_killed(tool: str, done: Completed) -> None:
    """Raise LoadFailed where a signal ended the tool: its figures, if any, are not of the whole
    load.
    """
    if done.code < 0:
        raise LoadFailed(f"{tool} {how_ended(done.code)}: {quoted(done.stderr, done.stdout)}")


def check_exit_code(tool: str, done: Completed, fine: Collection[int] = (0,)) -> None:
    """Raise LoadFailed where the tool itself says that it did not end well."""
    if done.code not in fine:
        raise LoadFailed(f"{tool} {how_ended(done.code)}: {quoted(done.stderr, done.stdout)}")
