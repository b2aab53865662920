"""The parts a lab is made of: the ends of its pairs, and the pots that talk."""

from __future__ import annotations

from dataclasses import dataclass

from yogurtbench.lab.namespace import Namespace


@dataclass(frozen=True, slots=True)
class End:
    """One end of a pair: where it lives and under which name and index."""

    namespace: Namespace
    name: str
    ifindex: int

    def mac(self) -> str:
        """The link-layer address, empty on an l3 device."""
        (link,) = self.namespace.ip.get_links(self.ifindex)
        return str(link.get_attr("IFLA_ADDRESS") or "")


@dataclass(frozen=True, slots=True)
class Pot:
    """A place that talks: a namespace, its device and its addresses."""

    namespace: Namespace
    end: End
    ipv4: str
    ipv6: str

    def address(self, ip: int | None) -> str:
        """The address for IP version 4 or 6."""
        return self.ipv6 if ip == 6 else self.ipv4
