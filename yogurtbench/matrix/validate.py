"""Validation: each error of a matrix in one sentence, with its position.

``first`` turns pydantic's complaints into ours; ``check`` looks for what a model of single values
cannot see.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from yogurtbench.core import paths
from yogurtbench.core.errors import MatrixError
from yogurtbench.core.wording import in_quotes, kind, no_space, suggest_nearest
from yogurtbench.matrix import axes, combinations
from yogurtbench.matrix.document import Document, Step
from yogurtbench.matrix.load_options import KINDS, PositionedError
from yogurtbench.matrix.schema import BlocksGiven, Matrix

#: A cross product beyond this is a slip, not a sweep: it would run for months.
MAX_COMBINATIONS = 100_000

Path = tuple[Step, ...]


def first_error(document: Document, error: ValidationError) -> MatrixError:
    """Return the complaint that stands first in the file."""
    found = [_describe_error(details) for details in error.errors(include_url=False)]
    path, key, sentence = min(
        found, key=lambda complaint: document.place(complaint[0], key=complaint[1])
    )
    return document.error(path, sentence, key=key)


def _describe_error(details: ErrorDetails) -> tuple[Path, bool, str]:
    """Path, whether its key is meant, sentence."""
    path: Path = details["loc"]
    cause = details.get("ctx", {}).get("error")
    if isinstance(cause, PositionedError):
        return (*path, *cause.path), cause.key, str(cause)
    name = str(path[-1])
    if details["type"] == "extra_forbidden":
        if path == ("axes", "load"):
            return (
                path,
                True,
                "the loads stand in a list of their own, loads: [...], beside the axes",
            )
        what = "axis" if path[0] in ("axes", "include", "exclude", "baseline") else "key"
        return path, True, f"there is no {what} {name!r}{suggest_nearest(name, _known(path))}"
    if details["type"] == "missing":
        return path[:-1], False, f"{name} is missing: every matrix has one"
    if cause is not None:
        return path, False, str(cause)
    return path, False, _plain_message(name if isinstance(path[-1], str) else str(path[0]), details)


def _known(path: Path) -> list[str]:
    """Return the keys that would have been right instead of the last one of the path."""
    if len(path) == 1:
        return list(Matrix.model_fields)
    if path[0] == "loads":
        return list(KINDS[str(path[2])].model_fields)
    if path[0] == "blocks":
        return list(BlocksGiven.model_fields)
    return [name for name in axes.WORDS if name != "load" or path[0] != "axes"]


_EXPECTED = {
    "model_type": "a mapping",
    "model_attributes_type": "a mapping",
    "dict_type": "a mapping",
    "list_type": "a list",
    "string_type": "a text",
}


def _plain_message(name: str, details: ErrorDetails) -> str:
    if details["input"] is None:
        return f"{name} is empty: give it a value, or leave it out"
    if details["type"] in _EXPECTED:
        quotes = in_quotes(details["input"]) if details["type"] == "string_type" else ""
        hint = quotes or ("" if details["type"] == "string_type" else no_space(details["input"]))
        return f"{name} is {_EXPECTED[details['type']]}, not {kind(details['input'])}{hint}"
    return f"{name}: {details['msg']}"


def validate_cells(matrix: Matrix) -> None:
    """Raise MatrixError for the first thing that does not fit together."""
    for one in _CHECKS:
        one(matrix, matrix.document)


def _check_loads(matrix: Matrix, document: Document) -> None:
    first: dict[str, int] = {}
    for index, name in enumerate(matrix.kinds):
        if name in first:
            line, _ = document.place(("loads", first[name]))
            sentence = (
                f"the load {name} is given twice: the first is in line {line}; vary "
                "the axes instead"
            )
            raise document.error(("loads", index, "kind"), sentence)
        first[name] = index


def _check_named_loads(matrix: Matrix, document: Document) -> None:
    for path, point in _entries(matrix):
        named = point.get("load", [])
        for index, name in enumerate(named if isinstance(named, list) else [named]):
            if name not in matrix.kinds:
                sentence = (
                    f"load {name} is not among the loads of this "
                    f"matrix{suggest_nearest(name, matrix.kinds)}"
                )
                raise document.error((*path, "load", index), sentence)


def _check_excluded_axes(matrix: Matrix, document: Document) -> None:
    crossed = [*matrix.axes.named, "load"] if matrix.axes.named else []
    for index, entry in enumerate(matrix.exclude):
        for name in entry.named:
            if name not in crossed:
                nearest = suggest_nearest(name, crossed) if crossed else ""
                sentence = f"exclude names {name}, which is not among the axes{nearest}"
                raise document.error(("exclude", index, name), sentence, key=True)
        if not entry.named:
            raise document.error(("exclude", index), "this excludes everything: name an axis")


def _check_empty_entries(matrix: Matrix, document: Document) -> None:
    for path, point in _entries(matrix):
        if not point:
            raise document.error(path, f"this entry of {path[0]} names no axis")


def _check_blocks(matrix: Matrix, document: Document) -> None:
    blocks = matrix.blocks.resolve()
    if blocks.min > blocks.max:
        raise document.error(
            ("blocks", "min"), f"blocks min {blocks.min} is more than max {blocks.max}"
        )


def _check_size(matrix: Matrix, document: Document) -> None:
    entries = [entry.named for entry in matrix.include]
    total = (combinations.size(matrix.axes.named) + sum(map(combinations.size, entries))) * len(
        matrix.loads
    )
    if total > MAX_COMBINATIONS:
        sentence = (
            f"the matrix has {total:,} combinations, more than {MAX_COMBINATIONS:,}: "
            "name fewer values"
        )
        raise document.error(("axes",) if matrix.axes.named else ("include",), sentence, key=True)


def _check_payloads(matrix: Matrix, document: Document) -> None:
    """Refuse a payload that no load takes, wherever it is."""
    for path, point in [(("axes",), matrix.axes.named), *_entries(matrix)]:
        takers = [name for name in point.get("load", matrix.kinds) if name in axes.PAYLOADS]
        given = point.get("payload", [])
        for index, payload in enumerate(given if isinstance(given, list) else [given]):
            limits = {name: axes.PAYLOADS[name] for name in takers}
            if limits and not any(low <= payload <= high for low, high in limits.values()):
                said = ", ".join(
                    f"{name} takes {low} to {high}" for name, (low, high) in limits.items()
                )
                raise document.error(
                    (*path, "payload", index), f"payload {payload} is out of range: {said} bytes"
                )


def _check_files(matrix: Matrix, document: Document) -> None:
    for path, word in [*values(matrix, "program"), *values(matrix, "kernel")]:
        is_file, there = word.endswith(".c") or "/" in word, paths.beside(document.path, word)
        if (
            is_file
            and not os.path.isfile(there)
            and not (word.endswith(".c") and os.path.isdir(there))
        ):
            raise document.error(path, f"there is no file {word} beside the matrix")


_CHECKS: tuple[Callable[[Matrix, Document], None], ...] = (
    _check_loads,
    _check_empty_entries,
    _check_named_loads,
    _check_excluded_axes,
    _check_blocks,
    _check_size,
    _check_payloads,
    _check_files,
)


def _entries(matrix: Matrix) -> Iterator[tuple[Path, dict[str, Any]]]:
    """Yield every entry of include, exclude and baseline, with its path."""
    for name in ("include", "exclude", "baseline"):
        for index, entry in enumerate(getattr(matrix, name)):
            yield (name, index), entry.named


def values(matrix: Matrix, axis: str) -> Iterator[tuple[Path, str]]:
    """Yield every value of an axis, with its path."""
    for path, point in [(("axes",), matrix.axes.named), *_entries(matrix)]:
        given = point.get(axis, [])
        for index, value in enumerate(given if isinstance(given, list) else [given]):
            yield (*path, axis, index), value
