"""Both sides of a change measured in one guest."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
from own_program import DEARER, MATRIX, NOW, yogurtbench

pytestmark = pytest.mark.vm


HERE = Path(__file__).parents[2]


def findings(done: subprocess.CompletedProcess[str]) -> dict[str, dict[str, Any]]:
    return {
        one["axes"]["primary"]: one
        for one in json.loads(done.stdout)["findings"]
        if one["metric"] == "rtt_p50"
    }


def test_one_helper_call_more_in_a_program_of_bpf_is_found_and_nothing_else(tmp_path: Path) -> None:
    """The old folder has a dearer guard and no ``next`` at all: one improved, one unchanged, one
    without a past.
    """
    old = tmp_path / "bpf"
    old.mkdir()
    for file in (HERE / "bpf").glob("*.[ch]"):
        (old / file.name).write_bytes(file.read_bytes())
    guard = (old / "guard_cb.c").read_text()
    assert "skb->cb[0] != YB_STAMP" in guard
    (old / "guard_cb.c").write_text(
        guard.replace(
            "if (skb->cb[0] != YB_STAMP", "if (bpf_get_prandom_u32() == 7 || skb->cb[0] != YB_STAMP"
        )
    )
    (old / "next.c").unlink()
    (tmp_path / "m.yaml").write_text(
        "name: m\naxes: {device: netkit, hook: netkit_peer, helper: redirect, primary: [pass, "
        "next, guard_cb]}\n"
        "loads: [{kind: sockperf, duration: 1s}]\nmargins: {rtt_p50: 0.05%}\n"
    )
    done = yogurtbench(
        "check", "m.yaml", "--base-programs", "bpf", "--json", "--quiet", cwd=tmp_path
    )
    found = findings(done)
    assert found["pass"]["verdict"] == "identical", found
    assert found["guard_cb"]["verdict"] == "improvement"
    assert -200 < found["guard_cb"]["difference"] < -10
    assert found["next"]["family"] == "exploratory"
    assert done.returncode == 0, done.stderr


def test_a_dearer_text_of_ones_own_is_a_regression(tmp_path: Path) -> None:
    (tmp_path / "mine.c").write_text(DEARER)
    (tmp_path / "old.c").write_text(NOW)
    (tmp_path / "m.yaml").write_text(MATRIX.replace("payload: [64, 1400]", "payload: 64"))
    done = yogurtbench("check", "m.yaml", "--base-program", "old.c", "--quiet", cwd=tmp_path)
    assert done.returncode == 1, done.stdout + done.stderr
    (regression,) = (one for one in done.stdout.splitlines() if one.startswith("regression: "))
    more = re.search(r"\+(\d+) guest instructions \((.*)\)$", regression)
    assert more, regression
    grown = dict(one.split(" +") for one in more[2].split(", "))
    assert {"bpf_prog_yb_wire", "bpf_user_rnd_u32"} <= grown.keys()
    assert sum(map(int, grown.values())) == int(more[1])
