"""Loads: pure parsers on recorded outputs, and the arithmetic the path assertion rests on."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from trials import DIRECT, cell

from yogurtbench.core import process
from yogurtbench.lab import Unsupported, bring_up
from yogurtbench.loads import LoadFailed, iperf3, netperf, packets, ping, probes, sockperf
from yogurtbench.loads.base import bound_ports, packets_per_message
from yogurtbench.loads.quantiles import quantile

Recorded = Callable[[str], str]


def test_netperf_gives_round_trips_in_nanoseconds(recorded: Recorded) -> None:
    parsed = netperf.parse(recorded("netperf_tcp_rr.txt"))
    assert (parsed.sent, parsed.answered) == (58_863, 58_863)
    assert parsed.values == {
        "rtt_mean": 16_991.0,
        "rtt_min": 5_000.0,
        "rtt_p50": 16_000.0,
        "rtt_p90": 20_000.0,
        "rtt_p99": 26_000.0,
    }
    assert parsed.quantiles["100"] == 556_000


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (("P90_LATENCY=20", "P90_LATENCY=15"), "percentiles are out of order"),
        (("P50_LATENCY=16\n", ""), "printed no P50_LATENCY"),
        (("RT_LATENCY=16.991", "RT_LATENCY=-1.000"), "where a number stands"),
        (("REMOTE_SEND_CALLS=58863", "REMOTE_SEND_CALLS=0"), "0 of 58863 requests were answered"),
    ],
)
def test_netperf_whose_figures_cannot_be_fails_in_its_own_words(
    recorded: Recorded, wrong: tuple[str, str], said: str
) -> None:
    with pytest.raises(LoadFailed, match=said):
        netperf.parse(recorded("netperf_tcp_rr.txt").replace(*wrong))


def test_a_netperf_without_a_server_fails_in_its_own_words(recorded: Recorded) -> None:
    with pytest.raises(LoadFailed, match="are you sure there is a netserver"):
        netperf.parse("", recorded("netperf_no_server.txt"))


def test_ping_gives_round_trips_in_nanoseconds(recorded: Recorded) -> None:
    parsed = ping.parse(recorded("ping.txt"))
    assert (parsed.sent, parsed.received, parsed.values["loss"]) == (10, 10, 0)
    assert parsed.quantiles["0"] <= parsed.values["rtt_p50"] <= parsed.values["rtt_p99"]
    assert 1_000 <= parsed.values["rtt_p50"] <= 100_000


def test_ping_reads_ipv6_alike(recorded: Recorded) -> None:
    parsed = ping.parse(recorded("ping6.txt"))
    assert parsed.sent == parsed.received == 5
    assert parsed.values["rtt_p50"] == 6_000
    assert parsed.values["rtt_mean"] == pytest.approx(11_800)


def test_lost_pings_are_counted_and_have_no_round_trip(recorded: Recorded) -> None:
    parsed = ping.parse(recorded("ping_loss.txt"))
    assert (parsed.sent, parsed.received) == (24, 20)
    assert parsed.values["loss"] == pytest.approx(1 / 6)


def test_pings_still_under_way_at_the_end_are_not_lost(recorded: Recorded) -> None:
    """Answers took 30 ms, requests left every 10 ms: two were under way when the tenth answer ended
    it.
    """
    parsed = ping.parse(recorded("ping_late.txt"), count=10)
    assert (parsed.sent, parsed.received, parsed.under_way) == (12, 10, 2)
    assert parsed.values["loss"] == 0
    gave_up = ping.parse(recorded("ping_late.txt"), count=100)
    assert gave_up.values["loss"] == pytest.approx(1 / 6)


@pytest.mark.parametrize("name", ["ping_total_loss.txt", "ping_unreachable.txt"])
def test_ping_without_any_answer_fails_in_its_own_words(recorded: Recorded, name: str) -> None:
    with pytest.raises(LoadFailed, match=r"100% packet loss|Network is unreachable"):
        ping.parse("", recorded(name))


@pytest.mark.parametrize(
    ("name", "sent", "p50", "mean"), [("udp", 24543, 73419, 66584), ("tcp", 39841, 6456, 33503)]
)
def test_sockperf_gives_nanosecond_percentiles(
    recorded: Recorded, name: str, sent: int, p50: int, mean: int
) -> None:
    parsed = sockperf.parse(recorded(f"sockperf_{name}.txt"))
    assert (parsed.sent, parsed.received) == (sent, sent - 1)
    assert (parsed.values["rtt_p50"], parsed.values["rtt_mean"], parsed.values["loss"]) == (
        p50,
        mean,
        0,
    )
    ordered = [parsed.quantiles[p] for p in ("0", "25", "50", "75", "90", "99", "99.9", "100")]
    assert ordered == sorted(ordered)


@pytest.mark.parametrize(
    ("name", "said"),
    [("failure", "Connection refused"), ("no_answer", "No messages were received")],
)
def test_sockperf_without_percentiles_fails_in_its_own_words(
    recorded: Recorded, name: str, said: str
) -> None:
    with pytest.raises(LoadFailed, match=said):
        sockperf.parse(recorded(f"sockperf_{name}.txt"))


def test_iperf3_over_tcp_gives_what_the_receiver_got(recorded: Recorded) -> None:
    parsed = iperf3.parse(recorded("iperf3_tcp.json"), udp=False)
    assert parsed.values == {"throughput": pytest.approx(11_374_572_058.66), "retransmits": 1019}
    assert parsed.delivered == 1_422_262_272


def test_iperf3_over_udp_counts_what_the_receiver_got_and_not_what_it_never_heard_of(
    recorded: Recorded,
) -> None:
    """iperf3's own ``sum`` mixes both ends: packets sent, and losses as the receiver noticed
    them.
    """
    parsed = iperf3.parse(recorded("iperf3_udp.json"), udp=True)
    arrived, sent = 598_864 - 340_042, 599_110
    assert parsed.delivered == arrived * 1400 == 362_350_800
    assert parsed.values["packets_per_second"] == pytest.approx(arrived / 1.002806)
    assert parsed.values["throughput"] == pytest.approx(2_890_695_109.5)
    assert parsed.values["loss"] == pytest.approx(1 - arrived / sent)


@pytest.mark.parametrize(
    ("streams", "beyond", "fits"), [(1, 131072, True), (4, 4 * 131072, True), (1, 131073, False)]
)
def test_a_write_a_stream_may_arrive_that_iperf3_did_not_count(
    recorded: Recorded, streams: int, beyond: int, fits: bool
) -> None:
    """Seen with iperf3 3.18 (Debian 13), whose streams are threads, in most transfers: sent
    1123418112, 131072 more.
    """
    report = json.loads(recorded("iperf3_tcp.json"))
    report["start"]["version"] = "iperf 3.18"
    report["start"]["test_start"] |= {"num_streams": streams, "blksize": 131072}
    report["end"]["sum_received"]["bytes"] = report["end"]["sum_sent"]["bytes"] + beyond
    if fits:
        assert (
            iperf3.parse(json.dumps(report), udp=False).delivered
            == report["end"]["sum_received"]["bytes"]
        )
    else:
        with pytest.raises(LoadFailed, match="figures cannot be"):
            iperf3.parse(json.dumps(report), udp=False)


@pytest.mark.parametrize(
    ("version", "threaded"),
    [("iperf 3.12", False), ("iperf 3.15", False), ("iperf 3.16", True), ("iperf 3.18", True)],
)
def test_an_iperf3_whose_streams_are_threads_ends_by_time(
    recorded: Recorded, version: str, threaded: bool
) -> None:
    """Seen with 3.18 in a guest: 8 MiB that took 30 ms were told to have taken 1.006 s, over every
    wire.
    """
    report = json.loads(recorded("iperf3_tcp.json"))
    report["start"]["version"] = version
    assert iperf3.parse(json.dumps(report), udp=False).threaded == threaded
    both = {"bytes": 2**23, "duration": 1.0, "timeout": 10.0}
    argv = iperf3.client_arguments(
        iperf3.end_by(both, threaded=threaded), "10.42.0.2", 1400, 1, False
    )
    assert ("--time" in argv, "--bytes" in argv) == (threaded, not threaded)


def test_iperf3_errors_are_reported(recorded: Recorded) -> None:
    with pytest.raises(LoadFailed, match="unable to connect to server: Connection refused"):
        iperf3.parse(recorded("iperf3_error.json"), udp=False)


def test_iperf3_that_prints_no_json_fails_with_its_stderr() -> None:
    with pytest.raises(LoadFailed, match="no JSON: iperf3: parameter error"):
        iperf3.parse(
            "", "iperf3: parameter error - must either be a client (-c) or server (-s)\n", udp=False
        )


def test_a_payload_that_iperf3_finds_too_small_is_not_its_failure() -> None:
    """Its least is 16 bytes; the kernel would take 1."""
    said = (
        "iperf3: parameter error - block size invalid (minimum = 16 bytes, maximum = 65507 bytes)\n"
    )
    with pytest.raises(Unsupported, match="no datagrams of less than 16 bytes"):
        iperf3.parse("Usage: iperf3 [-s|-c host] [options]\n", said, udp=True)


def test_iperf3_that_moved_nothing_fails(recorded: Recorded) -> None:
    report = json.loads(recorded("iperf3_tcp.json"))
    report["end"]["sum_received"] |= {"bytes": 0, "bits_per_second": 0.0}
    with pytest.raises(LoadFailed, match="delivered nothing"):
        iperf3.parse(json.dumps(report), udp=False)


def test_ports_are_read_from_proc(recorded: Recorded) -> None:
    assert bound_ports(recorded("proc_net_udp.txt"), listening=False) == {11111}
    assert bound_ports(recorded("proc_net_tcp.txt"), listening=True) == {11111}
    connected = recorded("proc_net_tcp.txt").replace(" 0A ", " 01 ")
    assert bound_ports(connected, listening=True) == set()


def fragments(payload: int, ip: int, mtu: int) -> int:
    """A naive fragmenter: take fragments off the datagram, one after another."""
    left, count = payload + 8, 0
    header = 40 if ip == 6 else 20
    if header + left <= mtu:
        return 1
    room = mtu - header - (8 if ip == 6 else 0)
    while left > 0:
        # Over IPv4 the last fragment may fill the MTU (__ip_append_data), over IPv6 it may not
        # (__ip6_append_data).
        left -= left if left <= (room if ip == 4 else room // 8 * 8) else room // 8 * 8
        count += 1
    return count


@given(st.integers(1, 7), st.integers(-24, 24), st.sampled_from([4, 6]), st.integers(1280, 9000))
def test_packets_per_message_agrees_with_a_naive_fragmenter(
    whole: int, beside: int, ip: int, mtu: int
) -> None:
    """Payloads near a whole number of fragments, where a mistake would show."""
    payload = whole * (mtu - (48 if ip == 6 else 20)) // 8 * 8 - 8 + beside
    assert packets_per_message(payload, ip, mtu) == fragments(payload, ip, mtu)


def datagrams_seen(mtu: int, payloads: list[int]) -> dict[str, list[int]]:
    """Packets that leave the client's device per echo request of each payload, over IPv4 and
    IPv6.
    """
    seen: dict[str, list[int]] = {"4": [], "6": []}
    with bring_up(cell(**DIRECT, mtu=mtu)) as lab:
        lab.settle()
        for ip in (4, 6):
            assert probes.is_reachable(lab, ip)
            for payload in payloads:
                before = _sent(lab.client)
                argv = ["ping", "-n", "-c1", "-s", str(payload), lab.server.address(ip)]
                process.run(lab.client.namespace.command(argv))
                seen[str(ip)].append(_sent(lab.client) - before)
    return seen


def _sent(pot) -> int:  # type: ignore[no-untyped-def]
    (link,) = pot.namespace.ip.get_links(pot.end.ifindex)
    return int(link.get_attr("IFLA_STATS64")["tx_packets"])


@pytest.mark.root
@pytest.mark.parametrize("mtu", [1500, 1400])
def test_packets_per_message_agrees_with_the_kernel(
    in_room: Callable[..., dict[str, list[int]]], mtu: int
) -> None:
    """Around every border: the last byte that fits, the first that does not, a length that is no
    multiple of 8.
    """
    borders = [whole * ((mtu - header) // 8 * 8) - 8 for whole in (1, 2) for header in (20, 48)]
    payloads = [
        56,
        *sorted(border + beside for border in borders for beside in (-1, 0, 1, 4, 5)),
        65_507,
    ]
    seen = in_room(datagrams_seen, mtu, payloads)
    for ip in (4, 6):
        assert dict(zip(payloads, seen[str(ip)], strict=True)) == {
            p: packets_per_message(p, ip, mtu) for p in payloads
        }


def test_the_checksum_is_that_of_rfc_1071() -> None:
    assert packets.checksum(bytes.fromhex("0001f203f4f5f6f7")) == 0xFFFF - 0xDDF2


@given(st.binary(max_size=200))
def test_a_packet_with_its_checksum_in_place_sums_to_zero(body: bytes) -> None:
    body += bytes(len(body) % 2)
    assert packets.checksum(body + struct.pack("!H", packets.checksum(body))) == 0


def test_an_echo_request_over_ipv4_carries_a_valid_checksum() -> None:
    assert packets.checksum(packets.echo_request(4, 77, 3)) == 0


@given(st.lists(st.floats(0, 1e9), min_size=1, max_size=40), st.floats(0, 1))
def test_quantiles_are_numpys(values: list[float], p: float) -> None:
    import numpy as np

    assert quantile(sorted(values), p) == pytest.approx(np.quantile(values, p), rel=1e-9, abs=1e-6)
