"""Isolation on real netkit, in the guest: what the hooks hide, and what the guards keep out."""

from __future__ import annotations

import json
import textwrap
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from conftest import Swept

from yogurtbench.core.metrics import METRICS_OF

pytestmark = pytest.mark.vm

MATRIX = textwrap.dedent("""
    name: isolation
    question: Who on the host can capture packets, or inject some?
    lab: vm
    include:
      - &seed {device: netkit, mode: [l3, l2], hook: netkit_peer, helper: redirect, primary: pass}
      - {<<: *seed, primary: guard_cb}
      - {<<: *seed, mode: l3, primary: guard_mark}
      - {<<: *seed, mode: l3, primary: guard_mark, scrub: none}
      - &tcx {device: netkit, mode: [l3, l2], hook: tcx_ingress, helper: [redirect, redirect_peer]}
      - {<<: *tcx, mode: l3, helper: redirect, primary: guard_cb}
    loads: [isolation, reachability]
    blocks: {min: 1, max: 1}
""")
LISTEN = ("eavesdrop_host_a", "eavesdrop_host_b", "eavesdrop_any")
ENTRIES = ("inject_raw", "inject_bypass", "inject_unprivileged")

Answers = dict[str, float]


@pytest.fixture(scope="module")
def folder(swept: Swept, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return swept(tmp_path_factory.mktemp("isolation"), MATRIX)


@pytest.fixture(scope="module")
def frame(folder: Path) -> pd.DataFrame:
    return pd.read_parquet(folder / "observations.parquet")


def answers(frame: pd.DataFrame, **wire: Any) -> Answers:
    """Every answer that one wire's trial of isolation gave."""
    rows = frame[(frame["load"] == "isolation") & (frame["status"] == "ok")]
    for axis, value in wire.items():
        rows = rows[rows[axis] == value]
    assert rows["cell"].nunique() == 1
    return dict(zip(rows["metric"], rows["value"], strict=True))


def reachable(frame: pd.DataFrame, **wire: Any) -> bool:
    rows = frame[frame["metric"] == "reachable"]
    for axis, value in wire.items():
        rows = rows[rows[axis] == value]
    (answer,) = rows["value"]
    return bool(answer)


def table(metrics: tuple[str, ...], frame: pd.DataFrame, **wire: Any) -> tuple[float | None, ...]:
    found = answers(frame, **wire)
    return tuple(found.get(metric) for metric in metrics)


@pytest.mark.parametrize("mode", ["l3", "l2"])
@pytest.mark.parametrize(
    ("hook", "helper", "heard"),
    [
        ("netkit_peer", "redirect", (0, 1, 1)),  # taken before end a receives it; sent out on end b
        ("tcx_ingress", "redirect", (1, 1, 1)),
        ("tcx_ingress", "redirect_peer", (1, 0, 1)),  # never sent out on end b
    ],
)
def test_where_a_packet_is_taken_decides_who_hears_it(
    frame: pd.DataFrame, mode: str, hook: str, helper: str, heard: tuple[int, ...]
) -> None:
    wire = {"mode": mode, "hook": hook, "helper": helper, "primary": "pass"}
    assert table(LISTEN, frame, **wire) == heard


@pytest.mark.parametrize("mode", ["l3", "l2"])
@pytest.mark.parametrize("hook", ["netkit_peer", "tcx_ingress"])
def test_an_unguarded_container_takes_what_anyone_sends_on_its_host_end(
    frame: pd.DataFrame, mode: str, hook: str
) -> None:
    wire = {"mode": mode, "hook": hook, "helper": "redirect", "primary": "pass"}
    assert table(ENTRIES, frame, **wire) == (1, 1, 1)
    assert table(("inject_raw_a", "host_ping"), frame, **wire) == (0, 0)


@pytest.mark.parametrize(
    "wire",
    [
        {"mode": "l3", "hook": "netkit_peer", "primary": "guard_cb"},
        {"mode": "l2", "hook": "netkit_peer", "primary": "guard_cb"},
        {"mode": "l3", "hook": "tcx_ingress", "primary": "guard_cb"},
        {"mode": "l3", "hook": "netkit_peer", "primary": "guard_mark", "scrub": "none"},
    ],
    ids=str,
)
def test_a_guard_lets_the_wire_through_and_nobody_else(
    frame: pd.DataFrame, wire: dict[str, str]
) -> None:
    assert reachable(frame, **wire)
    assert table(ENTRIES, frame, **wire) == (0, 0, 0)
    # It keeps people out; it hides nothing.
    assert table(LISTEN, frame, **wire) == (float(wire["hook"] == "tcx_ingress"), 1, 1)


def test_the_default_scrub_takes_guard_marks_stamp_and_with_it_the_wire(
    frame: pd.DataFrame,
) -> None:
    wire = {"primary": "guard_mark", "scrub": "default"}
    assert not reachable(frame, **wire)
    dead = frame[
        (frame["load"] == "isolation")
        & (frame["primary"] == "guard_mark")
        & (frame["scrub"] == "default")
    ]
    assert set(dead["status"]) == {"skipped"}


def test_every_metric_has_a_row(folder: Path, frame: pd.DataFrame) -> None:
    rows = frame[frame["load"] == "isolation"]
    wanted = set(METRICS_OF["isolation"])
    assert all(wanted <= set(metrics) for _, metrics in rows.groupby("cell")["metric"])
    attempts = [json.loads(line) for line in (folder / "trials.jsonl").read_text().splitlines()]
    assert {one["status"] for one in attempts} == {"ok", "skipped"}
