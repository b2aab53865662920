"""Which texts of bpf/ a trial runs, by name: so that a guest can compile them before it is saved, and no others.

A text is all the wires in one: as they are now, as they were, or without their counters; plain, or recording what they
see for reachability. The count of drops is one by itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from yogurtbench.records import Trial

#: What a trial may be run with, by the word ``programs`` of its options: what is now, and what was; and, by its role,
#: what is now without its counters. The first two are of one length: so are orders that differ in nothing else, and on
#: the instruction clock a longer one moves what comes after.
NOW, BASE, BLIND = "head", "base", "blind"
#: Ends the name of a text that records, and the name of what counts drops.
TRACED, DROPS = "+trace", "drops"


def chosen(trial: Trial) -> str:
    """The word of the programs that a trial is run with."""
    return BLIND if trial.role == "blind" else str(trial.options.get("programs", NOW))


def needed(trials: Iterable[Trial]) -> list[str]:
    """The texts that these trials run, sorted. A wire of one's own is not among them: its text rides in the order."""
    return sorted({text for trial in trials for text in _needed(trial)})


def _needed(trial: Trial) -> Iterator[str]:
    if trial.cell.load == "reachability":
        yield chosen(trial) + TRACED  # the witness is needed where there is no wire too
    elif trial.cell.has_programs:
        yield chosen(trial)
        if trial.role == "diagnostic":
            yield DROPS
