"""A function that prints progress in sentences on stderr."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console  # slow to import, and a caller has it


class Sayer:
    """Prints each sentence that it is called with.

    ``console`` is for who shows more than sentences.
    """

    def __init__(self, console: Console) -> None:
        self.console = console

    def __call__(self, sentence: str) -> None:
        """Print a sentence, as it is."""
        self.console.print(sentence, markup=False, highlight=False, soft_wrap=True)


def sayer_on(console: Console, *, quiet: bool) -> Callable[[str], None]:
    """Return who prints sentences there, or where it is to be quiet, nobody."""
    return _say_nothing if quiet else Sayer(console)


def _say_nothing(_sentence: str) -> None:
    return None
