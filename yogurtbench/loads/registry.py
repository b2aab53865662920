"""Which function runs which load."""

from __future__ import annotations

from collections.abc import Callable

from yogurtbench.loads import iperf3, isolation, ping, reachability, rtt_under_load, sockperf
from yogurtbench.loads.base import LoadContext, LoadResult

RUN: dict[str, Callable[[LoadContext], LoadResult]] = {
    "reachability": reachability.run,
    "ping": ping.run,
    "sockperf": sockperf.run,
    "sockperf_tcp": sockperf.run,
    "iperf3_tcp": iperf3.run,
    "iperf3_udp": iperf3.run,
    "rtt_under_load": rtt_under_load.run,
    "isolation": isolation.run,
}
