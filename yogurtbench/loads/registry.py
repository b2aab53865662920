"""The function that runs each load."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module

from yogurtbench.core.load_specs import LOADS
from yogurtbench.loads.base import LoadContext, LoadResult

RUN: dict[str, Callable[[LoadContext], LoadResult]] = {
    name: import_module(f"yogurtbench.loads.{spec.module}").run for name, spec in LOADS.items()
}
