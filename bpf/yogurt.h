/* SPDX-License-Identifier: GPL-2.0-only */
/* What every wire shares: where to send (targets), what was seen (traffic), and how a program gets its two ways.
 *
 * A wire has two ways, each a program of its own so that none has to ask at run time which way it serves:
 *     YB_FORWARD  attached on end a, carries yogurt-1 -> yogurt-2
 *     YB_RETURN   attached on end b, carries yogurt-2 -> yogurt-1
 * All programs of a sweep are compiled as one text by bcc; the targets are maps, so one compile serves every lab.
 */
#ifndef YOGURT_H
#define YOGURT_H

#include <uapi/linux/bpf.h>
#include <uapi/linux/if_ether.h>
#include <uapi/linux/in6.h>

#define YB_FORWARD 0
#define YB_RETURN 1

/* Rows of `targets` and `traffic`: role * 2 + way. */
#define YB_WIRE_ROW 0
#define YB_PRIMARY_ROW 2
#define YB_PEER_ROW 4
#define YB_ROWS 6

/* The verdicts: TC_ACT_* and the NETKIT_* of uapi/linux/if_link.h share their numbers. */
#define YB_PASS 0
#define YB_DROP 2
#define YB_NEXT -1

struct yb_target {
	u32 ifindex;	 /* where the row's program sends to */
	u32 container;	 /* the ifindex of the far container end, in its own namespace */
	u32 nexthop4;	 /* network byte order; redirect_neigh_nexthop only */
	u32 nexthop6[4];
};

struct yb_traffic {
	u64 packets;
	u64 bytes;
};

BPF_ARRAY(targets, struct yb_target, YB_ROWS);
BPF_PERCPU_ARRAY(traffic, struct yb_traffic, YB_ROWS);

static __always_inline u32 yb_target(u32 row)
{
	struct yb_target *target = targets.lookup(&row);

	return target ? target->ifindex : 0;
}

static __always_inline void yb_count(u32 row, u64 bytes)
{
#ifndef YB_BLIND /* what counting costs is seen where nothing is counted */
	struct yb_traffic *seen = traffic.lookup(&row);

#ifdef YB_TRACE
	yb_hit(row);
#endif
	if (seen) {
		seen->packets++;
		seen->bytes += bytes;
	}
#endif
}

/* The stamps of the guards. skb->cb survives one hop; skb->mark only where netkit's scrub is "none". */
#define YB_STAMP 0x59594f47

/* A tc program per way: NAME_forward and NAME_return, both calling BODY(skb, row). */
#define YB_WAYS(NAME, BODY, ROLE_ROW)                                     \
	int NAME##_forward(struct __sk_buff *skb)                         \
	{                                                                 \
		return BODY(skb, ROLE_ROW + YB_FORWARD);                  \
	}                                                                 \
	int NAME##_return(struct __sk_buff *skb)                          \
	{                                                                 \
		return BODY(skb, ROLE_ROW + YB_RETURN);                   \
	}

/* A wire counts, stamps where a guard asks for it, and sends. */
#define YB_WIRE(NAME, SEND)                                               \
	static __always_inline int NAME##_plain(struct __sk_buff *skb, u32 row) \
	{                                                                 \
		yb_count(row, skb->len);                                  \
		return SEND(skb, row);                                    \
	}                                                                 \
	static __always_inline int NAME##_stamp_cb(struct __sk_buff *skb, u32 row) \
	{                                                                 \
		skb->cb[0] = YB_STAMP;                                    \
		yb_count(row, skb->len);                                  \
		return SEND(skb, row);                                    \
	}                                                                 \
	static __always_inline int NAME##_stamp_mark(struct __sk_buff *skb, u32 row) \
	{                                                                 \
		skb->mark = YB_STAMP;                                     \
		yb_count(row, skb->len);                                  \
		return SEND(skb, row);                                    \
	}                                                                 \
	YB_WAYS(NAME, NAME##_plain, YB_WIRE_ROW)                          \
	YB_WAYS(NAME##_guard_cb, NAME##_stamp_cb, YB_WIRE_ROW)            \
	YB_WAYS(NAME##_guard_mark, NAME##_stamp_mark, YB_WIRE_ROW)

/* For a custom wire (`program: ./my_wire.c`): define
 *
 *     int wire(struct __sk_buff *skb)       required: carries a packet, or drops it, or lets it pass
 *     int primary(struct __sk_buff *skb)    optional: netkit's primary hook of both host ends
 *     int peer(struct __sk_buff *skb)       optional: netkit's peer hook, where the wire is attached elsewhere
 *
 * (struct xdp_md * on the XDP hooks). The file is compiled once per way; every packet that reaches a function is counted
 * for it. What it may use beside the kernel's helpers:
 *
 *     YB_WAY             YB_FORWARD or YB_RETURN, a constant
 *     YB_TARGET          ifindex of the other host end: for bpf_redirect and bpf_redirect_peer
 *     YB_PEER_TARGET     ifindex of the other container end, as its own namespace numbers it
 *     YB_COUNT(n, skb)   count a packet and its bytes in slot n (0 to 7); the report shows the slots
 *     YB_PASS, YB_DROP, YB_NEXT   verdicts
 */
#ifdef YB_WAY
#define YB_TALLIES 8
BPF_PERCPU_ARRAY(yb_tallies, struct yb_traffic, YB_TALLIES);

static __always_inline u32 yb_container(u32 row)
{
	struct yb_target *target = targets.lookup(&row);

	return target ? target->container : 0;
}

static __always_inline void yb_tally(u32 slot, u64 bytes)
{
	struct yb_traffic *seen = yb_tallies.lookup(&slot);

	if (seen) {
		seen->packets++;
		seen->bytes += bytes;
	}
}

#define YB_TARGET yb_target(YB_WIRE_ROW + YB_WAY)
#define YB_PEER_TARGET yb_container(YB_WIRE_ROW + YB_WAY)
#define YB_COUNT(SLOT, SKB) yb_tally(SLOT, (SKB)->len)
#endif

#endif /* YOGURT_H */
