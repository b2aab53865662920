/* SPDX-License-Identifier: GPL-2.0-only */
/* redirect_in: the primary program itself delivers into the container. It sees the *container's* ifindexes,
 * so the target is the container end, and BPF_F_INGRESS makes the packet arrive there. */
static __always_inline int send_redirect_in(struct __sk_buff *skb, u32 row)
{
	yb_count(row, skb->len);
	return bpf_redirect(yb_target(row), BPF_F_INGRESS);
}
YB_WAYS(primary_redirect_in, send_redirect_in, YB_PRIMARY_ROW)
