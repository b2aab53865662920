"""ping (iputils): familiar, coarse (microseconds). For latency prefer sockperf."""

from __future__ import annotations

import re
import statistics
from typing import Any

from yogurtbench import shell
from yogurtbench.loads import accounting
from yogurtbench.loads.common import Bench, Flow, LoadFailed, Measured, packets_per_message
from yogurtbench.loads.quantiles import quantile

_TIME = re.compile(r"time=([\d.]+) ms")
_ANSWERED = re.compile(r"icmp_seq=(\d+) .*time=")
_SUMMARY = re.compile(r"(\d+) packets transmitted, (\d+) received")


def run(bench: Bench) -> Measured:
    """Echo requests from yogurt-1 to yogurt-2, one by one. Raises LoadFailed where no summary came."""
    options = bench.trial.options
    argv = ["ping", "-n", "-c", f"{options['count']:d}", "-i", f"{options['interval']:g}"]
    argv += ["-s", str(bench.payload), "-w", f"{max(1, round(options['timeout']))}", bench.address]
    with accounting.watched(bench) as account:
        done = shell.run(bench.client_command(argv), timeout=options["timeout"] + 5, check=False)
    parsed = parse(done.stdout, done.stderr, options["count"])
    fragments = packets_per_message(bench.payload, bench.trial.cell.ip, bench.trial.cell.mtu)
    sent, received = parsed.pop("sent") * fragments, parsed.pop("received") * fragments
    # Requests under way when the last awaited answer came are answered too, and ping is gone by then.
    flow = Flow((sent, sent), (received, received + parsed.pop("under_way") * fragments))
    values = {**parsed.pop("values"), "packet_size": account.packet_size}
    warnings = accounting.warnings(bench.trial.cell, account.packet_size)
    return Measured(values, flow, {**parsed, "argv": list(done.argv), "warnings": warnings, **account.details()})


def parse(stdout: str, stderr: str = "", count: int | None = None) -> dict[str, Any]:
    """Ping's output -> ``sent``, ``received``, ``under_way`` (packets), ``values`` (ns, ratio) and ``quantiles`` (ns).

    With a deadline ping goes on asking until ``count`` answers are there (ping(8), -c). Where they come later than the
    interval the last requests are ``under_way`` at its end, not lost. Raises LoadFailed where it said nothing usable.
    """
    summary = _SUMMARY.search(stdout)
    times = sorted(float(ms) * 1e6 for ms in _TIME.findall(stdout))
    if summary is None or not times:
        raise LoadFailed(f"ping gave no round trips: {(stderr or stdout).strip()[-300:]}")
    sent, received = int(summary[1]), int(summary[2])
    under_way = sent - max(map(int, _ANSWERED.findall(stdout))) if received == count else 0
    values: dict[str, float] = {f"rtt_p{p}": quantile(times, p / 100) for p in (50, 90, 99)}
    values |= {"rtt_mean": statistics.fmean(times), "rtt_min": times[0], "loss": 1 - received / (sent - under_way)}
    return {
        "sent": sent,
        "received": received,
        "under_way": under_way,
        "values": values,
        "quantiles": {f"{p}": quantile(times, p / 100) for p in (0, 1, 5, 10, 25, 50, 75, 90, 95, 99, 100)},
    }
