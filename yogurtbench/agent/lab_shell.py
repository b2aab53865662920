"""The agent's end of a shell in the lab: input comes over the channel, output goes back.

With a terminal the shell gets a pseudoterminal of its own (pty(7)), so that line editing, job
control and Ctrl-C work; without, pipes. Bytes travel as Latin-1, which loses none of them.

From the person: ``{"op": "typed", "bytes": …}``, ``{"op": "end"}`` (end of input), ``{"op": "size",
"rows": …, "columns": …}``. To the person: ``{"event": "bytes", "stream": stdout or stderr, "bytes":
…}``.
"""

from __future__ import annotations

import os
import select
import shutil
import subprocess
import termios
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from yogurtbench.agent.channel import Channel
from yogurtbench.agent.environment import users_environment
from yogurtbench.core.errors import HostError

_RC = Path("/run/yogurtbench.bashrc")
_CHUNK = 1 << 16


def serve(
    cell: str, namespaces: Sequence[str], terminal: Mapping[str, Any] | None, channel: Channel
) -> int:
    """Run a shell to its end; its exit code (128 and the signal's number where a signal ended it).

    ``terminal``: rows, columns and the word for TERM; None: what the shell reads is no terminal.
    Raises HostError where there is no bash, EOFError where the person is gone.
    """
    if not shutil.which("bash"):
        raise HostError("a shell in the lab needs bash, which is not installed")
    _RC.write_text(_startup_file(cell, namespaces))
    sitting = _on_terminal(terminal) if terminal else _on_pipes()
    try:
        _forward(sitting, channel)
        code = sitting.process.wait()
        return code if code >= 0 else 128 - code
    finally:
        sitting.close()


class _ShellProcess:
    """A running shell: its process, the file of its input, and those of its output by stream."""

    def __init__(
        self, process: subprocess.Popen[bytes], typed: int, printed: dict[int, str]
    ) -> None:
        self.process, self.printed = process, printed
        self._typed, self._waiting, self._ended = typed, bytearray(), False
        self._open = {typed, *printed}
        for descriptor in self._open:
            os.set_blocking(descriptor, False)

    @property
    def eager(self) -> list[int]:
        """Where there is something to write."""
        return [self._typed] if self._waiting else []

    def obey(self, message: Mapping[str, Any]) -> None:
        """Do what the person's end says."""
        if message["op"] == "typed":
            self._waiting += message["bytes"].encode("latin-1")
        elif message["op"] == "size":
            termios.tcsetwinsize(self._typed, (message["rows"], message["columns"]))
        elif message["op"] == "end":
            self._ended = True
        self.write()

    def write(self) -> None:
        """Hand over what was typed, as much as is taken now; after the last of it, the end."""
        try:
            while self._waiting:
                del self._waiting[: os.write(self._typed, self._waiting)]
        except BlockingIOError:
            return
        except OSError:  # it reads no more
            self._waiting.clear()
        if self._ended and self._typed in self._open and self._typed not in self.printed:
            self._shut(self._typed)

    def read(self, descriptor: int) -> bytes | None:
        """Return what was printed; nothing where nothing is there, None at its end."""
        try:
            return os.read(descriptor, _CHUNK) or None
        except BlockingIOError:
            return b""
        except OSError:  # EIO: no process has the pseudoterminal open
            return None

    def _shut(self, descriptor: int) -> None:
        self._open.remove(descriptor)
        os.close(descriptor)

    def close(self) -> None:
        """End the shell where it still runs."""
        self.process.kill()
        self.process.wait()
        for descriptor in list(self._open):
            self._shut(descriptor)


def _on_terminal(terminal: Mapping[str, Any]) -> _ShellProcess:
    ours, theirs = os.openpty()
    termios.tcsetwinsize(ours, (terminal["rows"], terminal["columns"]))
    environment = {**users_environment(), "TERM": terminal["term"]}
    # A session of its own, with the pseudoterminal to control its jobs; whoever started us may
    # ignore signals (nohup).
    argv = [
        "env",
        "--default-signal",
        "setsid",
        "--ctty",
        "bash",
        "--noprofile",
        "--rcfile",
        str(_RC),
        "-i",
    ]
    try:
        process = subprocess.Popen(
            argv, stdin=theirs, stdout=theirs, stderr=theirs, env=environment
        )
    finally:
        os.close(theirs)
    return _ShellProcess(process, ours, {ours: "stdout"})


def _on_pipes() -> _ShellProcess:
    environment = {**users_environment(), "BASH_ENV": str(_RC)}
    pipe = subprocess.PIPE
    process = subprocess.Popen(
        ["bash", "--noprofile"],
        stdin=pipe,
        stdout=pipe,
        stderr=pipe,
        env=environment,
        process_group=0,
    )
    assert process.stdin and process.stdout and process.stderr
    typed, out, err = (
        os.dup(each.fileno()) for each in (process.stdin, process.stdout, process.stderr)
    )
    for each in (process.stdin, process.stdout, process.stderr):
        each.close()
    return _ShellProcess(process, typed, {out: "stdout", err: "stderr"})


def _forward(sitting: _ShellProcess, channel: Channel) -> None:
    """Until the shell ends: what it leaves running in the background may hold its output open.

    It is not waited for.
    """
    over = os.pidfd_open(sitting.process.pid)
    printing = dict(sitting.printed)
    try:
        while True:
            for message in channel.waiting():
                sitting.obey(message)
            ready, _, _ = select.select([over, channel.fileno(), *printing], sitting.eager, [])
            sitting.write()
            for descriptor in set(ready) & set(printing):
                if not _decode_output(descriptor, sitting, channel):
                    del printing[descriptor]
            if over in ready:
                break
            if channel.fileno() in ready:
                channel.look()
    finally:
        os.close(over)
    for descriptor in printing:
        while _decode_output(descriptor, sitting, channel):
            pass


def _decode_output(descriptor: int, sitting: _ShellProcess, channel: Channel) -> bool:
    """Pass on what was printed.

    Whether there was something, or nothing yet while the shell runs.
    """
    text = sitting.read(descriptor)
    if text:
        stream = sitting.printed[descriptor]
        channel.send({"event": "bytes", "stream": stream, "bytes": text.decode("latin-1")})
    return bool(text)


def _startup_file(cell: str, namespaces: Sequence[str]) -> str:
    """Return the shell's start file: a prompt with the cell, and the namespaces as commands."""
    functions = "".join(f'{name}() {{ in_namespace {name} "$@"; }}\n' for name in namespaces)
    return f"""unset HISTFILE
PS1='lab {cell} ${{LAB_NETNS:-host}}\\$ '
# NAME COMMAND… runs a command in a namespace, NAME alone opens a shell there.
in_namespace() {{
    local LAB_NETNS="$1" && shift && export LAB_NETNS
    if [ $# = 0 ]; then set -- bash --noprofile --rcfile {_RC}; fi
    nsenter --net="/run/netns/$LAB_NETNS" -- "$@"
}}
{functions}"""
