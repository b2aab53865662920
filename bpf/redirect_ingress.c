/* SPDX-License-Identifier: GPL-2.0-only */
/* redirect_ingress: BPF_F_INGRESS makes the packet *arrive* on the other host end instead of leaving through it. */
static __always_inline int send_redirect_ingress(struct __sk_buff *skb, u32 row)
{
	return bpf_redirect(yb_target(row), BPF_F_INGRESS);
}
YB_WIRE(redirect_ingress, send_redirect_ingress)
