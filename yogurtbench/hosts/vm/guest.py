"""A booted guest whose agent is ready, and how it is booted."""

from __future__ import annotations

import fcntl
import json
import os
import socket
import subprocess
import tempfile
from collections.abc import Callable
from contextlib import ExitStack, nullcontext, suppress
from pathlib import Path
from typing import IO, Any

from yogurtbench.agent import checkpoint
from yogurtbench.agent.channel import Channel
from yogurtbench.core import process
from yogurtbench.core.closing import Closing
from yogurtbench.core.errors import HostError
from yogurtbench.hosts.vm import console_log, cpio, scheduling
from yogurtbench.hosts.vm.image import GuestImage
from yogurtbench.hosts.vm.qemu import (
    GuestFds,
    MachineConfig,
    TraceFiles,
    hardware_for,
    qemu_command,
)
from yogurtbench.hosts.vm.qmp import QmpClient

_READY_SECONDS = {"kvm": 60.0, "tcg": 180.0}
#: Boots of one guest. Emulated ones with two CPUs die now and then (one in 32, in kernel text that
#: is being patched).
_TRIES = 3
_LAST_WORDS_SECONDS = 0.5
#: Bytes that an agent can say before we read any (what a user may have, fs.pipe-max-size).
_SAID_AT_ONCE = 1 << 20


class NeverReady(HostError):
    """A guest died or fell silent before its agent's first word."""


class Guest(Closing):
    """A booted guest (a hosts.machine.Machine) whose agent has said that it is ready.

    ``ready`` is what it said.
    """

    channel: Channel
    ready: dict[str, Any]

    def __init__(
        self,
        image: GuestImage,
        hardware: MachineConfig,
        initramfs: IO[bytes],
        order: IO[bytes] | None = None,
        *,
        saved: bool = False,
        trace: TraceFiles | None = None,
    ) -> None:
        self.hardware = hardware
        self._console = os.memfd_create("console")
        self._stderr = os.memfd_create("stderr")
        exact = hardware.clock == "instructions"
        self.channel, agents = _ordered_line() if exact else _two_way_line()
        monitor, monitors = socket.socketpair()
        files = GuestFds(
            initramfs.fileno(),
            self._console,
            agents.fileno(),
            monitors.fileno(),
            order.fileno() if order else None,
            saved,
            trace,
        )
        with agents, monitors, scheduling.pin_to_idle_cpu() if exact else nullcontext():
            self._process = _start(qemu_command(image, hardware, files), files, self._stderr)
        if exact:
            scheduling.prioritise_main_thread(self._process.pid)
        self.monitor = QmpClient(monitor)

    def wait_until_ready(self, seconds: float) -> None:
        """Let it run and wait for the agent's first word.

        Raises NeverReady, with the console's last lines, where it never comes.
        """
        try:
            if self.hardware.clock == "instructions":
                self.monitor.execute("cont")
            while (said := self.channel.receive(seconds)).get("event") != "ready":
                pass
        except TimeoutError:
            raise NeverReady(
                f"the guest was not ready within {seconds:g} s: {self.failure_reason()}"
            ) from None
        except EOFError:
            raise NeverReady(f"the guest died while it booted: {self.failure_reason()}") from None
        self.ready = said

    def failure_reason(self) -> str:
        """Return why it died: its console's telling lines, and QEMU's own words."""
        with suppress(subprocess.TimeoutExpired):  # a guest that is just panicking is still writing
            self._process.wait(_LAST_WORDS_SECONDS)
        reasons = (
            console_log.failure_lines(_text(self._console)),
            *console_log.log_lines(_text(self._stderr))[-3:],
        )
        return " | ".join(filter(None, reasons)) or "no output"

    def close(self) -> None:
        """End QEMU; nothing of it is left."""
        self.channel.close()
        self.monitor.close()
        self._process.terminate()
        try:
            self._process.wait(5.0)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        os.close(self._console)
        os.close(self._stderr)


