"""Runs that were measured in a guest (Linux 6.12 under TCG), for tests of what reads stored runs.

And made larger.
"""

from __future__ import annotations

import json
import lzma
import math
import random
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from yogurtbench.core.metrics import METRICS
from yogurtbench.core.records import Attempt, Cell, Observation, canonical

RUNS = Path(__file__).parents[1] / "data" / "runs"
NAMES = sorted(file.name.removesuffix(".json.xz") for file in RUNS.glob("*.json.xz"))


def read(name: str) -> dict[str, Any]:
    """A recorded run: ``run`` (its folder's name), ``matrix``, ``plan``, ``environment``,
    ``attempts``.
    """
    found: dict[str, Any] = json.loads(lzma.decompress((RUNS / f"{name}.json.xz").read_bytes()))
    return found


def stored(name: str, out: Path) -> Path:
    """A recorded run in a folder of its own."""
    run = read(name)
    return write(run, out / name / run["run"], (canonical(one) for one in run["attempts"]))


def write(run: dict[str, Any], folder: Path, lines: Iterator[str]) -> Path:
    """A run folder with the attempts in ``lines``."""
    folder.mkdir(parents=True)
    (folder / "matrix.yaml").write_text(run["matrix"], encoding="utf-8")
    (folder / "plan.json").write_text(json.dumps(run["plan"]), encoding="utf-8")
    (folder / "environment.json").write_text(json.dumps(run["environment"]), encoding="utf-8")
    with (folder / "trials.jsonl").open("w", encoding="utf-8") as file:
        file.writelines(f"{line}\n" for line in lines)
    return folder


def multiplied(name: str, out: Path, wires: int, blocks: int, loads: tuple[str, ...] = ()) -> Path:
    """A recorded run with each of its compared cells in ``wires`` variants (of the MTU), ``blocks``
    times over.

    The attempts are the recorded ones, one of the cell's own for each, their numbers moved by a
    little noise. With ``loads``, cells of other loads are left out.
    """
    run = read(name)
    attempts: dict[tuple[str, str], list[Attempt]] = {}
    for one in map(Attempt.from_json, run["attempts"]):
        if loads and one.trial.cell.load not in loads:
            continue
        attempts.setdefault((one.trial.cell.id, one.trial.role), []).append(one)
    entries = [
        entry
        for entry in run["plan"]["cells"]
        if (Cell.from_json(entry["cell"]).id, entry["role"]) in attempts
    ]
    kept = [entry for entry in entries if entry["role"] != "cell"]
    asked = [entry for entry in entries if entry["role"] == "cell"]
    large = [_variant(asked[n % len(asked)], n // len(asked)) for n in range(wires * len(asked))]
    run["plan"] = {
        **run["plan"],
        "cells": kept + [entry for entry, _ in large],
        "blocks": {"min": blocks, "max": blocks},
    }
    sources = [
        (Cell.from_json(entry["cell"]), entry["role"], Cell.from_json(entry["cell"]).id)
        for entry in kept
    ]
    sources += [(Cell.from_json(entry["cell"]), "cell", source) for entry, source in large]
    return write(run, out / "large" / run["run"], _lines(sources, attempts, blocks))


def _variant(entry: dict[str, Any], number: int) -> tuple[dict[str, Any], str]:
    cell = Cell.from_json(entry["cell"])
    return {**entry, "cell": replace(cell, mtu=cell.mtu + number).to_json()}, cell.id


def _lines(
    sources: list[tuple[Cell, str, str]],
    attempts: dict[tuple[str, str], list[Attempt]],
    blocks: int,
) -> Iterator[str]:
    noise = random.Random(1)
    for block in range(blocks):
        for position, (cell, role, source) in enumerate(sources):
            found = attempts[source, role]
            one = found[block % len(found)]
            trial = replace(
                one.trial, cell=cell, block=block, position=position, id=f"{block}-{position}"
            )
            rows = tuple(replace(row, value=_moved(row, noise)) for row in one.observations)
            yield canonical(replace(one, trial=trial, observations=rows).to_json())


def _moved(row: Observation, noise: random.Random) -> float | None:
    """A value with a little noise; counts stay whole, and what can only be 0 or 1 as it is."""
    if row.value is None or row.value in (0.0, 1.0):
        return row.value
    moved = row.value * math.exp(noise.gauss(0, 0.02))
    return float(round(moved)) if METRICS[row.metric].whole else moved
