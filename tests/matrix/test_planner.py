import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from matrices import cells_of, planned, written
from mutations import mutated

from yogurtbench.core import paths
from yogurtbench.core.errors import MatrixError
from yogurtbench.matrix import planner as module
from yogurtbench.matrix.axes import HOOK_WORDS
from yogurtbench.matrix.planner import json_schema, load, make_plan

ROOT = Path(__file__).parents[2]

#: After "name: t\n": what is wrong, line:column, the beginning of the sentence.
WHOLE = "this load's tool takes whole"
BAD: list[tuple[str, str, str]] = [
    # keys
    ("axess: {}", "2:1", "there is no key 'axess': did you mean axes?"),
    ("load: [ping]", "2:1", "there is no key 'load': did you mean loads?"),
    ("axes:\n  hok: x", "3:3", "there is no axis 'hok': did you mean hook?"),
    ("axes: {load: ping}", "2:8", "the loads stand in a list of their own"),
    (
        "axes:\n  hook: tcx_ingress\n  hook: tcx_egress",
        "4:3",
        "hook is given twice: the first is in line 3",
    ),
    ("include:\n  - {hok: x}", "3:6", "there is no axis 'hok': did you mean hook?"),
    ("exclude:\n  - {hok: x}", "3:6", "there is no axis 'hok': did you mean hook?"),
    ("baseline: {dvice: veth}", "2:12", "there is no axis 'dvice': did you mean device?"),
    (
        "baseline: [{device: veth}, {dvice: veth}]",
        "2:29",
        "there is no axis 'dvice': did you mean device?",
    ),
    ("blocks: {mni: 5}", "2:10", "there is no key 'mni': did you mean min?"),
    ("loads:\n  - {kind: ping, cont: 3}", "3:18", "there is no key 'cont': did you mean count?"),
    (
        "loads: [{kind: iperf3_tcp, bitrate: 1Gbit}]",
        "2:28",
        "there is no key 'bitrate'; known: kind, timeout",
    ),
    ("margins: {rtt_p55: 3%}", "2:11", "there is no metric 'rtt_p55': did you mean rtt_p50?"),
    # words
    (
        "axes:\n  hook: tcx_ingres",
        "3:9",
        "hook does not know 'tcx_ingres': did you mean tcx_ingress?",
    ),
    (
        "axes:\n  hook: [netkit_peer,\n    TCX_Ingress]",
        "4:5",
        "hook does not know 'TCX_Ingress': did you mean tcx_ingr",
    ),
    ("axes: {device: tun}", "2:16", "device does not know 'tun'; known: netkit, veth"),
    ("axes: {gso: true}", "2:13", "gso is on or off: did you mean on?"),
    ("axes: {gso: false}", "2:13", "gso is on or off: did you mean off?"),
    ("axes: {peer: [~]}", "2:15", "peer is given nothing: did you mean none?"),
    ("axes: {hook: 5}", "2:14", "hook takes a word (netkit_peer"),
    ("axes: {hook: [[netkit_peer]]}", "2:15", "hook takes a word (netkit_peer"),
    ("axes: {hook: {a: b}}", "2:14", "hook takes a word (netkit_peer"),
    ("axes: {cpus: smae}", "2:14", "cpus does not know 'smae': did you mean same?"),
    (
        "axes: {cpus: [0, 1, 2]}",
        "2:15",
        "cpus takes same, split, free or [client, server], not the number 0",
    ),
    ("axes: {cpus: [[0, -1]]}", "2:15", "cpus [0, -1] is out of range"),
    (
        "axes: {kernel: 6.12}",
        "2:16",
        'kernel 6.12 was read as a number: write it in quotes, "6.12"',
    ),
    (
        "axes: {kernel: ['6.12', 6.7]}",
        "2:25",
        'kernel 6.7 was read as a number: write it in quotes, "6.7"',
    ),
    ("axes: {kernel: hots}", "2:16", "kernel does not know 'hots': did you mean host?"),
    ("axes: {kernel: ./bzImage}", "2:16", "there is no file ./bzImage beside the matrix"),
    ("axes: {program: ./nope.c}", "2:17", "there is no file ./nope.c beside the matrix"),
    ("axes: {program: bultin}", "2:17", "program does not know 'bultin': did you mean builtin?"),
    (
        "baseline: {hook: tcx_ingres}",
        "2:18",
        "hook does not know 'tcx_ingres': did you mean tcx_ingress?",
    ),
    ("baseline: {device: [veth]}", "2:20", "device takes a word (netkit, veth), not a list"),
    ("lab: natve", "2:6", "lab does not know 'natve': did you mean native?"),
    ("lab: 5", "2:6", "lab takes a word (auto, native, vm), not the number 5"),
    ("clock: instruction", "2:8", "clock does not know 'instruction': did you mean instructions?"),
    # numbers
    ("axes: {payload: '64'}", "2:17", "payload takes a whole number, not the word '64'"),
    ("axes: {payload: 64.5}", "2:17", "payload takes a whole number, not the number 64.5"),
    (
        "axes: {payload: [64, 65508]}\nloads: [sockperf]",
        "2:22",
        "payload 65508 is out of range: sockperf takes 14 to",
    ),
    (
        "axes: {payload: 15}\nloads: [ping]",
        "2:17",
        "payload 15 is out of range: ping takes 16 to 65507 bytes",
    ),
    ("axes: {payload: 0}", "2:17", "payload 0 is out of range: 1 to 1048576"),
    (
        "axes: {payload: 65508}\nloads: [iperf3_udp]",
        "2:17",
        "payload 65508 is out of range: iperf3_udp takes 1 to",
    ),
    ("include: [{hook: netkit_peer, payload: 70000}]", "2:40", "payload 70000 is out of range"),
    ("axes: {mtu: 67}", "2:13", "mtu 67 is out of range: 68 to 65535"),
    ("axes: {mtu: 65536}", "2:13", "mtu 65536 is out of range: 68 to 65535"),
    ("axes: {mtu: true}", "2:13", "mtu takes a whole number, not true"),
    ("axes: {streams: 129}", "2:17", "streams 129 is out of range: 1 to 128"),
    ("axes: {headroom: -1}", "2:18", "headroom -1 is out of range: 0 to 65535"),
    ("axes: {ip: 5}", "2:12", "ip is 4 or 6, not the number 5"),
    ("seed: -1", "2:7", "seed -1 is out of range"),
    ("seed: 1.5", "2:7", "seed takes a whole number, not the number 1.5"),
    ("blocks: {min: 0}", "2:15", "the number of blocks 0 is out of range"),
    ("blocks: {min: 5, max: 3}", "2:15", "blocks min 5 is more than max 3"),
    (
        "blocks: {precision: 1}",
        "2:21",
        "a share is a percentage, such as 1% or 0.5%, not the number 1: did you mean 1%?",
    ),
    ("blocks: {precision: 0%}", "2:21", "the percentage 0% is out of range"),
    (
        "margins: {rtt_p50: 0.03}",
        "2:20",
        "a share is a percentage, such as 1% or 0.5%, not the number 0.03: did you mean 3%?",
    ),
    # what is empty or of another shape
    ("axes: {hook: []}", "2:14", "axis hook is empty"),
    ("axes:\n  hook:\n  mode: l3", "3:3", "axis hook is empty"),
    ("axes: [hook]", "2:7", "axes is a mapping, not a list"),
    ("include: {hook: x}", "2:10", "include is a list, not a mapping"),
    ("include: [{}]", "2:11", "this entry of include names no axis"),
    ("baseline: []", "2:11", "baseline is empty"),
    ("baseline: {}", "2:11", "this entry of baseline names no axis"),
    ("baseline: veth", "2:11", "baseline is a mapping, not the word 'veth'"),
    ("loads: []", "2:8", "loads is empty"),
    ("blocks: 5", "2:9", "blocks is a mapping, not the number 5"),
    ("margins: [3%]", "2:10", "margins is a mapping, not a list"),
    ("question: [x]", "2:11", "question is a text, not a list"),
    ("gate: [5]", "2:8", "a gate is a selector, such as"),
    # loads
    ("loads: [pin]", "2:9", "load does not know 'pin': did you mean ping?"),
    ("loads: [{kind: pin}]", "2:16", "load does not know 'pin': did you mean ping?"),
    ("loads: [{knd: ping}]", "2:9", "the load has no kind; known: reachability"),
    ("loads: [5]", "2:9", "a load is a kind or a mapping"),
    (
        "loads:\n  - ping\n  - {kind: ping, count: 3}",
        "4:12",
        "the load ping is given twice: the first is in line 3",
    ),
    ("loads: [{kind: ping, count: 0}]", "2:29", "count 0 is out of range"),
    (
        "loads: [{kind: ping, interval: 10}]",
        "2:32",
        "a duration is a number with a unit, such as 10ms",
    ),
    (
        "loads: [{kind: ping, interval: 10mss}]",
        "2:32",
        "a duration is a number with a unit, such as 10ms",
    ),
    # what the tool cannot do exactly, or cannot count
    (
        "loads: [{kind: ping, interval: 500us}]",
        "2:32",
        f"{WHOLE} milliseconds, not 500us: did you mean 1ms?",
    ),
    (
        "loads: [{kind: ping, interval: 1500us}]",
        "2:32",
        f"{WHOLE} milliseconds, not 1500us: did you mean 2ms?",
    ),
    (
        "loads: [{kind: ping, interval: 1.25ms}]",
        "2:32",
        f"{WHOLE} milliseconds, not 1.25ms: did you mean 1ms?",
    ),
    (
        "loads: [{kind: ping, timeout: 1500ms}]",
        "2:31",
        f"{WHOLE} seconds, not 1500ms: did you mean 2s?",
    ),
    (
        "loads: [{kind: ping, count: 65536, timeout: 1h}]",
        "2:29",
        "count 65536 is out of range: 1 to 65535",
    ),
    (
        "loads: [{kind: iperf3_tcp, duration: 1.0000000000000000001s}]",
        "2:38",
        f"{WHOLE} seconds, not 1.0000",
    ),
    (
        "loads: [{kind: rtt_under_load, duration: 24h}]",
        "2:42",
        "iperf3 fills the wire for at most 24h, twice as long",
    ),
    (
        "loads: [{kind: iperf3_udp, bitrate: 1.0001kbit}]",
        "2:37",
        "bitrate is a whole number of bits a second, not 1.0",
    ),
    (
        "axes: {streams: 3}\nloads: [{kind: iperf3_udp, bitrate: 100Mbit}]",
        "3:37",
        "a bitrate of 100Mbit cannot be divided among 3 streams exactly: did you mean "
        "99.999999Mbit?",
    ),
    (
        "axes: {streams: [1, 128]}\nloads: {kind: iperf3_udp, bitrate: 1.0001Mbit}",
        "3:36",
        "a bitrate of 1.0001Mbit cannot be divided among 128 streams exactly: did you mean "
        "1.000064Mbit?",
    ),
    (
        "axes: {payload: 1400}\nloads: [{kind: iperf3_udp, bitrate: 8kbit, duration: 1s}]",
        "3:37",
        "a bitrate of 8kbit is less than a datagram of 1400 bytes a stream in 1 s: at least "
        "11.2kbit",
    ),
    (
        "loads: [{kind: iperf3_udp, bitrate: 1Mbit, bytes: 10MB}]",
        "2:37",
        "10000000 bytes at 1Mbit take 80 s, and the timeout is 10 s",
    ),
    (
        "axes: {payload: 1}\nloads: [{kind: iperf3_udp, bytes: 4GB}]",
        "3:35",
        "4000000000 datagrams are more than iperf3 can count: at most 2147483647",
    ),
    (
        "axes: {payload: 64}\nloads: [{kind: iperf3_udp, bitrate: 1Gbit, duration: 1h}]",
        "3:54",
        "7031250000 datagrams are more than iperf3 can count: at most 2147483647",
    ),
    ("loads: [{kind: ping, timeout: 0s}]", "2:31", "the duration 0s is out of range"),
    ("loads: [{kind: ping, timeout: 25h}]", "2:31", "the duration 25h is out of range"),
    (
        "loads: [{kind: ping, count: 100, interval: 1s}]",
        "2:9",
        "100 pings every 1 s take longer than the timeout",
    ),
    (
        "loads: [{kind: sockperf, duration: 1500ms}]",
        "2:36",
        f"{WHOLE} seconds, not 1500ms: did you mean 2s?",
    ),
    (
        "loads: [{kind: iperf3_tcp, duration: 1s, bytes: 1MB}]",
        "2:9",
        "duration and bytes exclude each other",
    ),
    ("loads: [{kind: iperf3_udp, bitrate: 5}]", "2:37", "bitrate is unlimited or bits a second"),
    ("loads: [{kind: iperf3_tcp, bytes: 0}]", "2:35", "bytes is a number from 1"),
    ("include: [{load: ping}]", "2:18", "load ping is not among the loads of this matrix"),
    # what cannot be combined
    ("axes: {device: veth, hook: netkit_peer}", "2:28", "veth has no netkit hooks"),
    (
        "axes: {device: veth, hook: [netkit_peer, netkit_primary]}",
        "2:28",
        "veth has no netkit hooks",
    ),
    (
        "include:\n  - {mode: l3}\n  - {device: veth, mode: l3}",
        "4:26",
        "veth has no mode l3: it is always l2",
    ),
    ("axes: {device: veth}\ninclude: [{mode: l3}]", "3:18", "veth has no mode l3: it is always l2"),
    (
        "axes: {hook: tcx_ingress, helper: redirect_map}",
        "2:35",
        "redirect_map sends through a devmap",
    ),
    (
        "axes: {topology: direct, hook: netkit_peer}",
        "2:32",
        "only the topologies wire and uplink have hooks",
    ),
    ("baseline: {device: veth, mode: l3}", "2:32", "veth has no mode l3"),
    (
        "axes: {ip: 6}\nloads: [ping]\nbaseline:\n  - {mtu: 1000}",
        "5:11",
        "IPv6 needs an mtu of at least 1280",
    ),
    (
        "lab: native\nclock: instructions",
        "3:8",
        "the instruction clock is QEMU's, and lab is native",
    ),
    (
        "lab: native\naxes: {kernel: '6.12'}",
        "3:16",
        "kernel 6.12 has to be booted, and lab is native",
    ),
    (
        "axes: {hook: netkit_peer}\nexclude: [{hook: netkit_peer}]",
        "3:1",
        "exclude leaves nothing of the matrix",
    ),
    (
        "axes: {hook: netkit_peer}\nexclude: [{mode: l3}]",
        "3:12",
        "exclude names mode, which is not among the axes",
    ),
    ("gate: helper=redirekt", "2:7", "helper does not know 'redirekt': did you mean redirect?"),
    (
        "gate: ['hook=netkit_peer', 'hook=tcx_egress']",
        "2:28",
        "no cell of the matrix has hook=tcx_egress",
    ),
    ("gate: redirect", "2:7", "'redirect' is not a selector"),
    (
        f"axes: {{payload: {list(range(14, 514))}, mtu: {list(range(1500, 1800))}}}",
        "2:1",
        "the matrix has 300,000 comb",
    ),
]


