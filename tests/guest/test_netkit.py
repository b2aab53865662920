"""Real netkit in the guest: the seed's wires, seen through the same command that people use."""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap
from pathlib import Path

import pandas as pd
import pytest
from conftest import Swept

pytestmark = pytest.mark.vm

MATRIX = textwrap.dedent("""
    name: seed
    question: Which wire carries the yogurt-phone?
    lab: vm
    clock: wall
    axes:
      device: netkit
      hook: [netkit_peer, tcx_ingress]
      helper: [redirect, redirect_peer]
    baseline: {device: veth, topology: direct, hook: none, helper: none}
    loads:
      - reachability
      - {kind: ping, count: 10, interval: 10ms, timeout: 10s}
      - {kind: sockperf, duration: 1s}
      - {kind: netperf_tcp_rr, duration: 1s}
      - {kind: iperf3_tcp, duration: 1s}
      - {kind: iperf3_udp, duration: 1s}
    blocks: {min: 1, max: 1}
""")
DEAD = ("netkit_peer", "redirect_peer")


def yogurtbench(
    *arguments: str, cwd: Path, timeout: float = 560
) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, "-P", "-m", "yogurtbench", *arguments]
    return subprocess.run(
        argv, cwd=cwd, capture_output=True, text=True, timeout=timeout, check=False
    )


@pytest.fixture(scope="module")
def folder(swept: Swept, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return swept(tmp_path_factory.mktemp("netkit"), MATRIX, asides=False)


@pytest.fixture(scope="module")
def frame(folder: Path) -> pd.DataFrame:
    return pd.read_parquet(folder / "observations.parquet")


def value(frame: pd.DataFrame, metric: str, **where: object) -> pd.Series[float]:
    rows = frame[frame["metric"] == metric]
    for column, wanted in where.items():
        rows = rows[rows[column] == wanted]
    return rows["value"]


def test_the_seeds_wires_answer_and_redirect_peer_on_the_peer_hook_is_dead(
    frame: pd.DataFrame,
) -> None:
    for hook in ("netkit_peer", "tcx_ingress"):
        for helper in ("redirect", "redirect_peer"):
            alive = float((hook, helper) != DEAD)
            for metric in ("reachable", "reachable_v6", "tcp_ok"):
                (seen,) = value(frame, metric, hook=hook, helper=helper, load="reachability")
                assert seen == alive, (hook, helper, metric)


def test_a_dead_wires_other_loads_are_skipped_rows(frame: pd.DataFrame) -> None:
    dead = frame[
        (frame["hook"] == DEAD[0])
        & (frame["helper"] == DEAD[1])
        & (frame["load"] != "reachability")
    ]
    assert set(dead["load"]) == {"ping", "sockperf", "netperf_tcp_rr", "iperf3_tcp", "iperf3_udp"}
    assert set(dead[dead["metric"] != "reachable"]["status"]) == {"skipped"}


def test_the_programs_counted_exactly_what_ping_sent(frame: pd.DataFrame) -> None:
    assert list(value(frame, "bpf_packets", load="ping")) == [20.0, 20.0, 20.0]


def test_live_wires_have_every_metric_of_their_load(frame: pd.DataFrame) -> None:
    live = frame[(frame["hook"] == "netkit_peer") & (frame["helper"] == "redirect")]
    for load, metric in (
        ("ping", "rtt_p99"),
        ("sockperf", "rtt_p50"),
        ("iperf3_tcp", "bytes_per_skb"),
    ):
        (seen,) = value(live, metric, load=load)
        assert seen > 0
    (loss,) = value(live, "loss", load="iperf3_udp")
    assert 0 <= loss <= 1


def test_every_row_says_that_it_was_made_in_the_guest(folder: Path, frame: pd.DataFrame) -> None:
    environment = json.loads((folder / "environment.json").read_text())
    assert set(frame["lab"]) == {"vm"}
    assert set(frame["kernel"]) == {environment["kernel"]}
    assert set(frame["accelerator"]) == {environment["accelerator"]}
    assert environment["reasons"]["accelerator"]


def test_a_command_in_the_lab_sees_the_seeds_drawing(tmp_path: Path) -> None:
    (tmp_path / "seed.yaml").write_text(MATRIX)
    script = (
        "ip netns exec yogurt-1 ping -c1 -W2 10.42.0.2 >/dev/null && echo answered; "
        "ip -br link | grep host; ip -br -n yogurt-1 addr; ip -br -n yogurt-2 addr; exit 7"
    )
    cell = "hook=netkit_peer,helper=redirect,load=ping"
    done = yogurtbench("lab", "seed.yaml", "--cell", cell, "--", "sh", "-c", script, cwd=tmp_path)
    assert done.returncode == 7, done.stderr
    assert done.stdout.startswith("answered")
    for word in (
        "yg1-host",
        "yg2-host",
        "yg1-cont",
        "10.42.0.1/24",
        "fd42::1/64",
        "yg2-cont",
        "10.42.0.2/24",
        "fd42::2/64",
    ):
        assert word in done.stdout
    assert not list(tmp_path.glob("results"))
