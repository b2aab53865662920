"""Axes, ``exclude`` and ``include`` to combinations, by the rules of GitHub Actions' matrices.

Pure.

https://docs.github.com/actions: "Expanding or adding matrix configurations", "Excluding matrix
configurations". One thing is added: in ``include`` and ``exclude`` a list stands for each of its
values.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

Entry = Mapping[str, Sequence[Any]]


@dataclass(slots=True)
class Combination:
    """``values`` by axis; ``crossed``: whether it is of the axes.

    ``entries``: the includes that made or fed it.

    ``added``: by axis, which include gave it its value; ``overwritten``: an include's value
    (earlier, later, axis) that another include, or another value of the same, has replaced.
    """

    values: dict[str, Any]
    crossed: bool
    entries: list[int] = field(default_factory=list)
    added: dict[str, int] = field(default_factory=dict)
    overwritten: list[tuple[int, int, str]] = field(default_factory=list)

    def feed(self, index: int, point: Mapping[str, Any], original: Mapping[str, Any]) -> None:
        """Add the values of an include, over those that an earlier one has added."""
        for name in point.keys() - original.keys():
            if name in self.added and self.values[name] != point[name]:
                self.overwritten.append((self.added[name], index, name))
            self.added[name] = index
        self.values.update(point)
        self.entries.append(index)


def size(axes: Entry) -> int:
    """Return how many combinations the cross product has."""
    return math.prod(len(values) for values in axes.values())


def combine(axes: Entry, include: Sequence[Entry], exclude: Sequence[Entry]) -> list[Combination]:
    """Return the cross product without what ``exclude`` names, with ``include`` added.

    An include goes into every combination whose original values it does not contradict, and becomes
    a combination of its own where there is none. Without axes there is no cross product.
    """
    crossed = [Combination(point, True) for point in _product(axes)] if axes else []
    kept = [one for one in crossed if not any(_excluded(one, entry) for entry in exclude)]
    originals = [dict(one.values) for one in kept]
    made: list[Combination] = []
    for index, entry in enumerate(include):
        alone = [point for point in _product(entry) if not _add(index, point, kept, originals)]
        made += [Combination(point, False, [index]) for point in alone]
    return kept + made


def idle(axes: Entry, entry: Entry) -> tuple[list[dict[str, Any]], bool]:
    """Return the points of an exclude that no combination has, and whether that is all of them."""
    there = set(itertools.product(*({*axes.get(name, ())} for name in entry)))
    points = list(_product(entry))
    missing = [point for point in points if tuple(point.values()) not in there]
    return missing, len(missing) == len(points)


def _product(entry: Entry) -> Iterator[dict[str, Any]]:
    return (dict(zip(entry, values, strict=True)) for values in itertools.product(*entry.values()))


def _excluded(one: Combination, entry: Entry) -> bool:
    return all(name in one.values and one.values[name] in values for name, values in entry.items())


def _add(
    index: int, point: dict[str, Any], kept: list[Combination], originals: list[dict[str, Any]]
) -> bool:
    """Add a point to the combinations it agrees with; whether there were any."""
    shared = [(name, value) for name, value in point.items() if originals and name in originals[0]]
    added = False
    for one, original in zip(kept, originals, strict=True):
        if all(original[name] == value for name, value in shared):
            one.feed(index, point, original)
            added = True
    return added
