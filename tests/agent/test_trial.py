"""A trial from lab to observations, natively: what works, what is dead, what hangs, what is not
there.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from trials import DIRECT, WIRE, trial

from yogurtbench.agent import features
from yogurtbench.agent.trial import assert_path, run_trial
from yogurtbench.core.metrics import METRICS_OF
from yogurtbench.ebpf.programs import Programs
from yogurtbench.ebpf.wire import Counters, Wire
from yogurtbench.loads import Flow, LoadFailed, sockperf

InRoom = Callable[..., Any]


@cache
def programs() -> Programs:
    return Programs()


def attempt(
    load: str, axes: dict[str, Any], options: dict[str, Any] | None = None
) -> dict[str, Any]:
    return run_trial(trial(load, options=options, **axes), programs()).to_json()


def values(made: dict[str, Any]) -> dict[str, float | None]:
    return {o["metric"]: o["value"] for o in made["observations"]}


@pytest.mark.root
@pytest.mark.parametrize("axes", [DIRECT, WIRE, {**WIRE, "ip": 6}, {**WIRE, "payload": 4000}])
def test_a_ping_trial_gives_its_metrics_and_times_its_phases(
    in_room: InRoom, axes: dict[str, Any]
) -> None:
    made = in_room(attempt, "ping", axes)
    assert (made["status"], made["error"]) == ("ok", "")
    assert set(METRICS_OF["ping"]) <= set(values(made))
    assert values(made)["loss"] == 0
    assert {"lab", "wire", "load", "undo"} <= set(made["seconds"])


@pytest.mark.root
def test_what_the_wire_counted_is_observed(in_room: InRoom) -> None:
    made = in_room(attempt, "ping", WIRE)
    assert values(made)["bpf_packets"] == 10
    assert {name: packets for name, (packets, _) in made["details"]["counters"].items()} == {
        "wire.forward": 5,
        "wire.return": 5,
    }


@pytest.mark.root
@pytest.mark.parametrize("load", ["sockperf", "sockperf_tcp", "iperf3_tcp", "iperf3_udp"])
def test_every_load_passes_the_path_assertion_over_a_live_wire(in_room: InRoom, load: str) -> None:
    made = in_room(attempt, load, WIRE)
    assert (made["status"], made["error"]) == ("ok", "")
    assert set(METRICS_OF[load]) <= set(values(made))


def attempt_without_tools(os_release: str) -> dict[str, Any]:
    os.environ.update(PATH="/nowhere", YOGURTBENCH_OS_RELEASE=os_release)
    return attempt("netperf_tcp_rr", DIRECT)


@pytest.mark.root
def test_a_load_whose_tool_the_machine_lacks_is_unsupported_with_the_reason(
    in_room: InRoom, tmp_path: Path
) -> None:
    release = tmp_path / "os-release"
    release.write_text("ID=debian\nVERSION_CODENAME=bookworm\n")
    made = in_room(attempt_without_tools, str(release))
    assert made["status"] == "unsupported"
    assert "no netperf here" in made["error"] and "the VM lab brings its own" in made["error"]


@pytest.mark.root
def test_sockperf_is_held_to_its_packets_also_where_messages_are_fragmented(
    in_room: InRoom,
) -> None:
    made = in_room(attempt, "sockperf", {**WIRE, "payload": 4000, "mtu": 1400})
    assert (made["status"], made["error"]) == ("ok", "")


def reachability_of_dead_and_live() -> list[dict[str, Any]]:
    return [
        attempt("reachability", WIRE),
        attempt("reachability", {**WIRE, "helper": "redirect_container"}),
    ]


@pytest.mark.root
def test_reachability_is_a_result_for_live_and_dead_wires_alike(in_room: InRoom) -> None:
    alive, dead = in_room(reachability_of_dead_and_live)
    assert (alive["status"], dead["status"]) == ("ok", "ok")
    for metric in ("reachable", "reachable_v6", "tcp_ok"):
        assert (values(alive)[metric], values(dead)[metric]) == (1, 0)


@pytest.mark.root
def test_other_loads_are_skipped_on_a_dead_wire_and_say_that_it_is_dead(in_room: InRoom) -> None:
    made = in_room(attempt, "ping", {**WIRE, "helper": "redirect_container"})
    assert made["status"] == "skipped"
    assert values(made)["reachable"] == 0
    skipped = [o for o in made["observations"] if o["metric"] != "reachable"]
    assert [o["metric"] for o in skipped] == list(METRICS_OF["ping"])
    assert {(o["status"], o["value"]) for o in skipped} == {("skipped", None)}


def with_counters_that_lie() -> dict[str, Any]:
    honest = Wire.counters
    Wire.counters = lambda self: {
        n: Counters(2 * c.packets, c.bytes) for n, c in honest(self).items()
    }  # type: ignore[method-assign]
    try:
        return attempt("ping", WIRE)
    finally:
        Wire.counters = honest  # type: ignore[method-assign]


@pytest.mark.root
def test_a_trial_whose_counters_do_not_fit_its_traffic_has_failed(in_room: InRoom) -> None:
    made = in_room(with_counters_that_lie)
    assert made["status"] == "failed"
    assert (
        "path assertion: wire.forward counted 10 packets where the load had exactly 5"
        in made["error"]
    )
    assert set(values(made).values()) == {None}


def with_a_tool(path: str, script: str) -> None:
    tool = Path(path, "sockperf")
    tool.write_text(f"#!/bin/sh\n{script}\n")
    tool.chmod(0o755)
    os.environ["PATH"] = f"{path}:{os.environ['PATH']}"


def hanging(path: str) -> dict[str, Any]:
    """The server is real, the client says something and then waits forever."""
    real = shutil.which("sockperf")
    with_a_tool(
        path, f'[ "$1" = server ] && exec {real} "$@"\necho out of ideas >&2\nexec sleep 600'
    )
    sockperf.OWN_SECONDS = 0.0
    made = attempt("sockperf", DIRECT, {"duration": 0.2, "timeout": 0.3})
    left = [
        Path("/proc", name, "comm").read_text().strip()
        for name in os.listdir("/proc")
        if name.isdigit()
    ]
    return {**made, "left": [name for name in left if name in ("sockperf", "sleep")]}


@pytest.mark.root
def test_a_load_that_hangs_is_ended_at_its_deadline_and_its_stderr_kept(
    in_room: InRoom, tmp_path: Path
) -> None:
    made = in_room(hanging, str(tmp_path))
    assert made["status"] == "failed"
    assert "did not end within 0.5 s: out of ideas" in made["error"]
    assert made["left"] == []
    assert made["seconds"]["load"] < 5


def deaf(path: str) -> dict[str, Any]:
    """The server ends at once."""
    with_a_tool(path, "echo no buffers >&2; exit 1")
    return attempt("sockperf", DIRECT)


@pytest.mark.root
def test_a_server_that_ends_before_it_is_ready_is_reported_with_its_words(
    in_room: InRoom, tmp_path: Path
) -> None:
    made = in_room(deaf, str(tmp_path))
    assert made["status"] == "failed"
    assert "ended before it was ready: no buffers" in made["error"]


def without_iperf3(path: str) -> dict[str, Any]:
    for tool in ("nsenter", "taskset"):
        Path(path, tool).symlink_to(str(shutil.which(tool)))
    os.environ["PATH"] = path
    return attempt("iperf3_tcp", DIRECT)


@pytest.mark.root
def test_a_missing_tool_is_a_failed_trial_that_names_it(in_room: InRoom, tmp_path: Path) -> None:
    made = in_room(without_iperf3, str(tmp_path))
    assert made["status"] == "failed"
    assert "failed to execute iperf3" in made["error"]


def netkit_here() -> dict[str, Any]:
    return {
        "has": features.probe()["netkit"],
        "made": attempt("ping", {"device": "netkit", "hook": "netkit_peer"}),
    }


@pytest.mark.root
def test_what_the_kernel_lacks_is_unsupported_and_not_a_failure(in_room: InRoom) -> None:
    seen = in_room(netkit_here)
    assert seen["made"]["status"] == ("ok" if seen["has"] else "unsupported")
    if not seen["has"]:
        assert "this kernel does not support netkit devices" in seen["made"]["error"]


@pytest.mark.root
def test_cpus_that_are_not_there_are_unsupported(in_room: InRoom) -> None:
    made = in_room(attempt, "sockperf", {**DIRECT, "cpus": [0, 4000]})
    assert made["status"] == "unsupported"
    assert "cpus [0, 4000]: this host may only use" in made["error"]


def counted(forward: int, back: int) -> dict[str, Counters]:
    return {
        "wire.forward": Counters(forward, 0),
        "wire.return": Counters(back, 0),
        "primary.forward": Counters(0, 0),
    }


@pytest.mark.parametrize(
    ("flow", "seen"),
    [
        (Flow((5, 5), (5, 5)), (5, 5)),
        (Flow((5, None), (1, None)), (700, 1)),
        (Flow((5, 5), (4, 5)), (5, 4)),
        (None, (0, 0)),
    ],
)
def test_the_path_assertion_holds_within_its_bounds(
    flow: Flow | None, seen: tuple[int, int]
) -> None:
    assert_path(flow, counted(*seen))


@pytest.mark.parametrize(
    ("flow", "seen", "said"),
    [
        (
            Flow((5, 5), (5, 5)),
            (4, 5),
            "wire.forward counted 4 packets where the load had exactly 5",
        ),
        (
            Flow((5, 5), (5, 5)),
            (5, 6),
            "wire.return counted 6 packets where the load had exactly 5",
        ),
        (
            Flow((5, None), (1, None)),
            (4, 1),
            "wire.forward counted 4 packets where the load had at least 5",
        ),
        (Flow((5, 5), (4, 5)), (5, 6), "wire.return counted 6 packets where the load had 4 to 5"),
    ],
)
def test_the_path_assertion_fails_outside_its_bounds(
    flow: Flow, seen: tuple[int, int], said: str
) -> None:
    with pytest.raises(LoadFailed, match=said):
        assert_path(flow, counted(*seen))


def test_a_network_without_programs_asserts_nothing() -> None:
    assert_path(Flow((5, 5), (5, 5)), {})
