"""The C file of a custom wire: read with care, and searched for the functions it defines.

Pure; needs no compiler.

Enough of C's preprocessor is done to look through comments, strings, ``#if 0`` and the file's own
macros. Where a condition or a macro is not the file's own, both branches count: what remains open
the compiler will tell.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

#: Bytes of the largest file that is read, and characters of the largest one, in JSON, that fits
#: into a guest's order.
LARGEST = 1 << 20
LARGEST_ORDERED = 100_000
#: More tokens than this after macros were replaced are a slip, or a trick.
_MOST_TOKENS = 500_000

CONTEXTS = {"__sk_buff": "tc and netkit hooks", "xdp_md": "XDP hooks"}

_TOKEN = re.compile(r"[A-Za-z_]\w*|\.?\d(?:[eEpP][+-]|[\w.])*|##|\S")
_IDENTIFIER = re.compile(r"[A-Za-z_]\w*")
_NOT_CODE = re.compile(
    r'//[^\n]*|/\*.*?(?:\*/|\Z)|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'', re.DOTALL
)
_ATTRIBUTES = {"__attribute__", "__attribute", "__asm__", "asm", "_Alignas"}
#: Macros that stand before a definition, from headers or bcc, and take an argument.
_DECORATIONS = _ATTRIBUTES | {"SEC", "__section", "__aligned"}
_OPENING, _CLOSING = {"(": ")", "{": "}", "[": "]"}, {")", "}", "]"}
_NUMBERS = {
    "int",
    "char",
    "short",
    "long",
    "unsigned",
    "signed",
    "float",
    "double",
    "u8",
    "u16",
    "u32",
    "u64",
    "size_t",
}
#: What yogurt.h has defined before the file begins.
_DEFINED = {
    "YOGURT_H",
    "YB_WAY",
    "YB_FORWARD",
    "YB_RETURN",
    "YB_TARGET",
    "YB_COUNT",
    "YB_PASS",
    "YB_DROP",
    "YB_NEXT",
}


def read(path: Path) -> str:
    """Return the text of a C file. Raises ValueError with what it is instead, and OSError."""
    if path.is_dir():
        raise ValueError("is a folder, and a C file is wanted")
    with path.open("rb") as file:
        content = file.read(LARGEST + 1)
    if len(content) > LARGEST:
        raise ValueError(f"is larger than {LARGEST >> 20} MiB, and no wire's C file is")
    if content.startswith(b"\x7fELF"):
        raise ValueError("is a compiled object, and a C file is wanted")
    if b"\0" in content:
        raise ValueError("is no text: it has zero bytes in it")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"is not UTF-8 text (byte {error.start})") from None
    return text.replace("\r\n", "\n").replace("\r", "\n")


def check(source: str) -> None:
    """Raise ValueError, with what is expected, for a text that cannot be a wire."""
    if not source.strip():
        raise ValueError(f"is empty: {_expected()}")
    try:
        found = definitions(source)
    except (RecursionError, _TooMuch):
        return
    if "wire" not in found:
        raise ValueError(f"defines no function wire: {_expected()}")
    for role in ("wire", "primary", "peer"):
        if role in found and (wrong := found[role].wrong):
            raise ValueError(f"defines {role} {wrong}: {_expected(role)}")


def check_ordered(source: str) -> None:
    """Raise ValueError for a text that does not fit into the order of a guest on the instruction
    clock.
    """
    length = len(json.dumps(source))
    if length > LARGEST_ORDERED:
        most = f"{LARGEST_ORDERED:,} characters that fit into an order on the instruction clock"
        raise ValueError(
            f"has {length:,} characters, escaped, more than the {most}: shorten it, or take "
            "clock: wall"
        )


def context(source: str) -> str:
    """Return the structure that ``wire`` is handed, ``__sk_buff`` or ``xdp_md``.

    Empty where the text does not say.
    """
    found = defined(source).get("wire")
    return next((name for name in CONTEXTS if found and name in found.parameters), "")


def _expected(role: str = "wire") -> str:
    return f"int {role}(struct __sk_buff *skb) is wanted (on XDP hooks: struct xdp_md *)"


@dataclass(frozen=True, slots=True)
class Definition:
    """A function that a text defines: the tokens of its parameters and those before its name."""

    parameters: tuple[str, ...]
    before: tuple[str, ...]

    @property
    def wrong(self) -> str:
        """The reason why it cannot be a wire; empty where it may be one."""
        if "void" in self.before and "*" not in self.before:
            return "that returns nothing"
        number = _arguments(self.parameters)
        if number != 1:
            return f"with {number or 'no'} arguments"
        given = set(self.parameters)
        if "struct" in given and not given & set(CONTEXTS):
            return f"for a struct {self.parameters[self.parameters.index('struct') + 1]}"
        if "*" not in given and given & _NUMBERS:
            return "for a number"
        return "for any pointer" if "void" in given else ""


def _arguments(parameters: Sequence[str]) -> int:
    depth = commas = 0
    for piece in parameters:
        depth += (piece in _OPENING) - (piece in _CLOSING)
        commas += piece == "," and depth == 0
    return 0 if list(parameters) in ([], ["void"]) else commas + 1


@lru_cache(maxsize=64)
def defined(source: str) -> dict[str, Definition]:
    """Return the functions that a text defines at file scope, by name.

    Nothing where its macros grow beyond bounds.
    """
    try:
        return definitions(source)
    except (RecursionError, _TooMuch):
        return {}


def definitions(source: str) -> dict[str, Definition]:
    """As :func:`defined`. Raises what it is for macros without end."""
    return _definitions(_Preprocessor().tokens(source))


def _definitions(tokens: Sequence[str]) -> dict[str, Definition]:
    found: dict[str, Definition] = {}
    at = begins = 0
    while at < len(tokens):
        piece = tokens[at]
        if piece in (";", "{", "["):
            at = _behind(tokens, at) if piece in _OPENING else at + 1
            begins = at if piece in (";", "{") else begins
        elif (
            piece == "("
            and at
            and _IDENTIFIER.fullmatch(tokens[at - 1])
            and tokens[at - 1] not in _DECORATIONS
        ):
            closed = _behind(tokens, at)
            body = _behind_attributes(tokens, closed)
            if body < len(tokens) and tokens[body] == "{":
                found[tokens[at - 1]] = Definition(
                    tuple(tokens[at + 1 : closed - 1]), tuple(tokens[begins : at - 1])
                )
            at = closed
        else:
            at = _behind(tokens, at) if piece == "(" else at + 1
    return found


def _behind(tokens: Sequence[str], at: int) -> int:
    """Return the position behind the bracket that closes the one here; the end where none does."""
    depth = 0
    for position in range(at, len(tokens)):
        depth += (tokens[position] in _OPENING) - (tokens[position] in _CLOSING)
        if depth == 0:
            return position + 1
    return len(tokens)


def _behind_attributes(tokens: Sequence[str], at: int) -> int:
    while at + 1 < len(tokens) and tokens[at] in _ATTRIBUTES and tokens[at + 1] == "(":
        at = _behind(tokens, at + 1)
    return at


class _TooMuch(Exception):
    """The macros make more of the text than anybody wrote."""


@dataclass(frozen=True, slots=True)
class _Macro:
    body: tuple[str, ...]
    parameters: tuple[str, ...] | None = None


@dataclass(slots=True)
class _Preprocessor:
    """The work of C's preprocessor, as far as one file determines it."""

    macros: dict[str, _Macro] = field(default_factory=dict)
    #: Per open condition: whether this branch holds (None: unknown), and whether an earlier
    #: one surely held.
    conditions: list[tuple[bool | None, bool]] = field(default_factory=list)
    produced: int = 0

    def tokens(self, source: str) -> list[str]:
        """Return the tokens that reach the compiler, macros of the file replaced."""
        code = _NOT_CODE.sub(_in_place, re.sub(r"\\\n", "", source))
        found: list[str] = []
        pending: list[str] = []  # a macro's arguments may go on in the next line
        for line in code.splitlines():
            if line.lstrip().startswith("#"):
                found += self._expanded(pending, frozenset())
                pending = []
                self._directive(line.lstrip()[1:].strip())
            elif all(holds is not False for holds, _ in self.conditions):
                pending += _TOKEN.findall(line)
        return found + self._expanded(pending, frozenset())

    def _directive(self, text: str) -> None:
        name = (_IDENTIFIER.match(text) or [""])[0]
        rest = text[len(name) :].strip()
        if name in ("if", "ifdef", "ifndef"):
            holds = self._holds(name, rest)
            self.conditions.append((holds, holds is True))
        elif name in ("elif", "else") and self.conditions:
            _, taken = self.conditions[-1]
            holds = False if taken else self._holds_next(name, rest)
            self.conditions[-1] = (holds, taken or holds is True)
        elif name == "endif" and self.conditions:
            self.conditions.pop()
        elif all(holds is not False for holds, _ in self.conditions):
            self._define(name, rest)

    def _holds_next(self, name: str, condition: str) -> bool | None:
        """Return whether the branch of an ``elif`` or ``else`` holds where none before it is known
        to.
        """
        if name == "elif":
            return self._holds("if", condition)
        return True if self.conditions[-1][0] is False else None

    def _define(self, directive: str, text: str) -> None:
        match = re.match(r"([A-Za-z_]\w*)(\(([^)]*)\))?(.*)", text, re.DOTALL)
        if match is None:
            return
        if directive == "undef":
            self.macros.pop(match[1], None)
        elif directive == "define":
            parameters = (
                None
                if match[2] is None
                else tuple(p.strip() for p in match[3].split(",") if p.strip())
            )
            self.macros[match[1]] = _Macro(tuple(_TOKEN.findall(match[4])), parameters)

    def _holds(self, directive: str, text: str) -> bool | None:
        if directive != "if":
            known = self._is_defined(text.split(maxsplit=1)[0] if text.split() else "")
            return known if directive == "ifdef" or known is None else not known
        tokens = self._expanded(_TOKEN.findall(text), frozenset({"defined"}))
        negated = len(tokens) > 1 and tokens[0] == "!"
        value = self._value(tokens[1:] if negated else tokens)
        return value if value is None or not negated else not value

    def _value(self, tokens: Sequence[str]) -> bool | None:
        match [piece for piece in tokens if piece not in "()"]:
            case [number] if re.fullmatch(r"(0[xX])?[\da-fA-F]+[uUlL]*", number):
                return (
                    bool(int(number.rstrip("uUlL"), 0)) if not re.fullmatch("0+", number) else False
                )
            case ["defined", name]:
                return self._is_defined(name)
        return None

    def _is_defined(self, name: str) -> bool | None:
        return True if name in self.macros or name in _DEFINED else None

    def _expanded(self, tokens: Sequence[str], hidden: frozenset[str]) -> list[str]:
        found: list[str] = []
        at = 0
        while at < len(tokens):
            piece, macro = tokens[at], self.macros.get(tokens[at])
            at += 1
            if macro is None or piece in hidden:
                found.append(piece)
            elif macro.parameters is None:
                found += self._expanded(_pasted(macro.body), hidden | {piece})
            elif at < len(tokens) and tokens[at] == "(":
                end = _behind(tokens, at)
                arguments = list(_split(tokens[at + 1 : end - 1]))
                found += self._expanded(_filled(macro, arguments), hidden | {piece})
                at = end
            else:
                found.append(piece)
            self.produced += 1
            if self.produced > _MOST_TOKENS:
                raise _TooMuch
        return found


