/* SPDX-License-Identifier: GPL-2.0-only */
/* A custom wire: sees every packet that leaves a container, and sends it to the other one.
 *
 *     int wire(struct __sk_buff *skb)       required: carries a packet, or drops it, or lets it pass
 *     int primary(struct __sk_buff *skb)    optional: netkit's primary hook of both host ends
 *     int peer(struct __sk_buff *skb)       optional: netkit's peer hook, where the wire hangs elsewhere
 *
 * (struct xdp_md * on the XDP hooks). The file is compiled once per way; beside the kernel's helpers it may use
 *
 *     YB_WAY             YB_FORWARD or YB_RETURN, a constant
 *     YB_TARGET          ifindex of the other host end: for bpf_redirect and bpf_redirect_peer
 *     YB_PEER_TARGET     ifindex of the other container end, as its own namespace numbers it
 *     YB_COUNT(n, skb)   count a packet and its bytes in slot n (0 to 7); the report shows the slots
 *     YB_PASS, YB_DROP, YB_NEXT   verdicts
 */
#include "yogurt.h"

#define SLOT_IPV4 0
#define SLOT_OTHER 1

int wire(struct __sk_buff *skb)
{
	/* Your own work goes here. */
	if (skb->protocol == __constant_htons(ETH_P_IP))
		YB_COUNT(SLOT_IPV4, skb);
	else
		YB_COUNT(SLOT_OTHER, skb);

	return bpf_redirect(YB_TARGET, 0);
}
