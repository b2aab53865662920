"""Which texts of bpf/ trials run."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from matrices import planned
from trials import DIRECT, WIRE, trial

from yogurtbench.core import builds


@pytest.mark.parametrize(
    ("one", "wanted"),
    [
        (trial("ping", **DIRECT), []),
        (trial("reachability", **DIRECT), ["head+trace"]),
        (trial("ping", **WIRE), ["head"]),
        (trial("reachability", **WIRE), ["head+trace"]),
        (replace(trial("ping", **WIRE), options={"programs": builds.BASE}), ["base"]),
        (replace(trial("sockperf", **WIRE), role="blind"), ["blind"]),
        (replace(trial("sockperf", **WIRE), role="diagnostic"), ["drops", "head"]),
    ],
    ids=str,
)
def test_what_a_trial_runs(one: builds.Trial, wanted: list[str]) -> None:
    assert sorted(builds.required_builds([one, one]).ours) == wanted


def test_a_plan_names_what_any_of_its_trials_runs_its_asides_too(tmp_path: Path) -> None:
    text = (
        "name: t\naxes: {hook: tcx_ingress, helper: redirect_peer}\nloads: "
        "[sockperf]\nclock: instructions\n"
    )
    plan = planned(tmp_path, text)
    assert plan.texts.ours == {"blind", "drops", "head"}
    assert replace(plan, asides=False, side=builds.BASE).texts.ours == {"base"}


def mine(load: str, source: str = "int wire(struct __sk_buff *skb) { return 0; }") -> builds.Trial:
    return trial(load, options={"source": source}, program="./mine.c", **WIRE)


def test_a_wire_of_ones_own_is_compiled_beforehand_too_once_for_each_way_of_looking() -> None:
    found = builds.required_builds(
        [mine("ping"), mine("sockperf"), mine("reachability"), trial("ping", **WIRE)]
    )
    assert {(one.name, traced) for one, traced in found.own} == {
        ("mine.c", False),
        ("mine.c", True),
    }
    assert builds.ProgramBuilds.from_json(json.loads(json.dumps(found.to_json()))) == found


def test_what_does_not_fit_is_left_to_the_trials() -> None:
    found = builds.required_builds(
        [mine("ping", "a" * 60), mine("ping", "b" * 60), trial("ping", **WIRE)]
    )
    kept = found.truncated(100)
    assert [one.source[0] for one, _ in kept.own] == ["a"]
    assert (kept.ours, found.truncated(120)) == (found.ours, found)
