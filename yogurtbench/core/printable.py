"""Make text from elsewhere (tools, kernels, stored files) inert and of bounded length."""

from __future__ import annotations

#: Characters of an error that are kept: its beginning and its end.
LONGEST = 4000
#: Characters of each output of a tool that an error quotes.
_QUOTED = 300
_MARK = " … "


def printable(text: str, limit: int = LONGEST) -> str:
    """``text`` with control, format and surrogate characters written as escapes, its middle cut
    beyond ``limit``.

    Line breaks and tabs stay.

    >>> printable("red: \\x1b[31m")
    'red: \\\\x1b[31m'
    """
    if text.isprintable() and len(text) <= limit:
        return text
    return shortened("".join(map(_inert, shortened(text, limit))), limit)


def shortened(text: str, limit: int) -> str:
    """Return text without its middle where it is too long: what matters stands at its ends."""
    if len(text) <= limit:
        return text
    tail = limit // 2
    return text[: limit - tail - len(_MARK)] + _MARK + text[-tail:]


def quoted(*outputs: str) -> str:
    """Return a tool's outputs in one line for an error, shortened and inert."""
    found = [" ".join(shortened(output, 20 * _QUOTED).split()) for output in outputs]
    return " | ".join(printable(text, _QUOTED) for text in found if text) or "it printed nothing"


def _inert(character: str) -> str:
    if character.isprintable() or character in "\n\t":
        return character
    return character.encode("unicode_escape").decode("ascii")
