"""Trials in the guest where kernels play tricks: what loops, is dropped or ignored.

And every offload off.
"""

from __future__ import annotations

import json
import textwrap
from collections import Counter
from pathlib import Path
from statistics import median
from typing import Any

import pytest
from conftest import Swept
from guest_pool import WarmHost
from trials import LOSSY, trial

from yogurtbench.core.errors import HostError
from yogurtbench.core.records import Trial
from yogurtbench.hosts.base import EMULATORS_FAULT

pytestmark = pytest.mark.vm

TRICKS = textwrap.dedent("""
    name: tricks
    lab: vm
    include:
      - {device: netkit, mode: [l3, l2], hook: netkit_peer, helper: redirect, headroom: 64}
      - {device: netkit, hook: netkit_peer, helper: redirect, scrub: none}
      - {device: [netkit, veth], hook: tcx_ingress, helper: redirect_ingress}
      - {device: netkit, hook: tcx_ingress, helper: redirect, program: ./lossy.c}
    loads: [reachability, isolation, {kind: iperf3_udp, duration: 1s}]
    blocks: {min: 1, max: 1}
""")
OFF = textwrap.dedent("""
    name: off
    lab: vm
    include:
      - &off {device: [netkit, veth], topology: [direct, bridge, routed, loopback, uplink], hook: none, helper: none,
              ip: 6, mtu: 9000, streams: 2, cpus: [[0, 1]], gso: off, gro: off, checksum: off}
      - &l2 {<<: *off, device: netkit, mode: l2}
      - {<<: *off, topology: wire, hook: tcx_ingress, helper: redirect_peer}
      - {<<: *l2, topology: wire, hook: netkit_peer, helper: redirect}
      - {<<: *off, topology: uplink, hook: tcx_ingress, helper: redirect_neigh}
    loads:
      - reachability
      - isolation
      - {kind: iperf3_tcp, duration: 1s}
    blocks: {min: 1, max: 1}
""")

DEVICES = ("netkit", "veth")
Attempts = list[dict[str, Any]]


def attempts(run: Path) -> Attempts:
    """Every attempt of a run, as it is stored."""
    return [json.loads(line) for line in (run / "trials.jsonl").read_text().splitlines()]


@pytest.fixture(scope="module")
def tricks(swept: Swept, tmp_path_factory: pytest.TempPathFactory) -> Attempts:
    return attempts(swept(tmp_path_factory.mktemp("tricks"), TRICKS, **{"lossy.c": LOSSY}))


def of(made: Attempts, role: str = "cell", **axes: Any) -> Attempts:
    return [
        a for a in made if a["trial"]["role"] == role and axes.items() <= a["trial"]["cell"].items()
    ]


def test_a_headroom_that_the_kernel_ignores_is_unsupported_and_says_so(tricks: Attempts) -> None:
    """Debian's 6.12 knows no headroom (6.14), and makes the link as if it had not been asked
    for.
    """
    asked = of(tricks, headroom=64)
    assert len(asked) == 6
    assert {(a["status"], a["error"]) for a in asked} == {
        (
            "unsupported",
            "this kernel does not support netkit with headroom 64 (it knows no such attribute)",
        )
    }


def test_a_scrub_that_the_kernel_knows_is_measured(tricks: Attempts) -> None:
    assert [a["status"] for a in of(tricks, scrub="none", headroom=0)] == ["ok"] * 3


@pytest.mark.parametrize("device", ["netkit", "veth"])
def test_what_goes_round_in_the_guest_is_silenced_in_less_than_two_seconds(
    tricks: Attempts, device: str
) -> None:
    looping = of(tricks, device=device, helper="redirect_ingress")
    went_round = [a for a in looping if a["status"] == "looping"]
    assert "reachability" in {a["trial"]["cell"]["load"] for a in went_round}
    assert {a["status"] for a in looping} <= {
        "looping",
        "skipped",
    }  # what went round twice is not tried again
    assert all(0 < a["details"]["looped_seconds"] < 2 for a in went_round)


def test_what_the_wire_drops_is_what_the_diagnosis_counts(tricks: Attempts) -> None:
    (lossy,) = of(tricks, "diagnostic", program="./lossy.c")
    dropped = lossy["details"]["tallies"]["forward"][0][0]
    assert dropped > 100
    assert (
        sum(n for site, n in lossy["details"]["drops"].items() if site.endswith(":TC_INGRESS"))
        == dropped
    )
    assert not [a for a in of(tricks) if "drops" in a["details"]]


@pytest.fixture(scope="module")
def off(swept: Swept, tmp_path_factory: pytest.TempPathFactory) -> Attempts:
    return attempts(swept(tmp_path_factory.mktemp("off"), OFF, asides=False))


def test_no_lab_waits_for_multicast_reports_that_netkits_policy_refuses(off: Attempts) -> None:
    probes = [
        a["seconds"]["probe"] for a in of(off, device="netkit", mode="l2") if a["status"] == "ok"
    ]
    assert len(probes) > 3
    assert median(probes) < 0.5


def test_with_every_offload_off_no_trial_fails_on_any_topology(off: Attempts) -> None:
    statuses = Counter(a["status"] for a in off)
    assert statuses["ok"] > 0.8 * len(off), statuses
    assert {a["trial"]["cell"]["topology"] for a in off if a["status"] == "ok"} == {
        "wire",
        "direct",
        "bridge",
        "routed",
        "loopback",
        "uplink",
    }


LABS: list[dict[str, Any]] = [
    *(
        {"device": device, "topology": "wire", "hook": "tcx_ingress", "helper": "redirect_peer"}
        for device in DEVICES
    ),
    *(
        {"device": device, "topology": topology, "hook": "none", "helper": "none"}
        for device in DEVICES
        for topology in ("direct", "bridge", "routed", "loopback", "uplink")
    ),
    {"device": "netkit", "topology": "uplink", "hook": "tcx_ingress", "helper": "redirect_neigh"},
]
ALL_OFF = {"mtu": 9000, "gso": "off", "gro": "off", "checksum": "off"}


def exit_code(guest: WarmHost, order: Trial, argv: list[str]) -> int:
    """Of a command in a lab, once more where the emulator's own fault ended the guest."""
    try:
        return guest.lab(order, argv, lambda _, text: print(text))
    except HostError as death:
        if EMULATORS_FAULT not in str(death):
            raise
    return guest.lab(order, argv, lambda _, text: print(text))


def test_a_command_runs_in_a_lab_of_every_topology_and_device(warm_guest: type[WarmHost]) -> None:
    ended = {}
    with warm_guest("host", print) as guest:
        for axes in LABS:
            modes = (
                ("l3", "l2")
                if axes["device"] == "netkit" and axes["topology"] != "bridge"
                else ("l2",)
            )
            for mode in modes:
                client = "outside" if axes["topology"] == "uplink" else "yogurt-1"
                pings = [
                    f"ip netns exec {client} ping -n -c1 -W5 -s 8000 {a} >&2"
                    for a in ("10.42.0.2", "fd42::2")
                ]
                order = trial(**axes, **ALL_OFF, mode=mode)
                code = exit_code(guest, order, ["sh", "-c", " && ".join([*pings, "exit 7"])])
                ended[f"{axes} {mode}"] = code
    assert {lab: code for lab, code in ended.items() if code != 7} == {}
