"""A matrix: YAML, validated with the place of every mistake, and made into a plan.

``load`` gives the Matrix, ``make_plan`` the Plan: the cross product of the axes with ``exclude``
and ``include``, the cells filled with their defaults, what cannot exist left out, the baselines and
their A/A canaries added.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from itertools import chain, product
from pathlib import Path
from typing import Any, Literal

from pydantic import ValidationError

from yogurtbench.core import files, wire_source
from yogurtbench.core import paths as places
from yogurtbench.core.errors import MatrixError
from yogurtbench.core.hook_specs import context
from yogurtbench.core.labels import axis_text
from yogurtbench.core.metrics import YES_NO
from yogurtbench.core.records import AXES, Cell
from yogurtbench.matrix import axes, combinations, validate
from yogurtbench.matrix.combinations import Combination
from yogurtbench.matrix.defaults import BaselineBuilder, CellBuilder
from yogurtbench.matrix.document import Document, Step, read
from yogurtbench.matrix.load_options import AnyLoad, PositionedError
from yogurtbench.matrix.rules import Rule
from yogurtbench.matrix.schema import AUTO, Matrix, json_schema
from yogurtbench.matrix.selector import Selector
from yogurtbench.matrix.units import MAX_BLOCKS
from yogurtbench.plan.plan import Blocks, ExcludedCells, Plan, PlannedCell

__all__ = ["Matrix", "Plan", "PlannedCell", "json_schema", "load", "make_plan"]


def load(path: Path | str) -> Matrix:
    """Read and validate a matrix. Raises MatrixError ``file:line:column: sentence``."""
    document = read(Path(path))
    try:
        matrix = Matrix.model_validate(document.value)
    except ValidationError as error:
        raise validate.first_error(document, error) from None
    matrix._document = document
    validate.validate_cells(matrix)
    matrix._programs = _programs(matrix)
    return matrix


def _programs(matrix: Matrix) -> dict[str, str]:
    sources: dict[str, str] = {}
    for path, word in validate.values(matrix, "program"):
        if word != "builtin":
            try:
                sources[word] = wire_source.read(places.beside(matrix.document.path, word))
                wire_source.check(sources[word])
            except OSError as error:
                raise matrix.document.error(
                    path, f"{word} cannot be read ({files.reason_of(error)})"
                ) from None
            except ValueError as error:
                raise matrix.document.error(path, f"{word} {error}") from None
    return sources


def make_plan(
    matrix: Matrix,
    *,
    lab: str | None = None,
    clock: str | None = None,
    only: str | None = None,
    blocks: int | None = None,
) -> Plan:
    """Return the plan of a matrix.

    ``lab``, ``clock``, ``only`` (a selector) and ``blocks`` as on the command line.

    A plan is for one clock: ``auto`` is planned for the wall clock here (see clocks, which makes
    both). Raises MatrixError where what was named cannot exist, or nothing is left.
    """
    lab, clock = lab or matrix.lab, clock or matrix.clock
    clock = "wall" if clock == AUTO else clock
    if clock == "instructions":
        _check_sizes(matrix)
    if lab == "native":
        _check_native(matrix, clock)
    filler = CellBuilder(clock)
    sifted = _sift(matrix, filler)
    wanted = _only(list(sifted.cells), only)
    gates = _gates(matrix, list(sifted.cells))
    return Plan(
        name=matrix.name,
        question=matrix.question,
        lab="vm" if clock == "instructions" else lab,
        clock=clock,
        seed=matrix.seed,
        blocks=_blocks(matrix, clock, blocks),
        margins=dict(matrix.margins),
        cells=tuple(_planned(matrix, wanted, filler, gates, clock)),
        left_out=sifted.left_out,
        collapsed=sifted.collapsed,
        doubles=sifted.doubles,
        notes=(*_overwritten(matrix, sifted.combined), *_idle(matrix)),
        named=tuple(name for name in AXES if name in _named(matrix)),
        programs=matrix.programs,
        source=matrix.document.text,
        path=str(matrix.document.path),
        only=only or "",
    )


def _check_native(matrix: Matrix, clock: str) -> None:
    if clock == "instructions":
        path = ("clock",) if matrix.clock == clock else ("lab",)
        raise matrix.document.error(
            path, "the instruction clock is QEMU's, and lab is native: use lab auto or vm"
        )
    for place, word in validate.values(matrix, "kernel"):
        if word != axes.HOST_KERNEL:
            raise matrix.document.error(
                place, f"kernel {word} has to be booted, and lab is native: use lab auto or vm"
            )


def _check_sizes(matrix: Matrix) -> None:
    for place, word in validate.values(matrix, "program"):
        try:
            wire_source.check_ordered(matrix.programs.get(word, ""))
        except ValueError as error:
            raise matrix.document.error(place, f"{word} {error}") from None


def _named(matrix: Matrix) -> set[str]:
    """Return the axes that cells are given values for."""
    return {
        "load",
        *matrix.axes.named,
        *chain.from_iterable(entry.named for entry in matrix.include),
    }


def _blocks(matrix: Matrix, clock: str, blocks: int | None) -> Blocks:
    given = matrix.blocks.resolve()
    if blocks is not None and blocks < 1:
        raise MatrixError(f"--blocks {blocks}: at least 1 block has to run")
    if blocks is not None and blocks > MAX_BLOCKS:
        raise MatrixError(f"--blocks {blocks}: at most {MAX_BLOCKS} blocks")
    # The instruction clock repeats to the digit: a second block would say the same.
    number = blocks or (1 if clock == "instructions" else None)
    return Blocks(number, number, given.precision) if number else given


@dataclass(slots=True)
class _ExpandedCells:
    """``cells`` in order, without doubles, each with what was named for it first.

    ``combined``: all combinations.

    ``collapsed``: how many others differ only in axes that do not apply; ``doubles``: how many say
    the same again.
    """

    cells: dict[Cell, dict[str, Any]] = field(default_factory=dict)
    combined: list[Combination] = field(default_factory=list)
    left_out: tuple[ExcludedCells, ...] = ()
    collapsed: int = 0
    doubles: int = 0

    def add(self, cell: Cell, values: dict[str, Any]) -> None:
        """Keep a cell, or count it where it is there already."""
        if cell not in self.cells:
            self.cells[cell] = values
        elif _is_double(cell, self.cells[cell], values):
            self.doubles += 1
        else:
            self.collapsed += 1


def _is_double(cell: Cell, one: dict[str, Any], other: dict[str, Any]) -> bool:
    """Return whether two ways to name a cell differ in nothing but what they leave to the
    defaults.
    """
    differing = {name for name in one.keys() | other.keys() if one.get(name) != other.get(name)}
    return all(
        values.get(name, getattr(cell, name)) == getattr(cell, name)
        for values, name in product((one, other), differing)
    )


def _sift(matrix: Matrix, filler: CellBuilder) -> _ExpandedCells:
    """Fill every combination.

    Set aside what cannot exist, and complain where that is all somebody named.
    """
    sifted = _ExpandedCells()
    broken: list[tuple[Rule, Combination, Cell]] = []
    fine: set[int | None] = set()
    sifted.combined = list(_combinations(matrix))
    for one in sifted.combined:
        cell, rule = filler.fill(one.values)
        rule = rule or _misfit(cell, matrix.programs)
        if rule is not None:
            broken.append((rule, one, cell))
            continue
        fine.update(_origins(one))
        sifted.add(cell, one.values)
    _complain(matrix, broken, fine)
    if not sifted.cells:
        raise matrix.document.error(("exclude",), "exclude leaves nothing of the matrix", key=True)
    sifted.left_out = _left_out(broken)
    return sifted


def _misfit(cell: Cell, programs: Mapping[str, str]) -> Rule | None:
    """Forbid a custom wire on a hook that hands it something else than it is written for."""
    written_for = wire_source.context(programs.get(cell.program, ""))
    fits = written_for in ("", context(cell.hook))
    return None if fits else _misfit_rule(cell.program, written_for)


@cache
def _misfit_rule(program: str, written_for: str) -> Rule:
    """Return one object a reason: reasons are counted by it."""
    reason = (
        f"{program} takes a struct {written_for}, so it is for "
        f"{wire_source.CONTEXTS[written_for]} only"
    )
    return Rule(lambda _cell: True, reason, ("program", "hook"))


def _combinations(matrix: Matrix) -> Iterator[Combination]:
    """Yield every combination with its load, which is an axis of the cross product like any
    other.
    """
    include, exclude = (
        [entry.named for entry in entries] for entries in (matrix.include, matrix.exclude)
    )
    for one in combinations.combine(_crossed(matrix), include, exclude):
        for name in [one.values["load"]] if "load" in one.values else matrix.kinds:
            yield replace(one, values={**one.values, "load": name})


def _crossed(matrix: Matrix) -> dict[str, Sequence[Any]]:
    """Return the axes of the cross product, the load among them.

    None where there are only includes.
    """
    crossed = matrix.axes.named
    return {**crossed, "load": matrix.kinds} if crossed or not matrix.include else {}


def _overwritten(matrix: Matrix, combined: Iterable[Combination]) -> Iterator[str]:
    """Includes that went into the same cells, over each other: GitHub's rules, and rarely what was
    meant.
    """
    found: dict[tuple[int, ...], set[str]] = {}
    for one in combined:
        if one.overwritten:
            pairs = [(earlier, later) for earlier, later, _ in one.overwritten]
            entries = tuple(sorted(set(chain.from_iterable(pairs))))
            found.setdefault(entries, set()).update(axis for _, _, axis in one.overwritten)
    for entries, names in found.items():
        axes_named = ", ".join(sorted(matrix.axes.named)) or "load"
        named = ", ".join(sorted(names, key=AXES.index))
        who = _includes(matrix, entries)
        rest = (
            f"{who}: of {named} only the last value is left, for what contradicts no value of "
            "axes goes into its cells "
            "and adds none (GitHub Actions' rules); for a cell each list the values of "
            f"{named} under axes, "
            f"or name {axes_named} in each include and leave axes out"
        )
        yield str(matrix.document.error(("include", entries[0]), rest))


def _includes(matrix: Matrix, entries: Sequence[int]) -> str:
    lines = [str(matrix.document.place(("include", entry))[0]) for entry in entries]
    if len(entries) == 1:
        return "this include overwrites its own values"
    numbers = f"{', '.join(str(entry + 1) for entry in entries[:-1])} and {entries[-1] + 1}"
    return f"the includes {numbers} (lines {', '.join(lines)}) overwrite each other"


def _idle(matrix: Matrix) -> Iterator[str]:
    """Excludes that take nothing out."""
    for index, entry in enumerate(matrix.exclude):
        points, whole = combinations.idle(_crossed(matrix), entry.named)
        if points:
            named = " or ".join(axis_text(point) for point in points[:_NAMED]) + (
                " or …" if len(points) > _NAMED else ""
            )
            what = (
                "this exclude takes nothing out"
                if whole
                else "part of this exclude takes nothing out"
            )
            yield str(
                matrix.document.error(
                    ("exclude", index), f"{what}: no combination of the axes has {named}"
                )
            )


#: So many points of an exclude are named.
_NAMED = 3


def _origins(one: Combination) -> Iterator[int | None]:
    """Yield the include entries behind a combination; None stands for the axes."""
    yield from one.entries
    if one.crossed:
        yield None


def _complain(
    matrix: Matrix, broken: Sequence[tuple[Rule, Combination, Cell]], fine: set[int | None]
) -> None:
    """Raise for the first origin all of whose combinations are impossible."""
    reasons: dict[int | None, Counter[int]] = {}
    rules = {id(rule): rule for rule, _, _ in broken}
    for rule, one, _ in broken:
        for origin in _origins(one):
            reasons.setdefault(origin, Counter())[id(rule)] += 1
    for origin, counted in reasons.items():
        if origin not in fine:
            rule = rules[counted.most_common(1)[0][0]]
            raise _blamed(
                matrix.document,
                rule,
                [("axes",)] if origin is None else [("include", origin), ("axes",)],
            )


def _blamed(document: Document, rule: Rule, paths: Sequence[tuple[Step, ...]]) -> MatrixError:
    """Return the rule's reason, at the first of its axes that stands in one of the places."""
    named = ((*path, axis) for path, axis in product(paths, rule.axes))
    place = next((path for path in named if path in document.places), paths[0])
    return document.error(place, rule.reason)


