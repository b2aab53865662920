"""JSON lines over a pair of file descriptors: pipes natively, the guest's serial port in the VM."""

from __future__ import annotations

import json
import os
import select
import time
from collections.abc import Iterator
from typing import Any

#: How often a line is read once time is up: enough for the largest attempt, 64 KiB each.
_LATE_READS = 64


class Channel:
    """Both ends of the conversation with an agent use this. Owns its descriptors."""

    def __init__(self, read_fd: int, write_fd: int) -> None:
        self._read_fd, self._write_fd = read_fd, write_fd
        self._received = bytearray()

    def fileno(self) -> int:
        """Return the descriptor that becomes readable when the other end speaks or is gone."""
        return self._read_fd

    def send(self, message: dict[str, Any]) -> None:
        """Send one message. Raises EOFError when the other end is gone."""
        line = json.dumps(message, separators=(",", ":")).encode() + b"\n"
        try:
            while line:
                line = line[os.write(self._write_fd, line) :]
        except OSError as error:  # EPIPE, ECONNRESET, and EIO from a dead serial line
            raise EOFError(f"the other end is gone: {error.strerror}") from error

    def receive(self, timeout: float | None) -> dict[str, Any]:
        """Return the next message.

        Raises TimeoutError after ``timeout`` seconds, EOFError when the other end is gone.

        Lines that are not JSON objects (a kernel message that strayed onto the line) are passed
        over. What has come when time is up is read all the same: the reader may have been stopped
        in between.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        late = 0
        while True:
            for message in self._whole():
                return message
            # A line that never falls silent must not outlive the deadline either.
            late += deadline is not None and time.monotonic() > deadline
            if late > _LATE_READS:
                raise TimeoutError
            self._fill(deadline)

    def waiting(self) -> list[dict[str, Any]]:
        """Return the messages that have come whole and were not asked for yet.

        Without looking for more.
        """
        return list(self._whole())

    def look(self) -> None:
        """Take what has come, for who has seen the descriptor readable.

        Raises EOFError when the other end is gone.
        """
        self._fill(None)

    def _whole(self) -> Iterator[dict[str, Any]]:
        while b"\n" in self._received:
            line, _, self._received = self._received.partition(b"\n")
            message = _parsed(bytes(line))
            if message is not None:
                yield message

    def _fill(self, deadline: float | None) -> None:
        left = None if deadline is None else max(0.0, deadline - time.monotonic())
        if not select.select([self._read_fd], [], [], left)[0]:
            raise TimeoutError
        try:
            chunk = os.read(self._read_fd, 1 << 16)
        except OSError as error:
            raise EOFError(f"the other end is gone: {error.strerror}") from error
        if not chunk:
            raise EOFError("the other end is gone")
        self._received += chunk

    def close(self) -> None:
        """Close both descriptors (which may be one and the same)."""
        for descriptor in {self._read_fd, self._write_fd}:
            os.close(descriptor)


def _parsed(line: bytes) -> dict[str, Any] | None:
    try:
        message = json.loads(line)
    except ValueError:
        return None
    return message if isinstance(message, dict) else None
