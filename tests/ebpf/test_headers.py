"""Kernel headers for bcc: whose are taken, and how Debian's two trees become one."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from yogurtbench.core.errors import HostError
from yogurtbench.ebpf import headers


class Machine:
    """A file system as far as headers look at it."""

    def __init__(self, root: Path) -> None:
        self.modules, self.sources = root / "modules", root / "src"
        self.kheaders = root / "kheaders.tar.xz"
        for folder in (self.modules, self.sources):
            folder.mkdir()

    def own(self) -> Path:
        build = self.modules / os.uname().release / "build"
        build.mkdir(parents=True)
        return build

    def flavour(self, release: str, common: bool = False) -> Path:
        """A tree below /usr/src; Debian's way, its common part lies beside it."""
        tree = self.sources / f"linux-headers-{release}-amd64"
        (tree / "include/generated").mkdir(parents=True)
        (tree / "include/generated/autoconf.h").write_text(f"/* {release} */")
        if common:
            other = self.sources / f"linux-headers-{release}-common"
            (other / "include/linux").mkdir(parents=True)
            (other / "include/linux/types.h").write_text("/* common */")
            (other / "Makefile").write_text("# common")
            (tree / "Makefile").write_text(f"include {other}/Makefile\n")
        return tree


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    made = Machine(tmp_path)
    monkeypatch.setattr(headers, "_MODULES", made.modules)
    monkeypatch.setattr(headers, "_SOURCES", made.sources)
    monkeypatch.setattr(headers, "_KHEADERS", made.kheaders)
    monkeypatch.setenv("YOGURTBENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("BCC_KERNEL_SOURCE", "")  # so that what provide() sets is undone
    return made


def test_the_running_kernels_own_headers_come_first(machine: Machine) -> None:
    machine.flavour("6.12.1")
    own = machine.own()
    assert headers.find_headers() == own
    headers.provide_headers()
    assert not os.environ["BCC_KERNEL_SOURCE"]  # bcc finds them by itself


def test_the_kernels_own_archive_comes_next(machine: Machine) -> None:
    machine.flavour("6.12.1")
    machine.kheaders.touch()
    assert headers.find_headers() == machine.kheaders


def test_of_foreign_headers_the_newest_release_is_taken_by_number(machine: Machine) -> None:
    machine.flavour("6.9.12")
    newest = machine.flavour("6.12.3")
    machine.flavour("6.1.170")
    assert headers.find_headers() == newest


def test_a_tree_without_generated_headers_is_no_headers(machine: Machine) -> None:
    (machine.sources / "linux-headers-6.12.1-common/include").mkdir(parents=True)
    assert headers.find_headers() is None


def test_what_the_user_names_comes_before_all(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine.own()
    monkeypatch.setenv("BCC_KERNEL_SOURCE", "/somewhere/else")
    assert headers.find_headers() == Path("/somewhere/else")
    headers.provide_headers()
    assert os.environ["BCC_KERNEL_SOURCE"] == "/somewhere/else"


def test_no_headers_at_all_is_a_host_error_with_the_command(machine: Machine) -> None:
    with pytest.raises(HostError, match="apt-get install linux-headers-amd64"):
        headers.provide_headers()


def test_debians_two_trees_are_merged_and_the_flavours_files_win(machine: Machine) -> None:
    flavour = machine.flavour("6.12.1", common=True)
    headers.provide_headers()
    merged = Path(os.environ["BCC_KERNEL_SOURCE"])
    assert (merged / "include/generated/autoconf.h").read_text() == "/* 6.12.1 */"
    assert (merged / "include/linux/types.h").read_text() == "/* common */"
    assert (merged / "Makefile").resolve() == flavour / "Makefile"
    assert [path.name for path in merged.parent.iterdir()] == [
        flavour.name
    ]  # nothing half made beside it


def test_merged_headers_are_made_once(machine: Machine) -> None:
    machine.flavour("6.12.1", common=True)
    headers.provide_headers()
    merged = Path(os.environ["BCC_KERNEL_SOURCE"])
    made = merged.stat().st_ino
    os.environ["BCC_KERNEL_SOURCE"] = ""
    headers.provide_headers()
    assert Path(os.environ["BCC_KERNEL_SOURCE"]).stat().st_ino == made


def test_where_another_run_was_faster_its_headers_are_taken(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine.flavour("6.12.1", common=True)

    def overtaken(self: Path, target: Path) -> Path:
        (target / "include").mkdir(parents=True)
        raise OSError("the folder is not empty")

    monkeypatch.setattr(Path, "rename", overtaken)
    headers.provide_headers()
    merged = Path(os.environ["BCC_KERNEL_SOURCE"])
    assert [path.name for path in merged.parent.iterdir()] == [merged.name]


def test_a_tree_that_stands_alone_is_taken_as_it_is(machine: Machine) -> None:
    alone = machine.flavour("6.12.1")
    headers.provide_headers()
    assert os.environ["BCC_KERNEL_SOURCE"] == str(alone)