def _left_out(broken: Sequence[tuple[Rule, Combination, Cell]]) -> tuple[ExcludedCells, ...]:
    counted = Counter(rule.reason for rule, _, _ in broken)
    example: dict[str, str] = {}
    for rule, one, _ in broken:
        example.setdefault(rule.reason, axis_text(one.values))
    return tuple(
        ExcludedCells(reason, count, example[reason]) for reason, count in counted.most_common()
    )


def _only(cells: list[Cell], only: str | None) -> list[Cell]:
    if only is None:
        return cells
    try:
        selector = Selector(only)
    except ValueError as error:
        raise MatrixError(f"--only: {error}") from None
    kept = [cell for cell in cells if selector.matches(cell)]
    if not kept:
        raise MatrixError(f"--only: no cell of the matrix has {only}{selector.lacking(cells)}")
    return kept


def _gates(matrix: Matrix, cells: Sequence[Cell]) -> list[Selector]:
    selectors = [Selector(text) for text in matrix.gate]
    for index, selector in enumerate(selectors):
        if not any(selector.matches(cell) for cell in cells):
            sentence = f"no cell of the matrix has {selector.text}{selector.lacking(cells)}"
            raise matrix.document.error(("gate", index), sentence)
    return selectors


def _planned(
    matrix: Matrix,
    cells: Sequence[Cell],
    filler: CellBuilder,
    gates: Sequence[Selector],
    clock: str,
) -> Iterator[PlannedCell]:
    """Group by group: its baselines, its canary, its cells."""
    loads: dict[str, AnyLoad] = {one.kind: one for one in matrix.loads}
    grouped = _grouped(matrix, cells, filler)
    for group, members in grouped.items():
        for name, (cell, role, baselines) in sorted(
            members.items(), key=lambda item: item[1][1] != "baseline"
        ):
            gate = any(selector.matches(cell) for selector in gates)
            options = _options(matrix, loads[cell.load], cell, clock)
            yield PlannedCell(cell, role, group, baselines, gate, options)
            if name == group and len(members) > 1 and cell.load not in YES_NO:
                yield PlannedCell(cell, "canary", group, (group,), False, options)


