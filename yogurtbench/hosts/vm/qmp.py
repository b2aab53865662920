"""QEMU's monitor: commands over one end of a socket pair (QMP)."""

from __future__ import annotations

import json
import socket
import time
from typing import Any

from yogurtbench.agent.channel import Channel
from yogurtbench.core.errors import HostError

_QMP_SECONDS = 30.0


class QmpClient:
    """QEMU's monitor (QMP) over one end of a socket pair.

    Its messages are JSON lines, as the agent's.
    """

    def __init__(self, line: socket.socket) -> None:
        self._socket = line
        self._channel = Channel(line.fileno(), line.fileno())
        self._greeted = False

    def execute(self, command: str, **arguments: Any) -> Any:
        """Run a QMP command; what it returns.

        Raises HostError where QEMU refuses, EOFError where it is gone.
        """
        self._greet()
        self._channel.send({"execute": command, "arguments": arguments})
        return self._answer(command)

    def _greet(self) -> None:
        if not self._greeted:
            self._greeted = True
            self.execute("qmp_capabilities")

    def _answer(self, command: str) -> Any:
        while True:
            answer = self._channel.receive(_QMP_SECONDS)
            if "error" in answer:
                raise HostError(f"QEMU refused {command}: {answer['error']['desc']}")
            if "return" in answer:
                return answer["return"]

    def wait_until_stopped(self, seconds: float) -> None:
        """Wait for the guest to stop by itself, without a word.

        Raises TimeoutError, EOFError where QEMU is gone.
        """
        ends = time.monotonic() + seconds
        while self._channel.receive(ends - time.monotonic()).get("event") != "STOP":
            pass

    def give(self, name: str, descriptor: int) -> None:
        """Give QEMU an open descriptor under a name (QMP ``getfd``)."""
        self._greet()
        command = json.dumps({"execute": "getfd", "arguments": {"fdname": name}}).encode()
        socket.send_fds(self._socket, [command], [descriptor])
        self._answer("getfd")

    def close(self) -> None:
        """Hang up."""
        self._socket.close()
