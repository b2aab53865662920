"""Standard output and error that cannot change how a command ends."""

from __future__ import annotations

import codecs
import io
import json
import locale
import os
import re
import select
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TextIO

if TYPE_CHECKING:
    from rich.console import Console

#: Columns and lines that a screen is taken to have at least and at most, whatever COLUMNS and LINES
#: say.
_LEAST, _MOST = {"COLUMNS": 20, "LINES": 4}, 1000
#: Signs of ours, and what stands for them in an encoding that has none of them.
_PLAIN = str.maketrans(
    {
        "−": "-",
        "–": "-",
        "—": "-",
        "─": "-",
        "━": "-",
        "…": "...",
        "→": "->",
        "≥": ">=",
        "≤": "<=",
        "≈": "~",
        "·": "*",
        "•": "*",
        "×": "x",
        "µ": "u",
        "█": "#",
        "│": "|",
        "’": "'",
        "‘": "'",
        "“": '"',
        "”": '"',
        "\u2009": " ",
        "\u202f": " ",
    }
)


class Unfailing(io.FileIO):
    """A descriptor to write to: where nobody takes what is written any more, it is dropped from
    then on.
    """

    def __init__(self, descriptor: int) -> None:
        super().__init__(descriptor, "w", closefd=False)
        #: What the system said when writing failed.
        self.failure: OSError | None = None

    def write(self, data: Any) -> int:
        """Write some of it, and wait for a reader that is slow; never raises OSError."""
        while self.failure is None:
            try:
                written = super().write(data)
            except OSError as error:
                self._give_up(error)
                break
            if written is not None:
                return written
            self._wait()
        return memoryview(data).nbytes

    def _wait(self) -> None:
        """Wait until a descriptor that was made non-blocking takes more."""
        waiting = select.poll()
        waiting.register(self.fileno(), select.POLLOUT)
        waiting.poll()

    def _give_up(self, error: OSError) -> None:
        """Put the null device in its place, for the processes that inherit it too."""
        self.failure = error
        with suppress(OSError):
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, self.fileno())
            os.close(null)


def secure() -> None:
    """Make the three standard streams safe to use.

    Call it once, before anything is opened or printed.
    """
    _open_missing()
    for name, least in _LEAST.items():
        _check_size(name, least)
    if not re.fullmatch("[0-9]+", os.environ.get("SOURCE_DATE_EPOCH", "0")):
        del os.environ["SOURCE_DATE_EPOCH"]  # NumPy could not be imported
    # One thread of linear algebra is enough; each would map memory that a limit may refuse.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    codecs.register_error("plainly", _plainly)
    sys.stdin = sys.stdin or open(0, encoding="utf-8", errors="replace", closefd=False)  # noqa: SIM115
    sys.stdout, sys.stderr = _stream(1), _stream(2)


def _open_missing() -> None:
    """Open what was closed on the null device: the next file opened would else become standard
    output.
    """
    for descriptor in (0, 1, 2):
        try:
            os.fstat(descriptor)
        except OSError:
            null = os.open(os.devnull, os.O_RDWR)
            os.dup2(null, descriptor)
            if null != descriptor:
                os.close(null)


def _check_size(name: str, least: int) -> None:
    """Forget a size that no screen has; libraries would lay out text for it."""
    value = os.environ.get(name)
    if value is None:
        return
    if not re.fullmatch("[0-9]{1,9}", value) or int(value) == 0:
        del os.environ[name]
    else:
        os.environ[name] = str(min(max(int(value), least), _MOST))


def _stream(descriptor: int) -> TextIO:
    binary = io.BufferedWriter(Unfailing(descriptor))
    at_once = descriptor == 2 or os.isatty(descriptor) or bool(os.environ.get("PYTHONUNBUFFERED"))
    return io.TextIOWrapper(
        binary, encoding(), errors="plainly", line_buffering=at_once, write_through=at_once
    )


def encoding() -> str:
    """Return the encoding that the locale asks for.

    UTF-8 where it asks for none (C, POSIX) or for one that nobody knows.
    """
    try:
        name = codecs.lookup(locale.getencoding()).name
    except LookupError:
        return "utf-8"
    return "utf-8" if name == "ascii" else name


def _plainly(error: UnicodeError) -> tuple[str, int]:
    """Encode what the encoding has not: by signs that look alike, else as an escape sequence."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    text = error.object[error.start : error.end].translate(_PLAIN)
    return text.encode("ascii", "backslashreplace").decode("ascii"), error.end


def finish() -> None:
    """Write out what is still held back, and say on standard error where standard output was
    lost.
    """
    for stream in (sys.stdout, sys.stderr):
        with suppress(
            OSError, ValueError
        ):  # a stream that a test or a library has put there may fail, or be closed
            stream.flush()
    failure = getattr(getattr(getattr(sys.stdout, "buffer", None), "raw", None), "failure", None)
    if failure and not isinstance(failure, BrokenPipeError):
        print(f"yogurtbench: standard output was lost: {failure.strerror}", file=sys.stderr)


def echo_json(text: str) -> None:
    """Print a JSON document in UTF-8, or escaped where standard output is encoded otherwise."""
    name = getattr(sys.stdout, "encoding", None) or "utf-8"
    if codecs.lookup(name).name != "utf-8":
        text = re.sub(r"[^\x00-\x7f]", lambda found: json.dumps(found[0])[1:-1], text)
    print(text)


def console(*, stderr: bool = False) -> Console:
    """Return a console on standard output, or on standard error."""
    from rich.console import Console

    return Console(stderr=stderr, soft_wrap=False)
