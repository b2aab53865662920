"""Distinguish what the network answered from what only says that we could not ask.

"Nothing answered" is a result, and makes a wire dead. A right that is missing, an address family
that is not there, a socket option that is refused, or no descriptor or buffer left say nothing
about the wire: then the probe has failed.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from yogurtbench.loads.base import LoadFailed

#: What routers, hosts and devices on the way answer with: the host is unreachable (a neighbour that
#: nobody could resolve too), it refuses or ends the connection, or the device was taken down.
_FROM_THE_NETWORK = {
    errno.EHOSTUNREACH,
    errno.EHOSTDOWN,
    errno.ECONNREFUSED,
    errno.ECONNRESET,
    errno.ECONNABORTED,
    errno.EPIPE,
    errno.ETIMEDOUT,
    errno.ENETDOWN,
}
#: Said by a socket later on (SO_ERROR), a router's ICMP message; said at once, our own namespace
#: has no route.
_LATER = {errno.ENETUNREACH, errno.ENOPROTOOPT, errno.EACCES, errno.EMSGSIZE}

_CAP_NET_RAW = 13


class CannotAsk(LoadFailed):
    """A probe could not be sent, or its answer could not be heard; the text says why."""


def is_answer(error: OSError, *, later: bool = False) -> bool:
    """Return whether the network said this.

    ``later``: a connection's pending error, not that of the call itself.
    """
    return error.errno in _FROM_THE_NETWORK or (later and error.errno in _LATER)


@contextmanager
def probing(what: str, step: str, *answers: int) -> Iterator[None]:
    """Raise CannotAsk ``could not ask over WHAT: STEP: …`` for an OSError of ours.

    The network's pass unchanged.

    ``answers``: error numbers that are the network's here too.
    """
    try:
        yield
    except OSError as error:
        if is_answer(error) or error.errno in answers:
            raise
        raise CannotAsk(f"could not ask over {what}: {step}: {explain_error(error)}") from error


def explain_error(error: OSError) -> str:
    """Return an error in words, with its symbol and, where it is about rights, which one is
    missing.
    """
    number = error.errno or 0
    said = f"{error.strerror or error} ({errno.errorcode.get(number, 'no error number')})"
    return said + (f": {_missing_right()}" if number in (errno.EPERM, errno.EACCES) else "")


def _missing_right() -> str:
    if not effective_capabilities() >> _CAP_NET_RAW & 1:
        return "the capability CAP_NET_RAW is missing"
    return "something forbids it, such as a seccomp filter or a security module"


def effective_capabilities() -> int:
    """Return those of this process as a bit set (proc_pid_status(5))."""
    status = Path("/proc/self/status").read_text().splitlines()
    return next((int(line.split()[1], 16) for line in status if line.startswith("CapEff")), 0)


def error_of(number: int) -> OSError:
    """Return an error number, as SO_ERROR and connect_ex give it, as the exception it stands
    for.
    """
    return OSError(number, os.strerror(number))
