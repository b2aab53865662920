"""What is sent over a network that is up: each load a ``run`` that talks to real tools and a pure
``parse``.
"""

from yogurtbench.loads.base import Flow, LoadContext, LoadFailed, LoadResult
from yogurtbench.loads.registry import RUN

__all__ = ["RUN", "Flow", "LoadContext", "LoadFailed", "LoadResult"]
