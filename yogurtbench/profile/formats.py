"""A profile for other programs: KCachegrind and callgrind_annotate, flame graphs, speedscope."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from itertools import pairwise

from yogurtbench.profile.profile import Profile
from yogurtbench.profile.stacks import Path
from yogurtbench.profile.symbols import Function

_EVENT = "Instructions"
_SPEEDSCOPE = "https://www.speedscope.app/file-format-schema.json"


def callgrind(profile: Profile) -> str:
    """Return the profile in Valgrind's Callgrind format (its manual, "Callgrind Format
    Specification").
    """
    head = [
        "# callgrind format",
        "version: 1",
        "creator: yogurtbench",
        f"cmd: {profile.name}",
        "positions: line",
        f"events: {_EVENT}",
        f"summary: {profile.instructions}",
    ]
    return "\n".join([*head, *_callgrind_functions(profile)]) + "\n"


def _callgrind_functions(profile: Profile) -> Iterator[str]:
    """Yield each function with its own instructions, and each of its calls with the callee's."""
    arcs: Counter[Path] = Counter()
    for (_, path), count in profile.tree.instructions.items():
        arcs.update(dict.fromkeys(pairwise(path), count))
    for cost in profile.functions:
        yield from ("", f"fl={cost.function.kind}", f"fn={cost.function.name}", f"0 {cost.self}")
        for (caller, callee), inclusive in arcs.items():
            if caller == cost.function:
                calls = profile.tree.calls.get((caller, callee), 0)
                yield from (f"cfi={callee.kind}", f"cfn={callee.name}", f"calls={calls} 0")
                yield f"0 {inclusive}"


def folded(profile: Profile) -> str:
    """Return a line a stack, ``task;function;… instructions``, as flamegraph.pl reads it."""
    lines = (
        f"{';'.join([task, *(one.name for one in path)])} {count}"
        for (task, path), count in profile.tree.instructions.items()
    )
    return "\n".join(sorted(lines)) + "\n"


def speedscope(profile: Profile) -> str:
    """Return the profile as speedscope reads it, a profile a task (its file-format-spec.ts)."""
    frames: dict[Function, int] = {}
    tasks: dict[str, list[tuple[list[int], int]]] = {}
    for (task, path), count in profile.tree.instructions.items():
        stack = [frames.setdefault(each, len(frames)) for each in path]
        tasks.setdefault(task, []).append((stack, count))
    document = {
        "$schema": _SPEEDSCOPE,
        "exporter": "yogurtbench",
        "name": profile.name,
        "shared": {"frames": [{"name": one.name, "file": one.kind} for one in frames]},
        "profiles": [
            {
                "type": "sampled",
                "name": task,
                "unit": "none",
                "startValue": 0,
                "endValue": sum(count for _, count in samples),
                "samples": [stack for stack, _ in samples],
                "weights": [count for _, count in samples],
            }
            for task, samples in tasks.items()
        ],
    }
    return json.dumps(document)
