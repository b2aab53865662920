"""Trials in the guest where kernels play tricks: what goes round, is dropped or ignored; and every offload off."""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from test_drops import LOSSY
from trials import trial

from yogurtbench.hosts.vm.host import host

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


def swept(folder: Path, matrix: str, timeout: float) -> Attempts:
    """A matrix run in the guest, which ends well: every attempt."""
    (folder / "m.yaml").write_text(matrix)
    (folder / "lossy.c").write_text(LOSSY)
    argv = [sys.executable, "-P", "-m", "yogurtbench", "run", "m.yaml", "--quiet"]
    done = subprocess.run(argv, cwd=folder, capture_output=True, text=True, timeout=timeout, check=False)
    (trials,) = folder.glob("results/*/*/trials.jsonl")
    attempts = [json.loads(line) for line in trials.read_text().splitlines()]
    bad = [(a["trial"]["cell"], a["error"]) for a in attempts if a["status"] in ("failed", "crashed")]
    assert (done.returncode, bad) == (0, []), done.stderr
    return attempts


@pytest.fixture(scope="module")
def tricks(tmp_path_factory: pytest.TempPathFactory) -> Attempts:
    return swept(tmp_path_factory.mktemp("tricks"), TRICKS, 840)


def of(attempts: Attempts, role: str = "cell", **axes: Any) -> Attempts:
    return [a for a in attempts if a["trial"]["role"] == role and axes.items() <= a["trial"]["cell"].items()]


def test_a_headroom_that_the_kernel_ignores_is_unsupported_and_says_so(tricks: Attempts) -> None:
    """Debian's 6.12 knows no headroom (6.14), and makes the link as if it had not been asked for."""
    asked = of(tricks, headroom=64)
    assert len(asked) == 6
    assert {(a["status"], a["error"]) for a in asked} == {
        ("unsupported", "this kernel does not support netkit with headroom 64 (it knows no such attribute)")
    }


def test_a_scrub_that_the_kernel_knows_is_measured(tricks: Attempts) -> None:
    assert [a["status"] for a in of(tricks, scrub="none", headroom=0)] == ["ok"] * 3


@pytest.mark.parametrize("device", ["netkit", "veth"])
def test_what_goes_round_in_the_guest_is_silenced_in_less_than_two_seconds(tricks: Attempts, device: str) -> None:
    looping = of(tricks, device=device, helper="redirect_ingress")
    went_round = [a for a in looping if a["status"] == "looping"]
    assert "reachability" in {a["trial"]["cell"]["load"] for a in went_round}
    assert {a["status"] for a in looping} <= {"looping", "skipped"}  # what went round twice is not tried again
    assert all(0 < a["details"]["looped_seconds"] < 2 for a in went_round)


def test_what_the_wire_drops_is_what_the_diagnosis_counts(tricks: Attempts) -> None:
    (lossy,) = of(tricks, "diagnostic", program="./lossy.c")
    dropped = lossy["details"]["tallies"]["forward"][0][0]
    assert dropped > 100
    assert sum(n for site, n in lossy["details"]["drops"].items() if site.endswith(":TC_INGRESS")) == dropped
    assert not [a for a in of(tricks) if "drops" in a["details"]]


def test_with_every_offload_off_no_trial_fails_on_any_topology(tmp_path: Path) -> None:
    attempts = swept(tmp_path, OFF, 840)
    statuses = Counter(a["status"] for a in attempts)
    assert statuses["ok"] > 0.8 * len(attempts), statuses
    assert {a["trial"]["cell"]["topology"] for a in attempts if a["status"] == "ok"} == {
        "wire",
        "direct",
        "bridge",
        "routed",
        "loopback",
        "uplink",
    }


LABS: list[dict[str, Any]] = [
    *({"device": device, "topology": "wire", "hook": "tcx_ingress", "helper": "redirect_peer"} for device in DEVICES),
    *(
        {"device": device, "topology": topology, "hook": "none", "helper": "none"}
        for device in DEVICES
        for topology in ("direct", "bridge", "routed", "loopback", "uplink")
    ),
    {"device": "netkit", "topology": "uplink", "hook": "tcx_ingress", "helper": "redirect_neigh"},
]
ALL_OFF = {"mtu": 9000, "gso": "off", "gro": "off", "checksum": "off"}


def test_a_command_runs_in_a_lab_of_every_topology_and_device() -> None:
    ended = {}
    with host("host", print) as guest:
        for axes in LABS:
            modes = ("l3", "l2") if axes["device"] == "netkit" and axes["topology"] != "bridge" else ("l2",)
            for mode in modes:
                client = "outside" if axes["topology"] == "uplink" else "yogurt-1"
                pings = [f"ip netns exec {client} ping -n -c1 -W5 -s 8000 {a} >&2" for a in ("10.42.0.2", "fd42::2")]
                order = trial(**axes, **ALL_OFF, mode=mode)
                code = guest.lab(order, ["sh", "-c", " && ".join([*pings, "exit 7"])], lambda _, text: print(text))
                ended[f"{axes} {mode}"] = code
    assert {lab: code for lab, code in ended.items() if code != 7} == {}
