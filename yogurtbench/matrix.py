"""A matrix: YAML, validated with the place of every mistake, and made into a plan.

``load`` gives the Matrix, ``make_plan`` the Plan: the cross product of the axes with ``exclude`` and ``include``, the
cells filled with their defaults, what cannot exist left out, the baselines and their A/A canaries added.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BeforeValidator, Field, PlainValidator, PrivateAttr, ValidationError, WithJsonSchema, create_model
from pydantic_core import ErrorDetails

from yogurtbench import axes, combinations
from yogurtbench.axes import Axis, Completer, Filler, Rule
from yogurtbench.combinations import Combination
from yogurtbench.document import Document, Step, kind, read
from yogurtbench.options import KINDS, AnyLoad, At, Reachability, Sockperf, Strict
from yogurtbench.plan import Blocks, LeftOut, Plan, PlannedCell
from yogurtbench.records import METRICS, YES_NO, Cell, MatrixError
from yogurtbench.selector import Selector
from yogurtbench.units import Count, Share

__all__ = ["LeftOut", "Matrix", "Plan", "PlannedCell", "json_schema", "load", "make_plan"]

#: A cross product beyond this is a slip, not a sweep: it would run for months.
MAX_COMBINATIONS = 100_000
_NAME = r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}"

Path_ = tuple[Step, ...]


# -- the model -------------------------------------------------------------------------------------------------------


def _listed(name: str) -> Callable[[object], object]:
    def listed(value: object) -> object:
        if value is None or value == []:
            raise ValueError(f"axis {name} is empty: give it a value, or leave it out for its default")
        single = not isinstance(value, list) or (name == "cpus" and axes.is_pair(value))
        return [value] if single else value

    return listed


def _one(axis: Axis) -> Any:
    return Annotated[Any, PlainValidator(axis.parse), WithJsonSchema(axis.json_schema())]


def _several(axis: Axis) -> Any:
    one = axis.json_schema()
    schema = {"anyOf": [one, {"type": "array", "items": one, "minItems": 1}]}
    return Annotated[list[_one(axis)], BeforeValidator(_listed(axis.name)), WithJsonSchema(schema)]  # type: ignore[misc]


class _Point(Strict):
    """Values by axis."""

    @property
    def named(self) -> dict[str, Any]:
        """The axes that were given."""
        return {name: value for name in type(self).model_fields if (value := getattr(self, name)) is not None}


def _points(title: str, doc: str, annotation: Callable[[Axis], Any], names: Iterable[str]) -> type[_Point]:
    fields: dict[str, Any] = {
        name: (annotation(axes.WORDS[name]), Field(None, description=axes.WORDS[name].meaning)) for name in names
    }
    return create_model(title, __base__=_Point, __doc__=doc, **fields)


if TYPE_CHECKING:  # the fields come from the table of axes

    class Axes(_Point): ...

    class Entry(_Point): ...

    class Baseline(_Point): ...

else:
    _CROSSED = [name for name in axes.WORDS if name != "load"]
    Axes = _points("Axes", "Values or lists of values by axis: their cross product is swept.", _several, _CROSSED)
    Entry = _points("Entry", "A value by axis; a list stands for each of its values.", _several, axes.WORDS)
    Baseline = _points("Baseline", "A partial cell; the rest comes from the cell compared with it.", _one, axes.WORDS)


def _or_list(value: object) -> object:
    if value is None or value == []:
        raise ValueError("this is empty: give it a value, or leave it out")
    return value if isinstance(value, list) else [value]


def _one_or_list(schema: dict[str, Any]) -> None:
    """JSON Schema: what may be a list may be one of its items."""
    items = schema["items"]
    del schema["type"], schema["items"]
    schema["anyOf"] = [items, {"type": "array", "items": items, "minItems": 1}]


def _kind_or_mapping(schema: dict[str, Any]) -> None:
    schema["minItems"] = 1
    schema["items"] = {"anyOf": [{"enum": list(axes.LOADS)}, *schema["items"]["oneOf"]]}


def _selector(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError(f"a gate is a selector, such as 'hook=netkit_peer,payload=64', not {kind(value)}")
    Selector(value)
    return value


def _metric_names(value: object) -> object:
    for name in value if isinstance(value, dict) else ():
        if name not in METRICS:
            raise At((name,), f"there is no metric {name!r}{axes.nearest(name, METRICS)}", key=True)
    return value


def _folder_name(value: object) -> str:
    if isinstance(value, str) and re.fullmatch(_NAME, value):
        return value
    raise ValueError(
        f"name names a folder: letters, digits, '.', '_' and '-', at most 64, the first a letter or digit; not {kind(value)}"
    )


def _usual_loads() -> list[AnyLoad]:
    return [Reachability(kind="reachability"), Sockperf(kind="sockperf")]


class BlocksGiven(Strict):
    """How often everything is repeated."""

    min: Count | None = None
    """The fewest blocks (default 10)."""
    max: Count | None = None
    """The most blocks (default 40)."""
    precision: Share = 0.01
    """Stop when half the width of the interval is at most this (default 1%)."""

    def resolve(self) -> Blocks:
        """With the defaults, which give way to what was named."""
        usual = Blocks()
        fewest = self.min or min(usual.min, self.max or usual.min)
        return Blocks(fewest, self.max or max(usual.max, fewest), self.precision)


Selectors = list[Annotated[str, PlainValidator(_selector), WithJsonSchema({"type": "string"})]]


class Matrix(Strict):
    """A sweep of eBPF wires between two network namespaces."""

    name: Annotated[str, PlainValidator(_folder_name), WithJsonSchema({"type": "string", "pattern": f"^{_NAME}$"})]
    """Names the folder of the results."""
    question: Annotated[str, Field(strict=True)] = ""
    """What the sweep is to answer."""
    lab: Literal["auto", "native", "vm"] = "auto"
    """Where it runs: this kernel, a kernel booted in QEMU, or whatever can do it."""
    clock: Literal["wall", "instructions"] = "wall"
    """What times are measured in; instructions: QEMU's count of executed guest instructions (vm only)."""
    axes: Axes = Field(default_factory=lambda: Axes())
    """What varies: the cross product of all values."""
    include: list[Entry] = Field([])
    """Cells added to the cross product, or values added to its cells (GitHub Actions' rules)."""
    exclude: list[Entry] = Field([])
    """What is taken out of the cross product, before include."""
    baseline: Annotated[list[Baseline], BeforeValidator(_or_list)] = Field([], json_schema_extra=_one_or_list)
    """What cells are compared with; of several the first is the main one."""
    loads: Annotated[list[AnyLoad], BeforeValidator(_or_list)] = Field(
        default_factory=_usual_loads,
        json_schema_extra=_kind_or_mapping,
    )
    """What is sent; left out: reachability and sockperf."""
    blocks: BlocksGiven = BlocksGiven()
    """How often everything is repeated."""
    margins: Annotated[dict[str, Share], BeforeValidator(_metric_names)] = Field(
        {}, json_schema_extra=lambda schema: schema.update(propertyNames={"enum": list(METRICS)})
    )
    """By metric: the difference that counts as none."""
    gate: Annotated[Selectors, BeforeValidator(_or_list)] = Field([], json_schema_extra=_one_or_list)
    """Selectors of the few cells that decide; the rest is exploratory."""
    seed: Annotated[int, Field(strict=True, ge=0, le=2**63 - 1)] = 1
    """Makes the random order repeatable."""

    _document: Document = PrivateAttr()
    _programs: dict[str, str] = PrivateAttr(default_factory=dict)

    @property
    def document(self) -> Document:
        """The file the matrix was read from."""
        return self._document

    @property
    def programs(self) -> dict[str, str]:
        """The sources of the programs of one's own, by the word the matrix uses."""
        return self._programs

    @property
    def kinds(self) -> tuple[str, ...]:
        """The loads."""
        return tuple(one.kind for one in self.loads)


