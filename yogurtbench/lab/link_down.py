"""The lab's off switch: takes its host ends down at once, also in the middle of something else."""

from __future__ import annotations

import fcntl
import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from yogurtbench.lab.network import Lab

#: uapi/linux/sockios.h, uapi/linux/if.h; struct ifreq is the name, its flags, and room up to 40
#: bytes.
_SIOCGIFFLAGS, _SIOCSIFFLAGS = 0x8913, 0x8914
_IFF_UP = 1
_IFREQ = struct.Struct("=16sH22x")


@dataclass(frozen=True, slots=True)
class LinkDown:
    """The switch, by ioctl(2) on a socket kept for it (netdevice(7)).

    A signal may come while netlink waits for an answer.
    """

    control: socket.socket
    devices: tuple[str, ...]

    def off(self) -> None:
        """Take the host ends down: what loops in the kernel ends where a device is down."""
        for device in self.devices:
            with suppress(OSError):  # it is gone already
                asked = fcntl.ioctl(self.control, _SIOCGIFFLAGS, _IFREQ.pack(device.encode(), 0))
                (_, flags) = _IFREQ.unpack(asked)
                fcntl.ioctl(
                    self.control, _SIOCSIFFLAGS, _IFREQ.pack(device.encode(), flags & ~_IFF_UP)
                )


@contextmanager
def switch(lab: Lab) -> Iterator[LinkDown]:
    """Yield the switch of a lab's host ends for the length of the block."""
    with lab.host.entered():
        control = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    with control:
        yield LinkDown(control, tuple(end.name for end in (lab.a, lab.b) if end))