@pytest.mark.parametrize(
    ("text", "place", "sentence"), BAD, ids=[f"{text[:40]}" for text, *_ in BAD]
)
def test_a_mistake_is_one_sentence_at_its_place(
    tmp_path: Path, text: str, place: str, sentence: str
) -> None:
    path = written(tmp_path, f"name: t\n{text}\n")
    with pytest.raises(MatrixError) as caught:
        make_plan(load(path))
    assert str(caught.value).startswith(f"{path}:{place}: {sentence}")
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code == 2


@pytest.mark.parametrize(
    "name", ["../x", "a/b", "''", ".hidden", "-x", "5", "x y", "a" * 65, "[]", "~", "'\\0'"]
)
def test_a_name_has_to_be_fit_for_a_folder(tmp_path: Path, name: str) -> None:
    with pytest.raises(MatrixError, match=r"m\.yaml:1:7: name is to name a folder"):
        load(written(tmp_path, f"name: {name}\n"))


def test_a_name_is_needed(tmp_path: Path) -> None:
    with pytest.raises(MatrixError, match=r"m\.yaml:1:1: name is missing"):
        load(written(tmp_path, "question: why?\n"))


def test_of_several_mistakes_the_first_in_the_file_is_reported(tmp_path: Path) -> None:
    with pytest.raises(MatrixError, match=r":2:7: seed"):
        load(written(tmp_path, "name: t\nseed: x\naxes: {hok: x, hook: y}\nloads: [pin]\n"))


