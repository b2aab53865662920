"""iperf3: bulk throughput over TCP or UDP."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any

from yogurtbench.core import process
from yogurtbench.core.printable import quoted
from yogurtbench.core.process import Completed
from yogurtbench.core.records import Details, Status
from yogurtbench.lab import Unsupported
from yogurtbench.loads import host_counters
from yogurtbench.loads.base import (
    LARGEST_SKB,
    Flow,
    LoadContext,
    LoadFailed,
    LoadResult,
    outlived_by,
    wait_until_bound,
)
from yogurtbench.loads.host_counters import HostCounters, Missing, Values
from yogurtbench.loads.reading import (
    JsonField,
    check_exit_code,
    check_not_killed,
    check_values,
    json_report,
)

PORT = 5201
#: The first iperf3 whose streams are threads.
_THREADED = (3, 16)
#: What is divided by the time of a transfer, and why there is none of it.
_RATES = {"throughput", "packets_per_second", "instructions_per_byte", "instructions_per_packet"}
_LATE: tuple[Status, str] = (
    "unsupported",
    "this iperf3 notices up to a second late that a number of bytes is sent: give a duration "
    "instead",
)
_TOO_SMALL = re.compile(r"block size invalid \(minimum = (\d+) bytes", re.ASCII)
#: Characters at the end of a report that hold its sums.
_TAIL = 2000

_Figures = tuple[dict[str, float], int, float]


@dataclass(frozen=True, slots=True)
class IperfReport:
    """iperf3's report: ``values`` are metrics, ``delivered`` are the receiver's bytes.

    ``seconds`` is how long it took, ``cpu_seconds`` the CPU time of both ends. ``threaded``: of an
    iperf3 whose streams are threads; its main thread notices up to a second late that they have
    sent a number of bytes (iperf_run_client, which looks when a timer fires), and reports that
    time.
    """

    values: dict[str, float]
    delivered: int
    seconds: float
    cpu_seconds: float
    threaded: bool = False


def run(bench: LoadContext) -> LoadResult:
    """Bulk transfer from yogurt-1 to a one-off server in yogurt-2. Raises LoadFailed."""
    cell, options = bench.trial.cell, bench.trial.options
    udp = cell.load == "iperf3_udp"
    if options.get("bytes") and options.get("duration"):
        options = end_by(options, threaded=is_threaded())
    argv = client_arguments(options, bench.address, bench.payload, cell.streams or 1, udp)
    first = bench.trial.clock == "instructions"
    with host_counters.counting(bench, with_cpu=True) as account, serving(bench, first=first):
        lifetime = float(options.get("duration") or 0) + bench.option("timeout")
        done = process.run(bench.client_command(argv), timeout=lifetime, check=False)
    report = read(done, udp=udp)
    values = dict(report.values)
    if account.bytes_per_skb:
        values["bytes_per_skb"] = account.bytes_per_skb
    if not udp:
        values["packets_per_second"] = account.sent["tx_packets"] / report.seconds
    packets = values["packets_per_second"] * report.seconds
    costs, missing = _costs(bench, account, report, packets)
    details: Details = {
        "argv": argv,
        "delivered_bytes": report.delivered,
        "cpu_seconds": report.cpu_seconds,
    }
    if not udp and "retransmits" not in values:
        missing = {
            **missing,
            "retransmits": ("unsupported", "this iperf3 does not tell its retransmits"),
        }
    figures: Values = {**values, **costs}
    if options.get("bytes") and report.threaded:
        late = sorted(_RATES & figures.keys())
        figures = {name: value for name, value in figures.items() if name not in late}
        missing = {**missing, **dict.fromkeys(late, _LATE)}
    measured = LoadResult(figures, flow(report.delivered), details, missing)
    return account.complete(measured, cell)


def end_by(options: dict[str, Any], *, threaded: bool) -> dict[str, Any]:
    """Choose the end that this iperf3 reports exactly, where the plan has bytes and a duration."""
    left_out = "bytes" if threaded else "duration"
    return {name: value for name, value in options.items() if name != left_out}


@cache
def is_threaded() -> bool:
    """Return whether the streams of this machine's iperf3 are threads."""
    return _is_threaded(process.run(["iperf3", "--version"], check=False).stdout)


def _is_threaded(version: str) -> bool:
    found = re.match(r"iperf (\d+)\.(\d+)", version)
    return found is not None and tuple(map(int, found.groups())) >= _THREADED


@contextmanager
def serving(bench: LoadContext, *, first: bool = False) -> Iterator[None]:
    """Yield a one-off server in yogurt-2, ready. Raises LoadFailed.

    ``first``: on a CPU that both ends share, it goes before the sender, so that each packet goes
    all the way before the next is sent. Where they take turns as the scheduler likes, the length of
    the turns decides what a packet costs and how many are lost (a third of UDP's), and an
    instruction more or less in the wire decides the turns.
    """
    argv = ["iperf3", "--server", "--one-off", "--bind", bench.address, "--port", str(PORT)]
    with process.run_in_background(bench.server_command(argv, first=first)) as server:
        wait_until_bound(bench, server, "tcp", PORT, timeout=10)
        with outlived_by(server, once=True):
            yield