def boot_guest(
    image: GuestImage,
    accelerator: str,
    *,
    overlay: Path,
    order: dict[str, Any] | None = None,
    memory: int | None = None,
    cpus: int | None = None,
    say: Callable[[str], None] = lambda _: None,
) -> Guest:
    """Boot a guest and wait for its agent.

    One that dies or falls silent before that is booted again, at most twice; ``say`` gets a line.
    ``accelerator`` is kvm or tcg, ``memory`` bytes (default: what the image needs), ``cpus`` by
    default at most two. One with an ``order`` for its boot counts time in instructions, and stands
    still when it has carried it out. Raises HostError where QEMU is missing, memory is short or the
    guest never comes up.
    """
    exact = order is not None
    hardware = hardware_for(image, overlay, accelerator, exact=exact, memory=memory, cpus=cpus)
    with tempfile.TemporaryFile() as initramfs, order_file(order or {}) as written:
        cpio.join((*image.archives, overlay), initramfs)
        for again in range(1, _TRIES):
            try:
                return _booted(image, hardware, initramfs, written if exact else None)
            except NeverReady as death:
                say(f"{death}; booting it again ({again} of {_TRIES - 1})")
        return _booted(image, hardware, initramfs, written if exact else None)


def _booted(
    image: GuestImage, hardware: MachineConfig, initramfs: IO[bytes], order: IO[bytes] | None
) -> Guest:
    """Return one boot.

    Raises NeverReady; HostError where the agent says that its kernel does not do.
    """
    with ExitStack() as undo:
        guest = Guest(image, hardware, initramfs, order)
        undo.callback(guest.close)
        guest.wait_until_ready(_READY_SECONDS[hardware.accelerator])
        if lacking := guest.ready.get("lacking"):
            raise HostError(image.lacks(lacking, "which the instruction clock needs"))
        undo.pop_all()
        return guest


def order_file(order: dict[str, Any]) -> IO[bytes]:
    """Return an unlinked file of fixed size with the request for a guest that wakes."""
    content = json.dumps(order).encode()
    if len(content) > checkpoint.ORDER_SIZE:
        raise HostError(
            f"an order of {len(content)} bytes is more than a guest takes ({checkpoint.ORDER_SIZE})"
        )
    file = tempfile.TemporaryFile()  # noqa: SIM115  # the caller closes it
    file.write(content.ljust(checkpoint.ORDER_SIZE, b"\0"))
    file.flush()
    return file


def _two_way_line() -> tuple[Channel, IO[bytes]]:
    """Return our end of a line to an agent, and the end that QEMU inherits."""
    ours, theirs = socket.socketpair()
    return Channel(*(2 * [ours.detach()])), open(theirs.detach(), "r+b", buffering=0)


def _ordered_line() -> tuple[Channel, IO[bytes]]:
    """Return our end of a line from an agent that has its order, and the end that QEMU inherits.

    A pipe, since it holds all that an agent says before we come to read it. QEMU writes byte by
    byte, and a socket is full after some 280 bytes that are not read yet (each takes a buffer of
    its own): then QEMU waits for us, the guest's serial port with it, and no two boots are equal.
    """
    ours, theirs = os.pipe()
    with suppress(OSError):  # too many pipes of this user's: then it holds 64 KiB
        fcntl.fcntl(theirs, fcntl.F_SETPIPE_SZ, _SAID_AT_ONCE)
    return Channel(ours, os.open(os.devnull, os.O_WRONLY)), open(theirs, "wb", buffering=0)


def _start(argv: list[str], files: GuestFds, stderr: int) -> subprocess.Popen[bytes]:
    """QEMU in a group of its own (a Ctrl-C is ours to handle) that the kernel kills when we die."""
    return subprocess.Popen(
        process.kill_with_parent(argv),
        stdin=subprocess.DEVNULL,
        stdout=stderr,
        stderr=stderr,
        pass_fds=files.all,
        process_group=0,
    )


def _text(file: int) -> str:
    return os.pread(file, os.fstat(file).st_size, 0).decode(errors="replace")
