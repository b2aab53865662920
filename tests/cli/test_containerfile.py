"""The Containerfile as far as it can be read.

Its steps are run by tools/container.py (nox -s hosts).
"""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import container
import pytest

HOME = Path(__file__).parents[2]


def test_it_names_an_image_and_no_registry() -> None:
    image = container.read()
    assert image.base == "debian:13-slim"
    assert not re.search(r"https?://|\b[\w-]+\.(io|com|org)\b", container.CONTAINERFILE.read_text())


def test_its_entry_point_is_yb_and_its_command_the_quickstart() -> None:
    image = container.read()
    assert image.entrypoint == ["./yb"]
    assert image.command[:2] == ["run", "experiments/quickstart.yaml"]
    assert image.variables["YOGURTBENCH_CACHE"] in image.volumes
    assert image.command[-1].startswith(image.variables["YOGURTBENCH_CACHE"]), (
        "results outlive the container"
    )


def test_docker_and_podman_leave_out_the_same() -> None:
    assert (HOME / ".containerignore").read_text() == (HOME / ".dockerignore").read_text()
    assert {".venv", ".git"} <= set((HOME / ".containerignore").read_text().split())


def test_the_documented_commands_are_those_of_the_file() -> None:
    lines = (HOME / "docs/start.md").read_text().splitlines()
    build, run = [line.partition("  #")[0] for line in lines if line.startswith("docker ")]
    assert f"#   {build.strip()}\n" in container.CONTAINERFILE.read_text()
    assert f"#   {run.strip()}\n" in container.CONTAINERFILE.read_text()
    volume = shlex.split(run)[shlex.split(run).index("--volume") + 1]
    assert volume.endswith(f":{container.read().volumes[0]}")


def test_steps_are_read_with_their_continued_lines() -> None:
    text = 'FROM x\n# RUN no\nRUN one && \\\n    two\n\nCMD ["a", "b c"]\n'
    assert list(container.steps(text)) == [
        ("FROM", "x"),
        ("RUN", "one &&  two"),
        ("CMD", '["a", "b c"]'),
    ]
    with pytest.raises(ValueError, match="ADD is not known"):
        container.take(container.Image(), "ADD", "x y")
