"""A recording becomes a profile: every instruction in its function, under its callers."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from recordings import Machine, profile, recording, stored, symbols

from yogurtbench.profile import formats
from yogurtbench.profile.profile import Profile, as_json, differences
from yogurtbench.profile.recording import End, Recording
from yogurtbench.profile.round_trips import NoRoundTrips, find_request, find_round_trips
from yogurtbench.profile.stacks import CUT, follow_calls
from yogurtbench.profile.symbols import Function, Symbols

KERNEL = 0xFFFFFFFF81000000
STACK, OTHER_STACK = 0xFFFFC90000004000, 0xFFFFC90000008000
NAMES = Symbols(
    [
        (KERNEL, "entry_SYSCALL_64"),
        (KERNEL + 0x100, "do_syscall_64"),
        (KERNEL + 0x200, "schedule"),
        (KERNEL + 0x300, "work.constprop.0"),
        (KERNEL + 0x400, "more_work"),
        (KERNEL + 0x500, "asm_sysvec_apic_timer_interrupt"),
        (KERNEL + 0x600, "kfree_skb_reason"),
    ],
    "sockperf",
    {},
)
USER = 0x555555550000
#: Two programs of the same code have the same tag.
TAGS = {"65be2736b0f2ca8f": ["redirect_return", "redirect_forward"]}


@pytest.mark.parametrize("name", ["redirect", "redirect_peer"])
def test_a_round_trips_instructions_are_what_the_load_measured(name: str) -> None:
    """Sockperf drops what is below a nanosecond: of the instructions the last may be missing."""
    found = profile(name)
    assert 0 <= found.instructions - stored(name)["median"] <= 1
    assert sum(one.self for one in found.functions) == found.instructions
    assert found.cut == 0


def test_every_instruction_between_the_marks_is_accounted_for() -> None:
    seen = recording("redirect")
    trips = find_round_trips(seen)
    assert trips.total == int(seen.lengths.sum())
    assert trips.between + sum(trip.instructions for trip in trips.all) == trips.total
    assert len(trips.all) == 14 and trips.equal == 8
    assert trips.ticks == pytest.approx(
        sum(trip.instructions for trip in trips.all) / 14 - trips.typical.instructions
    )


def test_what_redirect_peer_skips_is_named() -> None:
    found = {one.name: one for one in differences(profile("redirect"), profile("redirect_peer"))}
    assert (found["netkit_xmit"].self, found["dev_hard_start_xmit"].self) == (294, 130)
    assert found["bpf_prog_redirect_forward"].self == 53
    assert found["bpf_prog_redirect_peer_forward"].self == -53
    assert "udp_sendmsg" not in {one.name for one in found.values() if one.self}
    assert sum(one.self for one in found.values()) == 27992 - 27164


def test_two_equal_cells_differ_in_nothing() -> None:
    assert differences(profile("redirect"), profile("redirect")) == []
    assert as_json(profile("redirect"), profile("redirect"))["differences"] == []


def test_the_contracts_json() -> None:
    document = json.loads(json.dumps(as_json(profile("redirect"), None)))
    assert document.keys() == {
        *("cell", "kernel", "round_trips", "instructions_per_round_trip", "ticks", "cut"),
        *("functions", "against", "differences"),
    }
    assert document["against"] is None and document["differences"] == []
    assert {one["kind"] for one in document["functions"]} == {"kernel", "bpf", "user"}
    assert document["functions"][0].keys() == {"name", "kind", "self", "inclusive"}
    both = as_json(profile("redirect"), profile("redirect_peer"))
    assert both["against"].keys() == document.keys() - {"against", "differences"}
    assert both["differences"][0].keys() == {"name", "self", "inclusive"}


def test_callers_contain_what_they_call() -> None:
    inclusive = {one.function.name: one.inclusive for one in profile("redirect").functions}
    assert inclusive["__sys_sendto"] > inclusive["udp_sendmsg"] > inclusive["netkit_xmit"] > 0
    tasks = {task for task, _ in profile("redirect").tree.instructions}
    assert tasks == {"client", "server"}


def trip(machine: Machine, work: int = 1) -> Machine:
    """A round trip whose request another task answers: the client sleeps, the server works."""
    machine.clock(USER).syscall(USER + 0x10)
    machine.call(KERNEL, STACK + 0xF00).call(KERNEL + 0x100, STACK + 0xE00)
    machine.ret(KERNEL + 0x200, OTHER_STACK + 0xE00)  # schedule returns on the server's stack
    machine.call(KERNEL + 0x105, OTHER_STACK + 0xE00)
    for _ in range(work):
        machine.run(KERNEL + 0x300)
    machine.ret(KERNEL + 0x300, OTHER_STACK + 0xE00)
    machine.call(KERNEL + 0x10A, OTHER_STACK + 0xE00)
    machine.ret(KERNEL + 0x200, STACK + 0xE00)  # and back
    machine.ret(KERNEL + 0x105, STACK + 0xF00).sysret(KERNEL + 0x5)
    return machine.clock(USER + 0x20).run(USER + 0x30)


def test_tasks_are_told_apart_by_their_stacks() -> None:
    machine = Machine()
    for _ in range(6):
        trip(machine)
    seen = machine.recorded()
    trips = find_round_trips(seen)
    assert trips.equal == 3  # of those after the first three
    tree = follow_calls(seen, trips, NAMES)
    by_task: dict[str, int] = {}
    for (task, path), count in tree.instructions.items():
        by_task[task] = by_task.get(task, 0) + count
        assert (Function("work", "kernel") in path) <= (task != "client")
    assert by_task["client"] + by_task["another task"] == trips.typical.instructions


@given(st.integers(1, 50))
def test_more_work_is_exactly_so_much_more(work: int) -> None:
    one, other = Machine(), Machine()
    for _ in range(6):
        trip(one)
        trip(other, work)
    few, many = (find_round_trips(machine.recorded()).typical for machine in (one, other))
    assert many.instructions - few.instructions == work - 1


def test_an_interrupt_is_a_call_that_nobody_made() -> None:
    machine = Machine()
    for _ in range(6):
        machine.clock(USER).syscall(USER + 0x10).run(KERNEL).run(KERNEL + 0x500)
        machine.run(KERNEL + 0x505, "2", "48cf").run(KERNEL + 0x3).sysret(KERNEL + 0x6)
        machine.clock(USER + 0x20).run(USER + 0x30)
    seen = machine.recorded()
    paths = follow_calls(seen, find_round_trips(seen), NAMES).instructions
    names = [tuple(one.name for one in path) for _, path in paths]
    assert ("sockperf", "entry_SYSCALL_64", "asm_sysvec_apic_timer_interrupt") in names
    assert all(CUT not in path for _, path in paths)


def test_the_last_instruction_of_a_page_that_was_not_read_whole_is_not_counted_twice() -> None:
    machine = Machine().run(KERNEL + 0xFF8, "51", "e8").run(KERNEL + 0xFFD, "5", "e800000000")
    first, second = machine.recorded().blocks
    assert (first.instructions, first.end) == (1, End.GOES_ON)
    assert (second.instructions, second.end) == (1, End.CALL)


def test_over_a_dead_wire_the_request_is_followed_to_its_drop() -> None:
    machine = Machine().run(USER).syscall(USER + 0x10).run(KERNEL).sysret(KERNEL + 3)
    machine.run(USER + 0x12).syscall(USER + 0x18).call(KERNEL, STACK + 0xF00)
    machine.call(KERNEL + 0x300, STACK + 0xE00).ret(KERNEL + 0x600, STACK + 0xE00)
    machine.ret(KERNEL + 0x305, STACK + 0xF00).sysret(KERNEL + 0x5).run(USER + 0x1A)
    seen = machine.recorded()
    request = find_request(seen)
    assert (request.all, request.typical.instructions) == ((), 5)
    dead = replace(
        profile("redirect"), trips=request, tree=follow_calls(seen, request, NAMES), median=None
    )
    assert dead.drop_sites == ["work"] and dead.cut == 0


@pytest.mark.parametrize("find", [find_round_trips, find_request])
def test_nothing_sent_is_said(find: object) -> None:
    with pytest.raises(NoRoundTrips):
        find(Machine().run(KERNEL).recorded())  # type: ignore[operator]


def test_a_step_that_names_no_block_is_an_error() -> None:
    blocks, steps = Machine().run(KERNEL).files
    with pytest.raises(ValueError, match="not known"):
        Recording.parse(blocks, steps + (5).to_bytes(8, "little"))


def test_a_torn_last_line_is_no_block() -> None:
    blocks, steps = Machine().run(KERNEL).files
    assert len(Recording.parse(blocks + b"1 ffff", steps).blocks) == 1


@pytest.mark.parametrize(
    ("symbol", "name", "kind"),
    [
        ("netkit_xmit", "netkit_xmit", "kernel"),
        ("__netif_receive_skb_core.constprop.0", "__netif_receive_skb_core", "kernel"),
        ("do_softirq.part.0.isra.3", "do_softirq", "kernel"),
        ("panic.cold", "panic", "kernel"),
        ("bpf_prog_run_generic_xdp", "bpf_prog_run_generic_xdp", "kernel"),
        ("bpf_prog_65be2736b0f2ca8f_redirect_forwar\t[bpf]", "bpf_prog_redirect_forward", "bpf"),
        ("bpf_prog_65be2736b0f2ca8f_another", "bpf_prog_another", "bpf"),
        ("bpf_prog_65be2736b0f2ca8f_redirect_return", "bpf_prog_redirect_return", "bpf"),
        ("bpf_prog_0000000000000000_mine", "bpf_prog_mine", "bpf"),
        ("bpf_prog_0000000000000000", "bpf_prog_0000000000000000", "bpf"),
        ("tcp_sendmsg\t[mod]", "tcp_sendmsg", "kernel"),
    ],
)
def test_names(symbol: str, name: str, kind: str) -> None:
    known = Symbols.parse(f"{KERNEL:x} {symbol}", "sockperf", TAGS)
    assert known.at(KERNEL + 5) == Function(name, kind)  # type: ignore[arg-type]


def test_code_of_users_is_named_by_program() -> None:
    known = Symbols([], "sockperf", {})
    assert known.at(0x555555554000).name == "sockperf"
    assert known.at(0x7FFFF7C00000).name == "sockperf's libraries"
    assert known.at(KERNEL).name == "[unknown]"


@pytest.fixture(scope="module")
def made() -> Profile:
    return profile("redirect")


class TestFormats:
    def test_folded_stacks_sum_up(self, made: Profile) -> None:
        lines = formats.folded(made).splitlines()
        assert sum(int(line.rpartition(" ")[2]) for line in lines) == made.instructions
        assert all(line.startswith(("client;", "server;")) for line in lines)

    def test_callgrind_sums_up_and_calls_what_it_names(self, made: Profile) -> None:
        text = formats.callgrind(made)
        assert f"summary: {made.instructions}\n" in text
        own, arcs, callee = 0, {}, ""
        for before, line in zip(text.splitlines(), text.splitlines()[1:], strict=False):
            if before.startswith("fn="):
                own += int(line.split()[1])
            if line.startswith("cfn="):
                callee = line
            if before.startswith("calls="):
                arcs[callee] = int(line.split()[1])
        assert own == made.instructions
        assert "cfn=netkit_xmit\ncalls=4 0\n" in text and "calls=0 0" not in text

    def test_speedscope_has_a_profile_a_task(self, made: Profile) -> None:
        document = json.loads(formats.speedscope(made))
        assert {one["name"] for one in document["profiles"]} == {"client", "server"}
        for one in document["profiles"]:
            assert sum(one["weights"]) == one["endValue"]
            assert len(one["samples"]) == len(one["weights"])
        assert sum(one["endValue"] for one in document["profiles"]) == made.instructions


def test_symbols_of_the_recording_are_the_kernels() -> None:
    assert symbols("redirect").at(0xFFFFFFFF81AC5FE0).name == "ip_send_skb"
