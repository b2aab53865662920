"""A command line called in this process: what it said, and how it ended."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pytest

from yogurtbench import __main__ as command


@dataclass(frozen=True)
class Said:
    code: int
    out: str
    err: str


def caller(capfd: pytest.CaptureFixture[str]) -> Callable[..., Said]:
    """A function that calls a command line."""

    def calling(*arguments: object) -> Said:
        code = command.run([str(one) for one in arguments])
        return Said(code, *capfd.readouterr())

    return calling


def is_one_sentence(said: Said, code: int) -> None:
    assert said.code == code, said.err
    assert said.out == ""
    assert said.err.startswith("yogurtbench: ")
    assert said.err.count("\n") == 1
    assert "Traceback" not in said.err