def json_schema() -> dict[str, Any]:
    """The JSON Schema (draft 7) of a matrix, for editors."""
    schema = Matrix.model_json_schema(ref_template="#/definitions/{model}")
    definitions = schema.pop("$defs")
    return {
        "$schema": "http://json-schema.org/draft-07/schema#",
        **schema,
        "title": "yogurtbench matrix",
        "definitions": definitions,
    }


# -- reading ---------------------------------------------------------------------------------------------------------


def load(path: Path | str) -> Matrix:
    """Read and validate a matrix. Raises MatrixError ``file:line:column: sentence``."""
    document = read(Path(path))
    try:
        matrix = Matrix.model_validate(document.value)
    except ValidationError as error:
        raise _first(document, error) from None
    matrix._document = document
    for check in _CHECKS:
        check(matrix, document)
    matrix._programs = _programs(matrix, document)
    return matrix


def _first(document: Document, error: ValidationError) -> MatrixError:
    """The complaint that stands first in the file."""
    found = [_complaint(document, details) for details in error.errors(include_url=False)]
    path, key, sentence = min(found, key=lambda complaint: document.place(complaint[0], key=complaint[1]))
    return document.error(path, sentence, key=key)


def _complaint(document: Document, details: ErrorDetails) -> tuple[Path_, bool, str]:
    """Path, whether its key is meant, sentence."""
    path: Path_ = details["loc"]
    cause = details.get("ctx", {}).get("error")
    if isinstance(cause, At):
        return (*path, *cause.path), cause.key, str(cause)
    name, given = str(path[-1]), details["input"]
    if details["type"] == "extra_forbidden":
        what = "axis" if path[0] in ("axes", "include", "exclude", "baseline") else "key"
        return path, True, f"there is no {what} {name!r}{axes.nearest(name, _known(path))}"
    if details["type"] == "missing":
        return path[:-1], False, f"{name} is missing: every matrix has one"
    if cause is not None:
        return path, False, str(cause)
    if details["type"] == "literal_error":
        words = _literals(name)
        near = axes.nearest(given, words) if isinstance(given, str) else f" {kind(given)}; known: {', '.join(words)}"
        return (
            path,
            False,
            f"{name} does not know {given!r}{near}" if isinstance(given, str) else f"{name} cannot be{near}",
        )
    return path, False, _plain(name if isinstance(path[-1], str) else str(path[0]), details["type"], details)


