"""Counters in the report: what was counted beside the results, a row a cell, no loss hidden by a
median.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from fake_runs import Invented, cell, environment, stored, yogurt_phone

from yogurtbench import report
from yogurtbench.core.records import Attempt, Observation, Status, Trial
from yogurtbench.report.export import markdown
from yogurtbench.report.pages.run import render
from yogurtbench.report.run_data import RunData
from yogurtbench.report.sections.counters import (
    CounterTable,
    cost_of_looking,
    counter_tables,
    counting_costs,
    sized,
    warned,
)
from yogurtbench.report.sections.table import Row
from yogurtbench.report.sections.warnings import collect_warnings
from yogurtbench.results import run_folder
from yogurtbench.results.frame import frame_digest, to_frame

_FIELDS = (
    "rx_packets",
    "tx_packets",
    "rx_bytes",
    "tx_bytes",
    "rx_errors",
    "tx_errors",
    "rx_dropped",
    "tx_dropped",
)
WARNING = (
    "a payload of 8000 bytes makes IP packets of 8028, and the wire saw {} on average: "
    "the mtu of 1500 fragments them"
)


def device(**counts: int) -> dict[str, int]:
    return {**dict.fromkeys(_FIELDS, 0), "tx_packets": 1000, "tx_bytes": 106_000, **counts}


def details(**changes: Any) -> dict[str, Any]:
    """What a bulk load keeps."""
    return {
        "counters": {
            "wire.forward": [1000, 106_000],
            "wire.return": [14, 1230],
            "primary.forward": [1000, 106_000],
        },
        "devices": {"yg1-cont": device(), "yg2-host": device()},
        "softnet": {
            "processed": [2000, 32],
            "dropped": [0, 0],
            "time_squeeze": [1, 0],
            "flow_limit_count": [0, 0],
        },
        "warnings": [],
        **changes,
    }


def story_of(run: Invented, attempts: list[Attempt] | None = None) -> RunData:
    told = attempts if attempts is not None else list(run.attempts())
    return RunData.tell("run", "matrix", run.plan(), environment(run), told, to_frame(told, "run"))


def counting(**changes: Any) -> Invented:
    """One wire under UDP, two blocks, counted."""
    one = cell(load="iperf3_udp", payload=8000)
    return replace(Invented((one,), blocks=3, details={"iperf3_udp": details()}), **changes)


def by_name(story: RunData) -> dict[str, CounterTable]:
    return {found.name: found for found in counter_tables(story)}


def lines(rows: list[Row]) -> list[tuple[str, ...]]:
    """What rows say behind wire, load and traffic."""
    return [tuple(mark.text for mark in row.marks[2:]) for row in rows]


def changed(run: Invented, **by_block: dict[str, Any]) -> list[Attempt]:
    """The run's attempts, the wire's own details changed in block b0, b1 …"""
    return [
        replace(one, details={**one.details, **by_block.get(f"b{one.trial.block}", {})})
        if one.trial.role == "cell"
        else one
        for one in run.attempts()
    ]


def test_a_cell_has_one_row_of_packets_with_its_medians() -> None:
    table = by_name(story_of(counting()))["packets"].table
    assert [row.wire.name for row in table.rows] == [
        "veth direct",
        "netkit l3 · netkit_peer → redirect",
    ]
    assert "bytes per skb (B/skb)" in table.heads and "packet rate (packets/s)" in table.heads
    place = table.heads.index("bytes per skb (B/skb)")
    assert all(row.marks[place].text == "47\u202f929" for row in table.rows)


def test_programs_are_reported_by_role_and_way() -> None:
    _, wire = by_name(story_of(counting()))["programs"].cells
    assert [mark.text for mark in wire[0].marks[:2]] == ["iperf3 UDP", "8\u202f000 B"]
    assert lines(wire) == [
        ("wire forward", "1\u202f000", "106\u202f000", "106"),
        ("wire return", "14", "1\u202f230", "87.9"),
        ("primary forward", "1\u202f000", "106\u202f000", "106"),
    ]


def test_medians_are_over_blocks_and_canaries_and_asides_stay_out() -> None:
    run = counting()
    attempts = changed(
        run,
        b0={"counters": {"wire.forward": [1, 10]}},
        b1={"counters": {"wire.forward": [3, 30]}},
        b2={"counters": {"wire.forward": [900, 9000]}},
    )
    odd = [replace(one, details=details(counters={"wire.forward": [7, 7]})) for one in attempts]
    others = [
        replace(one, trial=replace(one.trial, role=role))
        for one in odd
        for role in ("canary", "diagnostic")
    ]
    wire = by_name(story_of(run, attempts + others))["programs"].cells[-1]
    assert lines(wire) == [("wire forward", "3", "30", "10")]


def test_a_drop_in_one_trial_of_many_is_shown() -> None:
    """The median is zero; that packets were lost is not."""
    run = counting()
    lossy = {
        "devices": {"yg1-cont": device(), "yg2-host": device(rx_dropped=12)},
        "softnet": {"dropped": [0, 5]},
    }
    shown = by_name(story_of(run, changed(run, b1=lossy)))["losses"]
    (cell,) = shown.cells
    assert lines(cell) == [
        ("yg2-host", "rx dropped", "0", "12", "1 of 3"),
        ("softnet, whole machine", "dropped", "0", "5", "1 of 3"),
    ]
    assert shown.opened and not by_name(story_of(run, changed(run, b1=lossy)))["devices"].opened


def test_where_nothing_was_lost_the_page_says_so() -> None:
    quiet = story_of(counting())
    assert "losses" not in by_name(quiet)
    assert "No device counted an error or a drop" in render(quiet, [])
    uncounted = story_of(counting(details={}))
    assert "No device counted" not in render(uncounted, [])


def diagnostic(run: Invented, **kept: Any) -> Attempt:
    trial = Trial("diagnostic-p00", run.cells[0], -1, 0, "diagnostic")
    return Attempt(trial, "ok", (Observation.of("bpf_run_ns", 98.5),), details=kept)


def test_run_times_are_labelled_as_measured_apart() -> None:
    run = counting()
    times = {
        "wire.forward": {"ns": 98_500, "runs": 1000, "ns_per_run": 98.5},
        "primary.forward": {"ns": 0, "runs": 0},
    }
    story = story_of(run, [*run.attempts(), diagnostic(run, run_times=times)])
    shown = by_name(story)["run-times"]
    assert lines(shown.cells[0]) == [
        ("wire forward", "1\u202f000", "98\u202f500", "98.5"),
        ("primary forward", "0", "0", "–"),
    ]
    assert "separate diagnostic trials" in shown.caption and "thrown away" in shown.caption
    assert shown.table.heads[-1] == "a run (ns)"


def test_drops_are_reported_by_function_and_reason_where_they_were_watched() -> None:
    run = counting()
    drops = {"udp_queue_rcv_one_skb:SOCKET_RCVBUFF": 7, "sk_stream_kill_queues:NOT_SPECIFIED": 70}
    told = by_name(story_of(run, [*run.attempts(), diagnostic(run, drops=drops)]))["drops"]
    assert [line[:2] for line in lines(told.cells[0])] == [
        ("sk_stream_kill_queues:NOT_SPECIFIED", "70"),
        ("udp_queue_rcv_one_skb:SOCKET_RCVBUFF", "7"),
    ]
    assert "diagnostic" in told.caption
    for nothing in ({}, {"drops": {}}, {"drops": None}):
        assert "drops" not in by_name(story_of(run, [*run.attempts(), diagnostic(run, **nothing)]))


def blind(run: Invented, rtt: float, status: Status = "ok") -> Attempt:
    trial = Trial("blind-p00", run.cells[0], -1, 0, "blind", "instructions")
    if status != "ok":
        return Attempt.without_values(trial, status, "no")
    row = Observation.of("rtt_p50", rtt, "instructions")
    where: dict[str, Any] = {"lab": run.lab, "accelerator": run.accelerator, "kernel": run.kernel}
    return Attempt(trial, "ok", (row,), details={"counters": {}}, **where)


def round_trips(**changes: Any) -> Invented:
    """One wire under sockperf on the instruction clock: 1000 messages, counted twice each way, the
    last answer once.
    """
    counters = {"wire.forward": [1000, 1], "primary.forward": [1000, 1], "wire.return": [1000, 1],
                "primary.return": [999, 1]}  # fmt: skip
    kept = {"sockperf": {"counters": counters, "messages": 1000}}
    return Invented(
        (cell(),), blocks=1, clock="instructions", accelerator="tcg", details=kept, **changes
    )


def test_the_cost_of_looking_is_the_difference_a_counted_packet(tmp_path: Path) -> None:
    run = round_trips()
    story = story_of(run, [*run.attempts(), blind(run, 28_113 - 4 * 17 - 1)])
    (told,) = counting_costs(story)
    assert (told.counted, told.blind, told.packets, told.cost) == (28_113, 28_044, 4, 17.25)
    ((row,),) = by_name(story)["counting"].cells
    assert row.wire.name == "netkit l3 · netkit_peer → redirect"
    assert lines([row]) == [("28\u202f113", "28\u202f044", "4", "17.25")]
    said = "Counting costs a program 17.25 guest instructions a packet."
    assert said in render(story, []) and "--clock instructions." not in render(story, [])
    assert f"- {said}" in markdown.render(story).splitlines()


def test_what_ran_blind_is_no_result() -> None:
    run = round_trips()
    attempts = list(run.attempts())
    with_it, without = (story_of(run, found) for found in ([*attempts, blind(run, 1.0)], attempts))
    assert frame_digest(with_it.frame) == frame_digest(without.frame)
    assert with_it.comparison.equals(without.comparison) and with_it.blocks == without.blocks == 1


def test_where_nothing_ran_blind_the_page_says_where_the_cost_of_looking_can_be_had() -> None:
    wall = story_of(counting())
    assert not cost_of_looking(wall) and "counting" not in by_name(wall)
    assert "sockperf with --clock instructions" in render(wall, [])
    assert "Counting costs" not in markdown.render(wall)
    run = round_trips()
    failed = story_of(run, [*run.attempts(), blind(run, 0, "failed")])
    assert not counting_costs(failed) and "counting" not in by_name(failed)


def test_tallies_of_ones_own_show_the_slots_that_counted() -> None:
    run = counting()
    tallies = {"tallies": {"forward": [[10, 1000], [0, 0], [2, 200]], "return": [[0, 0]] * 3}}
    shown = by_name(story_of(run, changed(run, b0=tallies, b1=tallies, b2=tallies)))["tallies"]
    assert lines(shown.cells[0]) == [("forward 0", "10", "1\u202f000"), ("forward 2", "2", "200")]


def test_packets_that_are_not_what_the_payload_says_are_reported_everywhere(tmp_path: Path) -> None:
    run = counting()
    attempts = changed(
        run, b0={"warnings": [WARNING.format(1355)]}, b1={"warnings": [WARNING.format(1356)]}
    )
    story = story_of(run, attempts)
    assert warned(story) == {run.cells[0].id: (WARNING.format(1355),)} and sized(story) == 2
    (caution,) = collect_warnings(story)
    assert (
        caution.kind == "packets"
        and not caution.grave
        and caution.text.startswith("In 1 of 2 cells the packets")
    )
    page = render(story, [])
    counters = page[page.index('id="counters"') :]
    assert WARNING.format(1355) in counters and caution.text in page
    grids = page[page.index('"comparisons":') : page.index('"trials":')]
    assert WARNING.format(1355) in grids and "⚠" in grids
    with run_folder.StoredRun.create(
        tmp_path, run.name, "", run.plan(), environment(run)
    ) as folder:
        for attempt in attempts:
            folder.append(attempt)
    report.make(folder.path)
    assert (folder.path / "report.md").read_text().count("In 1 of 2 cells the packets") == 1


def test_a_run_without_counters_has_no_section(tmp_path: Path) -> None:
    run = Invented((cell(load="reachability"),), blocks=1)
    assert not counter_tables(story_of(run))
    assert 'id="counters"' not in render(story_of(run), [])


def test_what_others_wrote_stays_text() -> None:
    evil = "<script>alert(1)</script>"
    run = counting()
    attempts = changed(
        run,
        b0={
            "warnings": [evil],
            "devices": {evil: device(rx_dropped=1)},
            "counters": {evil: [1, 1]},
        },
    )
    page = render(
        story_of(
            run,
            [*attempts, diagnostic(run, drops={evil: 1}, run_times={evil: {"ns": 1, "runs": 1}})],
        ),
        [],
    )
    assert evil not in page and page.count("&lt;script&gt;alert(1)") >= 6


def big() -> Iterator[Any]:
    for helper in range(50):
        for size in (64, 1400):
            for load in ("sockperf", "iperf3_udp"):
                yield cell(helper=f"redirect_{helper}", payload=size, load=load)


def test_two_hundred_cells_of_twenty_blocks_make_a_page_that_opens(tmp_path: Path) -> None:
    kept = details(devices={f"yg{n}-{end}": device() for n in (1, 2) for end in ("cont", "host")})
    run = Invented(tuple(big()), blocks=20, details={"sockperf": kept, "iperf3_udp": kept})
    story = story_of(run)
    found = by_name(story)
    assert len(found["devices"].table.rows) == 4 * (200 + 4)
    assert len(found["packets"].cells) == 204
    assert not found["packets"].opened
    page = render(story, [])
    assert (
        len(
            page[
                page.index('id="counters"') : page.index(
                    'id="failures"' if 'id="failures"' in page else 'id="trials"'
                )
            ]
        )
        < 600_000
    )


def test_the_section_stands_in_the_page_of_a_stored_run(tmp_path: Path) -> None:
    run = replace(yogurt_phone(blocks=2), details={"iperf3_tcp": details()})
    path = stored(run, tmp_path)
    report.make(path)
    page = (path / "report.html").read_text()
    assert page.index('id="comparisons"') < page.index('id="counters"') < page.index('id="trials"')
