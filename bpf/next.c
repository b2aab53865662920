/* SPDX-License-Identifier: GPL-2.0-only */
/* next: leaves the verdict to the next program on the hook, or, where there is none, to the device's policy. */
static __always_inline int verdict_next(struct __sk_buff *skb, u32 row)
{
	yb_count(row, skb->len);
	return YB_NEXT;
}
YB_WAYS(primary_next, verdict_next, YB_PRIMARY_ROW)
