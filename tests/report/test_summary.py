"""The answer of a report: made from what was measured, never from its question, never surer than
the verdicts.
"""

from __future__ import annotations

import json
import random
import shlex
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fake_runs import Invented, baseline_of, cell, environment, yogurt_phone
from matrices import planned

from yogurtbench import __main__ as command
from yogurtbench.core.records import Attempt, Cell, Observation
from yogurtbench.core.wording import format_duration
from yogurtbench.report.run_data import RunData
from yogurtbench.report.sections import advice, tables
from yogurtbench.report.sections.dead_wires import dead_wires
from yogurtbench.report.sections.isolation import isolation_results
from yogurtbench.report.sections.ranking import rank_wires
from yogurtbench.report.sections.reachability import liveness
from yogurtbench.report.sections.summary import summarise
from yogurtbench.report.terminal.run import comparisons
from yogurtbench.results.frame import to_frame


def story_of(run: Invented, attempts: list[Attempt] | None = None) -> RunData:
    told = attempts if attempts is not None else list(run.attempts())
    return RunData.tell("run", "matrix", run.plan(), environment(run), told, to_frame(told, "run"))


def said(run: Invented) -> str:
    return summarise(story_of(run))


def test_the_question_has_no_part_in_the_answer() -> None:
    run = yogurt_phone()
    asked = replace(
        run, name="other", question="From which packet size on does a port filter listen in?"
    )
    assert said(asked) == said(run)


@pytest.mark.parametrize(
    "run", [yogurt_phone(), yogurt_phone(clock="instructions", blocks=2), yogurt_phone(blocks=1)]
)
def test_it_is_two_sentences_at_most_and_a_command_where_nobody_can_tell(run: Invented) -> None:
    text, _, command = said(run).partition(" 10 blocks would decide ")
    assert 1 <= text.count(". ") + 1 <= 2
    assert bool(command) == ("don't know" in text)


def test_no_wire_is_said_to_lose_that_nobody_could_judge() -> None:
    """One equal wire and one that wavers: whether that one beats the baseline is not known."""
    steady, wavering = cell(), cell(helper="redirect_peer")
    run = Invented((steady, wavering), noise=0.003)
    attempts = list(run.attempts())
    blocks = {one.trial.block: 0.6 if one.trial.block % 2 else 1.6 for one in attempts}
    shaken = [
        replace(
            one,
            observations=tuple(_times(row, blocks[one.trial.block]) for row in one.observations),
        )
        if one.trial.cell.helper == "redirect_peer"
        else one
        for one in attempts
    ]
    assert summarise(story_of(run, shaken)).startswith(
        "No wire is known to beat veth direct; netkit l3 · netkit_peer → "
    )
    assert summarise(story_of(run)).startswith("No wire beats veth direct; ")


def _times(row: Observation, factor: float) -> Observation:
    return replace(row, value=(row.value or 0.0) * factor)


def medians_shaken(run: Invented) -> list[Attempt]:
    """Attempts whose medians a neighbour doubles now and then.

    The fastest round trips stay as they were.
    """
    noise = random.Random(5)
    return [
        replace(one, observations=tuple(_times(row, factor if row.metric == "rtt_p50" else 1.0)
                                        for row in one.observations))
        for one in run.attempts()
        for factor in [noise.choice((1.0, 2.0))]
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("effect", "known"),
    [(1.1, "but the fastest round trip +10"), (1.0, "but the fastest round trip the same within")],
)
def test_what_the_fastest_round_trip_knows_is_reported_where_the_median_is_drowned(
    effect: float, known: str
) -> None:
    run = own(effect, noise=0.002, cells=(cell(program="./wire.c"),))
    story = story_of(run, medians_shaken(run))
    text = summarise(story)
    assert text.startswith("We don't know yet what") and known in text
    shown = "\n".join(line.plain for line in comparisons(story, 100))
    assert "fastest round trip, sockperf UDP" in shown


def test_the_fastest_round_trip_is_not_reported_where_the_median_says_it() -> None:
    run = own(1.1, noise=0.002, cells=(cell(program="./wire.c"),))
    assert "fastest" not in said(run)
    assert "fastest" not in "".join(line.plain for line in comparisons(story_of(run), 100))


# --- isolation ------------------------------------------------------------------------------------

