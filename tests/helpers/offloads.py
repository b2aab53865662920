"""The offloads of a lab's devices, as ethtool reports them."""

from __future__ import annotations

from typing import Any

from pyroute2.ethtool.ioctl import IoctlEthtool
from trials import WIRE, cell

from yogurtbench.lab import bring_up


def switches(axes: dict[str, Any]) -> dict[str, dict[str, bool]]:
    """The offload features of every end."""
    found = {}
    with bring_up(cell(**WIRE, **axes)) as lab:
        for end in lab.ends:
            with end.namespace.entered():
                tool = IoctlEthtool(end.name)
                found[end.name] = {name: active for name, active, *_ in tool.get_features()}
                tool.close()
    return found
