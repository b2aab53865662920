"""The contract of a matrix file, as a model and as JSON Schema for editors."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import (
    BeforeValidator,
    Field,
    PlainValidator,
    PrivateAttr,
    ValidationInfo,
    WithJsonSchema,
    create_model,
)

from yogurtbench.core.labels import metric_name
from yogurtbench.core.metrics import METRICS
from yogurtbench.core.wording import in_quotes, kind, suggest_nearest
from yogurtbench.matrix import axes
from yogurtbench.matrix.axes import Axis
from yogurtbench.matrix.document import Document
from yogurtbench.matrix.load_options import AnyLoad, PositionedError, Reachability, Sockperf, Strict
from yogurtbench.matrix.selector import Selector
from yogurtbench.matrix.units import BlockCount, Seed, Share
from yogurtbench.plan.plan import Blocks

#: The schema as it is shipped, for editors to read; a test holds it against ``json_schema``.
FILE = Path(__file__).parents[1] / "schema.json"

FOLDER_NAME = r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}"


def _listed(name: str) -> Callable[[object], object]:
    def listed(value: object) -> object:
        if value is None or value == []:
            raise ValueError(
                f"axis {name} is empty: give it a value, or leave it out for its default"
            )
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
        return {
            name: value
            for name in type(self).model_fields
            if (value := getattr(self, name)) is not None
        }


def _points(
    title: str, doc: str, annotation: Callable[[Axis], Any], names: Iterable[str]
) -> type[_Point]:
    fields: dict[str, Any] = {
        name: (annotation(axes.WORDS[name]), Field(None, description=axes.WORDS[name].meaning))
        for name in names
    }
    return create_model(title, __base__=_Point, __doc__=doc, **fields)


if TYPE_CHECKING:  # the fields come from the table of axes

    class Axes(_Point):
        """Values or lists of values by axis."""

    class MatrixEntry(_Point):
        """Values or lists of values by axis, the load among them."""

    class Baseline(_Point):
        """A value by axis."""

else:
    _CROSSED = [name for name in axes.WORDS if name != "load"]
    Axes = _points(
        "Axes",
        "Values or lists of values by axis: their cross product is swept.",
        _several,
        _CROSSED,
    )
    MatrixEntry = _points(
        "Entry", "A value by axis; a list stands for each of its values.", _several, axes.WORDS
    )
    Baseline = _points(
        "Baseline",
        "A partial cell; the rest comes from the cell compared with it.",
        _one,
        axes.WORDS,
    )


def _or_list(value: object, info: ValidationInfo) -> object:
    if value is None or value == []:
        raise ValueError(f"{info.field_name} is empty: give it a value, or leave it out")
    return value if isinstance(value, list) else [value]


def _one_or_list(schema: dict[str, Any]) -> None:
    """JSON Schema: what may be a list may be one of its items."""
    items = schema["items"]
    del schema["type"], schema["items"]
    schema["anyOf"] = [items, {"type": "array", "items": items, "minItems": 1}]


def _kind_or_mapping(schema: dict[str, Any]) -> None:
    schema["items"] = {"anyOf": [axes.WORDS["load"].json_schema(), *schema["items"]["oneOf"]]}
    _one_or_list(schema)


def _by_metric(schema: dict[str, Any]) -> None:
    """JSON Schema: a property for each metric, since editors complete properties and no patterns of
    them.
    """
    share = schema.pop("additionalProperties")
    metrics = {
        name: {**share, "description": f"{metric_name(name)}: {share['description']}"}
        for name in METRICS
    }
    schema.update(properties=metrics, additionalProperties=False)


def _selector(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError(
            f"a gate is a selector, such as 'hook=netkit_peer,payload=64', not {kind(value)}"
        )
    Selector(value)
    return value


def _metric_names(value: object) -> object:
    for name in value if isinstance(value, dict) else ():
        if name not in METRICS:
            raise PositionedError(
                (name,), f"there is no metric {name!r}{suggest_nearest(name, METRICS)}", key=True
            )
    return value


def _folder_name(value: object) -> str:
    if isinstance(value, str) and re.fullmatch(FOLDER_NAME, value):
        return value
    rule = "at most 64 letters, digits, '.', '_' and '-', the first a letter or digit"
    raise ValueError(f"name is to name a folder: {rule}; not {kind(value)}{in_quotes(value)}")


def _usual_loads() -> list[AnyLoad]:
    return [Reachability(kind="reachability"), Sockperf(kind="sockperf")]


class BlocksGiven(Strict):
    """How often everything is repeated."""

    min: BlockCount | None = None
    """The fewest blocks (default 10)."""
    max: BlockCount | None = None
    """The most blocks (default 40)."""
    precision: Share = 0.01
    """Stop when half the width of the interval is at most this (default 1%)."""

    def resolve(self) -> Blocks:
        """With the defaults, which give way to what was named."""
        usual = Blocks()
        fewest = self.min or min(usual.min, self.max or usual.min)
        return Blocks(fewest, self.max or max(usual.max, fewest), self.precision)


def _words(name: str, *words: str) -> Any:
    return _one(Axis(name, "", words))


if TYPE_CHECKING:
    LabWord = str
    ClockWord = str
else:
    LabWord = _words("lab", "auto", "native", "vm")
    ClockWord = _words("clock", "auto", "wall", "instructions")

#: Where it depends on where the trials will run.
AUTO = "auto"

Selectors = list[Annotated[str, PlainValidator(_selector), WithJsonSchema({"type": "string"})]]


class Matrix(Strict):
    """A sweep of eBPF wires between two network namespaces."""

    name: Annotated[
        str,
        PlainValidator(_folder_name),
        WithJsonSchema({"type": "string", "pattern": f"^{FOLDER_NAME}$"}),
    ]
    """Names the folder of the results."""
    question: Annotated[str, Field(strict=True)] = ""
    """What the sweep is to answer."""
    lab: LabWord = "auto"
    """Where it runs: this kernel, a kernel booted in QEMU, or whatever can do it."""
    clock: ClockWord = "auto"
    """The unit of times; instructions: QEMU's count of executed guest instructions (vm only)."""
    axes: Axes = Field(default_factory=Axes)
    """What varies: the cross product of all values."""
    include: list[MatrixEntry] = Field([])
    """Cells added to the cross product, or values added to its cells (GitHub Actions' rules)."""
    exclude: list[MatrixEntry] = Field([])
    """What is taken out of the cross product, before include."""
    baseline: Annotated[list[Baseline], BeforeValidator(_or_list)] = Field(
        [], json_schema_extra=_one_or_list
    )
    """What cells are compared with; of several the first is the main one."""
    loads: Annotated[list[AnyLoad], BeforeValidator(_or_list)] = Field(
        default_factory=_usual_loads,
        json_schema_extra=_kind_or_mapping,
    )
    """What is sent; left out: reachability and sockperf."""
    blocks: BlocksGiven = BlocksGiven()
    """How often everything is repeated."""
    margins: Annotated[dict[str, Share], BeforeValidator(_metric_names)] = Field(
        {}, json_schema_extra=_by_metric
    )
    """By metric: the difference that counts as none."""
    gate: Annotated[Selectors, BeforeValidator(_or_list)] = Field(
        [], json_schema_extra=_one_or_list
    )
    """Selectors of the few cells that decide; the rest is exploratory."""
    seed: Seed = 1
    """Makes the random order repeatable."""

    _document: Document = PrivateAttr()
    _programs: dict[str, str] = PrivateAttr(default_factory=dict)

    @property
    def document(self) -> Document:
        """The file the matrix was read from."""
        return self._document

    @property
    def programs(self) -> dict[str, str]:
        """The sources of the custom programs, by the word the matrix uses."""
        return self._programs

    @property
    def kinds(self) -> tuple[str, ...]:
        """The loads."""
        return tuple(one.kind for one in self.loads)


def json_schema() -> dict[str, Any]:
    """Return the JSON Schema (draft 7) of a matrix, for editors."""
    schema = _writable(Matrix.model_json_schema(ref_template="#/definitions/{model}"))
    definitions = schema.pop("$defs")
    return {
        "$schema": "http://json-schema.org/draft-07/schema#",
        **schema,
        "title": "yogurtbench matrix",
        "definitions": definitions,
    }


def _writable(schema: Any) -> Any:
    """Return the schema without defaults that cannot be written.

    Null, and numbers that stand for ``10ms`` or ``1%``.
    """
    if isinstance(schema, list):
        return [_writable(one) for one in schema if one != {"type": "null"}]
    if not isinstance(schema, dict):
        return schema
    kept = {
        name: one for name, one in schema.items() if name != "default" or isinstance(one, str | int)
    }
    return {name: _writable(one) for name, one in kept.items()}
