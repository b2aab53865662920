"""How a sweep looks while it runs: live on a terminal, a line a trial elsewhere, nothing when
quiet.
"""

from __future__ import annotations

import io
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from matrices import planned
from rich.console import Console

from yogurtbench.core.records import Attempt, Observation, Trial
from yogurtbench.plan.plan import Plan
from yogurtbench.runner.progress import (
    LineProgress,
    LiveProgress,
    NoProgress,
    RateEstimator,
    progress_for,
)

MATRIX = """\
name: m
axes: {device: netkit, hook: [netkit_peer, tcx_ingress], helper: redirect}
baseline: {device: veth, topology: direct}
loads: [{kind: sockperf, duration: 1s}, reachability]
blocks: {min: 2, max: 4}
"""


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    return planned(tmp_path, MATRIX)


@dataclass
class Clock:
    now: float = 0.0

    def __call__(self) -> float:
        return self.now


def terminal(width: int = 120, **how: bool) -> Console:
    return Console(file=io.StringIO(), width=width, force_terminal=True, **how)


def trials(plan: Plan, block: int = 0) -> list[Trial]:
    return [trial for group in plan.groups for trial in plan.trials(group, block)]


def fine(trial: Trial) -> Attempt:
    metric = "rtt_p50" if trial.cell.load == "sockperf" else "reachable"
    return Attempt(trial, "ok", (Observation.of(metric, 28_237.0),))


def shown(bar: LiveProgress, width: int) -> list[str]:
    console = Console(file=io.StringIO(), width=width)
    console.print(bar.view())
    return str(console.file.getvalue()).splitlines()  # type: ignore[attr-defined]


@pytest.mark.parametrize("width", [30, 60, 90, 120, 200])
def test_the_live_lines_fit_and_name_block_time_wire_and_failures(plan: Plan, width: int) -> None:
    clock = Clock()
    bar = LiveProgress(terminal(width), plan, 60.0, clock=clock)
    first, second, third, *_ = trials(plan)
    bar.trial(first)
    clock.now = 5.0
    bar.attempt(Attempt.without_values(first, "failed", "no answer"))
    bar.trial(second)
    bar.trial(third)
    lines = shown(bar, width)
    assert len(lines) == (4 if width < 78 else 3) and all(len(line) <= width for line in lines)
    head = " ".join(lines[:-2])
    assert "0:05 elapsed" in head
    if width >= 60:
        assert all(words in head for words in ("block 1 of 2–4, trial 2", "1 failed", "left"))
        assert "netkit l3 · " in lines[-2] + lines[-1]
    # without colours the bar is only what is done
    assert width == 90 or ("╸" in head) == (width > 90)


def test_each_phase_has_its_words(plan: Plan) -> None:
    for trial, words in [
        (trials(plan, 1)[0], "block 2 of 2–4,"),
        (trials(plan, 2)[0], "block 3 of at most 4,"),
        (plan.diagnostics()[0], "after the blocks,"),
    ]:
        bar = LiveProgress(terminal(), plan, 60.0)
        bar.trial(trial)
        assert words in shown(bar, 120)[0]


def test_a_trial_under_way_is_shown_with_what_it_does_now(plan: Plan) -> None:
    bar = LiveProgress(terminal(), plan, 60.0)
    first, second, *_ = trials(plan)
    bar.trial(first)
    assert "measuring" not in shown(bar, 120)[-1]
    bar.phase(first, "wire")
    assert shown(bar, 120)[-1].endswith("attaching the programs")
    bar.phase(first, "load")
    assert shown(bar, 120)[-1].endswith("measuring")
    bar.attempt(fine(first))
    bar.trial(second)
    assert "measuring" not in shown(bar, 120)[-1]


def test_many_jobs_are_named_up_to_four(plan: Plan) -> None:
    bar = LiveProgress(terminal(), plan, 60.0)
    for trial in trials(plan)[:6]:
        bar.trial(trial)
    lines = shown(bar, 100)
    assert len(lines) == 6 and lines[-1].strip() == "and 2 more"


def test_what_went_wrong_stays_on_the_screen(plan: Plan) -> None:
    console = terminal()
    bar = LiveProgress(console, plan, 60.0)
    trial = next(
        one
        for one in trials(plan)
        if one.cell.hook == "tcx_ingress" and one.cell.load == "sockperf"
    )
    bar.attempt(Attempt.without_values(trial, "crashed", "the guest died"))
    assert (
        "netkit l3 · tcx_ingress → redirect sockperf: crashed: the guest died"
        in console.file.getvalue()
    )  # type: ignore[attr-defined]


def test_the_rest_is_reported_at_the_pace_so_far(plan: Plan) -> None:
    pace = RateEstimator(plan)
    assert pace.left(0.0, 90.0) == "about 1:30" and pace.share == 0.0
    for trial in trials(plan, 0):
        pace.ended(fine(trial))
    low, high = pace.left(60.0, 90.0).split(" to ")
    assert seconds(low) == pytest.approx(60 + asides(plan, 60), abs=2)
    assert seconds(high) == pytest.approx(3 * 60 + asides(plan, 60), abs=2)
    assert 0 < pace.share < 0.5
    for trial in trials(plan, 1):
        pace.ended(fine(trial))
    assert pace.left(120.0, 90.0).startswith("at most 2:")
    for trial in plan.diagnostics():
        pace.ended(fine(trial))
    assert pace.left(130.0, 90.0) == "about 0:00" and pace.share == 1.0


def asides(plan: Plan, block: float) -> float:
    """Seconds of the diagnostics where a block takes so many."""
    loads = {"sockperf": 2.45 + 1.0 + 0.5, "reachability": 0.2 + 0.5}
    whole = sum(loads[trial.cell.load] for trial in trials(plan))
    return sum(loads[trial.cell.load] for trial in plan.diagnostics()) / whole * block


