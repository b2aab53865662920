/* SPDX-License-Identifier: GPL-2.0-only */
/* A wire of one's own: carries packets as the built-in redirect does, but no TCP to port 25.
 *
 * What the header offers is described at the end of bpf/yogurt.h. Every packet that reaches wire() is counted for it;
 * YB_COUNT adds slots of one's own, which the trial's details show.
 */
#include "yogurt.h"

#define SLOT_CARRIED 0
#define SLOT_REFUSED 1

#define PROTOCOL_TCP 6
#define SMTP 25

static __always_inline int is_smtp(struct __sk_buff *skb)
{
	u8 header = 0, protocol = 0;
	u16 port = 0;
	/* On l3 devices a packet begins with its IP header, on l2 devices behind 14 bytes of Ethernet.
	 * BPF_HDR_START_NET makes that no concern of ours. */
	if (skb->protocol != __constant_htons(ETH_P_IP))
		return 0;
	if (bpf_skb_load_bytes_relative(skb, 0, &header, 1, BPF_HDR_START_NET) ||
	    bpf_skb_load_bytes_relative(skb, 9, &protocol, 1, BPF_HDR_START_NET))
		return 0;
	if (protocol != PROTOCOL_TCP)
		return 0;
	if (bpf_skb_load_bytes_relative(skb, (header & 0x0f) * 4 + 2, &port, 2, BPF_HDR_START_NET))
		return 0;
	return port == __constant_htons(SMTP);
}

int wire(struct __sk_buff *skb)
{
	if (is_smtp(skb)) {
		YB_COUNT(SLOT_REFUSED, skb);
		return YB_DROP;
	}
	YB_COUNT(SLOT_CARRIED, skb);
	return bpf_redirect(YB_TARGET, 0);
}