def _options(matrix: Matrix, load: AnyLoad, cell: Cell, clock: str) -> dict[str, Any]:
    """Return the options of a cell's load. Raises MatrixError where its tool cannot do it so."""
    try:
        load.check(clock, cell.payload, cell.streams)
    except PositionedError as error:
        listed = ("loads", matrix.kinds.index(load.kind))
        # A single load may stand without its list, and what is complained of may be a default.
        places = [(*listed, *error.path), ("loads", *error.path), listed]
        place = next((one for one in places if one in matrix.document.places), ("loads",))
        raise matrix.document.error(place, str(error)) from None
    return load.options(clock, cell.payload)


_Member = tuple[Cell, Literal["cell", "baseline"], tuple[str, ...]]


def _grouped(
    matrix: Matrix, cells: Sequence[Cell], filler: CellBuilder
) -> dict[str, dict[str, _Member]]:
    """By group, by id: each cell once, its role, the ids it is compared with.

    A baseline that is a cell of the matrix too is the same one, as a baseline; all but the main are
    compared with that.
    """
    completers = [BaselineBuilder(baseline.named, filler) for baseline in matrix.baseline]
    groups: dict[str, dict[str, _Member]] = {}
    for cell in cells:
        bases = {base.id: base for base in _completed(matrix, completers, cell)}
        main = next(iter(bases), "")
        members = groups.setdefault(main, {})
        for name, base in bases.items():
            members[name] = (base, "baseline", () if name == main else (main,))
        members.setdefault(cell.id, (cell, "cell", tuple(bases)))
    return groups


def _completed(matrix: Matrix, completers: Sequence[BaselineBuilder], cell: Cell) -> Iterator[Cell]:
    for index, completer in enumerate(completers):
        base, rule = completer.complete(cell)
        if rule is not None:
            raise _blamed(matrix.document, rule, [("baseline", index), ("baseline",), ("axes",)])
        yield base
