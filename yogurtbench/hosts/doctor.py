"""Find what this machine can do, what it lacks and the command that fixes it."""

from __future__ import annotations

import json
import os
import platform
import re
import shlex
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from importlib.util import find_spec
from itertools import chain
from pathlib import Path
from typing import Literal

from yogurtbench.core import install_hints, paths, process, tools
from yogurtbench.core.errors import HostError
from yogurtbench.core.install_hints import as_root, install_command
from yogurtbench.core.load_specs import LOADS, TOOLS
from yogurtbench.ebpf import headers
from yogurtbench.hosts import requirements
from yogurtbench.hosts.base import AgentHost
from yogurtbench.hosts.requirements import Requirement
from yogurtbench.hosts.vm import accelerator, image, qemu, scheduling
from yogurtbench.hosts.vm.image import apt_sources

State = Literal["ok", "missing", "limited"]

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


def _loads_with(tool: str) -> str:
    """Return the loads that need a tool, as words."""
    *most, last = (spec.name for spec in LOADS.values() if tool in spec.tools)
    return f"loads {', '.join(most)} and {last}" if most else f"load {last}"


_ROOM_TOOLS = ("unshare", "nsenter", "setpriv", "taskset", "mount")
#: What marks the bcc of the BPF Compiler Collection; PyPI's package of that name has no such
#: module.
_BCC_MARK = "libbcc.py"
_SYSTEM_PYTHONS = ("/usr/lib/python3*/dist-packages/bcc", "/usr/lib*/python3*/site-packages/bcc")


@dataclass(frozen=True, slots=True)
class CheckResult:
    """One thing looked at.

    ``mend`` is a command to paste into a shell, empty where none is needed or none helps.
    """

    what: str
    state: State
    detail: str
    mend: str = ""


def run_checks() -> list[CheckResult]:
    """Look at everything; never raises.

    The first finding is the answer, the last two say whether each lab can run.
    """
    return judge_checks(list(chain.from_iterable(map(_run_safely, _LOOKS))))


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


def _run_safely(look: Callable[[], Iterator[CheckResult]]) -> list[CheckResult]:
    """Return what a look found.

    A look that goes wrong is itself a finding: a check that raises becomes a finding.
    """
    try:
        return list(look())
    except Exception as error:
        what = look.__name__.strip("_").replace("_", " ")
        return [
            CheckResult(what, "limited", f"could not be examined: {type(error).__name__}: {error}")
        ]


def native_lab(found: Sequence[CheckResult]) -> CheckResult:
    """Return whether the native lab can run, judged from the other findings."""
    states = {f.what: f.state for f in found}
    if blocking := [what for what in ("root", "util-linux", "veth") if states.get(what) != "ok"]:
        return CheckResult(NATIVE, "missing", f"cannot run: see {', '.join(blocking)}")
    wanted = ("bcc", "kernel headers", "netkit", "tcx", *TOOLS)
    # A load's tool is limited where the distribution has none: its trials are unsupported.
    without = [tool for tool in TOOLS if states.get(tool) == "limited"]
    unanswered = [what for what in map(answering, _QUESTIONS) if states.get(what, "ok") != "ok"]
    if (
        lacking := [what for what in wanted if what not in without and states.get(what) != "ok"]
        + unanswered
    ):
        return CheckResult(NATIVE, "limited", f"runs, but not cells that need {', '.join(lacking)}")
    loads = f", but not {' and '.join(map(_loads_with, without))}" if without else ""
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
        needed += ["mmdebstrap", *(what for what in _TO_BUILD if what in states)]
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
    if vm.state == "limited" and any(f.what == "kvm" and _UNTRIED in f.detail for f in found):
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


def _system() -> Iterator[CheckResult]:
    there = install_hints.distribution()
    yield CheckResult("distribution", "limited" if there.guess else "ok", there.guess or there.name)


def _identity() -> Iterator[CheckResult]:
    if os.geteuid() == 0:
        yield CheckResult("root", "ok", "yes")
    else:
        again = as_root([sys.executable, "-m", "yogurtbench", "doctor"])
        yield CheckResult(
            "root",
            "limited",
            "not root: the VM lab alone, and some things here need root to try",
            again,
        )