def seconds(text: str) -> float:
    minutes, rest = text.split(":")
    return int(minutes) * 60 + int(rest)


def test_where_the_number_of_blocks_is_fixed_there_is_one_figure(plan: Plan) -> None:
    fixed = replace(plan, blocks=replace(plan.blocks, max=2))
    pace = RateEstimator(fixed)
    pace.ended(fine(trials(fixed)[0]))
    assert pace.left(5.0, 90.0).startswith("about ")


def test_skipped_trials_do_not_make_the_rest_look_short(plan: Plan) -> None:
    one, other = RateEstimator(plan), RateEstimator(plan)
    first, *rest = [trial for trial in trials(plan) if trial.cell.load == "sockperf"]
    one.ended(fine(first))
    other.ended(fine(first))
    other.ended(Attempt.without_values(rest[0], "skipped", "the wire is dead"))
    low, fewer = (seconds(pace.left(10.0, 0.0).split(" to ")[0]) for pace in (one, other))
    assert low - fewer == pytest.approx(10.0, abs=1.5)


def test_a_resumed_run_has_the_rest_to_do(plan: Plan) -> None:
    done = [trial.id for trial in trials(plan, 0)]
    assert RateEstimator(plan, done).share == pytest.approx(RateEstimator(plan).share + half(plan))


def half(plan: Plan) -> float:
    pace = RateEstimator(plan)
    for trial in trials(plan, 0):
        pace.ended(fine(trial))
    return pace.share


def test_where_there_is_no_terminal_each_trial_is_a_plain_line(plan: Plan) -> None:
    console = Console(file=io.StringIO(), width=40)
    lines = progress_for(console, plan, 60.0, quiet=False)
    assert isinstance(lines, LineProgress)
    for trial in trials(plan)[:4]:
        lines.trial(trial)
        lines.attempt(fine(trial))
    said = console.file.getvalue()  # type: ignore[attr-defined]
    assert said.count("\n") == 4 and "\x1b" not in said
    assert all(line.startswith("block  1  ") for line in said.splitlines())
    assert "rtt_p50 28,237 ns" in said


def test_quiet_says_nothing_and_a_dumb_terminal_gets_lines(
    plan: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    console = terminal()
    assert type(progress_for(console, plan, 60.0, quiet=True)) is NoProgress
    assert isinstance(progress_for(console, plan, 60.0, quiet=False), LiveProgress)
    monkeypatch.setenv("TERM", "dumb")
    assert isinstance(progress_for(terminal(), plan, 60.0, quiet=False), LineProgress)


def test_no_color_leaves_the_live_lines_without_colour(
    plan: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("NO_COLOR", "1")
    console = terminal()
    bar = LiveProgress(console, plan, 60.0)
    bar.attempt(Attempt.without_values(trials(plan)[0], "failed", "no answer"))
    console.print(bar.view())
    assert "\x1b[3" not in console.file.getvalue()  # type: ignore[attr-defined]


VARIED = """\
name: m
axes: {device: veth, topology: direct, payload: [64, 1000], ip: [4, 6], mtu: [1400, 1500]}
loads: [{kind: sockperf, duration: 1s}, reachability]
blocks: {min: 1, max: 1}
"""


@pytest.mark.parametrize(
    ("axes", "told"),
    [
        ("payload: [64, 1000]", "  sockperf, {one.payload} B  "),
        ("ip: [4, 6]", "  sockperf, 64 B, ip {one.ip}  "),
        ("streams: [1, 2]", "  iperf3_tcp, 131072 B, streams {one.streams}  "),
        ("cpus: [same, split]", "  sockperf, 64 B, cpus {one.cpus}  "),
        ("mtu: [1400, 1500]", "veth direct (mtu {one.mtu})  sockperf  "),
        ("gso: ['on', 'off']", "veth direct (gso {one.gso})  sockperf  "),
    ],
)
def test_a_line_names_what_differs_among_the_cells(tmp_path: Path, axes: str, told: str) -> None:
    load = "iperf3_tcp" if "streams" in axes else "sockperf"
    text = (
        f"name: m\naxes: {{device: veth, topology: direct, {axes}}}\nloads: "
        f"[{load}]\nblocks: {{min: 1, max: 1}}\n"
    )
    plan = planned(tmp_path, text)
    console = Console(file=io.StringIO(), width=200)
    lines = LineProgress(console, plan)
    both = [trial for trial in trials(plan) if trial.role == "cell"]
    for trial in both:
        lines.attempt(fine(trial))
    printed = str(console.file.getvalue()).replace("\u202f", "").splitlines()  # type: ignore[attr-defined]
    assert len(both) == 2 and len(set(printed)) == 2
    for trial, line in zip(both, printed, strict=True):
        assert told.format(one=trial.cell) in f"{line}  "


def test_no_two_trials_of_a_block_have_the_same_line(tmp_path: Path) -> None:
    plan = planned(tmp_path, VARIED)
    console = Console(file=io.StringIO(), width=200)
    lines, bar = LineProgress(console, plan), LiveProgress(console, plan, 1.0)
    for trial in trials(plan):
        lines.attempt(fine(trial))
    printed = str(console.file.getvalue()).splitlines()  # type: ignore[attr-defined]
    assert len(printed) == len(set(printed)) == 2 + 8
    failed = Attempt.without_values(trials(plan)[-1], "failed", "boom")
    bar.attempt(failed)
    assert "ip " in str(console.file.getvalue()).splitlines()[-1]  # type: ignore[attr-defined]
