"""A load's effect on its machine: device counters, softnet columns, packet sizes and, for bulk, CPU
time.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from yogurtbench.core.load_specs import LOADS
from yogurtbench.core.records import Cell, Details, Status
from yogurtbench.lab import Interface
from yogurtbench.loads import cpu_time
from yogurtbench.loads.base import LoadContext, LoadFailed, LoadResult, packets_per_message
from yogurtbench.loads.cpu_time import CpuTime

#: Counters of /proc/net/softnet_stat, as softnet_seq_show in net/core/net-procfs.c names them, by
#: column. Its other columns are zeros, queue lengths of the moment and the CPU's number.
SOFTNET_COLUMNS = {
    0: "processed",
    1: "dropped",
    2: "time_squeeze",
    9: "received_rps",
    10: "flow_limit_count",
}
#: Fields of rtnl_link_stats64 that are kept of every device.
_DEVICE_FIELDS = (
    "rx_packets",
    "tx_packets",
    "rx_bytes",
    "tx_bytes",
    "rx_errors",
    "tx_errors",
    "rx_dropped",
    "tx_dropped",
)
#: Bytes of a link-layer header: netkit l3 and lo have one too, of zeros.
_LINK_HEADER = 14
#: A mean packet so far (as a share) from what the payload makes is another packet.
_NEAR = 0.05

Counts = dict[str, int]
Values = dict[str, float | str | None]
Missing = dict[str, tuple[Status, str]]


@dataclass(slots=True)
class HostCounters:
    """Differences between the beginning and the end of a load.

    Filled when the block of :func:`counting` ends.

    ``devices``: counters by device; ``softnet``: of all CPUs of the machine, strangers' packets
    included, a list by CPU for each column; ``cpu``: for bulk loads, or in ``no_cpu`` why not, and
    with which status.
    """

    sender: str
    devices: dict[str, Counts] = field(default_factory=dict)
    softnet: dict[str, list[int]] = field(default_factory=dict)
    cpu: CpuTime | None = None
    no_cpu: tuple[Status, str] = ("unsupported", "")

    @property
    def sent(self) -> Counts:
        """Counters of the device that the client's packets left through."""
        return self.devices[self.sender]

    @property
    def bytes_per_skb(self) -> float:
        """Mean size of what the client's device was given, its link-layer header included.

        0 where nothing was.
        """
        return self.sent["tx_bytes"] / max(1, self.sent["tx_packets"])

    @property
    def packet_size(self) -> float:
        """Mean bytes of the client's IP packets as they cross the wire: a GSO batch crosses as one
        packet.
        """
        return max(0.0, self.bytes_per_skb - _LINK_HEADER)

    def keep_cpu(self, spent: CpuTime) -> None:
        """Keep the CPU time of the load, unless the kernel's counters ran backwards."""
        if backwards := [name for name in spent.__slots__ if getattr(spent, name) < 0]:
            self.no_cpu = (
                "failed",
                f"the kernel's CPU time ran backwards: {', '.join(backwards)} {spent}",
            )
        else:
            self.cpu = spent

    def complete(self, result: LoadResult, cell: Cell) -> LoadResult:
        """Return a load's result with its packets' size and what was counted beside it.

        A warning where the size is not what the cell's payload says.
        """
        values: Values = {"packet_size": self.packet_size, **result.values}
        details: Details = {
            **result.details,
            "warnings": warnings(cell, self.packet_size),
            **self.details(),
        }
        return replace(result, values=values, details=details)

    def details(self) -> Details:
        """Return the counters as an attempt keeps them."""
        found: Details = {"devices": self.devices, "softnet": self.softnet}
        return {**found, "cpu": self.cpu.to_json()} if self.cpu else found


@contextmanager
def counting(bench: LoadContext, *, with_cpu: bool = False) -> Iterator[HostCounters]:
    """Count what happens in the block. CPU time is that of processes that began and ended within.

    Raises LoadFailed where a device's counter ran backwards.
    """
    account = HostCounters(_sender(bench))
    used = _cpu_time(bench, account) if with_cpu else None
    devices, softnet = _devices(bench), softnet_columns(Path("/proc/net/softnet_stat").read_text())
    yield account
    spent = _cpu_time(bench, account) if used else None
    if used and spent:
        account.keep_cpu(spent - used)
    account.devices = {
        name: device_counts(name, devices[name], now) for name, now in _devices(bench).items()
    }
    account.softnet = softnet_counts(
        softnet, softnet_columns(Path("/proc/net/softnet_stat").read_text())
    )


def sent_bytes(bench: LoadContext) -> int:
    """Bytes that the client's device has sent so far."""
    return _sent(bench)["tx_bytes"]


