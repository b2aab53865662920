"""A recorded probe in words: what came of it, a line an event, and how much of a loop."""

from __future__ import annotations

from typing import Any

from yogurtbench.report.terminal import probe_trace


def event(
    ns: int, what: str, packet: str = "echo request", note: str = "", **fields: Any
) -> dict[str, Any]:
    place = {"namespace": "host", "device": "yg1-host", "skb": 1}
    return {"ns": ns, "what": what, "packet": packet, "note": note, **place, **fields}


def probe(*events: dict[str, Any], **fields: Any) -> dict[str, Any]:
    came = {"answered": False, "dropped": None, "looped": None, "overflowed": False}
    return {
        "ip": 4,
        "source": "10.42.0.1",
        "destination": "10.42.0.2",
        "events": list(events),
        **came,
        **fields,
    }


def text(*probes: dict[str, Any], accelerator: str = "none") -> str:
    return probe_trace.as_text({"probes": list(probes), "accelerator": accelerator})


def test_what_came_of_a_probe_is_one_sentence() -> None:
    asked = "IPv4: echo from 10.42.0.1 to 10.42.0.2: "
    assert probe_trace.headline(probe(answered=True)) == f"{asked}answered"
    assert (
        probe_trace.headline(probe(dropped="f:REASON")) == f"{asked}no answer; dropped at f:REASON"
    )
    assert probe_trace.headline(probe()) == f"{asked}no answer; no drop was seen"
    looped = probe_trace.headline(probe(looped=0.3, dropped="f:REASON"))
    assert looped == f"{asked}went round inside the kernel until it was silenced after 0.30 s"


def test_an_event_is_a_line_with_time_place_packet_and_note() -> None:
    lines = text(
        probe(
            event(950, "net_dev_queue"),
            event(1_200_950, "program", packet="", skb=None, note="netkit_peer: mine"),
            event(1_201_000, "kfree_skb", note="f: REASON"),
        )
    ).splitlines()
    assert [line.split() for line in lines[2:]] == [
        ["950", "net_dev_queue", "host:yg1-host", "#1", "echo", "request"],
        ["1,200,950", "program", "host:yg1-host", "netkit_peer:", "mine"],
        ["1,201,000", "kfree_skb", "host:yg1-host", "#1", "echo", "request", "f:", "REASON"],
    ]


def test_of_a_loop_the_beginning_is_shown_and_the_rest_is_counted() -> None:
    round_and_round = text(
        probe(*(event(n, "netif_rx") for n in range(1024)), looped=0.3, overflowed=True)
    )
    assert len(round_and_round.splitlines()) == 83
    assert round_and_round.endswith("… 944 more events and more than the record holds")


def test_emulated_times_are_said_to_be_so() -> None:
    assert "emulated (TCG)" in text(probe(), accelerator="tcg")
    assert "emulated" not in text(probe(), accelerator="kvm")


def test_the_copy_of_an_answer_is_no_loss() -> None:
    freed = event(9, "kfree_skb", packet="echo reply", note="ping_rcv: NO_SOCKET")
    assert "once the asking socket has its copy" in text(probe(freed, answered=True))
    assert "copy" not in text(probe(freed))
