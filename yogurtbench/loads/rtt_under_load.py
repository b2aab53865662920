"""Round trips while bulk traffic fills the wire: sockperf's ping-pong beside an iperf3 TCP
transfer.
"""

from __future__ import annotations

import math
import time

from yogurtbench.core import process
from yogurtbench.core.printable import quoted
from yogurtbench.core.process import Background
from yogurtbench.core.records import Details
from yogurtbench.loads import host_counters, iperf3, sockperf
from yogurtbench.loads.base import LARGEST_SKB, Flow, LoadContext, LoadFailed, LoadResult

#: Bytes per write of the bulk transfer, iperf3's own default; the cell's payload is sockperf's.
_WRITE = 131_072
#: The bulk transfer is given this many times sockperf's expected life: its rival slows sockperf's
#: start, above all where one CPU is emulated by another.
_MARGIN = 2.0
_POLL = 0.01


def run(bench: LoadContext) -> LoadResult:
    """Sockperf's round trips and iperf3's throughput, client beside client and server beside
    server.

    ``throughput`` is of the whole transfer, which begins a moment before sockperf and ends a moment
    after it. Raises LoadFailed where either fails, or the transfer ended while sockperf was still
    asking.
    """
    seconds = math.ceil(_MARGIN * (bench.option("duration") + sockperf.OWN_SECONDS))
    streams = bench.trial.cell.streams or 1
    argv = iperf3.client_arguments({"duration": seconds}, bench.address, _WRITE, streams, udp=False)
    with (
        host_counters.counting(bench) as account,
        iperf3.serving(bench),
        sockperf.serving(bench),
        process.run_in_background(bench.client_command(argv)) as bulk,
    ):
        _wait_until_flowing(bench, bulk)
        asked = sockperf.exchange_messages(bench, alone=False)
        if not bulk.alive:
            raise LoadFailed(
                f"the bulk transfer of {seconds} s ended before sockperf: {_words(bulk)}"
            )
        done = bulk.wait(seconds + bench.option("timeout"))
    moved = iperf3.read(done, udp=False)
    values = {**asked.values, "throughput": moved.values["throughput"]}
    details: Details = {
        **asked.details,
        "bulk_argv": argv,
        "delivered_bytes": moved.delivered,
        **account.details(),
    }
    return LoadResult(values, _both(asked.flow, iperf3.flow(moved.delivered)), details)


def _wait_until_flowing(bench: LoadContext, bulk: Background) -> None:
    """Return when the transfer has filled more than one skb.

    Raises LoadFailed when it ends or takes too long.
    """
    deadline = time.monotonic() + bench.option("timeout")
    before = host_counters.sent_bytes(bench)
    while host_counters.sent_bytes(bench) - before < 10 * LARGEST_SKB:
        if not bulk.alive:
            raise LoadFailed(f"the bulk transfer ended before it began: {_words(bulk)}")
        if time.monotonic() > deadline:
            raise LoadFailed(
                f"the bulk transfer did not begin within {bench.option('timeout'):g} s"
            )
        time.sleep(_POLL)


def _words(bulk: Background) -> str:
    done = bulk.end()
    return quoted(done.stderr, done.stdout)


def _both(asked: Flow | None, moved: Flow) -> Flow:
    """At least the messages and, beside them, the bulk.

    Acknowledgements leave the upper bounds open.
    """
    assert asked
    return Flow((asked.forward[0] + moved.forward[0], None), (asked.back[0] + moved.back[0], None))
