"""Write a recorded probe as pcapng, an interface per device (tcpdump, Wireshark).

https://www.ietf.org/archive/id/draft-ietf-opsawg-pcapng-03.html
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping
from itertools import chain
from pathlib import Path
from typing import Any

from yogurtbench.core import files
from yogurtbench.core.errors import YogurtError

# LINKTYPE_ETHERNET: netkit, veth, bridges and lo all carry an Ethernet header, on l3 devices an
# empty one
_ETHERNET = 1
#: How a section begins (draft, section 4.1), and who we say that we are.
_MAGIC, _APPLICATION = b"\x0a\x0d\x0d\x0a", "yogurtbench"
_SNAP_LENGTH = 1 << 16
_NANOSECONDS = b"\x09"
_INBOUND, _OUTBOUND = 1, 2


def check(path: Path) -> None:
    """Raise MatrixError or HostError where a capture cannot be written there.

    Nothing but a capture of ours is overwritten.
    """
    try:
        files.check_target(path, _is_ours, "a capture of ours")
        existed = path.exists()
        with files.explaining_errors(path), path.open("ab"):
            pass
        if not existed:
            path.resolve().unlink()
    except YogurtError as error:
        raise type(error)(f"--pcap {error}") from None


def _is_ours(path: Path) -> bool:
    return files.starts_with(path, _MAGIC, len(_MAGIC)) and files.starts_with(
        path, _APPLICATION.encode(), 256
    )


def write(path: Path, probes: Iterable[Mapping[str, Any]]) -> dict[str, int]:
    """Write the probes' frames (see agent.probe_trace) in order of time.

    How many of each ``namespace:device``.
    """
    from pcapng import FileWriter, blocks

    frames: dict[str, list[tuple[int, bool, bytes]]] = {}
    for tap in chain.from_iterable(probe["taps"] for probe in probes):
        carried = (
            (time, outgoing, base64.b64decode(content)) for time, outgoing, content in tap["frames"]
        )
        frames.setdefault(f"{tap['namespace']}:{tap['device']}", []).extend(carried)
    section = blocks.SectionHeader(endianness="<", options={"shb_userappl": _APPLICATION})
    for name in frames:
        options = {"if_name": name, "if_tsresol": _NANOSECONDS}
        section.new_member(
            blocks.InterfaceDescription, link_type=_ETHERNET, snaplen=_SNAP_LENGTH, options=options
        )
    numbered = []
    for number, each in enumerate(frames.values()):
        numbered += [(frame, number) for frame in each]
    numbered.sort()
    with files.explaining_errors(path), path.open("wb") as file:
        writer = FileWriter(file, section)
        for (time, outgoing, content), number in numbered:
            packet = section.new_member(
                blocks.EnhancedPacket,
                interface_id=number,
                timestamp_high=time >> 32,
                timestamp_low=time & 0xFFFFFFFF,
                packet_len=len(content),
                packet_data=content,
                options={"epb_flags": _OUTBOUND if outgoing else _INBOUND},
            )
            writer.write_block(packet)
    return {name: len(each) for name, each in frames.items()}
