"""Compile custom programs in a child first.

LLVM ends the process it lives in where it fails (exit(3), abort(3)).

What is wrong with a text ends there with the compiler's words; what comes back can be compiled
where it is needed.
"""

from __future__ import annotations

import faulthandler
import os
import resource
import select
import signal
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from yogurtbench.core.errors import HostError
from yogurtbench.core.printable import printable
from yogurtbench.ebpf import includes

#: A text takes 0.3 s on a processor of today, 2 to 3 s emulated; a trial is given up after a minute
#: or more.
SECONDS = 45.0
#: Bytes of address space: some five times what a wire takes.
_MEMORY = 4 << 30
_REFUSED = 97
#: Of what a compiler says, the end: enough to hold its last words.
_WORDS = 1 << 16
#: Bytes that it may say: all of it is looked at for the files that are included.
_MOST = 1 << 24


def try_compiling(
    compile_it: Callable[[], object],
    what: str,
    complaint: Callable[[str], str],
    folder: Path | None = None,
) -> None:
    """Call ``compile_it`` in a child.

    Raises HostError, with the compiler's words, where it does not come back well.

    ``complaint`` finds the first error in what was said; empty: the last lines are shown. Where
    ``folder`` is given and the compiler names what it includes (see includes.FLAG), a file that is
    neither from there nor a header is an error, whatever else was said.
    """
    memory = os.memfd_create("compiler")
    try:
        how = _ended(_start(compile_it, memory))
        size = os.fstat(memory).st_size
        said = os.pread(memory, _MOST, 0).decode(errors="replace")
    finally:
        os.close(memory)
    if size > _MOST:
        raise HostError(f"bcc could not compile {what}: it said {size >> 20} MiB of words")
    if folder and (foreign := next(includes.foreign_includes(said, folder), "")):
        raise HostError(
            f"bcc could not compile {what}: it includes {printable(foreign)}; a wire includes "
            "yogurt.h and the kernel's headers, and no other file"
        )
    if how:
        words = includes.without_includes(said)[-_WORDS:]
        reason = printable(complaint(words) or _last_words(words))
        raise HostError(f"bcc could not compile {what}: {reason}{how}".rstrip())


def _start(compile_it: Callable[[], object], said: int) -> int:
    child = os.fork()
    if child == 0:
        code = _REFUSED
        with suppress(BaseException):
            code = _compile(compile_it, said)
        os._exit(code)
    return child


def _compile(compile_it: Callable[[], object], said: int) -> int:
    faulthandler.disable()
    for stream in (1, 2):
        os.dup2(said, stream)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
    with suppress(OSError):  # where memory runs out it goes, and not the agent
        Path("/proc/self/oom_score_adj").write_text("1000")
    try:
        compile_it()
    except Exception as error:
        os.write(said, f"\n{error}\n".encode())
        return _REFUSED
    return 0


def _ended(child: int) -> str:
    """Wait for the child.

    Empty where it ended well, else how it ended, where the words do not say that.
    """
    try:
        descriptor = os.pidfd_open(child)
        try:
            in_time = bool(select.select([descriptor], [], [], SECONDS)[0])
        finally:
            os.close(descriptor)
    finally:
        with suppress(ProcessLookupError):
            os.kill(child, signal.SIGKILL)  # one that has ended is not hurt
        _, status = os.waitpid(child, 0)
    if not in_time:
        return f" (the compiler did not end within {SECONDS:g} s)"
    code = os.waitstatus_to_exitcode(status)
    if code < 0:
        return f" (the compiler ended itself: {signal.Signals(-code).name})"
    return {0: "", _REFUSED: " "}.get(code, f" (the compiler ended itself with exit code {code})")


def _last_words(said: str) -> str:
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    return " | ".join(lines[-3:]) or "it said nothing"