EARS = frozenset({"eavesdrop_host_a", "eavesdrop_any"})
MOUTHS = frozenset({"inject_raw", "host_ping"})


def wires(
    *primaries: str, loads: tuple[str, ...] = ("reachability", "isolation")
) -> tuple[Cell, ...]:
    return tuple(cell(primary=word, load=load) for load in loads for word in primaries)


def opened(run: Invented, **by_primary: frozenset[str]) -> Invented:
    found = {
        one.wire_id: by_primary[str(one.primary)] for one in run.cells if one.primary in by_primary
    }
    return replace(run, opened=found)


def test_isolation_counts_the_shut_wires_and_names_the_tightest() -> None:
    run = opened(Invented(wires("pass", "next", "guard_cb"), blocks=2),
                 **{"pass": EARS | MOUTHS, "next": MOUTHS, "guard_cb": EARS})  # fmt: skip
    assert said(run) == (
        "3 of 3 wires carry packets. Of 3 live wires 1 is closed to injection from the host, "
        "1 to capture; tightest towards the host is netkit l3 · netkit_peer → redirect "
        "(primary next): no one can capture, raw packets and the host's ping can inject."
    )


def test_a_wire_that_nobody_can_use_is_not_the_tightest() -> None:
    run = opened(
        Invented(wires("pass", "guard_mark"), blocks=2), **{"pass": EARS, "guard_mark": frozenset()}
    )
    gone = frozenset(one.id for one in run.cells if one.primary == "guard_mark")
    text = said(replace(run, dead=gone))
    assert text.startswith(
        "1 of 2 wires carry packets. netkit l3 · netkit_peer → redirect (primary pass): host end a"
    )
    assert "guard_mark" not in text


def test_an_isolation_trial_of_a_dead_wire_counts_for_nobody() -> None:
    """Without a reachability trial its own word decides: on a wire that carries nothing nobody is
    heard.
    """
    run = opened(Invented(wires("pass", "next", loads=("isolation",)), blocks=2), next=frozenset())
    attempts = [
        replace(one, details={"isolation": {"carried": one.trial.cell.primary == "pass"}})
        for one in run.attempts()
    ]
    story = story_of(run, attempts)
    assert [one.wire.name for one in isolation_results(story)] == [
        "netkit l3 · netkit_peer → redirect (primary pass)"
    ]
    assert [len(tables.isolation(story).rows), tables.omitted_count(story)] == [1, 1]


def test_what_could_not_be_reported_is_not_called_shut() -> None:
    run = opened(Invented(wires("pass", "next", "guard_cb"), blocks=2),
                 **{"pass": EARS | MOUTHS, "next": EARS, "guard_cb": frozenset()})  # fmt: skip
    attempts = [
        Attempt.without_values(one.trial, "failed", "no control")
        if (one.trial.cell.primary, one.trial.cell.load) == ("guard_cb", "isolation")
        else one
        for one in run.attempts()
    ]
    text = summarise(story_of(run, attempts))
    assert "guard_cb" not in text and "2 live wires" not in text.replace("Of 2 live", "")
    partly = [replace(one, observations=tuple(_failing(one))) for one in run.attempts()]
    text = summarise(story_of(run, partly))
    assert "1 is closed to injection from the host, none to capture (1 not fully" in text
    assert "(primary next)" in text and "guard_cb" not in text


def _failing(attempt: Attempt) -> list[Any]:
    """One ear and one mouth of the guarded wire without an answer."""
    unsure = ("eavesdrop_any", "host_ping") if attempt.trial.cell.primary == "guard_cb" else ()
    return [
        replace(row, status="failed", value=None) if row.metric in unsure else row
        for row in attempt.observations
    ]


def unguarded(one: Cell) -> Cell:
    return replace(one, primary="pass")


