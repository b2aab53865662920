"""A guest that stands still: it stops itself at one exact instruction, is saved, and finds its order when it wakes.

An order over the serial port would arrive at some moment of the host's time. The pvpanic port stops the machine at the
very instruction that writes to it, and a file of QEMU's firmware configuration is read synchronously, so that each
wake-up is the same to the last instruction.
"""

from __future__ import annotations

import ctypes
import json
import mmap
import os
import termios
import time
from pathlib import Path
from typing import Any

#: Bytes of the order's file: one size for all, since the guest learns it when it boots.
ORDER_SIZE = 1 << 17
ORDER_NAME = "opt/yogurtbench/order"
_ORDER = Path("/sys/firmware/qemu_fw_cfg/by_name", ORDER_NAME, "raw")
_LINE = "/dev/ttyS1"
#: mov $0x505, %dx; mov $1, %al; out %al, %dx: "panicked", to pvpanic's port (QEMU's docs/specs/pvpanic.rst).
_PANICKED = "66ba0505b001ee"
#: rdtsc; mov %eax, %esi; PANICKED; rdtsc; sub %esi, %eax; ret: stop, and return how far the clock went meanwhile.
_STOP = bytes.fromhex(f"0f3189c6{_PANICKED}0f3129f0c3")
_ALL_PORTS = 3
_ABSOLUTE = 1
_REST = 3


def wait_for_order() -> dict[str, Any]:
    """Stand still until woken, then the order that the waker left, at a fixed moment of guest time.

    The order is given its ``stop``: how many instructions the clock went on while the machine came to a stop. It should
    be the few of the stop itself. Where QEMU's main loop finds the CPU stopped and the machine still running, it lets
    the clock leap to its next tick (icount_start_warp_timer); the fixed moment, more than a second later, is the same
    either way, but the scheduler's memory is not.
    """
    stop = _stopper()
    moment = int(time.monotonic()) + _REST
    _drain()
    instructions = stop()
    order: dict[str, Any] = json.loads(_ORDER.read_bytes().rstrip(b"\0"))
    _sleep_until(moment)
    return {**order, "stop": instructions}


def _sleep_until(moment: int) -> None:
    """Sleep until a whole second of the monotonic clock, exactly: clock_nanosleep(2) with an absolute time."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.clock_nanosleep(time.CLOCK_MONOTONIC, _ABSOLUTE, (ctypes.c_long * 2)(moment, 0), None)


def _stopper() -> Any:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.iopl(_ALL_PORTS):
        raise OSError(ctypes.get_errno(), "iopl")
    page = mmap.mmap(-1, mmap.PAGESIZE, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    page.write(_STOP)
    function = ctypes.CFUNCTYPE(ctypes.c_uint32)(ctypes.addressof(ctypes.c_char.from_buffer(page)))
    function.page = page  # type: ignore[attr-defined]  # lives as long as the function
    return function


def _drain() -> None:
    """What was said must have left the serial port: a machine that stands still sends nothing."""
    line = os.open(_LINE, os.O_WRONLY | os.O_NOCTTY)
    termios.tcdrain(line)
    os.close(line)
