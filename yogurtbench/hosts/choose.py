"""Choose the host of a plan: native where this kernel can do every cell, else the VM.

Always with the reason.

With ``clock: auto`` that decides the clock too: wall natively and under KVM, instructions where
only emulation is left.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from itertools import chain

from yogurtbench.core import install_hints, tools
from yogurtbench.core.errors import HostError, MatrixError
from yogurtbench.core.hook_specs import attach_family
from yogurtbench.core.load_specs import LOADS
from yogurtbench.core.records import Cell
from yogurtbench.ebpf import headers
from yogurtbench.hosts import native
from yogurtbench.hosts.base import AgentHost
from yogurtbench.matrix import clocks
from yogurtbench.matrix.clocks import Plans
from yogurtbench.plan.plan import Plan

_NEED = "which the matrix needs"


@dataclass(frozen=True, slots=True)
class Foreseen:
    """The choice that a run would make, as far as it is known without a guest.

    ``plan``: on the clock it would take; ``lab``: native or vm, auto by default;
    ``reason``: why this clock. ``otherwise``: the plan that it would be where KVM, which a run
    tries first, runs no guest; None where that is known or of no account.
    """

    plan: Plan
    lab: str
    reason: str
    otherwise: Plan | None = None


def foresee_host(plans: Plans) -> Foreseen:
    """Predict :func:`settle`: from this kernel, /dev/kvm, and KVM's earlier answer."""
    wall, exact, plan = plans.wall, plans.exact, plans.likely
    if plans.named or wall is None:
        return Foreseen(plan, plan.lab, plans.named)
    with ExitStack() as undo:
        if wall.lab == "auto" and _try_native(_cells(wall), wall.clock, undo)[0]:
            return Foreseen(wall, "native", clocks.NATIVE)
    from yogurtbench.hosts.vm import accelerator, image

    kernels = _kernels(wall)  # several are for several runs
    probe = accelerator.known_accelerator(
        lambda: image.kept(kernels[0]) if len(kernels) == 1 else None
    )
    if probe and probe.accelerator == "kvm":
        return Foreseen(wall, "vm", clocks.KVM)
    if exact is None:
        return Foreseen(wall, "vm", plans.refused)
    if probe is None:
        return Foreseen(wall, "vm", "if KVM runs a guest here, which the run tries first", exact)
    return Foreseen(exact, "vm", f"{clocks.EMULATED}: {probe.reason}")


def choose_plan_and_host(
    plans: Plans, undo: ExitStack, say: Callable[[str], None], jobs: int | None
) -> tuple[Plan, AgentHost]:
    """Return a started host, closed with ``undo``, and the plan for the clock that is right for it.

    ``environment.reasons`` says why ``lab`` and ``clock`` are what they are. ``jobs``: trials side
    by side; None: as many as may be. Raises as :func:`choose` does.
    """
    if plans.wall is None or plans.exact is None:
        plan = plans.likely
        host = choose_host(plan, undo, say, jobs)
    else:
        plan, host = _by_accelerator(plans.wall, plans.exact, undo, say, jobs)
    return plan, _with_reasons(host, clock=plans.named or _clock_reason(host, plans.refused))


def _clock_reason(host: AgentHost, refused: str) -> str:
    """Return why a clock that was not named was taken."""
    found = {"none": clocks.NATIVE, "kvm": clocks.KVM}
    return found.get(host.environment.accelerator, refused or clocks.EMULATED)


def _by_accelerator(
    wall: Plan, exact: Plan, undo: ExitStack, say: Callable[[str], None], jobs: int | None
) -> tuple[Plan, AgentHost]:
    """Natively where this kernel can do every cell.

    Else in the guest, on the clock that fits what runs it.
    """
    host, reason = None, _NAMED
    if wall.lab == "auto":
        host, reason = _try_native(_cells(wall), wall.clock, undo)
    if host:
        _check_jobs(jobs, wall)
        return wall, _with_reasons(host, lab=_EVERY_CELL)
    from yogurtbench.hosts.vm import accelerator, image

    probe = accelerator.probe_accelerator(image.ensure(_kernel(wall), say=say), say=say)
    plan = wall if probe.accelerator == "kvm" else exact
    host = _start_guest(plan, undo, say, jobs)
    return plan, _with_reasons(host, lab=reason, accelerator=probe.reason)


