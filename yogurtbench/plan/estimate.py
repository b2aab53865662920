"""Estimate a plan's time and what it cannot decide, before anything runs. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from yogurtbench.core.metrics import REQUEST_RESPONSE, YES_NO
from yogurtbench.core.records import Trial
from yogurtbench.core.resolution import FEWEST_FOR
from yogurtbench.core.wording import count_of
from yogurtbench.plan.plan import Plan, first_block, load_seconds

#: Level of the tests that Holm's method adjusts.
ALPHA = 0.05
#: Seconds that lab, wire, probe and undoing cost a trial; that a load's tools take to start; that a
#: program takes to compile, once a sweep; that a sweep takes to begin. Measured on two cores, vm
#: under TCG: the truth table (480 cells of reachability, the isolation of the 127 live ones) took
#: 12 min, quickstart.yaml (138 trials, one wire of four dead) 6 min. A dead wire costs less than is
#: planned here, since its loads are skipped; KVM is faster.
TRIAL_SECONDS = {"native": 0.15, "vm": 0.6}
TOOL_SECONDS = {"native": 0.0, "vm": 0.7}
COMPILE_SECONDS = {"native": 0.3, "vm": 3.0}
BOOT_SECONDS = {"native": 1.0, "vm": 12.0}
#: On the instruction clock, on the same machine: boot and save took 50 to 80 s (1 s where the saved
#: guest is kept), a trial 1 to 3 s from waking to its end (idle time passes at once). A custom
#: program takes 20 s more to boot, for each way of looking at it.
SAVED_SECONDS, WOKEN_SECONDS, OWN_SECONDS = 65.0, 2.5, 20.0
#: Of rtt_under_load there, whose bulk transfer leaves the guest never idle.
BUSY_SECONDS = 60.0


def estimate_seconds(plan: Plan, lab: str, blocks: int | None = None, jobs: int = 1) -> float:
    """Return the seconds of a plan on ``native`` or ``vm``, for the fewest or so many blocks.

    ``jobs``: trials side by side; of account on the instruction clock alone.
    """
    count = plan.blocks.min if blocks is None else blocks
    trials = block_seconds(plan, lab) * count + _seconds(plan.diagnostics(), lab)
    return _begin_seconds(plan, lab) + trials / (jobs if plan.clock == "instructions" else 1)


def block_seconds(plan: Plan, lab: str) -> float:
    """Seconds that a block of every group takes."""
    return _seconds(first_block(plan), lab)


def _begin_seconds(plan: Plan, lab: str) -> float:
    """Estimate a boot, and compiling each program once."""
    if plan.clock == "instructions":
        return SAVED_SECONDS + OWN_SECONDS * len(plan.texts.own)
    cells = [planned.cell for planned in plan.cells]
    named: set[str | None] = set()
    for one in cells:
        named |= {one.helper, one.return_helper, one.primary, one.peer, one.program}
    return BOOT_SECONDS[lab] + COMPILE_SECONDS[lab] * len(named - {None, "none", "builtin"})


def _seconds(trials: Iterable[Trial], lab: str) -> float:
    return sum(_trial_seconds(trial, lab) for trial in trials)


def _trial_seconds(trial: Trial, lab: str) -> float:
    if trial.clock == "instructions":
        return BUSY_SECONDS if trial.cell.load == "rtt_under_load" else WOKEN_SECONDS
    tool = 0.0 if trial.cell.load in YES_NO else TOOL_SECONDS[lab]
    return TRIAL_SECONDS[lab] + tool + load_seconds(trial.cell.load, trial.options)


def max_decidable_cells(blocks: int) -> int:
    """Return how many gate cells Holm's method can decide: n blocks give a signed-rank p of 2/2^n
    at best.
    """
    return int(ALPHA * 2.0 ** (min(blocks, 1000) - 1))


def blocks_needed(gate_cells: int) -> int:
    """Return the fewest blocks that can decide so many gate cells."""
    return next(blocks for blocks in range(1, 1001) if max_decidable_cells(blocks) >= gate_cells)


def warnings(plan: Plan) -> list[str]:
    """Return what the plan cannot give, a sentence each.

    On the instruction clock a difference is a difference: nothing.
    """
    if plan.clock == "instructions":
        return [*plan.notes]
    return [*plan.notes, *_too_many_gates(plan), *_too_few_blocks(plan)]


def too_coarse(plan: Plan) -> list[str]:
    """Return what no number of blocks decides, since a tool tells it too coarsely, a sentence
    each.
    """
    compared = [planned for planned in plan.cells if planned.baselines]
    pings = [planned for planned in compared if planned.cell.load == "ping"]
    few = sorted(
        {one.options["count"] for one in pings if one.options["count"] < FEWEST_FOR["rtt_p99"]}
    )
    found = [
        f"{count} pings have no 99th percentile: it takes {FEWEST_FOR['rtt_p99']}" for count in few
    ]
    if pings and not any(one.cell.load in REQUEST_RESPONSE - {"ping"} for one in compared):
        steps = "2,000 instructions" if plan.clock == "instructions" else "2 µs"
        found.append(
            f"ping prints whole microseconds: what differs by less than {steps} a round trip "
            "stays undecided; "
            "sockperf decides it"
        )
    return found


def _too_many_gates(plan: Plan) -> Iterator[str]:
    gates, most = sum(planned.gate for planned in plan.cells), max_decidable_cells(plan.blocks.min)
    if gates > most and most:
        yield (
            f"{plan.blocks.min} blocks decide at most {most} gate cells, and the gate has {gates}: "
            f"name fewer, or set blocks min to {blocks_needed(gates)}"
        )


def _too_few_blocks(plan: Plan) -> Iterator[str]:
    needed = blocks_needed(1)
    if is_estimated(plan) and plan.blocks.min < needed:
        yield (
            f"from {count_of(plan.blocks.min, 'block')} no 95 % interval can be made: they "
            "give estimates, no verdicts "
            f"(verdicts need blocks min {needed} or more)"
        )


def is_estimated(plan: Plan) -> bool:
    """Return whether anything is compared that noise reaches: neither yes/no nor on the instruction
    clock.
    """
    noisy = (planned for planned in plan.cells if planned.cell.load not in YES_NO)
    return plan.clock == "wall" and any(planned.baselines for planned in noisy)


def possible_labs(plan: Plan) -> tuple[str, ...]:
    """Return where the plan may run, whose time is worth estimating: ``native``, ``vm`` or both."""
    if plan.clock == "instructions":
        return ("vm",)
    return ("native", "vm") if plan.lab == "auto" else (plan.lab,)
