"""The doctor: what is found, the command that mends it, and a steady hand whatever the machine is
like.
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from private_mounts import machine_mounts

from yogurtbench.hosts import checks, doctor, requirements
from yogurtbench.hosts.doctor import NATIVE, VM, CheckResult
from yogurtbench.hosts.vm import accelerator

SHOWN = """Show the system configuration

System state
============

CPU: use 2 logical CPUs: 0-1
ASLR: Full randomization

Advices
=======

Perf event: Set max sample rate to 1
Linux scheduler: Use isolcpus=<cpu list> kernel parameter to isolate CPUs

Warnings
========

Turbo Boost (MSR): Failed to read MSR 0x1a0

Run "python -m pyperf system tune" to tune the system configuration to run benchmarks
"""


def states(findings: list[CheckResult]) -> dict[str, str]:
    return {finding.what: finding.state for finding in findings}


def well(**but: str) -> list[CheckResult]:
    """A machine that lacks nothing, but for what is named (underscores for spaces)."""
    names = [
        "root",
        "veth",
        "netkit",
        "tcx",
        "ping",
        "sockperf",
        "iperf3",
        "netperf",
        "util-linux",
        "qemu",
        "mmdebstrap",
    ]
    names += ["bcc", "kernel headers", "guest image", "kvm", "memory", "cpus", "cache folder"]
    wrong = {name.replace("_", " "): state for name, state in but.items()}
    return [CheckResult(name, wrong.get(name, "ok"), "") for name in names]  # type: ignore[arg-type]


def test_examining_finds_something_about_everything_and_never_raises() -> None:
    found = states(doctor.run_checks())
    wanted = {
        "root",
        "kernel",
        "netkit",
        "tcx",
        "iperf3",
        "sockperf",
        "ping",
        "util-linux",
        "qemu",
        "mmdebstrap",
        "bcc",
    }
    wanted |= {
        "kernel headers",
        "guest image",
        "kvm",
        "memory",
        "cpus",
        "realtime priority",
        "cache folder",
    }
    wanted |= {"tuning", NATIVE, VM}
    assert wanted <= set(found)
    assert set(found.values()) <= {"ok", "missing", "limited"}


@pytest.mark.root
def test_as_root_what_the_kernel_can_do_is_tried() -> None:
    found = {finding.what: finding for finding in doctor.run_checks()}
    assert found["veth"].state == "ok"
    assert all("tried" in found[name].detail for name in ("veth", "netkit", "tcx"))


@pytest.mark.root
def test_examining_changes_nothing(tmp_path: Path) -> None:
    before = sorted(os.listdir("/sys/class/net")), machine_mounts()
    argv = [sys.executable, "-P", "-m", "yogurtbench", "doctor"]
    environment = {
        **os.environ,
        "HOME": str(tmp_path),
        "YOGURTBENCH_CACHE": str(tmp_path / "cache"),
    }
    done = subprocess.run(
        argv, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert list(tmp_path.iterdir()) == []
    assert before == (sorted(os.listdir("/sys/class/net")), machine_mounts())


@pytest.mark.root
def test_without_root_it_says_what_needs_root_and_works_all_the_same(
    nobodys_python: list[str], everybodys: Path
) -> None:
    argv = [*nobodys_python, "-m", "yogurtbench", "doctor", "--json"]
    environment = {**os.environ, "HOME": str(everybodys)}
    done = subprocess.run(
        argv, cwd="/", env=environment, capture_output=True, text=True, check=False
    )
    found = {finding["what"]: finding for finding in json.loads(done.stdout)}
    assert (done.stderr, found["root"]["state"]) == ("", "limited")
    assert found[NATIVE]["state"] == ("missing" if found[VM]["state"] == "missing" else "limited")
    assert next(iter(found)) == doctor.ANSWER
    assert found["netkit"]["detail"] == "needs root to try"
    assert "doctor" in found["root"]["mend"]
    assert {"uidmap", "subordinate ids", "user namespaces"} <= set(found)
    assert done.returncode == (0 if found[VM]["state"] != "missing" else 3)


def test_on_a_machine_without_any_tool_it_still_answers(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    found = doctor.run_checks()
    assert (
        states(found)["iperf3"] == states(found)["qemu"] == states(found)["util-linux"] == "missing"
    )
    assert not doctor.can_run(found)


def test_a_look_that_goes_wrong_is_a_finding(monkeypatch: pytest.MonkeyPatch) -> None:
    def _strange_thing() -> Iterator[CheckResult]:
        raise OSError("odd")
        yield

    monkeypatch.setattr(doctor, "LOOKS", (_strange_thing,))
    assert doctor.run_checks()[1] == CheckResult(
        "strange thing", "limited", "could not be examined: OSError: odd"
    )


def test_a_machine_that_lacks_nothing_runs_everything() -> None:
    assert doctor.native_lab(well()).state == "ok"
    assert doctor.vm_lab(well()).state == "ok" or platform.machine() != "x86_64"


def test_a_load_whose_tool_the_distribution_has_not_is_left_out_and_said() -> None:
    judged = doctor.native_lab(well(netperf="limited"))
    assert judged.state == "ok"
    assert judged.detail == "runs every cell, but not load netperf_tcp_rr"


@pytest.mark.parametrize("what", ["root", "util-linux", "veth"])
def test_the_native_lab_cannot_run_without(what: str) -> None:
    judged = doctor.native_lab(well(**{what: "missing"}))
    assert (judged.state, judged.detail) == ("missing", f"cannot run: see {what}")


def test_the_native_lab_without_bcc_or_netkit_runs_what_needs_neither() -> None:
    judged = doctor.native_lab(well(bcc="missing", netkit="missing"))
    assert (judged.state, judged.detail) == ("limited", "runs, but not cells that need bcc, netkit")


@pytest.mark.skipif(platform.machine() != "x86_64", reason="the guest is made for x86_64")
class TestVmLab:
    """What the VM lab needs."""

    @pytest.mark.parametrize("what", ["qemu", "memory", "cache_folder"])
    def test_it_cannot_run_without(self, what: str) -> None:
        assert doctor.vm_lab(well(**{what: "missing"})).state == "missing"

    def test_it_needs_mmdebstrap_only_where_the_guest_is_not_built(self) -> None:
        assert doctor.vm_lab(well(mmdebstrap="missing")).state == "ok"
        assert doctor.vm_lab(well(mmdebstrap="missing", guest_image="limited")).state == "missing"

    def test_without_kvm_it_runs_under_emulation(self) -> None:
        assert "emulation" in doctor.vm_lab(well(kvm="limited")).detail


@pytest.mark.skipif(platform.machine() != "x86_64", reason="the guest is made for x86_64")
class TestAnswer:
    """The first line: what can be run here, and by which command."""

    @pytest.mark.parametrize(
        ("findings", "state", "words", "command"),
        [
            (well(), "ok", "Everything runs here natively, netkit too", "quickstart.yaml"),
            (
                well(netkit="missing"),
                "ok",
                "Everything runs here in a guest under KVM (cells with veth also natively)",
                "quickstart.yaml",
            ),
            (
                well(root="limited"),
                "ok",
                "Everything runs here in a guest under KVM",
                "quickstart.yaml",
            ),
            (
                well(bcc="missing"),
                "ok",
                "Everything runs here in a guest under KVM",
                "quickstart.yaml",
            ),
            (
                well(netkit="missing", kvm="limited"),
                "limited",
                "Everything runs here in an emulated guest, on the instruction clock "
                "(exact counts, no times; cells with veth also natively)",
                "quickstart.yaml --clock instructions",
            ),
            (
                well(root="limited", kvm="limited"),
                "limited",
                "Everything runs here in an emulated guest, on the instruction clock (exact "
                "counts, no times)",
                "quickstart.yaml --clock instructions",
            ),
            (
                well(netkit="missing", qemu="missing"),
                "limited",
                "Only cells with veth run here, natively",
                "which_wire.yaml --lab native --only device=veth",
            ),
            (
                well(netkit="missing", tcx="missing", memory="limited"),
                "limited",
                "Only cells with veth and without tcx run here, natively",
                "--only 'device=veth,hook=tc_ingress|tc_egress|xdp_native|xdp_generic'",
            ),
            (
                well(root="limited", qemu="missing"),
                "missing",
                "Nothing runs here yet",
                "qemu-system-x86",
            ),
            (
                well(root="limited", memory="limited"),
                "missing",
                "Nothing runs here yet without root: cannot run: see memory",
                "",
            ),
        ],
    )
    def test_it_is_one_sentence_with_a_command(
        self, findings: list[CheckResult], state: str, words: str, command: str
    ) -> None:
        text = doctor.as_text(doctor.judge_checks(findings)).splitlines()
        assert text[0].startswith(words) and command in text[0] and text[1] == ""
        answer = json.loads(doctor.as_json(doctor.judge_checks(findings)))[0]
        assert (answer["what"], answer["state"], answer["detail"]) == (
            doctor.ANSWER,
            state,
            text[0],
        )
        assert answer["mend"].endswith(command) if state != "missing" else command in answer["mend"]

    def test_it_names_all_that_is_missing_in_one_command(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(
            checks.install_hints,
            "os_release",
            lambda: {"ID": "ubuntu", "VERSION_CODENAME": "noble"},
        )
        found = [
            *well(root="limited", qemu="missing", mmdebstrap="missing", guest_image="limited"),
            CheckResult("uidmap", "missing", ""),
            CheckResult("subordinate ids", "missing", "", "usermod it"),
        ]
        answer = doctor.judge_checks(found)[0]
        packages = "qemu-system-x86 mmdebstrap uidmap"
        assert answer.mend.endswith(
            f"apt-get install {packages} --no-install-recommends && usermod it"
        )
        assert answer.detail == f"Nothing runs here yet without root: {answer.mend}"

    def test_where_a_package_is_unknown_it_says_what_to_do_instead(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        release = {"ID": "arch", "PRETTY_NAME": "Arch Linux"}
        monkeypatch.setattr(checks.install_hints, "os_release", lambda: release)
        found = well(root="limited", qemu="missing", mmdebstrap="missing", guest_image="limited")
        answer = doctor.judge_checks(found)[0]
        assert (
            "pacman -S --needed qemu-system-x86; we know no package of mmdebstrap for Arch Linux"
            in answer.detail
        )
        assert answer.mend.endswith("pacman -S --needed qemu-system-x86")


NATIVE_ONLY = ["veth", "netkit", "tcx", "ping", "sockperf", "iperf3", "bcc", "kernel_headers"]


@pytest.mark.skipif(platform.machine() != "x86_64", reason="the guest is made for x86_64")
@pytest.mark.parametrize("what", NATIVE_ONLY)
def test_nothing_is_called_missing_that_the_vm_lab_makes_up_for(what: str) -> None:
    found = {f.what: f for f in doctor.judge_checks(well(root="limited", **{what: "missing"}))}
    assert "missing" not in states(list(found.values())).values()
    assert "the VM lab brings its own" in found[what.replace("_", " ")].detail
    assert "the VM lab runs every cell" in found[NATIVE].detail
    without = states(doctor.judge_checks(well(qemu="missing", **{what: "missing"})))
    assert without[what.replace("_", " ")] == "missing"


@pytest.mark.parametrize(
    ("mode", "group", "mend"),
    [(0o660, 0, ""), (0o600, 1, ""), (0o660, 987654, ""), (0o660, 1, "--groups daemon")],
)
def test_a_closed_kvm_is_opened_by_the_group_that_has_it(
    mode: int, group: int, mend: str, tmp_path: Path
) -> None:
    device = tmp_path / "kvm"
    device.touch()
    facts = list(device.stat())
    facts[0], facts[5] = mode, group
    found = accelerator.closed_device(device, os.stat_result(facts))
    if mend:
        assert mend in found.mend and "log in again" in found.why
    else:
        assert found.mend == "" and f"--device {device}" in found.why


def test_a_machine_can_run_where_either_lab_can() -> None:
    neither = [CheckResult(NATIVE, "missing", ""), CheckResult(VM, "missing", "")]
    assert not doctor.can_run(neither)
    assert doctor.can_run([neither[0], CheckResult(VM, "limited", "")])
    assert doctor.can_run([CheckResult(NATIVE, "ok", ""), neither[1]])
    assert not doctor.can_run([])


def test_text_has_a_line_a_finding_and_its_mend_below() -> None:
    found = [
        CheckResult("iperf3", "missing", "no iperf3", "apt-get install iperf3"),
        CheckResult("cpus", "ok", "2 usable"),
    ]
    assert doctor.as_text(found).splitlines() == [
        "missing  iperf3  no iperf3",
        "                 fix: apt-get install iperf3",
        "ok       cpus    2 usable",
    ]


def test_json_has_every_field() -> None:
    assert json.loads(doctor.as_json([CheckResult("cpus", "ok", "2")])) == [
        {"what": "cpus", "state": "ok", "detail": "2", "mend": ""}
    ]


def test_pyperfs_advice_is_read_and_nothing_else() -> None:
    assert checks.tuning_advice(SHOWN) == [
        "Perf event: Set max sample rate to 1",
        "Linux scheduler: Use isolcpus=<cpu list> kernel parameter to isolate CPUs",
    ]
    assert checks.tuning_advice(SHOWN.replace("Advices", "Errors")) == []
    assert checks.tuning_advice("") == []


@pytest.mark.parametrize(("answer", "state"), [("kvm", "ok"), ("tcg", "limited")])
def test_kvm_is_believed_as_the_last_boot_under_it_showed(
    tmp_path: Path, answer: str, state: str
) -> None:
    (tmp_path / "old.json").write_text('{"accelerator": "kvm", "reason": "long ago"}')
    os.utime(tmp_path / "old.json", (1, 1))
    (tmp_path / "new.json").write_text(json.dumps({"accelerator": answer, "reason": "as it was"}))
    found = checks._stored_probe(tmp_path)
    assert (found.state, found.detail) == (state, "last tried: as it was")


def test_kvm_that_was_never_tried_is_no_promise(tmp_path: Path) -> None:
    assert checks._stored_probe(tmp_path).state == "limited"


def test_pypis_bcc_is_distinguished_from_the_compiler(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "bcc").mkdir()
    (tmp_path / "bcc/__init__.py").write_text("raise RuntimeError('must not be imported')")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "bcc", raising=False)
    (found,) = checks._bcc()
    assert found.state == "missing"
    assert "not the BPF Compiler Collection" in found.detail
    assert found.mend.endswith("-m pip uninstall bcc")


def test_subordinate_ids_are_looked_up_by_name_and_number(tmp_path: Path) -> None:
    (tmp_path / "subuid").write_text("ada:100000:65536\n")
    (tmp_path / "subgid").write_text("1000:100000:65536\n")
    assert requirements.subordinate_ids("ada", 1000, tmp_path).there
    missing = requirements.subordinate_ids("bob", 1001, tmp_path)
    assert missing.lacking
    assert "usermod --add-subuids" in missing.fix
    (tmp_path / "subgid").unlink()
    assert requirements.subordinate_ids("ada", 1000, tmp_path).lacking


def test_a_cache_that_cannot_be_written_is_missing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("YOGURTBENCH_CACHE", str(tmp_path / "file"))
    (found,) = checks._cache_folder()
    assert found.state == "missing"
    assert found.mend.startswith("export YOGURTBENCH_CACHE=")
    monkeypatch.setenv("YOGURTBENCH_CACHE", str(tmp_path / "not/there/yet"))
    (found,) = checks._cache_folder()
    assert found.state == "ok"
