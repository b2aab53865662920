/* SPDX-License-Identifier: GPL-2.0-only */
/* guard_mark: as guard_cb, with skb->mark. Netkit's default scrub clears the mark between the pots:
 * it can only work with scrub none. */
static __always_inline int admit_mark(struct __sk_buff *skb, u32 row)
{
	if (skb->mark != YB_STAMP)
		return YB_DROP;
	skb->mark = 0;
	yb_count(row, skb->len);
	return YB_PASS;
}
YB_WAYS(primary_guard_mark, admit_mark, YB_PRIMARY_ROW)
