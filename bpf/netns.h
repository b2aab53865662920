/* SPDX-License-Identifier: GPL-2.0-only */
/* Whose packet is it? Tracepoints see the whole machine; what we count is in the lab's own network namespaces.
 *
 * Where the fields of struct sk_buff and its like lie (YB_*) is read from the running kernel's BTF
 * and given to the compiler, so that no kernel's own headers are needed.
 */
#ifndef YB_NETNS_H
#define YB_NETNS_H

#include <uapi/linux/bpf.h>

BPF_HASH(yb_netns, u64, u8, 8);

static __always_inline void *yb_device(void *skb)
{
	void *device = 0;

	bpf_probe_read_kernel(&device, sizeof(device), skb + YB_SK_BUFF_DEV);
	return device;
}

/* The cookie of a struct net whose address lies at a place; 0 where it cannot be read. */
static __always_inline u64 yb_cookie_at(void *place)
{
	void *net = 0;
	u64 cookie = 0;

	bpf_probe_read_kernel(&net, sizeof(net), place);
	if (net)
		bpf_probe_read_kernel(&cookie, sizeof(cookie), net + YB_NET_NET_COOKIE);
	return cookie;
}

/* The cookie of the namespace a packet is in: its device's, or its socket's where it has no device yet. */
static __always_inline u64 yb_cookie(void *skb, void *device)
{
	void *sock = 0;

	if (device)
		return yb_cookie_at(device + YB_NET_DEVICE_ND_NET);
	bpf_probe_read_kernel(&sock, sizeof(sock), skb + YB_SK_BUFF_SK);
	return sock ? yb_cookie_at(sock + YB_SOCK_COMMON_SKC_NET) : 0;
}

static __always_inline int yb_in_lab(u64 cookie)
{
	return yb_netns.lookup(&cookie) != 0;
}

#endif /* YB_NETNS_H */
