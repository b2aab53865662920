"""Find what this machine can do, what it lacks and the command that fixes it."""

from __future__ import annotations

import json
import platform
import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, replace
from itertools import chain
from pathlib import Path

from yogurtbench.core import install_hints
from yogurtbench.core.install_hints import install_command
from yogurtbench.core.load_specs import TOOLS
from yogurtbench.hosts.checks import (
    LOOKS,
    NEEDED_TO_BUILD,
    QUESTIONS,
    UNTRIED,
    CheckResult,
    State,
    answering,
    loads_with,
    run_safely,
)

NATIVE, VM, ANSWER = "native lab", "VM lab", "answer"
#: What the native lab needs and the VM lab brings with it.
_VM_BRINGS = (
    "veth",
    "netkit",
    "tcx",
    "ping",
    "sockperf",
    "iperf3",
    "iproute2",
    "bcc",
    "kernel headers",
)
#: What the VM lab needs, by our words for what is installed.
_VM_THINGS = {
    "qemu": ("qemu",),
    "util-linux": ("util-linux", "mount"),
    "mmdebstrap": ("mmdebstrap",),
    "uidmap": ("uidmap",),
    "Debian's keys": ("debian-keyring",),
}


def run_checks() -> list[CheckResult]:
    """Look at everything; never raises.

    The first finding is the answer, the last two say whether each lab can run.
    """
    return judge_checks(list(chain.from_iterable(map(run_safely, LOOKS))))


def judge_checks(found: Sequence[CheckResult]) -> list[CheckResult]:
    """Return the findings and what follows: what can be run and how, and by which lab.

    Nothing is called missing that the VM lab makes up for.
    """
    native, vm = native_lab(found), vm_lab(found)
    answer = answer_of(found, native, vm)
    if vm.state == "missing":
        return [answer, *found, native, vm]
    if native.state == "missing":
        native = CheckResult(NATIVE, "limited", f"{native.detail}; the VM lab runs every cell")
    return [answer, *(_made_up_for(finding) for finding in found), native, vm]


def _made_up_for(finding: CheckResult) -> CheckResult:
    """Return the finding on a machine where the VM lab runs."""
    if finding.state != "missing" or finding.what not in _VM_BRINGS:
        return finding
    detail = (
        finding.detail
        if "the VM lab" in finding.detail
        else f"{finding.detail}; the VM lab brings its own"
    )
    return replace(finding, state="limited", detail=detail)


def can_run(findings: Iterable[CheckResult]) -> bool:
    """Return whether either lab can run anything at all."""
    return any(f.what in (NATIVE, VM) and f.state != "missing" for f in findings)


def as_text(findings: Sequence[CheckResult]) -> str:
    """For people: what can be run, in one sentence; then a line a finding, its mend below it."""
    lines = [finding.detail for finding in findings if finding.what == ANSWER]
    rest = [finding for finding in findings if finding.what != ANSWER]
    lines += [""] if lines else []
    width = max((len(f.what) for f in rest), default=0)
    for finding in rest:
        lines.append(f"{finding.state:<8} {finding.what:<{width}}  {finding.detail}")
        lines += [f"{'':<8} {'':<{width}}  fix: {finding.mend}"] if finding.mend else []
    return "\n".join(lines)


def as_json(findings: Sequence[CheckResult]) -> str:
    """Return a JSON array of findings, the answer first (its ``mend`` is the command)."""
    return json.dumps([asdict(finding) for finding in findings], indent=1, ensure_ascii=False)


def native_lab(found: Sequence[CheckResult]) -> CheckResult:
    """Return whether the native lab can run, judged from the other findings."""
    states = {f.what: f.state for f in found}
    if blocking := [what for what in ("root", "util-linux", "veth") if states.get(what) != "ok"]:
        return CheckResult(NATIVE, "missing", f"cannot run: see {', '.join(blocking)}")
    wanted = ("bcc", "kernel headers", "netkit", "tcx", *TOOLS)
    # A load's tool is limited where the distribution has none: its trials are unsupported.
    without = [tool for tool in TOOLS if states.get(tool) == "limited"]
    unanswered = [what for what in map(answering, QUESTIONS) if states.get(what, "ok") != "ok"]
    if (
        lacking := [what for what in wanted if what not in without and states.get(what) != "ok"]
        + unanswered
    ):
        return CheckResult(NATIVE, "limited", f"runs, but not cells that need {', '.join(lacking)}")
    loads = f", but not {' and '.join(map(loads_with, without))}" if without else ""
    return CheckResult(NATIVE, "ok", f"runs every cell{loads}")


