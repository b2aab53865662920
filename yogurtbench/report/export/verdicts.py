"""Write verdicts.json for scripts: every verdict, and which wires carry packets.

Numbers that do not exist are null. ``difference`` stands only where it is exact, on the instruction
clock.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from yogurtbench.analysis.values import rows_of
from yogurtbench.core import files
from yogurtbench.report.run_data import RunData
from yogurtbench.report.sections import advice, overhead
from yogurtbench.report.sections.reachability import states
from yogurtbench.report.sections.summary import summarise
from yogurtbench.report.sections.warnings import collect_warnings

#: Name here -> column of comparison.csv.
_NUMBERS = {
    "baseline_median": "baseline_median",
    "cell_median": "cell_median",
    "ratio": "ratio",
    "low": "ratio_low",
    "high": "ratio_high",
    "margin": "delta",
    "p_adjusted": "p_adjusted",
    "resolution": "resolution",
}
_WORDS = ("cell", "role", "load", "metric", "unit", "verdict", "family", "note")


def write(story: RunData, path: Path) -> Path:
    """Write what :func:`verdicts` gives; returns the path."""
    text = json.dumps(verdicts(story), indent=1, ensure_ascii=False, allow_nan=False)
    return files.write_text(path, f"{text}\n", follow=False)


def verdicts(story: RunData) -> dict[str, Any]:
    """Return the run as one JSON object.

    ``advice``: what would decide what is open, by which ``command`` and in how many ``seconds``;
    null where none is. ``canary``: ``verdict`` is ``ok``, ``moved`` or (no canary was measured)
    ``none``, ``moved`` the comparisons that show a difference. ``comparisons``: one a cell, metric
    and baseline, names as in comparison.csv, ``low`` and ``high`` its 95 % interval, ``resolution``
    how far rounding can have moved the ratio, as a share. ``cells``: of each cell whether its wire
    carries packets (``reachability``: ``alive``, ``dead``, ``looping``, or the status of a trial
    that could not tell), and ``words``, its share of yes (0 to 1) or commonest word by metric.
    ``overhead_ratio``: the share of the trials' time that was no load's.
    """
    return {
        "run": story.run,
        "name": story.plan.name,
        "question": story.plan.question,
        "answer": summarise(story),
        "advice": asdict(given) if (given := advice.give_advice(story)) else None,
        "clock": story.plan.clock,
        "lab": story.environment.lab,
        "accelerator": story.environment.accelerator,
        "emulated": bool(story.emulated),
        "cautions": [
            {"kind": one.kind, "grave": one.grave, "text": one.text}
            for one in collect_warnings(story)
        ],
        "canary": _canary(story),
        "overhead_ratio": overhead.ratio(story),
        "comparisons": [_comparison(story, row) for row in rows_of(story.comparison)],
        "cells": list(_cells(story)),
    }


def _canary(story: RunData) -> dict[str, Any]:
    measured = story.canaries[story.canaries["n"] > 0]
    moved = measured[measured["verdict"].isin(["faster", "slower"])]
    word = "ok" if len(measured) else "none"
    if len(moved):
        word = "moved"
    return {"verdict": word, "moved": [_comparison(story, row) for row in rows_of(moved)]}


def _comparison(story: RunData, row: Mapping[str, Any]) -> dict[str, Any]:
    cell = story.cells[row["cell"]]
    numbers = {name: _number(row[column]) for name, column in _NUMBERS.items()}
    return {
        **{word: row[word] for word in _WORDS},
        "baseline": row["baseline"] if isinstance(row["baseline"], str) else None,
        "wire": story.wire(cell.id).name,
        "axes": cell.axes,
        "n": int(row["n"]),
        **numbers,
        "difference": _number(row["difference"]) if story.exact else None,
    }


def _cells(story: RunData) -> Iterator[dict[str, Any]]:
    found = states(story)
    for key, cell in story.cells.items():
        said = story.words.loc[key].dropna().to_dict() if key in story.words.index else {}
        yield {
            "cell": key,
            "load": cell.load,
            "wire": story.wire(key).name,
            "axes": cell.axes,
            "reachability": found.get(cell.wire_id, "not_run"),
            "words": said,
        }


def _number(value: Any) -> float | None:
    return float(value) if value is not None and math.isfinite(value) else None
