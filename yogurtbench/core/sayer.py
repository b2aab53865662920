"""A function that prints progress in sentences on stderr."""

from __future__ import annotations

from rich.console import Console


class Sayer:
    """Prints each sentence that it is called with.

    ``console`` is for who shows more than sentences.
    """

    def __init__(self, console: Console) -> None:
        self.console = console

    def __call__(self, sentence: str) -> None:
        """Print a sentence, as it is."""
        self.console.print(sentence, markup=False, highlight=False, soft_wrap=True)
