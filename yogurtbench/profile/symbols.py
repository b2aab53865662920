"""Names of the code that a guest executes: kernel functions, BPF programs, programs of users."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Self

from yogurtbench.profile.recording import USERS_END

Kind = Literal["kernel", "bpf", "user", "irq"]
#: Programs lie here where addresses are not random (ELF_ET_DYN_BASE); libraries and the vDSO lie
#: at the end.
_PROGRAMS_END = 0x6000_0000_0000
#: bpf_prog_<tag>_<name>: the tag is a digest of the instructions (bpf_get_prog_name).
_BPF = re.compile(r"^bpf_prog_([0-9a-f]{16})(?:_(.+))?$")
#: What compilers add to the names of parts and copies of a function (GCC's -fipa-* and
#: -freorder-blocks-and-partition): it differs from build to build.
_SUFFIXES = re.compile(r"(\.(constprop|isra|part|cold|llvm)(\.\d+)*)+$")
#: Code that the CPU enters by itself.
_ENTRIES = re.compile(r"^(asm_(sysvec|exc|common_interrupt|spurious)|irq_entries_start|asm_int)")


@dataclass(frozen=True, slots=True)
class Function:
    """A function: its ``name``, and whose code it is."""

    name: str
    kind: Kind


class Symbols:
    """Functions by address."""

    def __init__(
        self, known: Iterable[tuple[int, str]], program: str, programs: Mapping[str, Sequence[str]]
    ) -> None:
        ordered = sorted(known)
        self._starts = [address for address, _ in ordered]
        self._functions = [_function(name, programs) for _, name in ordered]
        self._entries = {address for address, name in ordered if _ENTRIES.match(name)}
        self._program = Function(program, "user")
        self._libraries = Function(f"{program}'s libraries", "user")
        self._unknown = Function("[unknown]", "kernel")

    @classmethod
    def parse(cls, text: str, program: str, programs: Mapping[str, Sequence[str]]) -> Self:
        """Return the symbols of lines ``address name``.

        ``program`` is the users' that runs, ``programs`` the C names of BPF programs by their
        tags. Raises ValueError where a line is none.
        """
        rows = (line.split(" ", 1) for line in text.splitlines())
        return cls(((int(address, 16), name) for address, name in rows), program, programs)

    def at(self, address: int) -> Function:
        """Return the function that an address lies in."""
        if address < USERS_END:
            return self._program if address < _PROGRAMS_END else self._libraries
        index = bisect_right(self._starts, address) - 1
        return self._functions[index] if index >= 0 else self._unknown

    def is_entry(self, address: int) -> bool:
        """Return whether an interrupt or an exception begins there."""
        return address in self._entries


def _function(name: str, programs: Mapping[str, Sequence[str]]) -> Function:
    name = _SUFFIXES.sub("", name.partition("\t")[0])
    if found := _BPF.match(name):
        # the kernel keeps 15 characters of a name (BPF_OBJ_NAME_LEN)
        tag, named = found[1], found[2] or ""
        whole = next((one for one in programs.get(tag, ()) if one.startswith(named)), None)
        return Function(f"bpf_prog_{whole or named or tag}", "bpf")
    return Function(name, "kernel")
