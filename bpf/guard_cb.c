/* SPDX-License-Identifier: GPL-2.0-only */
/* guard_cb: the primary hook admits only what the wire stamped in skb->cb, and clears the stamp.
 * What anyone else on the host sends into the device carries no stamp and is dropped. */
static __always_inline int admit_cb(struct __sk_buff *skb, u32 row)
{
	if (skb->cb[0] != YB_STAMP)
		return YB_DROP;
	skb->cb[0] = 0;
	yb_count(row, skb->len);
	return YB_PASS;
}
YB_WAYS(primary_guard_cb, admit_cb, YB_PRIMARY_ROW)
