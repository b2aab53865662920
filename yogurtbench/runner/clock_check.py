"""The self-test of the instruction clock: one small plan, twice, each time with a boot of its own.

Every digit equal.

The first may be a boot of an earlier run, kept in the cache; the second is always made now.

What may move (another kernel, compiler, QEMU) moves both; what is left is whether this machine
repeats itself.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from yogurtbench.core import paths
from yogurtbench.core.labels import wire_name
from yogurtbench.core.records import Attempt, Observation, Trial
from yogurtbench.hosts.choose import choose_host
from yogurtbench.matrix.planner import load, make_plan
from yogurtbench.plan.plan import Plan
from yogurtbench.results import run_folder
from yogurtbench.results.frame import frame_digest, to_frame
from yogurtbench.runner.progress import NoProgress
from yogurtbench.runner.sweep import Sweep

MATRIX = Path("experiments/clock.yaml")
#: By trial and metric: the trial, and what was seen, in words.
Seen = dict[tuple[str, str], tuple[Trial, str]]


@dataclass(frozen=True, slots=True)
class Difference:
    """A metric of a cell that the second boot saw otherwise.

    ``first`` and ``second`` are what was seen, as text.
    """

    cell: str
    wire: str
    load: str
    metric: str
    first: str
    second: str

    def __str__(self) -> str:
        return (
            f"{self.cell} {self.wire}, {self.load}: {self.metric} was {self.first}, then "
            f"{self.second}"
        )


@dataclass(frozen=True, slots=True)
class ClockCheckResult:
    """The digests of both boots, where they differ, and a sentence for each trial that did not end
    well.
    """

    digests: tuple[str, str]
    differences: tuple[Difference, ...]
    bad: tuple[str, ...]

    @property
    def passed(self) -> bool:
        """True where all went well, twice, and equally."""
        return self.digests[0] == self.digests[1] and not self.bad

    def as_text(self) -> str:
        """For people."""
        first, second = self.digests
        equal = "equal" if first == second else "NOT equal"
        verdict = f"the instruction clock: two boots, digests {equal}"
        return "\n".join(
            [
                f"first boot   {first}",
                f"second boot  {second}",
                *map(str, self.differences),
                *self.bad,
                verdict,
            ]
        )

    def as_json(self) -> str:
        """For scripts: the fields, and ``passed``."""
        return json.dumps({"passed": self.passed, **asdict(self)}, indent=1, ensure_ascii=False)


def clock_plan() -> Plan:
    """Return what is run: one netkit wire and plain veth, a live answer, round trips and a bulk
    transfer of each.
    """
    return replace(make_plan(load(paths.matrix(MATRIX))), asides=False)


def check_clock(
    plan: Plan, say: Callable[[str], None], show: Callable[[Plan], NoProgress], jobs: int | None = 1
) -> ClockCheckResult:
    """Run the plan in two boots, ``jobs`` trials at a time, and hold the two together.

    Nothing is left.

    Raises HostError where there is no guest.
    """
    with tempfile.TemporaryDirectory(prefix="yogurtbench-") as folder:
        first, second = (
            _boot(plan, Path(folder), say, show, jobs, anew=anew) for anew in (False, True)
        )
    return compare_boots(first, second)


def _boot(
    plan: Plan,
    out: Path,
    say: Callable[[str], None],
    show: Callable[[Plan], NoProgress],
    jobs: int | None,
    *,
    anew: bool,
) -> list[Attempt]:
    with ExitStack() as undo:
        host = choose_host(plan, undo, say, jobs, anew=anew)
        run = undo.enter_context(
            run_folder.StoredRun.create(out, plan.name, plan.source, plan, host.environment)
        )
        Sweep(plan, host, run, undo.enter_context(show(plan))).run()
    return list(run_folder.read_attempts(run.path))


def compare_boots(first: list[Attempt], second: list[Attempt]) -> ClockCheckResult:
    """Hold the attempts of two boots together."""
    digests = (
        frame_digest(to_frame(first, "")),
        frame_digest(to_frame(second, "")),
    )
    bad = (
        f"{_describe_row(one.trial)} {one.status}: {one.error}"
        for one in (*first, *second)
        if one.status != "ok"
    )
    return ClockCheckResult(
        digests, tuple(_differences(_seen(first), _seen(second))), tuple(dict.fromkeys(bad))
    )


def _describe_row(trial: Trial) -> str:
    return f"{trial.cell.id} {wire_name(trial.cell)}, {trial.cell.load}:"


def _differences(first: Seen, second: Seen) -> Iterator[Difference]:
    """Yield a row for each metric that is not the same in both, or in one of them only."""
    for key, (trial, _) in (second | first).items():
        one, other = (seen[key][1] if key in seen else "nothing" for seen in (first, second))
        if one != other:
            cell = trial.cell
            yield Difference(cell.id, wire_name(cell), cell.load, key[1], one, other)


def _seen(attempts: Iterable[Attempt]) -> Seen:
    """Return what was seen, by trial and metric."""
    found: Seen = {}
    for one in attempts:
        for row in one.observations:
            found[one.trial.id, row.metric] = (one.trial, _words(row))
    return found


def _words(row: Observation) -> str:
    """Return every digit of a number, a word, or the status of a trial that gave neither."""
    if row.status != "ok":
        return row.status
    return row.text or ("no value" if row.value is None else f"{row.value!r} {row.unit}")
