"""Complete words for shells: matrices, cells, axis values, runs.

Quick, never a complaint.

Each offer is a function of Typer's context (the words before) and of the beginning, to pairs of a
word and its meaning; none means that the shell offers files.
"""

from __future__ import annotations

import io
import os
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import redirect_stdout
from itertools import chain
from pathlib import Path
from typing import Any

import typer

from yogurtbench.core.errors import YogurtError
from yogurtbench.core.glossary import MEANINGS, meaning
from yogurtbench.core.labels import axis_text, axis_word
from yogurtbench.core.paths import MATRICES
from yogurtbench.core.records import AXES, Cell
from yogurtbench.core.wording import count_of

Offer = tuple[str, str]

#: Set by the shell: which shell asked. The name is Typer's, made from the command's.
VARIABLE = "_YOGURTBENCH_COMPLETE"
#: Characters at which bash begins a new word.
_BREAKS = re.compile(r"[=:]+")


def complete_words(axis: str) -> Callable[[], list[Offer]]:
    """Return the words of an option, with their meanings."""
    return lambda: list(MEANINGS[axis].items())


def complete_questions() -> list[Offer]:
    """Return what init can ask."""
    from yogurtbench.cli.init import QUESTIONS

    return list(QUESTIONS.items())


def complete_matrices(incomplete: str) -> list[Offer]:
    """Matrices of the folder that is begun, and of those below it.

    Ours where it has no experiments/ of its own.
    """
    folder = Path(incomplete if incomplete.endswith("/") else os.path.dirname(incomplete))
    near = [path for path in _children(folder) if not path.name.startswith(".")]
    files = chain.from_iterable([one] if one.is_file() else _children(one) for one in near)
    found = [path for path in files if path.suffix in MATRICES]
    ours = [] if Path("experiments").exists() else _shipped()
    return [
        (str(path), _escaped(_question(read)))
        for path, read in [*((one, one) for one in found), *ours]
    ]


def _escaped(text: str) -> str:
    """Return a meaning that somebody else wrote, for Typer, which renders it as Rich's markup."""
    if "[" not in text:  # Rich takes a third of the time there is
        return text
    from rich.markup import escape

    return escape(text)


def _children(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir())
    except OSError:
        return []


def _shipped() -> list[tuple[Path, Path]]:
    """Our experiments: as the command line names them, and where they lie."""
    from yogurtbench.core import paths

    return [
        (Path("experiments", path.name), path)
        for path in _children(paths.experiments())
        if path.suffix == ".yaml"
    ]


def _question(path: Path) -> str:
    """Return what a matrix asks; empty where it does not say so in a line."""
    try:
        found = re.search(r"^question: *(.+)$", path.read_text(encoding="utf-8"), re.MULTILINE)
    except (OSError, UnicodeDecodeError):
        return ""
    return found[1] if found else ""


def complete_runs() -> list[Offer]:
    """Return the runs below results/, the newest last."""
    found = Path("results").glob("*/*/plan.json")
    return [(str(plan.parent), "") for plan in sorted(found, key=lambda plan: plan.parent.name)]


def complete_experiments() -> list[Offer]:
    """Return the experiments that have runs below results/, with how many."""
    counts = Counter(plan.parent.parent.name for plan in Path("results").glob("*/*/plan.json"))
    return [(name, count_of(found, "run")) for name, found in sorted(counts.items())]


def complete_runs_and_matrices(incomplete: str) -> list[Offer]:
    """Return both: for commands that take either."""
    return [*complete_runs(), *complete_matrices(incomplete)]


def complete_baselines() -> list[Offer]:
    """Return the stored baselines."""
    return [(str(path), "") for path in sorted(Path("results/baselines").glob("*.json"))]


def complete_cells(ctx: typer.Context, incomplete: str) -> list[Offer]:
    """Return the cells of the matrix that was named: by what tells them apart.

    By id where one is begun.
    """
    try:
        found = _cells(_matrix(ctx))
    except (YogurtError, OSError):
        return []
    return (
        [(cell.id, name) for cell, name in found]
        if _is_id(incomplete)
        else [(name, cell.id) for cell, name in found]
    )


def _is_id(incomplete: str) -> bool:
    return re.fullmatch("[0-9a-f]+", incomplete) is not None and any(
        one.isdigit() for one in incomplete
    )


def _matrix(ctx: typer.Context) -> Path | None:
    """Return the matrix among the words before.

    Typer leaves it unparsed where the option before the cursor has no value.
    """
    named = ctx.params.get("matrix") or ctx.params.get("target") or next(iter(ctx.args), None)
    return Path(named) if named else None


def _cells(matrix: Path | None) -> list[tuple[Cell, str]]:
    from yogurtbench.core import paths as places
    from yogurtbench.matrix.planner import load, make_plan

    if matrix is None:
        return []
    plan = make_plan(load(places.matrix(matrix)))
    found = list({planned.cell.id: planned.cell for planned in plan.cells}.values())
    telling = _describe_cell(found)
    meanings = (
        {axis: value for axis in telling if (value := getattr(cell, axis)) is not None}
        for cell in found
    )
    return [(cell, axis_text(one)) for cell, one in zip(found, meanings, strict=True)]


