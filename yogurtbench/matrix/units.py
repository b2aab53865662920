"""Values with units, as a matrix writes them: ``10ms``, ``1%``, ``64MiB``, ``100Mbit``. Pure.

The validators raise ValueError with a sentence; the annotated types carry them and their JSON
Schema into pydantic.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction
from typing import Annotated

from pydantic import PlainValidator, WithJsonSchema

from yogurtbench.core.errors import MatrixError
from yogurtbench.core.wording import is_whole, kind
from yogurtbench.matrix.axes import Axis

_TIME_UNITS: dict[str, Fraction | int] = {
    "us": Fraction(1, 10**6),
    "ms": Fraction(1, 10**3),
    "s": 1,
    "m": 60,
    "min": 60,
    "h": 3600,
}
_SIZES = {"": 1, "k": 10**3, "M": 10**6, "G": 10**9, "Ki": 2**10, "Mi": 2**20, "Gi": 2**30}
_LONGEST = 86_400.0


def _exact_seconds(value: object) -> Fraction:
    match = (
        re.fullmatch(r"(\d{1,9}(?:\.\d+)?) ?(us|ms|s|m|min|h)", value, re.ASCII)
        if isinstance(value, str)
        else None
    )
    if match is None:
        hint = _hint(_bare(value), lambda number: f"{number:g}s", _seconds)
        raise ValueError(
            f"a duration is a number with a unit, such as 10ms, 1s or 3m, not {kind(value)}{hint}"
        )
    seconds = Fraction(match[1]) * _TIME_UNITS[match[2]]
    if not 0 < seconds <= _LONGEST:
        raise ValueError(f"the duration {value} is out of range: more than 0, at most 24h")
    return seconds


def _seconds(value: object) -> float:
    return float(_exact_seconds(value))


def _bare(value: object) -> object:
    """Return a number that stands in quotes, or on a command line, without its unit."""
    is_bare = isinstance(value, str) and re.fullmatch(r"\d{1,9}(\.\d+)?", value)
    return float(value) if isinstance(value, str) and is_bare else value


def _hint(value: object, write: Callable[[float], str], read: Callable[[object], object]) -> str:
    """Return what somebody meant who wrote a bare number, where that can be read."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return ""
    try:
        read(write(float(value)))
    except (ValueError, OverflowError):
        return ""
    return f": did you mean {write(float(value))}?"


def seconds(option: str, value: str) -> float:
    """Return the duration that an option of the command line names.

    Raises MatrixError where it is none.
    """
    try:
        return _seconds(value)
    except ValueError as error:
        raise MatrixError(f"{option} {value}: {error}") from None


def _whole(value: object, unit: str) -> float:
    """Seconds that are a whole number of ``unit``, the finest that a tool takes."""
    seconds, finest = _exact_seconds(value), Fraction(_TIME_UNITS[unit])
    if seconds % finest:
        nearest = max(1, round(seconds / finest))
        name = {"s": "seconds", "ms": "milliseconds"}[unit]
        raise ValueError(
            f"this load's tool takes whole {name}, not {value}: did you mean {nearest}{unit}?"
        )
    return float(seconds)


def _whole_seconds(value: object) -> float:
    return _whole(value, "s")


def _milliseconds(value: object) -> float:
    return _whole(value, "ms")


def _share(value: object) -> float:
    match = (
        re.fullmatch(r"(\d{1,6}(?:\.\d+)?) ?%", value, re.ASCII) if isinstance(value, str) else None
    )
    if match is None:
        hint = _hint(value, _percent, _share)
        raise ValueError(f"a share is a percentage, such as 1% or 0.5%, not {kind(value)}{hint}")
    if not 0 < float(match[1]) <= 100:
        raise ValueError(f"the percentage {value} is out of range: more than 0%, at most 100%")
    return float(match[1]) / 100


def _percent(value: float) -> str:
    """Return what somebody meant who wrote a bare number: 0.03 is a ratio, 3 a percentage."""
    return f"{value * 100 if 0 < value < 0.2 else value:g}%"


