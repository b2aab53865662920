"""Words for people: numbers, what was given, and what was probably meant."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable


def count_of(number: int, noun: str, several: str = "") -> str:
    """``1 block``, ``2 blocks``; ``several`` where an s does not make it more than one."""
    return f"{number} {noun if number == 1 else several or f'{noun}s'}"


def format_duration(seconds: float) -> str:
    """Return a duration for people."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def format_elapsed(seconds: float) -> str:
    """Return a duration that is counted while people watch: ``3:07``, ``1:00:00``."""
    hours, rest = divmod(int(seconds), 3600)
    return f"{hours}:{rest // 60:02d}:{rest % 60:02d}" if hours else f"{rest // 60}:{rest % 60:02d}"


class WrittenInt(int):
    """A whole number that somebody wrote otherwise than Python would: ``0x10``, ``1_000``."""

    written = ""


class WrittenFloat(float):
    """A number that somebody wrote otherwise than Python would: ``6.10``, ``1e3``, ``.inf``."""

    written = ""


def format_value(number: float, text: str) -> int | float:
    """Return the number with the ``text`` it was read from, where Python would write another."""
    if str(number) == text:
        return number
    remembered = WrittenInt(number) if isinstance(number, int) else WrittenFloat(number)
    remembered.written = text
    return remembered


def format_words(value: object) -> str:
    """Return a value as somebody wrote it."""
    return getattr(value, "written", "") or str(value)


def is_whole(value: object) -> bool:
    """Return whether a value is a whole number; Python takes true and false for such."""
    return isinstance(value, int) and not isinstance(value, bool)


def kind(value: object) -> str:
    """Return what a value is, in a person's words: ``the number 6.10``."""
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return f"the word {value!r}" if len(value) <= 60 else f"the text {value[:57]!r}…"
    if isinstance(value, int | float):
        return f"the number {_shortened(format_words(value))}"
    return "a mapping" if isinstance(value, dict) else "a list"


def in_quotes(value: object) -> str:
    """Return how somebody has to write what YAML read as a number, to be read as text.

    Empty for other values.
    """
    if isinstance(value, bool) or not isinstance(value, int | float):
        return ""
    return f': write it in quotes, "{_shortened(format_words(value))}"'


def no_space(value: object) -> str:
    """Return the hint for ``hook:tcx_ingress``, which is a word where a key with a value was meant.

    Else empty.
    """
    if not isinstance(value, str) or not re.match(r"[A-Za-z_]\w*:\S", value):
        return ""
    return ": a space belongs behind the colon"


def _shortened(text: str) -> str:
    return text if len(text) <= 60 else f"{text[:57]}…"


def closest_to(word: str, words: Iterable[str], cutoff: float = 0.6) -> str:
    """Return the known word that is nearest; empty where none is near."""
    close = difflib.get_close_matches(word.lower(), list(words), n=1, cutoff=cutoff)
    return close[0] if close else ""


def close_to(word: str, words: Iterable[str]) -> str:
    """``: did you mean tcx_ingress?`` where a known word is near, else nothing."""
    close = closest_to(word, words)
    return f": did you mean {close}?" if close else ""


def suggest_nearest(word: str, words: Iterable[str]) -> str:
    """``: did you mean tcx_ingress?`` where a known word is near, else ``; known:`` and all of
    them.
    """
    known = list(words)
    return close_to(word, known) or f"; known: {', '.join(known)}"