def sent_packets(bench: LoadContext) -> int:
    """Packets that the client's device has sent so far."""
    return _sent(bench)["tx_packets"]


def _sent(bench: LoadContext) -> Counts:
    return next(_device(end) for end in _ends(bench) if end.name == _sender(bench))


def _sender(bench: LoadContext) -> str:
    return "lo" if bench.trial.cell.topology == "loopback" else bench.client.end.name


def _ends(bench: LoadContext) -> list[Interface]:
    lo = (
        [Interface(bench.client.namespace, "lo", 1)]
        if bench.trial.cell.topology == "loopback"
        else []
    )
    return [*bench.lab.ends, *lo]


def _cpu_time(bench: LoadContext, account: HostCounters) -> CpuTime | None:
    try:
        return cpu_time.measure_cpu_time(bench.cpus)
    except OSError as error:
        account.no_cpu = "unsupported", str(error)
        return None


def _devices(bench: LoadContext) -> dict[str, Counts]:
    return {end.name: _device(end) for end in _ends(bench)}


def _device(end: Interface) -> Counts:
    (link,) = end.namespace.ip.get_links(end.ifindex)
    stats = link.get_attr("IFLA_STATS64")
    return {name: int(stats[name]) for name in _DEVICE_FIELDS}


def device_counts(name: str, before: Counts, now: Counts) -> Counts:
    """Return what a device counted in between.

    Raises LoadFailed where a counter of 64 bits is less than it was.
    """
    counts = {counter: value - before[counter] for counter, value in now.items()}
    for counter, count in counts.items():
        if count < 0:
            raise LoadFailed(
                f"{counter} of {name} ran backwards, from {before[counter]} to {now[counter]}"
            )
    return counts


def softnet_counts(before: dict[str, list[int]], now: dict[str, list[int]]) -> dict[str, list[int]]:
    """Return what each CPU counted in between, by column.

    The kernel's counters have 32 bits and begin again at 0.

    Where a CPU came or left meanwhile its rows cannot be distinguished from others': there is
    nothing to say.
    """
    if any(len(before[name]) != len(values) for name, values in now.items()):
        return {}
    return {
        name: [(b - a) % 2**32 for a, b in zip(before[name], values, strict=True)]
        for name, values in now.items()
    }


def softnet_columns(table: str) -> dict[str, list[int]]:
    """Return the text of softnet_stat, a row of hexadecimal numbers per CPU, as columns by name."""
    rows = [[int(word, 16) for word in line.split()] for line in table.splitlines()]
    return {
        name: [row[column] for row in rows if column < len(row)]
        for column, name in SOFTNET_COLUMNS.items()
    }


def warnings(cell: Cell, packet_size: float) -> list[str]:
    """Return what to know of the packets: a sentence where they are not what the cell's payload
    says.
    """
    if cell.payload is None or not packet_size:
        return []
    headers = (40 if cell.ip == 6 else 20) + LOADS[cell.load].header_bytes
    wanted = cell.payload + headers
    if abs(packet_size - wanted) <= _NEAR * wanted:
        return []
    seen = f"and the wire saw {packet_size:.0f} on average"
    return [
        f"a payload of {cell.payload} bytes makes IP packets of {wanted}, {seen}: "
        f"{_explain_gap(cell)}"
    ]


def _explain_gap(cell: Cell) -> str:
    if LOADS[cell.load].over_tcp:
        return "TCP sends a stream, which GSO batches and the MTU cuts"
    if packets_per_message(cell.payload or 0, cell.ip, cell.mtu) > 1:
        return f"the mtu of {cell.mtu} fragments them"
    return "the load sends other packets beside its messages"


def cpu_costs(
    account: HostCounters, own: float, delivered: float, packets: float
) -> tuple[Values, Missing]:
    """``cpu_ns_per_byte`` and ``cpu_ns_per_packet`` of what was delivered, or why there are none.

    ``own``: the CPU seconds that the load's processes spent on it.
    """
    units = {"cpu_ns_per_byte": delivered, "cpu_ns_per_packet": packets}
    if account.cpu is None:
        return {}, dict.fromkeys(units, account.no_cpu)
    spent = (own + account.cpu.beside) * 1e9
    return {name: spent / amount for name, amount in units.items() if amount}, {}


def instruction_costs(seconds: float, delivered: float, packets: float) -> Values:
    """``instructions_per_byte`` and ``instructions_per_packet`` of what was delivered.

    ``seconds`` are the transfer's on the instruction clock, where 1 ns is one instruction.
    """
    units = {"instructions_per_byte": delivered, "instructions_per_packet": packets}
    return {name: seconds * 1e9 / amount for name, amount in units.items() if amount}
