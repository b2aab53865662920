"""Look at this machine: one function a thing, each yields what it found and how to mend it."""

from __future__ import annotations

import json
import os
import platform
import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
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


def loads_with(tool: str) -> str:
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


def run_safely(look: Callable[[], Iterator[CheckResult]]) -> list[CheckResult]:
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
QUESTIONS = {
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
    for question, needed_by in QUESTIONS.items():
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
        found = _program(tool, tool, loads_with(tool))
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
NEEDED_TO_BUILD = ("Debian's keys", "uidmap", "subordinate ids", "user namespaces")


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


UNTRIED = "not tried yet"


def _stored_probe(answers: Path) -> CheckResult:
    """Return what the last boot under KVM showed: the device's existence alone proves nothing."""
    newest = max(answers.glob("*.json"), key=lambda path: path.stat().st_mtime, default=None)
    if newest is None:
        return CheckResult(
            "kvm",
            "limited",
            f"{accelerator.DEVICE} is there, {UNTRIED}: the first run in the VM boots a guest "
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


LOOKS: tuple[Callable[[], Iterator[CheckResult]], ...] = (
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
