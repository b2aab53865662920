"""The one place that starts processes."""

from __future__ import annotations

import contextlib
import os
import selectors
import shlex
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import IO, Any

from yogurtbench.core.printable import printable

#: A load must not see the user's locale: its numbers are parsed.
_ENVIRONMENT = {"LC_ALL": "C", "LANG": "C"}
#: Bytes that a process may print; one that prints more has gone wrong, and would fill the memory.
MOST_OUTPUT = 64 * 2**20
#: Characters of what a process said that an error quotes.
_SAID = 1000


@dataclass(frozen=True, slots=True)
class Completed:
    """A process that ended: exit code, output, and its lifetime in seconds (monotonic clock)."""

    argv: tuple[str, ...]
    code: int
    stdout: str
    stderr: str
    seconds: float


def how_ended(code: int) -> str:
    """Return a process's exit code in words, as subprocess returns it: negative for a signal."""
    if code >= 0:
        return f"ended with exit code {code}"
    try:
        return f"was ended by {signal.Signals(-code).name}"
    except ValueError:
        return f"was ended by signal {-code}"


class CommandFailed(Exception):
    """A process could not be started, ended badly or was ended at its deadline.

    Carries all that it said.
    """

    def __init__(self, completed: Completed, why: str) -> None:
        self.completed = completed
        self.why = why
        said = (completed.stderr.strip() or completed.stdout.strip()).splitlines()
        words = printable(" | ".join(map(str.strip, said[-3:])).replace("\t", " "), _SAID)
        command = shlex.join(tool_command(completed.argv))
        super().__init__(f"{command}: {why}" + (f": {words}" if words else ""))


def tool_command(argv: Sequence[str]) -> Sequence[str]:
    """Return a command line without what only says where, and with what rights, it runs."""
    while argv[0] in ("nsenter", "setpriv", "taskset"):
        if argv[0] == "taskset":
            inner = argv[3:]
        else:
            inner = argv[argv.index("--") + 1 :] if "--" in argv else ()
        if not inner:
            break
        argv = inner
    return argv