def flow(delivered: int) -> Flow:
    """Return what the wire must have seen of so many bytes: no skb is larger than the largest."""
    return Flow((max(1, delivered // LARGEST_SKB), None), (1, None))


def _costs(
    bench: LoadContext, account: HostCounters, report: IperfReport, packets: float
) -> tuple[Values, Missing]:
    """Return what a byte and a packet cost.

    CPU time, or on the instruction clock, whose time is work done, instructions.
    """
    if bench.trial.clock == "instructions":
        return host_counters.instruction_costs(report.seconds, report.delivered, packets), {}
    return host_counters.cpu_costs(account, report.cpu_seconds, report.delivered, packets)


def client_arguments(
    options: dict[str, Any], address: str, payload: int, streams: int, udp: bool
) -> list[str]:
    """Return the client's command line: bytes or seconds, UDP unpaced unless the matrix names a
    bitrate.

    The bitrate is that of all streams together; iperf3's is each stream's. Raises LoadFailed where
    it cannot be divided, which plans refuse.
    """
    argv = ["iperf3", "--client", address, "--port", str(PORT), "--json", "--length", str(payload)]
    argv += ["--parallel", str(streams)] if streams > 1 else []
    amount = options.get("bytes")
    argv += (
        ["--bytes", str(amount)] if amount else ["--time", f"{max(1, round(options['duration']))}"]
    )
    bitrate, rest = divmod(int(options.get("bitrate") or 0), streams)
    if rest:
        raise LoadFailed(
            f"a bitrate of {options['bitrate']} bit/s cannot be divided among {streams} streams"
        )
    return argv + (["--udp", "--bitrate", str(bitrate)] if udp else [])


def read(done: Completed, *, udp: bool) -> IperfReport:
    """Return what a client that has ended reported.

    Raises LoadFailed also where it did not end well, Unsupported.
    """
    check_not_killed("iperf3", done)
    report = parse(done.stdout, done.stderr, udp=udp)
    check_exit_code("iperf3", done)
    return report


def parse(stdout: str, stderr: str = "", *, udp: bool) -> IperfReport:
    """iperf3's JSON.

    The receiver's figures count: what the sender got rid of may still lie in a queue. Raises
    LoadFailed where iperf3 reports an error, moved nothing or reports what cannot be, Unsupported
    where the payload is smaller than this iperf3 sends.
    """
    if not stdout.lstrip().startswith("{") and (too_small := _TOO_SMALL.search(stderr)):
        raise Unsupported(f"this iperf3 sends no datagrams of less than {too_small[1]} bytes")
    report = json_report("iperf3", stdout, stderr)
    if "error" in report.value:
        raise LoadFailed(f"iperf3: {quoted(str(report.value['error']))}")
    end = report.at("end")
    threaded = _is_threaded(_version(report))
    uncounted = _uncounted(report) if threaded and not udp else 0
    values, delivered, seconds = _udp(end) if udp else _tcp(end, uncounted)
    check_values("iperf3", values, stdout[-_TAIL:])
    used = end.at("cpu_utilization_percent")
    cpu_seconds = (used.number("host_total") + used.number("remote_total")) / 100 * seconds
    return IperfReport(values, delivered, seconds, cpu_seconds, threaded)


def _version(report: JsonField) -> str:
    if not report.has("start") or not (start := report.at("start")).has("version"):
        return ""
    return str(start.at("version").value)


def _uncounted(report: JsonField) -> int:
    """Bytes that may arrive without being counted as sent: a write a stream.

    A stream's thread is stopped between its write and the counting of it.
    """
    start = report.at("start")
    return start.count("test_start", "blksize") * start.count("test_start", "num_streams")


def _tcp(end: JsonField, uncounted: int) -> _Figures:
    received, sent = end.at("sum_received"), end.at("sum_sent")
    delivered, seconds = _delivered(received, received.count("bytes"))
    if delivered > (whole := sent.count("bytes")) + uncounted:
        raise LoadFailed(
            f"iperf3's figures cannot be: {delivered} of {whole} bytes arrived; it printed: "
            f"{_words(end)}"
        )
    values = {"throughput": received.number("bits_per_second")}
    if sent.has("retransmits"):
        values["retransmits"] = float(sent.count("retransmits"))
    return values, delivered, seconds


def _udp(end: JsonField) -> _Figures:
    """Return the receiver's figures; iperf3 before 3.11 has only ``sum`` (esnet/iperf#1174).

    ``sum`` mixes both ends: packets sent, and losses as the receiver noticed them.
    """
    both = end.at("sum")
    received = end.at("sum_received") if end.has("sum_received") else both
    sent = both.count("packets")
    arrived = received.count("packets") - received.count("lost_packets")
    if not 0 <= arrived <= sent:
        raise LoadFailed(
            f"iperf3's figures cannot be: {arrived} of {sent} packets arrived; it printed: "
            f"{_words(end)}"
        )
    moved = received.count("bytes")
    whole, seconds = _delivered(
        received, int(moved * arrived / sent) if received is both and sent else moved
    )
    values = {
        "throughput": whole * 8 / seconds,
        "packets_per_second": arrived / seconds,
        "loss": 1 - arrived / sent if sent else 1.0,
    }
    return values, whole, seconds


def _delivered(received: JsonField, delivered: int) -> tuple[int, float]:
    """Bytes that arrived, and the seconds it took. Raises LoadFailed where either is nothing."""
    if not delivered:
        raise LoadFailed(f"iperf3 ended well but delivered nothing; it printed: {_words(received)}")
    seconds = received.number("seconds")
    if not seconds:
        raise LoadFailed(
            f"iperf3's figures cannot be: {delivered} bytes in no time; it printed: "
            f"{_words(received)}"
        )
    return delivered, seconds


def _words(field: JsonField) -> str:
    return quoted(field.text[-_TAIL:])
