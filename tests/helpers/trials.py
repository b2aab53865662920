"""Trials for tests, made from the axes that matter to them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from yogurtbench.core.records import Attempt, Cell, Trial
from yogurtbench.hosts.base import AgentHost
from yogurtbench.matrix.defaults import CellBuilder

OPTIONS: dict[str, dict[str, Any]] = {
    "ping": {"count": 5, "interval": 0.002, "timeout": 5.0},
    "sockperf": {"duration": 1.0, "timeout": 5.0},
    "sockperf_tcp": {"duration": 1.0, "timeout": 5.0},
    "netperf_tcp_rr": {"duration": 1.0, "timeout": 5.0},
    "iperf3_tcp": {"duration": 1.0, "timeout": 5.0},
    "iperf3_udp": {"duration": 1.0, "timeout": 5.0},
}
DIRECT = {"device": "veth", "topology": "direct", "hook": "none", "helper": "none"}
WIRE = {"device": "veth", "hook": "tcx_ingress", "helper": "redirect"}
#: A wire that drops half of what is large, and counts it.
LOSSY = """#include "yogurt.h"
int wire(struct __sk_buff *skb)
{
	if (skb->len > 1000 && bpf_get_prandom_u32() & 1) {
		YB_COUNT(0, skb);
		return YB_DROP;
	}
	return bpf_redirect(YB_TARGET, 0);
}
"""


def cell(load: str = "reachability", **axes: Any) -> Cell:
    filled, problems = CellBuilder("wall").fill({"load": load, **axes})
    assert filled, problems
    return filled


def trial(
    load: str = "reachability", *, options: dict[str, Any] | None = None, **axes: Any
) -> Trial:
    return Trial(
        "t", cell(load, **axes), 0, 0, options={**OPTIONS.get(load, {}), **(options or {})}
    )


def eventually(what: Callable[[], Any], seconds: float = 10.0) -> Any:
    """The first true answer within the time, else the last one."""
    deadline = time.monotonic() + seconds
    while not (answer := what()) and time.monotonic() < deadline:
        time.sleep(0.005)  # between two looks, not instead of them
    return answer


def gone(pid: int) -> bool:
    """Whether a process has ended (a zombie has: not every container's first process
    takes note of its orphans' end)."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


def run_on(host: AgentHost, trials: Iterable[Trial]) -> Iterator[Attempt]:
    """Attempts of one trial after the other, as they end."""
    left = iter(trials)
    return host.attempts(lambda: next(left, None))
