"""Does anything arrive? ICMP echo over IPv4 and IPv6, and a TCP exchange (see loads.probes)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from yogurtbench.core.records import Details, Status
from yogurtbench.ebpf import tracer
from yogurtbench.ebpf.tracer import Tracer
from yogurtbench.lab import Unsupported
from yogurtbench.loads import control
from yogurtbench.loads.asking import CannotAsk
from yogurtbench.loads.base import LoadContext, LoadResult
from yogurtbench.loads.probes import (
    PROBES,
    Echo,
    echo_once,
    exchanges_tcp,
    open_icmp_socket,
    ping,
)

_HOPS = ("hops_netif_rx", "hops_receive", "hops_queue")


def run(bench: LoadContext) -> LoadResult:
    """Return whether anything arrives, where it dies, and what a round trip passes.

    A dead wire is a result.

    ``reachable``, ``reachable_v6``, ``tcp_ok`` (0 or 1); for a wire that carries nothing
    ``dropped_at``, of the IPv4 request where that died, else of the IPv6 one; for a live one the
    ``hops_*`` of a round trip, IPv4 where it can. What could not be asked is missing: failed, or
    unsupported where there is no IPv6 to be had. Never 0.
    """
    found = _Answers(bench)
    four = found.echo("reachable", 4)
    # Where IPv4 is dead and a tracer runs, one IPv6 request seen dropped is enough: dead wires
    # are tried twice.
    six = found.echo(
        "reachable_v6", 6, 1 if bench.tracer and four is not None and not four.answered else PROBES
    )
    found.tcp(four)
    found.follow(four, six)
    return found.measured({4: four, 6: six})


@dataclass(slots=True)
class _Answers:
    """The answers so far, and why there is no answer where there is none."""

    bench: LoadContext
    values: dict[str, float | str | None] = field(default_factory=dict)
    missing: dict[str, tuple[Status, str]] = field(default_factory=dict)
    way: list[str] = field(default_factory=list)

    def echo(self, metric: str, ip: int, probes: int = PROBES) -> Echo | None:
        """Ask over an IP version; None where it could not be asked."""

        def attempt() -> Echo:
            echo = ping(self.bench.lab, ip, self.bench.tracer, probes)
            if not echo.answered:
                control.require_measurable(f"IPv{ip}")
            return echo

        echo: Echo | None = self._or_missing(metric, attempt)
        if echo is not None:
            self.values[metric] = float(echo.answered)
        return echo

    def tcp(self, four: Echo | None) -> None:
        """Ask over TCP, unless IPv4 is known to be dead."""

        def attempt() -> bool:
            exchanged = exchanges_tcp(self.bench.lab)
            if not exchanged:
                control.require_measurable(control.TCP)
            return exchanged

        dead = four is not None and not four.answered
        exchanged = False if dead else self._or_missing("tcp_ok", attempt)
        if exchanged is not None:
            self.values["tcp_ok"] = float(exchanged)

    def follow(self, four: Echo | None, six: Echo | None) -> None:
        """Count what one more echo passes, and note its way, where a tracer runs."""
        alive = [ip for ip, echo in ((4, four), (6, six)) if echo and echo.answered]
        if not alive or not self.bench.tracer:
            return
        seen = self._or_missing(_HOPS[0], lambda: _way(self.bench, alive[0]))
        if seen is None:
            self.missing |= dict.fromkeys(_HOPS, self.missing[_HOPS[0]])
        else:
            hops, self.way = seen
            self.values |= hops

    def measured(self, echoes: dict[int, Echo | None]) -> LoadResult:
        """Everything, with where the first dead request died."""
        dead = next((echo for echo in echoes.values() if echo and not echo.answered), None)
        if dead and dead.sites:
            self.values["dropped_at"] = tracer.most_common_site(dead.sites)
        dropped = {
            f"ipv{ip}": list(echo.sites) for ip, echo in echoes.items() if echo and echo.sites
        }
        details: Details = {
            "dropped": dropped,
            "path": self.way,
            "witness": self.bench.tracer is not None,
        }
        return LoadResult(self.values, details=details, missing=self.missing)

    def _or_missing(self, metric: str, attempt: Callable[[], Any]) -> Any:
        """Return what an attempt gives.

        None, and the metric missing with the reason, where it cannot be made.
        """
        try:
            return attempt()
        except Unsupported as reason:
            self.missing[metric] = ("unsupported", str(reason))
        except CannotAsk as reason:
            self.missing[metric] = ("failed", str(reason))
        return None


def _way(bench: LoadContext, ip: int) -> tuple[dict[str, float], list[str]]:
    """Return the path of one more echo, its neighbours known: ``hops_*``, and step by step.

    Raises CannotAsk where the tracer saw nothing of an echo that was answered: then it sees
    nothing at all.
    """
    seen: Tracer | None = bench.tracer
    assert seen
    with open_icmp_socket(bench.lab, ip) as sender:
        seen.reset()
        answered = echo_once(sender, bench.server.address(ip), ip, PROBES + 1, None)
    events = seen.events()
    devices = {1: "lo", **{end.ifindex: end.name for end in bench.lab.ends}}
    if not answered:
        return {}, []
    hops = tracer.count_hops(events, ip, PROBES + 1)
    if not any(hops.values()):
        raise CannotAsk("could not count hops: the tracer saw nothing of an echo that was answered")
    return hops, tracer.packet_path(events, devices, bench.places)
