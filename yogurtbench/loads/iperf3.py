"""iperf3: bulk throughput over TCP or UDP."""

from __future__ import annotations

import json
from typing import Any

from yogurtbench import shell
from yogurtbench.loads.common import LARGEST_SKB, Bench, Flow, LoadFailed, Measured, device_stats, wait_until_bound

PORT = 5201


def run(bench: Bench) -> Measured:
    """Bulk transfer from yogurt-1 to a one-off server in yogurt-2. Raises LoadFailed."""
    udp = bench.trial.cell.load == "iperf3_udp"
    server_argv = ["iperf3", "--server", "--one-off", "--bind", bench.address, "--port", str(PORT)]
    argv = client_arguments(bench.trial.options, bench.address, bench.payload, bench.trial.cell.streams or 1, udp)
    with shell.background(bench.server_command(server_argv)) as server:
        wait_until_bound(bench.server, server, "tcp", PORT, timeout=10)
        before = device_stats(bench)
        lifetime = float(bench.trial.options.get("duration") or 0) + bench.option("timeout")
        done = shell.run(bench.client_command(argv), timeout=lifetime, check=False)
        sent = device_stats(bench) - before
    parsed = parse(done.stdout, done.stderr, udp=udp)
    values = parsed["values"]
    if sent.tx_packets:
        values["bytes_per_skb"] = sent.tx_bytes / sent.tx_packets
    if not udp:
        values["packets_per_second"] = sent.tx_packets / parsed["seconds"]
    flow = Flow((max(1, parsed["delivered"] // LARGEST_SKB), None), (1, None))
    details = {
        "argv": argv,
        "delivered_bytes": parsed["delivered"],
        "device": {k: getattr(sent, k) for k in sent.__slots__},
    }
    return Measured(values, flow, details)


def client_arguments(options: dict[str, Any], address: str, payload: int, streams: int, udp: bool) -> list[str]:
    """The client's command line: bytes or seconds, UDP unpaced unless the matrix names a bitrate."""
    argv = ["iperf3", "--client", address, "--port", str(PORT), "--json", "--length", str(payload)]
    argv += ["--parallel", str(streams)] if streams > 1 else []
    amount = options.get("bytes")
    argv += ["--bytes", str(amount)] if amount else ["--time", f"{max(1, round(options['duration']))}"]
    return argv + (["--udp", "--bitrate", str(options.get("bitrate") or 0)] if udp else [])


def parse(stdout: str, stderr: str = "", *, udp: bool) -> dict[str, Any]:
    """iperf3's JSON -> ``values`` (bit/s, packets/s …), ``delivered`` bytes and ``seconds`` of the transfer.

    The receiver's figures count: what the sender got rid of may still lie in a queue. Raises LoadFailed where
    iperf3 reports an error or moved nothing.
    """
    try:
        report = json.loads(stdout)
    except json.JSONDecodeError:
        raise LoadFailed(f"iperf3 printed no JSON: {(stderr.strip() or stdout.strip())[-300:]}") from None
    if "error" in report:
        raise LoadFailed(f"iperf3: {report['error']}")
    parsed = _udp(report["end"]) if udp else _tcp(report["end"])
    if not parsed["delivered"]:
        raise LoadFailed("iperf3 ended well but delivered nothing")
    return parsed


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
