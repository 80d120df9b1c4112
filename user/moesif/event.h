/* event: the Moesif event of a transaction, rendered, and the few facts that outputs show of it. */
#ifndef KT_MOESIF_EVENT_H
#define KT_MOESIF_EVENT_H

#include "base/span.h"

struct event {
	struct span json; /* one JSON object, no newline in it; masked already; borrowed during the call */
	/* For the terminal, HAR and metrics; masked already, borrowed likewise. */
	uint64_t wall_ns;  /* request time */
	uint64_t total_ns; /* client leg, first byte of request to last of response */
	int64_t kong_ms;   /* Kong's own figures from its headers; -1 when absent */
	int64_t upstream_ms;
	uint64_t request_bytes, response_bytes;
	struct span verb, uri, path; /* path: without query */
	struct span user, company;   /* n 0 when none */
	int status;
	uint32_t weight;
	bool truncated, incomplete;
};

struct event_sink {
	void (*fn)(void *ctx, const struct event *e);
	void *ctx;
};

#endif
