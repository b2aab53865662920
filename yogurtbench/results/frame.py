"""A run's observations as a tidy frame: its columns, dtypes, files and digest."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

from yogurtbench.core import files, resolution
from yogurtbench.core.records import ASIDE, AXES, Attempt, Observation, canonical

if TYPE_CHECKING:  # pandas and pyarrow take a second to import: a run starts without them
    import pandas as pd
    import pyarrow as pa

OBSERVATIONS, COMPARISON = "observations.parquet", "comparison.csv"
_WHERE = (
    "run",
    "block",
    "position",
    "host",
    "lab",
    "accelerator",
    "clock",
    "kernel",
    "cell",
    "trial",
    "role",
)
_WHAT = ("metric", "unit", "better", "value", "text", "status", "error")
#: Columns of observations.parquet, in order (contract). ``kernel`` is the release that ran, not the
#: axis's word.
COLUMNS: tuple[str, ...] = (*_WHERE, *(axis for axis in AXES if axis != "kernel"), *_WHAT)
INTEGERS = frozenset({"block", "position", "headroom", "ip", "payload", "mtu", "streams"})
#: Beside these a frame in memory has how far rounding can have moved a value; it is made anew from
#: trials.jsonl.
ROUNDING = "rounding"
_ORDER = ["block", "position", "cell", "role", "trial"]


def to_frame(attempts: Iterable[Attempt], run: str) -> pd.DataFrame:
    """Return a row per value, in the contract's columns, in an order free of timing.

    One column more, ROUNDING, which is not stored: how far rounding can have moved the value.
    """
    import pandas as pd

    listed = list(attempts)
    shared = _columns(COLUMNS[: -len(_WHAT)], (_shared(attempt, run) for attempt in listed))
    observations = chain.from_iterable(attempt.observations for attempt in listed)
    own = _columns(_WHAT, map(_own, observations))
    own[ROUNDING] = list(chain.from_iterable(map(resolution.resolution_of_attempt, listed)))
    repeated: list[int] = []
    for place, attempt in enumerate(listed):
        repeated += [place] * len(attempt.observations)
    own = own.astype({ROUNDING: "float64"})
    frame = pd.concat([shared.take(repeated).reset_index(drop=True), own], axis=1)
    return frame.sort_values(_ORDER, kind="stable", ignore_index=True)


def _columns(names: tuple[str, ...], rows: Iterable[tuple[Any, ...]]) -> pd.DataFrame:
    """Return a frame of the contract's columns ``names`` with their dtypes."""
    import pandas as pd

    columns = list(zip(*rows, strict=True)) or [()] * len(names)
    return pd.DataFrame(
        {
            name: pd.Series(column, dtype=_dtype(name))
            for name, column in zip(names, columns, strict=True)
        }
    )


def write_tables(path: Path, frame: pd.DataFrame, comparison: pd.DataFrame) -> list[Path]:
    """Write observations.parquet and comparison.csv, each whole or not at all.

    Returns their paths.
    """
    import pyarrow as pa
    from pyarrow import parquet

    table = pa.Table.from_pandas(frame, schema=arrow_schema(), preserve_index=False)
    return [
        files.replace_file(
            path / OBSERVATIONS,
            lambda part: parquet.write_table(table, part, compression="zstd"),
            follow=False,
        ),
        files.replace_file(
            path / COMPARISON,
            lambda part: comparison.to_csv(part, index=False, lineterminator="\n"),
            follow=False,
        ),
    ]


def arrow_schema() -> pa.Schema:
    """Return the Arrow schema of observations.parquet."""
    import pyarrow as pa

    return pa.schema([(name, _arrow_type(name)) for name in COLUMNS])


def frame_digest(frame: pd.DataFrame) -> str:
    """Return SHA-256 over a run's sorted results (contract).

    Of each: cell, block, metric, unit, value, text, status.

    What was run aside (ASIDE) is none.

    Each row is one line of canonical JSON, its number as the shortest decimal that reads back as
    the same double (``repr``), absent numbers and words as null; the lines are sorted and each ends
    in a newline.
    """
    keys = ["cell", "block", "metric", "unit", "value", "text", "status"]
    results = frame.loc[~frame["role"].isin(ASIDE), keys]
    rows = results.astype(object).where(results.notna(), None).itertuples(index=False, name=None)
    lines = sorted(canonical([_plain_value(value) for value in row]) for row in rows)
    return hashlib.sha256("".join(f"{line}\n" for line in lines).encode()).hexdigest()


def _plain_value(value: Any) -> str | int | None:
    if isinstance(value, float):
        return repr(float(value))
    return value if value is None or isinstance(value, str) else int(value)


def _own(row: Observation) -> tuple[Any, ...]:
    """Return what each value has for itself, in the order of the columns."""
    return row.metric, row.unit, row.better, row.value, row.text, row.status, row.error


def _shared(attempt: Attempt, run: str) -> tuple[Any, ...]:
    """Return what all values of an attempt have in common, in the order of the columns."""
    trial, cell = attempt.trial, attempt.trial.cell
    where = (
        run,
        trial.block,
        trial.position,
        attempt.host,
        attempt.lab,
        attempt.accelerator,
        trial.clock,
    )
    axes = cell.columns
    return (*where, attempt.kernel or cell.kernel, cell.id, trial.id, trial.role,
            *(axes[name] for name in AXES if name != "kernel"))  # fmt: skip


def _dtype(name: str) -> str:
    if name in INTEGERS:
        return "Int64"
    return "float64" if name == "value" else "str"


def _arrow_type(name: str) -> pa.DataType:
    import pyarrow as pa

    if name in INTEGERS:
        return pa.int64()
    return pa.float64() if name == "value" else pa.string()
