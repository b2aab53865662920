"""Take part in a trial that the emulator records (hosts.vm.tracing): send the names of its code,
and over a dead wire a request of our own.
"""

from __future__ import annotations

import socket
from contextlib import suppress

from yogurtbench.agent.channel import Channel
from yogurtbench.ebpf.kernel_symbols import packed_functions
from yogurtbench.ebpf.wire import Wire
from yogurtbench.lab import Lab
from yogurtbench.loads.marks import marks

_PORT = 11111
_PAYLOAD = 64


class TrialObserver:
    """Hears how a trial goes, while its lab stands and its wire is attached."""

    def load_ended(self, wire: Wire | None) -> None:
        """Take note that the load has ended."""

    def found_dead(self, network: Lab, wire: Wire | None) -> None:
        """Take note that the wire carries nothing."""


class Recorder(TrialObserver):
    """Sends the names of what was loaded into the kernel over a channel."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel

    def load_ended(self, wire: Wire | None) -> None:
        """Send the names."""
        symbols, tags = packed_functions(loaded=True), wire.names_by_tag() if wire else {}
        self._channel.send({"event": "symbols", "symbols": symbols, "programs": tags})

    def found_dead(self, network: Lab, wire: Wire | None) -> None:
        """Send a datagram from yogurt-1 to yogurt-2 between the marks, then the names."""
        begin, end = marks()
        cell = network.cell
        six = cell.ip == 6
        address = network.server.ipv6 if six else network.server.ipv4
        with network.client.namespace.entered():
            sender = socket.socket(socket.AF_INET6 if six else socket.AF_INET, socket.SOCK_DGRAM)
        with sender:
            for before, after in ((_nothing, _nothing), (begin, end)):  # the first warms up
                before()
                with suppress(OSError):  # what became of an earlier one is told here
                    sender.sendto(bytes(cell.payload or _PAYLOAD), (address, _PORT))
                after()
        self.load_ended(wire)


def _nothing() -> None:
    return None
