"""KVM is believed only where a guest reaches user space.

QEMUs that abort, hang and boot are stand-ins on PATH.
"""

import os
import time
from pathlib import Path

import pytest

from yogurtbench.core.errors import HostError
from yogurtbench.hosts.vm import accelerator, qemu
from yogurtbench.hosts.vm.image import GuestImage, recipe

ABORTS = "echo 'error: failed to set MSR 0x38f to 0x70ff' >&2; kill -ABRT $$"
HANGS = "echo 'KVM internal error. Suberror: 1' >&2; echo $$ > $RUNNING; exec sleep 600"
BOOTS = f"echo {recipe.MARKER}"
REFUSES = "echo 'Could not access KVM kernel module: Permission denied' >&2; exit 1"
STUCK_AFTERWARDS = f"echo {recipe.MARKER}; exec sleep 600"


@pytest.fixture
def kvm(tmp_path):
    """A device that opens."""
    return Path("/dev/null")


@pytest.fixture
def probe(tmp_path, monkeypatch, kvm):
    """Probes with a QEMU that does what a script says; also counts what it told the user."""
    monkeypatch.setenv("YOGURTBENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("RUNNING", str(tmp_path / "running"))
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    guest = GuestImage(tmp_path / "vmlinuz", "6.12", (), tmp_path / "smallest.cpio", "f" * 16, {})

    def with_qemu(script, deadline=5.0, device=kvm, said=None):
        stand_in = tmp_path / qemu.PROGRAM
        asked = (
            'case "$*" in *--version*) echo "QEMU emulator version 7.2.22"; exit;; "-M '
            'help") echo "pc  x"; exit;; esac'
        )
        stand_in.write_text(f"#!/bin/sh\n{asked}\n{script}\n")
        stand_in.chmod(0o755)
        qemu.qemu_version.cache_clear()
        qemu.machine_type.cache_clear()
        return accelerator.probe_accelerator(
            guest, say=(said if said is not None else []).append, deadline=deadline, device=device
        )

    yield with_qemu
    qemu.qemu_version.cache_clear()
    qemu.machine_type.cache_clear()


def test_a_guest_that_reaches_user_space_is_kvm(probe):
    found = probe(BOOTS)
    assert found.accelerator == "kvm"
    assert "reached user space under KVM" in found.reason


def test_one_that_has_reached_it_may_hang_afterwards(probe):
    assert probe(STUCK_AFTERWARDS, deadline=0.5).accelerator == "kvm"


def test_a_qemu_that_aborts_means_emulation_and_says_why(probe):
    found = probe(ABORTS)
    assert found.accelerator == "tcg"
    assert found.reason == (
        "KVM is offered, but QEMU was ended by signal 6 before user space: error: failed to "
        "set MSR 0x38f to 0x70ff"
    )


def test_a_qemu_that_hangs_means_emulation_and_is_ended(probe, tmp_path):
    began = time.monotonic()
    found = probe(HANGS, deadline=0.5)
    assert found.accelerator == "tcg"
    assert found.reason == (
        "KVM is offered, but a guest under it stopped: no user space within 0.5 s (KVM internal "
        "error. Suberror: 1)"
    )
    assert time.monotonic() - began < 4
    assert not Path("/proc", (tmp_path / "running").read_text().strip()).exists()


def test_a_qemu_that_refuses_means_emulation(probe):
    assert (
        "QEMU ended with exit code 1 before user space: Could not access KVM"
        in probe(REFUSES).reason
    )


def test_the_answer_is_kept_and_the_second_time_costs_nothing(probe):
    said = []
    first = probe(ABORTS, said=said)
    assert probe(BOOTS, said=said) == first
    assert len(said) == 1


def test_a_machine_without_kvm_is_not_made_to_wait(probe, tmp_path):
    said = []
    found = probe(BOOTS, device=tmp_path / "kvm", said=said)
    assert found.accelerator == "tcg"
    assert "offers no hardware virtualisation" in found.reason
    assert not said


def test_what_is_no_device_is_not_tried(probe, tmp_path):
    (tmp_path / "kvm").touch()
    assert probe(BOOTS, device=tmp_path / "kvm").accelerator == "tcg"


def test_a_device_that_may_not_be_opened_names_the_command_that_mends_it(probe, kvm, monkeypatch):
    def refuse(path, flags):
        raise PermissionError

    monkeypatch.setattr(accelerator.os, "open", refuse)
    reason = probe(BOOTS).reason
    assert "may not be opened by this user" in reason and "--device" in reason
    join = accelerator.Obstacle("it is closed", "usermod --append --groups kvm me")
    monkeypatch.setattr(accelerator, "closed_device", lambda device, found: join)
    assert probe(BOOTS).reason == "it is closed: usermod --append --groups kvm me"


def test_a_device_that_cannot_even_be_looked_at_is_not_tried(probe, monkeypatch):
    class Hidden(type(Path())):
        def stat(self, **_options):
            raise PermissionError(13, "Permission denied")

    assert probe(BOOTS, device=Hidden("/dev/kvm")).reason.endswith(
        "cannot be opened: Permission denied"
    )


def test_a_machine_without_qemu_is_shown_how_to_get_it(probe, kvm, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path / "nothing"))
    with pytest.raises(HostError, match="apt-get install qemu-system-x86"):
        accelerator._key(GuestImage(tmp_path / "vmlinuz", "6.12", (), tmp_path / "x", "f", {}))
