"""yogurtbench: which eBPF wire joins two network namespaces best, answered by experiment.

In a notebook::

    import yogurtbench as yb
    run = yb.load("results/quickstart/20261124T090000Z-0c1d2e")
    run.observations, run.comparison
    yb.plot.forest(run)

What is heavy (pandas, matplotlib) is imported when it is first used.
"""

from __future__ import annotations

import os

from yogurtbench.core.version import __version__

# typing.py would be imported from wherever PYTHONPATH says, before the command is isolated
TYPE_CHECKING = False

if TYPE_CHECKING:
    from typing import Any

    from yogurtbench import plot
    from yogurtbench.notebook import Run

__all__ = ["__version__", "load", "plot"]


def load(run: str | os.PathLike[str]) -> Run:
    """Return a stored run, from its folder ``results/<name>/<time>-<hex>``, read anew from what it
    stored.

    Raises :class:`yogurtbench.core.errors.MatrixError`, with one sentence, where the folder is no
    run or is damaged.
    """
    from yogurtbench import notebook

    return notebook.load(run)


def __getattr__(name: str) -> Any:
    """``yb.plot`` without an import of its own."""
    if name == "plot":
        from importlib import import_module

        return import_module("yogurtbench.plot")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