def test_a_guard_is_reported_by_what_it_keeps_out_and_what_it_costs() -> None:
    """The yogurt-phone: two baselines, latency and isolation."""
    guard = cell(primary="guard_cb")
    both = (unguarded(guard), guard)
    cells = (
        guard,
        *(replace(one, load=load, payload=None) for load in ("isolation",) for one in both),
    )
    run = Invented(
        cells,
        baselines=(unguarded, baseline_of),
        noise=0.003,
        effect_of=lambda one: {"guard_cb": 1.06, "pass": 1.0}.get(str(one.primary), 0.8),
    )
    text = said(opened(run, **{"pass": EARS | MOUTHS, "guard_cb": EARS}))
    first, second = text.split(". ", 1)
    name = "netkit l3 · netkit_peer → redirect (primary {})".format
    assert first.startswith(
        f"{name('guard_cb')} against {name('pass')}: 5.8 % longer median round trip"
    )
    assert "; against veth direct: 33 % longer median round trip (sockperf UDP: about 2" in first
    assert second == (
        f"Tightest towards the host is {name('guard_cb')}: host end a and an unbound socket "
        "can capture, no one can "
        f"inject; {name('pass')} is also open to raw packets and the host's ping."
    )


# --- payloads, switches, devices ------------------------------------------------------------------

SIZES = (64, 1400, 8000)


def sweep(effects: dict[int, float], **changes: Any) -> Invented:
    cells = tuple(
        cell(*wire, payload=size)
        for size in SIZES
        for wire in (("netkit",), ("veth", "tcx_ingress"))
    )

    def effect(one: Cell) -> float:
        return effects[one.payload or 0] if one.hook != "none" else 1.0

    return replace(Invented(cells, effect_of=effect, noise=0.004), **changes)


@pytest.mark.parametrize(
    ("effects", "turn"),
    [
        ({64: 1.3, 1400: 1.0, 8000: 1.0}, "sockperf UDP from 1\u202f400 B on."),
        (
            {64: 1.0, 1400: 1.0, 8000: 1.0},
            "sockperf UDP at all payloads tried (64 B to 8\u202f000 B).",
        ),
        ({64: 1.0, 1400: 1.0, 8000: 1.3}, "sockperf UDP not at 8\u202f000 B."),
    ],
)
def test_a_sweep_of_payloads_says_from_which_on_it_does_not_matter(
    effects: dict[int, float], turn: str
) -> None:
    text = said(sweep(effects))
    assert text.endswith(f"Where every wire equals veth direct: {turn}"), text


def test_a_payload_nobody_can_judge_is_no_equal_payload() -> None:
    assert "sockperf UDP we don't know, not even at 8\u202f000 B." in said(
        sweep(dict.fromkeys(SIZES, 1.0), noise=0.5)
    )


def test_the_payload_below_an_undecided_one_is_no_turn() -> None:
    from yogurtbench.report.sections.summary.sweeps import _turn

    story = story_of(sweep(dict.fromkeys(SIZES, 1.0)))
    rows = story.headlines.assign(
        verdict=story.headlines["payload"].map({64: "inconclusive"}).fillna("equivalent")
    )
    assert _turn(rows) == "from 1\u202f400 B on at the latest (at 64 B we don't know)"


def test_switches_are_distinguished_from_the_wire() -> None:
    """Each cell is held to veth under its own switches: named once, and how far they alone
    carry.
    """
    cells = tuple(cell(load="iperf3_tcp", payload=1400, gso=word) for word in ("on", "off"))

    def effect(one: Cell) -> float:
        return (1.0 if one.gso == "on" else 5.0) * (1.1 if one.hook != "none" else 1.0)

    run = Invented(
        cells,
        baselines=(lambda one: replace(baseline_of(one), gso=one.gso),),
        noise=0.003,
        effect_of=effect,
    )
    text = said(run)
    assert "No wire beats veth direct with the same gso" in text
    assert "by the switches alone" in text and "(gso off) to" in text and "(gso on)" in text


def test_the_best_over_the_other_device_is_named_beside_the_best() -> None:
    text = said(yogurt_phone())
    assert "over veth best veth · tcx_ingress → redirect_peer" in text


def test_nothing_is_added_where_there_is_one_device() -> None:
    assert "over" not in said(
        Invented((cell(), cell(helper="redirect_peer")), effect_of=_half_of_wires)
    )


def _half_of_wires(one: Cell) -> float:
    return 0.5 if one.hook != "none" else 1.0


# --- exact, and custom programs -------------------------------------------------------------


