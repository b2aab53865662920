"""The stored run: a folder from whose trials.jsonl everything else can be made again.

``<out>/<name>/<UTC time>-<6 hex>/`` holds matrix.yaml, plan.json, environment.json and trials.jsonl
(one line an attempt, on disk before the next trial starts); ``write_tables`` adds
observations.parquet and comparison.csv.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import secrets
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, get_args

from yogurtbench.core import files, resolution, versions
from yogurtbench.core.closing import Closing
from yogurtbench.core.errors import HostError, MatrixError
from yogurtbench.core.metrics import METRICS, METRICS_OF
from yogurtbench.core.records import (
    ASIDE,
    AXES,
    Attempt,
    Environment,
    Observation,
    Role,
    Status,
    canonical,
)
from yogurtbench.core.wording import close_to
from yogurtbench.plan.plan import Plan

if TYPE_CHECKING:  # pandas and pyarrow take a second to import: a run starts without them
    import pandas as pd
    import pyarrow as pa

MATRIX, PLAN, ENVIRONMENT, TRIALS = "matrix.yaml", "plan.json", "environment.json", "trials.jsonl"
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


@dataclass(slots=True)
class StoredRun(Closing):
    """A run folder open for writing; one writer at a time. Use as a context manager.

    ``attempts`` are those stored before it was opened, ``done`` the ids of all trials that have an
    attempt.
    """

    path: Path
    attempts: list[Attempt] = field(default_factory=list)
    done: set[str] = field(default_factory=set)
    _lines: IO[bytes] | None = None

    @classmethod
    def create(
        cls, out: Path, name: str, matrix: str, plan: Plan, environment: Environment
    ) -> StoredRun:
        """Make the folder and write what is known before the first trial.

        Raises MatrixError where it cannot.
        """
        stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
        path = out / name / f"{stamp}-{secrets.token_hex(3)}"
        try:
            path.mkdir(parents=True)
            (path / MATRIX).write_text(matrix, encoding="utf-8")
            (path / PLAN).write_text(_pretty(plan.to_json()), encoding="utf-8")
            (path / ENVIRONMENT).write_text(
                _pretty({versions.KEY: versions.this(), **environment.to_json()}), encoding="utf-8"
            )
            return cls(path)._opened()
        except OSError as error:
            shutil.rmtree(path, ignore_errors=True)  # nothing was measured
            raise files.raise_unwritable(
                path, error, then="; choose another folder with --out"
            ) from error

    @classmethod
    def resume(cls, path: Path) -> StoredRun:
        """Open a run that was broken off: its attempts are read, a torn last line is cut away."""
        check_folder(path)
        with files.explaining_errors(path):
            run = cls(path)._opened()
            _cut_torn_line(path / TRIALS)
        run.attempts = list(read_attempts(path))
        run.done = {attempt.trial.id for attempt in run.attempts}
        return run

    def append(self, attempt: Attempt) -> None:
        """Add one line to trials.jsonl, on disk when this returns.

        Raises HostError, and adds nothing, where it cannot be written.
        """
        if self._lines is None:
            raise ValueError(f"{self.path} is closed")
        before = os.fstat(self._lines.fileno()).st_size
        try:
            _write_whole(self._lines.fileno(), canonical(attempt.to_json()).encode() + b"\n")
            os.fsync(self._lines.fileno())
        except OSError as error:
            with suppress(OSError):
                os.truncate(self._lines.fileno(), before)
            kept = f"; what was measured until then is kept, go on with --resume {self.path}"
            raise HostError(
                f"{self.path / TRIALS}: cannot be written ({files.reason_of(error)}){kept}"
            ) from error
        self.done.add(attempt.trial.id)

    def close(self) -> None:
        """Let another writer have the folder."""
        if self._lines is not None:
            self._lines.close()
            self._lines = None

    def _opened(self) -> StoredRun:
        import fcntl  # not on every system that reads runs; writing them needs Linux anyway

        self._lines = (self.path / TRIALS).open("ab", buffering=0)
        try:
            fcntl.flock(self._lines, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self.close()
            raise MatrixError(
                f"{self.path}: this run is still being written by another process"
            ) from None
        return self


def check_folder(path: Path) -> None:
    """Raise MatrixError unless ``path`` is a run folder."""
    if path.exists() and not path.is_dir():
        raise MatrixError(
            f"{path}: a file, not a run's folder; name the folder with the time stamp"
        )
    if not path.is_dir():
        there = (str(plan.parent) for plan in path.parent.glob(f"*/{PLAN}"))
        raise MatrixError(f"{path}: no such run folder{close_to(str(path), there)}")
    missing = [name for name in (PLAN, ENVIRONMENT, TRIALS) if not (path / name).is_file()]
    if missing:
        newest = max((str(plan.parent) for plan in path.glob(f"*/{PLAN}")), default="")
        hint = (
            f": did you mean {newest}, the newest in it?"
            if newest
            else "; name the folder with the time stamp"
        )
        raise MatrixError(f"{path}: not a run folder, {missing[0]} is missing{hint}")


def load(path: Path) -> tuple[list[Attempt], pd.DataFrame]:
    """Return all attempts of a run in the order they happened, and its tidy frame (see
    :func:`to_frame`).
    """
    check_folder(path)
    attempts = list(read_attempts(path))
    return attempts, to_frame(attempts, path.resolve().name)


def read_attempts(path: Path) -> Iterator[Attempt]:
    """Yield the attempts of a run folder.

    A last line torn by a kill is left out, any other damage is a MatrixError.
    """
    file = path / TRIALS
    lines = _read(file).split("\n")
    for number, line in enumerate(lines, 1):
        if number == len(lines):  # what follows the last newline: nothing, or a torn line
            return
        try:
            attempt = Attempt.from_json(json.loads(line))
            _check_known(attempt)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            why = (
                f"not an attempt that can be read ({_describe_damage(error)}); "
                f"{versions.misread(_maker(path))}"
            )
            raise MatrixError(f"{file}:{number}: {why}") from error
        yield attempt


def read_plan(path: Path) -> Plan:
    """Return the plan of a run folder.

    Raises MatrixError where it is newer than we are, or damaged.
    """
    data = _read_json(path / PLAN)
    try:
        plan = Plan.from_json(data)
        _check_plan(plan)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        why = (
            f"not a plan that can be read ({_describe_damage(error)}); "
            f"{versions.misread(_maker(path), PLAN)}"
        )
        raise MatrixError(f"{path / PLAN}: {why}") from error
    return plan


def read_matrix(path: Path) -> str:
    """matrix.yaml of a run folder, as it was given.

    Empty where it is gone (a report needs only plan.json).
    """
    return _read(path / MATRIX) if (path / MATRIX).is_file() else ""


def read_environment(path: Path) -> Environment:
    """environment.json of a run folder."""
    data = _read_json(path / ENVIRONMENT)
    try:
        return Environment.from_json(
            {key: value for key, value in data.items() if key != versions.KEY}
        )
    except TypeError as error:
        why = (
            f"not an environment that can be read ({_describe_damage(error)}); "
            f"{versions.misread(versions.maker(data))}"
        )
        raise MatrixError(f"{path / ENVIRONMENT}: {why}") from error


def to_frame(attempts: Iterable[Attempt], run: str) -> pd.DataFrame:
    """Return a row per value, in the contract's columns, in an order free of timing.

    One column more, ROUNDING, which is not stored: how far rounding can have moved the value.
    """
    import pandas as pd

    told = list(attempts)
    shared = _columns(COLUMNS[: -len(_WHAT)], (_shared(attempt, run) for attempt in told))
    own = _columns(_WHAT, (_own(row) for attempt in told for row in attempt.observations))
    own[ROUNDING] = [
        moved for attempt in told for moved in resolution.resolution_of_attempt(attempt)
    ]
    repeated = [place for place, attempt in enumerate(told) for _ in attempt.observations]
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

    table = pa.Table.from_pandas(frame, schema=schema(), preserve_index=False)
    return [
        files.replace_file(
            path / OBSERVATIONS, lambda part: parquet.write_table(table, part, compression="zstd")
        ),
        files.replace_file(
            path / COMPARISON,
            lambda part: comparison.to_csv(part, index=False, lineterminator="\n"),
        ),
    ]


def schema() -> pa.Schema:
    """Return the Arrow schema of observations.parquet."""
    import pyarrow as pa

    return pa.schema([(name, _arrow_type(name)) for name in COLUMNS])


def digest(frame: pd.DataFrame) -> str:
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


def _write_whole(number: int, data: bytes) -> None:
    """Write to a file descriptor: a system that takes a part says why it takes no more when asked
    again.
    """
    while data:
        data = data[os.write(number, data) :]


def _maker(path: Path) -> str:
    """Return the version that made a run; empty where nobody can tell."""
    try:
        return versions.maker(json.loads((path / ENVIRONMENT).read_text(encoding="utf-8")))
    except (OSError, ValueError):
        return ""


def _describe_damage(error: Exception) -> str:
    """Return what Python says of data that it cannot make a record of, in a reader's words."""
    if isinstance(error, KeyError):
        return f"{error} is missing"
    return re.sub(
        r"^\w+\.__init__\(\) got an unexpected keyword argument", "an unknown key,", str(error)
    )


