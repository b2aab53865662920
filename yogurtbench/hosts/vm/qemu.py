"""The guest as a machine: QEMU's command line, its monitor, and the booted guest with its agent.

The guest is hermetic: no disk, no network, no firmware settings of the user. QEMU is given open descriptors instead of
paths (an unlinked initramfs, a console log in memory, socket pairs for the agent and the monitor), so that when
either side dies, SIGKILL included, the kernel clears everything away.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import re
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack, nullcontext, suppress
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

import psutil

from yogurtbench.agent import checkpoint
from yogurtbench.agent.channel import Channel
from yogurtbench.core import install_hints, process
from yogurtbench.core.errors import HostError
from yogurtbench.core.records import canonical
from yogurtbench.hosts.vm import console_log, cpio, scheduling
from yogurtbench.hosts.vm.image import GuestImage

PROGRAM = "qemu-system-x86_64"
#: The guest's hardware must not change when QEMU does; a QEMU that has outgrown this gives its own "pc".
_MACHINE = "pc-i440fx-7.2"
_READY_SECONDS = {"kvm": 60.0, "tcg": 180.0}
#: Boots of one guest. Emulated ones with two CPUs die now and then (one in 32, in kernel text that is being patched).
_TRIES = 3
_QMP_SECONDS = 30.0
_LAST_WORDS_SECONDS = 0.5
_MIB = 1 << 20
#: What compiling the wires and running the loads takes beside the guest's own files.
_WORKING_MEMORY = 640 * _MIB

#: The emulated processor. Page tables of five levels are only slow. Without ERMS and FSRM the kernel copies and clears
#: memory eight bytes at a time (rep movsq, clear_page_rep) instead of one; the emulator executes each repetition, and
#: booting takes a fifth less.
_EMULATED_CPU = "max,la57=off,erms=off,fsrm=off"

_KERNEL_ARGUMENTS = (
    "console=ttyS0",
    "quiet",
    # A wire that oopses the kernel ends the guest, its text on the console and QEMU with it (-no-reboot).
    "oops=panic",
    "panic=-1",
    "random.trust_cpu=on",
    # tmpfs as root would be limited to half the memory.
    "rootfstype=ramfs",
    "nokaslr",
)


@dataclass(frozen=True, slots=True)
class MachineConfig:
    """What QEMU is asked to emulate. ``memory`` in bytes; ``clock`` is wall or instructions."""

    accelerator: str
    clock: str
    machine: str
    memory: int
    cpus: int


@dataclass(frozen=True, slots=True)
class GuestFds:
    """Descriptors that QEMU inherits. None without: ``order`` (of guests that stop themselves), ``state`` (saved)."""

    initramfs: int
    console: int
    agent: int
    monitor: int
    order: int | None = None
    state: int | None = None

    @property
    def all(self) -> tuple[int, ...]:
        """Every descriptor there is."""
        everyone = (self.initramfs, self.console, self.agent, self.monitor, self.order, self.state)
        return tuple(descriptor for descriptor in everyone if descriptor is not None)


def qemu_command(image: GuestImage, hardware: MachineConfig, files: GuestFds) -> list[str]:
    """QEMU's command line for a guest; pure."""
    return [
        *(PROGRAM, "-name", "yogurtbench", "-nodefaults", "-no-user-config", "-no-reboot", "-display", "none"),
        *("-nic", "none", "-M", hardware.machine, "-m", f"{hardware.memory // _MIB}M"),
        *_processor(hardware),
        *("-kernel", str(image.kernel), "-initrd", _path_of(files.initramfs)),
        *("-append", " ".join(_kernel_arguments(hardware))),
        *("-chardev", f"file,id=console,path={_path_of(files.console)}", "-serial", "chardev:console"),
        *("-chardev", f"socket,id=agent,fd={files.agent}", "-serial", "chardev:agent"),
        *("-chardev", f"socket,id=monitor,fd={files.monitor}", "-mon", "chardev=monitor,mode=control"),
        *(_clock_arguments(files) if hardware.clock == "instructions" else []),
        *(["-incoming", f"fd:{files.state}"] if files.state is not None else []),
    ]


