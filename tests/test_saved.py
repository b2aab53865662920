"""The saved guest is kept by all that decides its state, and made anew where a byte of it is another."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from yogurtbench.hosts.vm import cache, qemu, saved
from yogurtbench.hosts.vm.image import GuestImage
from yogurtbench.hosts.vm.qemu import Hardware
from yogurtbench.records import HostError
from yogurtbench.texts import Texts

STATE = bytes(range(256)) * 64
NONE = Texts()
HARDWARE = Hardware("tcg", "instructions", "pc", 1 << 20, 1)


@pytest.fixture
def image(tmp_path: Path) -> GuestImage:
    return GuestImage(tmp_path / "vmlinuz", "6.12", (), tmp_path / "smallest", "f" * 16, {})


@pytest.fixture
def boots(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Path | None]:
    """A cache of our own, and the boots that were needed: each saves a small state where it is told to."""
    made: list[Path | None] = []

    def boot_and_save(
        image: GuestImage, _overlay: Path, _compiled: Texts, _say: object, path: Path | None = None
    ) -> saved.Saved:
        made.append(path)
        state = path.open("w+b") if path else (tmp_path / "unkept").open("w+b")
        state.write(STATE)
        state.flush()
        return saved.Saved(image, HARDWARE, {"event": "ready", "boot": len(made)}, state)

    def hardware_for(*_given: object, **_more: object) -> Hardware:
        return HARDWARE

    monkeypatch.setenv("YOGURTBENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(saved, "boot_and_save", boot_and_save)
    monkeypatch.setattr(qemu, "hardware_for", hardware_for)
    monkeypatch.setattr(qemu, "version", lambda: "7.2")
    return made


def ensure(image: GuestImage, texts: Texts = NONE, said: list[str] | None = None) -> Any:
    told = [] if said is None else said
    with saved.ensure(image, Path("overlay-1.cpio"), texts, told.append) as kept:
        kept.state.seek(0)
        assert kept.state.read() == STATE
        return kept.ready


def test_a_second_run_does_not_boot(image: GuestImage, boots: list[Path | None]) -> None:
    assert ensure(image) == ensure(image) == {"event": "ready", "boot": 1}
    assert len(boots) == 1


def test_another_guest_or_other_texts_are_another_state(image: GuestImage, boots: list[Path | None]) -> None:
    ensure(image)
    ensure(image, Texts(frozenset({"head"})))
    ensure(replace(image, fingerprint="0" * 16))
    assert len(boots) == 3


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
    image: GuestImage, boots: list[Path | None], damage: Callable[[Path], None]
) -> None:
    ensure(image)
    (place,) = (path for path in cache.place("saved", "").iterdir() if path.is_dir())
    damage(place)
    said: list[str] = []
    assert ensure(image, said=said)["boot"] == 2
    assert any(str(place) in sentence and "making it anew" in sentence for sentence in said)
    assert ensure(image)["boot"] == 2


def test_a_full_disk_keeps_nothing_and_the_run_goes_on(
    image: GuestImage, boots: list[Path | None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(saved, "_SPARE", 1 << 60)
    said: list[str] = []
    ensure(image, said=said)
    assert boots == [None]
    assert "not kept" in said[0]
    assert not cache.place("saved", "").exists()


def test_a_cache_that_cannot_be_made_is_one_sentence(
    image: GuestImage, boots: list[Path | None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("YOGURTBENCH_CACHE", str(tmp_path / "file" / "cache"))
    with pytest.raises(HostError, match="cannot be kept in"):
        ensure(image)


def test_a_damaged_one_that_cannot_be_removed_is_one_sentence(
    image: GuestImage, boots: list[Path | None], monkeypatch: pytest.MonkeyPatch
) -> None:
    ensure(image)
    (place,) = (path for path in cache.place("saved", "").iterdir() if path.is_dir())
    flip_a_bit(place)
    monkeypatch.setattr(saved.shutil, "rmtree", lambda *_given, **_more: None)
    with pytest.raises(HostError, match="is damaged"):
        ensure(image)


def test_only_those_used_last_stay(image: GuestImage, boots: list[Path | None]) -> None:
    for name in "abcde":
        ensure(image, Texts(frozenset({name})))
    places = [path for path in cache.place("saved", "").iterdir() if path.is_dir()]
    assert len(places) == 3
    ensure(image, Texts(frozenset({"e"})))
    assert len(boots) == 5
