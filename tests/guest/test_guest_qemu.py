"""Real guests: what they have, how they fail, and what they leave."""

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace

import psutil
import pytest
from matrices import cell
from trials import eventually, gone, run_on

from yogurtbench.core.builds import ProgramBuilds
from yogurtbench.core.errors import HostError
from yogurtbench.core.records import Attempt, Trial
from yogurtbench.hosts.vm import host, image, overlay
from yogurtbench.hosts.vm.guest import boot_guest
from yogurtbench.hosts.vm.image import build
from yogurtbench.hosts.vm.snapshot import start_emulated
from yogurtbench.lab import sandbox

pytestmark = pytest.mark.vm


NOTHING_TO_COMPILE = {"op": "compile", "texts": ProgramBuilds().to_json()}


@pytest.fixture(scope="module")
def guest():
    """One guest for the tests that leave it alive."""
    with boot_guest(
        made := image.ensure(say=print), "tcg", overlay=overlay.build_overlay(made)
    ) as booted:
        yield booted


class TestGuest:
    def test_it_has_what_the_lab_needs(self, guest):
        assert guest.ready["features"] == {"netkit": True, "veth": True, "tcx": True}
        assert "missing" not in guest.ready["versions"].values()

    def test_it_does_a_trial_over_netkit(self, guest):
        wire = cell(device="netkit", hook="netkit_peer", helper="redirect", load="reachability")
        guest.channel.send({"op": "trial", "trial": Trial("t", wire, 0, 0).to_json()})
        phases = []
        while (event := guest.channel.receive(120))["event"] == "phase":
            phases.append(event["phase"])
        attempt = Attempt.from_json(event["attempt"])
        assert phases == ["lab", "wire", "probe", "load", "undo"]
        assert (attempt.status, attempt.error) == ("ok", "")
        assert {o.metric: o.value for o in attempt.observations}["reachable"] == 1

    def test_what_its_processes_say_comes_back(self, guest):
        assert in_lab(guest, "uname -r; exit 7") == (guest.ready["kernel"] + "\n", 7)

    def test_its_monitor_answers(self, guest):
        assert guest.monitor.execute("query-status")["status"] == "running"

    def test_qemu_is_in_a_group_of_its_own_so_that_ctrl_c_is_ours(self, guest):
        assert os.getpgid(guest._process.pid) != os.getpgid(0)


@pytest.fixture
def own_kernel(tmp_path):
    """A guest with our default kernel as one of one's own: with its modules, but no index of them,
    or without any.
    """
    debian = image.ensure(say=print)
    bzimage = tmp_path / "bzImage"
    shutil.copy(debian.kernel, bzimage)

    def with_modules(they_are_there):
        if they_are_there:
            with debian.archives[2].open("rb") as packed:
                unpack = ["cpio", "-i", "-d", "--quiet", "-D", str(tmp_path)]
                subprocess.run(unpack, stdin=packed, check=True)
            for index in tmp_path.glob("usr/lib/modules/*/modules.*"):
                index.unlink()
        into = tmp_path / "into"
        into.mkdir()
        build.own_kernel(bzimage, into)
        archives = (*debian.archives[:2], into / "modules.cpio")
        advice = image.advice(str(bzimage), debian.release)
        return replace(debian, kernel=into / "vmlinuz", archives=archives, advice=advice)

    return with_modules


def test_a_kernel_of_one_s_own_needs_no_index_of_its_modules(own_kernel):
    """Shown on the instruction clock, which needs a module more than the other."""
    made, order = own_kernel(True), NOTHING_TO_COMPILE
    with boot_guest(made, "tcg", overlay=overlay.build_overlay(made), order=order) as booted:
        assert booted.ready["features"]["veth"]
        assert booted.ready["lacking"] == []


def test_a_kernel_without_modules_is_shown_what_the_instruction_clock_needs(own_kernel):
    said = []
    told = (
        r"has no driver of QEMU's firmware configuration .*, which the instruction clock "
        r"needs: build it into .*bzImage"
    )
    made = own_kernel(False)
    with pytest.raises(HostError, match=told):
        boot_guest(
            made,
            "tcg",
            overlay=overlay.build_overlay(made),
            order=NOTHING_TO_COMPILE,
            say=said.append,
        )
    assert said == []