def _describe_cell(cells: Sequence[Cell]) -> list[str]:
    """Few axes that tell the cells apart: in the order of the contract, each that parts what was
    together.
    """
    found: list[str] = ["load"]
    kinds: list[tuple[Any, ...]] = [(cell.load,) for cell in cells]
    for axis in AXES:
        finer = [(*kind, getattr(cell, axis)) for kind, cell in zip(kinds, cells, strict=True)]
        if len(set(finer)) > len(set(kinds)):
            found, kinds = [*found, axis], finer
    return sorted(found, key=AXES.index)


def complete_selectors(ctx: typer.Context, incomplete: str) -> list[Offer]:
    """Return ``axis=word`` for a selector's last part: the matrix's values, or all there are."""
    before, comma, part = incomplete.rpartition(",")
    named = {one.partition("=")[0] for one in before.split(",")}
    axis, equals, given = part.partition("=")
    others = given.rpartition("|")[0] + "|" if "|" in given else ""
    known = _values(_matrix(ctx))
    fitting = [axis] if equals else [name for name in known if name not in named]
    offers: list[Offer] = []
    for name in fitting:
        words = known.get(name) or list(MEANINGS.get(name, ()))
        offers += [(f"{before}{comma}{name}={others}{word}", meaning(name, word)) for word in words]
    return offers


def _values(matrix: Path | None) -> dict[str, list[str]]:
    """By axis the words a matrix names, as they stand there.

    Without a readable one all that have a meaning.
    """
    from yogurtbench.core import paths as places
    from yogurtbench.matrix import axes

    everything = {axis: list(MEANINGS.get(axis, ())) for axis in axes.WORDS}
    if matrix is None:
        return everything
    try:
        value = _read(places.matrix(matrix))
    except (YogurtError, OSError):
        return everything
    found: dict[str, dict[str, None]] = {}
    for axis, word in _named(value):
        if axis in axes.WORDS:
            found.setdefault(axis, {})[word] = None
    return {axis: list(given) for axis, given in found.items()}


def _read(matrix: Path) -> dict[str, Any]:
    from yogurtbench.matrix.document import read

    value: dict[str, Any] = read(matrix).value
    return value


def _named(value: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield every axis and word of a matrix that is not checked yet."""
    from yogurtbench.matrix import axes

    points = [value.get("axes"), *_listed(value.get("include")), *_listed(value.get("baseline"))]
    for point in points:
        for axis, given in (point if isinstance(point, dict) else {}).items():
            several = [given] if axis == "cpus" and axes.is_pair(given) else _listed(given)
            yield from ((axis, axis_word(one)) for one in several)
    for load in _listed(value.get("loads")):
        yield "load", str(load.get("kind") if isinstance(load, dict) else load)


def _listed(value: Any) -> list[Any]:
    if value is None:
        return []
    return value if isinstance(value, list) else [value]


def print_candidates(app: Callable[[], object]) -> int:
    """Let Typer answer the shell that asks.

    The exit code it asks for (fish: 1 where files are to be offered).

    bash takes ``hook=tcx`` for three words, of which it asks for the last: they are put together
    for Typer, and what it offers is cut to what bash will put in that place.
    """
    head = _put_together() if os.environ[VARIABLE].endswith("_bash") else ""
    said = io.StringIO()
    try:
        with redirect_stdout(said):
            app()
        code = 0
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else 0
    lines = said.getvalue().strip("\n").splitlines()
    print("\n".join(_cut(lines, head)), end="\n" if lines else "")
    return code


def _put_together() -> str:
    """Make one word of what bash took apart, in the environment.

    Returns its part that bash has passed already.
    """
    apart, at = os.environ.get("COMP_WORDS", ""), int(os.environ.get("COMP_CWORD", "0"))
    given = apart.split("\n") if "\n" in apart else apart.split(" ")
    whole: list[str] = []
    current = ""
    for place, word in enumerate(given[: at + 1]):
        glued = (
            place > 1 and whole and (_BREAKS.fullmatch(word) or _BREAKS.fullmatch(given[place - 1]))
        )
        whole = [*whole[:-1], whole[-1] + word] if glued else [*whole, word]
        current = whole[-1]
    os.environ["COMP_WORDS"], os.environ["COMP_CWORD"] = "\n".join(whole), str(len(whole) - 1)
    return current[: max((found.end() for found in _BREAKS.finditer(current)), default=0)]


def _cut(lines: Iterable[str], head: str) -> Iterator[str]:
    """Lines without the longest end of ``head`` that they begin with."""
    ends = [head[start:] for start in range(len(head))]
    for line in lines:
        yield line.removeprefix(next((end for end in ends if line.startswith(end)), ""))
