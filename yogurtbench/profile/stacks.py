"""Who called whom: the stack of calls, followed from block to block.

A call leaves its return address in a slot of the stack, and a return takes it from there: the
slots' addresses, which the plugin records, tell which frames a return ends and, since every task
has a kernel stack of its own, when another task goes on.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from yogurtbench.profile.recording import Block, End, Recording
from yogurtbench.profile.round_trips import RoundTrips
from yogurtbench.profile.symbols import Function, Symbols

#: Functions from the outermost to the one that executes.
Path = tuple[Function, ...]
CUT = Function("[stack not known]", "kernel")


@dataclass(slots=True)
class _Frame:
    """A call: its ``slot``, 0 where the CPU entered by itself, and the functions since.

    More than one where a function ended in a jump to another (a tail call).
    """

    slot: int
    functions: list[Function] = field(default_factory=list)

    def enter(self, function: Function) -> bool:
        """Go on in a function, one of the frame's or another. Returns whether it is new here."""
        if function in self.functions:
            del self.functions[self.functions.index(function) + 1 :]
            return False
        self.functions.append(function)
        return True


@dataclass(slots=True, eq=False)
class _Task:
    """A task's frames, the outermost first, all user code being one.

    ``known``: whether there is none before the first.
    """

    frames: list[_Frame] = field(default_factory=lambda: [_Frame(0)])
    known: bool = False


class _Tracker:
    """Follows the tasks of a CPU."""

    def __init__(self, symbols: Symbols) -> None:
        self._symbols = symbols
        self._others: list[_Task] = []
        self._last = Block(0, 0, End.GOES_ON, 0)
        self._slot = 0
        self.task = _Task()
        self.calls: Counter[Path] = Counter()

    def path(self, block: Block) -> Path:
        """Take note of the next executed block, and return the functions that are active in it."""
        self._arrive(block)
        self.task.known |= block.is_users  # all of which is one frame
        new = self.task.frames[-1].enter(self._symbols.at(block.address))
        path = tuple(each for frame in self.task.frames for each in frame.functions)
        self.calls[path[-2:]] += new
        return path if self.task.known else (CUT, *path)

    def leave(self, block: Block, slot: int) -> None:
        """Take note of what a block's last instruction does; ``slot`` where it moves the stack."""
        self._last, self._slot = block, slot

    def _arrive(self, block: Block) -> None:
        end, frames = self._last.end, self.task.frames
        if end is End.SYSCALL or self._symbols.is_entry(block.address):
            frames.append(_Frame(0))
        elif end is End.LEAVE:
            self._leave_kernel(block)
        elif block.is_users:
            return
        elif end is End.CALL:
            _drop_stale(frames, self._slot)
            frames.append(_Frame(self._slot))
        elif end is End.RETURN:
            self._return()

    def _return(self) -> None:
        """End the frame with the slot, here or, where another task goes on, there."""
        for task in (self.task, *reversed(self._others)):
            at = _index(task.frames, self._slot)
            if at is not None:
                self._switch(task)
                del task.frames[max(at, 1) :]
                return
        # that call was before the recording began
        own = any(_same_stack(frame.slot, self._slot) for frame in self.task.frames)
        self._switch(self.task if own else _Task())
        self.task.frames, self.task.known = [_Frame(0)], False

    def _switch(self, task: _Task) -> None:
        if task is not self.task:
            self._others = [other for other in self._others if other is not task] + [self.task]
            self.task = task

    def _leave_kernel(self, block: Block) -> None:
        """End what the CPU entered last; back among the user code the whole stack is known."""
        frames = self.task.frames
        if block.is_users:
            del frames[1:]
            frames[0].functions = [each for each in frames[0].functions if each.kind == "user"]
        else:
            entered = [n for n, frame in enumerate(frames) if n and not frame.slot]
            del frames[entered[-1] if entered else 1 :]


def _index(frames: list[_Frame], slot: int) -> int | None:
    """Return the place of the innermost frame with this slot."""
    return next((n for n in range(len(frames) - 1, -1, -1) if frames[n].slot == slot), None)


#: A kernel stack's size and alignment (THREAD_SIZE, arch/x86/include/asm/page_64_types.h).
_STACK = 1 << 14


def _same_stack(one: int, other: int) -> bool:
    return one // _STACK == other // _STACK


def _drop_stale(frames: list[_Frame], slot: int) -> None:
    """Drop frames whose slot a new call overwrites: they were left by no return."""
    while (
        len(frames) > 1
        and frames[-1].slot
        and _same_stack(frames[-1].slot, slot)
        and frames[-1].slot <= slot
    ):
        frames.pop()


@dataclass(frozen=True, slots=True)
class CallTree:
    """What a round trip executed.

    ``instructions`` by task and active functions, the outermost first; ``calls`` by caller and
    callee. A task is the ``client``, whose round trip it is, the ``server``, or another.
    """

    instructions: Mapping[tuple[str, Path], int]
    calls: Mapping[Path, int]


def follow_calls(recording: Recording, trips: RoundTrips, symbols: Symbols) -> CallTree:
    """Follow the typical round trip, and a few before it, so that every stack is known."""
    counted: Counter[tuple[str, Path]] = Counter()
    tracker, client, typical = _Tracker(symbols), _Task(), trips.typical
    for position in range(trips.led_in, typical.end):
        if position == typical.begin:
            tracker.calls.clear()
        block = recording.block(position)
        path = tracker.path(block)
        tracker.leave(block, int(recording.slots[position]))
        if position == typical.begin:
            client = tracker.task
        if position >= typical.begin:
            task = "client" if tracker.task is client else _name(tracker.task)
            counted[task, path] += block.instructions
    calls = {pair: count for pair, count in tracker.calls.items() if len(pair) > 1 and count}
    return CallTree(counted, calls)


def _name(task: _Task) -> str:
    functions = task.frames[0].functions
    return "server" if functions and functions[0].kind == "user" else "another task"