def choose_host(
    plan: Plan,
    undo: ExitStack,
    say: Callable[[str], None],
    jobs: int | None = 1,
    *,
    anew: bool = False,
) -> AgentHost:
    """Return a started host for a plan; closed with ``undo``.

    ``environment.reasons["lab"]`` says why it was chosen.

    ``jobs``: trials side by side, on the instruction clock; None: as many as may be. ``anew``: its
    guest is booted even where a saved one is kept. Raises HostError where the lab cannot be had,
    MatrixError where the choice contradicts the cells, or several jobs the clock.
    """
    _check_jobs(jobs, plan)
    wanted = _cells(plan)
    if plan.lab == "native":
        return _start_native(wanted, plan.clock, undo)
    reason = _NAMED
    if plan.lab == "auto":
        host, reason = _try_native(wanted, plan.clock, undo)
        if host:
            return _with_reasons(host, lab=_EVERY_CELL)
    return _with_reasons(_start_guest(plan, undo, say, jobs, anew=anew), lab=reason)


_NAMED = clocks.NAMED
_EVERY_CELL = "this kernel can do every cell"


def _start_guest(
    plan: Plan, undo: ExitStack, say: Callable[[str], None], jobs: int | None, *, anew: bool = False
) -> AgentHost:
    _check_jobs(jobs, plan)
    host = undo.enter_context(_vm(plan, say, jobs, anew=anew))
    _must_be_of_use(host, _cells(plan))
    return host


def _cells(plan: Plan) -> list[Cell]:
    return [planned.cell for planned in plan.cells]


def _check_jobs(jobs: int | None, plan: Plan) -> None:
    if jobs is not None and jobs > 1 and plan.clock != "instructions":
        raise MatrixError(
            f"--jobs {jobs}: on the wall clock trials side by side would disturb each other; "
            "take --clock instructions, or one job"
        )


def _must_be_of_use(host: AgentHost, cells: list[Cell]) -> None:
    """Raise HostError where a guest's kernel has no veth, which is none's fault but its
    configuration's.

    A custom one must have something that a cell asks for, too. A Debian kernel too old for a
    cell is a result.
    """
    from yogurtbench.hosts.vm import image

    lacking = [_missing_features([cell], host.features) for cell in cells]
    own = any(image.is_path(cell.kernel) for cell in cells)
    no_use = own and all(lacking[n] for n, cell in enumerate(cells) if cell.has_programs)
    everything = sorted(set(chain.from_iterable(lacking)))
    if "veth" in everything or (everything and no_use):
        release = host.environment.kernel
        advice = image.advice(cells[0].kernel, release)
        raise HostError(
            f"the guest's kernel {release} has no {' and no '.join(everything)}, {_NEED}: {advice}"
        )


def _with_reasons(host: AgentHost, **reasons: str) -> AgentHost:
    host.environment = replace(host.environment, reasons={**host.environment.reasons, **reasons})
    return host


def _start_native(cells: list[Cell], clock: str, undo: ExitStack) -> AgentHost:
    if clock == "instructions":
        raise MatrixError(
            "the instruction clock exists in the VM only: use lab: vm or auto, or clock: wall"
        )
    if named := _other_kernels(cells):
        raise MatrixError(
            f"kernel {named[0]!r} needs the VM, which can boot it: use lab: vm or auto"
        )
    if missing := missing_tools(cells, only_installable=True):
        raise HostError(f"the native lab needs {missing[0]}; yogurtbench doctor says how to add it")
    host = undo.enter_context(native.host())
    lacking = _missing_features(cells, host.features)
    if lacking:
        raise HostError(f"this kernel has no {lacking[0]}, {_NEED}: use --lab vm")
    return _with_reasons(host, lab=_NAMED)


