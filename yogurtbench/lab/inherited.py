"""Settings that a new network namespace takes over from the machine.

Of the settings below a namespace begins with the machine's own (devconf_inherit_init_net,
tcp_sk_init, neigh_parms): a lab on a machine that forwards, filters by source or uses another
congestion control would measure that. ``differing`` compares a fresh room with what kernels begin
with; each namespace of a lab is then given those back. What belongs to the whole machine cannot be
set from here: ``of_the_machine`` returns it, and it stands in the run's identity.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

_NET = Path("/proc/sys/net")

#: ipv4_devconf and ipv4_devconf_dflt in net/ipv4/devinet.c.
_IPV4_ON = (
    "accept_redirects",
    "send_redirects",
    "secure_redirects",
    "shared_media",
    "arp_evict_nocarrier",
)
_IPV4_OFF = (
    *(
        "accept_local",
        "arp_accept",
        "arp_announce",
        "arp_filter",
        "arp_ignore",
        "arp_notify",
        "bc_forwarding",
    ),
    *(
        "bootp_relay",
        "disable_policy",
        "disable_xfrm",
        "drop_gratuitous_arp",
        "drop_unicast_in_l2_multicast",
    ),
    *(
        "force_igmp_version",
        "ignore_routes_with_linkdown",
        "log_martians",
        "medium_id",
        "promote_secondaries",
    ),
    *("proxy_arp", "proxy_arp_pvlan", "route_localnet", "rp_filter", "src_valid_mark", "tag"),
)
_IPV4: dict[str, str] = {
    **dict.fromkeys(_IPV4_ON, "1"),
    **dict.fromkeys(_IPV4_OFF, "0"),
    "igmpv2_unsolicited_report_interval": "10000",
    "igmpv3_unsolicited_report_interval": "1000",
}
#: ipv6_devconf and ipv6_devconf_dflt in net/ipv6/addrconf.c: taken over only where
#: devconf_inherit_init_net says so.
_IPV6_OFF = (
    *(
        "accept_source_route",
        "disable_ipv6",
        "disable_policy",
        "drop_unicast_in_l2_multicast",
        "drop_unsolicited_na",
    ),
    *(
        "force_mld_version",
        "force_tllao",
        "ignore_routes_with_linkdown",
        "keep_addr_on_down",
        "ndisc_notify",
    ),
    *("proxy_ndp", "seg6_enabled", "use_oif_addrs_only", "use_tempaddr"),
)
_IPV6_ON = (
    "accept_redirects",
    "autoconf",
    "dad_transmits",
    "ndisc_evict_nocarrier",
    "suppress_frag_ndisc",
)
_IPV6: dict[str, str] = {
    **dict.fromkeys(_IPV6_OFF, "0"),
    **dict.fromkeys(_IPV6_ON, "1"),
    "hop_limit": "64",
    "max_addresses": "16",
}


def _of_all_devices(ip: str, settings: Mapping[str, str]) -> dict[str, str]:
    """Return settings of an IP version's devices: those there are, and those made later."""
    found: dict[str, str] = {}
    for scope in ("all", "default"):
        found |= {f"{ip}/conf/{scope}/{key}": value for key, value in settings.items()}
    return found


#: Of a namespace. Forwarding comes first: writing it resets what follows from it
#: (inet_forward_change).
OF_A_NAMESPACE: dict[str, str] = {
    "ipv4/ip_forward": "0",
    "ipv6/conf/all/forwarding": "0",
    **_of_all_devices("ipv4", _IPV4),
    "ipv4/conf/all/accept_source_route": "0",
    "ipv4/conf/default/accept_source_route": "1",
    **_of_all_devices("ipv6", _IPV6),
    # Refused where cubic was never the default of the machine (tcp_set_default_congestion_control).
    "ipv4/tcp_congestion_control": "cubic",
}
#: Of a device's neighbours, of either IP version (arp_tbl and nd_tbl).
OF_NEIGHBOURS: dict[str, str] = {
    "app_solicit": "0",
    "gc_stale_time": "60",
    "mcast_resolicit": "0",
    "mcast_solicit": "3",
    "ucast_solicit": "3",
    "unres_qlen_bytes": "212992",
}

#: The whole machine's, and what kernels begin with; None where that depends on the kernel or its
#: memory.
_OF_THE_MACHINE: dict[str, str | None] = {
    "core/bpf_jit_enable": "1",
    "core/bpf_jit_harden": "0",
    "core/busy_poll": "0",
    "core/busy_read": "0",
    "core/default_qdisc": None,
    "core/dev_weight": "64",
    "core/dev_weight_rx_bias": "1",
    "core/dev_weight_tx_bias": "1",
    "core/flow_limit_cpu_bitmap": None,
    "core/gro_normal_batch": "8",
    "core/high_order_alloc_disable": "0",
    "core/max_skb_frags": "17",
    "core/netdev_budget": "300",
    "core/netdev_budget_usecs": None,
    "core/netdev_max_backlog": "1000",
    "core/netdev_tstamp_prequeue": "1",
    "core/optmem_max": None,
    "core/rmem_default": "212992",
    "core/rmem_max": None,
    "core/rps_sock_flow_entries": "0",
    "core/skb_defer_max": None,
    "core/wmem_default": "212992",
    "core/wmem_max": None,
    "ipv6/mld_qrv": "2",
}
#: A namespace's, but by the kernel's release and the machine's memory (tcp_init): left as the
#: machine has them.
_OF_MEMORY = ("ipv4/tcp_rmem", "ipv4/tcp_wmem")
#: Offloads and devices may fill a bitmap of CPUs with zeros and commas.
_NOTHING = frozenset("0,")


def changed_settings(usual: Mapping[str, str]) -> dict[str, str]:
    """Return those of the settings that this namespace has otherwise, and what they are to be."""
    return {
        key: value
        for key, value in usual.items()
        if (has := _read(_NET, key)) is not None and has != value
    }


def of_the_room() -> dict[str, str]:
    """Return what a namespace keeps of the machine by its sysctl's name: buffers, and what could
    not be given back.
    """
    kept = {key: _read(_NET, key) for key in (*_OF_MEMORY, *changed_settings(OF_A_NAMESPACE))}
    return {_name(key): value for key, value in kept.items() if value is not None}


def of_the_machine() -> dict[str, str]:
    """Return what the lab has from the whole machine and is not as kernels begin, by its sysctl's
    name.

    Called outside of the room, in which most of it is hidden.
    """
    found = {key: _read(_NET, key) for key in _OF_THE_MACHINE}
    return {
        _name(key): value
        for key, value in found.items()
        if value is not None and _is_printed(key, value)
    }


def _is_printed(key: str, value: str) -> bool:
    usual = _OF_THE_MACHINE[key]
    return value != usual if usual is not None else not set(value) <= _NOTHING


def _name(key: str) -> str:
    return f"net.{key.replace('/', '.')}"


def _read(root: Path, key: str) -> str | None:
    """Return a setting with single spaces; None where this kernel has none, or does not tell."""
    with suppress(OSError):
        return " ".join((root / key).read_text(errors="replace").split())
    return None
