"""What a run may be resumed with."""

from __future__ import annotations

from pathlib import Path

import pytest
from matrices import planned

from yogurtbench.core.errors import MatrixError
from yogurtbench.core.records import Environment
from yogurtbench.results.run_folder import StoredRun
from yogurtbench.runner import session

MATRIX = """
name: nightly
question: Which?
axes: {device: veth, hook: tcx_ingress, helper: redirect}
baseline: {device: veth, topology: direct, hook: none, helper: none}
loads: [{kind: ping, count: 10}]
blocks: {min: 2, max: 4}
margins: {rtt_p50: 3%}
seed: 1
"""
#: A change of the matrix, and what the refusal calls it.
CHANGES = [
    ("nightly", "weekly", "with other: name"),
    ("Which?", "Why?", "with other: question"),
    ("max: 4", "max: 5", "with other: blocks"),
    ("3%", "4%", "with other: margins"),
    ("seed: 1", "seed: 2", "with other: seed"),
    ("count: 10", "count: 11", "with other: cells, baselines or loads"),
    ("redirect}", "redirect_peer}", "with other: cells, baselines or loads"),
]


@pytest.mark.parametrize(("before", "after", "refusal"), CHANGES)
def test_a_run_is_not_resumed_with_another_plan(
    tmp_path: Path, before: str, after: str, refusal: str
) -> None:
    plan = planned(tmp_path, MATRIX)
    where = Environment("h", "native", "none", "wall", "6.12")
    with StoredRun.create(tmp_path / "out", plan.name, plan.source, plan, where) as run:
        session.check_resumable(plan, run.path)
        with pytest.raises(MatrixError, match=refusal):
            session.check_resumable(planned(tmp_path, MATRIX.replace(before, after, 1)), run.path)
