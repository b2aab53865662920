"""The cost of counting, in the guest."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from yogurtbench.report.export.verdicts import verdicts
from yogurtbench.report.run_data import RunData
from yogurtbench.report.sections.counters import counting_costs

pytestmark = pytest.mark.vm


IN_GUEST = """
name: looking
clock: instructions
axes: {device: netkit, hook: tcx_ingress, helper: redirect_peer}
baseline: {device: veth, topology: direct, hook: none, helper: none}
loads: [{kind: sockperf, duration: 1s}]
blocks: {min: 1, max: 1}
"""


def test_in_the_guest_a_counted_packet_costs_a_few_instructions_more(tmp_path: Path) -> None:
    (tmp_path / "m.yaml").write_text(IN_GUEST)
    argv = [sys.executable, "-P", "-m", "yogurtbench", "run", "m.yaml", "--quiet"]
    done = subprocess.run(
        argv, cwd=tmp_path, capture_output=True, text=True, timeout=800, check=False
    )
    assert done.returncode == 0, done.stderr
    (folder,) = tmp_path.glob("results/looking/*")
    story = RunData.read(folder)
    (told,) = counting_costs(story)
    assert told.cell == next(key for key, cell in story.cells.items() if cell.hook != "none")
    assert 5 < told.cost < 60 and told.packets in (2, 4)
    assert story.exact and "Counting costs a program" in (folder / "report.md").read_text()
    assert 0 < verdicts(story)["overhead_ratio"] < 1
    assert json.loads((folder / "verdicts.json").read_text())["comparisons"]
