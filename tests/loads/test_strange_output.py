"""What tools print that cannot be: one way to fail, with their words, whatever they print.

And nothing else escapes.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mutations import mutated
from trials import DIRECT, trial

from yogurtbench.agent.__main__ import version_in
from yogurtbench.agent.trial import _observations
from yogurtbench.core import errors, process
from yogurtbench.core.metrics import METRICS, METRICS_OF
from yogurtbench.core.printable import LONGEST, printable, quoted
from yogurtbench.core.records import Attempt, Observation
from yogurtbench.ebpf.wire import Counters
from yogurtbench.lab import Unsupported
from yogurtbench.loads import LoadFailed, base, host_counters, iperf3, netperf, ping, sockperf
from yogurtbench.loads.base import LoadResult
from yogurtbench.loads.cpu_time import CpuTime
from yogurtbench.loads.host_counters import HostCounters

Recorded = Callable[[str], str]
INFINITY = math.inf
DATA = Path(__file__).parents[1] / "data"


# -- the border: what a metric can be --------------------------------------------------------------

IMPOSSIBLE = [
    *(
        ("loss", value)
        for value in (-0.2, 1.0000001, math.nan, INFINITY, -INFINITY, "0.5", True + 1)
    ),
    *(("rtt_p50", value) for value in (-1.0, math.nan, INFINITY, 2.0**64, 10**400, "fast")),
    *(("reachable", value) for value in (2, 0.5, -1)),
    *(("retransmits", value) for value in (-1, 0.5)),
    *(("bpf_packets", value) for value in (-1, 1.5, 2**64 - 1)),
    *(("throughput", value) for value in (-1.0, math.nan, INFINITY)),
    *(("cpu_ns_per_byte", value) for value in (-0.001, INFINITY)),
    *(("dropped_at", value) for value in (1.0, "")),
]


@pytest.mark.parametrize(
    ("metric", "value"), IMPOSSIBLE, ids=[f"{m}={str(v)[:12]}" for m, v in IMPOSSIBLE]
)
def test_what_cannot_have_been_measured_is_a_failed_row(metric: str, value: Any) -> None:
    row = Observation.measured(metric, value)
    assert (row.status, row.value, row.text) == ("failed", None, None)
    assert row.error.startswith(f"{metric} ")


@given(
    st.sampled_from(sorted(METRICS)),
    st.floats() | st.integers() | st.text(max_size=5) | st.booleans(),
)
def test_every_metric_takes_only_finite_numbers_from_nothing_on(metric: str, value: Any) -> None:
    """Also one that is added tomorrow: the table says what it can be, by its unit."""
    row = Observation.measured(metric, value)
    if row.status == "failed":
        assert row.value is row.text is None
    elif METRICS[metric].unit == "text":
        assert row.text == value != ""
    else:
        assert row.value is not None and math.isfinite(row.value) and row.value >= 0
        assert METRICS[metric].unit not in ("ratio", "bool") or row.value <= 1


def test_an_impossible_value_fails_its_row_and_keeps_the_others() -> None:
    measured = LoadResult(
        {
            "throughput": 1e9,
            "packets_per_second": INFINITY,
            "retransmits": 0.0,
            "bytes_per_skb": -1.0,
        }
    )
    rows = {row.metric: row for row in _observations(trial("iperf3_tcp", **DIRECT), measured, {})}
    assert rows["throughput"].status == "ok"
    assert (rows["packets_per_second"].status, rows["packets_per_second"].value) == ("failed", None)
    assert "packets_per_second cannot be inf" in rows["packets_per_second"].error
    assert rows["bytes_per_skb"].status == "failed"


def test_a_metric_that_a_load_did_not_come_to_is_a_row_and_no_gap() -> None:
    rows = list(_observations(trial("ping", **DIRECT), LoadResult({"loss": 0.0}), {}))
    assert {row.metric for row in rows} == set(METRICS_OF["ping"])
    assert {row.status for row in rows if row.metric != "loss"} == {"failed"}


def test_a_wires_counter_that_ran_backwards_fails_its_row() -> None:
    counted = {"wire.forward": Counters(-5, 100), "wire.return": Counters(0, 0)}
    rows = {
        row.metric: row for row in _observations(trial("ping", **DIRECT), LoadResult({}), counted)
    }
    assert (rows["bpf_packets"].status, rows["bpf_bytes"].status) == ("failed", "ok")


# -- counters --------------------------------------------------------------------------------------


def test_a_devices_counter_that_ran_backwards_is_reported() -> None:
    with pytest.raises(
        LoadFailed, match="rx_bytes of yg1-cont ran backwards, from 18446744073709551615 to 3"
    ):
        host_counters.device_counts("yg1-cont", {"rx_bytes": 2**64 - 1}, {"rx_bytes": 3})


def test_softnet_counters_begin_again_at_nothing() -> None:
    before = {"processed": [0xFFFFFFFE, 1], "dropped": [0, 0]}
    assert host_counters.softnet_counts(before, {"processed": [3, 4], "dropped": [0, 2]}) == {
        "processed": [5, 3],
        "dropped": [0, 2],
    }
    # a CPU left
    assert host_counters.softnet_counts(before, {"processed": [3], "dropped": [0]}) == {}


def test_cpu_time_that_ran_backwards_gives_no_cost() -> None:
    account = HostCounters("yg1-cont")
    account.keep_cpu(CpuTime(1.0, 0.0, -0.5, 1.0))
    costs, missing = host_counters.cpu_costs(account, 1.0, 1e6, 1e3)
    assert costs == {}
    assert {status for status, _ in missing.values()} == {"failed"}
    assert "ran backwards: interrupts" in missing["cpu_ns_per_byte"][1]


def test_sockperf_is_not_given_more_seconds_than_there_is_memory_for() -> None:
    sockperf.check_memory(60, "MemTotal: 9999999 kB\nMemAvailable:    1048576 kB\n")
    with pytest.raises(
        Unsupported,
        match=r"9,610 MB of memory, and this machine has 1,024 MiB to spare: at most 110 s",
    ):
        sockperf.check_memory(1000, "MemAvailable:    1048576 kB\n")


# -- ping ------------------------------------------------------------------------------------------

PING = """PING 10.42.0.2 (10.42.0.2) 56(84) bytes of data.
64 bytes from 10.42.0.2: icmp_seq=1 ttl=64 time=0.038 ms
64 bytes from 10.42.0.2: icmp_seq=2 ttl=64 time=0.007 ms

