"""A matrix without a clock, in the guest."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from matrices import written

from yogurtbench import __main__ as command
from yogurtbench.hosts.vm import accelerator, image
from yogurtbench.matrix import clocks
from yogurtbench.results import run_folder

pytestmark = pytest.mark.vm


def test_a_matrix_without_a_clock_is_measured_on_the_one_that_fits_and_goes_on_with_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    text = (
        "name: t\naxes: {hook: tcx_ingress}\nbaseline: {device: veth, topology: direct, "
        "hook: none, helper: none}\n"
    )
    written(tmp_path, text + "loads: [{kind: sockperf, duration: 1s}]\nblocks: {min: 1, max: 1}\n")
    monkeypatch.chdir(tmp_path)
    kvm = accelerator.probe_accelerator(image.ensure(say=print), say=print).accelerator == "kvm"
    expected = "wall" if kvm else "instructions"
    assert command.run(["run", "m.yaml", "--lab", "vm"]) == 0
    said = capfd.readouterr()
    assert f"clock {expected} ({clocks.KVM if kvm else clocks.EMULATED})" in said.err
    (run,) = tmp_path.glob("results/t/*")
    found = json.loads((run / "environment.json").read_text())
    assert (found["clock"], found["reasons"]["clock"]) == (
        expected,
        clocks.KVM if kvm else clocks.EMULATED,
    )
    assert set(run_folder.load(run)[1]["clock"]) == {expected}
    assert kvm or "guest instructions a round trip more" in said.out
    assert command.run(["run", "m.yaml", "--resume", str(run), "--quiet"]) == 0
    assert run_folder.read_environment(run).clock == expected
