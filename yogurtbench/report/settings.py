"""Load Matplotlib with settings of our own.

Every module that draws imports this one before Matplotlib.

Matplotlib obeys MPLBACKEND, MATPLOTLIBRC, a ``matplotlibrc`` in the current folder and whatever
lies in the user's configuration folder, and some of it makes its very import fail. A command of
ours must not depend on any of that; a notebook that imports yogurtbench must keep all of it.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from yogurtbench import launch
from yogurtbench.core import paths

_FOREIGN = ("MPLBACKEND", "MATPLOTLIBRC", "MPLCONFIGDIR")
#: Holds a ``matplotlibrc``: the current folder's is the first that Matplotlib looks for.
_OURS = Path(__file__).parent


def load() -> None:
    """Load Matplotlib untouched by the user's settings.

    In a process that is not a command of ours do nothing.
    """
    if not launch.is_command or "matplotlib" in sys.modules:
        return
    with _settings_hidden():
        import matplotlib as mpl

        mpl.get_configdir()  # kept by Matplotlib from now on, which would look there for styles


@contextmanager
def _settings_hidden() -> Iterator[None]:
    kept = {name: os.environ.pop(name) for name in _FOREIGN if name in os.environ}
    os.environ["MPLCONFIGDIR"] = str(paths.cache() / "matplotlib")
    try:
        with _folder(_OURS):
            yield
    finally:
        os.environ.pop("MPLCONFIGDIR", None)
        os.environ.update(kept)


@contextmanager
def _folder(path: Path) -> Iterator[None]:
    """Make a folder the current one for a block, and go back, if that still exists."""
    here = os.open(".", os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.chdir(path)
        yield
    finally:
        os.fchdir(here)
        os.close(here)


load()
