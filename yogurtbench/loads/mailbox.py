"""Senders and receivers of datagrams, each with a token."""

from __future__ import annotations

import select
import socket
import time

from yogurtbench.lab import Endpoint
from yogurtbench.loads.asking import probing

#: How long a packet is waited for (seconds); a live path takes microseconds natively, milliseconds
#: emulated.
TIMEOUT = 0.3
#: After the control datagram, what had to wait for a neighbour to be resolved may still come
#: (seconds of quiet).
QUIET = 0.02
TOKEN_BYTES = 16


class UdpReceiver:
    """A UDP socket in yogurt-2 on all of its addresses; remembers which tokens came."""

    def __init__(self, pot: Endpoint) -> None:
        with pot.namespace.entered(), probing("UDP", "a socket to receive on"):
            self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            self._socket.bind(("0.0.0.0", 0))  # noqa: S104  # broadcasts reach only such a socket
        self.port: int = self._socket.getsockname()[1]
        self.got: set[bytes] = set()

    def receives(self, token: bytes, timeout: float) -> bool:
        """Return whether the token came within ``timeout`` seconds.

        Everything else that came is remembered too.
        """
        deadline = time.monotonic() + timeout
        while token not in self.got and (left := deadline - time.monotonic()) > 0:
            self._collect(left)
        return token in self.got

    def settle(self) -> None:
        """Collect until nothing has come for ``QUIET`` seconds, at most for ``TIMEOUT``."""
        deadline = time.monotonic() + TIMEOUT
        while self._collect(QUIET) and time.monotonic() < deadline:
            pass

    def _collect(self, timeout: float) -> bool:
        if not select.select([self._socket], [], [], timeout)[0]:
            return False
        with probing("UDP", "receiving"):
            self.got.add(self._socket.recv(2048)[:TOKEN_BYTES])
        return True

    def close(self) -> None:
        """Give up the port."""
        self._socket.close()


def send(pot: Endpoint, address: str, port: int, payload: bytes) -> bool:
    """Send a datagram from a pot; whether the network took it.

    Raises CannotAsk where it could not be sent at all.
    """
    with pot.namespace.entered(), probing("UDP", "a socket to send from"):
        sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    with sender:
        try:
            with probing("UDP", f"a datagram to {address}"):
                return bool(sender.sendto(payload, (address, port)))
        except OSError:  # the network says that nobody is there
            return False
