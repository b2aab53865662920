"""The program texts that a trial runs, so that a guest compiles them, and no others, before it is
saved.

A text of bpf/ is all the wires in one: as they are now, as they were, or without their counters;
plain, or recording what they see for reachability. The count of drops is one by itself. A custom
wire is a text of its own.
"""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from itertools import accumulate
from pathlib import PurePath
from typing import Any, Self

from yogurtbench.core.hook_specs import is_xdp
from yogurtbench.core.records import Trial
from yogurtbench.core.wire_source import defined

#: What a trial may be run with, by the word ``programs`` of its options: what is now, and what was;
#: and, by its role, what is now without its counters. The first two are of one length: so are
#: orders that differ in nothing else, and on the instruction clock a longer one moves what comes
#: after.
NOW, BASE, BLIND = "head", "base", "blind"
#: Ends the name of a text that records, and the name of what counts drops.
TRACED, DROPS = "+trace", "drops"
#: What a custom wire may define beside ``wire``.
_ROLES = ("wire", "primary", "peer")


@dataclass(frozen=True, slots=True, order=True)
class UserProgram:
    """A custom wire: the file's name and text.

    ``xdp``: whether it is written for XDP hooks.
    """

    name: str
    source: str
    xdp: bool = False

    @property
    def roles(self) -> tuple[str, ...]:
        """The functions that the file defines, of wire (every file has it), primary and peer."""
        found = defined(self.source)
        return tuple(role for role in _ROLES if role == "wire" or role in found)


@dataclass(frozen=True, slots=True)
class ProgramBuilds:
    """Texts to compile: those of bpf/ by name, and custom wires.

    Each custom wire stands with whether it records what it sees.

    ``base``: the files of bpf/ as they were, by name, for texts of BASE.
    """

    ours: frozenset[str] = frozenset()
    own: frozenset[tuple[UserProgram, bool]] = frozenset()
    base: frozenset[tuple[str, str]] = frozenset()

    def __or__(self, other: ProgramBuilds) -> ProgramBuilds:
        return ProgramBuilds(self.ours | other.ours, self.own | other.own, self.base | other.base)

    def __sub__(self, other: ProgramBuilds) -> ProgramBuilds:
        return ProgramBuilds(self.ours - other.ours, self.own - other.own, self.base - other.base)

    def __bool__(self) -> bool:
        return bool(self.ours or self.own or self.base)

    def truncated(self, size: int) -> ProgramBuilds:
        """With as many custom wires as their sources fit into ``size`` characters
        together.
        """
        own = sorted(self.own)
        sizes = accumulate(len(one.source) for one, _ in own)
        fitting = frozenset(
            one for one, sum_so_far in zip(own, sizes, strict=True) if sum_so_far <= size
        )
        return replace(self, own=fitting)

    def to_json(self) -> dict[str, Any]:
        """Sorted, so that equal texts are compiled in equal order.

        ``base`` packed, since an order is short.
        """
        return {
            "ours": sorted(self.ours),
            "own": [[asdict(one), traced] for one, traced in sorted(self.own)],
            "base": _packed(self.base),
        }

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Self:
        """Return the inverse of :meth:`to_json`."""
        own = frozenset((UserProgram(**one), traced) for one, traced in data["own"])
        return cls(frozenset(data["ours"]), own, _unpacked(data["base"]))


def _packed(files: frozenset[tuple[str, str]]) -> str:
    """Files as base64 of compressed JSON; the same files give the same text."""
    return (
        base64.b64encode(zlib.compress(json.dumps(sorted(files)).encode(), 9)).decode()
        if files
        else ""
    )


def _unpacked(text: str) -> frozenset[tuple[str, str]]:
    files = json.loads(zlib.decompress(base64.b64decode(text))) if text else []
    return frozenset((name, content) for name, content in files)


#: The texts of bpf/ as they are now. Every saved guest has compiled them all: so one guest serves
#: most matrices.
COMMON = ProgramBuilds(frozenset({NOW, NOW + TRACED, BLIND, DROPS}))


def program_set(trial: Trial) -> str:
    """Return the word of the programs that a trial is run with."""
    return BLIND if trial.role == "blind" else str(trial.options.get("programs", NOW))


def user_program(trial: Trial) -> UserProgram | None:
    """Return the custom wire that a trial's cell names.

    Its text rides along in the trial's options.
    """
    cell = trial.cell
    if cell.program == "builtin":
        return None
    return UserProgram(PurePath(cell.program).name, trial.options["source"], xdp=is_xdp(cell.hook))


def required_builds(trials: Iterable[Trial]) -> ProgramBuilds:
    """Return the texts that these trials run."""
    found = ProgramBuilds()
    for trial in trials:
        found |= _required_builds(trial)
    return found


def _required_builds(trial: Trial) -> ProgramBuilds:
    asks = trial.cell.load == "reachability"  # the tracer is needed where there is no wire too
    theirs = user_program(trial)
    ours: set[str] = set()
    if asks:
        ours.add(program_set(trial) + TRACED)
    elif trial.cell.has_programs:
        ours.add(program_set(trial))
    if trial.role == "diagnostic" and trial.cell.has_programs:
        ours.add(DROPS)
    return ProgramBuilds(frozenset(ours), frozenset({(theirs, asks)} if theirs else ()))