def _kernel() -> Iterator[CheckResult]:
    yield CheckResult("kernel", "ok", f"Linux {platform.release()} on {platform.machine()}")
    if os.geteuid() != 0:
        yield from (CheckResult(name, "limited", "needs root to try") for name in _FEATURES)
        return
    from yogurtbench.hosts import native

    try:
        with native.host() as host:
            has_it = host.features
            asked = list(_probes(host))
    except HostError as error:
        yield from (CheckResult(name, "missing", str(error)) for name in _FEATURES)
        return
    yield from asked
    for name, needs in _FEATURES.items():
        yield (
            CheckResult(name, "ok", "tried: works")
            if has_it[name]
            else CheckResult(name, "missing", needs)
        )


#: What the probes ask with (loads.control), and what has no answer without it.
_QUESTIONS = {
    "IPv4": "every load over IPv4",
    "IPv6": "reachability over IPv6 and cells with ip 6",
    "TCP": "reachability over TCP",
    "UDP": "load isolation",
    "packet sockets": "load isolation",
}


def answering(question: str) -> str:
    """Return what a finding about a question of the probes is called."""
    return f"asking over {question}"


def _probes(host: AgentHost) -> Iterator[CheckResult]:
    """Yield what the positive control of the probes found in a sandbox of its own."""
    refused = host.cannot_ask()
    for question, needed_by in _QUESTIONS.items():
        if reason := refused.get(question):
            cure = _outside_help(reason)
            yield CheckResult(
                answering(question),
                "limited",
                f"{reason}; missing for {needed_by}{cure}",
                _fix_answering(reason),
            )
        else:
            yield CheckResult(answering(question), "ok", "tried: answered over a plain pair")


def _outside_help(reason: str) -> str:
    """Whoever starts a container gives it its rights: no command in it can."""
    return "; start the container with --cap-add NET_RAW" if "CAP_NET_RAW" in reason else ""


def _fix_answering(reason: str) -> str:
    if "switched off" not in reason:
        return ""
    return as_root(
        ["sysctl", "-w", *(f"net.ipv6.conf.{which}.disable_ipv6=0" for which in ("all", "default"))]
    )


_ELSEWHERE = "the VM lab brings its own kernel"
_FEATURES = {
    "veth": f"tried: this kernel cannot make it (CONFIG_VETH); {_ELSEWHERE}",
    "netkit": "tried: this kernel cannot make it (Linux 6.7 or newer with CONFIG_NETKIT=y); "
    f"{_ELSEWHERE}",
    "tcx": f"tried: this kernel does not know it (Linux 6.6 or newer); {_ELSEWHERE}",
}


def _tools() -> Iterator[CheckResult]:
    for tool in TOOLS:
        found = _program(tool, tool, _loads_with(tool))
        without = found.state == "missing" and install_hints.no_package(tool)
        yield replace(found, state="limited") if without else found
    lacking = [looked for tool in _ROOM_TOOLS if (looked := tools.find_tools(tool)).fault]
    if lacking:
        mend = install_command(*dict.fromkeys(one.tool.thing for one in lacking))
        faults = "; ".join(one.fault for one in lacking)
        yield CheckResult("util-linux", "missing", f"{faults}: no lab at all", mend)
    else:
        yield CheckResult("util-linux", "ok", ", ".join(_ROOM_TOOLS))
    yield _program("iproute2", "ip", "commands in yogurtbench lab")
    yield _program("qemu", qemu.PROGRAM, "the VM lab")
    yield _program("mmdebstrap", "mmdebstrap", "building the guest")


def _program(what: str, program: str, use: str) -> CheckResult:
    looked = tools.find_tools(program)
    if not looked.fault:
        return CheckResult(what, "ok", looked.said or f"{program} is on PATH")
    mend = install_command(looked.tool.thing)
    unknown = "" if mend else f"; {install_hints.how_to_get(looked.tool.thing)}"
    return CheckResult(
        what, "missing", f"{looked.fault}: {looked.tool.package} is needed for {use}{unknown}", mend
    )


