"""A guest that stays up between the commands of a test process: it boots, and compiles the wires,
once.
"""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType
from typing import Any, ClassVar

from yogurtbench.hosts.base import AgentHost
from yogurtbench.hosts.vm import host


class WarmHost(AgentHost):
    """The VM host, whose guest goes back on the shelf where all went well.

    One that died, or was given up, does not.
    """

    shelf: ClassVar[dict[str, Any]] = {}
    boot: ClassVar[Callable[..., Any]] = staticmethod(host._start)

    def __init__(self, kernel: str, say: Callable[[str], None]) -> None:
        self._kernel = kernel
        self._started: Any = None
        super().__init__(lambda: self._take(say))

    def _take(self, say: Callable[[str], None]) -> Any:
        self._started = self.shelf.pop(self._kernel, None) or self.boot(self._kernel, say)
        return self._started

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is None and self._machine:
            self.shelf[self._kernel], self._machine = self._started, None
        super().__exit__(kind, value, trace)


def clear() -> None:
    """End every guest on the shelf."""
    while WarmHost.shelf:
        machine, _, _ = WarmHost.shelf.popitem()[1]
        machine.close()
