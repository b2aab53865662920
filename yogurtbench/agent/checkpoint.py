"""Deterministic checkpoint: stop the VM at an exact instruction, and read the request on resume.

An order over the serial port would arrive at some moment of the host's time. The pvpanic port stops
the machine at the very instruction that writes to it, and a file of QEMU's firmware configuration
is read synchronously, so that each wake-up is the same to the last instruction.
"""

from __future__ import annotations

import ctypes
import fcntl
import json
import mmap
import os
import termios
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from yogurtbench.core.clock import NS_PER_S, align_to_step, sleep_until

#: Bytes of the order's file: one size for all, since the guest learns it when it boots.
ORDER_SIZE = 1 << 17
ORDER_NAME = "opt/yogurtbench/order"
_ORDER = Path("/sys/firmware/qemu_fw_cfg/by_name", ORDER_NAME, "raw")
_LINE = "/dev/ttyS1"
#: Instructions (guest nanoseconds) from the stop until the guest goes on: three times what the
#: clock may leap.
SETTLING = 100_000
_SLED = 64
_ALL_PORTS = 3
_REST = 3
#: asm-generic/ioctls.h
_TIOCSERGETLSR, _TIOCSER_TEMT = 0x5459, 1
_POLL = 0.001
#: Bytes that stay free while the rest is cleared.
_LEFT_FREE = 64 << 20


def missing_features() -> list[str]:
    """Return what this kernel lacks to be stopped, each with the setting that brings it."""
    needed = {
        "driver of QEMU's firmware configuration (qemu_fw_cfg, "
        "CONFIG_FW_CFG_SYSFS)": _ORDER.exists(),
        "iopl(2) (CONFIG_X86_IOPL_IOPERM)": _may_use_ports(ctypes.CDLL(None)),
    }
    return [what for what, is_there in needed.items() if not is_there]


def wait_for_request() -> dict[str, Any]:
    """Stand still until woken, then the order that the waker left, at a fixed moment of guest
    time.
    """
    clear_free_memory()
    moment = (int(time.monotonic()) + _REST) * NS_PER_S
    with _drained():  # a machine that stands still sends nothing
        pass
    # Before the CPU is busy to the stop, its clock leaps to a deadline: what an earlier leap took
    # too far is gone.
    align_to_step()
    _stop_vm()
    found = read_request()
    sleep_until(moment)
    return found


def read_request() -> dict[str, Any]:
    """Read the order that the host left for this boot or this waking.

    Up to its end only: the kernel reads such a file byte by byte, a page at a time, each time from
    its beginning.
    """
    content = b""
    with _ORDER.open("rb", buffering=0) as file:
        while b"\0" not in content and (page := file.read(mmap.PAGESIZE)):
            content += page
    found: dict[str, Any] = json.loads(content.partition(b"\0")[0])
    return found


def flush_serial() -> None:
    """Return when all output is with the host.

    A machine that powers off loses what is still under way.

    QEMU holds bytes back while they are not taken (side by side, the host is busy waking another
    guest), and tcdrain(3) does not wait for the chip's own queue for long: the kernel is asked
    whether that is empty (TIOCSERGETLSR).
    """
    with _drained() as line:
        while (
            not int.from_bytes(fcntl.ioctl(line, _TIOCSERGETLSR, bytes(4)), "little")
            & _TIOCSER_TEMT
        ):
            time.sleep(_POLL)


def clear_free_memory() -> None:
    """Leave zeros in memory that is free, above all where the initramfs was: pages of zeros are not
    saved.
    """
    lines = Path("/proc/meminfo").read_text().splitlines()
    free = next(int(line.split()[1]) << 10 for line in lines if line.startswith("MemFree:"))
    flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | mmap.MAP_POPULATE
    mmap.mmap(-1, max(mmap.PAGESIZE, free - _LEFT_FREE), flags=flags).close()


def _stop_vm() -> None:
    """Stop the machine, and go on when it is woken."""
    libc = ctypes.CDLL(None, use_errno=True)
    if not _may_use_ports(libc):
        raise OSError(ctypes.get_errno(), "iopl")
    page = mmap.mmap(-1, mmap.PAGESIZE, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    page.write(_stop_code())
    ctypes.CFUNCTYPE(None)(ctypes.addressof(ctypes.c_char.from_buffer(page)))()


def _may_use_ports(libc: ctypes.CDLL) -> bool:
    return not libc.iopl(_ALL_PORTS)


def _stop_code() -> bytes:
    """Return the stop: a C function that returns at one exact instruction, whatever the clock did.

    Where QEMU's main loop finds the CPU stopped and the machine still running, it lets the clock
    leap to the next event (icount_start_warp_timer); beside busy cores it mostly does not. So
    nothing may happen that would tell the guest: it stops just behind a tick of the kernel, known
    by the gap an interrupt leaves, and before that arms the old timer chip (the PIT, in the mode
    that ends without an interrupt) to be the next event there is, 40 of its ticks or 34 us away.
    The time that is left of SETTLING is spent to the instruction: what the loop leaves is a jump
    into a row of nops. Nothing is returned: Python has small numbers ready, and makes large ones,
    in 31 instructions.
    """
    end, sled_end = _little(SETTLING), _little(SETTLING + _SLED)
    return bytes.fromhex(
        "0f31"  # rdtsc
        # 1: mov %eax, %esi; rdtsc; …: as long as less than 500 have gone by
        "89c6 0f31 89c1 29f1 81f9f4010000 72f0"
        # mov $0x32, %al; out %al, $0x43; mov $40, %al; out %al, $0x40; …
        "b032 e643 b028 e640 b000 e640"
        "0f31 89c6"  # rdtsc; mov %eax, %esi
        # mov $0x505, %dx; mov $1, %al; out %al, %dx: "panicked" (QEMU's docs/specs/pvpanic.rst)
        "66ba0505 b001 ee"
        f"0f31 29f0 3d{end} 72f5"  # 2: rdtsc; sub %esi, %eax; cmp $end, %eax; jb 2b
        # mov $sled_end, %ecx; sub %eax, %ecx; jae 3f; xor %ecx, %ecx
        f"b9{sled_end} 29c1 7302 31c9"
        # 3: lea 4f(%rip), %rdx; sub %rcx, %rdx; jmp *%rdx
        f"488d15{_little(7 - 2 + _SLED)} 4829ca ffe2"
        f"{'90' * _SLED} c3"  # nop …; 4: ret
    )


def _little(number: int) -> str:
    return number.to_bytes(4, "little").hex()


@contextmanager
def _drained() -> Iterator[int]:
    """Yield the serial port, after what was said has left it for the chip (tcdrain(3))."""
    line = os.open(_LINE, os.O_WRONLY | os.O_NOCTTY)
    try:
        termios.tcdrain(line)
        yield line
    finally:
        os.close(line)
