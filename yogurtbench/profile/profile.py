"""A profile: what a round trip of a cell costs, by function, and against another's."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Self

from yogurtbench.core.labels import wire_names
from yogurtbench.core.records import Cell
from yogurtbench.profile.recording import Recording
from yogurtbench.profile.round_trips import RoundTrips, find_request, find_round_trips
from yogurtbench.profile.stacks import CUT, CallTree, follow_calls
from yogurtbench.profile.symbols import Function, Symbols

#: What frees a packet that is lost (skbuff.c), unlike consume_skb.
_DROPS = re.compile(r"^_*kfree_skb(_reason|_list_reason)?$|^sk_skb_reason_drop$")


@dataclass(frozen=True, slots=True)
class FunctionCost:
    """Instructions a round trip of a function, and ``inclusive`` of what it calls."""

    function: Function
    self: int
    inclusive: int


@dataclass(frozen=True, slots=True)
class Difference:
    """How many instructions a round trip a function has more than against what was compared."""

    name: str
    self: int
    inclusive: int


@dataclass(frozen=True, slots=True)
class Profile:
    """Where the instructions of a round trip go.

    ``tree``: what the typical round trip executed; over a dead wire, which has none, a request.
    ``median``: what the load reported, None over a dead wire. ``name``: the wire's, as
    :func:`distinguished` gives it.
    """

    cell: Cell
    kernel: str
    trips: RoundTrips
    tree: CallTree
    median: float | None
    name: str = ""

    @classmethod
    def of_recording(
        cls, cell: Cell, kernel: str, recording: Recording, symbols: Symbols, median: float | None
    ) -> Self:
        """Make the profile, over a dead wire without a ``median``. Raises NoRoundTrips."""
        trips = find_request(recording) if median is None else find_round_trips(recording)
        return cls(cell, kernel, trips, follow_calls(recording, trips, symbols), median)

    @property
    def instructions(self) -> int:
        """Instructions of the typical round trip."""
        return self.trips.typical.instructions

    @property
    def cut(self) -> float:
        """The share of instructions whose callers are not known."""
        lost = sum(count for (_, path), count in self.tree.instructions.items() if path[0] == CUT)
        return lost / self.instructions

    @property
    def drop_sites(self) -> list[str]:
        """The functions that dropped a packet (callers of kfree_skb_reason and its like)."""
        sites = {
            path[at - 1].name: None
            for _, path in self.tree.instructions
            for at, function in enumerate(path)
            if at and _DROPS.match(function.name) and not _DROPS.match(path[at - 1].name)
        }
        return list(sites)

    @property
    def functions(self) -> list[FunctionCost]:
        """Each function, the costliest by itself first."""
        own: Counter[Function] = Counter()
        inclusive: Counter[Function] = Counter()
        for (_, path), count in self.tree.instructions.items():
            own[path[-1]] += count
            inclusive.update(dict.fromkeys(path, count))
        costs = [
            FunctionCost(each, own[each], inclusive[each]) for each in inclusive if each != CUT
        ]
        return sorted(costs, key=lambda one: (-one.self, -one.inclusive, one.function.name))

    def to_json(self) -> dict[str, Any]:
        """Return the profile as profile.json has it (contract), numbers a round trip."""
        return {
            "cell": self.cell.id,
            "kernel": self.kernel,
            "round_trips": len(self.trips.all),
            "instructions_per_round_trip": self.instructions,
            "ticks": self.trips.ticks,
            "cut": self.cut,
            "functions": [
                {**asdict(one.function), "self": one.self, "inclusive": one.inclusive}
                for one in self.functions
            ],
        }


def distinguished(profiles: Sequence[Profile]) -> list[Profile]:
    """Return profiles with the names of their wires, in which no two are alike."""
    names = wire_names([one.cell for one in profiles], ())
    return [replace(one, name=names[one.cell.wire_id].name) for one in profiles]


def differences(profile: Profile, against: Profile) -> list[Difference]:
    """Return the functions that differ, the largest difference first; empty where none does."""
    new, old = _by_name(profile.functions), _by_name(against.functions)
    found = [
        Difference(name, *(new[name][n] - old[name][n] for n in (0, 1)))
        for name in new.keys() | old.keys()
    ]
    return sorted(
        (one for one in found if one.self or one.inclusive),
        key=lambda one: (-abs(one.self), -abs(one.inclusive), one.name),
    )


class _Costs(dict[str, tuple[int, int]]):
    """Own and inclusive instructions by name; none for a function that was not called."""

    def __missing__(self, name: str) -> tuple[int, int]:
        return 0, 0


def _by_name(costs: Iterable[FunctionCost]) -> _Costs:
    """Return own and inclusive instructions by name: a name is one function, whatever its kind."""
    found = _Costs()
    for one in costs:
        own, inclusive = found[one.function.name]
        found[one.function.name] = own + one.self, inclusive + one.inclusive
    return found


def as_json(profile: Profile, against: Profile | None) -> dict[str, Any]:
    """Return profile.json (contract)."""
    return {
        **profile.to_json(),
        "against": against.to_json() if against else None,
        "differences": [asdict(one) for one in differences(profile, against)] if against else [],
    }
