"""sockperf ping-pong: one message at a time, full round trips with nanosecond percentiles."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from yogurtbench.core import process
from yogurtbench.core.printable import quoted
from yogurtbench.core.records import Details
from yogurtbench.lab import Unsupported
from yogurtbench.loads import host_counters, short_run
from yogurtbench.loads.base import (
    Flow,
    LoadContext,
    LoadFailed,
    LoadResult,
    outlived_by,
    packets_per_message,
    wait_until_bound,
)
from yogurtbench.loads.reading import (
    check_exit_code,
    check_not_killed,
    check_quantiles,
    check_values,
    number,
)

PORT = 11111
#: sockperf 3.7 sleeps 2 s, and warms up and cools down 0.45 s, around what -t asks for.
OWN_SECONDS = 2.5
#: On the instruction clock so many guest seconds of measured round trips are enough beside a bulk
#: transfer, where a whole second has the emulator execute another 10^9 instructions. Alone on the
#: wire much less is: see short_run.
INSTRUCTION_SECONDS = 0.15

#: Bytes that its client fills beforehand for each second of a run: 600,000 round trips, two times
#: of 8 bytes each (MPS_MAX_PP in defs.h, PacketTimes in packet.cpp).
_BYTES_PER_SECOND = 600_000 * 16

_PERCENTILE = re.compile(r"percentile (\S+)\s*=\s*(\S+)")
_EXTREME = re.compile(r"<(MAX|MIN)> observation\s*=\s*(\S+)")
_MEAN = re.compile(r"avg-(?:rtt|latency)=(\d[\d.]*)", re.ASCII)
_TOTAL = re.compile(r"\[Total Run\].*SentMessages=(\d+);\s*ReceivedMessages=(\d+)", re.ASCII)
_VALID = re.compile(r"\[Valid Duration\].*SentMessages=(\d+);\s*ReceivedMessages=(\d+)", re.ASCII)
_DUPLICATES = re.compile(r"# duplicated messages = (\d+)", re.ASCII)
#: timeout(1)'s exit code where it sent the signal.
_INTERRUPTED = 124
_NEEDED = {"0", "50", "90", "99", "100"}


@dataclass(frozen=True, slots=True)
class SockperfReport:
    """sockperf's report: messages ``sent``, ``received``, and ``counted`` in its figures.

    ``values`` are metrics (ns, ratio) of the valid part of it, ``quantiles`` are by percent (ns).
    """

    sent: int
    received: int
    values: dict[str, float]
    quantiles: dict[str, float]
    counted: int = 0


def run(bench: LoadContext) -> LoadResult:
    """Ping-pong from yogurt-1 to a server in yogurt-2, over UDP or (``sockperf_tcp``) TCP.

    Raises LoadFailed.
    """
    with host_counters.counting(bench) as account, serving(bench):
        exchanged = exchange_messages(bench)
    return account.complete(exchanged, bench.trial.cell)


@contextmanager
def serving(bench: LoadContext) -> Iterator[None]:
    """Yield a server in yogurt-2, ready.

    Raises LoadFailed, Unsupported where sockperf has no IPv6.
    """
    argv = ["sockperf", "server", *_common(bench)]
    with process.run_in_background(bench.server_command(argv)) as server:
        try:
            wait_until_bound(bench, server, "tcp" if _is_tcp(bench) else "udp", PORT, timeout=10)
        except LoadFailed as error:
            if bench.trial.cell.ip == 6 and "Invalid address" in str(error):
                raise Unsupported("this sockperf knows no IPv6; ping and iperf3 do") from None
            raise
        with outlived_by(server):
            yield


def exchange_messages(bench: LoadContext, *, alone: bool = True) -> LoadResult:
    """Send message after message to the server, to the end.

    ``alone``: nothing else is on the wire.

    Raises LoadFailed, Unsupported where the memory is too small.
    """
    client = [
        "sockperf",
        "ping-pong",
        *_common(bench),
        "-m",
        str(bench.payload),
        "-t",
        _seconds(bench),
        "--full-rtt",
    ]
    fine: tuple[int, ...] = (0,)
    check_memory(bench.option("duration"), Path("/proc/meminfo").read_text())
    lifetime = bench.option("duration") + OWN_SECONDS + bench.option("timeout")
    # Interrupted, the client ends as it does by itself: it waits for the last answer and prints its
    # figures.
    if bench.trial.clock != "instructions":
        done = process.run(bench.client_command(client), timeout=lifetime, check=False)
    elif alone:
        client = [*client, f"--mps={short_run.RATE}"]
        done = short_run.run_client(bench, bench.client_command(client), lifetime)
    else:
        client = ["timeout", "--signal=INT", f"{OWN_SECONDS + INSTRUCTION_SECONDS:g}", *client]
        fine = (0, _INTERRUPTED)
        done = process.run(bench.client_command(client), timeout=lifetime, check=False)
    check_not_killed("sockperf", done)
    report = parse(done.stdout, done.stderr)
    check_exit_code("sockperf", done, fine)
    details: Details = {
        "quantiles": report.quantiles,
        "messages": report.sent,
        "counted": report.counted,
        "argv": client,
    }
    return LoadResult(dict(report.values), _flow(bench, report, _is_tcp(bench)), details)


def check_memory(duration: float, meminfo: str) -> None:
    """Raise Unsupported where /proc/meminfo has less than sockperf's times would take."""
    available = re.search(r"^MemAvailable:\s*(\d+) kB$", meminfo, re.ASCII | re.MULTILINE)
    needed = int((duration + 1) * _BYTES_PER_SECOND)
    if available and needed > int(available[1]) * 1024:
        longest = max(1, int(available[1]) * 1024 // _BYTES_PER_SECOND - 1)
        raise Unsupported(
            f"sockperf keeps the times of {duration:g} s in {needed / 1e6:,.0f} MB of memory, "
            "and this machine has "
            f"{int(available[1]) / 1024:,.0f} MiB to spare: at most {longest} s"
        )


def _common(bench: LoadContext) -> list[str]:
    return ["-i", bench.address, "-p", str(PORT), *(["--tcp"] if _is_tcp(bench) else [])]


def _is_tcp(bench: LoadContext) -> bool:
    return bench.trial.cell.load == "sockperf_tcp"


def _seconds(bench: LoadContext) -> str:
    """Sockperf takes whole seconds only."""
    return str(max(1, round(bench.option("duration"))))


def _flow(bench: LoadContext, report: SockperfReport, tcp: bool) -> Flow:
    # the kernel may piggyback acknowledgements or not: a message is at least one packet each way
    if tcp:
        return Flow((report.sent, None), (report.received, None))
    fragments = packets_per_message(bench.payload, bench.trial.cell.ip, bench.trial.cell.mtu)
    sent, received = report.sent * fragments, report.received * fragments
    # The server answers the last message also when the client has already stopped listening.
    return Flow((sent, sent), (received, sent))


def parse(stdout: str, stderr: str = "") -> SockperfReport:
    """Sockperf's output.

    sockperf prints microseconds with three decimals: nanoseconds. Raises LoadFailed where it gave
    no percentiles, or such as cannot be.
    """
    text = _without_colours(stdout)
    total, valid, mean = _TOTAL.search(text), _VALID.search(text), _MEAN.search(text)
    quantiles = {f"{number('sockperf', text, p):g}": _ns(us) for p, us in _PERCENTILE.findall(text)}
    quantiles |= {
        {"MAX": "100", "MIN": "0"}[which]: _ns(us) for which, us in _EXTREME.findall(text)
    }
    if not (total and valid and mean and quantiles.keys() >= _NEEDED):
        raise LoadFailed(f"sockperf gave no percentiles: {quoted(stderr, text)}")
    words = quoted(total[0], valid[0])
    sent, received = _counts(total, words)
    valid_sent, valid_received = _counts(valid, words)
    duplicates = _DUPLICATES.search(text)
    if duplicates and duplicates[1].strip("0"):
        raise LoadFailed(f"sockperf's figures cannot be: {duplicates[0]}; it printed: {words}")
    values = {f"rtt_p{p}": quantiles[f"{p}"] for p in (50, 90, 99)}
    values |= {
        "rtt_mean": _ns(mean[1]),
        "rtt_min": quantiles["0"],
        "loss": 1 - valid_received / valid_sent,
    }
    check_values("sockperf", values, words)
    check_quantiles("sockperf", quantiles, values["rtt_mean"], words, text)
    return SockperfReport(sent, received, values, quantiles, valid_received)


def _counts(found: re.Match[str], words: str) -> tuple[int, int]:
    """Messages sent and received, at least one and no more than that."""
    sent, received = (int(number("sockperf", words, text)) for text in found.groups())
    if not 1 <= received <= sent:
        raise LoadFailed(
            f"sockperf's figures cannot be: {received} of {sent} messages came back; it "
            f"printed: {words}"
        )
    return sent, received


def _ns(microseconds: str) -> float:
    return float(round(number("sockperf", microseconds, microseconds) * 1000))


def _without_colours(text: str) -> str:
    return re.sub(r"\x1b\[[\d;]*m", "", text)