def _known(path: Path_) -> list[str]:
    """The keys that would have been right instead of the last one of the path."""
    if len(path) == 1:
        return list(Matrix.model_fields)
    if path[0] == "loads":
        return list(KINDS[str(path[2])].model_fields)
    if path[0] == "blocks":
        return list(BlocksGiven.model_fields)
    return [name for name in axes.WORDS if name != "load" or path[0] != "axes"]


def _literals(name: str) -> tuple[str, ...]:
    return {"lab": ("auto", "native", "vm"), "clock": ("wall", "instructions")}[name]


_EXPECTED = {
    "model_type": "a mapping",
    "model_attributes_type": "a mapping",
    "dict_type": "a mapping",
    "list_type": "a list",
    "string_type": "a text",
    "int_type": "a whole number",
}


def _plain(name: str, type_: str, details: ErrorDetails) -> str:
    given = details["input"]
    if given is None:
        return f"{name} is empty: give it a value, or leave it out"
    if type_ in _EXPECTED:
        return f"{name} is {_EXPECTED[type_]}, not {kind(given)}"
    limits = details.get("ctx", {})
    if "ge" in limits or "le" in limits:
        return f"{name} {given} is out of range: {'at least' if 'ge' in limits else 'at most'} {limits.get('ge', limits.get('le'))}"
    return f"{name}: {details['msg']}"


# -- what the model alone cannot see ---------------------------------------------------------------------------------


def _check_loads(matrix: Matrix, document: Document) -> None:
    first: dict[str, int] = {}
    for index, name in enumerate(matrix.kinds):
        if name in first:
            line, _ = document.place(("loads", first[name]))
            sentence = f"the load {name} is given twice: the first is in line {line}; vary the axes instead"
            raise document.error(("loads", index, "kind"), sentence)
        first[name] = index


