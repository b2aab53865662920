"""yogurtbench: which eBPF wire joins two network namespaces best, answered by experiment."""

__version__ = "0.1.0"