EXPERIMENTS = [path.read_text() for path in sorted(paths.experiments().glob("*.yaml"))]
PIECES = [
    "",
    " ",
    "\n",
    ": ",
    "- ",
    "{",
    "]",
    "&a ",
    "*a",
    "<<: ",
    "!x ",
    "|",
    "? ",
    "1e999",
    "~",
    "\t",
]


@pytest.mark.fuzz
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.data())
def test_no_mutated_matrix_is_a_traceback(tmp_path: Path, data: st.DataObject) -> None:
    text = mutated(data.draw(st.sampled_from(EXPERIMENTS)), data, PIECES)
    path = tmp_path / "m.yaml"
    path.write_text(text, encoding="utf-8", errors="surrogatepass")
    said = ""
    try:
        load(path)
    except MatrixError as error:
        said = str(error)
    assert said.isprintable()


@pytest.mark.fuzz
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    st.dictionaries(
        st.sampled_from(list(module.Matrix.model_fields)),
        st.recursive(
            st.none()
            | st.booleans()
            | st.integers()
            | st.floats()
            | st.sampled_from(["hook", "ping", "veth", "10ms"]),
            lambda inner: (
                st.lists(inner, max_size=3)
                | st.dictionaries(
                    st.sampled_from(["hook", "device", "payload", "kind", "min", "load"]),
                    inner,
                    max_size=3,
                )
            ),
            max_leaves=6,
        ),
    )
)
def test_whatever_the_shape_there_is_never_a_traceback(tmp_path: Path, value: Any) -> None:
    try:
        make_plan(load(written(tmp_path, json.dumps(value))))
    except MatrixError as error:
        said = str(error)
    else:
        said = ""
    assert "\n" not in said


