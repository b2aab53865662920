/* SPDX-License-Identifier: GPL-2.0-only */
/* next: leaves the verdict to the next program on the hook. Where there is none the packet passes, under policy blackhole
 * too: netkit asks its policy only where no program is attached (netkit_xmit treats NETKIT_NEXT as NETKIT_PASS). */
static __always_inline int verdict_next(struct __sk_buff *skb, u32 row)
{
	yb_count(row, skb->len);
	return YB_NEXT;
}
YB_WAYS(primary_next, verdict_next, YB_PRIMARY_ROW)
