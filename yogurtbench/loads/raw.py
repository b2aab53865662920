"""Frames sent and seen through AF_PACKET sockets (packet(7)), the way tcpdump and attackers do."""

from __future__ import annotations

import errno
import socket
from collections.abc import Iterable, Sequence

from yogurtbench.core.patience import Patience
from yogurtbench.lab import Interface, packet_socket
from yogurtbench.lab.namespace import Namespace
from yogurtbench.loads.asking import CannotAsk, probing

ETH_P_IP = 0x0800
#: IEEE 802's EtherType for local experiments: no stack knows it, so such a frame is seen by taps
#: and by nobody else.
ETH_P_EXPERIMENT = 0x88B5

_SOL_PACKET, _PACKET_QDISC_BYPASS = 263, 20  # uapi/linux/if_packet.h; Python has no names for them
_WHAT = "packet sockets"
_NO_MAC = bytes(6)
#: A sniffer reads at most so many packets: on a wire that loops they never end.
_MOST_PACKETS = 4096


class Transmitter:
    """An AF_PACKET socket of a namespace that only sends.

    One serves all: closing each would wait for an RCU grace period. A socket that is refused is
    returned by :meth:`send`.
    """

    def __init__(self, where: Namespace) -> None:
        self._refused: CannotAsk | None = None
        try:
            with where.entered(), probing(_WHAT, "one that sends"):
                # Protocol 0: it receives nothing.
                self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, 0)
        except CannotAsk as reason:
            self._refused = reason

    def send(
        self, end: Interface, ethertype: int, payload: bytes, mac: str = "", *, bypass: bool = False
    ) -> str:
        """Send one frame out on a device.

        The kernel writes the link-layer header, on l3 devices an empty one.

        ``bypass``: past the queueing layer and its egress hooks (PACKET_QDISC_BYPASS). Returns the
        name of the error the kernel answered with, empty where it took the frame: ENOBUFS is how it
        says that the device dropped it. Raises CannotAsk where the frame never came so far.
        """
        if self._refused:
            raise self._refused
        address = bytes.fromhex(mac.replace(":", "")) or _NO_MAC
        with probing(_WHAT, "the option PACKET_QDISC_BYPASS"):
            self._socket.setsockopt(_SOL_PACKET, _PACKET_QDISC_BYPASS, int(bypass))
        try:
            with probing(_WHAT, f"a frame on {end.name}", errno.ENOBUFS):
                self._socket.sendto(payload, (end.name, ethertype, 0, 0, address))
        except OSError as error:
            return error_name(error)
        return ""

    def close(self) -> None:
        """Give the socket back."""
        if not self._refused:
            self._socket.close()


def error_name(error: OSError) -> str:
    """Return the symbol of an error, e.g. ENETUNREACH."""
    return errno.errorcode.get(error.errno or 0, str(error))


class Sniffer:
    """An AF_PACKET socket as tcpdump's: every protocol, on one device or (``end`` None) all of its
    namespace.
    """

    def __init__(self, end: Interface | None) -> None:
        with probing(_WHAT, "one that listens"):
            self._socket = packet_socket.listen(end.name if end else None)

    def hear(self, marks: Iterable[bytes], until: Sequence[bytes], timeout: float) -> set[bytes]:
        """Return those of ``marks`` and ``until`` that it has packets of.

        Ends once all of ``until`` were heard, or in time.

        What a socket heard it gives in order: after the last mark there is nothing older left to
        read.
        """
        wanted, heard, last = {*marks, *until}, set[bytes](), set(until)
        patience = Patience(timeout)
        for _ in range(_MOST_PACKETS):
            if last <= heard or not patience.is_readable(self._socket):
                break
            packet = self._received()
            heard |= {mark for mark in wanted if mark in packet}
        return heard

    def _received(self) -> bytes:
        """Return the next packet.

        Empty for the word that the device went down, which each listener gets once.
        """
        try:
            with probing(_WHAT, "receiving"):
                return self._socket.recv(2048)
        except OSError:
            return b""

    def close(self) -> None:
        """Stop listening."""
        self._socket.close()