def test_on_the_instruction_clock_the_difference_is_reported_to_the_last_digit() -> None:
    """28 113 against 28 147: 34 a round trip, and a round trip of sockperf is two packets."""
    run = Invented(
        (cell(),),
        blocks=2,
        clock="instructions",
        accelerator="tcg",
        effect_of=lambda one: 28_147 / 28_113 if one.hook != "none" else 1.0,
    )
    text = said(run)
    assert "34 guest instructions a round trip more, 17 a packet" in text
    assert text.startswith(
        "In emulation (TCG): netkit l3 · netkit_peer → redirect against veth direct: 0.1 % longer"
    )


def test_fragments_are_not_called_packets() -> None:
    run = Invented((cell(payload=8000),), blocks=2, clock="instructions", effect_of=_half_of_wires)
    assert "a round trip less" in said(run) and "a packet" not in said(run)


def builtin(one: Cell) -> Cell:
    return replace(one, program="builtin")


def own(effect: float, noise: float = 0.003, **changes: Any) -> Invented:
    cells = tuple(cell(program="./filter_wire.c", load=load) for load in ("sockperf", "iperf3_udp"))
    return replace(
        Invented(
            cells,
            baselines=(builtin,),
            noise=noise,
            effect_of=lambda one: effect if one.program != "builtin" else 1.0,
        ),
        **changes,
    )


def test_a_program_of_ones_own_costs_this_against_the_built_in_one() -> None:
    text = said(own(1.1))
    name = "netkit l3 · netkit_peer → redirect"
    assert text.startswith(f"{name} · ./filter_wire.c costs")
    assert f"against {name}." in text
    assert "longer median round trip (sockperf UDP: about 9" in text and " ns a packet" in text


def test_what_a_program_costs_is_exact_on_the_instruction_clock() -> None:
    text = said(own(28_147 / 28_113, blocks=2, clock="instructions"))
    assert "sockperf UDP: 34 guest instructions a round trip more, 17 a packet" in text
    assert "iperf3 UDP: 6 guest instructions a packet more" in text
    assert "% more instructions per packet (" in text


def test_a_programs_cost_is_no_surer_than_its_verdict() -> None:
    assert "costs within the margin the same median round trip (sockperf UDP)" in said(own(1.0))
    noisy = own(1.0, noise=0.2, seed=3)
    story = story_of(noisy)
    (one,) = rank_wires(story)
    assert one.verdicts == {"inconclusive"}
    assert (
        summarise(story).startswith("We don't know yet what")
        and summarise(story).count("an undecided") == 2
    )
    assert "too few blocks" in said(own(1.5, blocks=2))


def test_that_nobody_knows_what_several_programs_cost_is_said_once() -> None:
    cells = tuple(cell(program=f"./{name}.c", load="sockperf") for name in ("one", "two"))
    text = said(own(1.0, noise=0.2, seed=3, cells=cells))
    assert text.count("We don't know yet what") == text.count("; nor what") == 1
    assert "./one.c costs: an undecided" in text and "./two.c costs: an undecided" in text


# --- the dead -------------------------------------------------------------------------------------


def test_a_dead_wire_counts_neither_for_nor_against_anybody() -> None:
    alive = yogurt_phone(effects={}, noise=0.6)
    decided = said(alive)
    without = replace(alive, cells=tuple(one for one in alive.cells if one.id not in alive.dead))
    counts = [text.partition("; ")[2].split(" comparisons")[0] for text in (decided, said(without))]
    assert counts[0] == counts[1] and "none of" in counts[0]
    assert "dead" not in {word for one in rank_wires(story_of(alive)) for word in one.verdicts}


def test_a_dead_wire_names_the_guard_in_its_way() -> None:
    run = Invented(wires("pass", "guard_mark", loads=("reachability", "sockperf")), blocks=2)
    gone = frozenset(one.id for one in run.cells if one.primary == "guard_mark")
    (one,) = dead_wires(story_of(replace(run, dead=gone)))
    assert (
        one.wire.name.endswith("(primary guard_mark)") and one.site == "netkit_xmit:NOT_SPECIFIED"
    )
    assert one.guard == "guarded by guard_mark: without its guard it carries packets"
    both = frozenset(one.id for one in run.cells)
    assert [one.guard for one in dead_wires(story_of(replace(run, dead=both)))] == [
        "",
        "guarded by guard_mark",
    ]