#: What building the guest takes beside mmdebstrap: the last of them only without root.
_TO_BUILD = ("Debian's keys", "uidmap", "subordinate ids", "user namespaces")


def _debians_keys() -> Iterator[CheckResult]:
    """Debian has them; other distributions bring them in a package of their own."""
    if apt_sources.machine_sources():
        return
    yield _result_of(requirements.debians_keys())


def _result_of(looked: Requirement) -> CheckResult:
    state: State = "missing" if looked.lacking else "ok"
    return CheckResult(looked.what, state, looked.lacking or looked.there, looked.fix)


def _rootless_builds() -> Iterator[CheckResult]:
    """Yield what building the guest without root needs; root needs none of it."""
    if os.geteuid() == 0:
        return
    yield _program("uidmap", "newuidmap", "building the guest without root")
    yield from map(_result_of, requirements.to_build_without_root())


def _bcc() -> Iterator[CheckResult]:
    spec = find_spec("bcc")
    folders = [Path(folder) for folder in (spec.submodule_search_locations if spec else None) or ()]
    if any((folder / _BCC_MARK).is_file() for folder in folders):
        yield CheckResult("bcc", "ok", str(folders[0]))
    elif spec:
        mend = f"{sys.executable} -m pip uninstall bcc"
        yield CheckResult(
            "bcc",
            "missing",
            f"{spec.origin} is PyPI's unrelated `bcc` package, not the BPF Compiler Collection",
            mend,
        )
    elif _outside():
        why = "installed for the system's Python, which this environment does not see"
        mend = (
            f"{Path(sys.base_prefix, 'bin', 'python3')} -m venv --system-site-packages "
            f"--upgrade {sys.prefix}"
        )
        yield CheckResult("bcc", "limited", why, mend)
    else:
        why = (
            "needed for every eBPF wire natively (the distribution's package; PyPI's bcc is "
            "another thing)"
        )
        yield CheckResult("bcc", "missing", why, install_command("bcc"))


def _outside() -> bool:
    """Return whether the distribution's binding lies on this machine, out of this environment's
    sight.
    """
    folders = chain.from_iterable(Path("/").glob(pattern[1:]) for pattern in _SYSTEM_PYTHONS)
    return sys.prefix != sys.base_prefix and any((path / _BCC_MARK).is_file() for path in folders)


def _kernel_headers() -> Iterator[CheckResult]:
    where = headers.find_headers()
    if where is None:
        yield CheckResult(
            "kernel headers",
            "missing",
            "none, for any kernel: bcc needs some",
            install_command("kernel-headers"),
        )
    elif not where.exists():
        why = f"BCC_KERNEL_SOURCE names {where}, which does not exist"
        yield CheckResult("kernel headers", "missing", why, "unset BCC_KERNEL_SOURCE")
    else:
        yield CheckResult("kernel headers", "ok", str(where))


def _guest_image() -> Iterator[CheckResult]:
    guest = paths.cache() / "guest"
    parts = [meta.parent for meta in sorted(guest.glob("*/*/meta.json"))]
    parts = [part for part in parts if part.parent.name in ("userland", "kernel")]
    if {part.parent.name for part in parts} != {"userland", "kernel"}:
        yield CheckResult(
            "guest image",
            "limited",
            "not built yet: the first run in the VM builds it, in a minute or two",
        )
        return
    size = sum(
        file.stat().st_size for file in chain.from_iterable(part.iterdir() for part in parts)
    )
    yield CheckResult("guest image", "ok", f"{len(parts)} parts, {size >> 20} MiB in {guest}")


def _kvm() -> Iterator[CheckResult]:
    if closed := accelerator.obstacle():
        yield CheckResult("kvm", "limited", f"{closed.why}; the VM lab emulates", closed.mend)
    else:
        yield _stored_probe(paths.cache() / "guest" / "accelerator")


_UNTRIED = "not tried yet"


