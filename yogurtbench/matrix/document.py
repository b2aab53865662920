"""A YAML file as plain values with positions, so that errors name file, line and column.

Read as YAML 1.2 (``on`` and ``off`` are words, JSON is YAML) into nodes; the values are made from
the nodes here, because a constructor would lose the places and expand aliases without a bound.
"""

from __future__ import annotations

import codecs
import os
import re
import select
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode
from ruamel.yaml.reader import ReaderError

from yogurtbench.core import paths
from yogurtbench.core.errors import MatrixError
from yogurtbench.core.wording import close_to, format_value, kind, no_space

Place = tuple[int, int]
Step = str | int

#: A matrix is written by people: beyond these (bytes; values, aliases followed; depth) it is an
#: accident or a bomb.
MAX_BYTES = 4 * 1024 * 1024
MAX_VALUES = 200_000
MAX_DEPTH = 16
#: No number in a matrix has more characters.
MAX_DIGITS = 400
#: Seconds until a pipe without a writer is given up.
PATIENCE = 10

_WORD = "tag:yaml.org,2002:"
_TRUE = frozenset({"true", "True", "TRUE"})


@dataclass(slots=True)
class Document:
    """``value`` in plain Python.

    ``places`` and ``keys``: line and column (from 1) of a value and its key, by path.
    """

    path: Path
    text: str
    value: Any = None
    places: dict[tuple[Step, ...], Place] = field(default_factory=dict)
    keys: dict[tuple[Step, ...], Place] = field(default_factory=dict)

    def place(self, path: Sequence[Step], *, key: bool = False) -> Place:
        """Return where the value (or its key) stands.

        For a path that is not there, the nearest one above it.

        Steps that the document does not know, such as the tags pydantic adds for members of a
        union, are passed over.
        """
        at: tuple[Step, ...] = ()
        for step in path:
            at = (*at, step) if (*at, step) in self.places else at
        return self.keys.get(at, self.places[at]) if key else self.places[at]

    def error(self, path: Sequence[Step], sentence: str, *, key: bool = False) -> MatrixError:
        """``file:line:column: sentence``."""
        return _error(self.path, self.place(path, key=key), sentence)


def read(path: Path) -> Document:
    """Read a file that holds one YAML mapping.

    Raises MatrixError, with line and column where there are any.
    """
    document = Document(path, _text(path))
    node = _compose(document)
    if node is None:
        raise MatrixError(
            f"{path}:1:1: the file is empty; `yogurtbench init` writes a matrix to start from"
        )
    try:
        document.value = _Builder(document).build(node, ())
    except RecursionError:
        raise _too_deep(path, node) from None
    if not isinstance(document.value, dict):
        hint = no_space(document.value)
        raise document.error(
            (), f"a matrix is a mapping (name: …, axes: …), not {kind(document.value)}{hint}"
        )
    return document


def _text(path: Path) -> str:
    try:
        mode = path.stat().st_mode
        if not (stat.S_ISREG(mode) or stat.S_ISFIFO(mode)):
            raise MatrixError(
                f"{path}: this is {'a folder' if stat.S_ISDIR(mode) else 'a device'}, not a "
                "matrix file"
            )
        raw = _piped(path) if stat.S_ISFIFO(mode) else _read(path)
    except FileNotFoundError:
        raise MatrixError(
            f"{path}: no such file{close_to(str(path), paths.matrices(path.parent))}"
        ) from None
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or error
        raise MatrixError(f"{path}: the file cannot be read ({why})") from None
    if len(raw) > MAX_BYTES:
        raise MatrixError(
            f"{path}: the file is larger than {MAX_BYTES // 1024 // 1024} MiB: surely not a matrix"
        )
    return _decode(path, raw)