#: In a sandbox of the guest: a trial of three seconds, in whose middle the clock is set, and set
#: right after.
SETS_THE_CLOCK = """
import json, subprocess, sys, threading
from yogurtbench.agent.trial import run_trial
from yogurtbench.core.records import Trial
from yogurtbench.ebpf.programs import Programs
from yogurtbench.lab import sandbox

sandbox.set_up()

def set_it(phase):
    if phase == "load":
        threading.Timer(1.0, subprocess.run, [["date", "-s", "+1 hour"]]).start()

made = run_trial(Trial.from_json(json.loads(sys.argv[1])), Programs(), set_it)
subprocess.run(["date", "-s", "-1 hour"], stdout=subprocess.DEVNULL)
print(made.status, made.error)
"""


def test_a_trial_in_which_the_clock_is_set_has_failed_and_says_so(guest):
    direct = {"device": "veth", "topology": "direct", "hook": "none", "helper": "none"}
    options = {"count": 30, "interval": 0.1, "timeout": 10.0}
    asked = Trial("t", cell(load="ping", **direct), 0, 0, options=options)
    python = ["python3", "-P", "-c", SETS_THE_CLOCK, json.dumps(asked.to_json())]
    argv = shlex.join(sandbox.sandbox_command(python))
    said, code = in_lab(guest, f"PYTHONPATH=/yogurt {argv} 2>&1")
    assert code == 0, said
    # date sets it to a whole second
    assert re.search(r"failed the machine's clock was set by \+(3599|3600)\.\d+ s", said), said


def test_a_panic_is_noticed_at_once_and_its_text_is_kept():
    made = image.ensure(say=print)
    guest = start_emulated(made, overlay.build_overlay(made), print)
    began = time.monotonic()
    with pytest.raises(EOFError):
        in_lab(guest, "echo c > /proc/sysrq-trigger; sleep 60")
    assert "Kernel panic - not syncing: sysrq triggered crash" in guest.failure_reason()
    assert time.monotonic() - began < 20
    guest.close()
    assert not psutil.pid_exists(guest._process.pid)


def test_a_trial_that_kills_its_guest_is_a_crash_and_the_next_has_a_new_guest():
    wire = cell(device="veth", topology="direct", hook="none", helper="none", load="reachability")
    with host.host("host", print) as vm:
        vm._machine._process.send_signal(signal.SIGKILL)  # type: ignore[union-attr]
        first, second = run_on(vm, [Trial("a", wire, 0, 0), Trial("b", wire, 0, 1)])
    assert (first.status, second.status) == ("crashed", "ok")
    assert second.lab == "vm" and second.kernel == vm.environment.kernel


def test_killed_with_sigkill_it_leaves_no_process_and_no_file(tmp_path):
    script = (
        "from yogurtbench.hosts.vm import image, overlay, snapshot\n"
        "made = image.ensure(say=print)\n"
        "g = snapshot.start_emulated(made, overlay.build_overlay(made), lambda _: None)\n"
        "print('up', g._process.pid, flush=True)\nimport time; time.sleep(600)\n"
    )
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    with subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, text=True, env=environment
    ) as ours:
        pid = int(ours.stdout.readline().split()[1])  # type: ignore[union-attr]
        ours.kill()
    assert eventually(lambda: gone(pid))
    assert list(tmp_path.iterdir()) == []


def in_lab(guest, script):
    """What a shell script printed inside a lab, and its exit code."""
    wire = cell(device="veth", topology="direct", hook="none", helper="none", load="reachability")
    guest.channel.send(
        {"op": "lab", "trial": Trial("lab", wire, 0, 0).to_json(), "argv": ["sh", "-c", script]}
    )
    printed = ""
    while (event := guest.channel.receive(60))["event"] != "exit":
        printed += event.get("text", "")
    return printed, event["code"]
