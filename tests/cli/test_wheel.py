"""The package as a wheel, from an empty folder."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

HOME = Path(__file__).parents[2]


@pytest.mark.root
@pytest.mark.commands
def test_the_wheel_works_from_an_empty_folder() -> None:
    argv = [sys.executable, str(HOME / "tools/wheel.py")]
    done = subprocess.run(argv, capture_output=True, text=True, check=False, cwd="/")
    assert done.returncode == 0, done.stdout + done.stderr