class Background:
    """A process under way in its own process group. Made by :func:`background`."""

    def __init__(
        self,
        argv: Sequence[str],
        process: subprocess.Popen[str],
        heard: Callable[[str], None] | None = None,
    ) -> None:
        self.argv = tuple(argv)
        self.process = process
        self._heard = heard
        self._started = time.monotonic()
        self._output = (bytearray(), bytearray())

    @property
    def alive(self) -> bool:
        """Whether the process has not ended."""
        return self.process.poll() is None

    def wait(self, timeout: float | None) -> Completed:
        """Wait for the end; past ``timeout`` seconds end it and raise :class:`CommandFailed`.

        So also where it prints more than anybody could read.
        """
        try:
            self._finish(timeout)
        except subprocess.TimeoutExpired:
            raise CommandFailed(self.end(), f"did not end within {timeout:g} s") from None
        except _TooMuch:
            raise CommandFailed(self.end(), f"printed more than {MOST_OUTPUT >> 20} MiB") from None
        return self._completed()

    def end(self) -> Completed:
        """Ask the whole group to end (SIGTERM), insist after half a second (SIGKILL), and reap
        it.
        """
        for number, timeout in ((signal.SIGTERM, 0.5), (signal.SIGKILL, None)):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, number)
            try:
                self._finish(timeout, keep=False)
                break
            except subprocess.TimeoutExpired:
                continue
        return self._completed()

    def _finish(self, timeout: float | None, *, keep: bool = True) -> None:
        """Read both outputs to their ends and reap.

        Raises TimeoutExpired, and _TooMuch beyond MOST_OUTPUT.

        Without ``keep`` what is beyond is thrown away: a process that is being ended may still
        print.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        with selectors.DefaultSelector() as waiting:
            for pipe in (self.process.stdout, self.process.stderr):
                if pipe and not pipe.closed:
                    waiting.register(pipe, selectors.EVENT_READ)
            while waiting.get_map():
                ready = waiting.select(_left(deadline))
                if not ready and deadline is not None and time.monotonic() >= deadline:
                    raise subprocess.TimeoutExpired(self.argv, timeout or 0.0)
                for key, _ in ready:
                    if not self._take(key.fileobj, keep=keep):
                        waiting.unregister(key.fileobj)
                        key.fileobj.close()  # type: ignore[union-attr]
        self.process.wait(_left(deadline))

    def _take(self, pipe: Any, *, keep: bool) -> bool:
        """Take what lies in a pipe; whether it is still open."""
        data = os.read(pipe.fileno(), 1 << 16)
        if self._heard and pipe is self.process.stderr:
            self._heard(data.decode(errors="replace"))
        held = self._output[pipe is self.process.stderr]
        if len(held) + len(data) <= MOST_OUTPUT:
            held += data
        elif keep:
            raise _TooMuch
        return bool(data)

    def _completed(self) -> Completed:
        stdout, stderr = map(_decoded, self._output)
        return Completed(self.argv, self.process.returncode, stdout, stderr, self._lifetime())

    def _lifetime(self) -> float:
        return time.monotonic() - self._started


class _TooMuch(Exception):
    """A process prints without end."""


def _left(deadline: float | None) -> float | None:
    return None if deadline is None else max(0.0, deadline - time.monotonic())


def _decoded(output: bytearray) -> str:
    return output.decode(errors="replace").replace("\r\n", "\n").replace("\r", "\n")


def start(
    argv: Sequence[str],
    *,
    stdin: int | IO[str] | None = subprocess.DEVNULL,
    environment: Mapping[str, str] | None = None,
    heard: Callable[[str], None] | None = None,
) -> Background:
    """Start a process in a group of its own, its output captured.

    Raises CommandFailed where it cannot start.

    ``heard`` gets what it prints on stderr, while it is waited for.
    """
    try:
        process = subprocess.Popen(
            list(argv),
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            env={**os.environ, **_ENVIRONMENT, **(environment or {})},
            process_group=0,
        )
    except OSError as error:
        nothing = Completed(tuple(argv), 127, "", "", 0.0)
        raise CommandFailed(nothing, f"could not be started ({error.strerror})") from error
    return Background(argv, process, heard)


@contextlib.contextmanager
def run_in_background(
    argv: Sequence[str], *, environment: Mapping[str, str] | None = None
) -> Iterator[Background]:
    """Yield a process for a ``with`` block: it is ended and reaped on any way out."""
    process = start(argv, environment=environment)
    try:
        yield process
    finally:
        process.end()


def kill_with_parent(argv: Sequence[str]) -> list[str]:
    """Return a command line whose process the kernel kills when ours ends (prctl(2),
    PR_SET_PDEATHSIG).
    """
    return ["setpriv", "--pdeathsig", "KILL", *argv]


def chunks(pipes: Mapping[IO[str] | None, str]) -> Iterator[tuple[str, str]]:
    """Yield a process's output as it comes: pairs of the pipe's label and text."""
    with selectors.DefaultSelector() as waiting:
        for pipe, label in pipes.items():
            if pipe is not None:
                waiting.register(pipe, selectors.EVENT_READ, label)
        while waiting.get_map():
            for key, _ in waiting.select():
                if text := os.read(key.fd, 1 << 16):
                    yield key.data, text.decode(errors="replace")
                else:
                    waiting.unregister(key.fileobj)


def run(
    argv: Sequence[str],
    *,
    timeout: float | None = 60.0,
    check: bool = True,
    environment: Mapping[str, str] | None = None,
) -> Completed:
    """Run to the end.

    Raises CommandFailed past ``timeout`` seconds and, with ``check``, on an exit code not 0.
    """
    process = start(argv, environment=environment)
    try:
        done = process.wait(timeout)
    except BaseException:
        process.end()
        raise
    if check and done.code:
        raise CommandFailed(done, f"ended with exit code {done.code}")
    return done
