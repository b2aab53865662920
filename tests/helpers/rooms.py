"""Rooms of their own for a test's functions, forked from one process that has compiled bpf/.

A room is what lab.sandbox.sandbox_command makes with unshare(1), and furnished as the agent's.
"""

from __future__ import annotations

import atexit
import ctypes
import importlib
import inspect
import json
import os
import select
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

from yogurtbench.lab import sandbox

_NEW_NETWORK, _NEW_MOUNTS, _NEW_PIDS = 0x40000000, 0x00020000, 0x20000000
_REC, _PRIVATE = 0x4000, 1 << 18
_PR_SET_PDEATHSIG = 1
_SECONDS = 120.0
#: The process that rooms are forked from. (multiprocessing's forkserver of Python 3.11 does not find
#: the modules that it is to import before.)
_SERVER = """
import sys
sys.path.insert(0, sys.argv[1])
import compiled_wires, rooms
rooms.serve()
"""


@cache
def _server() -> subprocess.Popen[bytes]:
    argv = [sys.executable, "-P", "-c", _SERVER, str(Path(__file__).parent)]
    server = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    atexit.register(server.kill)
    return server


def call_in_room(function: Callable[..., Any], *arguments: Any) -> Any:
    """What a function of a test module returns when it is called, furnished, in a room of its own.

    Arguments and answer travel as JSON. Raises AssertionError with what it printed where it fails.
    """
    server, folder = _server(), str(Path(inspect.getfile(function)).parent)
    with tempfile.NamedTemporaryFile() as answer, tempfile.NamedTemporaryFile() as said:
        order = (folder, function.__module__, function.__name__, arguments, answer.name, said.name)
        assert server.stdin and server.stdout
        server.stdin.write(json.dumps(order).encode() + b"\n")
        server.stdin.flush()
        code = int(server.stdout.readline())
        assert code == 0, Path(said.name).read_text(errors="replace")
        return json.loads(answer.read())


def serve() -> None:
    """Open a room for each line of the standard input, and say how it ended."""
    for line in sys.stdin.buffer:
        child = os.fork()
        if child == 0:
            _enter(*json.loads(line))
        ended = select.select([descriptor := os.pidfd_open(child)], [], [], _SECONDS)[0]
        os.close(descriptor)
        if not ended:
            os.kill(child, signal.SIGKILL)  # and with it, by PR_SET_PDEATHSIG, the room
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


def _enter(
    folder: str, module: str, function: str, arguments: list[Any], answer: str, said: str
) -> None:
    """Become the parent of a room's first process, and end as it does."""
    printed = os.open(said, os.O_WRONLY | os.O_APPEND)
    answered = os.open(answer, os.O_WRONLY)
    for stream in (1, 2):
        os.dup2(printed, stream)
    sys.path.insert(0, folder)
    _check(_libc().unshare(_NEW_NETWORK | _NEW_MOUNTS | _NEW_PIDS))
    child = os.fork()
    if child == 0:
        _call(module, function, arguments, answered)
    os._exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) & 0xFF)


def _call(module: str, function: str, arguments: list[Any], answered: int) -> None:
    code = 1
    try:
        libc = _libc()
        _check(libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0))
        _check(libc.mount(b"none", b"/", None, _REC | _PRIVATE, None))
        _check(libc.mount(b"proc", b"/proc", b"proc", 0, None))
        sandbox.set_up()
        result = getattr(importlib.import_module(module), function)(*arguments)
        os.write(answered, json.dumps(result).encode())
        code = 0
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        sys.stderr.flush()
        os._exit(code)


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def _check(returned: int) -> None:
    if returned:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
