"""The result on a terminal, wide and narrow: it fits, keeps every word, and needs no colour."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from pathlib import Path

import pytest
from fake_runs import Invented, cell, environment, stored, unseal, yogurt_phone
from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

from yogurtbench.analysis.comparison import EMULATED
from yogurtbench.core.records import Attempt, Trial
from yogurtbench.report.export import markdown
from yogurtbench.report.export.wire_catalogue import WireOutcome
from yogurtbench.report.measured import levels
from yogurtbench.report.run_data import RunData
from yogurtbench.report.terminal import run as terminal
from yogurtbench.results import run_folder
from yogurtbench.results.frame import to_frame

WIDTHS = [32, 40, 60, 80, 100, 130, 200]


def effects(run: Invented, width: int) -> list[Text]:
    return terminal.comparisons(data_of(run, list(run.attempts())), width)


def data_of(run: Invented, attempts: list[Attempt]) -> RunData:
    return RunData.tell(
        "run", "", run.plan(), environment(run), attempts, to_frame(attempts, "run")
    )


def text(lines: list[Text]) -> str:
    return "\n".join(line.plain for line in lines)


def folded(lines: list[Text]) -> str:
    return " ".join(text(lines).split())


@pytest.mark.parametrize("width", WIDTHS)
def test_it_fits_and_keeps_the_answer_at_every_width(width: int) -> None:
    lines = effects(yogurt_phone(accelerator="tcg"), width)
    assert all(cell_len(line.plain) <= width for line in lines if line.plain != EMULATED)
    said = folded(lines)
    assert all(
        words in said
        for words in (EMULATED, "−12.2 %", "faster", "dead", "netkit_peer → redirect", "1 400 B")
    )
    assert ("●" in said) == (width >= 60)
    assert ("95 % interval" in said) == (width >= 80)
    assert width < 130 or "measured" in said


@pytest.mark.parametrize("width", [120, 130, 200])
def test_where_there_is_room_a_wire_is_a_line_with_its_columns_below_each_other(width: int) -> None:
    lines = text(effects(yogurt_phone(), width)).splitlines()
    head = next(line for line in lines if line.startswith("wire"))
    for line in lines:
        if "●" in line:
            assert line[head.index("verdict") - 2 :].strip() in (
                "faster",
                "slower",
                "equivalent",
                "inconclusive",
            )
            assert line.index("%") < head.index("95 % interval") - 1


def test_where_there_is_not_a_long_name_stands_above_its_columns_and_none_is_cut() -> None:
    long = cell(
        "veth", "tcx_ingress", "redirect_neigh_nexthop", program="./a_filter_with_a_long_name.c"
    )
    lines = text(effects(Invented((long,), blocks=12), 60)).splitlines()
    at = next(place for place, line in enumerate(lines) if "veth · tcx_ingress" in line)
    assert (
        lines[at].startswith("  veth") and lines[at + 1].startswith("    ") and "%" in lines[at + 2]
    )
    assert "./a_filter_with_a_long_name.c" in text(effects(Invented((long,), blocks=12), 60))


def test_the_bars_show_the_interval_the_estimate_and_the_baseline_to_scale() -> None:
    lines = text(effects(yogurt_phone(), 200)).splitlines()
    head = next(line for line in lines if line.startswith("wire"))
    zero = head.rindex(" 0 ") + 1
    for line in lines:
        if "faster" in line and "throughput" not in line and "│" in line:
            assert line[zero] in "│┼"
    better = next(line for line in lines if "−12.2 %" in line)
    assert (
        better.index("●")
        < zero
        < next(line for line in lines if "slower" in line and "+" in line).index("●")
    )


def test_the_best_is_first_in_each_section() -> None:
    lines = text(effects(yogurt_phone(), 200)).splitlines()
    start = next(
        place for place, line in enumerate(lines) if line.startswith("median round trip, sockperf")
    )
    assert "−12.2 %" in lines[start + 1]


def test_colour_goes_and_the_words_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    def printed() -> str:
        console = Console(file=io.StringIO(), force_terminal=True, width=120)
        for line in effects(yogurt_phone(), 120):
            console.print(line)
        return console.file.getvalue()  # type: ignore[attr-defined]

    monkeypatch.setenv("TERM", "xterm-256color")
    assert "\x1b[32m" in printed()
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b[3" not in printed() and "faster" in printed()


def test_runs_with_nothing_to_compare_have_no_effects() -> None:
    run = Invented((cell(load="reachability"),), blocks=1)
    assert terminal.comparisons(data_of(run, []), 80) == []


@pytest.mark.parametrize("width", WIDTHS)
def test_which_wires_live_and_where_the_others_die(width: int) -> None:
    live = {"reachable": 1.0, "reachable_v6": 1.0, "tcp_ok": 1.0}
    lines = terminal.reachability(
        [
            WireOutcome(
                cell(), "ok", {"reachable": 0.0, "dropped_at": "netkit_xmit:NOT_SPECIFIED"}, ()
            ),
            WireOutcome(cell(helper="redirect_ingress"), "looping", {}, ()),
            WireOutcome(cell(hook="tcx_ingress"), "ok", live, ()),
            WireOutcome(cell("veth", "xdp_native"), "ok", {**live, "tcp_ok": 0.0}, ()),
        ],
        width,
    )
    assert all(cell_len(line.plain) <= width for line in lines)
    said = folded(lines)
    places = [
        said.index(words)
        for words in (
            "IPv4, IPv6 arrive, not TCP: 1 wire veth, xdp_native",
            "IPv4, IPv6, TCP arrive: 1 wire netkit l3",
            "nothing arrives (looping): 1 wire",
            "nothing arrives (netkit_xmit:NOT_SPECIFIED): 1 wire",
        )
    ]
    assert places == sorted(places)


@pytest.mark.parametrize("width", WIDTHS)
def test_what_gave_no_value_is_reported_with_its_reason_alike_ones_counted(width: int) -> None:
    one = Trial("t", cell(), 0, 0)
    attempts = [
        Attempt.without_values(one, "skipped", "the wire is dead"),
        *[
            Attempt.without_values(
                one, "unsupported", "this iperf3 sends no datagrams\nof less than 16 bytes"
            )
        ]
        * 3,
        *[Attempt.without_values(one, "failed", f"reason {number}") for number in range(6)],
    ]
    lines = terminal.failures(attempts, width)
    assert all(cell_len(line.plain) <= max(width, 40) for line in lines)
    said = folded(lines)
    assert said.startswith(
        "unsupported, 3 trials: this iperf3 sends no datagrams of less than 16 bytes failed, "
        "1 trial: "
    )
    assert said.endswith("and 2 more: see Failures in the report")
    assert "skipped" not in said
    assert terminal.failures([], width) == []


def alone() -> Invented:
    """A run of cells among which the wire of veth is slower by half."""
    wires = (
        cell(),
        cell("veth", "tcx_ingress"),
        cell(payload=1400),
        cell(load="iperf3_tcp", payload=131_072),
    )
    effects = {("veth", "tcx_ingress", "redirect"): 1.5}
    return Invented((cell(load="reachability"), *wires), blocks=5, effects=effects)


def story_of(run: Invented, folder: Path) -> RunData:
    """With what would have been compared left out of the plan, as in a matrix without a
    baseline.
    """
    path = stored(run, folder)
    plan = run_folder.read_plan(path)
    cells = (replace(one, baselines=(), group="") for one in plan.cells if one.role == "cell")
    unseal(path)
    (path / "plan.json").write_text(json.dumps(replace(plan, cells=tuple(cells)).to_json()))
    lines = (path / "trials.jsonl").read_text().splitlines(keepends=True)
    (path / "trials.jsonl").write_text("".join(line for line in lines if '"role":"cell"' in line))
    return RunData.read(path)


@pytest.mark.parametrize("width", WIDTHS)
def test_without_a_baseline_the_values_and_their_spread_are_reported(
    tmp_path: Path, width: int
) -> None:
    story = story_of(alone(), tmp_path)
    found = levels(story)
    lines = terminal.measured(story, width)
    assert all(cell_len(line.plain) <= width for line in lines)
    assert len(found) == 4
    frame = story.frame
    for one, key in zip(
        found, [cell(), cell("veth", "tcx_ingress"), cell(payload=1400)], strict=False
    ):
        mine = frame[(frame["cell"] == key.id) & (frame["metric"] == "rtt_p50")]["value"]
        assert (one.median, one.low, one.high, one.blocks) == (
            mine.median(),
            mine.min(),
            mine.max(),
            5,
        )
        assert one.value in folded(lines) and one.spread in folded(lines)
    assert found[0].median < found[1].median and found[0].heading == found[1].heading
    assert "throughput, iperf3 TCP, 131 072 B" in folded(lines).replace("\u202f", " ")
    report = markdown.render(story)
    assert all(one.value in report and one.spread in report for one in found)
    assert len(report.splitlines()) <= markdown.LINES


def test_where_there_is_a_baseline_only_what_is_compared_is_reported(tmp_path: Path) -> None:
    assert levels(RunData.read(stored(yogurt_phone(), tmp_path))) == []
