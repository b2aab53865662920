"""The axes: what each means, the words it takes, and how a value is read. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from yogurtbench.core.glossary import meaning
from yogurtbench.core.hook_specs import HELPERS, HOOKS, NONE
from yogurtbench.core.load_specs import LOADS
from yogurtbench.core.records import AXES
from yogurtbench.core.wording import format_words, in_quotes, is_whole, kind, suggest_nearest

Value = str | int | tuple[int, int]
Point = dict[str, Value]

#: The words of the axes hook and helper.
HOOK_WORDS = (*HOOKS, NONE)
HELPER_WORDS = (*HELPERS, NONE)
#: The kernel that is there; every other one has to be booted.
HOST_KERNEL = "host"

#: What a load can hand to its socket at once: the least and the most bytes; and the default.
PAYLOADS: dict[str, tuple[int, int]] = {
    name: (spec.payload.low, spec.payload.high) for name, spec in LOADS.items() if spec.payload
}
PAYLOAD: dict[str, int] = {
    name: spec.payload.default for name, spec in LOADS.items() if spec.payload
}

#: What else people write for on and off.
_SWITCHES = {"true": "on", "yes": "on", "y": "on", "on": "on", "1": "on", "enabled": "on"}
_SWITCHES |= {"false": "off", "no": "off", "n": "off", "off": "off", "0": "off", "disabled": "off"}

_RELEASE = re.compile(r"\d+\.\d+[A-Za-z0-9.+~_-]*")


@dataclass(frozen=True, slots=True)
class Axis:
    """An axis: its meaning, and its words, numbers from ``low`` to ``high``, or parser ``own``."""

    name: str
    meaning: str
    words: tuple[str, ...] = ()
    low: int = 0
    high: int = 0
    own: Callable[[object], Value] | None = None
    schema: Mapping[str, Any] | None = None

    def parse(self, value: object) -> Value:
        """Return the value, checked.

        Raises ValueError with a sentence that names the nearest valid word.
        """
        if self.own is not None:
            return self.own(value)
        if self.words:
            return self._word(value)
        return self._number(value)

    def read(self, text: str) -> Value:
        """Return the value of a word on the command line, where everything is text: ``64``,
        ``0:1``, ``redirect``.
        """
        if re.fullmatch(r"\d+:\d+", text) and self.name == "cpus":
            return self.parse([int(part) for part in text.split(":")])
        is_number = self.name in _NUMBERS and re.fullmatch(r"-?\d{1,18}", text)
        return self.parse(int(text) if is_number else text)

    def _word(self, value: object) -> Value:
        if isinstance(value, str) and value in self.words:
            return value
        if "on" in self.words and (switch := _SWITCHES.get(str(value).lower())):
            raise ValueError(f"{self.name} is on or off: did you mean {switch}?")
        if value is None and "none" in self.words:
            raise ValueError(f"{self.name} is given nothing: did you mean none?")
        if isinstance(value, str):
            raise ValueError(
                f"{self.name} does not know {value!r}{suggest_nearest(value, self.words)}"
            )
        raise ValueError(f"{self.name} takes a word ({', '.join(self.words)}), not {kind(value)}")

    def _number(self, value: object) -> Value:
        if isinstance(value, bool) or not isinstance(value, int):
            raise ValueError(
                f"{self.name} takes a whole number, not {kind(value)}{_whole_hint(value)}"
            )
        if not self.low <= value <= self.high:
            raise ValueError(
                f"{self.name} {format_words(value)} is out of range: {self.low} to {self.high}"
            )
        return int(value)

    def json_schema(self) -> dict[str, Any]:
        """JSON Schema (draft 7) of one value."""
        if self.schema is not None:
            return dict(self.schema)
        if self.words:
            return _enum(self.name, self.words)
        return {"type": "integer", "minimum": self.low, "maximum": self.high}


def _enum(axis: str, words: Sequence[str]) -> dict[str, Any]:
    """JSON Schema of words with their meanings, as VS Code and the YAML language server show
    them.
    """
    return {"enum": list(words), "enumDescriptions": [meaning(axis, word) for word in words]}


def _whole_hint(value: object) -> str:
    """``1e3`` and ``64.0`` are fractions to YAML."""
    is_meant = isinstance(value, float) and value.is_integer() and abs(value) < 2**63
    return f": did you mean {int(value)}?" if isinstance(value, float) and is_meant else ""


def _ip(value: object) -> Value:
    if isinstance(value, int) and value in (4, 6):
        return int(value)
    raise ValueError(f"ip is 4 or 6, not {kind(value)}")


def _kernel(value: object) -> Value:
    if isinstance(value, int | float) and not isinstance(value, bool):
        raise ValueError(f"kernel {format_words(value)} was read as a number{in_quotes(value)}")
    if isinstance(value, str) and (
        value == HOST_KERNEL or "/" in value or _RELEASE.fullmatch(value)
    ):
        return value
    if isinstance(value, str):
        hint = suggest_nearest(
            value, [HOST_KERNEL, 'a release in quotes ("6.12")', "a path with a slash"]
        )
        raise ValueError(f"kernel does not know {value!r}{hint}")
    raise ValueError(f"kernel takes host, a release in quotes or a path, not {kind(value)}")


def _program(value: object) -> Value:
    if isinstance(value, str) and (value == "builtin" or value.endswith(".c")):
        return value
    if isinstance(value, str):
        hint = suggest_nearest(value, ["builtin", "a C file (./my_wire.c)"])
        raise ValueError(f"program does not know {value!r}{hint}")
    raise ValueError(f"program takes builtin or the name of a C file, not {kind(value)}")


_CPUS = ("same", "split", "free")


def is_pair(value: object) -> bool:
    """Return whether a list is one value of axis cpus, [client, server], and not a list of
    values.
    """
    return isinstance(value, list) and len(value) == 2 and all(map(is_whole, value))


def _cpus(value: object) -> Value:
    if isinstance(value, str) and value in _CPUS:
        return value
    if isinstance(value, list) and is_pair(value):
        if min(value) < 0 or max(value) > 8191:
            raise ValueError(f"cpus {value} is out of range: 0 to 8191")
        return (int(value[0]), int(value[1]))
    if isinstance(value, str):
        raise ValueError(
            f"cpus does not know {value!r}{suggest_nearest(value, _CPUS)}, or [client, server]"
        )
    raise ValueError(f"cpus takes {', '.join(_CPUS)} or [client, server], not {kind(value)}")


_ON_OFF = ("on", "off")
_PAIR = {"type": "array", "items": {"type": "integer", "minimum": 0}, "minItems": 2, "maxItems": 2}

#: Every axis by name, in the order of the contract's table.
WORDS: dict[str, Axis] = {
    axis.name: axis
    for axis in (
        Axis("device", "the kind of pair that leads into a namespace", ("netkit", "veth")),
        Axis("mode", "netkit's mode: l3 has no link layer; veth is always l2", ("l3", "l2")),
        Axis(
            "topology",
            "wire: two pairs joined by eBPF; direct: one pair spanning both namespaces; "
            "bridge: two pairs and a Linux "
            "bridge; routed: two pairs and IP forwarding; uplink: an outside namespace, a "
            "veth as the host's uplink, "
            "the container behind it; loopback: both ends in one namespace",
            ("wire", "direct", "bridge", "routed", "uplink", "loopback"),
        ),
        Axis("hook", "the hook that the wire's program is attached to", HOOK_WORDS),
        Axis("helper", "how the program sends a packet on", HELPER_WORDS),
        Axis("return_hook", "the hook of the way back; left out: the same", HOOK_WORDS),
        Axis("return_helper", "the helper of the way back; left out: the same", HELPER_WORDS),
        Axis(
            "policy", "netkit's own verdict where no program is attached", ("blackhole", "forward")
        ),
        Axis(
            "primary",
            "the program on netkit's primary hook; left out: what the wire needs",
            ("none", "pass", "next", "redirect_in", "guard_cb", "guard_mark"),
        ),
        Axis(
            "peer",
            "the program on netkit's peer hook when the wire is attached elsewhere",
            ("none", "pass"),
        ),
        Axis(
            "scrub", "what netkit clears of a packet that changes namespaces", ("default", "none")
        ),
        Axis(
            "headroom",
            "bytes netkit reserves in front of a packet; 0: the default",
            low=0,
            high=65_535,
        ),
        Axis(
            "program",
            "builtin, or a C file beside the matrix: a custom wire",
            own=_program,
            schema={
                "anyOf": [_enum("program", ["builtin"]), {"type": "string", "pattern": r"\.c$"}]
            },
        ),
        Axis("neighbours", "how link-layer addresses are found (l2)", ("arp", "static")),
        Axis("ip", "the IP version of the loads", own=_ip, schema={"enum": [4, 6]}),
        Axis("payload", "bytes per message, or per write (TCP)", low=1, high=1_048_576),
        Axis("mtu", "bytes per IP packet", low=68, high=65_535),
        Axis("streams", "parallel streams of a bulk load", low=1, high=128),
        Axis("gso", "segmentation offload", _ON_OFF),
        Axis("gro", "receive offload of veth; netkit has none", _ON_OFF),
        Axis("checksum", "checksum offload", _ON_OFF),
        Axis(
            "cpus",
            "where client and server are pinned: one CPU, two, anywhere, or [client, server]",
            own=_cpus,
            schema={"anyOf": [_enum("cpus", _CPUS), _PAIR]},
        ),
        Axis(
            "kernel",
            "host, a Debian kernel release in quotes, or a path to a bzImage",
            own=_kernel,
            schema={
                "anyOf": [
                    _enum("kernel", [HOST_KERNEL]),
                    {"type": "string", "pattern": f"/|^{_RELEASE.pattern}$"},
                ]
            },
        ),
        Axis("load", "what is sent", tuple(LOADS)),
    )
}
assert tuple(WORDS) == AXES


#: The axes whose words on a command line may be numbers; a kernel 7 is text.
_NUMBERS = frozenset(
    {"ip", "cpus", *(name for name, one in WORDS.items() if not one.words and one.own is None)}
)


def axis_named(name: str) -> Axis:
    """Return the axis of a name. Raises ValueError with the nearest one."""
    if name not in WORDS:
        raise ValueError(f"there is no axis {name!r}{suggest_nearest(name, WORDS)}")
    return WORDS[name]
