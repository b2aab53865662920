import json
import os
import socket
import sys
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from yogurtbench.core.builds import ProgramBuilds
from yogurtbench.core.errors import HostError
from yogurtbench.hosts.vm import console_log, qemu
from yogurtbench.hosts.vm.guest import _READY_SECONDS, boot_guest
from yogurtbench.hosts.vm.image import GuestImage
from yogurtbench.hosts.vm.qemu import GuestFds, MachineConfig
from yogurtbench.hosts.vm.qmp import QmpClient

NOTHING_TO_COMPILE = {"op": "compile", "texts": ProgramBuilds().to_json()}


DATA = Path(__file__).parents[2] / "data"
FILES = GuestFds(initramfs=3, console=4, agent=5, monitor=6)


def guest_image(folder: Path, size: int = 1 << 20) -> GuestImage:
    archive = folder / "root.cpio"
    archive.write_bytes(b"")
    os.truncate(archive, size)
    return GuestImage(
        folder / "vmlinuz", "6.12", (archive,), folder / "smallest.cpio", "f" * 16, {}
    )


def hardware(**other: object) -> MachineConfig:
    return MachineConfig(
        **{
            "accelerator": "tcg",
            "clock": "wall",
            "machine": "pc",
            "memory": 1 << 30,
            "cpus": 2,
            **other,
        }
    )


def value_of(argv: list[str], option: str) -> str:
    return argv[argv.index(option) + 1]


class TestCommand:
    def test_the_guest_is_hermetic(self, tmp_path):
        argv = qemu.qemu_command(guest_image(tmp_path), hardware(), FILES)
        assert {"-nodefaults", "-no-user-config", "-no-reboot"} <= set(argv)
        assert value_of(argv, "-nic") == "none"
        assert not {"-drive", "-hda", "-netdev", "-virtfs", "-device"} & set(argv)

    def test_it_is_given_descriptors_and_no_paths_to_write_to(self, tmp_path):
        argv = qemu.qemu_command(guest_image(tmp_path), hardware(), FILES)
        assert value_of(argv, "-initrd") == "/proc/self/fd/3"
        assert "socket,id=agent,fd=5" in argv

    def test_an_agent_that_has_its_order_only_speaks(self, tmp_path):
        argv = qemu.qemu_command(
            guest_image(tmp_path),
            hardware(clock="instructions", cpus=1),
            replace(FILES, order=7),
        )
        assert "file,id=agent,path=/proc/self/fd/5" in argv
        assert not [word for word in argv if word.startswith("socket,id=agent")]

    def test_the_console_comes_first_and_the_agent_second(self, tmp_path):
        argv = qemu.qemu_command(guest_image(tmp_path), hardware(), FILES)
        serials = [argv[n + 1] for n, word in enumerate(argv) if word == "-serial"]
        assert serials == ["chardev:console", "chardev:agent"]

    def test_a_kernel_that_oopses_ends_the_guest(self, tmp_path):
        arguments = value_of(
            qemu.qemu_command(guest_image(tmp_path), hardware(), FILES), "-append"
        ).split()
        assert {"oops=panic", "panic=-1", "quiet"} <= set(arguments)

    def test_real_hardware_keeps_its_mitigations_and_its_model(self, tmp_path):
        argv = qemu.qemu_command(guest_image(tmp_path), hardware(accelerator="kvm"), FILES)
        assert value_of(argv, "-cpu") == "host"
        assert "mitigations=off" not in value_of(argv, "-append")

    def test_a_qemu_that_has_outgrown_our_machine_model_gives_its_own(self, tmp_path, monkeypatch):
        (tmp_path / qemu.PROGRAM).write_text(
            "#!/bin/sh\necho 'pc                   Standard PC (alias of pc-i440fx-99.0)'\n"
        )
        (tmp_path / qemu.PROGRAM).chmod(0o755)
        monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
        qemu.machine_type.cache_clear()
        assert qemu.machine_type() == "pc"
        qemu.machine_type.cache_clear()


class TestMemory:
    def test_it_grows_with_the_image(self, tmp_path):
        image = guest_image(tmp_path, 300 << 20)
        needed = qemu.memory_for(image, image.archives[0])
        assert needed % (128 << 20) == 0 and needed >= 4 * (300 << 20)

    def test_a_small_machine_is_reported_in_one_sentence(self, tmp_path, monkeypatch):
        few = psutil.virtual_memory()._replace(available=300 << 20)
        monkeypatch.setattr(qemu.psutil, "virtual_memory", lambda: few)
        image = guest_image(tmp_path)
        with pytest.raises(
            HostError, match=r"needs \d+ MiB of memory and this machine has 300 MiB available"
        ):
            qemu.memory_for(image, image.archives[0])

    def test_more_guests_than_there_is_room_for_are_refused_and_shown_how_many_would_do(
        self, tmp_path, monkeypatch
    ):
        image = guest_image(tmp_path)
        needed = qemu.memory_for(image, image.archives[0])
        room = psutil.virtual_memory()._replace(available=2 * needed + 1)
        monkeypatch.setattr(qemu.psutil, "virtual_memory", lambda: room)
        assert qemu.memory_for(image, image.archives[0], 2) == needed
        with pytest.raises(
            HostError, match=r"3 guests side by side need \d+ MiB .*: --jobs 2 would do"
        ):
            qemu.memory_for(image, image.archives[0], 3)


