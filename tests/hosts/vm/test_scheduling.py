"""Who goes first on a CPU, on real processes."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import psutil
import pytest

from yogurtbench.hosts.vm import scheduling

#: As QEMU does: more threads, after it was told who goes first.
THREADED = """
import sys, threading
print("up", flush=True)
sys.stdin.readline()
threading.Thread(target=sys.stdin.readline).start()
print("threaded", flush=True)
"""
ABOUT_ITSELF = """
import os
from yogurtbench.hosts.vm import scheduling
scheduling.prioritise_main_thread(os.getpid())
print(scheduling.is_permitted(), os.sched_getscheduler(0) == os.SCHED_OTHER)
"""
#: Root as in a container: all that it may, but for this.
WITHOUT_THE_RIGHT = ["setpriv", "--bounding-set", "-sys_nice", "--inh-caps", "-sys_nice"]


@contextmanager
def threaded() -> Iterator[subprocess.Popen[str]]:
    argv = [sys.executable, "-c", THREADED]
    with subprocess.Popen(
        argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout and process.stdin
        assert process.stdout.readline() == "up\n"
        yield process
        process.stdin.close()


def more_threads(process: subprocess.Popen[str]) -> None:
    assert process.stdout and process.stdin
    process.stdin.write("\n")
    process.stdin.flush()
    assert process.stdout.readline() == "threaded\n"


def test_what_starts_in_the_block_keeps_to_one_cpu_and_we_do_not():
    ours = os.sched_getaffinity(0)
    with scheduling.pin_to_idle_cpu(), threaded() as process:
        assert len(os.sched_getaffinity(process.pid)) == 1
        assert os.sched_getaffinity(process.pid) <= ours
    assert os.sched_getaffinity(0) == ours


def test_a_process_that_is_gone_is_no_error():
    with subprocess.Popen(["true"]) as process:
        process.wait()
    scheduling.prioritise_main_thread(process.pid)


@pytest.mark.root
def test_only_the_main_thread_goes_first():
    with threaded() as process:
        scheduling.prioritise_main_thread(process.pid)
        more_threads(process)
        policies = {
            one.id: os.sched_getscheduler(one.id) for one in psutil.Process(process.pid).threads()
        }
        assert policies.pop(process.pid) == os.SCHED_FIFO | os.SCHED_RESET_ON_FORK
        assert list(policies.values()) == [os.SCHED_OTHER]
    assert scheduling.is_permitted()


@pytest.mark.root
def test_without_the_right_to_it_nobody_does():
    argv = [*WITHOUT_THE_RIGHT, sys.executable, "-P", "-c", ABOUT_ITSELF]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.stdout == "False True\n", done.stderr
