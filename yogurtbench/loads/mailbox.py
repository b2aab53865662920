"""Senders and receivers of datagrams, each with a token."""

from __future__ import annotations

import socket

from yogurtbench.core.patience import Patience
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
        patience = Patience(timeout)
        while token not in self.got and self._collect(patience):
            pass
        return token in self.got

    def settle(self) -> None:
        """Collect until nothing has come for ``QUIET`` seconds, at most for ``TIMEOUT``."""
        whole = Patience(TIMEOUT)
        while whole.left > 0 and self._collect(Patience(QUIET)):
            whole.pause(0)

    def _collect(self, patience: Patience) -> bool:
        if not patience.is_readable(self._socket):
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
