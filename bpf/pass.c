/* SPDX-License-Identifier: GPL-2.0-only */
/* pass: lets everything through (NETKIT_PASS). On netkit the policy only speaks where no program is attached,
 * so with policy blackhole this is what opens the way. */
static __always_inline int verdict_pass(struct __sk_buff *skb, u32 row)
{
	yb_count(row, skb->len);
	return YB_PASS;
}
YB_WAYS(primary_pass, verdict_pass, YB_PRIMARY_ROW)
YB_WAYS(peer_pass, verdict_pass, YB_PEER_ROW)
