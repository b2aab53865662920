"""The network under test as one context manager.

namespace "yogurt-1"            the lab's host namespace            namespace "yogurt-2"
  yg1-cont 10.42.0.1/24 ──pair── yg1-host ══ eBPF wire ══ yg2-host ──pair── yg2-cont 10.42.0.2/24
           fd42::1/64 (nodad)     (a)  no addresses  (b)                      fd42::2/64 (nodad)
"""

from yogurtbench.lab.endpoint import Endpoint, Interface
from yogurtbench.lab.network import Lab
from yogurtbench.lab.pair import Unsupported
from yogurtbench.lab.topology import bring_up

__all__ = ["Endpoint", "Interface", "Lab", "Unsupported", "bring_up"]