def _stored_probe(answers: Path) -> CheckResult:
    """Return what the last boot under KVM showed: the device's existence alone proves nothing."""
    newest = max(answers.glob("*.json"), key=lambda path: path.stat().st_mtime, default=None)
    if newest is None:
        return CheckResult(
            "kvm",
            "limited",
            f"{accelerator.DEVICE} is there, {_UNTRIED}: the first run in the VM boots a guest "
            "under it",
        )
    answer = json.loads(newest.read_text())
    return CheckResult(
        "kvm",
        "ok" if answer["accelerator"] == "kvm" else "limited",
        f"last tried: {answer['reason']}",
    )


def _resources() -> Iterator[CheckResult]:
    import psutil

    available, needed = psutil.virtual_memory().available >> 20, _guest_memory() >> 20
    enough = available >= needed
    needs = "" if enough else f"; a guest needs about {needed} MiB"
    yield CheckResult("memory", "ok" if enough else "limited", f"{available} MiB available{needs}")
    cpus = len(os.sched_getaffinity(0))
    alone = "" if cpus > 1 else ": cells with cpus split are unsupported"
    yield CheckResult("cpus", "ok" if cpus > 1 else "limited", f"{cpus} usable{alone}")


def _guest_memory() -> int:
    """Return the bytes that a guest needs: the one that is built, or about."""
    built = image.kept()
    return qemu.needed_memory(built.size if built else qemu.USUAL_FILES)


def _realtime_priority() -> Iterator[CheckResult]:
    """Yield what keeps the instruction clock exact beside busy cores."""
    what = "realtime priority"
    if scheduling.is_permitted():
        yield CheckResult(
            what, "ok", "tried: permitted, so the instruction clock is exact beside busy cores too"
        )
    elif os.geteuid() == 0:
        yield CheckResult(what, "limited", f"{scheduling.REFUSED} (a container needs CAP_SYS_NICE)")
    else:
        limit = f"{requirements.user()[0]} - rtprio 1"
        mend = as_root(["sh", "-c", f"echo '{limit}' > /etc/security/limits.d/yogurtbench.conf"])
        yield CheckResult(
            what, "limited", f"{scheduling.REFUSED} (log in again after mending)", mend
        )


def _cache_folder() -> Iterator[CheckResult]:
    folder = paths.cache()
    existing = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    why = paths.why_not_private(folder)
    if not why and not (existing.is_dir() and os.access(existing, os.W_OK | os.X_OK)):
        why = f"{folder} cannot be written: guest images and merged headers are kept there"
    if not why:
        yield CheckResult("cache folder", "ok", str(folder))
    else:
        yield CheckResult(
            "cache folder",
            "missing",
            why,
            f"export YOGURTBENCH_CACHE=/var/tmp/yogurtbench-{requirements.user()[0]}",
        )


def _tuning() -> Iterator[CheckResult]:
    said = process.run(
        [sys.executable, "-I", "-m", "pyperf", "system", "show"], timeout=20, check=False
    ).stdout
    advice = tuning_advice(said)
    if advice:
        mend = as_root([sys.executable, "-I", "-m", "pyperf", "system", "tune"])
        yield CheckResult(
            "tuning", "limited", f"quieter for wall-clock figures: {'; '.join(advice)}", mend
        )
    else:
        yield CheckResult("tuning", "ok", "pyperf would tune nothing")


def tuning_advice(said: str) -> list[str]:
    """Return what ``pyperf system show`` would tune: the lines of its section Advices."""
    section = re.search(r"^Advices\n=+\n\n(.+?)(?:\n\n|\Z)", said, re.MULTILINE | re.DOTALL)
    return section[1].splitlines() if section else []


_LOOKS: tuple[Callable[[], Iterator[CheckResult]], ...] = (
    _system,
    _identity,
    _kernel,
    _tools,
    _debians_keys,
    _rootless_builds,
    _bcc,
    _kernel_headers,
    _guest_image,
    _kvm,
    _resources,
    _realtime_priority,
    _cache_folder,
    _tuning,
)
