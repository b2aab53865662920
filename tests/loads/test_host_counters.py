"""What a load did to its machine: CPU time, softnet columns, devices, packet sizes."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import psutil
import pytest
from trials import DIRECT, WIRE, cell, trial

from yogurtbench.agent.trial import run_trial
from yogurtbench.core.metrics import METRICS_OF
from yogurtbench.ebpf.wire import Programs
from yogurtbench.loads import cpu_time, host_counters

Recorded = Callable[[str], str]
_BURN = "import time, sys\nwhile time.process_time() < float(sys.argv[1]): pass"


def test_softnet_columns_have_the_kernels_names(recorded: Recorded) -> None:
    assert host_counters.softnet_columns(recorded("softnet_stat.txt")) == {
        "processed": [0x1FA2B4, 0x10],
        "dropped": [3, 0],
        "time_squeeze": [0x11, 0],
        "received_rps": [5, 0],
        "flow_limit_count": [7, 0],
    }


def test_old_kernels_have_fewer_softnet_columns() -> None:
    assert host_counters.softnet_columns("00000001 00000002 00000003\n")["flow_limit_count"] == []


def test_only_the_cpus_of_the_load_are_looked_at(recorded: Recorded) -> None:
    tick = 1 / os.sysconf("SC_CLK_TCK")
    assert cpu_time.stat_seconds(recorded("proc_stat.txt"), [1]) == pytest.approx(
        (24 * tick, 257 * tick)
    )
    assert cpu_time.stat_seconds(recorded("proc_stat.txt"), [0, 1]) == pytest.approx(
        (37 * tick, 391 * tick)
    )


@pytest.mark.parametrize(
    ("axes", "seen", "why"),
    [
        ({"load": "iperf3_udp", "payload": 1400}, 1428, None),
        ({"load": "iperf3_udp", "payload": 8000}, 1355, "the mtu of 1500 fragments"),
        ({"load": "iperf3_udp", "payload": 64, "ip": 6}, 112, None),
        ({"load": "iperf3_tcp", "payload": 1400}, 48_000, "GSO batches"),
        ({"load": "sockperf_tcp", "payload": 64}, 116, None),
        ({"load": "ping", "payload": 56}, 84, None),
        ({"load": "sockperf", "payload": 64}, 0, None),
    ],
)
def test_a_packet_that_is_not_what_its_payload_says_carries_a_warning(
    axes: dict[str, Any], seen: float, why: str | None
) -> None:
    warnings = host_counters.warnings(cell(**axes, **DIRECT), seen)
    assert bool(warnings) == bool(why)
    assert why is None or why in warnings[0]


def measured(load: str, wire: dict[str, Any]) -> dict[str, Any]:
    attempt = run_trial(trial(load, **wire, options={"duration": 1.0, "timeout": 10.0}), Programs())
    values = {o.metric: o.value for o in attempt.observations}
    return {
        "status": attempt.status,
        "error": attempt.error,
        "values": values,
        "errors": {o.metric: o.error for o in attempt.observations},
        "details": attempt.details,
    }


def burned(seconds: float) -> float:
    """CPU time that is accounted to a child that burns so much beside a stranger who burns more."""
    argv = [sys.executable, "-c", _BURN]
    stranger = subprocess.Popen([*argv, "60"])
    before = cpu_time.measure_cpu_time(sorted(os.sched_getaffinity(0)))
    subprocess.run([*argv, str(seconds)], check=True)
    spent = cpu_time.measure_cpu_time(sorted(os.sched_getaffinity(0))) - before
    stranger.kill()
    return spent.processes + spent.beside


@pytest.mark.root
@pytest.mark.alone
def test_cpu_time_is_the_loads_own_and_not_a_strangers(in_room: Callable[..., float]) -> None:
    assert 0.3 <= in_room(burned, 0.3) < 0.45


def test_where_a_nanosecond_is_an_instruction_the_transfers_time_is_its_cost() -> None:
    costs = host_counters.instruction_costs(0.8, 40_000_000, 20_000)
    assert costs == {"instructions_per_byte": 20.0, "instructions_per_packet": 40_000.0}
    assert host_counters.instruction_costs(0.8, 40_000_000, 0) == {"instructions_per_byte": 20.0}


@pytest.mark.root
@pytest.mark.parametrize("load", ["iperf3_tcp", "iperf3_udp"])
def test_bulk_loads_say_what_they_cost(in_room: Callable[..., dict[str, Any]], load: str) -> None:
    attempt = in_room(measured, load, DIRECT)
    values, details = attempt["values"], attempt["details"]
    assert attempt["status"] == "ok", attempt["error"]
    assert set(METRICS_OF[load]) <= values.keys()
    if not any(one.name().startswith("ksoftirqd/") for one in psutil.process_iter()):
        # in a container with a PID namespace of its own
        assert attempt["errors"]["cpu_ns_per_byte"].endswith("for the load cannot be counted")
        return
    spent = details["cpu"]
    whole = (
        details["cpu_seconds"]
        + spent["ksoftirqd"]
        + spent["interrupts"] * spent["interrupts_apart"]
    )
    assert values["cpu_ns_per_byte"] * details["delivered_bytes"] == pytest.approx(whole * 1e9)
    # What iperf3 reads of itself is what the kernel says of its whole life, but for its start.
    assert 0 < details["cpu_seconds"] < 1.05 * spent["processes"] < details["cpu_seconds"] + 0.3


@pytest.mark.root
def test_every_device_is_counted_and_the_packets_measured(
    in_room: Callable[..., dict[str, Any]],
) -> None:
    attempt = in_room(measured, "sockperf", WIRE)
    devices, carried = (
        attempt["details"]["devices"],
        attempt["details"]["counters"]["wire.forward"][0],
    )
    assert attempt["values"]["packet_size"] == 64 + 28
    assert {
        devices[d][f"{way}_packets"]
        for d, way in (("yg1-cont", "tx"), ("yg2-host", "tx"), ("yg2-cont", "rx"))
    } == {carried}
    assert sum(attempt["details"]["softnet"]["processed"]) >= carried


def measured_longer(load: str, wire: dict[str, Any]) -> list[Any]:
    attempt = run_trial(trial(load, **wire, options={"duration": 4.0, "timeout": 10.0}), Programs())
    return [attempt.status, attempt.error]


@pytest.mark.root
def test_a_load_of_more_than_five_seconds_is_not_disturbed_by_neighbours(
    in_room: Callable[..., list[Any]],
) -> None:
    """The kernel asks for a stale neighbour 5 s after its first use: two packets that no load has
    sent.
    """
    assert in_room(measured_longer, "sockperf", WIRE) == ["ok", ""]


@pytest.mark.root
def test_round_trips_under_load_are_measured_beside_the_bulk(
    in_room: Callable[..., dict[str, Any]],
) -> None:
    attempt = in_room(measured, "rtt_under_load", WIRE)
    assert attempt["status"] == "ok", attempt["error"]
    assert set(METRICS_OF["rtt_under_load"]) <= attempt["values"].keys()
    assert attempt["values"]["throughput"] > 1e7 and attempt["values"]["rtt_p50"] > 1000
    packets, volume = attempt["details"]["counters"]["wire.forward"]
    assert volume > attempt["details"]["delivered_bytes"] and packets > volume // 65_536


@pytest.mark.root
def test_sockperf_without_ipv6_is_unsupported_and_not_a_failure(
    in_room: Callable[..., dict[str, Any]],
) -> None:
    attempt = in_room(measured, "sockperf", {**DIRECT, "ip": 6})
    assert (attempt["status"], attempt["error"]) in (
        ("ok", ""),
        ("unsupported", "this sockperf knows no IPv6; ping and iperf3 do"),
    )
