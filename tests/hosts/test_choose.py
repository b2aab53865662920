"""What a guest's kernel must have for a plan to run on it at all."""

from types import SimpleNamespace

import pytest
from matrices import cell

from yogurtbench.core.errors import HostError
from yogurtbench.hosts.choose import _must_be_of_use

WIRE = {"device": "netkit", "hook": "netkit_peer", "helper": "redirect"}
VETH_WIRE = {"device": "veth", "hook": "tc_ingress", "helper": "redirect"}
DIRECT = {"device": "veth", "topology": "direct", "hook": "none", "helper": "none"}
ALL = {"netkit": True, "veth": True, "tcx": True}


def refused(tmp_path, kernel, lacks, *points):
    """What is said of a guest that lacks this, for a wire of these and their baseline.

    Empty where it may run.
    """
    (tmp_path / "bzImage").write_bytes(bytes(0x202) + b"HdrS" + bytes(8) + b"\x10\0" + b"9.9.9 x\0")
    named = str(tmp_path / "bzImage") if kernel == "own" else kernel
    host = SimpleNamespace(
        features={**ALL, **dict.fromkeys(lacks, False)}, environment=SimpleNamespace(kernel="9.9.9")
    )
    try:
        _must_be_of_use(host, [cell(**point, kernel=named) for point in (*points, DIRECT)])
    except HostError as error:
        return str(error)
    return ""


@pytest.mark.parametrize("kernel", ["own", "6.12"])
def test_veth_is_needed_by_every_baseline(tmp_path, kernel):
    assert "the guest's kernel 9.9.9 has no veth, which the matrix needs: " in refused(
        tmp_path, kernel, ["veth"], WIRE
    )


def test_one_of_one_s_own_must_have_what_at_least_one_wire_needs(tmp_path):
    told = refused(tmp_path, "own", ["netkit"], WIRE)
    assert (
        "has no netkit, which the matrix needs: build it into" in told
        and "lib/modules/9.9.9 beside it" in told
    )
    assert refused(tmp_path, "own", ["netkit"], WIRE, VETH_WIRE) == ""


def test_that_an_old_debian_kernel_has_no_netkit_is_a_result(tmp_path):
    assert refused(tmp_path, "6.1", ["netkit", "tcx"], WIRE) == ""


def test_one_that_has_everything_runs(tmp_path):
    assert refused(tmp_path, "own", [], WIRE, VETH_WIRE) == ""
