"""The table of loads: whatever an entry forgets fails here."""

from __future__ import annotations

from pathlib import Path

import pytest

from yogurtbench.core import install_hints
from yogurtbench.core.load_specs import LOADS, TOOLS, LoadSpec, loads_of
from yogurtbench.core.metrics import METRICS
from yogurtbench.hosts import checks
from yogurtbench.hosts.vm import overlay
from yogurtbench.hosts.vm.image import recipe
from yogurtbench.loads.registry import RUN
from yogurtbench.matrix import axes
from yogurtbench.matrix.load_options import KINDS

DOCS = Path(__file__).parents[2] / "docs"
SPECS = pytest.mark.parametrize("spec", LOADS.values(), ids=LOADS)


@SPECS
def test_a_load_has_metrics_of_the_contract_and_words_of_its_own(spec: LoadSpec) -> None:
    assert spec.metrics and set(spec.metrics) <= set(METRICS)
    assert spec.label and spec.summary
    assert len({one.label for one in LOADS.values()}) == len(LOADS)


@SPECS
def test_a_load_has_options_and_a_module_that_travels_into_the_guest(spec: LoadSpec) -> None:
    assert spec.name in KINDS
    assert callable(RUN[spec.name])
    assert f"yogurt/yogurtbench/loads/{spec.module}.py" in {
        member.path for member in overlay._own_members()
    }


@SPECS
def test_a_loads_payload_and_rank_fit_its_kind(spec: LoadSpec) -> None:
    assert (spec.payload is None) == (spec.kind == "yes_no")
    if spec.payload:
        assert spec.payload.low <= spec.payload.default <= spec.payload.high
        assert axes.PAYLOADS[spec.name] == (spec.payload.low, spec.payload.high)
    ranks = [LOADS[name].rank for name in loads_of(spec.kind)]
    assert spec.kind == "yes_no" or ranks == list(range(1, len(ranks) + 1))


@SPECS
def test_a_load_lives_some_seconds_with_its_own_options(spec: LoadSpec) -> None:
    load = KINDS[spec.name](kind=spec.name)
    assert spec.seconds(load.options("wall", spec.payload.default if spec.payload else None)) > 0


@SPECS
def test_a_load_is_in_the_documentation(spec: LoadSpec) -> None:
    assert f"`{spec.name}`" in (DOCS / "write-a-matrix.md").read_text()


@pytest.mark.parametrize("tool", TOOLS)
def test_a_tool_has_a_package_for_the_machine_and_for_the_guest_and_a_check(tool: str) -> None:
    assert tool in install_hints.known_words()
    assert (
        install_hints.package(tool, {"ID": "debian", "VERSION_CODENAME": recipe.SUITE})
        in recipe.PACKAGES
    )
    assert tool in {check.what for check in checks._tools()}
    assert any(tool in spec.tools for spec in LOADS.values())
