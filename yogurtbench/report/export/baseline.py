"""A stored baseline: a run in pyperf's file format, with what a decision needs in its metadata.

pyperf shows the values; the gate reads ``yogurtbench_side`` (the environment's identity, the plan's
digest, the margins) and one ``yogurtbench_cell_<id>_<role>`` a cell (its axes, its load's options,
its exact values by block).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from yogurtbench.analysis import measured_run
from yogurtbench.analysis.measured_run import MeasuredRun, check_measured_run
from yogurtbench.core import files, versions
from yogurtbench.core.errors import HostError, MatrixError
from yogurtbench.core.records import canonical
from yogurtbench.core.wording import close_to
from yogurtbench.results.schema import DAMAGES, describe_damage

SIDE, CELL = "yogurtbench_side", "yogurtbench_cell_"


def write(folder: Path, file: Path) -> MeasuredRun:
    """Keep a run as a baseline.

    Raises MatrixError where the folder is no run, nothing was measured or the file cannot be
    written, HostError where a trial failed: others will be judged by this.
    """
    from yogurtbench.report.export import pyperf as export
    from yogurtbench.report.run_data import RunData

    files.check_target(file, _is_ours, "a baseline")
    side = measured_run.read_run(folder)
    if side.failed:
        raise HostError(
            f"{folder}: no baseline is made of a run with failed trials ({side.failed[0]})"
        )
    with files.explaining_errors(file):
        file.parent.mkdir(parents=True, exist_ok=True)
    if not export.write(RunData.read(folder), file, dict(_metadata(side)), follow=True):
        raise MatrixError(
            f"{folder}: nothing was measured in this run, so there is no baseline in it"
        )
    return side


def _is_ours(file: Path) -> bool:
    """Return whether a file is a baseline, also one of another version or a damaged one."""
    return f'"{SIDE}"'.encode() in file.read_bytes()


def read(file: Path) -> MeasuredRun:
    """Return the side that a baseline file is. Raises MatrixError where it is none."""
    import pyperf

    if file.exists() and not file.is_file():
        raise MatrixError(
            f"{file}: a {'folder' if file.is_dir() else 'device or a pipe'}, not a baseline"
        )
    if not file.is_file():
        near = close_to(str(file), map(str, file.parent.glob("*.json")))
        raise MatrixError(
            f"{file}: no such file{near or f'; yogurtbench baseline RUN --out {file} makes it'}"
        )
    try:
        suite = pyperf.BenchmarkSuite.load(str(file))
        return _side(suite.get_benchmarks()[0].get_metadata())
    except OSError as error:
        raise files.raise_unwritable(file, error, "read") from error
    except (IndexError, *DAMAGES) as error:
        if _is_ours(file):
            why = f"{describe_damage(error)}); {versions.misread(_maker(file))}"
            raise MatrixError(f"{file}: a baseline that cannot be read ({why}") from error
        raise MatrixError(
            f"{file}: not a baseline; yogurtbench baseline RUN --out {file} makes one"
        ) from error


def _maker(file: Path) -> str:
    """Return the version that made a baseline, whatever else stands in it.

    Empty where it is not known.
    """
    try:
        found = _sides(json.loads(file.read_text(encoding="utf-8")))
        return next((versions.maker(json.loads(side)) for side in found), "")
    except (OSError, *DAMAGES):
        return ""


def _sides(data: object) -> Iterator[str]:
    """Yield every value of the key SIDE, wherever pyperf has put it."""
    for key, value in data.items() if isinstance(data, dict) else ():
        if key == SIDE:
            yield value
        yield from _sides(value)
    for value in data if isinstance(data, list) else ():
        yield from _sides(value)


def renewal(file: Path, run: Path) -> str:
    """Return the command that makes a run the new baseline."""
    return f"yogurtbench baseline {run} --out {file}"


def _metadata(side: MeasuredRun) -> Iterator[tuple[str, str]]:
    data = side.to_json()
    entries = data.pop("entries")
    yield SIDE, canonical({versions.KEY: versions.this(), **data})
    for (cell, role), entry in zip(side.entries, entries, strict=True):
        yield f"{CELL}{cell}_{role}", canonical(entry)


def _side(metadata: Mapping[str, Any]) -> MeasuredRun:
    entries = [json.loads(value) for name, value in metadata.items() if name.startswith(CELL)]
    data = {key: value for key, value in json.loads(metadata[SIDE]).items() if key != versions.KEY}
    side = MeasuredRun.from_json({**data, "entries": entries})
    check_measured_run(side)
    return side
