"""The tables of hooks and helpers: whatever an entry forgets fails here."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from yogurtbench.core import paths
from yogurtbench.core.glossary import MEANINGS
from yogurtbench.core.hook_specs import HELPERS, HOOKS, HelperSpec, HookSpec, can_call, hooks_of
from yogurtbench.ebpf import attached, wire
from yogurtbench.ebpf.wire import attachments
from yogurtbench.matrix.axes import HELPER_WORDS, HOOK_WORDS
from yogurtbench.matrix.defaults import CellBuilder

DOCS = Path(__file__).parents[2] / "docs"
EACH_HOOK = pytest.mark.parametrize("hook", HOOKS.values(), ids=HOOKS)
EACH_HELPER = pytest.mark.parametrize("helper", HELPERS.values(), ids=HELPERS)


@EACH_HOOK
def test_a_hook_can_be_attached_and_listed(hook: HookSpec) -> None:
    assert hook.family in wire._ATTACH
    if hook.family == "xdp":
        assert hook.name in attached._XDP.values()
    else:
        listed = hooks_of(hook.family)
        assert listed[hook.attach_point].number == hook.number


@EACH_HOOK
def test_a_hook_has_words_and_a_reason_for_who_lacks_it(hook: HookSpec) -> None:
    assert hook.name in HOOK_WORDS
    assert MEANINGS["hook"][hook.name] == hook.meaning
    assert bool(hook.refusal) == (set(hook.devices) != {"netkit", "veth"})
    assert f"`{hook.name}`" in (DOCS / "write-a-matrix.md").read_text()


@EACH_HOOK
def test_a_hook_has_a_helper_and_a_wire_of_its_own_program_type(hook: HookSpec) -> None:
    point = {"hook": hook.name, "device": hook.devices[0], "load": "reachability"}
    cell, broken = CellBuilder("wall").fill(point)
    assert broken is None
    (forward,) = [one for one in attachments(cell) if one.role == "wire" and one.end == "a"]
    assert forward.hook == hook.name
    assert forward.program in _programs(xdp=hook.program_type == "XDP")


@EACH_HELPER
def test_a_helper_has_words_programs_and_a_reason_for_who_may_not_call_it(
    helper: HelperSpec,
) -> None:
    assert helper.name in HELPER_WORDS
    assert MEANINGS["helper"][helper.name] == helper.meaning
    assert f"`{helper.name}`" in (DOCS / "write-a-matrix.md").read_text()
    assert set(helper.program_types) <= {"SCHED_CLS", "XDP"}
    assert bool(helper.refusal) == ("SCHED_CLS" not in helper.program_types)
    for program_type in helper.program_types:
        prefix = "xdp_" if program_type == "XDP" else ""
        ours = _programs(xdp=program_type == "XDP")
        assert {f"{prefix}{helper.program_name}_{way}" for way in ("forward", "return")} <= ours


def test_a_program_calls_what_its_type_may() -> None:
    assert can_call("xdp_native", "redirect_map") and not can_call("tcx_ingress", "redirect_map")
    assert can_call("tcx_ingress", "redirect_peer") and not can_call("xdp_generic", "redirect_peer")
    assert not can_call("none", "redirect") and not can_call("tcx_ingress", "none")


def _programs(*, xdp: bool) -> set[str]:
    """Return the names of the programs of bpf/ for one way of writing them."""
    macro = "YB_XDP_WAYS" if xdp else "YB_WIRE"
    text = "\n".join(path.read_text() for path in paths.bundled("bpf").glob("*.[ch]"))
    names = re.findall(rf"^{macro}\((\w+),", text, re.M)
    return {f"{name}_{way}" for name in names for way in ("forward", "return")}
