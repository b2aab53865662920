"""CPU time of a load by the kernel's accounting: with softirqs, without other processes.

Counted is what the scheduler gave

* the load's own processes, as iperf3 reads it of itself from the beginning to the end of the
  transfer (clock(3), at both ends). Most of a virtual device's softirqs run in the sender's own
  system call, on the way out of its bottom-half section, and are charged to it there. The whole
  life of the processes (getrusage(2), RUSAGE_CHILDREN) is kept beside it as ``processes``: it has
  the programs' start in it, 11 ms here and half a second where the CPU is emulated;
* ksoftirqd, which takes over when softirqs become many (/proc/PID/schedstat). Only the network is
  so busy while a load runs. From inside the room's PID namespace it cannot be seen, so the room
  keeps the machine's /proc at hand;
* the irq and softirq columns of /proc/stat, on kernels that take interrupts out of what they charge
  to processes (CONFIG_IRQ_TIME_ACCOUNTING, as Fedora's and Ubuntu's do and Debian's do not).

Not counted are softirqs that happened to run in a stranger's or the idle task's time (TCP's
timers). All of /proc/stat would have them, and on a shared machine every stranger too: there it
said 2.0 s of CPU where the load had 0.5 s. It is kept beside the figure, as ``busy``.
"""

from __future__ import annotations

import os
import resource
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from yogurtbench.core.records import CpuSeconds
from yogurtbench.lab.sandbox import MACHINE_PROC

_TICKS = os.sysconf("SC_CLK_TCK")
#: Columns of a cpu line in /proc/stat (proc(5)); steal and guest are not work done here.
_COLUMNS = ("user", "nice", "system", "idle", "iowait", "irq", "softirq")
_BUSY = ("user", "nice", "system", "irq", "softirq")


@dataclass(frozen=True, slots=True)
class CpuTime:
    """Seconds of CPU: of the load's processes, of ksoftirqd, in interrupts and in all on the load's
    CPUs.
    """

    processes: float
    ksoftirqd: float
    interrupts: float
    busy: float

    def __sub__(self, earlier: CpuTime) -> CpuTime:
        return CpuTime(*(getattr(self, name) - getattr(earlier, name) for name in self.__slots__))

    @property
    def beside(self) -> float:
        """The kernel's work for the load outside its processes' time."""
        return self.ksoftirqd + (self.interrupts if interrupts_are_apart() else 0.0)

    def to_json(self) -> CpuSeconds:
        """Return all of the raw figures, and whether interrupts are beside the processes' time or
        within it.
        """
        return CpuSeconds(
            processes=self.processes,
            ksoftirqd=self.ksoftirqd,
            interrupts=self.interrupts,
            busy=self.busy,
            interrupts_apart=interrupts_are_apart(),
        )


def measure_cpu_time(cpus: Sequence[int]) -> CpuTime:
    """CPU time until now: of this process's ended children, of ksoftirqd, and of ``cpus``.

    Raises OSError where the kernel does not tell.
    """
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    interrupts, busy = stat_seconds(Path("/proc/stat").read_text(), cpus)
    return CpuTime(used.ru_utime + used.ru_stime, _ksoftirqd(cpus), interrupts, busy)


def stat_seconds(table: str, cpus: Sequence[int]) -> tuple[float, float]:
    """Seconds in interrupts and in all work, of some CPUs, from the text of /proc/stat."""
    wanted = {f"cpu{cpu}" for cpu in cpus}
    rows = [line.split() for line in table.splitlines()]
    found = [
        dict(zip(_COLUMNS, map(int, row[1:]), strict=False))
        for row in rows
        if row and row[0] in wanted
    ]
    interrupts = sum(row["irq"] + row["softirq"] for row in found)
    busy = sum(sum(row[name] for name in _BUSY) for row in found)
    return interrupts / _TICKS, busy / _TICKS


def _ksoftirqd(cpus: Sequence[int]) -> float:
    """Return the seconds that some CPUs' ksoftirqd ran.

    schedstat begins with ns (Documentation/scheduler/sched-stats).
    """
    threads = _ksoftirqd_threads()
    try:
        return (
            sum(
                int((threads[f"ksoftirqd/{cpu}"] / "schedstat").read_text().split()[0])
                for cpu in cpus
            )
            / 1e9
        )
    except KeyError as missing:
        raise FileNotFoundError(
            f"{missing} is not to be seen: what it does for the load cannot be counted"
        ) from None


@cache
def _ksoftirqd_threads() -> dict[str, Path]:
    """Their folders in /proc by name; they live as long as their CPUs."""
    proc = MACHINE_PROC if MACHINE_PROC.exists() else Path("/proc")
    return {
        name: folder
        for folder in proc.glob("[0-9]*")
        if (name := _name(folder)).startswith("ksoftirqd/")
    }


def _name(folder: Path) -> str:
    try:
        return (folder / "comm").read_text().strip()
    except OSError:  # it has just ended
        return ""


@cache
def interrupts_are_apart() -> bool:
    """Return whether the kernel accounts interrupts apart: the function that does it is there or
    not.
    """
    with open("/proc/kallsyms") as symbols:
        return any(
            " irqtime_account_irq\n" in line or " irqtime_account_irq\t" in line for line in symbols
        )
