"""The page of a profile: a flame graph to click and search, and the functions that differ."""

from __future__ import annotations

from typing import Any

from yogurtbench.core.labels import group_digits
from yogurtbench.profile.profile import Profile, differences
from yogurtbench.profile.stacks import Path
from yogurtbench.profile.symbols import Function
from yogurtbench.report.pages.run import fill
from yogurtbench.report.sections.profile import answer, notes

#: A node of the flame graph: name, kind, own instructions, the other side's, callees.
Node = list[Any]


def render(profile: Profile, against: Profile | None) -> str:
    """Return the page as text."""
    return fill(
        "profile.html",
        "profile.js",
        profile=profile,
        against=against,
        title=profile.name,
        other=against.name if against else "",
        answer=answer(profile, against),
        notes=notes(profile, against),
        functions=profile.functions,
        differences=differences(profile, against) if against else [],
        tree=_tree(profile, against),
        digits=group_digits,
    )


def _tree(profile: Profile, against: Profile | None) -> Node:
    """Return the flame graph: the tasks, then who calls whom."""
    root: Node = ["all", "", 0, 0, {}]
    for side, one in ((2, profile), (3, against)):
        for (task, path), count in one.tree.instructions.items() if one else ():
            _leaf(root, task, path)[side] += count
    return _listed(root)


def _leaf(root: Node, task: str, path: Path) -> Node:
    node = root
    for function in (Function(task, "user"), *path):
        node = node[4].setdefault(function, [function.name, function.kind, 0, 0, {}])
    return node


def _listed(node: Node) -> Node:
    """Return the node with a list of its callees, by name."""
    callees = sorted(map(_listed, node[4].values()), key=lambda one: str(one[0]))
    return [*node[:4], callees]