def test_the_contracts_example_is_read(tmp_path: Path) -> None:
    plan = planned(
        tmp_path,
        """\
        name: yogurt-phone
        question: Which eBPF wire joins two namespaces best?
        lab: auto
        clock: wall
        axes:
          device: [netkit, veth]
          hook: [netkit_peer, tcx_ingress]
          helper: [redirect, redirect_peer]
          payload: [64, 1400]
        baseline: {device: veth, topology: direct, hook: none, helper: none}
        loads:
          - {kind: ping, count: 100, interval: 10ms, timeout: 10s}
          - {kind: sockperf, duration: 1s}
          - {kind: iperf3_tcp, duration: 3s}
        blocks: {min: 10, max: 40, precision: 1%}
        margins: {rtt_p50: 3%}
        gate: ['helper=redirect']
        seed: 1
        """,
    )
    assert len(cells_of(plan)) == 6 * 2 * 3
    assert [(left.count, left.reason[:24]) for left in plan.left_out] == [
        (12, "veth has no netkit hooks")
    ]
    assert len(plan.groups) == 2 * 3
    assert (plan.margins, plan.blocks.min, plan.blocks.max, plan.blocks.precision) == (
        {"rtt_p50": 0.03},
        10,
        40,
        0.01,
    )
    assert {one.cell.helper for one in plan.cells if one.gate} == {"redirect"}
    assert plan.cells[0].options == {"count": 100, "interval": 0.01, "timeout": 10.0}


