"""The conclusions of the tracer from its record: pure."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from yogurtbench.ebpf import btf, tracer
from yogurtbench.ebpf.tracer import DROP, HIT, QUEUE, RECEIVE, RX, Event
from yogurtbench.report.export.wire_catalogue import drawing

ARP, IPV4, IPV6 = 0x0806, 0x0800, 0x86DD


def event(
    kind: int, time: int, shape: tuple[int, int], sequence: int = 1, **more: str | int
) -> Event:
    return Event(kind, time, int(more.pop("ifindex", 1001)), *shape, sequence, **more)  # type: ignore[arg-type]


def drop(
    time: int, shape: tuple[int, int], sequence: int = 1, where: str = "f", reason: str = "R"
) -> Event:
    return event(DROP, time, shape, sequence, where=where, reason=reason)


def test_the_first_drop_of_the_request_counts_not_that_of_its_reply_or_of_another() -> None:
    events = [
        drop(5, (IPV4, 8), where="late"),
        drop(1, (IPV4, 0)),
        drop(2, (IPV4, 8), 2),
        drop(3, (IPV4, 8), where="it"),
    ]
    found = tracer.find_drop(events, 4, 1)
    assert found and tracer.drop_label(found) == "it:R"


def test_a_neighbour_request_that_died_has_arp_in_front() -> None:
    found = tracer.find_drop([drop(1, (ARP, 1), 0, where="skb_do_redirect")], 4, 1)
    assert found and tracer.drop_label(found) == "arp:skb_do_redirect:R"
    assert tracer.find_drop([drop(1, (ARP, 1), 0)], 6, 1) is None
    nd = tracer.find_drop([drop(1, (IPV6, 135), 0)], 6, 1)
    assert nd and tracer.drop_label(nd) == "nd:f:R"


def test_a_request_freed_because_nobody_answered_arp_died_of_arp() -> None:
    found = tracer.find_drop(
        [drop(1, (IPV4, 8), where="neigh_invalidate", reason="NEIGH_FAILED")], 4, 1
    )
    assert found and tracer.drop_label(found) == "arp:neigh_invalidate:NEIGH_FAILED"


def test_a_request_freed_because_nobody_answered_nd_died_of_nd_though_the_kernel_gives_no_reason() -> (
    None
):
    found = tracer.find_drop(
        [drop(1, (IPV6, 128), where="neigh_invalidate", reason="NOT_SPECIFIED")], 6, 1
    )
    assert found and tracer.drop_label(found) == "nd:neigh_invalidate:NOT_SPECIFIED"


@pytest.mark.parametrize(
    ("symbol", "name"),
    [
        ("netkit_xmit+0x12/0x40", "netkit_xmit"),
        ("__netif_receive_skb_core.constprop.0", "__netif_receive_skb_core"),
        ("ip_rcv_core.isra.0+0x5", "ip_rcv_core"),
        ("skb_do_redirect", "skb_do_redirect"),
        ("netkit_xmit [netkit]", "netkit_xmit"),
    ],
)
def test_a_function_has_no_offset_module_or_compiler_suffix(symbol: str, name: str) -> None:
    assert tracer.function(symbol) == name


@given(st.lists(st.sampled_from("abc"), min_size=1, max_size=9))
def test_the_majority_is_said_at_least_as_often_as_any_other(sites: list[str]) -> None:
    chosen = tracer.most_common_site(sites)
    assert chosen is not None
    assert all(sites.count(chosen) >= sites.count(other) for other in sites)


def test_no_sites_have_no_majority() -> None:
    assert tracer.most_common_site([]) is None


def test_hops_count_one_echos_tracepoints_both_ways() -> None:
    there, back = (IPV4, 8), (IPV4, 0)
    events = [
        event(QUEUE, 1, there),
        event(RX, 2, there),
        event(RECEIVE, 3, there),
        event(QUEUE, 4, back),
    ]
    events += [event(RX, 5, there, 7), event(RX, 6, (ARP, 1), 0), drop(7, there)]
    assert tracer.count_hops(events, 4, 1) == {
        "hops_netif_rx": 1.0,
        "hops_receive": 1.0,
        "hops_queue": 2.0,
    }


def test_the_drawing_follows_the_record_of_a_wire_nobody_has_a_rule_for() -> None:
    """A foreign wire: other devices, a program where none of ours would be, no backlog at all."""
    devices = {7: "tunnel0-cont", 8: "weird-host", 9: "far-cont"}
    there, back = (IPV4, 8), (IPV4, 0)
    events = [
        event(RECEIVE, 30, there, ifindex=9),
        event(QUEUE, 10, there, ifindex=7),
        event(HIT, 20, (0, 3)),
        event(QUEUE, 40, back, ifindex=9),
        event(RX, 50, back, ifindex=8),
        event(RECEIVE, 60, back, ifindex=7),
        drop(70, back),
    ]
    steps = tracer.packet_path(events, devices, {3: "nowhere of weird-host: mine"})
    assert steps == [
        "queue tunnel0-cont",
        "program nowhere of weird-host: mine",
        "receive far-cont",
        "queue far-cont",
        "backlog weird-host",
        "receive tunnel0-cont",
    ]
    assert list(drawing(steps)) == [
        "[tunnel0-cont] → <nowhere of weird-host: mine> → [far-cont]",
        "[far-cont] → (backlog weird-host) → [tunnel0-cont]",
    ]


def test_a_way_that_was_not_recorded_is_not_drawn() -> None:
    assert list(drawing([])) == ["(no tracer on this kernel: the path was not recorded)"]


def blob(types: list[int], strings: bytes) -> bytes:
    body = struct.pack(f"={len(types)}I", *types)
    return (
        struct.pack("=HBBIIIII", 0xEB9F, 1, 0, 24, 0, len(body), len(body), len(strings))
        + body
        + strings
    )


def test_btf_finds_members_also_inside_anonymous_unions() -> None:
    strings = b"\0sk_buff\0head\0protocol\0int\0colour\0RED\0BLUE\0"
    at = {name: strings.index(b"\0" + name.encode() + b"\0") + 1 for name in
          ("sk_buff", "head", "protocol", "int", "colour", "RED", "BLUE")}  # fmt: skip
    types = [
        *(at["int"], 1 << 24, 4, 0x20),  # 1: int
        *(0, (5 << 24) | 1, 4, at["protocol"], 1, 0),  # 2: an anonymous union of protocol
        *(at["sk_buff"], (4 << 24) | 2, 16, at["head"], 1, 64, 0, 2, 96),  # 3: the struct
        *(at["colour"], (6 << 24) | 2, 4, at["RED"], 0, at["BLUE"], 5),  # 4: an enum
    ]
    found = btf.BTF(blob(types, strings))
    assert found.offsets("sk_buff", ["head", "protocol"]) == {"head": 8, "protocol": 12}
    assert found.enumerators("colour") == {0: "RED", 5: "BLUE"}
    with pytest.raises(KeyError):
        found.offsets("sk_buff", ["nothing"])


def test_btf_counts_the_parameters_behind_a_typedef() -> None:
    strings = b"\0trace_f\0word\0"
    named = {"trace_f": 1, "word": 9}
    types = [
        *(named["word"], 1 << 24, 4, 0x20),  # 1: int
        *(0, (13 << 24) | 3, 0, 0, 1, 0, 1, 0, 1),  # 2: void (int, int, int)
        *(0, 2 << 24, 2),  # 3: a pointer to it
        *(named["trace_f"], 8 << 24, 3),  # 4: its typedef
    ]
    found = btf.BTF(blob(types, strings))
    assert found.parameters("trace_f") == 3
    for wrong in ("word", "nothing"):
        with pytest.raises(KeyError):
            found.parameters(wrong)


def test_what_is_not_btf_is_refused() -> None:
    with pytest.raises(ValueError, match="not BTF"):
        btf.BTF(bytes(64))
