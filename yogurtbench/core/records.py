"""The records, frozen: what is measured (Cell), once (Trial), and its result (Attempt).

Everything here crosses process and machine borders as JSON, so each record knows its way there and
back. Everyone may import this module.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field, fields
from functools import cached_property, lru_cache
from typing import Any, Literal, TypedDict

from yogurtbench.core.metrics import (
    DIAGNOSTIC_METRIC,
    METRICS,
    Better,
    ImpossibleValue,
    metrics_of,
    unit_on,
)
from yogurtbench.core.printable import printable

Status = Literal["ok", "failed", "unsupported", "looping", "crashed", "skipped"]
Role = Literal["cell", "baseline", "canary", "diagnostic", "blind"]
#: Roles whose values are no results: a diagnostic is slowed by looking, and what runs blind, its
#: programs without their counters, shows how much looking costs.
ASIDE = frozenset({"diagnostic", "blind"})

ID_LENGTH = 12


def canonical(value: object) -> str:
    """Canonical JSON: sorted keys, no spaces, UTF-8 as it is. Hash this, never ``repr``."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


# Without slots: the ids are read again and again, and are kept once computed.
@dataclass(frozen=True)
class Cell:
    """One point of the matrix, its load included. ``None``: the axis does not apply to this cell.

    ``defaults`` names the value each axis would have had if the matrix had left it out, given the
    others; it takes no part in equality.
    """

    device: str
    mode: str
    topology: str
    hook: str
    helper: str
    return_hook: str
    return_helper: str
    policy: str | None
    primary: str | None
    peer: str | None
    scrub: str | None
    headroom: int | None
    program: str
    neighbours: str | None
    ip: int | None
    payload: int | None
    mtu: int
    streams: int | None
    gso: str
    gro: str
    checksum: str
    cpus: str | tuple[int, int] | None
    kernel: str
    load: str
    defaults: dict[str, Any] = field(default_factory=dict, compare=False, repr=False)

    @property
    def axes(self) -> dict[str, Any]:
        """Every axis by its contract name."""
        return {name: getattr(self, name) for name in AXES}

    @property
    def columns(self) -> dict[str, Any]:
        """Every axis as tables have it: two CPUs as text, ``0,1``."""
        return {
            **self.axes,
            "cpus": ",".join(map(str, self.cpus)) if isinstance(self.cpus, tuple) else self.cpus,
        }

    @property
    def named(self) -> dict[str, Any]:
        """The axes that differ from their default, the load always among them: what the id is made
        of.
        """
        return {k: v for k, v in self.axes.items() if k == "load" or v != self.defaults.get(k, v)}

    @cached_property
    def id(self) -> str:
        """First 12 hex digits of the SHA-256 of the canonical JSON of the non-default axes
        (contract).
        """
        return hashlib.sha256(canonical(self.named).encode()).hexdigest()[:ID_LENGTH]

    @property
    def wire(self) -> dict[str, Any]:
        """The axes that make the network, apart from what is sent over it."""
        return {name: value for name, value in self.axes.items() if name not in TRAFFIC_AXES}

    @cached_property
    def wire_id(self) -> str:
        """Identifies the network of the cell: cells with one wire_id differ only in what is
        sent.
        """
        return hashlib.sha256(canonical(self.wire).encode()).hexdigest()[:ID_LENGTH]

    @property
    def has_programs(self) -> bool:
        """Whether anything is attached at all."""
        return any(
            word not in (None, "none")
            for word in (self.hook, self.return_hook, self.primary, self.peer)
        )

    def to_json(self) -> dict[str, Any]:
        """JSON object with the axes and ``defaults``."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Cell:
        """Return the inverse of :meth:`to_json`, also after a round trip through JSON text; one
        object a cell.
        """
        return _cell(json.dumps(data))


@lru_cache(maxsize=4096)
def _cell(text: str) -> Cell:
    """Cache the cell: a run has thousands of attempts and hundreds of cells."""
    data = json.loads(text)
    cpus = data["cpus"]
    return Cell(**{**data, "cpus": tuple(cpus) if isinstance(cpus, list) else cpus})


#: The axes in the order of the contract's table.
AXES: tuple[str, ...] = tuple(f.name for f in fields(Cell) if f.name != "defaults")

#: Axes that shape the traffic and not the network it crosses.
TRAFFIC_AXES = frozenset({"ip", "payload", "streams", "cpus", "load"})


@dataclass(frozen=True, slots=True)
class Trial:
    """One execution of a cell in a fresh lab: what a host is ordered to do.

    ``options`` are the load's (durations in seconds: ``count``, ``interval``, ``duration``,
    ``timeout``, ``bytes``); ``deadline`` is the whole trial's, in seconds of the host's clock.
    """

    id: str
    cell: Cell
    block: int
    position: int
    role: Role = "cell"
    clock: str = "wall"
    options: dict[str, Any] = field(default_factory=dict)
    deadline: float = 60.0

    def to_json(self) -> dict[str, Any]:
        """JSON object, the cell nested."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Trial:
        """Return the inverse of :meth:`to_json`."""
        return cls(**{**data, "cell": Cell.from_json(data["cell"])})