def vm_lab(found: Sequence[CheckResult]) -> CheckResult:
    """Return whether the VM lab can run, judged from the other findings."""
    states = {f.what: f.state for f in found}
    if platform.machine() != "x86_64":
        return CheckResult(
            VM,
            "missing",
            f"cannot run: the guest is made for x86_64 and this machine is {platform.machine()}",
        )
    if blocking := _blocking_vm(states):
        return CheckResult(VM, "missing", f"cannot run: see {', '.join(blocking)}")
    if states.get("kvm") != "ok":
        return CheckResult(
            VM,
            "limited",
            "runs under emulation (TCG): figures are labelled so and say nothing of hardware",
        )
    return CheckResult(VM, "ok", "runs every cell")


def _blocking_vm(states: Mapping[str, State]) -> list[str]:
    """Return what the VM lab needs and does not have."""
    needed = ["qemu", "memory", "cache folder", "util-linux"]
    if states.get("guest image") != "ok":
        needed += ["mmdebstrap", *(what for what in NEEDED_TO_BUILD if what in states)]
    return [what for what in needed if states.get(what) != "ok"]


def answer_of(found: Sequence[CheckResult], native: CheckResult, vm: CheckResult) -> CheckResult:
    """Return what can be run here and by which command, in one sentence.

    ``mend`` is the command.
    """
    states = {f.what: f.state for f in found}
    run = f"{_our_name()} run experiments/quickstart.yaml"
    if native.state == "ok":
        return _answer("ok", "Everything runs here natively, netkit too", run)
    partly = _runs_natively(states)
    also = f"{partly} also natively" if partly else ""
    beside = f" ({also})" if also else ""
    if vm.state == "ok":
        return _answer("ok", f"Everything runs here in a guest under KVM{beside}", run)
    if vm.state == "limited" and any(f.what == "kvm" and UNTRIED in f.detail for f in found):
        return _answer(
            "ok",
            f"Everything runs here in a guest, under KVM if that boots it, else emulated{beside}",
            run,
        )
    if vm.state == "limited":
        limits = "; ".join(part for part in ("exact counts, no times", also) if part)
        what = f"Everything runs here in an emulated guest, on the instruction clock ({limits})"
        return _answer("limited", what, f"{run} --clock instructions")
    cure, command = _cure(found, states)
    if partly:
        only = (
            f"{_our_name()} run experiments/which_wire.yaml --lab native --only "
            f"{_NATIVE_CELLS[partly]}"
        )
        return _answer(
            "limited",
            f"Only {partly} run here, natively",
            only,
            f"; for the rest: {cure or vm.detail}",
        )
    alone = "" if states.get("root") == "ok" else " without root"
    return CheckResult(
        ANSWER, "missing", f"Nothing runs here yet{alone}: {cure or vm.detail}", command
    )


def _answer(state: State, what: str, command: str, more: str = "") -> CheckResult:
    return CheckResult(ANSWER, state, f"{what}: {command}{more}", command)


#: What runs natively on a kernel without netkit, and how to choose it.
_NATIVE_CELLS = {
    "cells with veth": "device=veth",
    "cells with veth and without tcx": (
        "'device=veth,hook=tc_ingress|tc_egress|xdp_native|xdp_generic'"
    ),
}


def _runs_natively(states: Mapping[str, State]) -> str:
    """Return which cells a machine without everything runs natively; empty for none."""
    needed = ("root", "util-linux", "veth", "bcc", "kernel headers", "ping", "sockperf", "iperf3")
    if any(states.get(what) != "ok" for what in needed):
        return ""
    return list(_NATIVE_CELLS)[0 if states.get("tcx") == "ok" else 1]


def _cure(found: Sequence[CheckResult], states: Mapping[str, State]) -> tuple[str, str]:
    """Return what lets the VM lab run, as a clause and as a command.

    Empty where nothing is known.
    """
    blocking = _blocking_vm(states)
    things: list[str] = []
    for what, brought in _VM_THINGS.items():
        if what in blocking:
            things += brought
    others = [f.mend for f in found if f.what in blocking and f.what not in _VM_THINGS]
    command = " && ".join(one for one in [install_command(*things), *others] if one)
    unknown = [install_hints.no_package(thing) for thing in things]
    if things and not install_hints.distribution().family:
        unknown = [install_hints.how_to_get(*things)]
    return "; ".join(part for part in [command, *unknown] if part), command


def _our_name() -> str:
    """Return how this tool is called: by the script of a checkout, or by its name where it is
    installed.
    """
    script = Path(__file__).parents[2] / "yb"
    if not script.is_file():
        return "yogurtbench"
    return "./yb" if Path.cwd() == script.parent else shlex.quote(str(script))
