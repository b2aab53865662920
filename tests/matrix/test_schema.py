"""The JSON Schema, as editors read it: valid, complete, and of one mind with what really reads a
matrix.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft7Validator

from yogurtbench import __main__ as command
from yogurtbench.cli import init
from yogurtbench.core.errors import MatrixError
from yogurtbench.core.glossary import MEANINGS
from yogurtbench.core.metrics import METRICS
from yogurtbench.matrix import axes
from yogurtbench.matrix.document import read
from yogurtbench.matrix.planner import load
from yogurtbench.matrix.schema import FILE, Matrix, json_schema

ROOT = Path(__file__).parents[2]
SHIPPED = json.loads(FILE.read_text(encoding="utf-8"))
VALID = Draft7Validator(SHIPPED)
GOOD = (
    "name: m\naxes: {device: veth, hook: [tcx_ingress, tc_ingress], helper: "
    "redirect}\nloads: [ping]\n"
)

MISTAKES = {
    "a misspelled word": GOOD.replace("tcx_ingress", "tcx_ingres"),
    "a misspelled axis": GOOD.replace("helper", "helpers"),
    "a misspelled key": GOOD + "block: {min: 1}\n",
    "no name": GOOD.replace("name: m\n", ""),
    "a name that names no folder": GOOD.replace("name: m", "name: a/b"),
    "a kernel without quotes": GOOD.replace("redirect}", "redirect, kernel: 6.12}"),
    "a kernel that is none": GOOD.replace("redirect}", "redirect, kernel: hots}"),
    "a program that is no C file": GOOD.replace("redirect}", "redirect, program: ./wire.o}"),
    "an empty axis": GOOD.replace("[tcx_ingress, tc_ingress]", "[]"),
    "a payload in words": GOOD.replace("redirect}", "redirect, payload: small}"),
    "a payload beyond all limits": GOOD.replace("redirect}", "redirect, payload: 2000000}"),
    "ip 5": GOOD.replace("redirect}", "redirect, ip: 5}"),
    "three CPUs": GOOD.replace("redirect}", "redirect, cpus: [[0, 1, 2]]}"),
    "loads among the axes": GOOD.replace("redirect}", "redirect, load: ping}"),
    "an unknown load": GOOD.replace("[ping]", "[pingg]"),
    "an unknown option of a load": GOOD.replace("[ping]", "[{kind: ping, counts: 5}]"),
    "a duration without a unit": GOOD.replace("[ping]", "[{kind: ping, interval: 10}]"),
    "a size without sense": GOOD.replace("[ping]", "[{kind: iperf3_tcp, bytes: 1 MiByte}]"),
    "half a block": GOOD + "blocks: {min: 0}\n",
    "a precision that is no percentage": GOOD + "blocks: {precision: 0.01}\n",
    "a margin of an unknown metric": GOOD + "margins: {rtt: 3%}\n",
    "a margin that is no percentage": GOOD + "margins: {rtt_p50: 0.03}\n",
    "a baseline with a list": GOOD + "baseline: {device: [veth, netkit]}\n",
    "a gate that is no selector": GOOD + "gate: [1]\n",
    "an unknown lab": GOOD + "lab: moon\n",
    "a seed below zero": GOOD + "seed: -1\n",
    "a list": "- ping\n",
}


def value(folder: Path, text: str) -> Any:
    file = folder / "m.yaml"
    file.write_text(text)
    return read(file).value if text.startswith("name") or ":" in text.splitlines()[0] else ["ping"]


def test_it_is_valid_as_draft_7_and_closed() -> None:
    Draft7Validator.check_schema(SHIPPED)
    assert VALID.is_valid({"name": "m", "loads": ["ping"]})
    open_ones = [
        at
        for at, one in objects(SHIPPED)
        if "properties" in one and one.get("additionalProperties") is not False
    ]
    assert open_ones == []


def objects(schema: Any, at: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Every object of a schema, with its path; a property named ``properties`` does not exist."""
    if isinstance(schema, dict):
        yield at, schema
    for name, one in (
        schema.items()
        if isinstance(schema, dict)
        else enumerate(schema)
        if isinstance(schema, list)
        else ()
    ):
        yield from objects(one, f"{at}/{name}")


@pytest.mark.parametrize(
    "path", sorted((ROOT / "experiments").glob("*.yaml")), ids=lambda path: path.stem
)
def test_every_experiment_is_valid(path: Path) -> None:
    assert [error.message for error in VALID.iter_errors(read(path).value)] == []


@pytest.mark.parametrize("question", init.QUESTIONS)
def test_every_question_is_valid(question: str, tmp_path: Path) -> None:
    matrix = init.write(question, tmp_path / "m.yaml")[0]
    assert [error.message for error in VALID.iter_errors(read(matrix).value)] == []


@pytest.mark.parametrize("name", MISTAKES)
def test_typical_mistakes_are_marked_in_the_editor_and_refused_by_the_command(
    name: str, tmp_path: Path
) -> None:
    given = value(tmp_path, MISTAKES[name])
    assert not VALID.is_valid(given)
    with pytest.raises(MatrixError):
        load(tmp_path / "m.yaml")


@pytest.mark.parametrize(
    "more",
    [
        "redirect, kernel: ['6.12', host, ./bzImage, 6.12.117+deb13-amd64]}",
        "redirect, cpus: [same, [0, 1]]}",
        "redirect, gso: [on, off], ip: [4, 6], headroom: 0}",
    ],
)
def test_unusual_values_are_no_mistakes(more: str, tmp_path: Path) -> None:
    (tmp_path / "bzImage").touch()
    given = value(tmp_path, GOOD.replace("redirect}", more))
    assert [error.message for error in VALID.iter_errors(given)] == []
    load(tmp_path / "m.yaml")


def test_the_good_one_is_good(tmp_path: Path) -> None:
    """Else every mistake would be refused for another reason."""
    assert VALID.is_valid(value(tmp_path, GOOD))
    load(tmp_path / "m.yaml")


@pytest.mark.parametrize("name", [axis.name for axis in axes.WORDS.values() if axis.words])
def test_every_word_of_an_axis_has_its_meaning(name: str) -> None:
    assert list(MEANINGS[name]) == list(axes.WORDS[name].words)
    schema = SHIPPED["definitions"]["Baseline"]["properties"][name]
    assert schema["enum"] == list(MEANINGS[name]) and schema["enumDescriptions"] == list(
        MEANINGS[name].values()
    )
    assert all(0 < len(said) <= 100 and "\n" not in said for said in schema["enumDescriptions"])


def resolved(schema: dict[str, Any]) -> dict[str, Any]:
    return SHIPPED["definitions"][schema["$ref"].rpartition("/")[2]] if "$ref" in schema else {}


def test_every_key_axis_and_option_is_described() -> None:
    """What an editor shows beside a key."""
    bare = [
        f"{at}/properties/{name}"
        for at, one in objects(SHIPPED)
        for name, given in one.get("properties", {}).items()
        if name != "kind" and not (given | resolved(given)).get("description")
    ]
    assert bare == []
    assert set(SHIPPED["properties"]) == set(Matrix.model_fields)
    assert set(SHIPPED["properties"]["margins"]["properties"]) == set(METRICS)


def test_the_command_prints_it_and_where_it_lies(capfd: pytest.CaptureFixture[str]) -> None:
    assert command.run(["schema"]) == 0
    assert json.loads(capfd.readouterr().out) == json_schema() == SHIPPED
    assert command.run(["schema", "--path"]) == 0
    assert json.loads(Path(capfd.readouterr().out.strip()).read_text()) == SHIPPED
