/* SPDX-License-Identifier: GPL-2.0-only */
/* redirect_peer: arrive at the *peer* of the other host end, in the container, without a backlog queue on the way.
 * The kernel allows it at tc ingress only (skb_do_redirect checks skb_at_tc_ingress). */
static __always_inline int send_redirect_peer(struct __sk_buff *skb, u32 row)
{
	return bpf_redirect_peer(yb_target(row), 0);
}
YB_WIRE(redirect_peer, send_redirect_peer)
