/* gauges: levels that the agent's other parts tell when they are asked. Asked by the agent's own thread, about once a
 * second; everybody else reads a copy.
 */
#ifndef KT_OPS_GAUGES_H
#define KT_OPS_GAUGES_H

#include "base/span.h"

#define OPS_WORKERS_MAX 512
#define OPS_TLS_TEXT 256

enum collector_state { COLLECTOR_IDLE = 0, COLLECTOR_OK, COLLECTOR_RETRYING, COLLECTOR_REFUSED, COLLECTOR_OFF };
#define COLLECTOR_STATES 5

/* Where the probes in a worker's TLS library are; none: its TLS is not seen. */
enum tls_placement { TLS_NONE = 0, TLS_INSIDE, TLS_ENTRY_AND_RETURN };
#define TLS_PLACEMENTS 3

static inline enum tls_placement tls_placement_of(bool probed, bool placed)
{
	return !probed ? TLS_NONE : placed ? TLS_INSIDE : TLS_ENTRY_AND_RETURN;
}

/* How the TLS of one worker is captured. */
struct tls_gauge {
	uint32_t pid;
	bool probed;		    /* false: its TLS is not seen */
	bool placed;		    /* on instructions inside the functions; else at entry and return */
	char library[OPS_TLS_TEXT]; /* as the worker sees it */
	char text[OPS_TLS_TEXT];    /* for people */
};

struct gauges {
	uint64_t workers, connections, exchanges_bytes, exchanges_limit_bytes;
	uint64_t overhead, overhead_limit; /* in 1/10000 of all CPUs; limit 0: none, and nothing is measured */
	uint64_t hooks_ns; /* what the hooks are reckoned to have taken from the workers so far, and of that one run */
	uint32_t hook_call_ns, hook_tls_inside_ns, hook_tls_entry_ns;
	int govern_level;		      /* enum governor_level */
	uint64_t ring_bytes, ring_peak_bytes; /* peak: since it was asked last */
	bool ships;
	enum collector_state collector;
	long http_status; /* 0: no answer yet */
	char error[128];  /* of the last failure */
	uint64_t queued_events, queued_bytes, queue_limit_bytes;
	uint64_t spooled_events, spooled_bytes, spool_limit_bytes;
	uint64_t tls_beyond[TLS_PLACEMENTS]; /* workers that have no room in `tls` */
	uint32_t ntls;
	struct tls_gauge tls[OPS_WORKERS_MAX];
};

struct gauge_source {
	void (*fn)(void *ctx, struct gauges *ret); /* gets it zeroed; fn NULL: nothing is known */
	void *ctx;
};

#endif
