"""The plugin of QEMU's: compiled once for the QEMU at hand, and one sentence where it cannot be."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from yogurtbench.core.errors import HostError
from yogurtbench.hosts.vm import qemu, tracing

Said = list[str]


@pytest.fixture
def tools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that is all of PATH, and an empty cache."""
    monkeypatch.setenv("YOGURTBENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("PATH", str(tmp_path))
    qemu.qemu_version.cache_clear()
    yield tmp_path
    qemu.qemu_version.cache_clear()


def script(folder: Path, name: str, text: str) -> None:
    (folder / name).write_text(f"#!/bin/sh\n{text}\n")
    (folder / name).chmod(0o755)


@pytest.mark.skipif(not shutil.which(qemu.PROGRAM), reason="no QEMU")
def test_it_is_compiled_once_and_taken_by_this_machines_qemu(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("YOGURTBENCH_CACHE", str(tmp_path))
    said: Said = []
    first = tracing.ensure_plugin(said.append)
    assert first.is_file() and len(said) == 1
    assert tracing.ensure_plugin(said.append) == first and len(said) == 1
    assert tracing._refusal(first) == ""


def test_without_a_compiler_the_package_is_named(tools: Path) -> None:
    script(tools, qemu.PROGRAM, "echo QEMU emulator version 7.2.22")
    with pytest.raises(HostError, match=r"no C compiler for QEMU's plugin: .*\bgcc\b"):
        tracing.ensure_plugin(print)


def test_a_qemu_without_plugins_is_quoted(tools: Path) -> None:
    script(
        tools,
        qemu.PROGRAM,
        '[ "$1" = --version ] && echo QEMU emulator version 9.9 && exit 0\n'
        "echo '-plugin: invalid option' >&2; exit 1",
    )
    script(tools, "cc", "exit 0")
    with pytest.raises(HostError, match=r"9\.9 takes no plugin of ours: -plugin: invalid option"):
        tracing.ensure_plugin(print)
    assert not list(tools.rglob("trace.so"))


def test_what_the_compiler_complains_of_is_quoted(tools: Path) -> None:
    script(tools, qemu.PROGRAM, "echo QEMU emulator version 7.2.22")
    script(tools, "gcc", "echo 'trace.c:1: error: no' >&2; exit 1")
    with pytest.raises(HostError, match=r"could not be compiled: .*error: no"):
        tracing.ensure_plugin(print)
