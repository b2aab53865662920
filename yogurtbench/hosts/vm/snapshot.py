"""A booted guest, saved while stopped and resumed any number of times.

It is kept in the cache, by all that decides its state: a later run that needs the same one does not
boot at all. On the instruction clock it goes on identical to the last bit each time. On the wall
clock only emulated guests are saved: under KVM a boot takes a second.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from yogurtbench.agent.checkpoint import ORDER_SIZE
from yogurtbench.core.builds import COMMON, ProgramBuilds
from yogurtbench.core.closing import Closing
from yogurtbench.core.errors import HostError
from yogurtbench.core.records import canonical
from yogurtbench.hosts.vm import cache, qemu
from yogurtbench.hosts.vm.cache import Say
from yogurtbench.hosts.vm.guest import Guest, boot_guest, order_file
from yogurtbench.hosts.vm.image import GuestImage
from yogurtbench.hosts.vm.qemu import MachineConfig, TraceFiles

#: Generous: a machine whose cores are busy takes minutes to compile the wires in emulation.
_SECONDS = 600.0
_POLL = 0.02
#: Characters of the custom wires that the first order has room for, escaped; what is left out
#: is compiled by its trials.
_SOURCES = ORDER_SIZE // 2
_KIND, _STATE, _FACTS = "saved", "state", "meta.json"
#: Saved guests that stay in the cache, each some 600 MB: those used last.
_KEPT = 4
#: Bytes of disk that must stay free beside a saved guest.
_SPARE = 1 << 29


class _Damaged(HostError):
    """A kept guest is not what was saved."""


@dataclass(frozen=True, slots=True)
class Snapshot(Closing):
    """The state of a guest in an open file; ``ready`` is what its agent had said.

    A context manager.
    """

    image: GuestImage
    hardware: MachineConfig
    ready: dict[str, Any]
    state: IO[bytes]

    def close(self) -> None:
        """Forget the state."""
        self.state.close()


def ensure_snapshot(
    image: GuestImage, overlay: Path, compiled: ProgramBuilds, say: Say
) -> Snapshot:
    """Return a saved guest that has compiled these texts and COMMON, made where none is kept.

    A guest for COMMON boots; any other goes on from that one, compiles the rest and is saved again.
    A kept one that is damaged is made anew, and ``say`` gets a line. Raises HostError where it can
    be neither made nor saved.
    """
    hardware = qemu.hardware_for(image, overlay, "tcg", exact=True)
    rest = compiled - COMMON

    def boot(path: Path | None) -> Snapshot:
        return _boot(image, overlay, say, path)

    def compile_rest(path: Path | None) -> Snapshot:
        with ensure_snapshot(image, overlay, COMMON, say) as common:
            return _compile(common, rest, say, path)

    name = qemu.state_fingerprint(image, overlay, hardware, _compile_request(rest | COMMON))
    return _ensure(
        cache.cache_path(_KIND, name), image, hardware, compile_rest if rest else boot, say
    )


def start_emulated(image: GuestImage, overlay: Path, say: Say) -> Guest:
    """Resume an emulated wall-clock guest that has compiled COMMON, made where none is kept.

    Without room for its state it is only booted, and compiles when a trial needs it. Raises
    HostError where it cannot be started.
    """
    hardware = qemu.hardware_for(image, overlay, "tcg", exact=False)
    place = cache.cache_path(
        _KIND, qemu.state_fingerprint(image, overlay, hardware, _compile_request(COMMON))
    )
    if not place.is_dir() and _lacks_room(place, hardware):
        return boot_guest(image, "tcg", overlay=overlay, say=say)

    def boot(path: Path | None) -> Snapshot:
        say("booting an emulated guest, and saving it for the next run")
        with boot_guest(image, "tcg", overlay=overlay, say=say) as guest:
            _request_compile(guest)
            guest.monitor.execute("stop")
            return _save(guest, image, path)

    with _ensure(place, image, hardware, boot, say) as saved:
        return _resume_running(saved)


def _request_compile(guest: Guest) -> None:
    """Let a running guest compile COMMON.

    What it cannot compile, the trials that need it will report.
    """
    guest.channel.send(_compile_request(COMMON))
    try:
        while guest.channel.receive(_SECONDS)["event"] != "exit":
            pass
    except TimeoutError:
        raise HostError(f"the guest did not compile its programs within {_SECONDS:g} s") from None
    except EOFError:
        raise HostError(
            f"the guest died while it compiled its programs: {guest.failure_reason()}"
        ) from None


def _resume_running(saved: Snapshot) -> Guest:
    """Return a guest that goes on from the saved state, its clock set to now, and takes requests
    over ``channel``.
    """
    with _restored(saved, "paused") as guest:
        guest.monitor.execute("cont")
        guest.channel.send({"op": "clock", "seconds": time.time()})
    return guest


def _ensure(
    place: Path,
    image: GuestImage,
    hardware: MachineConfig,
    make: Callable[[Path | None], Snapshot],
    say: Say,
) -> Snapshot:
    """Return the guest kept at a place.

    Where there is none, what ``make`` saves in the file that it is given.
    """
    if not place.is_dir() and (short := _lacks_room(place, hardware)):
        say(f"the saved guest is not kept for the next run: {short}")
        return make(None)

    def build(into: Path) -> None:
        with make(into / _STATE) as saved:
            facts = {"ready": saved.ready, "digest": _digest(saved.state)}
            (into / _FACTS).write_text(canonical(facts))
        cache.keep_newest(_KIND, _KEPT - 1)  # and this one

    try:
        return _load_kept(cache.ensure_folder(_KIND, place.name, build, say), image, hardware)
    except _Damaged as damage:
        say(f"{damage}: making it anew")
        shutil.rmtree(place, ignore_errors=True)
        return _load_kept(cache.ensure_folder(_KIND, place.name, build, say), image, hardware)


def _load_kept(place: Path, image: GuestImage, hardware: MachineConfig) -> Snapshot:
    """Return the guest that is kept there. Raises _Damaged where a byte of it is another."""
    with ExitStack() as undo:
        try:
            facts = json.loads((place / _FACTS).read_bytes())
            state = undo.enter_context((place / _STATE).open("rb"))
            if _digest(state) != facts["digest"]:
                raise _Damaged(f"the saved guest in {place} is damaged")
            with suppress(PermissionError):  # another user's cache
                os.utime(place)
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise _Damaged(f"the saved guest in {place} cannot be read ({error})") from None
        undo.pop_all()
        return Snapshot(image, hardware, facts["ready"], state)


def _lacks_room(place: Path, hardware: MachineConfig) -> str:
    """Return why a state of at most this size cannot be kept there; empty where it can."""
    free = shutil.disk_usage(cache.existing_parent(place)).free
    needed = hardware.memory + _SPARE
    return (
        f"{place.parent} has {free >> 20} MiB free of the {needed >> 20} it may take"
        if free < needed
        else ""
    )


def _digest(state: IO[bytes]) -> str:
    state.seek(0)
    return hashlib.file_digest(state, "sha256").hexdigest()  # type: ignore[arg-type]


def _compile_request(compiled: ProgramBuilds) -> dict[str, Any]:
    return {"op": "compile", "texts": compiled.truncated(_SOURCES).to_json()}


def make_snapshot(image: GuestImage, overlay: Path, compiled: ProgramBuilds, say: Say) -> Snapshot:
    """Do as :func:`ensure`, but boot a guest and keep nothing: its state is in unlinked files."""
    common = _boot(image, overlay, say, None)
    if not (rest := compiled - COMMON):
        return common
    with common:
        return _compile(common, rest, say, None)


def _boot(image: GuestImage, overlay: Path, say: Say, path: Path | None) -> Snapshot:
    """Boot a guest on the instruction clock until it has compiled COMMON and stands still, and save
    it.

    Its state is in ``path``, or in an unlinked file. Raises HostError where that fails.
    """
    say("booting a guest on the instruction clock, and saving it")
    with boot_guest(
        image, "tcg", overlay=overlay, order=_compile_request(COMMON), say=say
    ) as guest:
        _wait_until_stopped(guest)
        return _save(guest, image, path)


def _compile(common: Snapshot, rest: ProgramBuilds, say: Say, path: Path | None) -> Snapshot:
    """Let a saved guest compile more texts, and save it when it stands still again."""
    say("compiling this matrix's own programs in the saved guest, once")
    with resume(common, _compile_request(rest)) as guest:
        _wait_until_stopped(guest)
        return _save(guest, common.image, path)


def _save(guest: Guest, image: GuestImage, path: Path | None) -> Snapshot:
    """Save a guest that stands still."""
    with ExitStack() as undo:
        state = undo.enter_context(path.open("w+b") if path else tempfile.TemporaryFile())  # noqa: SIM115
        guest.monitor.execute("migrate-set-parameters", **{"max-bandwidth": 1 << 40})
        guest.monitor.give("state", state.fileno())
        guest.monitor.execute("migrate", uri="fd:state")
        _wait_until(guest, "postmigrate", "be saved")
        undo.pop_all()
        return Snapshot(image, guest.hardware, guest.ready, state)


def resume(saved: Snapshot, order: dict[str, Any], trace: TraceFiles | None = None) -> Guest:
    """Return a guest that goes on from the saved state and carries out one order.

    Its answer comes over ``channel``; ``trace``: what it executes is recorded there.

    Any number may be awake at once. Raises HostError where QEMU does not take the state.
    """
    with (
        order_file(order) as written,
        _restored(saved, "guest-panicked", written, trace) as guest,
    ):
        if order["op"] == "compile":  # it will stop itself again
            guest.monitor.execute("set-action", panic="pause")
        guest.monitor.execute("cont")
    return guest


@contextmanager
def _restored(
    saved: Snapshot,
    status: str,
    order: IO[bytes] | None = None,
    trace: TraceFiles | None = None,
) -> Iterator[Guest]:
    """Yield a guest in the saved state, which stands still in this status of QEMU's.

    It stays when the block ends well, and is closed when the block raises.
    """
    # No initramfs: it is in the state, long unpacked.
    with _reopen(saved.state) as state, tempfile.TemporaryFile() as nothing, ExitStack() as failed:
        guest = Guest(saved.image, saved.hardware, nothing, order, saved=True, trace=trace)
        failed.callback(guest.close)
        _read_state(guest, state)
        _wait_until(guest, status, "be restored")
        guest.ready = saved.ready
        yield guest
        failed.pop_all()


def _read_state(guest: Guest, state: IO[bytes]) -> None:
    """Let a guest that has not begun read its state.

    Without announcing itself on its networks afterwards (qemu_announce_self): there are none, and
    the timers of it would wake QEMU's main loop five times in the second after, which moves the
    instruction clock if it falls in the wrong moment (see scheduling).
    """
    guest.monitor.execute("migrate-set-parameters", **{"announce-rounds": 0})
    guest.monitor.give("state", state.fileno())
    guest.monitor.execute("migrate-incoming", uri="fd:state")


def _reopen(file: IO[bytes]) -> IO[bytes]:
    """Return the same file with a position of its own, at its start."""
    return open(f"/proc/self/fd/{file.fileno()}", "rb")


def _wait_until_stopped(guest: Guest) -> None:
    """Wait for a running guest without polling it: each request wakes QEMU's main loop."""
    try:
        guest.monitor.wait_until_stopped(_SECONDS)
    except TimeoutError:
        raise HostError(f"the guest did not stand still within {_SECONDS:g} s") from None
    except EOFError:
        raise HostError(f"the guest could not stand still: {guest.failure_reason()}") from None


def _wait_until(guest: Guest, status: str, what: str) -> None:
    """Ask a guest that stands still until its status is this."""
    deadline = time.monotonic() + _SECONDS
    while time.monotonic() < deadline:
        try:
            now = guest.monitor.execute("query-status")["status"]
        except EOFError:
            raise HostError(f"the guest could not {what}: {guest.failure_reason()}") from None
        except TimeoutError:
            raise HostError(
                f"the guest could not {what}: QEMU answers no more: {guest.failure_reason()}"
            ) from None
        if now == status:
            return
        time.sleep(_POLL)
    raise HostError(f"the guest could not {what} within {_SECONDS:g} s: it is {now}")