def _keep_printable(record: Observation | Attempt) -> None:
    """Errors quote tools and kernels: whatever reads the record may show them as they stand."""
    if record.error:
        object.__setattr__(record, "error", printable(record.error))


@dataclass(frozen=True, slots=True)
class Observation:
    """One measured value: a number in ``value`` or a word in ``text``.

    Neither where ``status`` is not ok.
    """

    metric: str
    unit: str
    better: Better
    value: float | None = None
    text: str | None = None
    status: Status = "ok"
    error: str = ""

    def __post_init__(self) -> None:
        _keep_printable(self)

    @classmethod
    def of(cls, metric: str, value: float | str | None, clock: str = "wall") -> Observation:
        """Return an ok observation of a contract metric, its unit and direction looked up.

        What it says is believed.
        """
        known = METRICS[metric]
        unit = unit_on(clock, known.unit)
        if isinstance(value, str):
            return cls(metric, unit, known.better, text=value)
        return cls(metric, unit, known.better, value=None if value is None else float(value))

    @classmethod
    def measured(cls, metric: str, value: float | str | None, clock: str = "wall") -> Observation:
        """Return a measured value as ok, or as failed where no measurement can give it.

        The one border that every value of every load passes.
        """
        if value is not None:
            try:
                METRICS[metric].check(value)
            except ImpossibleValue as error:
                return cls.missing(metric, "failed", str(error), clock)
        return cls.of(metric, value, clock)

    @classmethod
    def missing(cls, metric: str, status: Status, error: str, clock: str = "wall") -> Observation:
        """Return the row that stands where a value should have been."""
        known = METRICS[metric]
        return cls(metric, unit_on(clock, known.unit), known.better, status=status, error=error)


class CpuSeconds(TypedDict):
    """CPU seconds of a load, on its CPUs: see loads.cpu_time.CpuTime."""

    processes: float
    ksoftirqd: float
    interrupts: float
    busy: float
    interrupts_apart: bool  # whether interrupts are beside the processes' time or within it


class ProgramRuns(TypedDict):
    """Runs of a program by the kernel's BPF statistics, and the ns of the trial's clock they
    took.
    """

    ns: int
    runs: int
    ns_per_run: float | None  # none where it never ran


class UnprivilegedDetails(TypedDict, total=False):
    """Ways of sending as a user without privileges: those that sent, those that arrived, errors."""

    sent: list[str]
    errors: list[str]
    arrived: list[str]


class IsolationDetails(TypedDict, total=False):
    """Details of the isolation load, beside its answers."""

    carried: bool  # whether the wire carried a datagram from yogurt-1 to yogurt-2
    unprivileged: UnprivilegedDetails
    host_ping: str  # "answered", or why not


