"""The version that made a stored thing, so that newer ones are not called damaged."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from yogurtbench.core import version

#: The key beside the rest in environment.json and in a stored baseline's side.
KEY = "yogurtbench"


def this() -> str:
    """Return the version that runs."""
    return version.__version__


def maker(stored: object) -> str:
    """Return the version that something stored names, whatever else is in it.

    Empty where it names none.
    """
    made_by = stored.get(KEY) if isinstance(stored, Mapping) else None
    return made_by if isinstance(made_by, str) else ""


def misread(made_by: str, what: str = "the file") -> str:
    """Return why something stored may not be understood, to end a sentence with."""
    if _release(made_by) > _release(this()):
        return (
            f"made by a newer yogurtbench ({made_by}; this is {this()}): read it with that "
            "version, or a later one"
        )
    return f"{what} was damaged"


def _release(version: str) -> tuple[int, ...]:
    """Return the numbers that a version begins with (PEP 440), 1.0 and 1.0.0 alike.

    Nothing of what is none.
    """
    found = re.match(r"v?(\d{1,9}(?:\.\d{1,9})*)", version)
    numbers: list[Any] = [int(part) for part in found[1].split(".")] if found else []
    while numbers and numbers[-1] == 0:
        numbers.pop()
    return tuple(numbers)
