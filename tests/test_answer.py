"""The answer of a report: made from what was measured, never from its question, never surer than the verdicts."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

import pytest
from invented import Invented, baseline_of, cell, environment, yogurt_phone

from yogurtbench import store
from yogurtbench.records import Attempt, Cell, Observation
from yogurtbench.report import tables
from yogurtbench.report.answer import answer
from yogurtbench.report.exposure import exposures, liveness
from yogurtbench.report.standings import standings
from yogurtbench.report.story import Story
from yogurtbench.report.terminal import effects


def story_of(run: Invented, attempts: list[Attempt] | None = None) -> Story:
    told = attempts if attempts is not None else list(run.attempts())
    return Story.tell("run", "matrix", run.plan(), environment(run), told, store.to_frame(told, "run"))


def said(run: Invented) -> str:
    return answer(story_of(run))


def test_the_question_has_no_part_in_the_answer() -> None:
    run = yogurt_phone()
    asked = replace(run, name="other", question="From which packet size on does a port filter listen in?")
    assert said(asked) == said(run)


@pytest.mark.parametrize("run", [yogurt_phone(), yogurt_phone(clock="instructions", blocks=2), yogurt_phone(blocks=1)])
def test_it_is_two_sentences_at_most_and_a_command_where_nobody_can_tell(run: Invented) -> None:
    text, _, command = said(run).partition(" So many blocks ")
    assert 1 <= text.count(". ") + 1 <= 2
    assert bool(command) == ("don't know" in text)


def test_no_wire_is_said_to_lose_that_nobody_could_judge() -> None:
    """One equal wire and one that wavers: whether that one beats the baseline is not known."""
    steady, wavering = cell(), cell(helper="redirect_peer")
    run = Invented((steady, wavering), noise=0.003)
    attempts = list(run.attempts())
    blocks = {one.trial.block: 0.6 if one.trial.block % 2 else 1.6 for one in attempts}
    shaken = [
        replace(one, observations=tuple(_times(row, blocks[one.trial.block]) for row in one.observations))
        if one.trial.cell.helper == "redirect_peer"
        else one
        for one in attempts
    ]
    assert answer(story_of(run, shaken)).startswith("No wire is known to beat veth direct; netkit l3 · netkit_peer → ")
    assert answer(story_of(run)).startswith("No wire beats veth direct; ")


def _times(row: Observation, factor: float) -> Observation:
    return replace(row, value=(row.value or 0.0) * factor)


def medians_shaken(run: Invented) -> list[Attempt]:
    """Attempts whose medians a neighbour doubles now and then; the fastest round trips stay as they were."""
    noise = random.Random(5)
    return [
        replace(one, observations=tuple(_times(row, factor if row.metric == "rtt_p50" else 1.0)
                                        for row in one.observations))
        for one in run.attempts()
        for factor in [noise.choice((1.0, 2.0))]
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("effect", "known"), [(1.1, "but the fastest round trip +10"), (1.0, "but the fastest round trip the same within")]
)
def test_what_the_fastest_round_trip_knows_is_told_where_the_median_is_drowned(effect: float, known: str) -> None:
    run = own(effect, noise=0.002, cells=(cell(program="./wire.c"),))
    story = story_of(run, medians_shaken(run))
    text = answer(story)
    assert text.startswith("We don't know yet what") and known in text
    shown = "\n".join(line.plain for line in effects(story.comparison, 100))
    assert "fastest round trip, sockperf UDP" in shown


def test_the_fastest_round_trip_is_not_told_where_the_median_says_it() -> None:
    run = own(1.1, noise=0.002, cells=(cell(program="./wire.c"),))
    assert "fastest" not in said(run)
    assert "fastest" not in "".join(line.plain for line in effects(story_of(run).comparison, 100))


# --- isolation -----------------------------------------------------------------------------------------------------

EARS = frozenset({"eavesdrop_host_a", "eavesdrop_any"})
MOUTHS = frozenset({"inject_raw", "host_ping"})


def wires(*primaries: str, loads: tuple[str, ...] = ("reachability", "isolation")) -> tuple[Cell, ...]:
    return tuple(cell(primary=word, load=load) for load in loads for word in primaries)


def opened(run: Invented, **by_primary: frozenset[str]) -> Invented:
    found = {one.wire_id: by_primary[str(one.primary)] for one in run.cells if one.primary in by_primary}
    return replace(run, opened=found)


def test_isolation_counts_the_shut_wires_and_names_the_tightest() -> None:
    run = opened(Invented(wires("pass", "next", "guard_cb"), blocks=2),
                 **{"pass": EARS | MOUTHS, "next": MOUTHS, "guard_cb": EARS})  # fmt: skip
    assert said(run) == (
        "3 of 3 wires carry packets. Of 3 live wires 1 is closed to whoever on the host would talk in, 1 to whoever "
        "would listen in; tightest towards the host is netkit l3 · netkit_peer → redirect (primary next): nobody can "
        "listen in, raw packets and the host's ping get in."
    )


def test_a_wire_that_nobody_can_use_is_not_the_tightest() -> None:
    run = opened(Invented(wires("pass", "guard_mark"), blocks=2), **{"pass": EARS, "guard_mark": frozenset()})
    gone = frozenset(one.id for one in run.cells if one.primary == "guard_mark")
    text = said(replace(run, dead=gone))
    assert text.startswith("1 of 2 wires carry packets. netkit l3 · netkit_peer → redirect (primary pass): host end a")
    assert "guard_mark" not in text


def test_an_isolation_trial_of_a_dead_wire_counts_for_nobody() -> None:
    """Without a reachability trial its own word decides: on a wire that carries nothing nobody is heard."""
    run = opened(Invented(wires("pass", "next", loads=("isolation",)), blocks=2), next=frozenset())
    attempts = [
        replace(one, details={"isolation": {"carried": one.trial.cell.primary == "pass"}}) for one in run.attempts()
    ]
    story = story_of(run, attempts)
    assert [one.wire.name for one in exposures(story)] == ["netkit l3 · netkit_peer → redirect (primary pass)"]
    assert [len(tables.isolation(story).rows), tables.left_out(story)] == [1, 1]


def test_what_could_not_be_told_is_not_called_shut() -> None:
    run = opened(Invented(wires("pass", "next", "guard_cb"), blocks=2),
                 **{"pass": EARS | MOUTHS, "next": EARS, "guard_cb": frozenset()})  # fmt: skip
    attempts = [
        Attempt.without_values(one.trial, "failed", "no control")
        if (one.trial.cell.primary, one.trial.cell.load) == ("guard_cb", "isolation")
        else one
        for one in run.attempts()
    ]
    text = answer(story_of(run, attempts))
    assert "guard_cb" not in text and "2 live wires" not in text.replace("Of 2 live", "")
    partly = [replace(one, observations=tuple(_failing(one))) for one in run.attempts()]
    text = answer(story_of(run, partly))
    assert "1 is closed to whoever on the host would talk in, none to whoever would listen in (1 not fully" in text
    assert "(primary next)" in text and "guard_cb" not in text


def _failing(attempt: Attempt) -> list[Any]:
    """One ear and one mouth of the guarded wire without an answer."""
    unsure = ("eavesdrop_any", "host_ping") if attempt.trial.cell.primary == "guard_cb" else ()
    return [replace(row, status="failed", value=None) if row.metric in unsure else row for row in attempt.observations]


def unguarded(one: Cell) -> Cell:
    return replace(one, primary="pass")


def test_a_guard_is_told_by_what_it_keeps_out_and_what_it_costs() -> None:
    """The yogurt-phone: two baselines, latency and isolation."""
    guard = cell(primary="guard_cb")
    both = (unguarded(guard), guard)
    cells = (guard, *(replace(one, load=load, payload=None) for load in ("isolation",) for one in both))
    run = Invented(cells, baselines=(unguarded, baseline_of), noise=0.003,
                   effect_of=lambda one: {"guard_cb": 1.06, "pass": 1.0}.get(str(one.primary), 0.8))  # fmt: skip
    text = said(opened(run, **{"pass": EARS | MOUTHS, "guard_cb": EARS}))
    first, second = text.split(". ", 1)
    name = "netkit l3 · netkit_peer → redirect (primary {})".format
    assert first.startswith(f"{name('guard_cb')} against {name('pass')}: 5.8 % longer median round trip")
    assert "; against veth direct: 33 % longer median round trip (sockperf UDP: about 2" in first
    assert second == (
        f"Tightest towards the host is {name('guard_cb')}: host end a and an unbound socket can listen in, nobody can "
        f"talk in; {name('pass')} is also open to raw packets and the host's ping."
    )


# --- payloads, switches, devices -----------------------------------------------------------------------------------

SIZES = (64, 1400, 8000)


def sweep(effects: dict[int, float], **changes: Any) -> Invented:
    cells = tuple(cell(*wire, payload=size) for size in SIZES for wire in (("netkit",), ("veth", "tcx_ingress")))

    def effect(one: Cell) -> float:
        return effects[one.payload or 0] if one.hook != "none" else 1.0

    return replace(Invented(cells, effect_of=effect, noise=0.004), **changes)


@pytest.mark.parametrize(
    ("effects", "turn"),
    [
        ({64: 1.3, 1400: 1.0, 8000: 1.0}, "sockperf UDP from 1\u202f400 B on."),
        ({64: 1.0, 1400: 1.0, 8000: 1.0}, "sockperf UDP at all payloads tried (64 B to 8\u202f000 B)."),
        ({64: 1.0, 1400: 1.0, 8000: 1.3}, "sockperf UDP not at 8\u202f000 B."),
    ],
)
def test_a_sweep_of_payloads_says_from_which_on_it_does_not_matter(effects: dict[int, float], turn: str) -> None:
    text = said(sweep(effects))
    assert text.endswith(f"Where every wire equals veth direct: {turn}"), text


def test_a_payload_nobody_can_judge_is_no_equal_payload() -> None:
    assert "sockperf UDP we don't know, not even at 8\u202f000 B." in said(sweep(dict.fromkeys(SIZES, 1.0), noise=0.5))


def test_the_payload_below_an_undecided_one_is_no_turn() -> None:
    from yogurtbench.report.answer import _turn

    story = story_of(sweep(dict.fromkeys(SIZES, 1.0)))
    rows = story.headlines.assign(verdict=story.headlines["payload"].map({64: "inconclusive"}).fillna("equivalent"))
    assert _turn(rows) == "from 1\u202f400 B on at the latest (at 64 B we don't know)"


def test_switches_are_told_apart_from_the_wire() -> None:
    """Each cell is held to veth under its own switches: named once, and how far they alone carry."""
    cells = tuple(cell(load="iperf3_tcp", payload=1400, gso=word) for word in ("on", "off"))

    def effect(one: Cell) -> float:
        return (1.0 if one.gso == "on" else 5.0) * (1.1 if one.hook != "none" else 1.0)

    run = Invented(
        cells, baselines=(lambda one: replace(baseline_of(one), gso=one.gso),), noise=0.003, effect_of=effect
    )
    text = said(run)
    assert "No wire beats veth direct with the same gso" in text
    assert "by the switches alone" in text and "(gso off) to" in text and "(gso on)" in text


def test_the_best_over_the_other_device_is_named_beside_the_best() -> None:
    text = said(yogurt_phone())
    assert "over veth best veth · tcx_ingress → redirect_peer" in text


def test_nothing_is_added_where_there_is_one_device() -> None:
    assert "over" not in said(Invented((cell(), cell(helper="redirect_peer")), effect_of=_half_of_wires))


def _half_of_wires(one: Cell) -> float:
    return 0.5 if one.hook != "none" else 1.0


# --- exact, and programs of one's own ------------------------------------------------------------------------------


def test_on_the_instruction_clock_the_difference_is_told_to_the_last_digit() -> None:
    """28 113 against 28 147: 34 a round trip, and a round trip of sockperf is two packets."""
    run = Invented((cell(),), blocks=2, clock="instructions", accelerator="tcg",
                   effect_of=lambda one: 28_147 / 28_113 if one.hook != "none" else 1.0)  # fmt: skip
    text = said(run)
    assert "34 guest instructions a round trip more, 17 a packet" in text
    assert text.startswith("In emulation (TCG): netkit l3 · netkit_peer → redirect against veth direct: 0.1 % longer")


def test_fragments_are_not_called_packets() -> None:
    run = Invented((cell(payload=8000),), blocks=2, clock="instructions", effect_of=_half_of_wires)
    assert "a round trip less" in said(run) and "a packet" not in said(run)


def builtin(one: Cell) -> Cell:
    return replace(one, program="builtin")


def own(effect: float, noise: float = 0.003, **changes: Any) -> Invented:
    cells = tuple(cell(program="./filter_wire.c", load=load) for load in ("sockperf", "iperf3_udp"))
    return replace(Invented(cells, baselines=(builtin,), noise=noise,
                            effect_of=lambda one: effect if one.program != "builtin" else 1.0), **changes)  # fmt: skip


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
    (one,) = standings(story)
    assert one.verdicts == {"inconclusive"}
    assert answer(story).startswith("We don't know yet what") and answer(story).count("an undecided") == 2
    assert "too few blocks" in said(own(1.5, blocks=2))


def test_that_nobody_knows_what_several_programs_cost_is_said_once() -> None:
    cells = tuple(cell(program=f"./{name}.c", load="sockperf") for name in ("one", "two"))
    text = said(own(1.0, noise=0.2, seed=3, cells=cells))
    assert text.count("We don't know yet what") == text.count("; nor what") == 1
    assert "./one.c costs: an undecided" in text and "./two.c costs: an undecided" in text


# --- the dead ------------------------------------------------------------------------------------------------------


def test_a_dead_wire_counts_neither_for_nor_against_anybody() -> None:
    alive = yogurt_phone(effects={}, noise=0.6)
    decided = said(alive)
    without = replace(alive, cells=tuple(one for one in alive.cells if one.id not in alive.dead))
    counts = [text.partition("; ")[2].split(" comparisons")[0] for text in (decided, said(without))]
    assert counts[0] == counts[1] and "none of" in counts[0]
    assert "dead" not in {word for one in standings(story_of(alive)) for word in one.verdicts}


def test_a_dead_wire_names_the_guard_in_its_way() -> None:
    run = Invented(wires("pass", "guard_mark", loads=("reachability", "sockperf")), blocks=2)
    gone = frozenset(one.id for one in run.cells if one.primary == "guard_mark")
    (one,) = tables.dead(story_of(replace(run, dead=gone)))
    assert one["wire"].name.endswith("(primary guard_mark)") and one["site"] == "netkit_xmit:NOT_SPECIFIED"
    assert one["guard"] == "guarded by guard_mark: without its guard it carries packets"
    both = frozenset(one.id for one in run.cells)
    assert [one["guard"] for one in tables.dead(story_of(replace(run, dead=both)))] == ["", "guarded by guard_mark"]


def test_packets_that_go_round_are_no_life() -> None:
    run = Invented((cell(load="reachability"), cell(helper="redirect_ingress", load="reachability")), blocks=1)
    attempts = [
        Attempt.without_values(one.trial, "looping", "round and round")
        if one.trial.cell.helper == "redirect_ingress"
        else one
        for one in run.attempts()
    ]
    story = story_of(run, attempts)
    assert sorted(liveness(story).values()) == [False, True]
    assert answer(story) == "1 of 2 wires carry packets: netkit l3 · netkit_peer → redirect."


def test_of_many_dead_wires_it_says_where_they_die_and_how_many_go_round() -> None:
    words = ("pass", "next", "redirect_in", "guard_cb", "guard_mark", "none")
    run = Invented(wires(*words, loads=("reachability",)), blocks=1)
    told = [
        Attempt.without_values(one.trial, "looping", "round and round") if one.trial.cell.primary == "none" else one
        for one in replace(run, dead=frozenset(one.id for one in run.cells if one.primary != "pass")).attempts()
    ]
    assert answer(story_of(run, told)) == (
        "1 of 6 wires carry packets: netkit l3 · netkit_peer → redirect (primary pass); of the others 4 die in "
        "netkit_xmit and 1 goes round in the kernel."
    )
