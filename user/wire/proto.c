#include "wire/proto.h"

#include <errno.h>

static const struct proto_ops *const protocols[] = {&http2_ops, &http1_ops};

void wire_limits_default(struct wire_limits *l)
{
	*l = (struct wire_limits){
		.header_bytes = 65536,
		.header_count = 4096,
		.request_body = 100000,
		.response_body = 100000,
		.pipeline = 64,
		.streams = 512,
		.hpack_table = 65536,
		.conn_bytes = 4u << 20,
		.total_bytes = 48ull << 20,
		.conns = 65536,
		.stream_idle_ns = 30ull * 1000000000,
		.conn_idle_ns = 3600ull * 1000000000,
	};
}

const struct proto_ops *proto_guess(struct span data, bool is_request, bool from_start, bool *ret_undecided)
{
	bool undecided = false;

	for (size_t i = 0; i < sizeof(protocols) / sizeof(protocols[0]); i++) {
		int r = protocols[i]->guess(data, is_request, from_start);

		if (r > 0)
			return protocols[i];
		undecided = undecided || r == -EAGAIN;
	}
	*ret_undecided = undecided;
	return NULL;
}
