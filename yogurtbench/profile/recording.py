"""The plugin's files (plugin/trace.c), read: which blocks a guest executed, in order."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from itertools import accumulate
from typing import Self

import numpy as np
import numpy.typing as npt

Integers = npt.NDArray[np.int64]

#: See enum step in plugin/trace.c.
_ACCESS, _STORE = np.uint64(1 << 63), np.uint64(1 << 62)
_ADDRESS_BITS = 48
_WORD = (1 << 64) - 1
_PAGE = 4096
#: Addresses below are the users' (x86-64, Documentation/arch/x86/x86_64/mm.rst).
USERS_END = 1 << 47
#: What may stand before a call or a return: REP (for old AMD processors), NOTRACK and BND, REX.
_PREFIXES = re.compile(rb"^[\xf2\xf3\x3e\x2e\x40-\x4f]+")


class End(Enum):
    """What the last instruction of a block does."""

    GOES_ON = auto()
    CALL = auto()
    RETURN = auto()
    SYSCALL = auto()
    LEAVE = auto()  # the kernel, or an interrupt: sysret, iret
    CLOCK = auto()  # reads the time stamp counter


@dataclass(frozen=True, slots=True)
class Block:
    """Instructions that the emulator translated as one, and executes in a row.

    ``digest``: the sum of a hash of each instruction's address. The emulator now and then cuts
    blocks otherwise, when its slice of time ends; sums of digests stay the same.
    """

    address: int
    instructions: int
    end: End
    digest: int

    @property
    def is_users(self) -> bool:
        """Whether it is user code."""
        return self.address < USERS_END


@dataclass(frozen=True, slots=True)
class Recording:
    """What was executed between two marks.

    ``executed``: places in ``blocks``, in order; ``slots``: by position in it, where on the stack
    a call or a return has its return address, 0 for all others.
    """

    blocks: tuple[Block, ...]
    executed: Integers
    slots: Integers

    @classmethod
    def parse(cls, blocks: bytes, steps: bytes) -> Self:
        """Read the plugin's files. Raises ValueError where they are not such."""
        known = tuple(_parse_blocks(blocks))
        words = np.frombuffer(steps[: len(steps) // 8 * 8], dtype=np.uint64)
        is_access = (words & _ACCESS) != 0
        executed = words[~is_access].astype(np.int64)
        if len(executed) and (executed.max() >= len(known)):
            raise ValueError("a step names a block that is not known")
        return cls(known, executed, _slots(words, is_access, known))

    def block(self, position: int) -> Block:
        """Return the block that was executed at a position."""
        return self.blocks[int(self.executed[position])]

    @property
    def lengths(self) -> Integers:
        """Instructions of each executed block."""
        table = np.array([block.instructions for block in self.blocks])
        return table[self.executed]

    @property
    def digests(self) -> npt.NDArray[np.uint64]:
        """The digest of each executed block."""
        table = [block.digest for block in self.blocks]
        return np.array(table, dtype=np.uint64)[self.executed]

    def positions(self, end: End) -> Integers:
        """Return where in ``executed`` blocks with such an end are."""
        return np.flatnonzero(_ends_with(self.blocks, end)[self.executed])


@dataclass(frozen=True, slots=True)
class _Line:
    """A line of the plugin's: a block's number, its instructions' addresses and lengths, the bytes
    of the last.
    """

    number: int
    addresses: list[int]
    lengths: list[int]
    last: bytes

    @classmethod
    def parse(cls, line: bytes) -> Self:
        number, first, sizes, last = line.decode().split(" ")
        lengths = [int(digit, 16) for digit in sizes]
        addresses = list(accumulate(lengths[:-1], initial=int(first, 16)))
        return cls(int(number, 16), addresses, lengths, bytes.fromhex(last))


def _parse_blocks(text: bytes) -> Iterator[Block]:
    whole = text[: text.rfind(b"\n") + 1]
    lines = [_Line.parse(line) for line in whole.splitlines()]
    across = {
        line.addresses[0] for line in lines if _is_across_pages(line.addresses[0], line.lengths[0])
    }
    for place, line in enumerate(lines):
        if line.number != place:
            raise ValueError(f"block {place} is numbered {line.number}")
        # The emulator begins a block of its own with an instruction that lies in two pages, and has
        # by then named it to the plugin as the last of the block before, as far as it had read it
        # (i386_tr_translate_insn, target/i386/tcg/translate.c).
        unfinished = len(line.addresses) > 1 and line.addresses[-1] in across
        addresses = line.addresses[: -1 if unfinished else None]
        end = End.GOES_ON if unfinished else _end(line.last)
        digest = sum(map(_digest, addresses)) & _WORD
        yield Block(addresses[0], len(addresses), end, digest)


def _is_across_pages(address: int, length: int) -> bool:
    return address // _PAGE != (address + length - 1) // _PAGE


def _digest(address: int) -> int:
    """Return a hash of an address (the finalizer of SplitMix64)."""
    word = (address ^ address >> 30) * 0xBF58476D1CE4E5B9 & _WORD
    word = (word ^ word >> 27) * 0x94D049BB133111EB & _WORD
    return word ^ word >> 31


def _end(code: bytes) -> End:
    if code in (b"\x48\x0f\x07", b"\x0f\x07", b"\x48\xcf", b"\xcf"):
        return End.LEAVE
    if code == b"\x0f\x05":
        return End.SYSCALL
    if code in (b"\x0f\x31", b"\x0f\x01\xf9"):
        return End.CLOCK
    bare = _PREFIXES.sub(b"", code)
    if bare[:1] == b"\xe8" or (bare[:1] == b"\xff" and bare[1] >> 3 & 7 == 2):
        return End.CALL
    return End.RETURN if bare[:1] in (b"\xc3", b"\xc2") else End.GOES_ON


def _ends_with(blocks: Sequence[Block], end: End) -> npt.NDArray[np.bool_]:
    """Return which blocks have such an end."""
    return np.array([block.end is end for block in blocks])


def _slots(
    words: npt.NDArray[np.uint64], is_access: npt.NDArray[np.bool_], known: Sequence[Block]
) -> Integers:
    """Return the stack address of each executed block's call (a store) or return (a load)."""
    position = np.cumsum(~is_access) - 1
    calls = _ends_with(known, End.CALL)
    slots = np.zeros(int((~is_access).sum()), dtype=np.int64)
    where = np.flatnonzero(is_access)
    where = where[position[where] >= 0]
    numbers = words[~is_access].astype(np.int64)[position[where]]
    stores = (words[where] & _STORE) != 0
    # an indirect call loads its target too
    fitting = where[stores == calls[numbers]]
    shift = np.uint64(64 - _ADDRESS_BITS)
    addresses = (words[fitting] << shift).view(np.int64) >> np.int64(64 - _ADDRESS_BITS)
    slots[position[fitting]] = addresses
    return slots
