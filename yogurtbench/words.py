"""How we speak to people: how many of what, what somebody gave, and what they probably meant."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def counted(number: int, noun: str, several: str = "") -> str:
    """``1 block``, ``2 blocks``; ``several`` where an s does not make it more than one."""
    return f"{number} {noun if number == 1 else several or f'{noun}s'}"


def kind(value: object) -> str:
    """What a value is, in a person's words: ``the number 6.12``."""
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return f"the word {value!r}" if len(value) <= 60 else f"the text {value[:57]!r}…"
    names = {int: f"the number {value}", float: f"the number {value}", dict: "a mapping"}
    return names.get(type(value), "a list")


def closest(word: str, words: Iterable[str], cutoff: float = 0.6) -> str:
    """The known word that is nearest; empty where none is near."""
    close = difflib.get_close_matches(word.lower(), list(words), n=1, cutoff=cutoff)
    return close[0] if close else ""


def close_to(word: str, words: Iterable[str]) -> str:
    """``: did you mean tcx_ingress?`` where a known word is near, else nothing."""
    close = closest(word, words)
    return f": did you mean {close}?" if close else ""


def nearest(word: str, words: Iterable[str]) -> str:
    """``: did you mean tcx_ingress?`` where a known word is near, else ``; known:`` and all of them."""
    known = list(words)
    return close_to(word, known) or f"; known: {', '.join(known)}"