def test_packets_that_go_round_are_no_life() -> None:
    run = Invented(
        (cell(load="reachability"), cell(helper="redirect_ingress", load="reachability")), blocks=1
    )
    attempts = [
        Attempt.without_values(one.trial, "looping", "round and round")
        if one.trial.cell.helper == "redirect_ingress"
        else one
        for one in run.attempts()
    ]
    story = story_of(run, attempts)
    assert sorted(liveness(story).values()) == [False, True]
    assert summarise(story) == "1 of 2 wires carry packets: netkit l3 · netkit_peer → redirect."


def test_of_many_dead_wires_it_says_where_they_die_and_how_many_go_round() -> None:
    words = ("pass", "next", "redirect_in", "guard_cb", "guard_mark", "none")
    run = Invented(wires(*words, loads=("reachability",)), blocks=1)
    told = [
        Attempt.without_values(one.trial, "looping", "round and round")
        if one.trial.cell.primary == "none"
        else one
        for one in replace(
            run, dead=frozenset(one.id for one in run.cells if one.primary != "pass")
        ).attempts()
    ]
    assert summarise(story_of(run, told)) == (
        "1 of 6 wires carry packets: netkit l3 · netkit_peer → redirect (primary pass); of "
        "the others 4 die in "
        "netkit_xmit and 1 loops in the kernel."
    )


# --- the first answer -----------------------------------------------------------------------------

QUICK = tuple(
    cell(hook=hook, helper=helper, load=load)
    for load in ("reachability", "ping", "sockperf", "iperf3_tcp")
    for hook in ("netkit_peer", "tcx_ingress")
    for helper in ("redirect", "redirect_peer")
)
NAMES = "netkit l3 · {} → {}".format
MORE = {
    ("tcx_ingress", "redirect_peer"): 1.026,
    ("netkit_peer", "redirect"): 1.056,
    ("tcx_ingress", "redirect"): 1.094,
}


def quick(*dead: tuple[str, str], clock: str = "instructions", **changes: Any) -> Invented:
    """quickstart, as it comes out in emulation."""
    gone = frozenset(one.id for one in QUICK if (one.hook, one.helper) in dead)
    run = Invented(QUICK, blocks=1, clock=clock, accelerator="tcg", dead=gone, name="quickstart",
                   effect_of=lambda one: MORE.get((one.hook, one.helper), 1.0))  # fmt: skip
    return replace(run, **changes)


def test_the_quickstart_says_which_work_which_is_cheapest_and_by_how_much() -> None:
    text = said(quick(("netkit_peer", "redirect_peer")))
    assert text.startswith(
        "In emulation (TCG): 3 of 4 wires carry packets (all but "
        f"{NAMES('netkit_peer', 'redirect_peer')}); "
        f"no wire beats veth direct; {NAMES('tcx_ingress', 'redirect_peer')} is cheapest: 2.6 "
        "% longer median round "
        "trip (sockperf UDP: 731 guest instructions a round trip more, 366 a packet) and 2.5 "
        "% less throughput"
    ), text
    assert "don't know" not in text and "ping" not in text


@pytest.mark.parametrize(
    ("dead", "beginning"),
    [
        ((), "all 4 wires carry packets; "),
        (
            ("ab", "ba", "bb"),
            "1 of 4 wires carries packets; netkit l3 · netkit_peer → redirect against veth "
            "direct: ",
        ),
        (
            ("aa", "ab", "ba"),
            "1 of 4 wires carries packets; netkit l3 · tcx_ingress → redirect_peer against veth",
        ),
        (("aa", "ab", "ba", "bb"), "0 of 4 wires carry packets"),
    ],
)
def test_however_many_live_the_first_sentence_says_so(
    dead: tuple[str, ...], beginning: str
) -> None:
    hooks, helpers = (
        {"a": "netkit_peer", "b": "tcx_ingress"},
        {"a": "redirect", "b": "redirect_peer"},
    )
    text = said(quick(*((hooks[one[0]], helpers[one[1]]) for one in dead)))
    assert text.removeprefix("In emulation (TCG): ").startswith(beginning), text
    assert "don't know" not in text


def test_wires_that_cost_the_same_are_both_named() -> None:
    text = said(
        quick(
            ("netkit_peer", "redirect_peer"),
            effect_of=lambda one: 1.0 + 0.05 * (one.hook != "none"),
        )
    )
    assert (
        f"{NAMES('netkit_peer', 'redirect')} is cheapest ({NAMES('tcx_ingress', 'redirect')} "
        "and 1 more cost the" in text
    )