def _processor(hardware: MachineConfig) -> list[str]:
    if hardware.accelerator == "kvm":
        return ["-accel", "kvm", "-cpu", "host", "-smp", str(hardware.cpus)]
    thread = "single" if hardware.clock == "instructions" else "multi"
    return ["-accel", f"tcg,thread={thread}", "-cpu", _EMULATED_CPU, "-smp", str(hardware.cpus)]


def _kernel_arguments(hardware: MachineConfig) -> tuple[str, ...]:
    """Emulation leaks nothing through speculation: there, guarding against it is only slow.

    Libraries that lie at the same addresses in all processes are translated once.
    """
    emulated = ("mitigations=off", "norandmaps") if hardware.accelerator == "tcg" else ()
    for_agent = ("--", "--still") if hardware.clock == "instructions" else ()
    return (*_KERNEL_ARGUMENTS, *emulated, *for_agent)


def _clock_arguments(files: GuestFds) -> list[str]:
    """Guest time is the count of instructions, nothing random is random, and the guest can stop itself.

    Once woken it does not stop again (unless it is told so, see snapshot.resume): a panic then ends it, as it does any
    other guest.
    """
    return [
        "-S",  # until its monitor has been greeted: what is said to QEMU while a guest runs can move it
        *("-icount", "shift=0,sleep=off", "-rtc", "base=2024-01-01,clock=vm", "-seed", "1", "-device", "pvpanic"),
        *("-fw_cfg", f"name={checkpoint.ORDER_NAME},file={_path_of(files.order or 0)}"),
        *("-action", "panic=pause" if files.state is None else "panic=shutdown"),
    ]


def _path_of(descriptor: int) -> str:
    return f"/proc/self/fd/{descriptor}"


def missing_qemu() -> str:
    """Return a sentence for a machine without QEMU."""
    return f"the guest needs {PROGRAM}: {install_hints.how_to_get('qemu')}"


@cache
def machine_type() -> str:
    """Our pinned machine model, or the generic one of a QEMU that does not know it. Raises HostError without QEMU."""
    if not shutil.which(PROGRAM):
        raise HostError(missing_qemu())
    known = process.run([PROGRAM, "-M", "help"]).stdout
    return _MACHINE if re.search(rf"^{re.escape(_MACHINE)}\s", known, re.MULTILINE) else "pc"


@cache
def qemu_version() -> str:
    """QEMU's version, with the distribution's revision."""
    said = process.run([PROGRAM, "--version"]).stdout
    found = re.search(r"version (\S+( \(.*\))?)", said)
    return found[1] if found else said.splitlines()[0]


def memory_for(image: GuestImage, overlay: Path, guests: int = 1) -> int:
    """Bytes of memory a guest needs: its files twice while they unpack, and room to work; whole 128 MiB.

    Raises HostError where the machine has not that much to give to so many guests side by side.
    """
    files = image.size + overlay.stat().st_size
    needed = math.ceil((2 * files + _WORKING_MEMORY) / (128 * _MIB)) * 128 * _MIB
    available = psutil.virtual_memory().available
    if available < needed:
        raise HostError(
            f"the guest needs {needed // _MIB} MiB of memory and this machine has {available // _MIB} MiB available: "
            "end other programs, or use --lab native"
        )
    if available < guests * needed:
        raise HostError(
            f"{guests} guests side by side need {guests * needed // _MIB} MiB of memory and this machine has "
            f"{available // _MIB} MiB available: --jobs {available // needed} would do"
        )
    return needed


class QmpClient:
    """QEMU's monitor (QMP) over one end of a socket pair; its messages are JSON lines, as the agent's."""

    def __init__(self, line: socket.socket) -> None:
        self._socket = line
        self._channel = Channel(line.fileno(), line.fileno())
        self._greeted = False

    def execute(self, command: str, **arguments: Any) -> Any:
        """Run a QMP command; what it returns. Raises HostError where QEMU refuses, EOFError where it is gone."""
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
        """Wait for the guest to stop by itself, without a word. Raises TimeoutError, EOFError where QEMU is gone."""
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


class NeverReady(HostError):
    """A guest died or fell silent before its agent's first word."""


