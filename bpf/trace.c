/* SPDX-License-Identifier: GPL-2.0-only */
/* The tracer: records what the kernel does to a lab's own packets, at its tracepoints, in order.
 *
 *     net:net_dev_queue       a packet is handed to a device for transmission
 *     net:netif_rx            a packet is queued on a CPU's backlog
 *     net:netif_receive_skb   a packet enters the protocol layers, with the device it arrived on
 *     skb:kfree_skb           a packet is dropped: where, and why
 *     net:net_dev_xmit        a device's driver has taken or refused a packet; only where somebody looks closely
 *
 * Only packets in the lab's own network namespaces are recorded (netns.h, which comes before).
 * Compiled in front of the wires, with YB_TRACE, for reachability trials only: there the wires' programs record their
 * hits too. No other trial pays for any of it.
 */
#define YB_EVENTS 1024
#define YB_QUEUE 1
#define YB_RX 2
#define YB_RECEIVE 3
#define YB_DROPPED 4
#define YB_HIT 5
#define YB_XMIT 6

/* The lab's networks: 10.42 and fd42, and outside of an uplink 10.43 and fd43. */
#define YB_OURS(BYTE, FIRST) (((BYTE) & ~1) == (FIRST))

struct yb_event {
	u64 time;	/* ns, monotonic */
	u64 location;	/* drops: the address that called kfree_skb */
	u64 skb;
	u32 reason;	/* drops: enum skb_drop_reason; after transmission: what the driver returned */
	u32 ifindex;
	u16 kind;
	u16 protocol;	/* EtherType, host byte order */
	u16 type;	/* ICMP type, ICMPv6 type, ARP operation, else the IP protocol + 256; hits: the program's row */
	u16 sequence;	/* ICMP echo sequence */
};

BPF_ARRAY(yb_events, struct yb_event, YB_EVENTS);
BPF_ARRAY(yb_next, u64, 1);

static __always_inline void yb_record(struct yb_event *event)
{
	u32 zero = 0, at;
	u64 *next = yb_next.lookup(&zero);

	if (!next)
		return;
	event->time = bpf_ktime_get_ns();
	at = __sync_fetch_and_add(next, 1);
	if (at < YB_EVENTS) /* a loop in the kernel fills it and is then left alone */
		yb_events.update(&at, event);
}

/* A wire's program ran; called from yb_count. */
static __always_inline void yb_hit(u32 row)
{
	struct yb_event event = {.kind = YB_HIT, .type = row};

	yb_record(&event);
}

static __always_inline int yb_describe(void *skb, struct yb_event *event)
{
	unsigned char *head;
	u16 network;
	u16 protocol;
	u8 bytes[48] = {};

	bpf_probe_read_kernel(&head, sizeof(head), skb + YB_SK_BUFF_HEAD);
	bpf_probe_read_kernel(&network, sizeof(network), skb + YB_SK_BUFF_NETWORK_HEADER);
	bpf_probe_read_kernel(&protocol, sizeof(protocol), skb + YB_SK_BUFF_PROTOCOL);
	event->protocol = (protocol >> 8) | (protocol << 8);
	if (bpf_probe_read_kernel(bytes, sizeof(bytes), head + network))
		return 0;
	if (event->protocol == 0x0806) { /* ARP for Ethernet and IPv4: target address at 24 */
		event->type = bytes[7];
		return bytes[24] == 10 && YB_OURS(bytes[25], 42);
	}
	if (event->protocol == 0x0800) {
		u8 *icmp = bytes + 20;

		if (bytes[16] != 10 || !YB_OURS(bytes[17], 42))
			return 0;
		event->type = bytes[9] == 1 ? icmp[0] : bytes[9] + 256;
		event->sequence = icmp[6] << 8 | icmp[7];
		return 1;
	}
	if (event->protocol == 0x86dd) {
		u8 *icmp = bytes + 40;

		if (bytes[6] == 58 && icmp[0] >= 133 && icmp[0] <= 137) { /* neighbour discovery, also to ff02:: */
			event->type = icmp[0];
			return bytes[8] == 0xfd && YB_OURS(bytes[9], 0x42);
		}
		if (bytes[24] != 0xfd || !YB_OURS(bytes[25], 0x42))
			return 0;
		event->type = bytes[6] == 58 ? icmp[0] : bytes[6] + 256;
		event->sequence = icmp[6] << 8 | icmp[7];
		return 1;
	}
	return 0;
}

static __always_inline int yb_witness(u16 kind, void *skb, u64 location, u32 reason)
{
	struct yb_event event = {.kind = kind, .location = location, .reason = reason, .skb = (u64)skb};
	void *device = yb_device(skb);

	if (!yb_in_lab(yb_cookie(skb, device)) || !yb_describe(skb, &event))
		return 0;
	if (device)
		bpf_probe_read_kernel(&event.ifindex, sizeof(event.ifindex), device + YB_NET_DEVICE_IFINDEX);
	yb_record(&event);
	return 0;
}

int on_queue(struct bpf_raw_tracepoint_args *ctx)
{
	return yb_witness(YB_QUEUE, (void *)ctx->args[0], 0, 0);
}

int on_rx(struct bpf_raw_tracepoint_args *ctx)
{
	return yb_witness(YB_RX, (void *)ctx->args[0], 0, 0);
}

int on_receive(struct bpf_raw_tracepoint_args *ctx)
{
	return yb_witness(YB_RECEIVE, (void *)ctx->args[0], 0, 0);
}

int on_drop(struct bpf_raw_tracepoint_args *ctx)
{
	return yb_witness(YB_DROPPED, (void *)ctx->args[0], ctx->args[1], ctx->args[2]);
}

/* The packet may be gone by now: its address tells which it was, and nothing of it is read. */
int on_xmit(struct bpf_raw_tracepoint_args *ctx)
{
	struct yb_event event = {.kind = YB_XMIT, .skb = ctx->args[0], .reason = (u32)ctx->args[1]};
	void *device = (void *)ctx->args[2];

	if (!yb_in_lab(yb_cookie_at(device + YB_NET_DEVICE_ND_NET)))
		return 0;
	bpf_probe_read_kernel(&event.ifindex, sizeof(event.ifindex), device + YB_NET_DEVICE_IFINDEX);
	yb_record(&event);
	return 0;
}
