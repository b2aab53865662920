"""Choose KVM or emulation: only a boot that reaches user space is believed."""

from __future__ import annotations

import grp
import hashlib
import json
import os
import shutil
import stat
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from yogurtbench.core import process
from yogurtbench.core.errors import HostError
from yogurtbench.core.install_hints import as_root
from yogurtbench.core.process import CommandFailed
from yogurtbench.core.records import canonical
from yogurtbench.hosts import requirements
from yogurtbench.hosts.vm import cache, console_log, qemu
from yogurtbench.hosts.vm.cache import Say
from yogurtbench.hosts.vm.image import GuestImage, recipe

DEVICE = Path("/dev/kvm")
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_DEADLINE = 15.0
_MEMORY_MIB = 256
#: Answers for other kernels and QEMUs that are worth keeping.
_KEPT = 32


@dataclass(frozen=True, slots=True)
class AcceleratorChoice:
    """The accelerator of the guest and why, in one sentence."""

    accelerator: Literal["kvm", "tcg"]
    reason: str


def probe_accelerator(
    image: GuestImage, *, say: Say, deadline: float = _DEADLINE, device: Path = DEVICE
) -> AcceleratorChoice:
    """Return KVM where a guest reaches user space under it in ``deadline`` seconds, else TCG.

    The answer is kept per kernel, QEMU and boot of this machine. Raises HostError where there is no
    QEMU.
    """
    if closed := obstacle(device):
        return AcceleratorChoice("tcg", closed.sentence)
    answer = cache.ensure_file(
        "accelerator", f"{_key(image)}.json", lambda: _probe_boot(image, deadline, say), keep=_KEPT
    )
    return AcceleratorChoice(**json.loads(answer.read_bytes()))


def known_accelerator(
    find: Callable[[], GuestImage | None], device: Path = DEVICE
) -> AcceleratorChoice | None:
    """Return :func:`probe`'s answer where it is known without a boot, else None.

    ``find`` gives the guest, None where it is not built yet; called where it matters.
    """
    if closed := obstacle(device):
        return AcceleratorChoice("tcg", closed.sentence)
    image = find() if shutil.which(qemu.PROGRAM) else None
    if image is None:
        return None
    answer = cache.kept_path("accelerator", f"{_key(image)}.json")
    return AcceleratorChoice(**json.loads(answer.read_bytes())) if answer else None


def command(image: GuestImage) -> list[str]:
    """Return QEMU's command line for the smallest guest with a user space."""
    return [
        *(
            qemu.PROGRAM,
            "-nodefaults",
            "-no-user-config",
            "-no-reboot",
            "-display",
            "none",
            "-nic",
            "none",
        ),
        *(
            "-accel",
            "kvm",
            "-cpu",
            "host",
            "-M",
            qemu.machine_type(),
            "-m",
            f"{_MEMORY_MIB}M",
            "-serial",
            "stdio",
        ),
        *("-kernel", str(image.kernel), "-initrd", str(image.smallest)),
        *("-append", "console=ttyS0 quiet panic=-1"),
    ]


def _probe_boot(image: GuestImage, deadline: float, say: Say) -> bytes:
    say(f"trying whether KVM runs a guest here (at most {deadline:g} s, once)")
    return json.dumps(asdict(_boot(image, deadline))).encode()


def _boot(image: GuestImage, deadline: float) -> AcceleratorChoice:
    started = time.monotonic()
    try:
        done = process.run(process.kill_with_parent(command(image)), timeout=deadline, check=False)
    except CommandFailed as failure:
        if recipe.MARKER not in failure.completed.stdout:
            said = "".join(
                f" ({line})" for line in console_log.log_lines(failure.completed.stderr)[:1]
            )
            return AcceleratorChoice(
                "tcg",
                "KVM is offered, but a guest under it stopped: no user space within "
                f"{deadline:g} s{said}",
            )
        done = failure.completed
    if recipe.MARKER in done.stdout:
        return AcceleratorChoice(
            "kvm", f"a guest reached user space under KVM in {time.monotonic() - started:.1f} s"
        )
    return AcceleratorChoice(
        "tcg", f"KVM is offered, but QEMU {_end(done.code)} before user space: {_last(done)}"
    )


def _end(code: int) -> str:
    return f"was ended by signal {-code}" if code < 0 else f"ended with exit code {code}"


def _last(done: process.Completed) -> str:
    said = console_log.log_lines(done.stderr) or console_log.log_lines(done.stdout)
    return " | ".join(said[-2:]) or "it said nothing"


@dataclass(frozen=True, slots=True)
class Obstacle:
    """Why KVM cannot even be tried, and the command after which it can (empty: none is known)."""

    why: str
    mend: str = ""

    @property
    def sentence(self) -> str:
        """The reason, with the command where one is known."""
        return f"{self.why}: {self.mend}" if self.mend else self.why


def obstacle(device: Path = DEVICE) -> Obstacle | None:
    """Return what keeps this user from trying KVM, None where nothing does."""
    try:
        found = device.stat()
        if not stat.S_ISCHR(found.st_mode):
            return Obstacle(f"{device} is not a device")
        try:
            os.close(os.open(device, os.O_RDWR | os.O_CLOEXEC))
        except PermissionError:
            return closed_device(device, found)
    except FileNotFoundError:
        return Obstacle(f"there is no {device}: this machine offers no hardware virtualisation")
    except OSError as error:
        return Obstacle(f"{device} cannot be opened: {error.strerror}")
    return None


def closed_device(device: Path, found: os.stat_result) -> Obstacle:
    """Return what opens a device that this user may not open: joining the group that may."""
    closed = f"{device} may not be opened by this user"
    try:
        by_group = found.st_gid and found.st_mode & stat.S_IRWXG
        group = grp.getgrgid(found.st_gid).gr_name if by_group else ""
    except KeyError:
        group = ""
    if not group:
        return Obstacle(f"{closed}, nor by a group to join; a container needs --device {device}")
    join = as_root(["usermod", "--append", "--groups", group, requirements.user()[0]])
    return Obstacle(f"{closed} (log in again after mending)", join)


def _key(image: GuestImage) -> str:
    program = shutil.which(qemu.PROGRAM)
    if program is None:
        raise HostError(qemu.missing_qemu())
    facts = [
        image.fingerprint,
        program,
        qemu.qemu_version(),
        os.uname().release,
        _BOOT_ID.read_text().strip(),
    ]
    return hashlib.sha256(canonical(facts).encode()).hexdigest()[:16]
