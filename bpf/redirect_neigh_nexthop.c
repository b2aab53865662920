/* SPDX-License-Identifier: GPL-2.0-only */
/* redirect_neigh_nexthop: as redirect_neigh, but the program names the next hop, so no FIB look-up is made. */
static __always_inline int send_redirect_neigh_nexthop(struct __sk_buff *skb, u32 row)
{
	struct yb_target *target = targets.lookup(&row);
	struct bpf_redir_neigh hop = {};

	if (!target)
		return YB_DROP;
	if (skb->protocol == __constant_htons(ETH_P_IPV6)) {
		hop.nh_family = 10; /* AF_INET6 */
		__builtin_memcpy(hop.ipv6_nh, target->nexthop6, sizeof(hop.ipv6_nh));
	} else {
		hop.nh_family = 2; /* AF_INET */
		hop.ipv4_nh = target->nexthop4;
	}
	return yb_redirect_neigh(target->ifindex, &hop, sizeof(hop), 0);
}
YB_WIRE(redirect_neigh_nexthop, send_redirect_neigh_nexthop)