OPTIONS: list[tuple[str, str, dict[str, Any]]] = [
    ("ping", "wall", {"count": 100, "interval": 0.01, "timeout": 30.0}),
    (
        "{kind: ping, interval: 2000us, timeout: 3m}",
        "wall",
        {"count": 100, "interval": 0.002, "timeout": 180.0},
    ),
    ("sockperf", "wall", {"duration": 1.0, "timeout": 10.0}),
    ("{kind: sockperf_tcp, duration: 2s}", "wall", {"duration": 2.0, "timeout": 10.0}),
    ("{kind: rtt_under_load, timeout: 1s}", "wall", {"duration": 1.0, "timeout": 1.0}),
    ("iperf3_tcp", "wall", {"duration": 3.0, "timeout": 10.0}),
    ("{kind: iperf3_tcp, bytes: 64MiB}", "wall", {"bytes": 2**26, "timeout": 10.0}),
    ("{kind: iperf3_tcp, bytes: 1GB}", "instructions", {"bytes": 10**9, "timeout": 10.0}),
    (
        "{kind: iperf3_tcp, duration: 3s}",
        "instructions",
        {"bytes": 2**23, "duration": 1.0, "timeout": 10.0},
    ),
    (
        "{kind: iperf3_udp, bitrate: 1.5Gbit}",
        "wall",
        {"duration": 3.0, "bitrate": 1_500_000_000, "timeout": 10.0},
    ),
    (
        "{kind: iperf3_udp, bitrate: unlimited}",
        "wall",
        {"duration": 3.0, "bitrate": 0, "timeout": 10.0},
    ),
    ("reachability", "wall", {"timeout": 10.0}),
    ("{kind: isolation, timeout: 5s}", "wall", {"timeout": 5.0}),
]


