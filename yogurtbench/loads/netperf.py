"""netperf TCP_RR: one request and one response at a time over one TCP connection."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from yogurtbench.core import process
from yogurtbench.core.printable import quoted
from yogurtbench.core.records import Details
from yogurtbench.loads import host_counters
from yogurtbench.loads.base import (
    Flow,
    LoadContext,
    LoadFailed,
    LoadResult,
    outlived_by,
    wait_until_bound,
)
from yogurtbench.loads.reading import (
    check_exit_code,
    check_not_killed,
    check_quantiles,
    check_values,
    number,
)

#: The control connection's port, and those of the two ends of the one that is measured.
PORT, DATA_PORTS = 12870, "12871,12872"
#: On the instruction clock so many transactions: they repeat, and each costs the emulator time.
TRANSACTIONS = 200

#: What netperf is asked to print, by our word for it; times in microseconds. RT_LATENCY is the time
#: over the number of transactions, with three decimals; the others come from a histogram whose
#: finest step is a microsecond (netperf's src/netlib.c, HIST_add).
_TIMES = {
    "rtt_mean": "RT_LATENCY",
    "rtt_min": "MIN_LATENCY",
    "rtt_p50": "P50_LATENCY",
    "rtt_p90": "P90_LATENCY",
    "rtt_p99": "P99_LATENCY",
}
_MAXIMUM, _SENT, _RECEIVED = "MAX_LATENCY", "LOCAL_SEND_CALLS", "REMOTE_SEND_CALLS"


@dataclass(frozen=True, slots=True)
class NetperfReport:
    """netperf's report: ``values`` are metrics (ns), ``quantiles`` are by percent (ns).

    ``sent`` and ``answered``: requests and responses, each a write of one end.
    """

    sent: int
    answered: int
    values: dict[str, float]
    quantiles: dict[str, float]


def run(bench: LoadContext) -> LoadResult:
    """Request and response from yogurt-1 to a server in yogurt-2.

    Raises LoadFailed.
    """
    with host_counters.counting(bench) as account, _serving(bench):
        measured = _measure(bench)
    return account.complete(measured, bench.trial.cell)


@contextmanager
def _serving(bench: LoadContext) -> Iterator[None]:
    """Yield a server in yogurt-2, ready. Raises LoadFailed."""
    # One process (-f), in the foreground (-D), without a file of debugging output (-N).
    argv = ["netserver", "-D", "-f", "-N", "-L", bench.address, "-p", str(PORT)]
    with process.run_in_background(bench.server_command(argv)) as server:
        wait_until_bound(bench, server, "tcp", PORT, timeout=10)
        with outlived_by(server):
            yield


def _measure(bench: LoadContext) -> LoadResult:
    exact = bench.trial.clock == "instructions"
    seconds = max(1, round(bench.option("duration")))
    client = [
        "netperf",
        *(["-6"] if bench.trial.cell.ip == 6 else []),
        *("-H", bench.address, "-p", str(PORT), "-t", "TCP_RR", "-P", "0"),
        *("-l", str(-TRANSACTIONS if exact else seconds)),  # negative: transactions
        "--",
        *("-r", f"{bench.payload},{bench.payload}", "-P", DATA_PORTS),
        *("-k", ",".join([*_TIMES.values(), _MAXIMUM, _SENT, _RECEIVED])),
    ]
    lifetime = bench.option("duration") + bench.option("timeout")
    done = process.run(bench.client_command(client), timeout=lifetime, check=False)
    check_not_killed("netperf", done)
    check_exit_code("netperf", done)
    report = parse(done.stdout, done.stderr)
    details: Details = {
        "quantiles": report.quantiles,
        "messages": report.sent,
        "counted": report.answered,
        "argv": client,
    }
    # A message is at least one packet each way; the control connection adds its own.
    flow = Flow((report.sent, None), (report.answered, None))
    return LoadResult(dict(report.values), flow, details)


def parse(stdout: str, stderr: str = "") -> NetperfReport:
    """Read netperf's keys and values, ``RT_LATENCY=20.381`` a line.

    Raises LoadFailed where some are missing, or cannot be.
    """
    printed = dict(line.split("=", 1) for line in stdout.splitlines() if "=" in line)
    wanted = (*_TIMES.values(), _MAXIMUM, _SENT, _RECEIVED)
    if missing := [key for key in wanted if key not in printed]:
        raise LoadFailed(f"netperf printed no {missing[0]}: {quoted(stderr, stdout)}")
    read = {key: number("netperf", stdout, printed[key]) for key in wanted}
    sent, answered = int(read[_SENT]), int(read[_RECEIVED])
    if not 1 <= answered <= sent:
        raise LoadFailed(
            f"netperf's figures cannot be: {answered} of {sent} requests were answered; it "
            f"printed: {quoted(stdout)}"
        )
    values = {metric: float(round(read[key] * 1000)) for metric, key in _TIMES.items()}
    quantiles = {
        "0": values["rtt_min"],
        "50": values["rtt_p50"],
        "90": values["rtt_p90"],
        "99": values["rtt_p99"],
        "100": float(round(read[_MAXIMUM] * 1000)),
    }
    check_values("netperf", values, stdout)
    # The mean has the time between two transactions in it, too: it may lie above the slowest.
    check_quantiles("netperf", quantiles, quantiles["50"], stdout)
    return NetperfReport(sent, answered, values, quantiles)
