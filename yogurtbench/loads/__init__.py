"""What is sent over a network that is up: each load a ``run`` that talks to real tools and a pure ``parse``."""

from yogurtbench.loads.base import Bench, Flow, LoadFailed, Measured
from yogurtbench.loads.registry import RUN

__all__ = ["RUN", "Bench", "Flow", "LoadFailed", "Measured"]