class TestConsole:
    def test_a_panic_is_reported_without_its_call_trace(self):
        told = console_log.failure_lines((DATA / "console-panic.txt").read_text())
        assert told == "sysrq: Trigger a crash | Kernel panic - not syncing: sysrq triggered crash"

    def test_the_victim_of_memory_shortage_is_named(self):
        told = console_log.failure_lines((DATA / "console-oom.txt").read_text())
        assert "Out of memory: Killed process 158 (python3)" in told

    def test_an_oops_is_reported_with_its_place(self):
        text = (
            "[    9.1] BUG: kernel NULL pointer dereference, address: 0000000000000010\r\n"
            "[    9.2] #PF: supervisor read access in kernel mode\r\n"
            "[    9.3] Oops: Oops: 0000 [#1] PREEMPT SMP NOPTI\r\n"
            "[    9.4] RIP: 0010:netkit_xmit+0x1a/0x300 [netkit]\r\n"
            "[    9.5] Kernel panic - not syncing: Fatal exception in interrupt\r\n"
        )
        assert console_log.failure_lines(text) == (
            "BUG: kernel NULL pointer dereference, address: 0000000000000010 | Oops: Oops: "
            "0000 [#1] PREEMPT SMP NOPTI"
            " | RIP: 0010:netkit_xmit+0x1a/0x300 [netkit] | Kernel panic - not syncing: Fatal "
            "exception in interrupt"
        )

    def test_without_a_panic_the_last_lines_are_reported(self):
        assert (
            console_log.failure_lines("a\nb\n\n" + "\n".join("cdefgh")) == "c | d | e | f | g | h"
        )

    def test_of_a_traceback_only_what_happened_is_reported(self):
        text = (
            'Traceback (most recent call last):\r\n  File "/usr/lib/python3.13/runpy.py", '
            "line 198, in _run\r\n"
            "    return _run_code(code)\r\n           ^^^^^^^^^^^^^^^\r\nOSError: [Errno 1] "
            "iopl\r\nlater\r\n"
        )
        assert console_log.failure_lines(text) == "OSError: [Errno 1] iopl | later"

    def test_silence_is_empty(self):
        assert console_log.failure_lines("") == ""


class TestMonitor:
    def test_a_refusal_is_a_sentence(self):
        ours, theirs = socket.socketpair()
        theirs.sendall(
            b'{"QMP": {}}\n{"return": {}}\n{"event": "STOP"}\n{"error": {"class": "x", '
            b'"desc": "no such thing"}}\n'
        )
        with theirs, pytest.raises(HostError, match="QEMU refused migrate: no such thing"):
            QmpClient(ours).execute("migrate", uri="x")
        ours.close()

    def test_it_waits_for_the_stop_without_a_word(self):
        ours, theirs = socket.socketpair()
        with ours, theirs:
            theirs.sendall(b'{"event": "GUEST_PANICKED"}\n{"event": "STOP"}\n')
            QmpClient(ours).wait_until_stopped(10)
            with pytest.raises(TimeoutError):
                QmpClient(ours).wait_until_stopped(0.01)
            theirs.setblocking(False)
            with pytest.raises(BlockingIOError):
                theirs.recv(1)

    def test_a_guest_that_is_to_stand_still_does_not_run_before_its_monitor_was_greeted(
        self, tmp_path
    ):
        files = GuestFds(initramfs=3, console=4, agent=5, monitor=6, order=7)
        argv = qemu.qemu_command(
            guest_image(tmp_path), hardware(clock="instructions", cpus=1), files
        )
        assert "-S" in argv


#: A stand-in for QEMU and its guest: its monitor agrees to everything, its agent is ready, and
#: neither does more.
READY = {"event": "ready", "kernel": "6.12", "versions": {}, "features": {}, "lacking": []}
AGENT = """import os, re, sys, time
agent, monitor = (
    int(re.search(f"id={name},(?:fd=|path=/proc/self/fd/)([0-9]+)", str(sys.argv))[1])
    for name in ("agent", "monitor")
)
os.write(monitor, b'{"QMP": {}}\\n' + 2 * b'{"return": {}}\\n')
os.write(agent, os.environ["READY"].encode() + b"\\n")
time.sleep(60)
"""


#: One that then says 200,000 bytes, each by itself, before it looks whether anyone has read.
TALKS = AGENT.replace(
    "time.sleep(60)",
    """time.sleep(0.2)
os.set_blocking(agent, False)
try:
    waited = 200_000 != sum(os.write(agent, b" ") for _ in range(200_000))
except BlockingIOError:
    waited = True
os.set_blocking(agent, True)
os.write(agent, ('\\n{"never_waited": %s}\\n' % str(not waited).lower()).encode())
time.sleep(60)""",
)


