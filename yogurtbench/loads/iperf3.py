"""iperf3: bulk throughput over TCP or UDP."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from yogurtbench import shell
from yogurtbench.lab import Unsupported
from yogurtbench.loads import accounting
from yogurtbench.loads.accounting import Account, Missing, Values
from yogurtbench.loads.common import LARGEST_SKB, Bench, Flow, LoadFailed, Measured, wait_until_bound

PORT = 5201
#: A scheduling policy (sched(7)): whenever it has something to do, it has the CPU.
_FIRST = ("chrt", "--fifo", "1")
_TOO_SMALL = re.compile(r"block size invalid \(minimum = (\d+) bytes")


def run(bench: Bench) -> Measured:
    """Bulk transfer from yogurt-1 to a one-off server in yogurt-2. Raises LoadFailed."""
    cell, options = bench.trial.cell, bench.trial.options
    udp = cell.load == "iperf3_udp"
    argv = client_arguments(options, bench.address, bench.payload, cell.streams or 1, udp)
    first = bench.trial.clock == "instructions"
    with accounting.watched(bench, with_cpu=True) as account, serving(bench, first=first):
        lifetime = float(options.get("duration") or 0) + bench.option("timeout")
        done = shell.run(bench.client_command(argv), timeout=lifetime, check=False)
    parsed = parse(done.stdout, done.stderr, udp=udp)
    values = {**parsed["values"], **_packets(account)}
    if not udp:
        values["packets_per_second"] = account.sent["tx_packets"] / parsed["seconds"]
    packets = values["packets_per_second"] * parsed["seconds"]
    costs, missing = _costs(bench, account, parsed, packets)
    warnings = accounting.warnings(cell, account.packet_size)
    details = {"argv": argv, "delivered_bytes": parsed["delivered"], "cpu_seconds": parsed["cpu_seconds"]}
    details |= {"warnings": warnings, **account.details()}
    return Measured({**values, **costs}, flow(parsed["delivered"]), details, missing)


@contextmanager
def serving(bench: Bench, *, first: bool = False) -> Iterator[None]:
    """A one-off server in yogurt-2, ready. Raises LoadFailed.

    ``first``: on a CPU that both ends share, it goes before the sender, so that each packet goes all the way before the
    next is sent. Where they take turns as the scheduler likes, the length of the turns decides what a packet costs and
    how many are lost (a third of UDP's), and an instruction more or less in the wire decides the turns.
    """
    argv = ["iperf3", "--server", "--one-off", "--bind", bench.address, "--port", str(PORT)]
    argv = [*(_FIRST if first else ()), *argv]
    with shell.background(bench.server_command(argv)) as server:
        wait_until_bound(bench.server, server, "tcp", PORT, timeout=10)
        yield


def flow(delivered: int) -> Flow:
    """What the wire must have seen of so many bytes: no skb is larger than the largest."""
    return Flow((max(1, delivered // LARGEST_SKB), None), (1, None))


def _costs(bench: Bench, account: Account, parsed: dict[str, Any], packets: float) -> tuple[Values, Missing]:
    """What a byte and a packet cost: CPU time, or on the instruction clock, whose time is work done, instructions."""
    if bench.trial.clock == "instructions":
        return accounting.instruction_costs(parsed["seconds"], parsed["delivered"], packets), {}
    return accounting.cpu_costs(account, parsed["cpu_seconds"], parsed["delivered"], packets)


def _packets(account: Account) -> dict[str, float]:
    sizes = {"bytes_per_skb": account.bytes_per_skb, "packet_size": account.packet_size}
    return {name: size for name, size in sizes.items() if size}


def client_arguments(options: dict[str, Any], address: str, payload: int, streams: int, udp: bool) -> list[str]:
    """The client's command line: bytes or seconds, UDP unpaced unless the matrix names a bitrate."""
    argv = ["iperf3", "--client", address, "--port", str(PORT), "--json", "--length", str(payload)]
    argv += ["--parallel", str(streams)] if streams > 1 else []
    amount = options.get("bytes")
    argv += ["--bytes", str(amount)] if amount else ["--time", f"{max(1, round(options['duration']))}"]
    return argv + (["--udp", "--bitrate", str(options.get("bitrate") or 0)] if udp else [])


def parse(stdout: str, stderr: str = "", *, udp: bool) -> dict[str, Any]:
    """iperf3's JSON -> ``values`` (bit/s, packets/s …), ``delivered`` bytes, ``seconds`` and ``cpu_seconds`` it took.

    The receiver's figures count: what the sender got rid of may still lie in a queue. Raises LoadFailed where
    iperf3 reports an error or moved nothing, Unsupported where the payload is smaller than this iperf3 sends.
    """
    try:
        report = json.loads(stdout)
    except json.JSONDecodeError:
        if too_small := _TOO_SMALL.search(stderr):
            raise Unsupported(f"this iperf3 sends no datagrams of less than {too_small[1]} bytes") from None
        raise LoadFailed(f"iperf3 printed no JSON: {(stderr.strip() or stdout.strip())[-300:]}") from None
    if "error" in report:
        raise LoadFailed(f"iperf3: {report['error']}")
    parsed = _udp(report["end"]) if udp else _tcp(report["end"])
    if not parsed["delivered"]:
        raise LoadFailed("iperf3 ended well but delivered nothing")
    used = report["end"]["cpu_utilization_percent"]
    return {**parsed, "cpu_seconds": (used["host_total"] + used["remote_total"]) / 100 * parsed["seconds"]}


def _tcp(end: dict[str, Any]) -> dict[str, Any]:
    received, sent = end["sum_received"], end["sum_sent"]
    values = {"throughput": received["bits_per_second"], "retransmits": float(sent.get("retransmits", 0))}
    return {"values": values, "delivered": int(received["bytes"]), "seconds": received["seconds"]}


def _udp(end: dict[str, Any]) -> dict[str, Any]:
    """The receiver's figures; iperf3 before 3.11 has only ``sum`` (esnet/iperf#1174).

    ``sum`` mixes both ends: packets sent, and losses as the receiver noticed them.
    """
    received = end.get("sum_received") or end["sum"]
    sent, seconds = end["sum"]["packets"], received["seconds"]
    arrived = received["packets"] - received["lost_packets"]
    delivered = int(received["bytes"] * arrived / sent) if received is end["sum"] and sent else int(received["bytes"])
    values = {
        "throughput": delivered * 8 / seconds if seconds else 0.0,
        "packets_per_second": arrived / seconds if seconds else 0.0,
        "loss": 1 - arrived / sent if sent else 1.0,
    }
    return {"values": values, "delivered": delivered, "seconds": seconds}
