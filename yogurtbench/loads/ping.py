"""ping (iputils): familiar, coarse (microseconds). For latency prefer sockperf."""

from __future__ import annotations

import re
import statistics
from dataclasses import dataclass
from typing import NoReturn

from yogurtbench.core import process
from yogurtbench.core.printable import quoted
from yogurtbench.core.records import Details
from yogurtbench.loads import host_counters
from yogurtbench.loads.base import Flow, LoadContext, LoadFailed, LoadResult, packets_per_message
from yogurtbench.loads.quantiles import quantile
from yogurtbench.loads.reading import check_exit_code, check_not_killed, check_values, number

_ANSWER = re.compile(r"icmp_seq=(\d+)\b.*\btime=(\S+) ms(.*)", re.ASCII)
_SUMMARY = re.compile(r"^(\d+) packets transmitted, (\d+) received(.*)$", re.ASCII | re.MULTILINE)
#: What the summary counts beside answers, in its own words: where there is any of it the figures
#: are not those of one answer a request.
_ODD = re.compile(r"\+\d+ (?:duplicates|corrupted)", re.ASCII)
#: ping measures with the time of day, which somebody may set; it then calls the round trip nothing.
_CLOCK_SET = "time of day goes back"
#: Exit codes: 1 where an answer is missing, which is a result (finish in ping_common.c).
_FINE = (0, 1)
#: Answers that ping can distinguish: icmp_seq has 16 bits.
MOST_REQUESTS = 65_535


@dataclass(frozen=True, slots=True)
class PingReport:
    """ping's report: requests ``sent``, answers ``received``, requests ``under_way`` at its end.

    ``values`` are metrics (ns, ratio), ``quantiles`` are by percent (ns).
    """

    sent: int
    received: int
    under_way: int
    values: dict[str, float]
    quantiles: dict[str, float]


def run(bench: LoadContext) -> LoadResult:
    """Echo requests from yogurt-1 to yogurt-2, one by one.

    Raises LoadFailed where no summary came.
    """
    options = bench.trial.options
    argv = [
        "ping",
        "-n",
        "-c",
        f"{options['count']:d}",
        "-i",
        seconds_argument(options["interval"]),
    ]
    argv += ["-s", str(bench.payload), "-w", f"{max(1, round(options['timeout']))}", bench.address]
    with host_counters.counting(bench) as account:
        done = process.run(
            bench.client_command(argv, raw=True), timeout=options["timeout"] + 5, check=False
        )
    check_not_killed("ping", done)
    report = parse(done.stdout, done.stderr, options["count"])
    check_exit_code("ping", done, _FINE)
    if report.sent < options["count"]:
        raise LoadFailed(
            f"ping sent {report.sent} of {options['count']} requests within its timeout of "
            f"{options['timeout']:g} s: "
            f"raise timeout, or lower count; {quoted(done.stdout)}"
        )
    fragments = packets_per_message(bench.payload, bench.trial.cell.ip, bench.trial.cell.mtu)
    sent, received = report.sent * fragments, report.received * fragments
    # Requests under way when the last awaited answer came are answered too, and ping is gone by
    # then.
    flow = Flow((sent, sent), (received, received + report.under_way * fragments))
    details: Details = {"quantiles": report.quantiles, "argv": argv}
    measured = LoadResult(dict(report.values), flow, details)
    return account.complete(measured, bench.trial.cell)


def seconds_argument(interval: float) -> str:
    """Return an interval of whole milliseconds as -i takes it.

    ping multiplies by 1000 and cuts off what follows the point ("(int)(optval * 1000)" in ping.c):
    1.001 would be 1000 ms.

    >>> seconds_argument(0.01), seconds_argument(1.001)
    ('0.01', '1.0015')
    """
    milliseconds = round(interval * 1000)
    text = f"{milliseconds / 1000:.3f}"
    return text.rstrip("0").rstrip(".") if int(float(text) * 1000) == milliseconds else f"{text}5"


def parse(stdout: str, stderr: str = "", count: int | None = None) -> PingReport:
    """Ping's output.

    With a deadline ping goes on asking until ``count`` answers are there (ping(8), -c). Where they
    come later than the interval the last requests are ``under_way`` at its end, not lost. Raises
    LoadFailed where it said nothing usable.
    """
    summary = _SUMMARY.search(stdout)
    answers = _ANSWER.findall(stdout)
    if summary is None or not answers:
        raise LoadFailed(f"ping gave no round trips: {quoted(stderr, stdout)}")
    sent, received = (int(number("ping", summary[0], text)) for text in summary.groups()[:2])
    if odd := _ODD.search(summary[3]):
        _refuse(f"there were {odd[0]}", summary[0], stderr)
    if _CLOCK_SET in stderr:
        _refuse("the clock was set back", stderr)
    if len(answers) != received:
        _refuse(f"{len(answers)} round trips are no {received} answers", summary[0], stderr)
    times = sorted(number("ping", stdout, time) * 1e6 for _, time, _ in answers)
    under_way = sent - max(int(sequence) for sequence, _, _ in answers) if received == count else 0
    if not 0 <= under_way <= sent - received:
        _refuse("answers and requests do not fit together", summary[0], stderr)
    values: dict[str, float] = {f"rtt_p{p}": quantile(times, p / 100) for p in (50, 90, 99)}
    values |= {
        "rtt_mean": statistics.fmean(times),
        "rtt_min": times[0],
        "loss": 1 - received / (sent - under_way),
    }
    check_values("ping", values, summary[0], stderr)
    quantiles = {
        f"{p}": quantile(times, p / 100) for p in (0, 1, 5, 10, 25, 50, 75, 90, 95, 99, 100)
    }
    return PingReport(sent, received, under_way, values, quantiles)


def _refuse(why: str, *outputs: str) -> NoReturn:
    raise LoadFailed(f"ping's figures cannot be: {why}; it printed: {quoted(*outputs)}")
