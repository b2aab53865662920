"""The guest as a machine: QEMU's command line, its machine model, memory and version.

The guest is hermetic: no disk, no network, no firmware settings of the user. QEMU is given open
descriptors instead of paths (an unlinked initramfs, a console log in memory, socket pairs for the
agent and the monitor), so that when either side dies, SIGKILL included, the kernel clears
everything away.
"""

from __future__ import annotations

import hashlib
import math
import os
import re
import shutil
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import psutil

from yogurtbench.agent import checkpoint
from yogurtbench.core import install_hints, process
from yogurtbench.core.errors import HostError
from yogurtbench.core.records import canonical
from yogurtbench.hosts.vm.image import GuestImage

PROGRAM = "qemu-system-x86_64"
#: The guest's hardware must not change when QEMU does; a QEMU that has outgrown this gives its own
#: "pc".
_MACHINE = "pc-i440fx-7.2"
_MIB = 1 << 20
#: What compiling the wires and running the loads takes beside the guest's own files.
_WORKING_MEMORY = 640 * _MIB
#: About what the files of a guest take that is not built yet.
USUAL_FILES = 250 * _MIB

#: The emulated processor. Page tables of five levels are only slow. Without ERMS and FSRM the
#: kernel copies and clears memory eight bytes at a time (rep movsq, clear_page_rep) instead of one;
#: the emulator executes each repetition, and booting takes a fifth less.
_EMULATED_CPU = "max,la57=off,erms=off,fsrm=off"

_KERNEL_ARGUMENTS = (
    "console=ttyS0",
    "quiet",
    # A wire that oopses the kernel ends the guest, its text on the console and QEMU with it
    # (-no-reboot).
    "oops=panic",
    "panic=-1",
    "random.trust_cpu=on",
    # tmpfs as root would be limited to half the memory.
    "rootfstype=ramfs",
    "nokaslr",
)


@dataclass(frozen=True, slots=True)
class MachineConfig:
    """The machine that QEMU emulates.

    ``memory`` in bytes; ``clock`` is wall or instructions.
    """

    accelerator: str
    clock: str
    machine: str
    memory: int
    cpus: int


@dataclass(frozen=True, slots=True)
class TraceFiles:
    """A plugin of QEMU's, and the descriptors that it writes its blocks and steps to (tracing)."""

    plugin: Path
    blocks: int
    steps: int

    def arguments(self) -> list[str]:
        """Return the options of QEMU's command line."""
        written = f"blocks={_path_of(self.blocks)},steps={_path_of(self.steps)}"
        return ["-plugin", f"{self.plugin},{written}"]


@dataclass(frozen=True, slots=True)
class GuestFds:
    """Descriptors that QEMU inherits.

    ``order`` is None without (it is of guests that stop themselves). ``saved``: the guest goes on
    from a saved state, which its monitor is given. ``trace`` is None where nothing is recorded.
    """

    initramfs: int
    console: int
    agent: int
    monitor: int
    order: int | None = None
    saved: bool = False
    trace: TraceFiles | None = None

    @property
    def all(self) -> tuple[int, ...]:
        """Every descriptor there is."""
        traced = (self.trace.blocks, self.trace.steps) if self.trace else ()
        everyone = (self.initramfs, self.console, self.agent, self.monitor, self.order, *traced)
        return tuple(descriptor for descriptor in everyone if descriptor is not None)


def qemu_command(image: GuestImage, hardware: MachineConfig, files: GuestFds) -> list[str]:
    """QEMU's command line for a guest; pure."""
    return [
        *(
            PROGRAM,
            "-name",
            "yogurtbench",
            "-nodefaults",
            "-no-user-config",
            "-no-reboot",
            "-display",
            "none",
        ),
        *("-nic", "none", "-M", hardware.machine, "-m", f"{hardware.memory // _MIB}M"),
        *_processor(hardware),
        *("-kernel", str(image.kernel), "-initrd", _path_of(files.initramfs)),
        *("-append", " ".join(_kernel_arguments(hardware))),
        *(
            "-chardev",
            f"file,id=console,path={_path_of(files.console)}",
            "-serial",
            "chardev:console",
        ),
        *("-chardev", _agent_line(hardware, files), "-serial", "chardev:agent"),
        *(
            "-chardev",
            f"socket,id=monitor,fd={files.monitor}",
            "-mon",
            "chardev=monitor,mode=control",
        ),
        *(_clock_arguments(files) if hardware.clock == "instructions" else []),
        # the state is read when the monitor says so
        *(["-incoming", "defer"] if files.saved else []),
        *(files.trace.arguments() if files.trace else []),
    ]