def _bytes(value: object) -> int:
    text = str(int(value)) if isinstance(value, int) and is_whole(value) else value
    match = (
        re.fullmatch(r"(\d{1,12}) ?(k|M|G|Ki|Mi|Gi)?B?", text, re.ASCII)
        if isinstance(text, str)
        else None
    )
    if match is None or not 0 < (size := int(match[1]) * _SIZES[match[2] or ""]) <= 2**43:
        raise ValueError(
            "bytes is a number from 1 to 8796093022208, such as 1000000, 64MiB or 1GB, not "
            f"{kind(value)}"
        )
    return size


def _bitrate(value: object) -> int:
    if value == "unlimited":
        return 0
    match = (
        re.fullmatch(r"(\d{1,6}(?:\.\d+)?) ?(k|M|G)bit", value, re.ASCII)
        if isinstance(value, str)
        else None
    )
    if match is None or not (bits := Fraction(match[1]) * _SIZES[match[2]]):
        raise ValueError(
            f"bitrate is unlimited or bits a second, such as 100Mbit or 1Gbit, not {kind(value)}"
        )
    if bits.denominator != 1:
        nearest = bitrate_text(max(1, round(bits)))
        raise ValueError(
            f"bitrate is a whole number of bits a second, not {value}: did you mean {nearest}?"
        )
    return int(bits)


def bitrate_text(bits: int) -> str:
    """Bits a second as a matrix writes them, exactly.

    >>> bitrate_text(100_000_000), bitrate_text(99_999_999)
    ('100Mbit', '99.999999Mbit')
    """
    unit = next((one for one in ("G", "M") if bits >= _SIZES[one]), "k")
    scaled = Decimal(bits) / _SIZES[unit]
    return f"{scaled.normalize():f}{unit}bit"


def _text_schema(pattern: str, description: str) -> WithJsonSchema:
    return WithJsonSchema({"type": "string", "pattern": pattern, "description": description})


_DURATION = r"^\d+(\.\d+)? ?(us|ms|s|m|min|h)$"
Duration = Annotated[
    float, PlainValidator(_seconds), _text_schema(_DURATION, "such as 10ms, 1s or 3m")
]
WholeSeconds = Annotated[
    float,
    PlainValidator(_whole_seconds),
    _text_schema(r"^\d+ ?(s|m|min|h)$", "whole seconds, such as 1s"),
]
Milliseconds = Annotated[
    float,
    PlainValidator(_milliseconds),
    _text_schema(r"^\d+(\.\d+)? ?(ms|s|m|min|h)$", "whole milliseconds, such as 10ms"),
]
Share = Annotated[
    float, PlainValidator(_share), _text_schema(r"^\d+(\.\d+)? ?%$", "a percentage, such as 1%")
]
Bytes = Annotated[
    int,
    PlainValidator(_bytes),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "integer", "minimum": 1},
                {"type": "string", "pattern": r"^\d+ ?([kMG]|[KMG]i)?B?$"},
            ],
            "description": "a number of bytes, such as 1000000, 64MiB or 1GB",
        }
    ),
]
Bitrate = Annotated[
    int,
    PlainValidator(_bitrate),
    _text_schema(r"^(unlimited|\d+(\.\d+)? ?[kMG]bit)$", "such as 100Mbit; or unlimited"),
]


def _number(axis: Axis) -> tuple[PlainValidator, WithJsonSchema]:
    return PlainValidator(axis.parse), WithJsonSchema(axis.json_schema())


#: ping tells answers apart by 16 bits (icmp_seq).
_COUNT = _number(Axis("count", "", low=1, high=65_535))
MAX_BLOCKS = 10_000
_BLOCKS = _number(Axis("the number of blocks", "", low=1, high=MAX_BLOCKS))
_SEED = _number(Axis("seed", "", low=0, high=2**63 - 1))
Count = Annotated[int, _COUNT[0], _COUNT[1]]
BlockCount = Annotated[int, _BLOCKS[0], _BLOCKS[1]]
Seed = Annotated[int, _SEED[0], _SEED[1]]
