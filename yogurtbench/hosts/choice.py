"""Which host a plan runs on: native where this kernel can do every cell, else the VM; always with the reason."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace

from yogurtbench import headers, tools
from yogurtbench.hosts import native
from yogurtbench.hosts.host import AgentHost
from yogurtbench.plan import Plan
from yogurtbench.records import Cell, HostError, MatrixError

_TOOLS = {"ping": "ping", "sockperf": "sockperf", "sockperf_tcp": "sockperf", "rtt_under_load": "sockperf"}
_TOOLS |= {"iperf3_tcp": "iperf3", "iperf3_udp": "iperf3"}
_NEED = "which the matrix needs"


def choose(plan: Plan, undo: ExitStack, say: Callable[[str], None], jobs: int = 1) -> AgentHost:
    """A started host for a plan; closed with ``undo``. ``environment.reasons["lab"]`` says why it was chosen.

    ``jobs``: trials side by side, on the instruction clock. Raises HostError where the lab cannot be had, MatrixError
    where the choice contradicts the cells.
    """
    wanted = [planned.cell for planned in plan.cells]
    if plan.lab == "native":
        return _native(wanted, plan.clock, undo)
    reason = "the matrix or the command line names it"
    if plan.lab == "auto":
        host, reason = _native_or_why_not(wanted, plan.clock, undo)
        if host:
            return _because(host, "this kernel can do every cell")
    host = undo.enter_context(_vm(plan, say, jobs))
    _must_be_of_use(host, wanted)
    return _because(host, reason)


def _must_be_of_use(host: AgentHost, cells: list[Cell]) -> None:
    """Raise HostError where a guest's kernel has no veth, which is none's fault but its configuration's.

    One of one's own must have something that a cell asks for, too. A Debian kernel too old for a cell is a result.
    """
    from yogurtbench.hosts.vm import image

    lacking = [_lacking([cell], host.features) for cell in cells]
    own = any(image.is_path(cell.kernel) for cell in cells)
    no_use = own and all(lacking[n] for n, cell in enumerate(cells) if cell.has_programs)
    everything = sorted({name for names in lacking for name in names})
    if "veth" in everything or (everything and no_use):
        release = host.environment.kernel
        advice = image.advice(cells[0].kernel, release)
        raise HostError(f"the guest's kernel {release} has no {' and no '.join(everything)}, {_NEED}: {advice}")


def _because(host: AgentHost, reason: str) -> AgentHost:
    host.environment = replace(host.environment, reasons={**host.environment.reasons, "lab": reason})
    return host


def _native(cells: list[Cell], clock: str, undo: ExitStack) -> AgentHost:
    if clock == "instructions":
        raise MatrixError("the instruction clock exists in the VM only: use lab: vm or auto, or clock: wall")
    if named := _other_kernels(cells):
        raise MatrixError(f"kernel {named[0]!r} needs the VM, which can boot it: use lab: vm or auto")
    if missing := missing_tools(cells):
        raise HostError(f"the native lab needs {missing[0]}; yogurtbench doctor says how to add it")
    host = undo.enter_context(native.host())
    lacking = _lacking(cells, host.features)
    if lacking:
        raise HostError(f"this kernel has no {lacking[0]}, {_NEED}: use --lab vm")
    return _because(host, "the matrix or the command line names it")


def _native_or_why_not(cells: list[Cell], clock: str, undo: ExitStack) -> tuple[AgentHost | None, str]:
    """The native host where it can do every cell, else None and the first reason why not."""
    if reason := _known_beforehand(cells, clock):
        return None, reason
    trying = ExitStack()
    try:
        host = trying.enter_context(native.host())
    except HostError as error:
        return None, str(error)
    if lacking := _lacking(cells, host.features):
        trying.close()
        return None, f"this kernel has no {lacking[0]}"
    if unasked := _unasked(cells, host):
        trying.close()
        return None, unasked
    undo.push(trying)
    return host, ""


def _unasked(cells: list[Cell], host: AgentHost) -> str:
    """Why some cell's probe could not be asked here; empty where all can."""
    needed = {f"IPv{cell.ip or 4}" for cell in cells}
    needed |= {"packet sockets" for cell in cells if cell.load == "isolation"}
    return next((why for question, why in host.cannot_ask().items() if question in needed), "")


def _known_beforehand(cells: list[Cell], clock: str) -> str:
    """Why native cannot do the cells, as far as that is known without trying; empty where nothing speaks against it."""
    if clock == "instructions":
        return "the instruction clock exists in the VM only"
    if named := _other_kernels(cells):
        return f"kernel {named[0]} is not the one that runs here"
    if os.geteuid() != 0:
        return "the native lab needs root"
    missing = missing_tools(cells)
    return f"the native lab needs {missing[0]}" if missing else ""


def _vm(plan: Plan, say: Callable[[str], None], jobs: int) -> AgentHost:
    from yogurtbench.hosts.vm import host as vm

    kernels = sorted({planned.cell.kernel for planned in plan.cells})
    if len(kernels) > 1:
        raise MatrixError(
            f"one run boots one kernel and the matrix has {', '.join(kernels)}: use --only kernel=… for each"
        )
    kernel = kernels[0] if kernels else "host"
    return vm.Clockwork(kernel, say, plan.texts, jobs=jobs) if plan.clock == "instructions" else vm.host(kernel, say)


def _other_kernels(cells: list[Cell]) -> list[str]:
    return sorted({cell.kernel for cell in cells if cell.kernel != "host"})


def missing_tools(cells: list[Cell]) -> list[str]:
    """What the cells need and PATH, Python or the headers lack, a clause each."""
    needed = {_TOOLS[cell.load] for cell in cells if cell.load in _TOOLS} | {"unshare", "nsenter", "taskset", "mount"}
    missing = [lacking for tool in sorted(needed) if (lacking := tools.look(tool).lacking)]
    if any(cell.has_programs for cell in cells):
        missing += [] if _has_bcc() else ["the Python binding of bcc (python3-bpfcc), which is not installed"]
        missing += [] if headers.found() else ["any kernel's headers, and none are installed"]
    return missing


def _has_bcc() -> bool:
    from importlib.util import find_spec

    return find_spec("bcc") is not None


def _lacking(cells: list[Cell], features: dict[str, bool]) -> list[str]:
    needed = {cell.device for cell in cells}
    needed |= {"tcx" for cell in cells for hook in (cell.hook, cell.return_hook) if hook.startswith("tcx")}
    return sorted(name for name in needed if not features.get(name, False))