@pytest.mark.parametrize(
    ("payload", "sent"), [(16, 2**17), (64, 2**19), (1024, 2**23), (1400, 2**23)]
)
def test_on_the_instruction_clock_messages_are_bounded_as_bytes_are(
    tmp_path: Path, payload: int, sent: int
) -> None:
    text = (
        f"name: t\naxes: {{payload: {payload}}}\nloads: [iperf3_udp, {{kind: iperf3_tcp, "
        f"bytes: 1GB}}]\n"
    )
    given = {
        one.cell.load: one.options["bytes"]
        for one in planned(tmp_path, text, clock="instructions").cells
    }
    assert given == {"iperf3_udp": sent, "iperf3_tcp": 10**9}  # what the matrix names is sent whole


@pytest.mark.parametrize(
    ("given", "clock", "expected"), OPTIONS, ids=[f"{g} {c}" for g, c, _ in OPTIONS]
)
def test_options_reach_the_trial_in_seconds(
    tmp_path: Path, given: str, clock: str, expected: dict[str, Any]
) -> None:
    plan = planned(tmp_path, f"name: t\nloads: [{given}]\n", clock=clock)
    (options,) = [one.options for one in plan.cells]
    assert options == expected


def test_what_divides_exactly_is_offered(tmp_path: Path) -> None:
    text = "name: t\naxes: {streams: [1, 2, 4]}\nloads: [{kind: iperf3_udp, bitrate: 100Mbit}]\n"
    assert {one.options["bitrate"] for one in planned(tmp_path, text).cells} == {100_000_000}


def test_a_name_alone_gives_the_default_wire(tmp_path: Path) -> None:
    assert [cell.load for cell in cells_of(planned(tmp_path, "name: t"))] == [
        "reachability",
        "sockperf",
    ]


def test_an_axis_takes_one_value_or_several(tmp_path: Path) -> None:
    one = planned(tmp_path, "name: t\naxes: {hook: tcx_ingress, cpus: [0, 1]}\nloads: ping\n")
    assert [(cell.hook, cell.cpus) for cell in cells_of(one)] == [("tcx_ingress", (0, 1))]
    several = planned(tmp_path, "name: t\naxes: {cpus: [[0, 1], same, free]}\nloads: [ping]\n")
    assert [cell.cpus for cell in cells_of(several)] == [(0, 1), "same", "free"]


def test_what_does_not_apply_makes_doubles_that_collapse(tmp_path: Path) -> None:
    plan = planned(tmp_path, "name: t\naxes: {payload: [64, 99]}\nloads: [reachability, ping]\n")
    assert [(cell.load, cell.payload) for cell in cells_of(plan)] == [
        ("reachability", None),
        ("ping", 64),
        ("ping", 99),
    ]
    assert plan.collapsed == 1


def test_what_falls_out_of_a_cross_product_is_counted(tmp_path: Path) -> None:
    plan = planned(
        tmp_path,
        "name: t\naxes: {device: [netkit, veth], mode: [l3, l2], hook: [netkit_peer, "
        "xdp_native]}\nloads: [ping]\n",
    )
    assert [(cell.device, cell.mode, cell.hook) for cell in cells_of(plan)] == [
        ("netkit", "l3", "netkit_peer"),
        ("netkit", "l2", "netkit_peer"),
        ("veth", "l2", "xdp_native"),
    ]
    assert sum(left.count for left in plan.left_out) == 5
    assert all(left.example.startswith("device=") for left in plan.left_out)


def test_a_payload_that_only_some_loads_take_is_left_out_of_the_others(tmp_path: Path) -> None:
    plan = planned(tmp_path, "name: t\naxes: {payload: 100000}\nloads: [iperf3_tcp, iperf3_udp]\n")
    assert [cell.load for cell in cells_of(plan)] == ["iperf3_tcp"]


def test_include_alone_is_a_matrix_and_its_lists_stand_for_each_value(tmp_path: Path) -> None:
    plan = planned(
        tmp_path,
        """\
        name: t
        include:
          - {hook: netkit_peer, primary: [none, pass], policy: [blackhole, forward]}
          - {hook: tcx_ingress}
        loads: [reachability]
        """,
    )
    assert len(cells_of(plan)) == 5