def test_what_noise_hides_between_two_wires_is_not_decided_by_the_estimate() -> None:
    one, other = cell(), cell(helper="redirect_peer")
    near = Invented((one, other), noise=0.004, effect_of=lambda at: {"none": 1.0}.get(at.hook, 0.8))
    assert "may equal it)" in said(near)
    far = replace(
        near,
        effect_of=lambda at: 1.0 if at.hook == "none" else 0.8 if at.helper == "redirect" else 0.9,
    )
    assert said(far).startswith(
        f"{NAMES('netkit_peer', 'redirect')} is best: 20 % shorter median round trip"
    )


def test_loads_that_disagree_have_a_cheapest_wire_each() -> None:
    def effect(one: Cell) -> float:
        if one.hook == "none":
            return 1.0
        return 1.02 if (one.helper == "redirect") == (one.load != "iperf3_tcp") else 1.1

    cells = tuple(
        cell(helper=h, load=load)
        for load in ("sockperf", "iperf3_tcp")
        for h in ("redirect", "redirect_peer")
    )
    text = said(
        Invented(cells, blocks=1, clock="instructions", accelerator="tcg", effect_of=effect)
    )
    first, second = (NAMES("netkit_peer", helper) for helper in ("redirect", "redirect_peer"))
    assert f"For round trips {first} is cheapest: 2.0 % longer median" in text, text
    assert (
        f"; for bulk transfers {second} is cheapest: 2.0 % less throughput (iperf3 TCP), "
        "against veth direct." in text
    )


def test_a_bulk_load_alone_is_an_answer() -> None:
    cells = tuple(
        cell(helper=helper, load="iperf3_tcp") for helper in ("redirect", "redirect_peer")
    )
    run = Invented(
        cells,
        blocks=1,
        clock="instructions",
        accelerator="tcg",
        effect_of=lambda one: {"none": 1.0, "redirect": 1.1}.get(one.helper, 1.2),
    )
    assert (
        f"{NAMES('netkit_peer', 'redirect')} is cheapest: 9.1 % less throughput (iperf3 TCP)."
        in said(run)
    )


def test_wires_that_are_held_to_nothing_are_reported_by_what_they_measured() -> None:
    """Without a baseline there is no verdict; that is not nothing."""
    cells = tuple(cell(helper=helper) for helper in ("redirect", "redirect_peer"))
    run = Invented(cells, blocks=1, clock="instructions", accelerator="tcg", baselines=(),
                   effect_of=lambda one: 1.0 if one.helper == "redirect" else 1.1)  # fmt: skip
    run = replace(run, baselines=(lambda one: one,))
    cells = (replace(one, baselines=(), group="") for one in run.plan().cells if one.role == "cell")
    plan = replace(run.plan(), cells=tuple(cells))
    attempts = [one for one in run.attempts() if one.trial.role == "cell"]
    story = RunData.tell(
        "run", "matrix", plan, environment(run), attempts, to_frame(attempts, "run")
    )
    assert "redirect is cheapest with 28\u202f113 guest instructions, then netkit l3" in summarise(
        story
    )


# --- what would decide it -------------------------------------------------------------------------

ASKED = """\
name: asked
axes: {hook: [netkit_peer, tcx_ingress]}
baseline: {device: veth, topology: direct, hook: none, helper: none}
loads: [sockperf]
blocks: {min: 6, max: 6}
"""