def _check_known(attempt: Attempt) -> None:
    """Raise ValueError for a word that we do not know: what is made of an attempt would go wrong
    far from here.
    """
    trial = attempt.trial
    for what, word, known in (
        ("load", trial.cell.load, METRICS_OF),
        ("role", trial.role, _ROLES),
        ("status", attempt.status, _STATUSES),
        *(("metric", one.metric, METRICS) for one in attempt.observations),
        *(("status", one.status, _STATUSES) for one in attempt.observations),
    ):
        if word not in known:
            raise ValueError(f"an unknown {what}, {word!r}")


def _check_plan(plan: Plan) -> None:
    """Raise ValueError where a plan has words that we do not know."""
    for planned in plan.cells:
        for what, word, known in (
            ("load", planned.cell.load, METRICS_OF),
            ("role", planned.role, _ROLES),
        ):
            if word not in known:
                raise ValueError(f"an unknown {what}, {word!r}")


_ROLES, _STATUSES = frozenset(get_args(Role)), frozenset(get_args(Status))


def _cut_torn_line(file: Path) -> None:
    data = file.read_bytes()
    whole = data.rfind(b"\n") + 1
    if whole < len(data):
        os.truncate(file, whole)


def _read(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise files.raise_unwritable(file, error, "read") from error


def _read_json(file: Path) -> dict[str, Any]:
    try:
        data = json.loads(_read(file))
    except ValueError as error:
        raise MatrixError(f"{file}: not JSON ({error}); the file was damaged") from error
    if not isinstance(data, dict):
        raise MatrixError(f"{file}: not a JSON object; the file was damaged")
    return data


def _pretty(data: Mapping[str, Any]) -> str:
    return json.dumps(data, indent=1, ensure_ascii=False) + "\n"
