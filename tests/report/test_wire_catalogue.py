"""The page of the truth table: what it calls a wire, and says of its isolation. Pure."""

from __future__ import annotations

from trials import cell

from yogurtbench.core.metrics import METRICS_OF
from yogurtbench.report.export.wire_catalogue import exposed, spoken

NOBODY = dict.fromkeys(METRICS_OF["isolation"], 0.0)


def test_nobody_is_said_only_where_everyone_was_asked() -> None:
    assert exposed(NOBODY) == " · listens: none · talks: none"
    open_wire = NOBODY | {"eavesdrop_host_b": 1.0, "eavesdrop_any": 1.0, "inject_raw": 1.0}
    assert exposed(open_wire) == " · listens: b, any · talks: raw"


def test_an_answer_that_is_missing_is_called_not_measured() -> None:
    """As on a wire that carries echoes and no UDP: nothing could be listened in on."""
    talks = {
        metric: value for metric, value in NOBODY.items() if not metric.startswith("eavesdrop")
    }
    assert exposed(talks) == " · listens: not measured (a, b, any) · talks: none"
    del talks["inject_bypass"]
    assert exposed(talks | {"inject_raw": 1.0}).endswith(" · talks: raw (not measured: bypass)")


def test_a_wire_whose_isolation_nobody_asked_for_has_nothing_said_of_it() -> None:
    assert exposed({"reachable": 1.0}) == ""


def test_a_wire_is_called_by_the_offloads_it_changed_and_not_by_the_kernels_own() -> None:
    wire = {"device": "veth", "helper": "redirect"}
    assert (
        spoken(cell(**wire, hook="tcx_ingress", gro="off"))
        == "veth, tcx_ingress → redirect; nothing"
    )
    assert spoken(cell(**wire, hook="tcx_ingress", gro="on", gso="off")).endswith(
        "; gso off, gro on"
    )
    # What a native XDP redirect needs at the far end is not what the kernel makes of it by itself.
    assert spoken(cell(**wire, hook="xdp_native")).endswith("; gso off, gro on, checksum off")
    assert spoken(cell(**wire, hook="xdp_native", gro="off", checksum="on")).endswith(
        "; gso off, gro off, checksum on"
    )
