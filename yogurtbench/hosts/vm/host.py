"""The VM host: the same agent as anywhere else, in a guest of its own."""

from __future__ import annotations

import platform
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from yogurtbench.core import allowance
from yogurtbench.core.builds import ProgramBuilds
from yogurtbench.core.records import Environment, Trial
from yogurtbench.hosts import native
from yogurtbench.hosts.base import AgentHost
from yogurtbench.hosts.machine import Machine
from yogurtbench.hosts.vm import accelerator, image, qemu, scheduling, snapshot, tracing
from yogurtbench.hosts.vm.accelerator import AcceleratorChoice
from yogurtbench.hosts.vm.guest import Guest, boot_guest
from yogurtbench.hosts.vm.image import GuestImage
from yogurtbench.hosts.vm.overlay import agent_digest, build_overlay, read_base_programs
from yogurtbench.hosts.vm.qemu import MachineConfig
from yogurtbench.hosts.vm.tracing import Recorded


def host(kernel: str, say: Callable[[str], None]) -> AgentHost:
    """Return a host that boots a kernel (``host``, a Debian release, a path) for its trials.

    ``say`` gets a line for what takes long. Raises HostError, on entry, where the guest cannot be
    built or booted.
    """
    return AgentHost(lambda: _start(kernel, say))


def _start(kernel: str, say: Callable[[str], None]) -> tuple[Guest, Environment, dict[str, bool]]:
    guest_image = image.ensure(kernel, say=say)
    chosen = accelerator.probe_accelerator(guest_image, say=say)
    overlay = build_overlay(guest_image)
    if chosen.accelerator == "tcg":
        guest = snapshot.start_emulated(guest_image, overlay, say)
    else:
        guest = boot_guest(guest_image, chosen.accelerator, overlay=overlay, say=say)
    return (
        guest,
        _environment(guest_image, guest.hardware, guest.ready, chosen),
        guest.ready["features"],
    )


class SnapshotHost(AgentHost):
    """The VM host on the instruction clock: every trial begins from one saved guest.

    So trials cannot disturb each other, not even ``jobs`` of them side by side. On entry the guest
    is taken from the cache, or booted and saved. Raises HostError where that fails, or the memory
    is too small for so many guests.

    ``compiled``: the texts that it compiles before it is saved, so that no trial has to; ``base``:
    a folder with the wire programs of another time, which it compiles too; ``jobs``: None for as
    many as CPUs and memory allow; ``anew``: the guest is booted even where a saved one is kept.
    """

    def __init__(
        self,
        kernel: str,
        say: Callable[[str], None],
        compiled: ProgramBuilds,
        base: Path | None = None,
        *,
        jobs: int | None = 1,
        anew: bool = False,
    ) -> None:
        self._kernel, self._say, self._asked, self._anew = kernel, say, jobs, anew
        self._compiled = replace(compiled, base=read_base_programs(base)) if base else compiled
        self._saved: snapshot.Snapshot

    def __enter__(self) -> Self:
        guest_image = image.ensure(self._kernel, say=self._say)
        overlay = build_overlay(guest_image)
        # Refuses more than there is, before anything boots.
        needed = qemu.memory_for(guest_image, overlay, self._asked or 1)
        self.jobs = self._asked or _as_many_as_fit(needed, self._say)
        if not scheduling.is_permitted():
            self._say(
                f"the instruction clock: {scheduling.REFUSED} (yogurtbench doctor says how to "
                "permit it)"
            )
        make = snapshot.make_snapshot if self._anew else snapshot.ensure_snapshot
        self._saved = make(guest_image, overlay, self._compiled, self._say)
        chosen = AcceleratorChoice("tcg", "only emulation can count the guest's instructions")
        self.features = self._saved.ready["features"]
        self.environment = _environment(
            guest_image, self._saved.hardware, self._saved.ready, chosen
        )
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._saved.close()

    def record(self, trial: Trial) -> Recorded:
        """Run a trial and record what the guest executes. Raises HostError."""
        return tracing.record_trial(self._saved, trial, self._say)

    def _ordered(self, trial: Trial) -> Guest:
        return snapshot.resume(self._saved, {"op": "trial", "trial": trial.to_json()})

    def _release(self, machine: Machine) -> None:
        machine.close()  # each trial has its own

    def _give_up(self, machine: Machine) -> None:
        machine.close()


def _as_many_as_fit(needed: int, say: Callable[[str], None]) -> int:
    """Return a guest for each CPU, as far as there is memory for so many, ``needed`` bytes each.

    One in any case.
    """
    cpus, memory = allowance.available_cpus(), allowance.available_memory()
    fit = min(cpus, max(1, memory // needed))
    if fit < cpus:
        side_by_side = "one trial at a time" if fit == 1 else f"{fit} trials side by side"
        each = f"a guest needs {needed >> 20} MiB of memory and {memory >> 20} MiB are available"
        say(f"{side_by_side}, though {cpus} CPUs could do more: {each}")
    return fit


def _environment(
    guest_image: GuestImage,
    hardware: MachineConfig,
    ready: dict[str, Any],
    chosen: AcceleratorChoice,
) -> Environment:
    release = ready["kernel"]
    identity = {
        "lab": "vm",
        "kernel": release,
        "accelerator": hardware.accelerator,
        "clock": hardware.clock,
        "guest": guest_image.fingerprint,
        "qemu": qemu.qemu_version(),
        "model": f"{hardware.machine}, {hardware.cpus} CPUs, {hardware.memory >> 20} MiB",
        **_identity_on(hardware.clock),
        **ready["versions"],
    }
    system = {"machine": native.machine_name(), "kernel of the machine": platform.release()}
    reasons = {"accelerator": chosen.reason}
    node = platform.node()
    return Environment(
        node, "vm", hardware.accelerator, hardware.clock, release, identity, system, reasons
    )


def _identity_on(clock: str) -> dict[str, str]:
    """Return what results depend on: the machine, or on the instruction clock the agent's code."""
    if clock == "instructions":
        return {"agent": agent_digest()}
    return {"machine": native.machine_name()}
