"""The parts a lab is made of: the ends of its pairs, and the pots that talk."""

from __future__ import annotations

import socket
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from yogurtbench.core.patience import Patience
from yogurtbench.lab.namespace import Namespace

#: RFC 8200, section 5: no IPv6 below this MTU.
IPV6_MTU = 1280
_IPV6_SETTINGS = Path("/proc/sys/net/ipv6")

#: The worker comes at once, or within a second where it finds nothing urgent
#: (linkwatch_schedule_work).
_UP_SECONDS = 1.5


@dataclass(frozen=True, slots=True)
class Interface:
    """One end of a pair: where it lives and under which name and index."""

    namespace: Namespace
    name: str
    ifindex: int

    def mac(self) -> str:
        """Return the link-layer address, empty on an l3 device."""
        return str(self._attribute("IFLA_ADDRESS") or "")

    def await_up(self) -> None:
        """Return when the kernel's worker has seen that the end is up (linkwatch_do_dev); bounded.

        The worker has IPv6 report all groups of the end again (addrconf_notify, NETDEV_CHANGE). It
        may come late on a busy machine: an end that had addresses by then would report in the
        middle of a load.
        """
        patience = Patience(_UP_SECONDS)
        while self._attribute("IFLA_OPERSTATE") != "UP" and patience.pause(0.001):
            pass

    def exists(self) -> bool:
        """Return whether the device is still there, under its index."""
        with self.namespace.entered(), suppress(OSError):
            return socket.if_indextoname(self.ifindex) == self.name
        return False

    def lacks_ipv6(self) -> str:
        """Return why the end cannot have an IPv6 address, as the kernel sees it.

        Empty where it can.
        """
        with self.namespace.entered():
            if not _IPV6_SETTINGS.exists():
                return (
                    "this kernel has no IPv6 (it was built without it, or booted with "
                    "ipv6.disable=1)"
                )
            switch = _IPV6_SETTINGS / "conf" / self.name / "disable_ipv6"
            if switch.exists():
                off = switch.read_text().strip() != "0"
                return (
                    "IPv6 is switched off here (sysctl net.ipv6.conf.default.disable_ipv6)"
                    if off
                    else ""
                )
        return (
            f"IPv6 needs an mtu of at least {IPV6_MTU}, and {self.name} has "
            f"{self._attribute('IFLA_MTU')}"
        )

    def _attribute(self, attribute: str) -> object:
        (link,) = self.namespace.ip.get_links(self.ifindex)
        return link.get_attr(attribute)


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A place that talks: a namespace, its device and its addresses."""

    namespace: Namespace
    end: Interface
    ipv4: str
    ipv6: str

    def address(self, ip: int | None) -> str:
        """Return the address for IP version 4 or 6."""
        return self.ipv6 if ip == 6 else self.ipv4