def _check_named_loads(matrix: Matrix, document: Document) -> None:
    for path, point in _entries(matrix):
        named = point.get("load", [])
        for index, name in enumerate(named if isinstance(named, list) else [named]):
            if name not in matrix.kinds:
                sentence = f"load {name} is not among the loads of this matrix{axes.nearest(name, matrix.kinds)}"
                raise document.error((*path, "load", index), sentence)


def _check_excluded_axes(matrix: Matrix, document: Document) -> None:
    crossed = [*matrix.axes.named, "load"] if matrix.axes.named else []
    for index, entry in enumerate(matrix.exclude):
        for name in entry.named:
            if name not in crossed:
                sentence = (
                    f"exclude names {name}, which is not among the axes{axes.nearest(name, crossed) if crossed else ''}"
                )
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
        raise document.error(("blocks", "min"), f"blocks min {blocks.min} is more than max {blocks.max}")


def _check_size(matrix: Matrix, document: Document) -> None:
    entries = [entry.named for entry in matrix.include]
    total = (combinations.size(matrix.axes.named) + sum(map(combinations.size, entries))) * len(matrix.loads)
    if total > MAX_COMBINATIONS:
        sentence = f"the matrix has {total:,} combinations, more than {MAX_COMBINATIONS:,}: name fewer values"
        raise document.error(("axes",) if matrix.axes.named else ("include",), sentence, key=True)


def _check_payloads(matrix: Matrix, document: Document) -> None:
    """A payload that no load takes is a mistake, wherever it stands."""
    for path, point in [(("axes",), matrix.axes.named), *_entries(matrix)]:
        takers = [name for name in point.get("load", matrix.kinds) if name in axes.PAYLOADS]
        given = point.get("payload", [])
        for index, payload in enumerate(given if isinstance(given, list) else [given]):
            limits = {name: axes.PAYLOADS[name] for name in takers}
            if limits and not any(low <= payload <= high for low, high in limits.values()):
                said = ", ".join(f"{name} takes {low} to {high}" for name, (low, high) in limits.items())
                raise document.error((*path, "payload", index), f"payload {payload} is out of range: {said} bytes")


def _check_files(matrix: Matrix, document: Document) -> None:
    for path, word in [*_values(matrix, "program"), *_values(matrix, "kernel")]:
        is_file = word.endswith(".c") or "/" in word
        if is_file and not (document.path.parent / word).is_file():
            raise document.error(path, f"there is no file {word} beside the matrix")


def _check_native(matrix: Matrix, document: Document) -> None:
    for path, word in _values(matrix, "kernel") if matrix.lab == "native" else ():
        if word != axes.HOST_KERNEL:
            raise document.error(path, f"kernel {word} has to be booted, and lab is native: use lab auto or vm")


_CHECKS = (
    _check_loads,
    _check_empty_entries,
    _check_named_loads,
    _check_excluded_axes,
    _check_blocks,
    _check_size,
    _check_payloads,
    _check_files,
    _check_native,
)


def _entries(matrix: Matrix) -> Iterator[tuple[Path_, dict[str, Any]]]:
    """Every entry of include, exclude and baseline, with its path."""
    for name in ("include", "exclude", "baseline"):
        for index, entry in enumerate(getattr(matrix, name)):
            yield (name, index), entry.named


def _values(matrix: Matrix, axis: str) -> Iterator[tuple[Path_, str]]:
    """Every value of an axis, with its path."""
    for path, point in [(("axes",), matrix.axes.named), *_entries(matrix)]:
        given = point.get(axis, [])
        for index, value in enumerate(given if isinstance(given, list) else [given]):
            yield (*path, axis, index), value


