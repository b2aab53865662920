"""Offsets of the members of kernel structures, from the running kernel's own type information
(BTF).

Format: Documentation/bpf/btf.rst of the kernel. Only what is needed to find members of structs by
name is read.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path

VMLINUX = Path("/sys/kernel/btf/vmlinux")

_MAGIC = 0xEB9F
_POINTER, _STRUCT, _UNION, _ENUM, _TYPEDEF, _PROTOTYPE = 2, 4, 5, 6, 8, 13
#: 32-bit words that follow the three of a type's head: fixed, or per member (``vlen``).
_FIXED = {1: 1, 3: 3, 14: 1, 17: 1}  # INT, ARRAY, VAR, DECL_TAG
_PER_MEMBER = {
    4: 3,
    5: 3,
    6: 2,
    13: 2,
    15: 3,
    19: 3,
}  # STRUCT, UNION, ENUM, FUNC_PROTO, DATASEC, ENUM64


class BTF:
    """The types of a BTF blob. Raises ValueError where it is none."""

    def __init__(self, blob: bytes) -> None:
        magic, _, _, head, type_off, type_len, str_off, str_len = struct.unpack_from(
            "=HBBIIIII", blob
        )
        if magic != _MAGIC:
            raise ValueError("not BTF, or of another byte order")
        self._strings = blob[head + str_off : head + str_off + str_len]
        self._words = memoryview(blob)[head + type_off : head + type_off + type_len].cast("I")
        self._places = self._index()

    def offsets(self, name: str, members: list[str]) -> dict[str, int]:
        """Byte offsets of members of ``struct name``, those inside anonymous members too.

        Raises KeyError.
        """
        found = dict(self._members(self._find(name), 0))
        return {member: found[member] for member in members}

    def enumerators(self, name: str) -> dict[int, str]:
        """Return the names of ``enum name`` by value. Raises KeyError."""
        at = self._find(name, _ENUM)
        count = self._words[at + 1] & 0xFFFF
        return {
            self._words[e + 1]: self._text(self._words[e])
            for e in range(at + 3, at + 3 + 2 * count, 2)
        }

    def parameters(self, name: str) -> int:
        """Return how many parameters a function has, ``typedef name`` being a pointer to it.

        Raises KeyError.
        """
        pointer = self._places[self._words[self._find(name, _TYPEDEF) + 2]]
        function = self._places[self._words[pointer + 2]]
        if (self._kind(pointer), self._kind(function)) != (_POINTER, _PROTOTYPE):
            raise KeyError(name)
        return self._words[function + 1] & 0xFFFF

    def _index(self) -> list[int]:
        """Return the word at which each type begins, by its id; ids count from 1, 0 is void."""
        words, places, at, end = self._words, [0], 0, len(self._words)
        while at < end:
            places.append(at)
            info = words[at + 1]
            kind = (info >> 24) & 0x1F
            at += 3 + _FIXED.get(kind, 0) + _PER_MEMBER.get(kind, 0) * (info & 0xFFFF)
        return places

    def _find(self, name: str, kind: int = _STRUCT) -> int:
        wanted = self._strings.find(b"\0" + name.encode() + b"\0") + 1
        words = self._words
        for at in self._places[1:]:
            if words[at] == wanted and self._kind(at) == kind:
                return at
        raise KeyError(name)

    def _members(self, at: int, base: int) -> Iterator[tuple[str, int]]:
        info = self._words[at + 1]
        bits_inside = info >> 31  # kind_flag: the offset's upper byte is a bitfield's size
        for member in range(at + 3, at + 3 + 3 * (info & 0xFFFF), 3):
            name, kind, offset = (
                self._words[member],
                self._words[member + 1],
                self._words[member + 2],
            )
            place = base + ((offset & 0xFFFFFF if bits_inside else offset) >> 3)
            if name:
                yield self._text(name), place
            elif self._is_compound(kind):
                yield from self._members(self._places[kind], place)

    def _is_compound(self, kind: int) -> bool:
        return self._kind(self._places[kind]) in (_STRUCT, _UNION)

    def _kind(self, at: int) -> int:
        return (self._words[at + 1] >> 24) & 0x1F

    def _text(self, offset: int) -> str:
        return self._strings[offset : self._strings.index(b"\0", offset)].decode()


def running() -> BTF:
    """Return the running kernel's types.

    Raises OSError where it has none (CONFIG_DEBUG_INFO_BTF).
    """
    return BTF(VMLINUX.read_bytes())
