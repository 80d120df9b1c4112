/* recent: the last calls, as events show them (masked). */
#ifndef KT_OPS_RECENT_H
#define KT_OPS_RECENT_H

#include "moesif/event.h"

#define RECENT_MAX 100

struct recent_call {
	uint64_t wall_ns, total_ns, response_bytes;
	int64_t kong_ms, upstream_ms;
	int status;
	bool truncated, incomplete;
	uint8_t verb_len, path_len, user_len;
	char verb[16], path[160], user[64]; /* cut to fit; bytes from the wire */
};

struct recent {
	uint32_t want; /* how many are kept, at most RECENT_MAX; 0: none */
	uint32_t n, at;
	struct recent_call calls[RECENT_MAX];
};

void recent__event(struct recent *r, const struct event *e);
/* The i-th, newest first; i < n. */
const struct recent_call *recent__call(const struct recent *r, uint32_t i);

#endif