def _try_native(cells: list[Cell], clock: str, undo: ExitStack) -> tuple[AgentHost | None, str]:
    """Return the native host where it can do every cell, else None and the first reason why not."""
    if reason := _native_blocker(cells, clock):
        return None, reason
    trying = ExitStack()
    try:
        host = trying.enter_context(native.host())
    except HostError as error:
        return None, str(error)
    if lacking := _missing_features(cells, host.features):
        trying.close()
        return None, f"this kernel has no {lacking[0]}"
    if unasked := _undecided_blocker(cells, host):
        trying.close()
        return None, unasked
    undo.push(trying)
    return host, ""


def _undecided_blocker(cells: list[Cell], host: AgentHost) -> str:
    """Return why a cell's probe could not be asked here; empty where all can."""
    needed = {f"IPv{cell.ip or 4}" for cell in cells}
    needed |= {"packet sockets" for cell in cells if cell.load == "isolation"}
    return next((why for question, why in host.cannot_ask().items() if question in needed), "")


def _native_blocker(cells: list[Cell], clock: str) -> str:
    """Return why native cannot do the cells, as far as that is known without trying.

    Empty where nothing speaks against it.
    """
    if clock == "instructions":
        return "the instruction clock exists in the VM only"
    if named := _other_kernels(cells):
        return f"kernel {named[0]} is not the one that runs here"
    if os.geteuid() != 0:
        return "the native lab needs root"
    missing = missing_tools(cells)
    return f"the native lab needs {missing[0]}" if missing else ""


def _vm(plan: Plan, say: Callable[[str], None], jobs: int | None, *, anew: bool) -> AgentHost:
    from yogurtbench.hosts.vm import host as vm

    kernel = _kernel(plan)
    if plan.clock == "instructions":
        return vm.SnapshotHost(kernel, say, plan.texts, jobs=jobs, anew=anew)
    return vm.host(kernel, say)


def _kernel(plan: Plan) -> str:
    """Return the one that a guest boots. Raises MatrixError where the cells name several."""
    kernels = _kernels(plan)
    if len(kernels) > 1:
        raise MatrixError(
            f"one run boots one kernel and the matrix has {', '.join(kernels)}: use --only "
            "kernel=… for each"
        )
    return kernels[0]


def _kernels(plan: Plan) -> list[str]:
    return sorted({planned.cell.kernel for planned in plan.cells})


def _other_kernels(cells: list[Cell]) -> list[str]:
    return sorted({cell.kernel for cell in cells if cell.kernel != "host"})


def missing_tools(cells: list[Cell], *, only_installable: bool = False) -> list[str]:
    """Return what the cells need and PATH, Python or the headers lack, a clause each.

    ``only_installable``: leave out the loads' tools that this distribution has no package of; what
    needs them will be unsupported.
    """
    needed = set(chain.from_iterable(LOADS[cell.load].tools for cell in cells))
    if only_installable:
        needed = {tool for tool in needed if not install_hints.no_package(tool)}
    needed |= {"unshare", "nsenter", "taskset", "mount"}
    missing = [lacking for tool in sorted(needed) if (lacking := tools.find_tools(tool).lacking)]
    if any(cell.has_programs for cell in cells):
        missing += (
            []
            if _has_bcc()
            else [
                f"the Python binding of bcc ({install_hints.package('bcc')}), which is not "
                "installed"
            ]
        )
        missing += (
            [] if headers.find_headers() else ["any kernel's headers, and none are installed"]
        )
    return missing


def _has_bcc() -> bool:
    from importlib.util import find_spec

    return find_spec("bcc") is not None


def _missing_features(cells: list[Cell], features: dict[str, bool]) -> list[str]:
    needed = {cell.device for cell in cells}
    hooks = {cell.hook for cell in cells} | {cell.return_hook for cell in cells}
    needed |= {"tcx"} & set(map(attach_family, hooks))
    return sorted(name for name in needed if not features.get(name, False))
