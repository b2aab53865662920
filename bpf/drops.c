/* SPDX-License-Identifier: GPL-2.0-only */
/* Counts what the kernel drops of a lab's own packets, by the place that dropped them and the reason it gave.
 *
 *     skb:kfree_skb           a packet is dropped (one that was used up is consume_skb's, and not counted)
 *
 * Only packets in the lab's own network namespaces are counted (netns.h, which comes before).
 * Attached during the load of diagnostic trials only: no other trial pays for it.
 */
struct yb_drop {
	u64 location;	/* the address that called kfree_skb */
	u64 reason;	/* enum skb_drop_reason */
};

BPF_HASH(yb_drops, struct yb_drop, u64, 1024);

int on_any_drop(struct bpf_raw_tracepoint_args *ctx)
{
	struct yb_drop drop = {.location = ctx->args[1], .reason = (u32)ctx->args[2]};
	void *skb = (void *)ctx->args[0];
	u64 cookie = yb_cookie(skb, yb_device(skb)), zero = 0, *count;

#ifdef YB_DROP_SOCKET
	/* A packet that has reached a UDP socket keeps notes where its device was (udp_set_dev_scratch). */
	if (!cookie && ctx->args[3])
		cookie = yb_cookie_at((void *)ctx->args[3] + YB_SOCK_COMMON_SKC_NET);
#endif
	if (!yb_in_lab(cookie))
		return 0;
	count = yb_drops.lookup_or_try_init(&drop, &zero);
	if (count)
		__sync_fetch_and_add(count, 1);
	return 0;
}