def undecided(folder: Path, text: str = ASKED, **changes: Any) -> RunData:
    """A story of a matrix that is there, in which noise drowned everything."""
    plan = planned(folder, text, only=changes.pop("only", None), blocks=changes.pop("blocks", None))
    cells = tuple(one.cell for one in plan.cells if one.role == "cell")
    bases = {one.group: one.cell for one in plan.cells if one.role == "baseline"}
    run = Invented(
        cells,
        noise=0.03,
        baselines=(lambda one: next(iter(bases.values())),),
        blocks=plan.blocks.min,
        **changes,
    )
    attempts = list(run.attempts())
    return RunData.tell("run", text, plan, environment(run), attempts, to_frame(attempts, "run"))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"accelerator": "tcg"}, ["--clock", "instructions"]),
        ({"accelerator": "kvm"}, ["--lab", "vm", "--clock", "wall", "--blocks"]),
        (
            {"accelerator": "none", "lab": "native"},
            ["--lab", "native", "--clock", "wall", "--blocks"],
        ),
        ({"accelerator": "kvm", "blocks": 1}, ["--blocks", "10"]),
        (
            {"accelerator": "tcg", "only": "hook=tcx_ingress"},
            ["--only", "hook=tcx_ingress", "--clock", "instructions"],
        ),
        (
            {"accelerator": "tcg", "text": ASKED.replace("axes: {", "axes: {cpus: split, ")},
            ["--clock", "wall"],
        ),
    ],
    ids=str,
)
def test_where_nobody_can_tell_a_command_would_and_it_can_be_planned(
    tmp_path: Path, changes: dict[str, Any], words: list[str], capfd: pytest.CaptureFixture[str]
) -> None:
    story = undecided(tmp_path, **changes)
    text = summarise(story)
    advised = advice.give_advice(story)
    assert advised and text.endswith(f": {advised.command}") and "would decide" in text, text
    found = shlex.split(advised.command)
    assert found[1:3] == ["run", str(tmp_path / "m.yaml")]
    at = [found.index(word) for word in words]
    assert at == list(range(at[0], at[0] + len(words)))
    assert command.run(["plan", *found[2:], "--json"]) == 0
    (seconds,) = json.loads(capfd.readouterr().out)["seconds"].values()
    assert seconds[0] == pytest.approx(advised.seconds, rel=0.05)
    assert f"in about {format_duration(advised.seconds)}: " in text


def test_so_many_blocks_are_advised_as_the_noise_asks_for(tmp_path: Path) -> None:
    """Noisier runs are told to take more, and never as few as they took."""
    asked = []
    for noise in (0.025, 0.04):
        plan = planned(tmp_path, ASKED, blocks=12)
        cells = tuple(one.cell for one in plan.cells if one.role == "cell")
        base = next(one.cell for one in plan.cells if one.role == "baseline")
        run = Invented(
            cells, noise=noise, baselines=(lambda one, base=base: base,), blocks=12, seed=4
        )
        attempts = list(run.attempts())
        story = RunData.tell("r", "", plan, environment(run), attempts, to_frame(attempts, "r"))
        advised = advice.give_advice(story)
        assert advised, noise
        asked.append(int(advised.command.rpartition("--blocks ")[2].split()[0]))
    assert 12 < asked[0] < asked[1]


def test_what_is_decided_needs_no_advice(tmp_path: Path) -> None:
    assert advice.give_advice(story_of(quick())) is None and "would decide" not in said(quick())
    assert "would decide" not in said(yogurt_phone())


def test_the_best_for_round_trips_need_not_be_the_best_for_bulk() -> None:
    def effect(one: Cell) -> float:
        if one.hook == "none":
            return 1.0
        return 0.9 if one.helper == "redirect" else 0.5 if one.load == "sockperf" else 1.2

    cells = tuple(
        cell(helper=h, load=load)
        for load in ("sockperf", "iperf3_tcp")
        for h in ("redirect", "redirect_peer")
    )
    text = said(Invented(cells, noise=0.004, effect_of=effect))
    first, second = (NAMES("netkit_peer", helper) for helper in ("redirect_peer", "redirect"))
    assert f"For round trips {first} is best: 50 % shorter" in text, text
    assert f"for bulk transfers {second} is best: 11 % more throughput" in text


def test_one_wire_that_wins_here_and_loses_there_beats_nothing_in_every_load() -> None:
    cells = tuple(
        cell(helper=h, load=load)
        for load in ("sockperf", "iperf3_tcp")
        for h in ("redirect", "redirect_peer")
    )

    def effect(one: Cell) -> float:
        if one.hook == "none":
            return 1.0
        return (0.8 if one.load == "sockperf" else 1.2) * (1.0 if one.helper == "redirect" else 1.3)

    text = said(Invented(cells, noise=0.004, effect_of=effect))
    assert text.startswith(
        "No wire beats veth direct in every load; netkit l3 · netkit_peer → redirect comes "
        "nearest: "
    )
    assert "20 % shorter" in text and "17 % less throughput" in text
