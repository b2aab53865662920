/* SPDX-License-Identifier: GPL-2.0-only */
/* redirect_neigh: transmit on the other host end, the link-layer address filled in from the neighbour table.
 * Without parameters the kernel looks the next hop up in the FIB. bcc declares the helper with a wrong arity,
 * so helper 152 (enum bpf_func_id) is declared here. */
static long (*yb_redirect_neigh)(u32 ifindex, void *params, int plen, u64 flags) = (void *)152;

static __always_inline int send_redirect_neigh(struct __sk_buff *skb, u32 row)
{
	return yb_redirect_neigh(yb_target(row), 0, 0, 0);
}
YB_WIRE(redirect_neigh, send_redirect_neigh)