def test_include_knows_loads_as_an_axis(tmp_path: Path) -> None:
    text = (
        "name: t\naxes: {mode: [l3, l2]}\ninclude: [{load: ping, payload: 99}]\nloads: "
        "[ping, sockperf]\n"
    )
    assert [(c.mode, c.load, c.payload) for c in cells_of(planned(tmp_path, text))] == [
        ("l3", "ping", 99),
        ("l3", "sockperf", 64),
        ("l2", "ping", 99),
        ("l2", "sockperf", 64),
    ]


def test_exclude_knows_loads_as_an_axis(tmp_path: Path) -> None:
    text = (
        "name: t\naxes: {mode: [l3, l2]}\nexclude: [{load: ping, mode: l2}]\nloads: [ping, "
        "sockperf]\n"
    )
    assert len(cells_of(planned(tmp_path, text))) == 3


BASED = "name: t\naxes: {hook: [netkit_peer, tcx_ingress]}\nloads: [ping]\n"


def test_a_baseline_is_added_once_a_group(tmp_path: Path) -> None:
    plan = planned(tmp_path, BASED + "baseline: {device: veth, topology: direct}\n")
    roles = [(one.role, one.cell.device, one.cell.hook) for one in plan.cells]
    assert roles == [
        ("baseline", "veth", "none"),
        ("canary", "veth", "none"),
        ("cell", "netkit", "netkit_peer"),
        ("cell", "netkit", "tcx_ingress"),
    ]
    (main,) = plan.groups
    assert main == plan.cells[0].cell.id
    assert [one.baselines for one in plan.cells] == [(), (main,), (main,), (main,)]


def test_a_baseline_that_is_a_cell_of_the_matrix_is_that_one(tmp_path: Path) -> None:
    plan = planned(tmp_path, BASED + "baseline: {hook: tcx_ingress}\n")
    assert [(one.role, one.cell.hook) for one in plan.cells] == [
        ("baseline", "tcx_ingress"),
        ("canary", "tcx_ingress"),
        ("cell", "netkit_peer"),
    ]


def test_of_several_baselines_the_first_is_the_main_one(tmp_path: Path) -> None:
    plan = planned(
        tmp_path, BASED + "baseline: [{device: veth, topology: direct}, {hook: tcx_ingress}]\n"
    )
    (group,) = plan.groups
    by_hook = {one.cell.hook: one for one in plan.cells if one.role != "canary"}
    assert by_hook["none"].baselines == ()
    assert (by_hook["tcx_ingress"].role, by_hook["tcx_ingress"].baselines) == ("baseline", (group,))
    assert by_hook["netkit_peer"].baselines == (group, by_hook["tcx_ingress"].cell.id)


def test_a_group_shares_what_the_baseline_takes_from_its_cells(tmp_path: Path) -> None:
    axes = "axes: {payload: [64, 99], mode: [l3, l2]}"
    text = f"name: t\n{axes}\nloads: [ping]\nbaseline: {{device: veth, topology: direct}}\n"
    plan = planned(tmp_path, text)
    assert [{one.cell.payload for one in plan.members(group)} for group in plan.groups] == [
        {64},
        {99},
    ]


def test_yes_and_no_need_no_canary(tmp_path: Path) -> None:
    plan = planned(
        tmp_path,
        BASED.replace("ping", "reachability") + "baseline: {device: veth, topology: direct}\n",
    )
    assert "canary" not in {one.role for one in plan.cells}


def test_a_baseline_alone_needs_no_canary(tmp_path: Path) -> None:
    plan = planned(tmp_path, "name: t\nloads: [ping]\nbaseline: {hook: netkit_peer}\n")
    assert [one.role for one in plan.cells] == ["baseline"]


def test_without_a_baseline_there_is_one_group(tmp_path: Path) -> None:
    assert planned(tmp_path, BASED).groups == ("",)


def test_only_keeps_the_cells_and_their_baselines(tmp_path: Path) -> None:
    plan = planned(
        tmp_path, BASED + "baseline: {device: veth, topology: direct}\n", only="hook=tcx_ingress"
    )
    assert [(one.role, one.cell.hook) for one in plan.cells] == [
        ("baseline", "none"),
        ("canary", "none"),
        ("cell", "tcx_ingress"),
    ]


