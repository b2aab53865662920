"""Resource limits that are too low are one sentence and exit code 3, whatever a library would do."""

from __future__ import annotations

import resource
import subprocess
import sys

import pytest

from yogurtbench.core import limits

pytestmark = pytest.mark.commands


def limited(command: str, *limit: str) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, "-P", "-m", "yogurtbench", *command.split()]
    return subprocess.run(
        ["prlimit", *limit, "--", *argv], capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize(
    ("limit", "sentence"),
    [
        ("--nofile=64:64", "only 64 files may be open at once"),
        ("--as=400000000", "only 381 MiB of addresses may be mapped"),
        ("--as=900000000", "only 858 MiB of addresses may be mapped"),
    ],
)
def test_a_limit_that_is_too_low_is_one_sentence(limit: str, sentence: str) -> None:
    done = limited("plan experiments/quickstart.yaml", limit)
    assert done.returncode == 3, done.stderr
    assert sentence in done.stderr and done.stderr.count("\n") == 1


@pytest.mark.parametrize("limit", ["--nofile=64:4096", f"--as={1 << 30}", "--stack=262144"])
def test_a_limit_that_is_enough_or_may_be_raised_changes_nothing(limit: str) -> None:
    done = limited("plan experiments/quickstart.yaml", limit)
    assert done.returncode == 0, done.stderr


def test_open_files_are_never_lowered() -> None:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    limits.raise_or_refuse()
    assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] >= before[0]
