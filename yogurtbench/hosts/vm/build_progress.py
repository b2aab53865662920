"""Progress of building the guest: a live line on a terminal, elsewhere a line a phase.

The phases are read off what mmdebstrap says. What is left is known from what they take elsewhere
and from how fast the earlier ones went here.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from contextvars import ContextVar

from rich.live import Live
from rich.text import Text

from yogurtbench.core.sayer import Sayer

#: What mmdebstrap says as a phase begins, and what it does then. The last is ours, after
#: mmdebstrap.
PHASES = (
    ("I: running apt-get update", "reading what packages there are"),
    ("I: downloading packages", "downloading packages"),
    ("I: extracting archives", "unpacking packages"),
    ("I: running --extract-hook", ""),
    ("I: creating tarball", "packing them"),
    ("I: success in", "making archives for the guest"),
)
_HOOKS = {
    "kernel": "fetching the kernel and its headers",
    "userland": "compiling Python's bytecode",
}
#: Seconds from the beginning to the end of each phase, measured on two cores with a near mirror.
USUAL = {
    "kernel": (2.0, 4.0, 7.0, 22.0, 27.0, 30.0),
    "userland": (2.0, 5.0, 16.0, 22.0, 26.0, 36.0),
}
#: A machine is taken to be between so many times as fast and as slow as those.
_FASTEST, _SLOWEST = 0.2, 10.0


class BuildProgress:
    """The building of one part, ``kernel`` or ``userland``, as it goes on."""

    def __init__(self, kind: str, clock: Callable[[], float] = time.monotonic) -> None:
        self.kind, self.phase = kind, -1
        self._clock, self._began = clock, clock()
        self._phase_began, self._rest = self._began, ""

    def heard(self, text: str) -> bool:
        """Take what mmdebstrap printed; whether another phase began."""
        *lines, self._rest = (self._rest + text).split("\n")
        before = self.phase
        for line in lines:
            begun = (
                n
                for n, (start, _) in enumerate(PHASES)
                if n > self.phase and line.startswith(start)
            )
            self.phase = next(begun, self.phase)
        if self.phase != before:
            self._phase_began = self._clock()
        return self.phase != before

    @property
    def doing(self) -> str:
        """The current phase."""
        return (
            "starting"
            if self.phase < 0
            else PHASES[self.phase][1] or _HOOKS.get(self.kind, "working")
        )

    @property
    def seconds(self) -> float:
        """The seconds since it began."""
        return self._clock() - self._began

    @property
    def left(self) -> float:
        """Seconds that it will take yet, as far as can be known.

        Negative where a phase takes longer than usual.
        """
        usual = (0.0, *USUAL.get(self.kind, (30.0,) * len(PHASES)))
        done, end = usual[max(self.phase, 0)], usual[max(self.phase, 0) + 1]
        spent = self._phase_began - self._began
        pace = min(max(spent / done, _FASTEST), _SLOWEST) if done else 1.0
        in_phase = (end - done) * pace - (self._clock() - self._phase_began)
        return in_phase if in_phase < 0 else in_phase + (usual[-1] - end) * pace

    def line(self) -> str:
        """Return all this in a line."""
        left = self.left
        rest = "longer than usual" if left < 0 else f"about {max(left, 1):.0f} s left"
        return f"the guest's {self.kind}: {self.doing}; {self.seconds:.0f} s, {rest}"


_heard: ContextVar[Callable[[str], None]] = ContextVar("heard")


def heard(text: str) -> None:
    """Tell whoever shows the building under way what mmdebstrap printed."""
    if tell := _heard.get(None):
        tell(text)


@contextlib.contextmanager
def showing(kind: str, say: Callable[[str], None]) -> Iterator[None]:
    """Show how building a part goes, on the console that ``say`` writes to, or else in
    lines.
    """
    progress = BuildProgress(kind)

    def tell(text: str) -> None:
        if progress.heard(text) and not live:
            say(progress.line())

    live = isinstance(say, Sayer) and say.console.is_terminal and not say.console.is_dumb_terminal
    token = _heard.set(tell)
    try:
        with _line(progress, say) if isinstance(say, Sayer) and live else contextlib.nullcontext():
            yield
        if progress.seconds >= 1:
            say(f"the guest's {kind}: built in {progress.seconds:.0f} s")
    finally:
        _heard.reset(token)


def _line(progress: BuildProgress, say: Sayer) -> Live:
    def view() -> Text:
        return Text(progress.line(), no_wrap=True, overflow="ellipsis")

    return Live(get_renderable=view, console=say.console, transient=True, refresh_per_second=4)
