"""The machine that an agent lives on, as a host uses it."""

from __future__ import annotations

from typing import Protocol

from yogurtbench.agent.channel import Channel


class Machine(Protocol):
    """A started agent: a native room or a booted guest."""

    channel: Channel

    def failure_reason(self) -> str:
        """Return why it died, in its own words: panic text, standard error."""
        ...

    def close(self) -> None:
        """End it, whatever its state, and leave nothing behind."""
        ...
