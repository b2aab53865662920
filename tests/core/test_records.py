"""Records: identities that hold still, and a way to JSON and back that loses nothing."""

from __future__ import annotations

import json
from dataclasses import fields, replace
from typing import Any

import pytest
import recorded_runs
from hypothesis import given
from hypothesis import strategies as st
from trials import DIRECT, WIRE, cell, trial

from yogurtbench.core.errors import HostError, MatrixError
from yogurtbench.core.metrics import (
    BULK,
    HEADLINE,
    METRICS,
    METRICS_OF,
    REQUEST_RESPONSE,
    YES_NO,
    metrics_of,
    unit_on,
)
from yogurtbench.core.records import (
    AXES,
    Attempt,
    Cell,
    Details,
    Environment,
    Observation,
    Trial,
    canonical,
)


def through_json(data: dict[str, Any]) -> dict[str, Any]:
    again: dict[str, Any] = json.loads(json.dumps(data))
    return again


def test_an_id_is_twelve_hex_digits_of_the_axes_that_differ_from_their_default() -> None:
    seed = cell("ping", device="netkit", hook="netkit_peer", helper="redirect")
    assert len(seed.id) == 12
    assert int(seed.id, 16) >= 0
    assert seed.named["load"] == "ping"
    assert "scrub" not in seed.named


def test_an_axis_named_at_its_default_changes_no_id() -> None:
    assert cell("ping", **WIRE, mtu=1500).id == cell("ping", **WIRE).id


def test_a_new_axis_at_its_default_invalidates_nothing() -> None:
    one = cell("ping", **WIRE)
    grown = replace(one, defaults={**one.defaults, "tomorrow": "as today"})
    assert grown.id == one.id


def test_cells_that_differ_in_an_axis_differ_in_id() -> None:
    ids = [cell("ping", **WIRE, payload=payload).id for payload in (16, 64, 1400)]
    ids += [cell("sockperf", **WIRE).id, cell("ping", **{**WIRE, "helper": "redirect_peer"}).id]
    assert len(set(ids)) == len(ids)


def test_a_wire_is_one_whatever_is_sent_over_it() -> None:
    small, large, other = cell("ping", **WIRE), cell("iperf3_tcp", **WIRE), cell("ping", **DIRECT)
    assert small.wire_id == large.wire_id != other.wire_id
    assert small.id != large.id


def test_the_order_of_the_axes_is_the_contracts_and_defaults_are_no_axis() -> None:
    assert AXES[0] == "device"
    assert AXES[-1] == "load"
    assert "defaults" not in AXES
    assert len(AXES) == len(fields(Cell)) - 1


@pytest.mark.parametrize("cpus", ["same", "split", "free", (0, 1)])
def test_a_cell_comes_back_from_json_equal(cpus: Any) -> None:
    one = cell("sockperf", **WIRE, cpus=cpus)
    again = Cell.from_json(through_json(one.to_json()))
    assert again == one
    assert again.id == one.id


def test_a_trial_comes_back_from_json_equal() -> None:
    one = trial("ping", **WIRE)
    assert Trial.from_json(through_json(one.to_json())) == one


def test_an_attempt_comes_back_from_json_equal() -> None:
    rows = (Observation.of("rtt_p50", 1234.5), Observation.of("dropped_at", "netkit_xmit:REASON"))
    one = Attempt(
        trial("ping", **WIRE), "ok", rows, seconds={"load": 1.5}, details={"argv": ["ping"]}
    )
    assert Attempt.from_json(through_json(one.to_json())) == one


def test_an_environment_comes_back_from_json_equal() -> None:
    one = Environment(
        "h", "vm", "tcg", "wall", "6.12", {"qemu": "7.2"}, {"memory": "1 GiB"}, {"lab": "named"}
    )
    assert Environment.from_json(through_json(one.to_json())) == one


def test_records_are_frozen() -> None:
    with pytest.raises(AttributeError):
        cell().mtu = 9000  # type: ignore[misc]


@pytest.mark.parametrize("status", ["failed", "crashed", "skipped", "unsupported", "looping"])
def test_an_attempt_without_values_has_a_row_for_each_metric_of_its_load(status: Any) -> None:
    made = Attempt.without_values(trial("iperf3_tcp", **WIRE), status, "why")
    assert [o.metric for o in made.observations] == list(METRICS_OF["iperf3_tcp"])
    assert {(o.value, o.text, o.status, o.error) for o in made.observations} == {
        (None, None, status, "why")
    }


def test_an_observation_is_a_number_or_a_word() -> None:
    number, word = Observation.of("reachable", True), Observation.of("dropped_at", "arp:somewhere")
    assert (number.value, number.text) == (1.0, None)
    assert (word.value, word.text) == (None, "arp:somewhere")


def test_guest_instructions_are_never_called_nanoseconds() -> None:
    assert Observation.of("rtt_p50", 28113, "instructions").unit == "instructions"
    assert Observation.missing("rtt_p50", "failed", "", "instructions").unit == "instructions"
    assert Observation.of("rtt_p50", 28113).unit == "ns"
    for metric in METRICS.values():
        assert "ns" not in unit_on("instructions", metric.unit).replace("instructions", "").split(
            "/"
        )


def test_only_what_is_reported_a_second_is_reported_by_the_instruction() -> None:
    units = {
        metric: unit_on("instructions", METRICS[metric].unit)
        for metric in ("throughput", "bytes_per_skb")
    }
    assert units == {"throughput": "bit/Ginstructions", "bytes_per_skb": "B/skb"}


@pytest.mark.parametrize("load", ["iperf3_tcp", "iperf3_udp"])
def test_on_the_instruction_clock_a_byte_and_a_packet_cost_instructions_and_no_cpu_time(
    load: str,
) -> None:
    known = metrics_of(load, "instructions")
    assert {"instructions_per_byte", "instructions_per_packet"} <= set(known)
    assert not any("cpu_ns" in metric for metric in known)
    assert len(known) == len(METRICS_OF[load]) and metrics_of(load, "wall") == METRICS_OF[load]
    lost = Attempt.without_values(
        replace(trial(load, **WIRE), clock="instructions"), "crashed", "why"
    )
    assert tuple(row.metric for row in lost.observations) == known


def test_every_load_has_metrics_that_are_known_and_a_headline_among_them() -> None:
    for load, names in METRICS_OF.items():
        assert set(names) <= set(METRICS)
        assert HEADLINE[load] == names[0]
    assert set(METRICS_OF) == REQUEST_RESPONSE | BULK | YES_NO


def test_errors_for_people_carry_the_contracts_exit_codes() -> None:
    assert (MatrixError("").exit_code, HostError("").exit_code) == (2, 3)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3)
    ),
    max_leaves=8,
)


@given(JSON)
def test_canonical_json_is_json_and_does_not_depend_on_order(value: Any) -> None:
    text = canonical(value)
    assert json.loads(text) == value
    if isinstance(value, dict):
        assert canonical(dict(reversed(value.items()))) == text


def test_canonical_json_has_no_spaces_and_keeps_letters() -> None:
    assert canonical({"b": [1, 2], "a": "ü"}) == '{"a":"ü","b":[1,2]}'


@pytest.mark.parametrize("name", recorded_runs.NAMES)
def test_details_of_recorded_runs_are_all_known(name: str) -> None:
    attempts = recorded_runs.read(name)["attempts"]
    assert {
        key for attempt in attempts for key in attempt["details"]
    } <= Details.__annotations__.keys()
