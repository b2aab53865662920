"""The errors that end a command with one sentence, and the exit code each leads to."""

from __future__ import annotations

from yogurtbench.core.printable import printable


class YogurtError(Exception):
    """An error with one clear sentence for the person, and the exit code it leads to (contract: 2
    or 3).
    """

    exit_code = 3

    def __str__(self) -> str:
        return printable(super().__str__())


class MatrixError(YogurtError):
    """The matrix or the command line is wrong."""

    exit_code = 2


class HostError(YogurtError):
    """The machine cannot do it: something is missing, forbidden or broken."""
