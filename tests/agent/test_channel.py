"""JSON lines over descriptors: whole messages, deadlines, and an other end that may be gone or
noisy.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from yogurtbench.agent.channel import Channel


@pytest.fixture
def pair() -> Iterator[tuple[Channel, Channel]]:
    here, there = os.pipe(), os.pipe()
    ends = Channel(here[0], there[1]), Channel(there[0], here[1])
    yield ends
    for end in ends:
        try:
            end.close()
        except OSError:  # the test closed it
            continue


def test_a_message_arrives_as_it_was_sent(pair: tuple[Channel, Channel]) -> None:
    pair[0].send({"op": "trial", "text": "zwei\nZeilen – „ganz“"})
    assert pair[1].receive(1) == {"op": "trial", "text": "zwei\nZeilen – „ganz“"}


def test_messages_arrive_in_order_however_they_are_cut() -> None:
    read_end, write_end = os.pipe()
    channel = Channel(read_end, os.dup(write_end))
    for byte in b'{"n":1}\n{"n":2}\n':
        os.write(write_end, bytes([byte]))
    assert [channel.receive(1)["n"], channel.receive(1)["n"]] == [1, 2]


def test_a_message_larger_than_the_pipe_arrives_whole(pair: tuple[Channel, Channel]) -> None:
    big = {"text": "x" * 1_000_000}
    sender = threading.Thread(target=pair[0].send, args=(big,))
    sender.start()
    assert pair[1].receive(10) == big
    sender.join()


def test_silence_ends_at_the_deadline(pair: tuple[Channel, Channel]) -> None:
    began = time.monotonic()
    with pytest.raises(TimeoutError):
        pair[0].receive(0.05)
    assert 0.04 < time.monotonic() - began < 5


def test_chatter_without_a_message_does_not_move_the_deadline(
    pair: tuple[Channel, Channel],
) -> None:
    stop = threading.Event()

    def chatter() -> None:
        while not stop.is_set():
            os.write(pair[1]._write_fd, b"[ 1.0] noise\n")

    talking = threading.Thread(target=chatter)
    talking.start()
    try:
        with pytest.raises(TimeoutError):
            pair[0].receive(0.1)
    finally:
        stop.set()
        os.set_blocking(pair[0]._read_fd, False)
        while talking.is_alive():
            _drain(pair[0]._read_fd)
        talking.join()


def _drain(descriptor: int) -> None:
    try:
        os.read(descriptor, 1 << 16)
    except BlockingIOError:
        return


def test_an_answer_that_came_while_its_reader_was_stopped_is_read(
    pair: tuple[Channel, Channel],
) -> None:
    big = {"text": "x" * 40_000}
    pair[1].send(big)
    assert pair[0].receive(-60) == big
    with pytest.raises(TimeoutError):
        pair[0].receive(-60)


def test_a_line_that_is_cut_in_the_middle_of_a_message_is_an_end(
    pair: tuple[Channel, Channel],
) -> None:
    os.write(pair[1]._write_fd, b'{"event":"attempt","att')
    os.close(pair[1]._write_fd)
    with pytest.raises(EOFError):
        pair[0].receive(5)


def test_half_a_message_at_the_deadline_is_not_lost(pair: tuple[Channel, Channel]) -> None:
    os.write(pair[0]._write_fd, b'{"event":')
    with pytest.raises(TimeoutError):
        pair[1].receive(0.01)
    os.write(pair[0]._write_fd, b'"ready"}\n')
    assert pair[1].receive(1) == {"event": "ready"}


def test_an_other_end_that_is_gone_is_noticed_when_listening(pair: tuple[Channel, Channel]) -> None:
    pair[1].close()
    with pytest.raises(EOFError):
        pair[0].receive(None)


def test_an_other_end_that_is_gone_is_noticed_when_sending(pair: tuple[Channel, Channel]) -> None:
    pair[1].close()
    with pytest.raises(EOFError, match="the other end is gone"):
        pair[0].send({"op": "stop"})


def test_what_was_said_before_the_end_is_still_heard(pair: tuple[Channel, Channel]) -> None:
    pair[0].send({"event": "attempt"})
    pair[0].close()
    assert pair[1].receive(1) == {"event": "attempt"}
    with pytest.raises(EOFError):
        pair[1].receive(1)


def test_closing_a_channel_over_one_descriptor_closes_it_once() -> None:
    descriptor = os.open(os.devnull, os.O_RDWR)
    Channel(descriptor, descriptor).close()
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(descriptor)


@pytest.mark.fuzz
@given(st.lists(st.binary(max_size=30).filter(lambda line: b"\n" not in line), max_size=10))
def test_strange_lines_are_passed_over(noise: list[bytes]) -> None:
    """A kernel message, half a line, JSON that is no object: none of it is a message and none of it
    hurts.
    """
    read_end, write_end = os.pipe()
    channel = Channel(read_end, write_end)
    os.write(
        write_end,
        b"".join(line.replace(b"{", b"") + b"\n" for line in noise)
        + b'42\n[]\n{"event":"ready"}\n',
    )
    assert channel.receive(1) == {"event": "ready"}
    channel.close()


def test_what_has_come_whole_can_be_taken_without_waiting(pair: tuple[Channel, Channel]) -> None:
    here, there = pair
    assert here.waiting() == []
    there.send({"n": 1})
    there.send({"n": 2})
    here.look()
    assert here.waiting() == [{"n": 1}, {"n": 2}]
    assert here.waiting() == []
    there.close()
    with pytest.raises(EOFError):
        here.look()
