"""A booted guest, saved the moment it stood still, and woken as often as wanted: each time equal to the last bit."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

from yogurtbench.hosts.vm import qemu
from yogurtbench.hosts.vm.guest.still import ORDER_SIZE
from yogurtbench.hosts.vm.image import GuestImage
from yogurtbench.hosts.vm.qemu import Guest, Hardware
from yogurtbench.records import HostError
from yogurtbench.texts import Texts

#: Generous: a machine whose cores are busy takes minutes to compile the wires in emulation.
_SECONDS = 600.0
_POLL = 0.02
#: Characters of the wires of one's own that the first order has room for, escaped; what is left out is compiled by its
#: trials.
_SOURCES = ORDER_SIZE // 2


@dataclass(frozen=True, slots=True)
class Saved:
    """The state of a guest in an unlinked file; ``ready`` is what its agent had said. A context manager."""

    image: GuestImage
    hardware: Hardware
    ready: dict[str, Any]
    state: IO[bytes]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Forget the state."""
        self.state.close()


def boot_and_save(
    image: GuestImage, overlay: Path, compiled: Texts, say: Callable[[str], None] = lambda _: None
) -> Saved:
    """Boot a guest on the instruction clock until it has compiled these texts and stands still, and save it.

    Raises HostError where that fails.
    """
    order = {"compile": compiled.bounded(_SOURCES).to_json()}
    with ExitStack() as undo:
        state = undo.enter_context(tempfile.TemporaryFile())
        with qemu.boot(image, "tcg", overlay=overlay, order=order, say=say) as guest:
            _until_still(guest)
            guest.monitor.execute("migrate-set-parameters", **{"max-bandwidth": 1 << 40})
            guest.monitor.give("state", state.fileno())
            guest.monitor.execute("migrate", uri="fd:state")
            _until(guest, "postmigrate", "be saved")
            saved = Saved(image, guest.hardware, guest.ready, state)
        undo.pop_all()
        return saved


def wake(saved: Saved, order: dict[str, Any]) -> Guest:
    """A guest that goes on from the saved state and carries out one order; its answer comes over ``channel``.

    Any number may be awake at once. Raises HostError where QEMU does not take the state.
    """
    with ExitStack() as undo:
        state = undo.enter_context(_opened_anew(saved.state))
        nothing = undo.enter_context(tempfile.TemporaryFile())  # the initramfs is in the state, long unpacked
        written = undo.enter_context(qemu.order_file(order))
        guest = Guest(saved.image, saved.hardware, nothing, written, state)
        with ExitStack() as on_failure:
            on_failure.callback(guest.close)
            _until(guest, "guest-panicked", "be restored")
            guest.monitor.execute("cont")
            guest.ready = saved.ready
            on_failure.pop_all()
        return guest


def _opened_anew(file: IO[bytes]) -> IO[bytes]:
    """The same file with a position of its own, at its start."""
    return open(f"/proc/self/fd/{file.fileno()}", "rb")


def _until_still(guest: Guest) -> None:
    """Wait for a guest that runs, without asking it anything: each question wakes QEMU's main loop beside it."""
    try:
        guest.monitor.wait_until_stopped(_SECONDS)
    except TimeoutError:
        raise HostError(f"the guest did not stand still within {_SECONDS:g} s") from None
    except EOFError:
        raise HostError(f"the guest could not stand still: {guest.obituary()}") from None


def _until(guest: Guest, status: str, what: str) -> None:
    """Ask a guest that stands still until its status is this."""
    deadline = time.monotonic() + _SECONDS
    while time.monotonic() < deadline:
        try:
            now = guest.monitor.execute("query-status")["status"]
        except EOFError:
            raise HostError(f"the guest could not {what}: {guest.obituary()}") from None
        except TimeoutError:
            raise HostError(f"the guest could not {what}: QEMU answers no more: {guest.obituary()}") from None
        if now == status:
            return
        time.sleep(_POLL)
    raise HostError(f"the guest could not {what} within {_SECONDS:g} s: it is {now}")
