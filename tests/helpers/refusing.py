"""Has the kernel refuse this process system calls, as a container's seccomp filter does
(seccomp(2)).
"""

from __future__ import annotations

import ctypes
import struct

SOCKET, SENDTO = 41, 44  # x86-64
_PR_SET_NO_NEW_PRIVS, _PR_SET_SECCOMP, _MODE_FILTER = 38, 22, 2
_ALLOW, _ERRNO = 0x7FFF0000, 0x00050000
_LOAD, _EQUAL, _AND, _RETURN = 0x20, 0x15, 0x54, 0x06
_TYPE_MASK = 0xF


def refuse(call: int, number: int, arguments: dict[str, int]) -> None:
    """Answer a call with an error number where its arguments (their position from 0) have these
    values.

    The number 0 is the worst: the call seems to have worked, and did nothing. Flags in socket(2)'s
    type do not count.
    """
    wanted = {
        0: call,
        **{16 + 8 * int(at): value for at, value in arguments.items()},
    }  # struct seccomp_data
    steps: list[tuple[int, int, int, int]] = []
    total = 3 * len(wanted)
    for where, value in wanted.items():
        mask = _TYPE_MASK if (call, where) == (SOCKET, 24) else 0xFFFFFFFF
        steps += [(_LOAD, 0, 0, where), (_AND, 0, 0, mask)]
        steps.append((_EQUAL, 0, total - len(steps), value))  # else: to the last step, which allows
    steps += [(_RETURN, 0, 0, _ERRNO | number), (_RETURN, 0, 0, _ALLOW)]
    code = ctypes.create_string_buffer(b"".join(struct.pack("=HBBI", *step) for step in steps))
    program = struct.pack("@HP", len(steps), ctypes.addressof(code))
    libc = ctypes.CDLL(None, use_errno=True)
    assert libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0
    assert libc.prctl(_PR_SET_SECCOMP, _MODE_FILTER, program, 0, 0) == 0, ctypes.get_errno()
