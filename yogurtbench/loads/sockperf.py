"""sockperf ping-pong: one message at a time, full round trips with nanosecond percentiles."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from yogurtbench import shell
from yogurtbench.lab import Unsupported
from yogurtbench.loads import accounting
from yogurtbench.loads.common import Bench, Flow, LoadFailed, Measured, packets_per_message, wait_until_bound

PORT = 11111
#: sockperf 3.7 sleeps 2 s, and warms up and cools down 0.45 s, around what -t asks for.
OWN_SECONDS = 2.5
#: On the instruction clock a fixed number of guest seconds is enough, since the median does not vary: some 5,000 round
#: trips, where the whole second that sockperf cannot go below has the emulator execute another 10^9 instructions.
INSTRUCTION_SECONDS = 0.15

_PERCENTILE = re.compile(r"percentile ([\d.]+)\s*=\s*([\d.]+)")
_EXTREME = re.compile(r"<(MAX|MIN)> observation\s*=\s*([\d.]+)")
_MEAN = re.compile(r"avg-(?:rtt|latency)=([\d.]+)")
_TOTAL = re.compile(r"\[Total Run\].*SentMessages=(\d+);\s*ReceivedMessages=(\d+)")
_VALID = re.compile(r"\[Valid Duration\].*SentMessages=(\d+);\s*ReceivedMessages=(\d+)")


def run(bench: Bench) -> Measured:
    """Ping-pong from yogurt-1 to a server in yogurt-2, over UDP or (``sockperf_tcp``) TCP. Raises LoadFailed."""
    with accounting.watched(bench) as account, serving(bench):
        asked = ask(bench)
    warnings = accounting.warnings(bench.trial.cell, account.packet_size)
    values = {**asked.values, "packet_size": account.packet_size}
    return replace(asked, values=values, details={**asked.details, "warnings": warnings, **account.details()})


@contextmanager
def serving(bench: Bench) -> Iterator[None]:
    """A server in yogurt-2, ready. Raises LoadFailed, Unsupported where sockperf has no IPv6."""
    argv = ["sockperf", "server", *_common(bench)]
    with shell.background(bench.server_command(argv)) as server:
        try:
            wait_until_bound(bench.server, server, "tcp" if _is_tcp(bench) else "udp", PORT, timeout=10)
        except LoadFailed as error:
            if bench.trial.cell.ip == 6 and "Invalid address" in str(error):
                raise Unsupported("this sockperf knows no IPv6; ping and iperf3 do") from None
            raise
        yield


def ask(bench: Bench) -> Measured:
    """Message after message to the server, to the end. Raises LoadFailed."""
    client = ["sockperf", "ping-pong", *_common(bench), "-m", str(bench.payload), "-t", _seconds(bench), "--full-rtt"]
    if bench.trial.clock == "instructions":
        # Interrupted it ends as it does by itself: it waits for the last answer and prints its figures.
        client = ["timeout", "--signal=INT", f"{OWN_SECONDS + INSTRUCTION_SECONDS:g}", *client]
    lifetime = bench.option("duration") + OWN_SECONDS + bench.option("timeout")
    done = shell.run(bench.client_command(client), timeout=lifetime, check=False)
    parsed = parse(done.stdout, done.stderr)
    details = {"quantiles": parsed["quantiles"], "messages": parsed["sent"], "argv": client}
    return Measured(parsed["values"], _flow(bench, parsed, _is_tcp(bench)), details)


def _common(bench: Bench) -> list[str]:
    return ["-i", bench.address, "-p", str(PORT), *(["--tcp"] if _is_tcp(bench) else [])]


def _is_tcp(bench: Bench) -> bool:
    return bench.trial.cell.load == "sockperf_tcp"


def _seconds(bench: Bench) -> str:
    """Sockperf takes whole seconds only."""
    return str(max(1, round(bench.option("duration"))))


def _flow(bench: Bench, parsed: dict[str, Any], tcp: bool) -> Flow:
    if tcp:  # the kernel may piggyback acknowledgements or not: a message is at least one packet each way
        return Flow((parsed["sent"], None), (parsed["received"], None))
    fragments = packets_per_message(bench.payload, bench.trial.cell.ip, bench.trial.cell.mtu)
    sent, received = parsed["sent"] * fragments, parsed["received"] * fragments
    # The server answers the last message also when the client has already stopped listening.
    return Flow((sent, sent), (received, sent))


def parse(stdout: str, stderr: str = "") -> dict[str, Any]:
    """Sockperf's output -> ``sent``, ``received`` (messages of the whole run), ``values`` and ``quantiles`` (ns).

    sockperf prints microseconds with three decimals: nanoseconds. Raises LoadFailed where it gave no percentiles.
    """
    text = _without_colours(stdout)
    total, valid, mean = _TOTAL.search(text), _VALID.search(text), _MEAN.search(text)
    quantiles = {f"{float(p):g}": _ns(us) for p, us in _PERCENTILE.findall(text)}
    quantiles |= {{"MAX": "100", "MIN": "0"}[which]: _ns(us) for which, us in _EXTREME.findall(text)}
    if not (total and valid and mean and {"0", "50"} <= quantiles.keys()):
        raise LoadFailed(f"sockperf gave no percentiles: {(stderr.strip() or text.strip())[-300:]}")
    values = {f"rtt_p{p}": quantiles[f"{p}"] for p in (50, 90, 99)}
    values |= {"rtt_mean": _ns(mean[1]), "rtt_min": quantiles["0"]}
    values |= {"loss": 1 - int(valid[2]) / max(1, int(valid[1]))}
    return {"sent": int(total[1]), "received": int(total[2]), "values": values, "quantiles": quantiles}


def _ns(microseconds: str) -> float:
    return float(round(float(microseconds) * 1000))


def _without_colours(text: str) -> str:
    return re.sub(r"\x1b\[[\d;]*m", "", text)