def _ready(folder: Path, **other: object) -> str:
    (folder / "agent.py").write_text(AGENT)
    return (
        f"READY='{json.dumps({**READY, **other})}' exec {sys.executable} {folder}/agent.py \"$@\""
    )


def _dying(folder: Path, deaths: int) -> str:
    count = f"$(wc -l < {folder}/tries)"
    return f'[ {count} -gt {deaths} ] || {{ echo "Oops: int3: death {count}" >&2; exit 1; }}'


class TestBootWithStandIns:
    @pytest.fixture
    def boot(self, tmp_path, monkeypatch):
        def with_qemu(script, order=None, say=print):
            (tmp_path / qemu.PROGRAM).write_text(
                f'#!/bin/sh\n[ "$1 $2" = "-M help" ] && exit\n{script}\n'
            )
            (tmp_path / qemu.PROGRAM).chmod(0o755)
            monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
            monkeypatch.setitem(_READY_SECONDS, "tcg", 0.5)
            image = guest_image(tmp_path)
            return boot_guest(image, "tcg", overlay=image.archives[0], order=order, say=say)

        qemu.machine_type.cache_clear()
        yield with_qemu
        qemu.machine_type.cache_clear()

    def test_a_qemu_that_ends_at_once_is_quoted(self, boot):
        with pytest.raises(HostError, match=r"died while it booted: .*unsupported machine type"):
            boot("echo 'qemu-system-x86_64: unsupported machine type' >&2; exit 1")

    def test_a_guest_that_never_comes_is_given_up_and_its_qemu_is_gone(self, boot, tmp_path):
        with pytest.raises(HostError, match=r"not ready within 0.5 s"):
            boot(f"echo $$ > {tmp_path}/pid; exec sleep 600")
        assert not psutil.pid_exists(int((tmp_path / "pid").read_text()))

    def test_qemu_never_waits_for_us_to_read_what_an_agent_says(self, boot, tmp_path):
        """Byte by byte, as QEMU does: a socket would be full after some hundreds."""
        (tmp_path / "talks.py").write_text(TALKS)
        with boot(
            f"READY='{json.dumps(READY)}' exec {sys.executable} {tmp_path}/talks.py \"$@\"",
            NOTHING_TO_COMPILE,
        ) as guest:
            assert guest.channel.receive(10)["never_waited"] is True

    @pytest.mark.parametrize("order", [None, NOTHING_TO_COMPILE])
    @pytest.mark.parametrize("deaths", [1, 2])
    def test_one_that_dies_while_it_boots_is_booted_again_and_said(
        self, boot, tmp_path, deaths, order
    ):
        said = []
        with boot(
            f"echo x >> {tmp_path}/tries\n{_dying(tmp_path, deaths)}\n{_ready(tmp_path)}",
            order,
            said.append,
        ) as guest:
            assert guest.ready["kernel"] == "6.12"
        assert len((tmp_path / "tries").read_text().split()) == deaths + 1
        assert said == [
            f"the guest died while it booted: Oops: int3: death {n}; booting it again ({n} of 2)"
            for n in range(1, deaths + 1)
        ]

    @pytest.mark.parametrize("order", [None, NOTHING_TO_COMPILE])
    def test_the_third_death_is_the_last_and_tells_its_own_reason(self, boot, tmp_path, order):
        said = []
        with pytest.raises(HostError, match=r"died while it booted: Oops: int3: death 3"):
            boot(f"echo x >> {tmp_path}/tries\n{_dying(tmp_path, 9)}", order, said.append)
        assert len(said) == 2
        assert len((tmp_path / "tries").read_text().split()) == 3

    def test_one_that_hangs_is_booted_again_too(self, boot, tmp_path):
        said = []
        hung = f"[ $(wc -l < {tmp_path}/tries) -gt 1 ] || exec sleep 600"
        with boot(f"echo x >> {tmp_path}/tries\n{hung}\n{_ready(tmp_path)}", say=said.append):
            pass
        assert said == [
            "the guest was not ready within 0.5 s: no output; booting it again (1 of 2)"
        ]

    def test_a_kernel_that_lacks_what_the_clock_needs_is_reported_at_once(self, boot, tmp_path):
        said = []
        lacking = _ready(tmp_path, lacking=["driver x (CONFIG_X)"])
        told = r"kernel 6.12 has no driver x \(CONFIG_X\), which the instruction clock needs"
        with pytest.raises(HostError, match=told):
            boot(f"echo x >> {tmp_path}/tries\n{lacking}", NOTHING_TO_COMPILE, said.append)
        assert said == [] and len((tmp_path / "tries").read_text().split()) == 1

    def test_nothing_stays_open(self, boot):
        before = len(os.listdir("/proc/self/fd"))
        with pytest.raises(HostError):
            boot("exit 1")
        assert len(os.listdir("/proc/self/fd")) == before
