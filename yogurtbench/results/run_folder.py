"""The stored run: a folder from whose trials.jsonl everything else can be made again.

``<out>/<name>/<UTC time>-<6 hex>/`` holds matrix.yaml, plan.json, environment.json and trials.jsonl
(one line an attempt, on disk before the next trial starts); ``write_tables`` adds
observations.parquet and comparison.csv.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from yogurtbench.core import files, leftovers, versions
from yogurtbench.core.closing import Closing
from yogurtbench.core.errors import HostError, MatrixError, YogurtError
from yogurtbench.core.records import (
    Attempt,
    Environment,
    Trial,
    canonical,
)
from yogurtbench.core.wording import close_to
from yogurtbench.plan.plan import Plan
from yogurtbench.results import trial_log
from yogurtbench.results.frame import to_frame
from yogurtbench.results.schema import (
    DAMAGES,
    check_environment,
    check_plan,
    decode_object,
    describe_damage,
)
from yogurtbench.results.trial_log import DamagedLine, Line

if TYPE_CHECKING:  # pandas and pyarrow take a second to import: a run starts without them
    import pandas as pd

MATRIX, PLAN, ENVIRONMENT, TRIALS = "matrix.yaml", "plan.json", "environment.json", "trials.jsonl"


@dataclass(slots=True)
class StoredRun(Closing):
    """A run folder open for writing; one writer at a time. Use as a context manager.

    ``attempts`` are those stored before it was opened, ``done`` the ids of all trials that have an
    attempt, ``repeated`` how many were superseded when it was opened.
    """

    path: Path
    run: str
    attempts: list[Attempt] = field(default_factory=list)
    done: set[str] = field(default_factory=set)
    repeated: int = 0
    _count: int = 0
    _file: int | None = None

    @classmethod
    def create(
        cls, out: Path, name: str, matrix: str, plan: Plan, environment: Environment
    ) -> StoredRun:
        """Make the folder and write what is known before the first trial, all on the disk.

        Raises MatrixError where it cannot.
        """
        stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
        path = out / name / f"{stamp}-{secrets.token_hex(3)}"
        try:
            files.make_folders(path)
            plan_text = _pretty(plan.to_json())
            _store(path / MATRIX, matrix)
            _store(path / PLAN, plan_text)
            _store(path / ENVIRONMENT, _environment_text(environment, path.name, plan_text))
            _store(path / TRIALS, "")
            files.sync(path)
            return cls(path, path.name)._opened()
        except OSError as error:
            shutil.rmtree(path, ignore_errors=True)  # nothing was measured
            raise files.raise_unwritable(
                path, error, then="; choose another folder with --out"
            ) from error

    @classmethod
    def resume(cls, path: Path) -> StoredRun:
        """Open a run that was broken off: a torn last line is cut away.

        The attempts of blocks that were interrupted are marked as superseded: those blocks are
        repeated whole.
        """
        check_folder(path)
        run = cls(path, read_identity(path).run or path.resolve().name)._opened()
        lines = list(read_lines(path))
        superseded = interrupted_trials(read_plan(path), [one.attempt for one in _valid(lines)])
        with files.explaining_errors(path):
            leftovers.remove_parts(path)
            if superseded:
                lines = run._supersede(lines, superseded)
            else:
                run._cut_torn_line()
        run.attempts = [one.attempt for one in _valid(lines)]
        run.done = {attempt.trial.id for attempt in run.attempts}
        run.repeated, run._count = len(superseded), len(lines)
        return run

    def append(self, attempt: Attempt) -> None:
        """Add one line to trials.jsonl, on disk when this returns.

        Raises HostError, and adds nothing, where it cannot be written.
        """
        if self._file is None:
            raise ValueError(f"{self.path} is closed")
        before = os.fstat(self._file).st_size
        try:
            line = Line(self._count + 1, attempt, self.run)
            _write_whole(self._file, trial_log.encode_line(line))
            os.fsync(self._file)
        except OSError as error:
            with suppress(OSError):
                os.truncate(self._file, before)
            kept = f"; what was measured until then is kept, go on with --resume {self.path}"
            raise HostError(
                f"{self.path / TRIALS}: cannot be written ({files.reason_of(error)}){kept}"
            ) from error
        self._count += 1
        self.done.add(attempt.trial.id)

    def close(self) -> None:
        """Let another writer have the folder."""
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def _opened(self) -> StoredRun:
        import fcntl  # not on every system that reads runs; writing them needs Linux anyway

        self._file = files.open_file(self.path / TRIALS, os.O_RDWR | os.O_APPEND)
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self.close()
            raise MatrixError(
                f"{self.path}: this run is still being written by another process"
            ) from None
        return self

    def _cut_torn_line(self) -> None:
        assert self._file is not None
        whole = files.read_bytes(self.path / TRIALS).rfind(b"\n") + 1
        os.truncate(self._file, whole)

    def _supersede(self, lines: list[Line], trials: set[str]) -> list[Line]:
        """Write the file anew with the lines of these trials marked, and go on in that file."""
        marked = [
            replace(line, superseded=line.superseded or line.attempt.trial.id in trials)
            for line in lines
        ]
        text = b"".join(map(trial_log.encode_line, marked))
        files.replace_file(self.path / TRIALS, lambda part: _write_synced(part, text), follow=False)
        files.sync(self.path)
        self.close()
        self._opened()
        return marked


def _valid(lines: Iterable[Line]) -> Iterator[Line]:
    """Yield the lines that no later ones have superseded."""
    return (line for line in lines if not line.superseded)


def interrupted_trials(plan: Plan, attempts: Iterable[Attempt]) -> set[str]:
    """Return the trials that have results in blocks that were interrupted.

    A block is one trial of every cell of a group and of its baselines.
    """
    by_block: dict[int, list[Trial]] = {}
    for attempt in attempts:
        if attempt.trial.block >= 0:  # what runs aside belongs to no block
            by_block.setdefault(attempt.trial.block, []).append(attempt.trial)
    found: set[str] = set()
    for group in plan.groups:
        for block, trials in by_block.items():
            whole = Counter(map(_place, plan.trials(group, block)))
            mine = [trial for trial in trials if _place(trial) in whole]
            if whole - Counter(map(_place, mine)):
                found |= {trial.id for trial in mine}
    return found


def _place(trial: Trial) -> tuple[str, str]:
    """Return which trial of its block it is."""
    return trial.cell.id, trial.role


@dataclass(frozen=True, slots=True)
class RunIdentity:
    """The name that a run was begun under, and the digest of its plan; empty in older runs."""

    run: str = ""
    plan: str = ""


def read_identity(path: Path) -> RunIdentity:
    """Return what environment.json says of the run itself."""
    data = _read_json(path / ENVIRONMENT)
    run, plan = data.get(trial_log.RUN, ""), data.get(_PLAN_DIGEST, "")
    if not isinstance(run, str) or not isinstance(plan, str):
        raise MatrixError(f"{path / ENVIRONMENT}: {trial_log.RUN}: not a run's name")
    return RunIdentity(run, plan)


_PLAN_DIGEST = "plan"


def _environment_text(environment: Environment, run: str, plan_text: str) -> str:
    digest = trial_log.check_sum(plan_text.encode())
    about = {versions.KEY: versions.this(), trial_log.RUN: run, _PLAN_DIGEST: digest}
    data = {**about, **environment.to_json()}
    return _pretty({**data, trial_log.CHECK: trial_log.check_sum(canonical(data).encode())})


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


@dataclass(frozen=True, slots=True)
class StoredTrials:
    """What trials.jsonl holds: the attempts that count, in the order they happened.

    ``unchecked``: how many have no check sum; ``lost``: a sentence for each line that is not
    whole.
    """

    attempts: list[Attempt]
    unchecked: int
    lost: tuple[str, ...] = ()


def load(path: Path) -> tuple[list[Attempt], pd.DataFrame]:
    """Return all attempts of a run in the order they happened, and its tidy frame (see
    :func:`to_frame`).
    """
    check_folder(path)
    attempts = read_trials(path, read_plan(path)).attempts
    return attempts, to_frame(attempts, path.resolve().name)


def read_trials(path: Path, plan: Plan, *, salvage: bool = False) -> StoredTrials:
    """Return what trials.jsonl holds of a plan's cells.

    ``salvage``: leave out what is damaged, and say so.

    Raises MatrixError for the first damage where it is not to be salvaged.
    """
    known = {planned.cell.id: planned.cell for planned in plan.cells}

    def is_planned(line: Line) -> bool:
        # An id is made of what differs from the defaults, which a damaged line has its own of.
        cell = line.attempt.trial.cell
        return known.get(cell.id) == cell

    lines: list[Line] = []
    lost: list[str] = []
    for line in examine_lines(path):
        if isinstance(line, Line) and is_planned(line):
            lines.append(line)
            continue
        damaged = line if isinstance(line, DamagedLine) else _of_no_cell(line)
        if not salvage:
            raise _damaged(path, damaged)
        if damaged.whole and is_planned(damaged.whole):
            lines.append(damaged.whole)
        lost.append(f"line {damaged.place}: {damaged.why}")
    valid = list(_valid(lines))
    unchecked = sum(not line.run for line in valid)
    return StoredTrials([line.attempt for line in valid], unchecked, tuple(lost))


def _of_no_cell(line: Line) -> DamagedLine:
    cell = line.attempt.trial.cell.id
    return DamagedLine(line.number, f"trial.cell: {PLAN} has no such cell {cell}")


def read_attempts(path: Path) -> Iterator[Attempt]:
    """Yield the attempts of a run folder, without those that were superseded (see read_lines)."""
    return (line.attempt for line in _valid(read_lines(path)))


def read_lines(path: Path) -> Iterator[Line]:
    """Yield the lines of trials.jsonl.

    A last line torn by a kill is left out, any other damage is a MatrixError.
    """
    for line in examine_lines(path):
        if isinstance(line, DamagedLine):
            raise _damaged(path, line)
        yield line


def _damaged(path: Path, line: DamagedLine) -> MatrixError:
    return MatrixError(
        f"{path / TRIALS}:{line.place}: not an attempt that can be read ({line.why}); "
        f"{versions.misread(_maker(path))}; report --salvage reports what is whole"
    )


def examine_lines(path: Path) -> Iterator[Line | DamagedLine]:
    """Yield each line of trials.jsonl, or why it cannot be believed."""
    return trial_log.read_lines(files.read_bytes(path / TRIALS), read_identity(path).run)


def read_plan(path: Path) -> Plan:
    """Return the plan of a run folder.

    Raises MatrixError where it is newer than we are, or damaged.
    """
    text = files.read_bytes(path / PLAN)
    data = _decoded(path / PLAN, text)
    with _damage(path / PLAN, "a plan", path, PLAN):
        plan = Plan.from_json(data)
        check_plan(plan)
    if read_identity(path).plan not in ("", trial_log.check_sum(text)):
        raise MatrixError(
            f"{path / PLAN}: it was changed after it was written, or is another run's (its digest "
            f"stands in {ENVIRONMENT})"
        )
    return plan


def read_matrix(path: Path) -> str:
    """matrix.yaml of a run folder, as it was given.

    Empty where it is gone (a report needs only plan.json).
    """
    file = path / MATRIX
    return files.read_bytes(file).decode(errors="replace") if os.path.lexists(file) else ""


def read_environment(path: Path) -> Environment:
    """Return the environment of a run folder.

    Raises MatrixError where it is newer than we are, or damaged.
    """
    data = _read_json(path / ENVIRONMENT)
    check = data.pop(trial_log.CHECK, None)
    if check not in (None, trial_log.check_sum(canonical(data).encode())):
        raise MatrixError(f"{path / ENVIRONMENT}: it was changed after it was written")
    ours = (versions.KEY, trial_log.RUN, _PLAN_DIGEST)
    with _damage(path / ENVIRONMENT, "an environment", path):
        environment = Environment.from_json({k: v for k, v in data.items() if k not in ours})
        check_environment(environment)
    return environment


@contextmanager
def _damage(file: Path, what: str, folder: Path, called: str = "the file") -> Iterator[None]:
    """Within it what is wrong with data becomes a sentence about ``file``."""
    try:
        yield
    except DAMAGES as error:
        why = f"{describe_damage(error)}); {versions.misread(_maker(folder), called)}"
        raise MatrixError(f"{file}: not {what} that can be read ({why}") from error


def _write_whole(number: int, data: bytes) -> None:
    """Write to a file descriptor: a system that takes a part says why it takes no more when asked
    again.
    """
    while data:
        data = data[os.write(number, data) :]


def _maker(path: Path) -> str:
    """Return the version that made a run; empty where it is unknown."""
    try:
        return versions.maker(decode_object(files.read_bytes(path / ENVIRONMENT)))
    except (YogurtError, *DAMAGES):
        return ""


def _read_json(file: Path) -> dict[str, Any]:
    return _decoded(file, files.read_bytes(file))


def _decoded(file: Path, text: bytes) -> dict[str, Any]:
    try:
        return decode_object(text)
    except DAMAGES as error:
        raise MatrixError(f"{file}: {describe_damage(error)}; the file was damaged") from error


def _store(file: Path, text: str) -> None:
    """Write a new file, on the disk when this returns; its name follows by :func:`files.sync`."""
    number = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
    try:
        _write_whole(number, text.encode())
        os.fsync(number)
    finally:
        os.close(number)
    files.give_to_caller(file)


def _write_synced(part: Path, text: bytes) -> None:
    part.write_bytes(text)
    files.sync(part)


def _pretty(data: Mapping[str, Any]) -> str:
    return json.dumps(data, indent=1, ensure_ascii=False) + "\n"