def _in_place(match: re.Match[str]) -> str:
    """Replace a comment by a space (its lines are kept), a text or a character by a number."""
    if match[0].startswith("/"):
        return " " + "\n" * match[0].count("\n")
    return "0"


def _split(tokens: Sequence[str]) -> Iterator[list[str]]:
    """Yield the arguments of a macro's call."""
    depth, argument = 0, list[str]()
    for piece in tokens:
        depth += (piece in _OPENING) - (piece in _CLOSING)
        if piece == "," and depth == 0:
            yield argument
            argument = []
        else:
            argument.append(piece)
    yield argument


def _filled(macro: _Macro, arguments: Sequence[Sequence[str]]) -> list[str]:
    """Return a macro's body with its arguments in place, what ``##`` joins joined."""
    names = list(macro.parameters or ())
    given = dict(zip(names, arguments, strict=False))
    if names and names[-1] == "...":
        rest = arguments[len(names) - 1 :]
        listed: list[str] = []
        for at, one in enumerate(rest):
            listed += [*([","] if at else []), *one]
        given["__VA_ARGS__"] = listed
    filled: list[str] = []
    for name in macro.body:
        filled += given.get(name, [name]) or ["\u200b"]
    return [piece for piece in _pasted(filled) if piece != "\u200b"]


def _pasted(tokens: Sequence[str]) -> list[str]:
    found: list[str] = []
    joining = False
    for piece in tokens:
        if piece == "##" and found:
            joining = True
        elif joining:
            found[-1] = (found[-1] + piece).replace("\u200b", "")
            joining = False
        else:
            found.append(piece)
    return found
