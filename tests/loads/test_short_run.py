"""On the instruction clock sockperf's client is stopped through most of what it leaves out of its
figures.
"""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from yogurtbench.loads.short_run import Stops

MS = 1_000_000
#: sockperf 3.7's defs.h: what it leaves out after its first message and before its last.
WARM_UP, COOL_DOWN = 400 * MS, 50 * MS


@given(
    seen=st.integers(0, 2**62),
    before=st.integers(0, 2 * MS),
    flowing=st.integers(0, 100 * MS),
    round_trip=st.integers(5_000, 4 * MS),
    late=st.floats(0, 1),
)
def test_only_undisturbed_round_trips_are_measured(
    seen: int, before: int, flowing: int, round_trip: int, late: float
) -> None:
    """``before``: how long before it was seen the first message left.

    ``late``: where in a round trip a stop falls.
    """
    stops = Stops.after(seen, seen + flowing, round_trip)
    measured_from = seen - before + WARM_UP
    # when the message left whose answer comes after the second stop
    stopped = stops.second - int(late * round_trip)
    last = stops.end - int(late * round_trip)  # when the last one left
    assert stops.first <= stops.on < measured_from
    # the one under way at the first stop is answered before
    assert measured_from - stops.on >= round_trip
    assert last - COOL_DOWN < stopped  # the one under way at the second stop is left out
    assert stops.second < stops.on_again < stops.end
    assert last - COOL_DOWN - measured_from >= 8 * MS  # and enough is left


@given(round_trip=st.integers(20_000, 40_000), more=st.integers(1, 100))
def test_a_few_instructions_more_move_no_stop(round_trip: int, more: int) -> None:
    """Unless a power of two lies between."""
    if (round_trip - 1).bit_length() == (round_trip + more - 1).bit_length():
        assert Stops.after(0, 3 * MS, round_trip) == Stops.after(0, 3 * MS, round_trip + more)


def test_some_hundred_round_trips_are_measured() -> None:
    for round_trip in (27_000, 100_000, 300_000):
        stops = Stops.after(0, 3 * MS, round_trip)
        assert 200 <= (stops.second - WARM_UP) / round_trip <= 1000
