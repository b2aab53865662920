"""Send datagrams as a user without privileges, from a child process that dropped all of them.

A child and not a change of our own user: capabilities that a process has given up for good do not
come back.
"""

from __future__ import annotations

import json
import os
import select
import signal
import socket
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from yogurtbench.loads.asking import effective_capabilities, explain_error
from yogurtbench.loads.raw import error_name

#: How long the child has (seconds). It needs milliseconds, but a busy machine may not let it run.
TIMEOUT = 10.0
#: nobody, on every Linux (kernel.overflowuid).
_UID = 65_534

#: The ways tried, in order. A device without an address leaves its sender none, and receivers drop
#: 0.0.0.0 as a martian except in a limited broadcast (ip_route_input_slow): that is how a DHCP
#: client talks, and how anyone can.
WAYS = ("broadcast", "unicast")


@dataclass(frozen=True, slots=True)
class SendReport:
    """The child's result: the ways that the kernel took, errors, remaining capabilities.

    ``failed``: why there was no unprivileged sender at all.
    """

    ways: list[str]
    errors: list[str]
    capabilities: int
    failed: str = ""


def send_unprivileged(
    device: str, address: str, port: int, payloads: Sequence[bytes]
) -> SendReport:
    """Send one datagram each way of ``WAYS`` through a socket bound to ``device``, as nobody.

    Runs in the namespace we are in. Without a child that says something within ``TIMEOUT`` seconds
    it has failed.
    """
    try:
        return SendReport(
            **_in_a_child(lambda: _send_as_other_user(device, address, port, payloads))
        )
    except ValueError:  # it died or stopped before it could report
        return SendReport([], [], 0, "the unprivileged sender did not report")
    except OSError as error:  # no process, no pipe
        return SendReport(
            [], [], 0, f"there could be no unprivileged sender: {explain_error(error)}"
        )


def _in_a_child(work: Callable[[], dict[str, Any]]) -> Any:
    read_end, write_end = os.pipe()
    child = os.fork()
    if child == 0:
        with suppress(BaseException):
            os.write(write_end, json.dumps(work()).encode())
        os._exit(0)
    os.close(write_end)
    try:
        said = os.read(read_end, 1 << 16) if select.select([read_end], [], [], TIMEOUT)[0] else b""
    finally:
        os.close(read_end)
        # It has reported or never will; an ended child waits to be reaped and is harmless.
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    return json.loads(said)


def _send_as_other_user(
    device: str, address: str, port: int, payloads: Sequence[bytes]
) -> dict[str, Any]:
    try:
        os.setgroups([])
        os.setresgid(_UID, _UID, _UID)
        os.setresuid(_UID, _UID, _UID)
    except OSError as error:  # in a user namespace without that user, or without CAP_SETUID
        failed = f"the sender could not become nobody: {error_name(error)}"
        return {"ways": [], "errors": [], "capabilities": 0, "failed": failed}
    ways: list[str] = []
    errors: list[str] = []
    for way, payload in zip(WAYS, payloads, strict=True):
        try:
            _send_from(device, "255.255.255.255" if way == "broadcast" else address, port, payload)
            ways.append(way)
        except OSError as error:
            errors.append(f"{way}: {error_name(error)}")
    return {"ways": ways, "errors": errors, "capabilities": effective_capabilities()}


def _send_from(device: str, address: str, port: int, payload: bytes) -> None:
    """SO_BINDTODEVICE needs no privilege on a socket that is not bound yet (since Linux 5.7)."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, device.encode())
        sender.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        sender.sendto(payload, (address, port))
