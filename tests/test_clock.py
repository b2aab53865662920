"""The instruction clock, in real guests: equal on every boot, and one more map increment is seen exactly."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from yogurtbench import store

pytestmark = pytest.mark.vm

MATRIX = """
name: clock
lab: vm
clock: instructions
axes: {device: netkit, hook: netkit_peer, helper: redirect, program: [./one.c, ./two.c]}
baseline: {device: netkit, hook: netkit_peer, helper: redirect, program: ./one.c}
loads: [{kind: sockperf, duration: 1s}]
"""
ONE = """#include "yogurt.h"
int wire(struct __sk_buff *skb)
{
	YB_COUNT(0, skb);
	return bpf_redirect(YB_TARGET, 0);
}
"""
TWO = ONE.replace("\tYB_COUNT(0, skb);\n", "\tYB_COUNT(0, skb);\n\tYB_COUNT(1, skb);\n")


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """The same plan twice, each with a boot of its own."""
    where = tmp_path_factory.mktemp("clock")
    for name, text in (("clock.yaml", MATRIX), ("one.c", ONE), ("two.c", TWO)):
        (where / name).write_text(text)
    for out in ("first", "second"):
        argv = [sys.executable, "-P", "-m", "yogurtbench", "run", "clock.yaml", "--quiet", "--out", out]
        done = subprocess.run(argv, cwd=where, capture_output=True, text=True, timeout=420, check=False)
        assert done.returncode == 0, done.stderr
    return [next((where / out / "clock").iterdir()) for out in ("first", "second")]


def frame(run: Path) -> pd.DataFrame:
    return store.load(run)[1]


def median(rows: pd.DataFrame, program: str, role: str) -> float:
    chosen = rows[(rows["metric"] == "rtt_p50") & (rows["program"] == program) & (rows["role"] == role)]
    (value,) = chosen["value"]
    return float(value)


def test_the_same_plan_has_the_same_digest_on_every_boot(runs: list[Path]) -> None:
    first, second = (store.digest(frame(run)) for run in runs)
    assert first == second


def test_the_same_program_costs_the_same_and_one_more_increment_more(runs: list[Path]) -> None:
    rows = frame(runs[0])
    once = median(rows, "./one.c", "baseline")
    assert median(rows, "./one.c", "canary") == once
    more = median(rows, "./two.c", "cell") - once
    assert 0 < more < 100


def test_instructions_are_never_called_time(runs: list[Path]) -> None:
    rows = frame(runs[0])
    assert not set(rows["unit"]) & {"ns", "s", "bit/s"}
    assert set(rows["clock"]) == {"instructions"}


def test_a_comparison_of_two_boots_finds_nothing(runs: list[Path]) -> None:
    argv = [sys.executable, "-P", "-m", "yogurtbench", "compare", *map(str, runs)]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "identical" in done.stdout
