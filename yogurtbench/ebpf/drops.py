"""A lab's packets that the kernel drops during a load, by function and reason (bpf/drops.c)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from yogurtbench.ebpf import tracer
from yogurtbench.ebpf.kernel_symbols import symbol_at
from yogurtbench.lab.namespace import Namespace

_TRACEPOINT, _PROGRAM = b"kfree_skb", b"on_any_drop"


class Drops:
    """The count, under way.

    A drop is a call of kfree_skb: of a packet that GSO has made large, one.
    """

    def __init__(self, bpf: Any) -> None:
        self._bpf = bpf

    def counted(self) -> dict[str, int]:
        """Return the drops since it began, by ``function:REASON``, most first."""
        rows = self._bpf["yb_drops"].items()
        return tally((symbol_at(at.location), tracer.reason(at.reason), n.value) for at, n in rows)


@contextmanager
def counting(bpf: Any, namespaces: Iterable[Namespace]) -> Iterator[Drops]:
    """Count what is dropped in these namespaces for the length of the block.

    ``bpf``: :meth:`Programs.drops`.
    """
    tracer.filter_namespaces(bpf, namespaces)
    bpf["yb_drops"].clear()
    bpf.attach_raw_tracepoint(tp=_TRACEPOINT, fn_name=_PROGRAM)
    try:
        yield Drops(bpf)
    finally:
        bpf.detach_raw_tracepoint(_TRACEPOINT)


def tally(rows: Iterable[tuple[str, str, int]]) -> dict[str, int]:
    """Symbol, reason and count of each place -> counts by ``function:REASON``, most first, then by
    name.

    Nothing is left out: NOT_SPECIFIED is what the kernel says where its code gives no reason, and
    some of what it frees so had served its purpose (a reply that a raw socket has its copy of).
    """
    counts: Counter[str] = Counter()
    for symbol, reason, count in rows:
        counts[f"{tracer.function(symbol)}:{reason}"] += count
    return dict(sorted(counts.items(), key=lambda one: (-one[1], one[0])))
