"""The plans of a matrix, one for each clock that its trials may be measured on.

With ``clock: auto`` that depends on where they will run (see hosts.choice), so that both are made:
one for the wall clock, natively and under KVM, one for the instruction clock where only emulation
is left. A plan itself is always for one clock.
"""

from __future__ import annotations

from dataclasses import dataclass

from yogurtbench.core.errors import MatrixError
from yogurtbench.core.labels import axis_word
from yogurtbench.matrix import validate
from yogurtbench.matrix.planner import make_plan
from yogurtbench.matrix.schema import AUTO, Matrix
from yogurtbench.plan.plan import Plan

NAMED = "the matrix or the command line names it"
NATIVE = "trials run natively"
KVM = "trials run under KVM"
EMULATED = "only emulation is left, where times say nothing"


@dataclass(frozen=True, slots=True)
class Begun:
    """The lab and the clock that a run was begun with, and that it keeps when it is resumed."""

    lab: str
    clock: str


@dataclass(frozen=True, slots=True)
class Plans:
    """The plans of a matrix by clock, at least one of them.

    ``named``: why the clock is no matter of choice, empty where it is; ``refused``: why the
    instruction clock cannot measure this matrix, empty where it can.
    """

    wall: Plan | None
    exact: Plan | None
    named: str = ""
    refused: str = ""

    @property
    def likely(self) -> Plan:
        """The one that needs no emulation, where there are both.

        Equal in name, loads and folder.
        """
        found = self.wall or self.exact
        assert found
        return found


def plans_by_clock(
    matrix: Matrix,
    *,
    lab: str | None = None,
    clock: str | None = None,
    only: str | None = None,
    blocks: int | None = None,
    begun: Begun | None = None,
) -> Plans:
    """Return the plans of a matrix, with the wishes of the command line.

    ``begun``: of the run that is resumed.

    Raises MatrixError where what was named cannot exist, or nothing is left.
    """
    lab, clock = lab or matrix.lab, clock or matrix.clock
    named = NAMED
    if begun:
        lab = begun.lab if lab == AUTO else lab
        clock, named = (begun.clock, "the run was begun on it") if clock == AUTO else (clock, named)

    def planned(on: str) -> Plan:
        return make_plan(matrix, lab=lab, clock=on, only=only, blocks=blocks)

    if clock == "instructions":
        return Plans(None, planned(clock), named)
    wall = planned("wall")
    if clock == "wall":
        return Plans(wall, None, named)
    if lab == "native":
        return Plans(wall, None, NATIVE)
    if refused := _beyond_it(matrix, wall):
        return Plans(wall, None, refused=refused)
    try:
        return Plans(wall, planned("instructions"))
    except MatrixError as error:
        return Plans(
            wall, None, refused=f"the instruction clock cannot measure this matrix: {error}"
        )


def _beyond_it(matrix: Matrix, plan: Plan) -> str:
    """Return what a matrix asks that the instruction clock would leave out.

    Empty where there is nothing.
    """
    named = {axis_word(value) for _, value in validate.values(matrix, "cpus")} - {"same"}
    asked = dict.fromkeys(word for one in plan.cells if (word := axis_word(one.cell.cpus)) in named)
    if not asked:
        return ""
    return f"the instruction clock has one CPU, and the matrix names cpus {', '.join(asked)}"
