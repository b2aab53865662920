"""The VM host: the same agent as anywhere else, in a guest of its own."""

from __future__ import annotations

import platform
from collections.abc import Callable

from yogurtbench.hosts import native
from yogurtbench.hosts.host import AgentHost
from yogurtbench.hosts.vm import accelerator, image, luggage, qemu
from yogurtbench.hosts.vm.accelerator import Probe
from yogurtbench.hosts.vm.image import GuestImage
from yogurtbench.hosts.vm.qemu import Guest
from yogurtbench.records import Environment


def host(kernel: str, clock: str, say: Callable[[str], None]) -> AgentHost:
    """A host that boots a kernel (the axis: ``host``, a Debian release, a path) and runs trials in it.

    ``say`` is told of what takes long. Raises HostError, on entry, where the guest cannot be built or booted.
    """
    return AgentHost(lambda: _start(kernel, clock, say))


def _start(kernel: str, clock: str, say: Callable[[str], None]) -> tuple[Guest, Environment, dict[str, bool]]:
    guest_image = image.ensure(kernel, say=say)
    chosen = _accelerator(guest_image, clock, say)
    guest = qemu.boot(guest_image, chosen.accelerator, overlay=luggage.overlay(), clock=clock)
    return guest, _environment(guest_image, guest, chosen), guest.ready["features"]


def _accelerator(guest_image: GuestImage, clock: str, say: Callable[[str], None]) -> Probe:
    if clock == "instructions":
        return Probe("tcg", "only emulation can count the guest's instructions")
    return accelerator.probe(guest_image, say=say)


def _environment(guest_image: GuestImage, guest: Guest, chosen: Probe) -> Environment:
    hardware, release = guest.hardware, guest.ready["kernel"]
    identity = {
        "lab": "vm",
        "kernel": release,
        "accelerator": hardware.accelerator,
        "clock": hardware.clock,
        "guest": guest_image.fingerprint,
        "qemu": qemu.version(),
        "model": f"{hardware.machine}, {hardware.cpus} CPUs, {hardware.memory >> 20} MiB",
        **_identity_on(hardware.clock),
        **guest.ready["versions"],
    }
    system = {"machine": native.machine_name(), "kernel of the machine": platform.release()}
    reasons = {"accelerator": chosen.reason}
    node = platform.node()
    return Environment(node, "vm", hardware.accelerator, hardware.clock, release, identity, system, reasons)


def _identity_on(clock: str) -> dict[str, str]:
    """The wall clock depends on the machine, the count of instructions on every byte of the code that measures."""
    if clock == "instructions":
        return {"agent": luggage.agent_digest()}
    return {"machine": native.machine_name()}