def _programs(matrix: Matrix, document: Document) -> dict[str, str]:
    sources: dict[str, str] = {}
    for path, word in _values(matrix, "program"):
        if word != "builtin":
            try:
                sources[word] = (document.path.parent / word).read_text(encoding="utf-8")
            except (OSError, UnicodeDecodeError) as error:
                raise document.error(path, f"{word} cannot be read: {error}") from None
    return sources


# -- planning --------------------------------------------------------------------------------------------------------


def make_plan(matrix: Matrix, *, clock: str | None = None, only: str | None = None, blocks: int | None = None) -> Plan:
    """The plan of a matrix; ``clock``, ``only`` (a selector) and ``blocks`` as on the command line.

    Raises MatrixError where what was named cannot exist, or nothing is left.
    """
    clock = clock or matrix.clock
    if clock == "instructions" and matrix.lab == "native":
        raise matrix.document.error(
            ("lab",), "the instruction clock is QEMU's: lab native does not have it; use auto or vm"
        )
    filler = Filler(clock)
    sifted = _sift(matrix, filler)
    wanted = _only(list(sifted.cells), only)
    gates = _gates(matrix, list(sifted.cells))
    options: dict[str, dict[str, Any]] = {one.kind: one.options(clock) for one in matrix.loads}
    return Plan(
        name=matrix.name,
        question=matrix.question,
        lab="vm" if clock == "instructions" else matrix.lab,
        clock=clock,
        seed=matrix.seed,
        blocks=_blocks(matrix, clock, blocks),
        margins=dict(matrix.margins),
        cells=tuple(_planned(matrix, wanted, filler, gates, options)),
        left_out=sifted.left_out,
        collapsed=sifted.collapsed,
        programs=matrix.programs,
        source=matrix.document.text,
        path=str(matrix.document.path),
    )


def _blocks(matrix: Matrix, clock: str, blocks: int | None) -> Blocks:
    given = matrix.blocks.resolve()
    if blocks is not None and blocks < 1:
        raise MatrixError(f"--blocks {blocks}: at least 1 block has to run")
    # The instruction clock repeats to the digit: a second block would say the same.
    number = blocks or (1 if clock == "instructions" else None)
    return Blocks(number, number, given.precision) if number else given


@dataclass(slots=True)
class _Sifted:
    """``cells`` in order, without doubles; ``collapsed``: how many doubles there were."""

    cells: dict[Cell, None] = field(default_factory=dict)
    left_out: tuple[LeftOut, ...] = ()
    collapsed: int = 0


def _sift(matrix: Matrix, filler: Filler) -> _Sifted:
    """Fill every combination; set aside what cannot exist, and complain where that is all somebody named."""
    sifted = _Sifted()
    broken: list[tuple[Rule, Combination, Cell]] = []
    fine: set[int | None] = set()
    for one in _combinations(matrix):
        cell, rule = filler.fill(one.values)
        if rule is not None:
            broken.append((rule, one, cell))
            continue
        fine.update(_origins(one))
        sifted.collapsed += cell in sifted.cells
        sifted.cells[cell] = None
    _complain(matrix, broken, fine)
    if not sifted.cells:
        raise matrix.document.error(("exclude",), "exclude leaves nothing of the matrix", key=True)
    sifted.left_out = _left_out(broken)
    return sifted


def _combinations(matrix: Matrix) -> Iterator[Combination]:
    """Every combination with its load, which is an axis of the cross product like any other."""
    crossed = matrix.axes.named
    include, exclude = ([entry.named for entry in entries] for entries in (matrix.include, matrix.exclude))
    cross = {**crossed, "load": matrix.kinds} if crossed or not include else {}
    for one in combinations.combine(cross, include, exclude):
        for name in [one.values["load"]] if "load" in one.values else matrix.kinds:
            yield Combination({**one.values, "load": name}, one.crossed, one.entries)


def _origins(one: Combination) -> Iterator[int | None]:
    """The include entries behind a combination; None stands for the axes."""
    yield from one.entries
    if one.crossed:
        yield None