class Guest:
    """A booted guest (a hosts.machine.Machine) whose agent has said that it is ready; ``ready`` is what it said."""

    channel: Channel
    ready: dict[str, Any]

    def __init__(
        self,
        image: GuestImage,
        hardware: MachineConfig,
        initramfs: IO[bytes],
        order: IO[bytes] | None = None,
        state: IO[bytes] | None = None,
    ) -> None:
        self.hardware = hardware
        self._console = os.memfd_create("console")
        self._stderr = os.memfd_create("stderr")
        agent, agents = socket.socketpair()
        monitor, monitors = socket.socketpair()
        optional = (file.fileno() if file else None for file in (order, state))
        files = GuestFds(initramfs.fileno(), self._console, agents.fileno(), monitors.fileno(), *optional)
        exact = hardware.clock == "instructions"
        with agents, monitors, scheduling.pin_to_idle_cpu() if exact else nullcontext():
            self._process = _start(qemu_command(image, hardware, files), files, self._stderr)
        if exact:
            scheduling.prioritise_main_thread(self._process.pid)
        self.channel = Channel(*(2 * [agent.detach()]))
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
            raise NeverReady(f"the guest was not ready within {seconds:g} s: {self.failure_reason()}") from None
        except EOFError:
            raise NeverReady(f"the guest died while it booted: {self.failure_reason()}") from None
        self.ready = said

    def failure_reason(self) -> str:
        """Why it died: the telling lines of its console, and what QEMU itself had to say."""
        with suppress(subprocess.TimeoutExpired):  # a guest that is just panicking is still writing
            self._process.wait(_LAST_WORDS_SECONDS)
        told = (console_log.failure_lines(_text(self._console)), *console_log.log_lines(_text(self._stderr))[-3:])
        return " | ".join(filter(None, told)) or "no output"

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

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def hardware_for(
    image: GuestImage,
    overlay: Path,
    accelerator: str,
    *,
    exact: bool,
    memory: int | None = None,
    cpus: int | None = None,
) -> MachineConfig:
    """Return the hardware of a guest; ``exact``: on the instruction clock. Raises HostError where memory is short."""
    return MachineConfig(
        accelerator,
        "instructions" if exact else "wall",
        machine_type() + ",hpet=off" * exact,  # with it the PIT, which the stop needs, is dead
        memory or memory_for(image, overlay),
        cpus or (1 if exact else min(2, len(os.sched_getaffinity(0)))),
    )


def state_fingerprint(image: GuestImage, overlay: Path, hardware: MachineConfig, order: dict[str, Any]) -> str:
    """16 hex digits over all that decides the state in which a guest with this order comes to stand still."""
    argv = qemu_command(replace(image, kernel=Path(image.kernel.name)), hardware, GuestFds(0, 0, 0, 0, 0))
    facts = [argv, image.fingerprint, overlay.stem, qemu_version(), order]
    return hashlib.sha256(canonical(facts).encode()).hexdigest()[:16]


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

    One that dies or falls silent before that is booted again, at most twice, and ``say`` is told.
    ``accelerator`` is kvm or tcg, ``memory`` bytes (default: what the image needs), ``cpus`` by default at most two.
    One with an ``order`` for its boot counts time in instructions, and stands still when it has carried it out.
    Raises HostError where QEMU is missing, memory is short or the guest never comes up.
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


def _booted(image: GuestImage, hardware: MachineConfig, initramfs: IO[bytes], order: IO[bytes] | None) -> Guest:
    """Return one boot. Raises NeverReady; HostError where the agent says that its kernel does not do."""
    with ExitStack() as undo:
        guest = Guest(image, hardware, initramfs, order)
        undo.callback(guest.close)
        guest.wait_until_ready(_READY_SECONDS[hardware.accelerator])
        if lacking := guest.ready.get("lacking"):
            raise HostError(image.lacks(lacking, "which the instruction clock needs"))
        undo.pop_all()
        return guest


def order_file(order: dict[str, Any]) -> IO[bytes]:
    """Return an unlinked file with the order that a guest finds when it wakes, of the one size that the guest knows."""
    content = json.dumps(order).encode()
    if len(content) > checkpoint.ORDER_SIZE:
        raise HostError(f"an order of {len(content)} bytes is more than a guest takes ({checkpoint.ORDER_SIZE})")
    file = tempfile.TemporaryFile()  # noqa: SIM115  # the caller closes it
    file.write(content.ljust(checkpoint.ORDER_SIZE, b"\0"))
    file.flush()
    return file


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
