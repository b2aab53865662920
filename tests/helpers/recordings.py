"""Recordings of the emulator's: two that were made once, and such as are made up."""

from __future__ import annotations

import json
import lzma
import struct
from pathlib import Path
from typing import Any

from matrices import cell

from yogurtbench.profile.profile import Profile, distinguished
from yogurtbench.profile.recording import Recording
from yogurtbench.profile.symbols import Symbols

_DATA = Path(__file__).parents[1] / "data"
#: The C names of the two wires' programs by their tags.
PROGRAMS = {
    "redirect": {
        "33c45f6c37cdea36": ["primary_pass_return"],
        "65be2736b0f2ca8f": ["redirect_forward"],
        "53c36631a801d36b": ["primary_pass_forward"],
        "8de021ae9a2d50ec": ["redirect_return"],
    },
    "redirect_peer": {
        "b4cebe5da66e437b": ["peer_pass_forward"],
        "5173a7e1bdd52666": ["redirect_peer_forward"],
        "c601eb2e538cb046": ["peer_pass_return"],
        "1096e7722611957c": ["redirect_peer_return"],
    },
}
_WIRES: dict[str, dict[str, Any]] = {
    "redirect": {"hook": "netkit_peer", "helper": "redirect"},
    "redirect_peer": {"hook": "tcx_ingress", "helper": "redirect_peer"},
}


def stored(name: str) -> dict[str, Any]:
    """A recorded trial of Linux 6.12.118 in QEMU 7.2, fourteen round trips of it."""
    data: dict[str, Any] = json.loads(
        lzma.decompress((_DATA / f"profile_{name}.json.xz").read_bytes())
    )
    return data


def recording(name: str) -> Recording:
    data = stored(name)
    return Recording.parse(data["blocks"].encode(), bytes.fromhex(data["steps"]))


def symbols(name: str) -> Symbols:
    return Symbols.parse(stored(name)["symbols"], "sockperf", PROGRAMS[name])


def profile(name: str) -> Profile:
    wire = cell("sockperf", device="netkit", **_WIRES[name])
    median = stored(name)["median"]
    made = Profile.of_recording(wire, "6.12.118", recording(name), symbols(name), median)
    return distinguished([made])[0]


class Machine:
    """A machine that executes what a test says, and is recorded as the plugin records it."""

    def __init__(self) -> None:
        self.lines: dict[str, int] = {}
        self.words: list[int] = []

    def run(self, address: int, sizes: str = "3", last: str = "90") -> Machine:
        """Execute a block: addresses, lengths of its instructions, bytes of the last."""
        number = self.lines.setdefault(f"{address:x} {sizes} {last}", len(self.lines))
        self.words.append(number)
        return self

    def call(self, address: int, slot: int, sizes: str = "5") -> Machine:
        self.run(address, sizes, "e800000000")
        self.words.append(1 << 63 | 1 << 62 | slot & (1 << 48) - 1)
        return self

    def ret(self, address: int, slot: int, sizes: str = "1") -> Machine:
        self.run(address, sizes, "c3")
        self.words.append(1 << 63 | slot & (1 << 48) - 1)
        return self

    def syscall(self, address: int) -> Machine:
        return self.run(address, "2", "0f05")

    def sysret(self, address: int) -> Machine:
        return self.run(address, "3", "480f07")

    def clock(self, address: int) -> Machine:
        return self.run(address, "2", "0f31")

    @property
    def files(self) -> tuple[bytes, bytes]:
        lines = "".join(f"{number:x} {line}\n" for line, number in self.lines.items())
        return lines.encode(), struct.pack(f"={len(self.words)}Q", *self.words)

    def recorded(self) -> Recording:
        return Recording.parse(*self.files)
