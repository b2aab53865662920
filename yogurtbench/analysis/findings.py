"""What a gate finds: the parts of a decision, and the words for what is undecided."""

from __future__ import annotations

import math
from dataclasses import dataclass

from yogurtbench.analysis.comparison import DEGENERATE
from yogurtbench.analysis.measured_run import MeasuredRun
from yogurtbench.analysis.statistics import Family
from yogurtbench.core.records import Cell, Role

#: Verdicts that let a change pass. ``regression`` stops it, every other word is "we don't know".
FINE = frozenset({"identical", "equivalent", "improvement", "unchanged"})
#: Why there is no verdict, by name.
UNDECIDED: dict[str, str] = {
    **{
        name: DEGENERATE[name]
        for name in ("zeros", "one_block", "incomplete", "no_baseline", "constant")
    },
    "too_few_blocks": "too few blocks: no 95 % interval exists",
    "failed": "no trial gave a value",
    "unsupported": "one side could not do it",
    "unsteady": "it answered in some blocks and not in others",
    "inconclusive": "",
}


@dataclass(frozen=True, slots=True)
class Mismatch:
    """Something in which the sides differ, so that their numbers must not be compared."""

    what: str
    old: str
    new: str

    def __str__(self) -> str:
        return f"{self.what}: {self.old or 'none'} → {self.new or 'none'}"


@dataclass(frozen=True, slots=True)
class Finding:
    """One metric of a cell on both sides.

    ``old`` and ``new`` are medians in ``unit``, ``difference`` new minus old, ``per_packet`` the
    same for one packet (nan where unknown). ``ratio`` with its interval ``low``, ``high`` is new
    over old; on the wall clock the ratio of the ratios to the baseline. ``margin`` is a share.
    """

    cell: Cell
    role: Role
    metric: str
    unit: str
    family: Family
    margin: float
    verdict: str = "inconclusive"
    note: str = ""
    old: float = math.nan
    new: float = math.nan
    difference: float = math.nan
    per_packet: float = math.nan
    ratio: float = math.nan
    low: float = math.nan
    high: float = math.nan
    p: float = math.nan
    p_adjusted: float = math.nan

    @property
    def deciding(self) -> bool:
        """True where it takes part in the gate's decision."""
        return self.family == "gate"


@dataclass(frozen=True, slots=True)
class Decision:
    """The gate's decision.

    Nothing was compared where ``unlike`` is not empty.
    """

    old: MeasuredRun
    new: MeasuredRun
    unlike: tuple[Mismatch, ...]
    findings: tuple[Finding, ...]
    cautions: tuple[str, ...]

    @property
    def failed(self) -> tuple[str, ...]:
        """The trials of either side that failed or crashed."""
        return (*self.old.failed, *self.new.failed)

    @property
    def deciding(self) -> tuple[Finding, ...]:
        """The findings that the verdict rests on."""
        return tuple(one for one in self.findings if one.deciding)

    @property
    def regressions(self) -> tuple[Finding, ...]:
        """The findings that are worse by more than their margin."""
        return tuple(one for one in self.deciding if one.verdict == "regression")

    @property
    def improvements(self) -> tuple[Finding, ...]:
        """The findings that are better by more than their margin."""
        return tuple(one for one in self.deciding if one.verdict == "improvement")

    @property
    def undecided(self) -> tuple[Finding, ...]:
        """Deciding findings without a verdict."""
        return tuple(one for one in self.deciding if one.verdict not in FINE | {"regression"})

    @property
    def verdict(self) -> str:
        """``failed`` before ``regression`` before ``not comparable``, ``inconclusive``,
        ``fine``.
        """
        if self.failed:
            return "failed"
        if self.regressions:
            return "regression"
        if self.unlike:
            return "not comparable"
        return "inconclusive" if self.undecided or not self.deciding else "fine"

    @property
    def exit_code(self) -> int:
        """The contract's: 3 before 1 before 4."""
        return {"failed": 3, "regression": 1, "fine": 0}.get(self.verdict, 4)
