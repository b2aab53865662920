"""The bpf(2) system call, for the commands that bcc does not offer."""

from __future__ import annotations

import ctypes
import os
import platform

#: Its number on x86-64, and in the table that newer architectures share
#: (include/uapi/asm-generic/unistd.h).
_NUMBERS = {"x86_64": 321, "AMD64": 321}
_GENERIC = 280
#: sizeof(union bpf_attr) has grown past this; shorter than the kernel's is fine, the rest is taken
#: as zeros.
_SIZE = 128


def bpf(command: int, attribute: bytes) -> int:
    """Call it with the first fields of a ``union bpf_attr``; what it returns. Raises OSError."""
    return filled(command, attribute)[0]


def filled(command: int, attribute: bytes) -> tuple[int, bytes]:
    """Return the same, with the ``union bpf_attr`` as the kernel left it."""
    buffer = ctypes.create_string_buffer(attribute, _SIZE)
    libc = ctypes.CDLL(None, use_errno=True)
    done = libc.syscall(_NUMBERS.get(platform.machine(), _GENERIC), command, buffer, _SIZE)
    if done < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return int(done), buffer.raw
