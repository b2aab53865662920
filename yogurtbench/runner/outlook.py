"""Preview a run: its plan, clock with reason, and time, before anything runs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from yogurtbench.core import allowance
from yogurtbench.hosts import choose
from yogurtbench.matrix.clocks import Plans
from yogurtbench.plan import describe, estimate
from yogurtbench.plan.plan import Plan


@dataclass(frozen=True, slots=True)
class Outlook:
    """``labs``: whose time is given; ``reason``: why this clock.

    ``otherwise``: the plan it may be instead.
    """

    plan: Plan
    labs: tuple[str, ...]
    reason: str
    otherwise: Plan | None
    jobs: int

    def as_text(self, budget: Iterable[str] = ()) -> str:
        """For people; ``budget``: the lines on what a budget buys."""
        return describe.describe_plan(
            self.plan, *self.labs, said=[*self._clock(), *budget], jobs=self.jobs
        )

    def as_json(self) -> dict[str, Any]:
        """For scripts: the plan and what is said of it.

        ``choice`` has the clock's reason, and what else it may be.
        """
        other = self.otherwise
        instead = (
            {"clock": other.clock, **describe.plan_facts(other, "vm", jobs=self.jobs)}
            if other
            else None
        )
        kept = ("clock", "counts", "seconds")
        chosen = {
            "clock": self.plan.clock,
            "reason": self.reason,
            "otherwise": {name: instead[name] for name in kept} if instead else None,
        }
        return {
            **self.plan.to_json(),
            **describe.plan_facts(self.plan, *self.labs, jobs=self.jobs),
            "choice": chosen,
        }

    def _clock(self) -> Iterator[str]:
        yield f"clock {self.plan.clock}: {self.reason}"
        if self.otherwise:
            yield (
                f"else clock {self.otherwise.clock}: "
                f"{describe.describe_duration(self.otherwise, 'vm', self.jobs)}"
            )


def outlook_of(plans: Plans, jobs: int | None) -> Outlook:
    """Return the outlook of a matrix; ``jobs``: trials side by side, None for as many as may be.

    Starts no guest.
    """
    seen = choose.foresee_host(plans)
    labs = estimate.possible_labs(seen.plan) if seen.lab == "auto" else (seen.lab,)
    return Outlook(seen.plan, labs, seen.reason, seen.otherwise, jobs or allowance.available_cpus())