def test_only_has_to_find_something(tmp_path: Path) -> None:
    for only, said in {
        "hook=tcx_egress": "no cell",
        "hok=x": "did you mean hook?",
        "x": "not a selector",
    }.items():
        with pytest.raises(MatrixError, match=f"^--only: .*{said.replace('?', '.')}"):
            planned(tmp_path, BASED, only=only)


def test_the_command_line_overrides(tmp_path: Path) -> None:
    assert (
        planned(tmp_path, BASED, blocks=3).blocks.max
        == planned(tmp_path, BASED, blocks=3).blocks.min
        == 3
    )
    exact = planned(tmp_path, BASED, clock="instructions")
    assert (exact.lab, exact.clock, exact.blocks.max) == ("vm", "instructions", 1)
    assert planned(tmp_path, BASED, clock="instructions", blocks=2).blocks.max == 2
    with pytest.raises(MatrixError, match="--blocks 0"):
        planned(tmp_path, BASED, blocks=0)
    with pytest.raises(MatrixError, match="has to be booted"):
        planned(tmp_path, BASED + "include: [{kernel: '6.12'}]\n", lab="native")
    with pytest.raises(MatrixError, match="the instruction clock is QEMU's"):
        planned(tmp_path, BASED, lab="native", clock="instructions")


def test_one_end_of_the_blocks_moves_the_other(tmp_path: Path) -> None:
    for text, expected in {
        "{max: 3}": (3, 3),
        "{min: 50}": (50, 50),
        "{min: 12}": (12, 40),
        "{}": (10, 40),
    }.items():
        blocks = planned(tmp_path, f"{BASED}blocks: {text}\n").blocks
        assert (blocks.min, blocks.max) == expected


def test_a_program_is_found_beside_the_matrix_and_travels_with_the_trial(tmp_path: Path) -> None:
    text = "int wire(struct __sk_buff *skb) { return 0; }"
    (tmp_path / "mine.c").write_text(text)
    plan = planned(tmp_path, "name: t\naxes: {program: [builtin, ./mine.c]}\nloads: [ping]\n")
    sources = {trial.cell.program: trial.options.get("source") for trial in plan.trials("", 0)}
    assert sources == {"builtin": None, "./mine.c": text}


def test_words_of_yaml_stay_words(tmp_path: Path) -> None:
    assert [
        c.gso
        for c in cells_of(planned(tmp_path, "name: t\naxes: {gso: [on, off]}\nloads: [ping]\n"))
    ] == [
        "on",
        "off",
    ]


def test_json_is_a_matrix(tmp_path: Path) -> None:
    text = json.dumps(
        {"name": "t", "axes": {"hook": "tcx_ingress"}, "loads": ["ping"]}, indent="\t"
    )
    assert len(cells_of(planned(tmp_path, text))) == 1


def test_anchors_share_values(tmp_path: Path) -> None:
    include = (
        "include:\n  - &one {hook: tcx_ingress, mode: l2}\n  - {<<: *one, helper: redirect_peer}"
    )
    text = f"name: t\n{include}\nloads: [ping]\n"
    assert [(c.mode, c.helper) for c in cells_of(planned(tmp_path, text))] == [
        ("l2", "redirect"),
        ("l2", "redirect_peer"),
    ]


@pytest.mark.parametrize(
    "path", sorted((ROOT / "experiments").glob("*.yaml")), ids=lambda path: path.stem
)
def test_every_experiment_can_be_planned_and_names_its_question(path: Path) -> None:
    plan = make_plan(load(path))
    assert plan.question
    assert "$schema=../yogurtbench/schema.json" in plan.source


def test_the_shipped_schema_is_up_to_date() -> None:
    shipped = Path(module.__file__).parents[1] / "schema.json"
    assert json.loads(shipped.read_text(encoding="utf-8")) == json_schema(), (
        "yogurtbench schema > yogurtbench/schema.json"
    )


def test_the_schema_knows_the_words_and_only_draft_7() -> None:
    schema = json_schema()
    text = json.dumps(schema)
    assert schema["$schema"] == "http://json-schema.org/draft-07/schema#"
    assert "$defs" not in text
    assert "prefixItems" not in text
    assert schema["definitions"]["Baseline"]["properties"]["hook"]["enum"] == list(HOOK_WORDS)
    references = [part.split('"')[0] for part in text.split('"$ref": "#/definitions/')[1:]]
    assert set(references) <= set(schema["definitions"])
