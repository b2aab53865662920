"""Write pyperf.json: the medians of cells and blocks, in seconds, bytes and integers.

Throughput goes in as seconds per byte, round trips as seconds; words, zeros and everything counted
on the instruction clock are metadata. Decisions are made without pyperf (its compare reads a failed
test as significant).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, cast

import pandas as pd
import pyperf

from yogurtbench.core import files
from yogurtbench.core.records import ASIDE
from yogurtbench.report.format import unit_name
from yogurtbench.report.run_data import RunData

Exported = tuple[str, str, list[float], dict[str, Any]]  # metric, pyperf's unit, values, metadata

#: Metric unit -> (what a value becomes, what it then means).
_SECONDS: dict[str, tuple[Callable[[float], float], str]] = {
    "ns": (lambda value: value / 1e9, "seconds"),
    "bit/s": (lambda value: 8 / value, "seconds per byte"),
    "packets/s": (lambda value: 1 / value, "seconds per packet"),
    "ns/B": (lambda value: value / 1e9, "seconds per byte"),
    "ns/packet": (lambda value: value / 1e9, "seconds per packet"),
}
Key = tuple[str, str]  # cell id and role, or metric and unit


def write(
    story: RunData, path: Path, more: Mapping[str, str] | None = None, *, follow: bool = False
) -> list[Path]:
    """Write the suite; nothing where no trial gave a value (pyperf refuses an empty suite).

    ``more`` is metadata of the whole suite: pyperf stores what all benchmarks share once.
    ``follow``: see :func:`files.replace_file`.
    """
    benchmarks = list(_benchmarks(story, more or {}))
    if not benchmarks:
        with files.explaining_errors(path):
            path.unlink(missing_ok=True)
        return []
    suite = pyperf.BenchmarkSuite(benchmarks)
    return [files.replace_file(path, lambda part: _dump(suite, part), follow=follow)]


def _dump(suite: pyperf.BenchmarkSuite, path: Path) -> None:
    """Pyperf would write compressed what is called .gz, and its own way to a file of that name."""
    with path.open("w", encoding="utf-8") as file:
        suite.dump(file)


def _benchmarks(story: RunData, more: Mapping[str, str]) -> Iterator[pyperf.Benchmark]:
    ok = story.frame[(story.frame["status"] == "ok") & ~story.frame["role"].isin(ASIDE)]
    words, names, series = _words(ok), set[str](), _series(ok)
    for key, trials in ok.groupby(["cell", "role"], sort=False)["trial"].nunique().items():
        cell, role = map(str, cast("Key", key))
        shared = _shared(story, cell, role) | words.get((cell, role), {})
        for metric, unit, values, extra in _timed(story, series.get((cell, role), {})) or [
            _counted(int(trials))
        ]:
            name = _unique(_name(story, cell, role, metric), cell, names)
            yield _benchmark(
                {"name": name, "metric": metric, "unit": unit, **shared, **extra, **more}, values
            )


def _series(ok: pd.DataFrame) -> dict[Key, dict[Key, list[float]]]:
    """(cell, role) -> (metric, unit) -> the blocks' medians."""
    keys = ["cell", "role", "metric", "unit", "block"]
    found: dict[Key, dict[Key, list[float]]] = {}
    for key, value in ok[ok["value"].notna()].groupby(keys, sort=False)["value"].median().items():
        cell, role, metric, unit, _ = cast("tuple[str, str, str, str, int]", key)
        found.setdefault((cell, role), {}).setdefault((metric, unit), []).append(value)
    return found


def _timed(story: RunData, series: Mapping[Key, list[float]]) -> list[Exported]:
    """Return what pyperf can hold of a cell: positive durations, or on the instruction clock
    positive counts.
    """
    convert = _as_counts if story.exact else _as_seconds
    each = (convert(metric, unit, values) for (metric, unit), values in series.items())
    return [one for one in each if one is not None]


def _as_seconds(metric: str, unit: str, values: list[float]) -> Exported | None:
    if unit not in _SECONDS or min(values) <= 0:
        return None
    to_seconds, meaning = _SECONDS[unit]
    return (
        metric,
        "second",
        [to_seconds(value) for value in values],
        {"meaning": meaning, "measured_unit": unit},
    )


def _as_counts(metric: str, unit: str, values: list[float]) -> Exported | None:
    if not unit.startswith("instructions") or min(values) <= 0:
        return None
    exact = {
        "meaning": unit_name(unit),
        "measured_unit": unit,
        "exact": ", ".join(map(repr, dict.fromkeys(values))),
    }
    return metric, "integer", [max(1, round(value)) for value in values], exact


def _counted(trials: int) -> Exported:
    """Count how often a cell was tried: a cell of words alone still needs a number."""
    return "trials", "integer", [trials], {"meaning": "trials; what they gave is in the metadata"}


def _words(ok: pd.DataFrame) -> dict[Key, dict[str, Any]]:
    """Return what pyperf cannot hold as a value, by cell and role: words, and medians that may be
    zero.
    """
    numbers = ok[ok["value"].notna()].groupby(["cell", "role", "metric"])["value"].median()
    texts = (
        ok[ok["text"].notna()]
        .groupby(["cell", "role", "metric"])["text"]
        .agg(lambda said: said.mode().iloc[0])
    )
    found: dict[Key, dict[str, Any]] = {}
    for key, value in [*numbers.items(), *texts.items()]:
        cell, role, metric = cast("tuple[str, str, str]", key)
        found.setdefault((cell, role), {})[metric] = value
    return found


def _shared(story: RunData, cell: str, role: str) -> dict[str, Any]:
    axes = {
        name: _flat(value) for name, value in story.cells[cell].axes.items() if value is not None
    }
    where = {
        name: getattr(story.environment, name)
        for name in ("host", "lab", "accelerator", "clock", "kernel")
    }
    versions = {f"version_{name}": text for name, text in story.environment.identity.items()}
    label = {"emulated": story.emulated} if story.emulated else {}
    return {**axes, **where, **versions, **label, "cell": cell, "role": role, "run": story.run}


def _flat(value: Any) -> Any:
    return ",".join(map(str, value)) if isinstance(value, tuple) else value


class _Named(pyperf.Benchmark):  # type: ignore[misc]  # pyperf is untyped
    """A benchmark with its name at hand: a suite asks every benchmark for it whenever one is
    added.
    """

    def __init__(self, name: str, run: pyperf.Run) -> None:
        super().__init__([run])
        self._named = name

    def get_name(self) -> str:
        return self._named


def _benchmark(metadata: dict[str, Any], values: list[float]) -> pyperf.Benchmark:
    kept = {_line(key): _line(value) for key, value in metadata.items() if value != ""}
    return _Named(str(kept["name"]), pyperf.Run(values, metadata=kept, collect_metadata=False))


def _line(value: Any) -> Any:
    """Text without line breaks: pyperf takes none."""
    return " ".join(value.split()) if isinstance(value, str) else value


def _name(story: RunData, cell: str, role: str, metric: str) -> str:
    kind = "" if role == "cell" else f" ({role})"
    parts = (story.cells[cell].load, metric, story.wire(cell).name + kind, story.traffic[cell])
    return ", ".join(part for part in parts if part)


def _unique(name: str, cell: str, taken: set[str]) -> str:
    found = name if name not in taken else f"{name} [{cell}]"
    taken.add(found)
    return found
