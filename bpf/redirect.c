/* SPDX-License-Identifier: GPL-2.0-only */
/* redirect: bpf_redirect(ifindex, 0) transmits on the other host end (skb_do_redirect -> __bpf_redirect).
 * `redirect_container` is this same program with the container end's ifindex as its target: it shows that the index
 * is looked up in the namespace the program runs in. */
static __always_inline int send_redirect(struct __sk_buff *skb, u32 row)
{
	return bpf_redirect(yb_target(row), 0);
}
YB_WIRE(redirect, send_redirect)