def _agent_line(hardware: MachineConfig, files: GuestFds) -> str:
    """On the instruction clock an agent has its order, and only speaks."""
    if hardware.clock == "instructions":
        return f"file,id=agent,path={_path_of(files.agent)}"
    return f"socket,id=agent,fd={files.agent}"


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
    """Guest time is the count of instructions, nothing random is random, and the guest can stop
    itself.

    Once woken it does not stop again (unless its order says so, see snapshot.resume): a panic then
    ends it, as it does any other guest.
    """
    return [
        # until its monitor has been greeted: what is said to QEMU while a guest runs can move it
        "-S",
        *(
            "-icount",
            "shift=0,sleep=off",
            "-rtc",
            "base=2024-01-01,clock=vm",
            "-seed",
            "1",
            "-device",
            "pvpanic",
        ),
        *("-fw_cfg", f"name={checkpoint.ORDER_NAME},file={_path_of(files.order or 0)}"),
        *("-action", "panic=shutdown" if files.saved else "panic=pause"),
    ]


def _path_of(descriptor: int) -> str:
    return f"/proc/self/fd/{descriptor}"


def missing_qemu() -> str:
    """Return a sentence for a machine without QEMU."""
    return f"the guest needs {PROGRAM}: {install_hints.how_to_get('qemu')}"


@cache
def machine_type() -> str:
    """Our pinned machine model, or the generic one of a QEMU that does not know it.

    Raises HostError without QEMU.
    """
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


def needed_memory(files: int) -> int:
    """Return the bytes that a guest with so many bytes of files needs."""
    return math.ceil((2 * files + _WORKING_MEMORY) / (128 * _MIB)) * 128 * _MIB


def memory_for(image: GuestImage, overlay: Path, guests: int = 1) -> int:
    """Bytes of memory a guest needs: its files twice while they unpack, and room to work.

    Whole 128 MiB.

    Raises HostError where the machine has not that much to give to so many guests side by side.
    """
    needed = needed_memory(image.size + overlay.stat().st_size)
    available = psutil.virtual_memory().available
    if available < needed:
        raise HostError(
            f"the guest needs {needed // _MIB} MiB of memory and this machine has "
            f"{available // _MIB} MiB available: "
            "end other programs, or use --lab native"
        )
    if available < guests * needed:
        raise HostError(
            f"{guests} guests side by side need {guests * needed // _MIB} MiB of memory and "
            "this machine has "
            f"{available // _MIB} MiB available: --jobs {available // needed} would do"
        )
    return needed


def hardware_for(
    image: GuestImage,
    overlay: Path,
    accelerator: str,
    *,
    exact: bool,
    memory: int | None = None,
    cpus: int | None = None,
) -> MachineConfig:
    """Return the hardware of a guest; ``exact``: on the instruction clock.

    Raises HostError where memory is short.
    """
    return MachineConfig(
        accelerator,
        "instructions" if exact else "wall",
        machine_type() + ",hpet=off" * exact,  # with it the PIT, which the stop needs, is dead
        memory or memory_for(image, overlay),
        cpus or (1 if exact else min(2, len(os.sched_getaffinity(0)))),
    )


def state_fingerprint(
    image: GuestImage, overlay: Path, hardware: MachineConfig, order: dict[str, Any]
) -> str:
    """16 hex digits over all that decides the state in which a guest with this order comes to stand
    still.
    """
    argv = qemu_command(
        replace(image, kernel=Path(image.kernel.name)), hardware, GuestFds(0, 0, 0, 0, 0)
    )
    facts = [argv, image.fingerprint, overlay.stem, qemu_version(), order]
    return hashlib.sha256(canonical(facts).encode()).hexdigest()[:16]