--- 10.42.0.2 ping statistics ---
2 packets transmitted, 2 received, 0% packet loss, time 10ms
rtt min/avg/max/mdev = 0.007/0.022/0.038/0.015 ms
"""
BAD_PINGS = {
    "duplicates": (PING.replace("2 received", "2 received, +1 duplicates"), "+1 duplicates"),
    "more answers than requests": (PING.replace("2 packets", "1 packets"), "do not fit together"),
    "a copy of an answer": (
        PING.replace(
            "time=0.007 ms",
            "time=0.007 ms\n64 bytes from 10.42.0.2: icmp_seq=2 ttl=64 time=0.009 ms (DUP!)",
        ),
        "3 round trips are no 2 answers",
    ),
    "corrupted": (PING.replace("2 received", "2 received, +1 corrupted"), "+1 corrupted"),
    "no number": (PING.replace("0.007 ms", "1.2.3 ms", 1), "printed 1.2.3 where a number stands"),
    "nan": (PING.replace("0.007 ms", "nan ms", 1), "printed nan"),
    "infinite": (PING.replace("0.007 ms", "inf ms", 1), "printed inf"),
    "negative": (PING.replace("=0.007 ms", "=-0.007 ms", 1), "printed -0.007"),
    "localized": (PING.replace("0.007 ms", "0,007 ms", 1), "printed 0,007"),
    "cut off": (PING[:140], "gave no round trips"),
    "an answer is missing": (PING.replace("time=0.007 ms", ""), "1 round trips are no 2 answers"),
    "a sequence from nowhere": (PING.replace("icmp_seq=2", "icmp_seq=7"), "do not fit together"),
    "nothing": ("", "it printed nothing"),
}


@pytest.mark.parametrize("name", BAD_PINGS)
def test_ping_whose_figures_cannot_be_fails_in_its_own_words(name: str) -> None:
    printed, said = BAD_PINGS[name]
    with pytest.raises(LoadFailed) as failed:
        ping.parse(printed, "", 2)
    assert said in str(failed.value)
    assert (
        not printed
        or "PING 10.42.0.2" in str(failed.value)
        or "packets transmitted" in str(failed.value)
    )


def test_a_clock_that_was_set_back_is_no_fast_answer() -> None:
    with pytest.raises(LoadFailed, match="the clock was set back"):
        ping.parse(
            PING, "ping: Warning: time of day goes back (-19us), taking countermeasures\n", 2
        )


@pytest.mark.parametrize(
    "milliseconds", [1, 2, 9, 10, 29, 57, 999, 1000, 1001, 4350, 4351, 59_999, 86_399_999]
)
def test_ping_is_given_the_very_interval(milliseconds: int) -> None:
    """As ping reads it: (int)(strtod(…) * 1000)."""
    assert int(float(ping.seconds_argument(milliseconds / 1000)) * 1000) == milliseconds


@given(st.integers(1, 86_400_000))
def test_ping_is_given_every_interval(milliseconds: int) -> None:
    assert int(float(ping.seconds_argument(milliseconds / 1000)) * 1000) == milliseconds


# -- sockperf --------------------------------------------------------------------------------------

BAD_SOCKPERFS: dict[str, tuple[tuple[str, str], str]] = {
    "more answers than messages": (
        ("SentMessages=8258; R", "SentMessages=8257; R"),
        "8258 of 8257 messages came back",
    ),
    "no messages": (
        ("SentMessages=8258; ReceivedMessages=8258", "SentMessages=0; ReceivedMessages=0"),
        "0 of 0 mess",
    ),
    "duplicates": (
        ("duplicated messages = 0", "duplicated messages = 3"),
        "duplicated messages = 3",
    ),
    "negative": (("=   73.419", "= -73.419"), "printed -73.419"),
    "a wrapped counter": (
        ("=   73.419", "= 18446744073709551.616"),
        "printed 18446744073709551.616",
    ),
    "nan": (("=   73.419", "= -nan"), "printed -nan"),
    "infinite": (("avg-rtt=66.584", "avg-rtt=inf"), "gave no percentiles"),
    "out of order": (("=   73.419", "=  173.419"), "percentiles are out of order"),
    "the mean elsewhere": (
        ("avg-rtt=66.584", "avg-rtt=566.584"),
        "lies outside its minimum and maximum",
    ),
    "a percentile is missing": (
        ("percentile 90.000", "percentile xx"),
        "printed xx where a number stands",
    ),
    "another is": (("---> percentile 99.000", "---> p 99.000"), "gave no percentiles"),
    "localized": (("=   73.419", "=   73,419"), "printed 73,419"),
}


@pytest.mark.parametrize("name", BAD_SOCKPERFS)
def test_sockperf_whose_figures_cannot_be_fails_in_its_own_words(
    recorded: Recorded, name: str
) -> None:
    (good, bad), said = BAD_SOCKPERFS[name]
    text = recorded("sockperf_udp.txt")
    assert good in text
    with pytest.raises(LoadFailed) as failed:
        sockperf.parse(text.replace(good, bad))
    assert said in str(failed.value)
    assert "\x1b" not in str(failed.value)


# -- iperf3 ----------------------------------------------------------------------------------------


def with_value(report: dict[str, Any], path: str, value: Any) -> str:
    *above, last = path.split(".")
    place = report
    for key in above:
        place = place[key]
    if value is DELETE:
        del place[last]
    else:
        place[last] = value
    return json.dumps(report)


DELETE = object()
BAD_IPERFS: list[tuple[str, str, Any, str]] = [
    ("udp", "end.sum_received.lost_packets", -3, "lost_packets cannot be -3"),
    ("udp", "end.sum_received.lost_packets", 598_865, "-1 of 599110 packets arrived"),
    ("udp", "end.sum_received.packets", -2_147_483_000, "packets cannot be -2147483000"),
    ("udp", "end.sum.packets", 1000, "258822 of 1000 packets arrived"),
    ("udp", "end.sum_received.seconds", 0, "362350800 bytes in no time"),
    ("udp", "end.sum_received.seconds", None, "end.sum_received.seconds is None and no number"),
    ("udp", "end.sum_received.bytes", 2**64 - 5, "bytes cannot be 18446744073709551611"),
    ("udp", "end.sum_received.bytes", 1.5, "no count"),
    ("udp", "end.sum", DELETE, "end.sum is missing"),
    ("udp", "end.sum_received", [], "end.sum_received is no mapping"),
    ("tcp", "end.sum_received.bits_per_second", None, "bits_per_second is None and no number"),
    ("tcp", "end.sum_received.bits_per_second", "11374572058", "is '11374572058' and no number"),
    ("tcp", "end.sum_received.bits_per_second", True, "is True and no number"),
    ("tcp", "end.sum_received.bits_per_second", INFINITY, "Infinity is no number"),
    ("tcp", "end.sum_received.bits_per_second", math.nan, "NaN is no number"),
    ("tcp", "end.sum_received.bytes", 0, "delivered nothing"),
    ("tcp", "end.sum_received.seconds", -1.0, "seconds cannot be -1.0"),
    ("tcp", "end.sum_received.seconds", 0.0, "bytes in no time"),
    ("tcp", "end.sum_sent.retransmits", -1, "retransmits cannot be -1"),
    ("tcp", "end.sum_sent.bytes", 1_422_262_271, "1422262272 of 1422262271 bytes arrived"),
    ("tcp", "end.sum_sent", None, "end.sum_sent is no mapping"),
    ("tcp", "end.cpu_utilization_percent.remote_total", -4.5, "remote_total cannot be -4.5"),
    ("tcp", "end.cpu_utilization_percent", DELETE, "end.cpu_utilization_percent is missing"),
    ("tcp", "end", None, "end is no mapping"),
    ("tcp", "end", DELETE, "end is missing"),
]


@pytest.mark.parametrize(
    ("kind", "path", "value", "said"),
    BAD_IPERFS,
    ids=[f"{b[1]}={str(b[2])[:9]}" for b in BAD_IPERFS],
)
def test_iperf3_whose_figures_cannot_be_fails_in_its_own_words(
    recorded: Recorded, kind: str, path: str, value: Any, said: str
) -> None:
    printed = with_value(json.loads(recorded(f"iperf3_{kind}.json")), path, value)
    with pytest.raises(LoadFailed) as failed:
        iperf3.parse(printed, udp=kind == "udp")
    assert said in str(failed.value)
    assert "printed" in str(failed.value)


BAD_DOCUMENTS: list[tuple[str, str]] = [
    ("{}", "{}"),
    ("[]", "[]"),
    ("null", "null"),
    ("3", "3"),
    ('warning: UDP block size 9000 exceeds MTU\n{"end": {}}', "warning: UDP block size 9000"),
    ('{"end": {}}\niperf Done.', "iperf Done."),
    ('{"end": {}}{"end": {}}', '{"end": {}}{"end": {}}'),
    ('{"end": {"sum_received": {"bytes": 1', '"bytes": 1'),
    ("[" * 100_000, "[[["),
    ('{"end": 1' + "0" * 5000 + "}", "100000"),
    ("\x00\x01\ufffd\x1b[2J", r"\x00\x01"),
    ("", "it printed nothing"),
]


@pytest.mark.parametrize(
    ("printed", "said"), BAD_DOCUMENTS, ids=[f"{p[:20]!r}" for p, _ in BAD_DOCUMENTS]
)
def test_iperf3_that_prints_no_report_fails_with_what_it_printed(printed: str, said: str) -> None:
    with pytest.raises(LoadFailed) as failed:
        iperf3.parse(printed, udp=False)
    assert said in str(failed.value)
    assert len(str(failed.value)) < 1500
    assert str(failed.value).isprintable()


def test_an_iperf3_that_counts_no_retransmits_says_none(recorded: Recorded) -> None:
    printed = with_value(
        json.loads(recorded("iperf3_tcp.json")), "end.sum_sent.retransmits", DELETE
    )
    assert "retransmits" not in iperf3.parse(printed, udp=False).values


def test_the_offered_bitrate_is_that_of_all_streams_together() -> None:
    argv = iperf3.client_arguments(
        {"duration": 1.0, "bitrate": 100_000_000}, "10.42.0.2", 1400, 4, udp=True
    )
    assert argv[argv.index("--bitrate") + 1] == "25000000"
    with pytest.raises(LoadFailed, match="cannot be divided among 3 streams"):
        iperf3.client_arguments({"duration": 1.0, "bitrate": 100}, "10.42.0.2", 1400, 3, udp=True)


# -- whatever they print ---------------------------------------------------------------------------

OUTPUTS = [
    "ping.txt",
    "ping6.txt",
    "ping_loss.txt",
    "ping_late.txt",
    "sockperf_udp.txt",
    "sockperf_tcp.txt",
    "netperf_tcp_rr.txt",
]
REPORTS = ["iperf3_udp.json", "iperf3_tcp.json"]
SNIPPETS = [
    "",
    "-1",
    "nan",
    "inf",
    "1e999",
    "null",
    "{}",
    "[]",
    "0",
    "99999999999999999999",
    "\x1b[31m",
    '"',
    "٣",
    "\ufffd",
]


def judged(parse: Callable[[], Any]) -> None:
    """Only LoadFailed and Unsupported escape, and what does not escape can be."""
    with suppress(LoadFailed, Unsupported):
        for metric, value in parse().values.items():
            assert Observation.measured(metric, value).status == "ok"


def parsed(name: str, text: str) -> None:
    if name.startswith("ping"):
        judged(lambda: ping.parse(text, "", 10))
    elif name.startswith("sockperf"):
        judged(lambda: sockperf.parse(text))
    elif name.startswith("netperf"):
        judged(lambda: netperf.parse(text))
    else:
        judged(lambda: iperf3.parse(text, udp="udp" in name))


@pytest.mark.fuzz
@given(st.sampled_from(OUTPUTS + REPORTS), st.data())
def test_no_mutation_of_a_recorded_output_escapes(name: str, data: st.DataObject) -> None:
    parsed(name, mutated((DATA / name).read_text(), data, SNIPPETS, most=60, typed=8))


@pytest.mark.fuzz
@given(st.sampled_from(OUTPUTS + REPORTS), st.text())
def test_no_text_escapes(name: str, text: str) -> None:
    parsed(name, text)


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3)
    ),
    max_leaves=5,
)


def leaves(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    if isinstance(value, dict):
        return [
            path,
            *(leaf for key, below in value.items() for leaf in leaves(below, (*path, key))),
        ]
    return [path]


@pytest.mark.fuzz
@given(st.sampled_from(REPORTS), st.data())
def test_no_report_with_something_else_in_its_place_escapes(name: str, data: st.DataObject) -> None:
    report = {"end": json.loads((DATA / name).read_text())["end"]}
    path = data.draw(st.sampled_from([leaf for leaf in leaves(report) if leaf]))
    place: Any = report
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = data.draw(JSON_VALUES)
    judged(lambda: iperf3.parse(json.dumps(report), udp="udp" in name))


@pytest.mark.fuzz
@given(st.text())
def test_every_versions_answer_is_one_harmless_word(printed: str) -> None:
    version = version_in(printed)
    assert version and version.isprintable() and len(version) < 120


# -- what is shown of it ---------------------------------------------------------------------------


@given(st.text(), st.integers(20, 200))
def test_what_is_shown_is_inert_and_bounded(text: str, limit: int) -> None:
    shown = printable(text, limit)
    assert len(shown) <= limit
    assert shown.replace("\n", "").replace("\t", "").isprintable()
    shown.encode("utf-8")


def test_both_ends_of_a_long_output_are_quoted() -> None:
    said = quoted("warning: first\n" + "x" * 10**6 + "\nlast words", "beside")
    assert said.startswith("warning: first") and "last words | beside" in said
    assert len(said) < 400


def test_errors_are_inert_wherever_they_come_from() -> None:
    """Also out of a file that somebody else wrote."""
    evil = "\x1b]0;owned\x07 red: \x1b[31m \u202e half \ud800" + "y" * 10**5
    attempt = Attempt.without_values(trial("ping", **DIRECT), "failed", evil)
    again = Attempt.from_json({**attempt.to_json(), "error": evil})
    for error in (attempt.error, again.error, *(row.error for row in again.observations)):
        assert error.isprintable() and len(error) <= LONGEST
        assert r"\x1b]0;owned\x07" in error
    assert str(errors.HostError(evil)).isprintable()


def test_a_failed_server_is_reported_beside_the_client() -> None:
    with process.run_in_background(["sh", "-c", "echo no memory >&2; kill -9 $$"]) as server:
        server.process.wait()
        with pytest.raises(LoadFailed) as failed, base.outlived_by(server):
            raise LoadFailed("the client: refused")
    assert (
        str(failed.value)
        == "the client: refused; the server was ended by SIGKILL during the load: no memory"
    )
