/* ops: what the agent tells of itself: metrics, health and the status page, over HTTP.
 *
 * The agent's thread feeds it and never waits for it: numbers are atomics, everything else is copied once a second
 *under a lock that is only tried. The endpoint has a thread of its own.
 *
 *	/            the status page          /healthz   200 while the agent's loop comes round, else 503
 *	/status.json what it shows            /readyz    200 when capture is on, else 503 and why
 *	/metrics     Prometheus or OpenMetrics text
 */
#ifndef KT_OPS_OPS_H
#define KT_OPS_OPS_H

#include "capture/record.h"
#include "moesif/event.h"
#include "ops/gauges.h"

struct ops_options {
	const char *listen;  /* address:port; port 0: any free one */
	uint32_t last_calls; /* that the page shows, at most 100; 0: none */
	struct gauge_source gauges;
};

struct ops;

/* Where it cannot listen there is a warning and no endpoint. NULL and errno ENOMEM. */
struct ops *ops__new(const struct ops_options *o);
/* The port that is listened on; 0: none. */
uint16_t ops__port(const struct ops *ops);
/* From the agent's thread. NULL is fine in all of them. */
void ops__on_record(struct ops *ops, const struct record *rec);
void ops__on_event(struct ops *ops, const struct event *e);
/* Why not ready, or NULL: ready. */
void ops__set_ready(struct ops *ops, const char *why_not);
/* Each 100 ms or so. */
void ops__tick(struct ops *ops);
void ops__free(struct ops *ops);

#endif
