"""The person's end of a shell in the lab: keyboard to agent, output to screen."""

from __future__ import annotations

import os
import signal
import sys
import termios
import tty
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

_CHUNK = 1 << 12


def here() -> dict[str, Any] | None:
    """Return the terminal that our standard input and output are.

    Rows, columns, the word for TERM; None: they are none.
    """
    if not (os.isatty(0) and os.isatty(1)):
        return None
    rows, columns = termios.tcgetwinsize(0)
    return {"rows": rows or 24, "columns": columns or 80, "term": os.environ.get("TERM", "dumb")}


class LocalTerminal:
    """The person at our standard input: bytes as they come, and new window sizes."""

    def __init__(self, resized: int | None) -> None:
        self._resized = resized
        self.descriptors: Sequence[int] = [0] if resized is None else [0, resized]

    def said(self, descriptor: int) -> dict[str, Any]:
        """Return a message for login."""
        if descriptor == self._resized:
            os.read(descriptor, _CHUNK)
            rows, columns = termios.tcgetwinsize(0)
            return {"op": "size", "rows": rows, "columns": columns}
        typed = os.read(0, _CHUNK)
        if typed:
            return {"op": "typed", "bytes": typed.decode("latin-1")}
        self.descriptors = [each for each in self.descriptors if each != 0]
        return {"op": "end"}


@contextmanager
def keyboard() -> Iterator[LocalTerminal]:
    """Our standard input for the length of the block.

    A terminal gives every key as it is pressed, Ctrl-C too.
    """
    if here() is None:
        yield LocalTerminal(None)
        return
    with ExitStack() as undo:
        # a visit ends with its terminal, under nohup too
        signal.signal(signal.SIGHUP, signal.SIG_DFL)
        undo.callback(termios.tcsetattr, 0, termios.TCSADRAIN, termios.tcgetattr(0))
        tty.setraw(0)
        woken, wake = os.pipe2(os.O_NONBLOCK)
        undo.callback(os.close, woken)
        undo.callback(os.close, wake)
        before = signal.signal(signal.SIGWINCH, lambda *_: os.write(wake, b"!"))
        undo.callback(signal.signal, signal.SIGWINCH, before)
        yield LocalTerminal(woken)


def show(event: dict[str, Any]) -> None:
    """Put out what the shell has printed, byte by byte as it did."""
    stream = (sys.stderr if event["stream"] == "stderr" else sys.stdout).buffer
    stream.write(event["bytes"].encode("latin-1"))
    stream.flush()
