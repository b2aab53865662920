/* SPDX-License-Identifier: GPL-2.0-only */
/* The XDP wires: redirect by ifindex, and redirect_map through a devmap (the fast way on drivers that batch).
 * bcc's DEVMAP methods need constant keys known to it; the map helper is called with the row of the way. */
BPF_DEVMAP(devices, YB_ROWS);

static __always_inline int send_xdp_redirect(struct xdp_md *ctx, u32 row)
{
	yb_count(row, ctx->data_end - ctx->data);
	return bpf_redirect(yb_target(row), 0);
}

static __always_inline int send_xdp_redirect_map(struct xdp_md *ctx, u32 row)
{
	yb_count(row, ctx->data_end - ctx->data);
	return devices.redirect_map(row, 0);
}

#define YB_XDP_WAYS(NAME, SEND)                              \
	int NAME##_forward(struct xdp_md *ctx)               \
	{                                                    \
		return SEND(ctx, YB_WIRE_ROW + YB_FORWARD);  \
	}                                                    \
	int NAME##_return(struct xdp_md *ctx)                \
	{                                                    \
		return SEND(ctx, YB_WIRE_ROW + YB_RETURN);   \
	}
YB_XDP_WAYS(xdp_redirect, send_xdp_redirect)
YB_XDP_WAYS(xdp_redirect_map, send_xdp_redirect_map)
