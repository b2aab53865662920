"""The truth table's fixed subset of 60 cells, in one boot: what lives, where the others die, what
loops.
"""

from __future__ import annotations

import pandas as pd
import pytest
from conftest import Swept

pytestmark = pytest.mark.vm

HELPERS = (
    "redirect",
    "redirect_ingress",
    "redirect_container",
    "redirect_peer",
    "redirect_neigh",
    "redirect_neigh_nexthop",
)
LIVE, LOOPS = "live", "loops"
NOT_HERE, NO_ADDRESS, BLACKHOLE = "skb_do_redirect", "ip_error", "netkit_xmit"
UNANSWERED = "arp:neigh_invalidate"

#: Axes -> what becomes of each helper in the order above, on the guest's own kernel.
TRUTH: dict[tuple[tuple[str, str], ...], tuple[str, ...]] = {
    (("device", "netkit"), ("mode", "l3"), ("hook", "netkit_peer"), ("primary", "none")): (
        BLACKHOLE,
        NO_ADDRESS,
        NOT_HERE,
        NOT_HERE,
        BLACKHOLE,
        BLACKHOLE,
    ),
    (("device", "netkit"), ("mode", "l3"), ("hook", "netkit_peer"), ("primary", "pass")): (
        LIVE,
        NO_ADDRESS,
        NOT_HERE,
        NOT_HERE,
        LIVE,
        LIVE,
    ),
    (("device", "netkit"), ("mode", "l2"), ("hook", "netkit_peer"), ("primary", "pass")): (
        LIVE,
        UNANSWERED,
        f"arp:{NOT_HERE}",
        f"arp:{NOT_HERE}",
        f"arp:{NOT_HERE}",
        f"arp:{NOT_HERE}",
    ),
    (("device", "netkit"), ("mode", "l3"), ("hook", "tcx_ingress"), ("primary", "pass")): (
        LIVE,
        LOOPS,
        NOT_HERE,
        LIVE,
        LIVE,
        LIVE,
    ),
    (("device", "netkit"), ("mode", "l2"), ("hook", "tcx_ingress"), ("primary", "pass")): (
        LIVE,
        LOOPS,
        f"arp:{NOT_HERE}",
        LIVE,
        f"arp:{NOT_HERE}",
        f"arp:{NOT_HERE}",
    ),
    (("device", "netkit"), ("mode", "l3"), ("hook", "netkit_primary")): (NO_ADDRESS,) * 6,
    (("device", "netkit"), ("mode", "l3"), ("hook", "tcx_egress")): (NO_ADDRESS,) * 6,
    (("device", "netkit"), ("mode", "l3"), ("hook", "tcx_egress_container")): (NOT_HERE,) * 6,
    (("device", "veth"), ("hook", "tcx_ingress")): (
        LIVE,
        LOOPS,
        f"arp:{NOT_HERE}",
        LIVE,
        f"arp:{NOT_HERE}",
        f"arp:{NOT_HERE}",
    ),
}
XDP: dict[tuple[tuple[str, str], ...], str] = {
    (("device", "netkit"), ("mode", "l3"), ("hook", "xdp_generic")): LIVE,
    (("device", "veth"), ("hook", "xdp_native"), ("gro", "on")): LIVE,
    (("device", "veth"), ("hook", "xdp_native"), ("gro", "off")): UNANSWERED,
}


def entry(axes: tuple[tuple[str, str], ...], helpers: tuple[str, ...]) -> str:
    return (
        "  - {"
        + ", ".join(f"{axis}: {word}" for axis, word in axes)
        + f", helper: [{', '.join(helpers)}]}}\n"
    )


def matrix() -> str:
    entries = [entry(axes, HELPERS) for axes in TRUTH] + [
        entry(axes, ("redirect", "redirect_map")) for axes in XDP
    ]
    baseline = (
        "{device: netkit, mode: l3, topology: wire, hook: netkit_peer, helper: "
        "redirect, primary: pass}"
    )
    return (
        f"name: subset\nlab: vm\ninclude:\n{''.join(entries)}baseline: {baseline}\n"
        "loads: [reachability]\nblocks: {min: 1, max: 1}\n"
    )


@pytest.fixture(scope="module")
def frame(swept: Swept, tmp_path_factory: pytest.TempPathFactory) -> pd.DataFrame:
    return pd.read_parquet(
        swept(tmp_path_factory.mktemp("subset"), matrix()) / "observations.parquet"
    )


def fate(frame: pd.DataFrame, axes: tuple[tuple[str, str], ...], helper: str) -> str:
    rows = frame[frame["helper"] == helper]
    for axis, word in axes:
        rows = rows[rows[axis] == word]
    if set(rows["status"]) == {"looping"}:
        return LOOPS
    assert set(rows["status"]) == {"ok"}, rows[["status", "error"]].to_string()
    if set(rows.loc[rows["metric"] == "reachable", "value"]) == {1.0}:
        return LIVE
    (site,) = set(rows.loc[rows["metric"] == "dropped_at", "text"])
    return str(site).rpartition(":")[0]


@pytest.mark.parametrize("axes", TRUTH, ids=lambda axes: "-".join(word for _, word in axes))
def test_tc_wires_live_loop_or_die_where_the_kernel_says(
    frame: pd.DataFrame, axes: tuple[tuple[str, str], ...]
) -> None:
    found = {helper: fate(frame, axes, helper) for helper in HELPERS}
    assert found == dict(zip(HELPERS, TRUTH[axes], strict=True))


@pytest.mark.parametrize("axes", XDP, ids=lambda axes: "-".join(word for _, word in axes))
def test_xdp_wires_live_where_the_far_end_polls(
    frame: pd.DataFrame, axes: tuple[tuple[str, str], ...]
) -> None:
    found = {helper: fate(frame, axes, helper) for helper in ("redirect", "redirect_map")}
    assert set(found.values()) == {XDP[axes]}


def test_native_xdp_carries_tcp_because_the_plan_leaves_no_checksum_to_a_device(
    frame: pd.DataFrame,
) -> None:
    polled = frame[
        (frame["hook"] == "xdp_native") & (frame["gro"] == "on") & (frame["metric"] == "tcp_ok")
    ]
    assert set(polled["checksum"]) == {"off"}
    assert list(polled["value"]) == [1.0, 1.0]


def test_a_live_wires_echo_passes_as_many_queues_as_it_has(frame: pd.DataFrame) -> None:
    live = frame[
        (frame["metric"] == "hops_netif_rx")
        & (frame["device"] == "netkit")
        & (frame["mode"] == "l3")
    ]
    hops = {(row.hook, row.helper): row.value for row in live.itertuples()}
    assert hops["netkit_peer", "redirect"] == 2
    assert hops["tcx_ingress", "redirect_peer"] == 2
    assert hops["tcx_ingress", "redirect"] == 4
