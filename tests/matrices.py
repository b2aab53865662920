"""Matrices for tests: text in, plan out."""

from pathlib import Path
from typing import Any

from yogurtbench.axes import Filler
from yogurtbench.matrix import load, make_plan
from yogurtbench.plan import Plan
from yogurtbench.records import Cell


def written(folder: Path, text: str | bytes) -> Path:
    path = folder / "m.yaml"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def planned(folder: Path, text: str, **wishes: Any) -> Plan:
    return make_plan(load(written(folder, text)), **wishes)


def cells_of(plan: Plan) -> list[Cell]:
    return [one.cell for one in plan.cells if one.role == "cell"]


def cell(clock: str = "wall", **point: Any) -> Cell:
    return Filler(clock).fill({"load": "sockperf", **point})[0]
