"""The loads: each is a ``run`` that starts real tools over a network that is up, and a pure
``parse``.
"""

from yogurtbench.loads.base import Flow, LoadContext, LoadFailed, LoadResult
from yogurtbench.loads.registry import RUN

__all__ = ["RUN", "Flow", "LoadContext", "LoadFailed", "LoadResult"]