class Details(TypedDict, total=False):
    """Details of an attempt beside its metrics: ``details`` in trials.jsonl (contract).

    A run of an earlier version may lack any of them.
    """

    # Of a tool
    argv: list[str]  # the client's command line
    bulk_argv: list[str]  # of the bulk transfer beside it (rtt_under_load)
    quantiles: dict[str, float]  # by percent, ns of the trial's clock
    messages: int  # that the client sent in the whole run
    counted: int  # round trips of the valid part, which the quantiles are of
    delivered_bytes: int  # that arrived at the receiver
    cpu_seconds: float  # of both ends' processes, as the tool reports it
    # Of the machine, from the load's beginning to its end
    devices: dict[str, dict[str, int]]  # rtnl_link_stats64 by device and field: packets, bytes
    softnet: dict[str, list[int]]  # columns of /proc/net/softnet_stat, a number a CPU
    cpu: CpuSeconds
    warnings: list[str]  # sentences on packets that are not what the payload says
    # Of the wire
    counters: dict[str, list[int]]  # by role and way (wire.forward …): packets, bytes
    tallies: dict[str, list[list[int]]]  # a user's YB_COUNT by way and slot: packets, bytes
    run_times: dict[str, ProgramRuns]  # by role and way, of diagnostic trials
    drops: dict[str, int]  # packets by function:REASON, of diagnostic trials
    looped_seconds: float  # how long packets looped at most
    # Of reachability
    witness: bool  # whether the tracer watched
    dropped: dict[str, list[str]]  # drop sites of unanswered requests, by ipv4 and ipv6
    path: list[str]  # an echo's steps there and back
    # Of isolation
    isolation: IsolationDetails


@dataclass(frozen=True, slots=True)
class Attempt:
    """The result of a trial: one line of trials.jsonl.

    ``seconds`` holds the phases' durations (``lab``, ``wire``, ``load``, ``undo`` …) in seconds of
    wall time as the host saw it, ``details`` what is worth keeping beside the metrics.
    """

    trial: Trial
    status: Status
    observations: tuple[Observation, ...]
    error: str = ""
    host: str = ""
    lab: str = ""
    accelerator: str = "none"
    kernel: str = ""
    seconds: dict[str, float] = field(default_factory=dict)
    details: Details = field(default_factory=Details)

    def __post_init__(self) -> None:
        _keep_printable(self)

    def to_json(self) -> dict[str, Any]:
        """JSON object, trial and observations nested."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Attempt:
        """Return the inverse of :meth:`to_json`."""
        return cls(
            **{
                **data,
                "trial": Trial.from_json(data["trial"]),
                "observations": tuple(Observation(**o) for o in data["observations"]),
            }
        )

    @classmethod
    def without_values(cls, trial: Trial, status: Status, error: str, **rest: Any) -> Attempt:
        """Return an attempt that measured nothing: a row for each metric the trial would have
        given.
        """
        metrics = (
            (DIAGNOSTIC_METRIC,)
            if trial.role == "diagnostic"
            else metrics_of(trial.cell.load, trial.clock)
        )
        rows = tuple(Observation.missing(m, status, error, trial.clock) for m in metrics)
        return cls(trial, status, rows, error, **rest)


@dataclass(frozen=True, slots=True)
class Environment:
    """The machine and kernel of the trials: environment.json, compared before any numbers are.

    ``identity`` holds what must be equal for two runs to be comparable (kernel, accelerator, clock,
    tool versions, guest fingerprint …); ``system`` what is only worth knowing; ``reasons`` why this
    lab and accelerator were chosen.
    """

    host: str
    lab: str
    accelerator: str
    clock: str
    kernel: str
    identity: dict[str, str] = field(default_factory=dict)
    system: dict[str, str] = field(default_factory=dict)
    reasons: dict[str, str] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """JSON object."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Environment:
        """Return the inverse of :meth:`to_json`."""
        return cls(**data)
