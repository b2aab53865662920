"""Wait for an answer without taking a busy machine for one that does not come.

Where the machine stands still for a moment (a guest whose virtual CPU is not scheduled, a host with
more to do than CPUs), a deadline passes while nobody who could answer has run either. So a wait is
counted in short slices, and however long one of them lasted, it uses up no more than its length:
the others had their turns in between.
"""

from __future__ import annotations

import select
import socket
import time
from collections.abc import Sequence

#: The longest slice (seconds): three ticks of a kernel with 100 Hz, so that whoever is ready runs.
SLICE = 0.03


class Patience:
    """Seconds to wait, of which ``left`` are left."""

    def __init__(self, seconds: float) -> None:
        self.left = seconds
        self._last = time.monotonic()

    def is_readable(self, waited_for: socket.socket) -> bool:
        """Return whether the socket has something to read before the patience ends."""
        return bool(self.wait([waited_for])[0])

    def wait(
        self, readers: Sequence[socket.socket], writers: Sequence[socket.socket] = ()
    ) -> tuple[list[socket.socket], list[socket.socket]]:
        """Return which sockets can be read and written, as soon as one can; none where the patience
        ends.
        """
        while self.left > 0:
            found = self.wait_a_slice(readers, writers)
            if any(found):
                return found
        return [], []

    def pause(self, seconds: float) -> bool:
        """Sleep, at most a slice, and return whether any patience is left."""
        self.wait_a_slice([], longest=seconds)
        return self.left > 0

    def wait_a_slice(
        self,
        readers: Sequence[socket.socket],
        writers: Sequence[socket.socket] = (),
        longest: float = SLICE,
    ) -> tuple[list[socket.socket], list[socket.socket]]:
        """Return which sockets can be read and written, at most ``longest`` seconds later."""
        # neither may be left any more: on a busy machine the last slice took longer than it was
        length = max(0.0, min(self.left, longest, SLICE))
        readable, writable, _ = select.select(readers, writers, [], length)
        now = time.monotonic()
        self.left -= min(now - self._last, SLICE)
        self._last = now
        return readable, writable
