"""Which texts of bpf/ trials run."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from matrices import planned
from trials import DIRECT, WIRE, trial

from yogurtbench import texts


@pytest.mark.parametrize(
    ("one", "wanted"),
    [
        (trial("ping", **DIRECT), []),
        (trial("reachability", **DIRECT), ["head+trace"]),
        (trial("ping", **WIRE), ["head"]),
        (trial("reachability", **WIRE), ["head+trace"]),
        (replace(trial("ping", **WIRE), options={"programs": texts.BASE}), ["base"]),
        (replace(trial("sockperf", **WIRE), role="blind"), ["blind"]),
        (replace(trial("sockperf", **WIRE), role="diagnostic"), ["drops", "head"]),
    ],
    ids=str,
)
def test_what_a_trial_runs(one: texts.Trial, wanted: list[str]) -> None:
    assert texts.needed([one, one]) == wanted


def test_a_plan_names_what_any_of_its_trials_runs_its_asides_too(tmp_path: Path) -> None:
    text = "name: t\naxes: {hook: tcx_ingress, helper: redirect_peer}\nloads: [sockperf]\nclock: instructions\n"
    plan = planned(tmp_path, text)
    assert plan.texts == ["blind", "drops", "head"]
    assert replace(plan, asides=False, side=texts.BASE).texts == ["base"]
