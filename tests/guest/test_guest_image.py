"""The guest's image: its bytecode, made by its own Python."""

from __future__ import annotations

import re
import subprocess

import pytest

from yogurtbench.hosts.vm import bytecode, image, overlay

pytestmark = pytest.mark.vm


def test_the_guest_s_own_python_makes_the_same_each_time() -> None:
    made = image.ensure(say=print)
    ours = overlay._own_members()
    asked = bytecode._asked(ours)
    first, second = (bytecode._run(asked, made.compiler) for _ in range(2))
    assert first == second
    version = next(
        name.removeprefix("python3.")
        for name in made.packages
        if re.fullmatch(r"python3\.\d+", name)
    )
    paths = {member.path for member in bytecode._compiled(asked, made.compiler)}
    assert f"yogurt/yogurtbench/agent/__pycache__/__main__.cpython-3{version}.pyc" in paths
    assert len(paths) == len([member for member in ours if member.path.endswith(".py")])


def test_the_guest_s_own_library_has_its_bytecode() -> None:
    root = image.ensure(say=print).archives[0]
    listed = subprocess.check_output(["cpio", "-t", "--quiet"], stdin=root.open("rb"), text=True)
    paths = listed.splitlines()
    sources = [path for path in paths if re.match(r"usr/lib/python3.*\.py$", path)]
    assert len(sources) > 400
    bare = [path for path in sources if not _is_compiled(path, paths)]
    assert bare == []


def _is_compiled(path: str, paths: list[str]) -> bool:
    folder, _, name = path.rpartition("/")
    return any(
        found.startswith(f"{folder}/__pycache__/{name.removesuffix('.py')}.cpython-")
        for found in paths
    )