def _complain(matrix: Matrix, broken: Sequence[tuple[Rule, Combination, Cell]], fine: set[int | None]) -> None:
    """Raise for the first origin all of whose combinations are impossible."""
    reasons: dict[int | None, Counter[int]] = {}
    rules = {id(rule): rule for rule, _, _ in broken}
    for rule, one, _ in broken:
        for origin in _origins(one):
            reasons.setdefault(origin, Counter())[id(rule)] += 1
    for origin, counted in reasons.items():
        if origin not in fine:
            rule = rules[counted.most_common(1)[0][0]]
            raise _blamed(matrix.document, rule, [("axes",)] if origin is None else [("include", origin), ("axes",)])


def _blamed(document: Document, rule: Rule, paths: Sequence[Path_]) -> MatrixError:
    """The rule's reason, at the first of its axes that stands in one of the places."""
    named = ((*path, axis) for path in paths for axis in rule.axes)
    place = next((path for path in named if path in document.places), paths[0])
    return document.error(place, rule.reason)


def _left_out(broken: Sequence[tuple[Rule, Combination, Cell]]) -> tuple[LeftOut, ...]:
    counted = Counter(rule.reason for rule, _, _ in broken)
    example: dict[str, str] = {}
    for rule, one, _ in broken:
        example.setdefault(rule.reason, axes.text(one.values))
    return tuple(LeftOut(reason, count, example[reason]) for reason, count in counted.most_common())


def _only(cells: list[Cell], only: str | None) -> list[Cell]:
    if only is None:
        return cells
    try:
        selector = Selector(only)
    except ValueError as error:
        raise MatrixError(f"--only: {error}") from None
    kept = [cell for cell in cells if selector.matches(cell)]
    if not kept:
        raise MatrixError(f"--only: no cell of the matrix has {only}")
    return kept


def _gates(matrix: Matrix, cells: Sequence[Cell]) -> list[Selector]:
    selectors = [Selector(text) for text in matrix.gate]
    for index, selector in enumerate(selectors):
        if not any(selector.matches(cell) for cell in cells):
            raise matrix.document.error(("gate", index), f"no cell of the matrix has {selector.text}")
    return selectors


def _planned(
    matrix: Matrix,
    cells: Sequence[Cell],
    filler: Filler,
    gates: Sequence[Selector],
    options: Mapping[str, dict[str, Any]],
) -> Iterator[PlannedCell]:
    """Group by group: its baselines, its canary, its cells."""
    grouped = _grouped(matrix, cells, filler)
    for group, members in grouped.items():
        for name, (cell, role, baselines) in sorted(members.items(), key=lambda item: item[1][1] != "baseline"):
            gate = bool(baselines) and any(selector.matches(cell) for selector in gates)
            yield PlannedCell(cell, role, group, baselines, gate, options[cell.load])
            if name == group and len(members) > 1 and cell.load not in YES_NO:
                yield PlannedCell(cell, "canary", group, (group,), False, options[cell.load])


_Member = tuple[Cell, Literal["cell", "baseline"], tuple[str, ...]]


def _grouped(matrix: Matrix, cells: Sequence[Cell], filler: Filler) -> dict[str, dict[str, _Member]]:
    """By group, by id: each cell once, its role, the ids it is compared with.

    A baseline that is a cell of the matrix too is the same one, as a baseline; all but the main are compared with that.
    """
    completers = [Completer(baseline.named, filler) for baseline in matrix.baseline]
    groups: dict[str, dict[str, _Member]] = {}
    for cell in cells:
        bases = {base.id: base for base in _completed(matrix, completers, cell)}
        main = next(iter(bases), "")
        members = groups.setdefault(main, {})
        for name, base in bases.items():
            members[name] = (base, "baseline", () if name == main else (main,))
        members.setdefault(cell.id, (cell, "cell", tuple(bases)))
    return groups


def _completed(matrix: Matrix, completers: Sequence[Completer], cell: Cell) -> Iterator[Cell]:
    for index, completer in enumerate(completers):
        base, rule = completer.complete(cell)
        if rule is not None:
            raise _blamed(matrix.document, rule, [("baseline", index), ("baseline",), ("axes",)])
        yield base