def _read(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(MAX_BYTES + 1)


def _piped(path: Path) -> bytes:
    """Return what comes through a pipe, as in ``plan <(jsonnet m.jsonnet)``.

    Nobody waits for a writer that never comes.
    """
    raw = b""
    line = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    try:
        while len(raw) <= MAX_BYTES:
            if not select.select([line], [], [], PATIENCE)[0]:
                raise MatrixError(
                    f"{path}: this is a pipe, and for {PATIENCE} s nothing was written to it"
                )
            part = os.read(line, 1 << 16)
            if not part:
                break
            raw += part
    finally:
        os.close(line)
    return raw


def _decode(path: Path, raw: bytes) -> str:
    if raw.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise _error(
            path, (1, 1), f"byte 0x{raw[0]:02x} is not UTF-8: the file is UTF-16; save it as UTF-8"
        )
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        good = raw[: error.start].decode("utf-8")
        raise _error(
            path,
            _count(good, len(good)),
            f"byte 0x{raw[error.start]:02x} is not UTF-8; save the file as UTF-8",
        ) from None


def _compose(document: Document) -> Node | None:
    path = document.path
    try:
        if document.text.startswith("%YAML") and not document.text.startswith("%YAML 1.2"):
            raise _error(path, (1, 1), "a matrix is YAML 1.2: remove this line")
        return YAML(typ="safe", pure=True).compose(document.text)  # type: ignore[no-any-return]
    except MarkedYAMLError as error:
        raise _not_yaml(path, error) from None
    except ReaderError as error:
        at = _count(document.text, error.position)
        raise _error(
            path, at, f"the character {chr(error.character)!r} is not allowed in YAML"
        ) from None
    except RecursionError:
        raise _error(path, (1, 1), "the values are nested too deeply") from None
    except (YAMLError, ValueError, NotImplementedError) as error:
        raise _error(path, (1, 1), f"this is not YAML: {error}") from None


#: What the parser says (a pattern), and what most who wrote such a thing did not know.
_HINTS: tuple[tuple[str, str], ...] = (
    (
        "mapping values are not allowed",
        "text with a colon in it stands in quotes, and keys beside each other begin in one column",
    ),
    (r"character '\\t'", "indent with spaces: YAML takes no tabs"),
    (
        r"cannot start any token|undefined alias|block sequence entries|sequence entries",
        "such text stands in quotes",
    ),
    ("single document", "a matrix is one document: remove the line ---"),
    ("scanning a quoted scalar", "the quote that begins in line {context} is not closed"),
    (
        "parsing a flow (sequence|mapping)",
        "the bracket that opens in line {context} is not closed, or a comma lacks",
    ),
    ("found '<scalar>'", "text with quotes in it stands in quotes of the other kind, whole"),
    ("parsing a block", "the indentation does not fit what begins in line {context}"),
    (
        "could not find expected ':'",
        "line {context} is no key: a key ends with a colon and a space",
    ),
)


def _not_yaml(path: Path, error: MarkedYAMLError) -> MatrixError:
    mark = error.problem_mark or error.context_mark
    said = " ".join(str(part) for part in (error.context, error.problem) if part)
    hint = next((hint for pattern, hint in _HINTS if re.search(pattern, said)), "")
    context = error.context_mark or mark
    line = context.line + 1 if context else 1
    more = f"; {hint.format(context=line)}" if hint else ""
    return _error(
        path,
        (mark.line + 1, mark.column + 1) if mark else (1, 1),
        f"this is not YAML: {said}{more}",
    )


def _count(text: str, position: int) -> Place:
    before = text[:position]
    return before.count("\n") + 1, position - (before.rfind("\n") + 1) + 1


def _error(path: Path, place: Place, sentence: str) -> MatrixError:
    return MatrixError(f"{path}:{place[0]}:{place[1]}: {sentence}")


def _too_deep(path: Path, node: Node) -> MatrixError:
    return _error(path, _place(node), "the values are nested too deeply")


def _place(node: Node) -> Place:
    return node.start_mark.line + 1, node.start_mark.column + 1


@dataclass(slots=True)
class _Builder:
    """Nodes to values, places noted, the whole counted so that aliases cannot multiply without
    end.
    """

    document: Document
    values: int = 0

    def build(self, node: Node, path: tuple[Step, ...]) -> Any:
        self._count(node, path)
        self.document.places[path] = _place(node)
        if isinstance(node, ScalarNode):
            return self._scalar(node)
        if isinstance(node, SequenceNode) and node.tag == f"{_WORD}seq":
            return [self.build(child, (*path, index)) for index, child in enumerate(node.value)]
        if isinstance(node, MappingNode) and node.tag == f"{_WORD}map":
            return self._mapping(node, path)
        raise self._error(node, f"the tag {node.tag} is not allowed here")

    def _count(self, node: Node, path: tuple[Step, ...]) -> None:
        self.values += 1
        if self.values > MAX_VALUES:
            raise self._error(
                node,
                f"the aliases (*) unfold into more than {MAX_VALUES:,} values; write out what "
                "is meant",
            )
        if len(path) > MAX_DEPTH:
            raise _too_deep(self.document.path, node)

    def _mapping(self, node: MappingNode, path: tuple[Step, ...]) -> dict[str, Any]:
        built: dict[str, Any] = {}
        first: dict[str, Place] = {}
        merged: list[Node] = []
        for key_node, child in node.value:
            if key_node.tag == f"{_WORD}merge":
                merged.append(child)
                continue
            key = self._key(key_node)
            if key in first:
                raise self._error(
                    key_node, f"{key} is given twice: the first is in line {first[key][0]}"
                )
            first[key] = self.document.keys[(*path, key)] = _place(key_node)
            built[key] = self.build(child, (*path, key))
            if (
                child.value == "" and not child.style
            ):  # YAML places what is not there at the next thing that is
                self.document.places[(*path, key)] = first[key]
        for source in merged:
            self._merge(source, path, built)
        return built

    def _merge(self, source: Node, path: tuple[Step, ...], built: dict[str, Any]) -> None:
        """``<<: *anchor`` or a list of them: what the mapping does not say itself."""
        for mapping in source.value if isinstance(source, SequenceNode) else [source]:
            if not isinstance(mapping, MappingNode):
                raise self._error(source, "<< takes an alias of a mapping, or a list of such")
            self._count(mapping, path)
            for key_node, child in _flat(mapping):
                key = self._key(key_node)
                if key not in built:
                    self.document.keys[(*path, key)] = _place(key_node)
                    built[key] = self.build(child, (*path, key))

    def _key(self, node: Node) -> str:
        if not isinstance(node, ScalarNode) or not node.value:
            raise self._error(node, "a key is one word")
        return str(node.value)

    def _scalar(self, node: ScalarNode) -> Any:
        text, tag = str(node.value), str(node.tag).removeprefix(_WORD)
        if tag == "null":
            return None
        if tag == "bool":
            return text in _TRUE
        if tag in ("int", "float"):
            return self._number(node, text, tag)
        if tag in ("str", "timestamp", "value"):
            return self._text(node, text)
        raise self._error(
            node,
            f"the tag {node.tag} is not allowed here; text that begins with ! stands in quotes",
        )

    def _text(self, node: ScalarNode, text: str) -> str:
        """JSON writes what lies beyond 16 bits as two escapes, which belong together."""
        try:
            return text.encode("utf-16", "surrogatepass").decode("utf-16")
        except UnicodeDecodeError:
            raise self._error(
                node, "half a character: an escape \\ud800 to \\udfff without its other half"
            ) from None

    def _number(self, node: ScalarNode, text: str, tag: str) -> int | float:
        """Return a number that remembers how it was written.

        6.10 is 6.1 to Python, and another kernel to its author.
        """
        if len(text) > MAX_DIGITS:
            raise self._error(node, f"a number of {len(text):,} characters: text stands in quotes")
        plain = text.replace("_", "").lower()
        try:
            return format_value(_value(plain, tag), text)
        except ValueError:
            raise self._error(node, f"{text} is not a number") from None

    def _error(self, node: Node, sentence: str) -> MatrixError:
        return _error(self.document.path, _place(node), sentence)


def _value(plain: str, tag: str) -> int | float:
    """Return the number of a scalar without underscores, in small letters.

    Raises ValueError where it is none.
    """
    if re.fullmatch(r"[-+]?[0-9]+", plain):
        return int(plain)
    return (
        int(plain, 0)
        if tag == "int"
        else float(plain.replace(".inf", "inf").replace(".nan", "nan"))
    )


def _flat(mapping: MappingNode, depth: int = 0) -> Iterator[tuple[Node, Node]]:
    """Yield a mapping's pairs, those it merges in itself after its own."""
    for key, child in mapping.value:
        if key.tag != f"{_WORD}merge":
            yield key, child
    for key, child in mapping.value:
        if key.tag == f"{_WORD}merge" and depth < MAX_DEPTH:
            for source in child.value if isinstance(child, SequenceNode) else [child]:
                if isinstance(source, MappingNode):
                    yield from _flat(source, depth + 1)
