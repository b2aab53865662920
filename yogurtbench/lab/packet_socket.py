"""A capture on every device of a lab: AF_PACKET sockets (packet(7)), read afterwards."""

from __future__ import annotations

import errno
import socket
import struct
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from yogurtbench.core.patience import Patience
from yogurtbench.lab.namespace import Namespace
from yogurtbench.lab.network import Lab

ETH_P_ALL = 0x0003
_PACKET_OUTGOING = 4
#: SO_TIMESTAMPNS of uapi/asm-generic/socket.h; its message is a struct timespec.
_SO_TIMESTAMPNS = 35
_TIMESPEC = struct.Struct("=qq")
#: Frames kept of a device: on a wire that loops they never end.
MOST_FRAMES = 200
_BUFFER = 4 << 20
_LARGEST = 1 << 16
_STAMPING_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Frame:
    """A frame as a device carried it.

    ``time`` in ns since 1970; ``outgoing``: handed to the device to be sent.
    """

    time: int
    outgoing: bool
    content: bytes


def listen(device: str | None) -> socket.socket:
    """Return a socket that hears every protocol, on one device or all of the namespace it is opened
    in.
    """
    # Without a protocol a new socket hears nothing; with one it would hear all devices until it is
    # bound.
    listener = socket.socket(
        socket.AF_PACKET, socket.SOCK_RAW, 0 if device else socket.htons(ETH_P_ALL)
    )
    if device:
        try:
            listener.bind((device, ETH_P_ALL))
        except OSError:
            listener.close()
            raise
    return listener


class Tap:
    """Listens on one device from the moment it is made."""

    def __init__(self, namespace: Namespace, device: str) -> None:
        self.namespace, self.device = namespace.name or "host", device
        with namespace.entered():
            self._socket = listen(device)
        self._socket.setblocking(False)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER)
        self._socket.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)

    def frames(self) -> list[Frame]:
        """Return the first frames since it was made, in order, at most MOST_FRAMES."""
        found: list[Frame] = []
        while len(found) < MOST_FRAMES:
            try:
                content, messages, _, address = self._socket.recvmsg(
                    _LARGEST, socket.CMSG_SPACE(_TIMESPEC.size)
                )
            except BlockingIOError:
                break
            except OSError as error:
                # Each listener gets it once when a device is taken down.
                if error.errno != errno.ENETDOWN:
                    raise
                continue
            found.append(Frame(_stamp(messages), address[2] == _PACKET_OUTGOING, content))
        return found

    def close(self) -> None:
        """Stop listening."""
        self._socket.close()


@contextmanager
def tapping(lab: Lab) -> Iterator[list[Tap]]:
    """Taps on every device of a lab for the length of the block.

    Lo's only where the lab's packets pass it.
    """
    through_lo = lab.client.namespace is lab.server.namespace
    with ExitStack() as undo:
        taps = []
        for namespace in lab.namespaces:
            for link in namespace.ip.get_links():
                if link["index"] != 1 or (through_lo and namespace is lab.client.namespace):
                    taps.append(Tap(namespace, str(link.get_attr("IFLA_IFNAME"))))
                    undo.callback(taps[-1].close)
        _wait_for_stamps(lab.client.namespace)
        yield taps


def _stamp(messages: list[tuple[int, int, bytes]]) -> int:
    seconds, ns = _TIMESPEC.unpack(messages[0][2])
    return int(seconds * 1_000_000_000 + ns)


def _wait_for_stamps(namespace: Namespace) -> None:
    """Return when packets are stamped as they pass.

    The kernel begins that a little after the first socket has asked for it (net_enable_timestamp
    leaves it to a worker); until then a packet gets the time at which it is read.
    """
    with namespace.entered():
        asker = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    with asker:
        asker.bind(("127.0.0.1", 0))
        asker.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
        patience = Patience(_STAMPING_SECONDS)
        while patience.left > 0:
            asker.sendto(b"?", asker.getsockname())
            sent = time.time_ns()
            patience.pause(0.001)
            if _stamp(asker.recvmsg(16, socket.CMSG_SPACE(_TIMESPEC.size))[1]) <= sent:
                return
