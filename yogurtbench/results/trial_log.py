"""trials.jsonl: one line an attempt, each with its number and a check sum.

A line is a JSON object: the attempt's own keys; ``line``, its place in the file, from 1; ``run``,
the run that it belongs to; ``superseded``, true where its block was interrupted and repeated; and,
last, ``check``: SHA-256 of the line up to there, 16 hex digits. So a changed digit, a line twice,
a lost line and a line of another run are noticed. Runs of versions before have none of these keys:
they are read, and said to be unchecked.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import msgspec

from yogurtbench.core.records import Attempt, canonical
from yogurtbench.results.schema import DAMAGES, check_attempt, describe_damage

NUMBER, RUN, CHECK, SUPERSEDED = "line", "run", "check", "superseded"
_SEAL = f',"{CHECK}":"'.encode()
_CHANGED = f"{CHECK}: it does not fit, so the line was changed after it was written"


@dataclass(frozen=True, slots=True)
class Line:
    """A line of trials.jsonl: ``number`` from 1; ``run``: empty where it has no check sum."""

    number: int
    attempt: Attempt
    run: str = ""
    superseded: bool = False


@dataclass(frozen=True, slots=True)
class DamagedLine:
    """A line that cannot be believed: its place in the file, from 1, and why.

    ``whole``: the line itself where only others before it are lost.
    """

    place: int
    why: str
    whole: Line | None = None


def check_sum(body: bytes) -> str:
    """Return the check sum of what stands in front of it."""
    return hashlib.sha256(body).hexdigest()[:16]


def encode_line(line: Line) -> bytes:
    """Return a line with its newline."""
    data: dict[str, Any] = line.attempt.to_json()
    if line.superseded:
        data[SUPERSEDED] = True
    if not line.run:
        return canonical(data).encode() + b"\n"
    body = canonical({**data, NUMBER: line.number, RUN: line.run}).encode()[:-1]
    return body + _SEAL + check_sum(body).encode() + b'"}\n'


def read_lines(text: bytes, run: str) -> Iterator[Line | DamagedLine]:
    """Yield each whole line of a file; a torn last line is left out.

    ``run``: the one that the lines belong to; empty where only they say it.
    """
    number, checked, ids = 0, False, set[str]()  # of the lines so far
    for place, text_of_line in enumerate(text.split(b"\n")[:-1], 1):
        found = _read_line(text_of_line, place)
        if isinstance(found, DamagedLine):
            number += 1  # so that it is not called lost by the next
            yield found
            continue
        run = run or found.run
        misplaced = _misplaced(found, place, number, run, checked=checked)
        again = _repeated(found, ids)
        follows_lost = found.run == run and found.number > number and not again
        number, checked = found.number, bool(found.run)
        if misplaced or again:
            yield DamagedLine(place, misplaced or again, found if follows_lost else None)
        else:
            yield found


def _read_line(text: bytes, place: int) -> Line | DamagedLine:
    try:
        data = msgspec.json.decode(text)
        if not isinstance(data, dict):
            raise ValueError("not a JSON object")
        number, run = data.pop(NUMBER, place), data.pop(RUN, "")
        superseded, check = data.pop(SUPERSEDED, False), data.pop(CHECK, None)
        body, seal, _ = text.rpartition(_SEAL)
        if (check is not None or run) and not (seal and check == check_sum(body)):
            return DamagedLine(place, _CHANGED)
        attempt = Attempt.from_json(data)
        check_attempt(attempt)
        return Line(int(number), attempt, str(run), bool(superseded))
    except DAMAGES as error:
        return DamagedLine(place, describe_damage(error))


def _misplaced(line: Line, place: int, last: int, run: str, *, checked: bool) -> str:
    """Return why a line that is whole does not belong where it stands; empty where it does."""
    if not line.run:
        return f"{CHECK}: missing, and lines before have it" if checked else ""
    if line.run != run:
        return f"{RUN}: {line.run}, and this is run {run}"
    if line.number in (place, last + 1):
        return ""
    if line.number == last:
        return f"line {line.number} a second time"
    if line.number > last:
        first, until = last + 1, line.number - 1
        lost = f"line {first} is" if first == until else f"lines {first} to {until} are"
        return f"this is line {line.number}: {lost} lost"
    return f"this is line {line.number}, out of its order"


def _repeated(line: Line, ids: set[str]) -> str:
    """Return that a trial has a result already; empty where it has none."""
    if line.superseded:
        return ""
    trial = line.attempt.trial.id
    again = trial in ids
    ids.add(trial)
    return f"trial.id: {trial} has a result in a line before" if again else ""
