"""The saved guest is kept by all that decides its state, and made anew where a byte of it is
another.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from yogurtbench.core.builds import ProgramBuilds, UserProgram
from yogurtbench.core.errors import HostError
from yogurtbench.hosts.vm import cache, qemu, snapshot
from yogurtbench.hosts.vm.image import GuestImage
from yogurtbench.hosts.vm.qemu import MachineConfig

STATE = bytes(range(256)) * 64
NONE = ProgramBuilds()
MINE = ProgramBuilds(own=frozenset({(UserProgram("mine.c", "int wire;"), False)}))
HARDWARE = MachineConfig("tcg", "instructions", "pc", 1 << 20, 1)


@pytest.fixture
def image(tmp_path: Path) -> GuestImage:
    return GuestImage(tmp_path / "vmlinuz", "6.12", (), tmp_path / "smallest", "f" * 16, {})


@dataclass
class Made:
    """The guests that were made: where each boot and each compilation was told to save its
    state.
    """

    boots: list[Path | None] = field(default_factory=list)
    compiled: list[Path | None] = field(default_factory=list)


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Made:
    """A cache of our own, and what was made for it: each saves a small state."""
    made = Made()

    def save(image: GuestImage, path: Path | None) -> snapshot.Snapshot:
        state = path.open("w+b") if path else (tmp_path / "unkept").open("w+b")
        state.write(STATE)
        state.flush()
        return snapshot.Snapshot(
            image, HARDWARE, {"event": "ready", "boot": len(made.boots)}, state
        )

    def boot(
        image: GuestImage, _overlay: Path, _say: object, path: Path | None
    ) -> snapshot.Snapshot:
        made.boots.append(path)
        return save(image, path)

    def compile_more(
        common: snapshot.Snapshot, _rest: ProgramBuilds, _say: object, path: Path | None
    ) -> snapshot.Snapshot:
        made.compiled.append(path)
        return save(common.image, path)

    def hardware_for(*_given: object, **_more: object) -> MachineConfig:
        return HARDWARE

    monkeypatch.setenv("YOGURTBENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(snapshot, "_boot", boot)
    monkeypatch.setattr(snapshot, "_compile", compile_more)
    monkeypatch.setattr(qemu, "hardware_for", hardware_for)
    monkeypatch.setattr(qemu, "qemu_version", lambda: "7.2")
    return made


def ensure(image: GuestImage, texts: ProgramBuilds = NONE, said: list[str] | None = None) -> Any:
    told = [] if said is None else said
    with snapshot.ensure_snapshot(image, Path("overlay-1.cpio"), texts, told.append) as kept:
        kept.state.seek(0)
        assert kept.state.read() == STATE
        return kept.ready


def test_a_second_run_does_not_boot(image: GuestImage, made: Made) -> None:
    assert ensure(image) == ensure(image) == {"event": "ready", "boot": 1}
    assert len(made.boots) == 1


def test_one_guest_serves_every_matrix_with_the_programs_of_bpf(
    image: GuestImage, made: Made
) -> None:
    for names in ({"head"}, {"head+trace", "drops"}, {"blind"}):
        ensure(image, ProgramBuilds(frozenset(names)))
    assert (len(made.boots), made.compiled) == (1, [])


def test_another_guest_boots_and_other_texts_are_compiled_in_the_kept_one(
    image: GuestImage, made: Made
) -> None:
    ensure(image)
    ensure(image, MINE)
    ensure(image, MINE | ProgramBuilds(frozenset({"head"})))
    assert (len(made.boots), len(made.compiled)) == (1, 1)
    ensure(replace(image, fingerprint="0" * 16))
    assert (len(made.boots), len(made.compiled)) == (2, 1)


def test_a_guest_made_anew_takes_nothing_from_the_cache_and_keeps_nothing(
    image: GuestImage, made: Made
) -> None:
    ensure(image, MINE)
    with snapshot.make_snapshot(image, Path("overlay-1.cpio"), MINE, lambda _: None):
        assert made.boots[1:] == made.compiled[1:] == [None]


def flip_a_bit(place: Path) -> None:
    content = bytearray((place / "state").read_bytes())
    content[len(content) // 2] ^= 1
    (place / "state").write_bytes(content)


def cut(place: Path) -> None:
    (place / "state").write_bytes(STATE[:-1])


def remove(place: Path) -> None:
    (place / "state").unlink()


def garble(place: Path) -> None:
    (place / "meta.json").write_text("{")


def empty(place: Path) -> None:
    (place / "meta.json").write_text(json.dumps([]))


@pytest.mark.parametrize("damage", [flip_a_bit, cut, remove, garble, empty])
def test_a_damaged_one_is_made_anew_and_said(
    image: GuestImage, made: Made, damage: Callable[[Path], None]
) -> None:
    ensure(image)
    (place,) = (path for path in cache.cache_path("saved", "").iterdir() if path.is_dir())
    damage(place)
    said: list[str] = []
    assert ensure(image, said=said)["boot"] == 2
    assert any(str(place) in sentence and "making it anew" in sentence for sentence in said)
    assert ensure(image)["boot"] == 2


def test_a_full_disk_keeps_nothing_and_the_run_goes_on(
    image: GuestImage, made: Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(snapshot, "_SPARE", 1 << 60)
    said: list[str] = []
    ensure(image, said=said)
    assert made.boots == [None]
    assert "not kept" in said[0]
    assert not cache.cache_path("saved", "").exists()


def test_a_cache_that_cannot_be_made_is_one_sentence(
    image: GuestImage, made: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("YOGURTBENCH_CACHE", str(tmp_path / "file" / "cache"))
    with pytest.raises(HostError, match="cannot be kept in"):
        ensure(image)


def test_a_damaged_one_that_cannot_be_removed_is_one_sentence(
    image: GuestImage, made: Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    ensure(image)
    (place,) = (path for path in cache.cache_path("saved", "").iterdir() if path.is_dir())
    flip_a_bit(place)
    monkeypatch.setattr(snapshot.shutil, "rmtree", lambda *_given, **_more: None)
    with pytest.raises(HostError, match="is damaged"):
        ensure(image)


def test_only_those_used_last_stay(image: GuestImage, made: Made) -> None:
    for name in "abcdef":
        ensure(image, ProgramBuilds(frozenset({name})))
    assert (len(made.boots), len(made.compiled)) == (1, 6)
    places = [path for path in cache.cache_path("saved", "").iterdir() if path.is_dir()]
    assert len(places) == 4
    for names in ({"f"}, {"head"}):  # that which all others begin from is used by each that is made
        ensure(image, ProgramBuilds(frozenset(names)))
    assert (len(made.boots), len(made.compiled)) == (1, 6)
