/* conns: the connection table. Takes records, keeps one stream per direction in order, finds out which leg a connection
 * is and what it speaks, feeds the protocol, and forgets connections that ended.
 *
 * Leg: accepted ⇒ client, connected ⇒ upstream, unknown ⇒ client when the local port is one that the worker listens on
 * (rec_worker), upstream when it is not; where ports are not known, by the first bytes: a request that was read makes
 * it a client leg, one that was written an upstream leg.
 */
#ifndef KT_WIRE_CONNS_H
#define KT_WIRE_CONNS_H

#include "wire/proto.h"

struct conns;

/* Told when a connection turns out to be of no use (not HTTP, over a limit of its own), so that the capture can stop
 * copying; not where memory is short, which may be there when it comes again. */
struct conn_ignore_sink {
	void (*fn)(void *ctx, const struct conn_key *key); /* may be NULL */
	void *ctx;
	/* May be NULL. These bytes (by enum direction) are of no use: they belong to a long body of which enough is
	 * known. The connection is still wanted. It replaces what was said before; positions only grow. */
	void (*skip)(void *ctx, const struct conn_key *key, const struct byte_range useless[2]);
	/* May be NULL. A connection of which one of the others said something is over: that matters no more. Also
	 * called for one that closes and is not known. */
	void (*over)(void *ctx, const struct conn_key *key);
};

/* NULL and errno ENOMEM. The sinks are called from within conns__on_record and conns__free. */
struct conns *conns__new(const struct wire_limits *limits, struct exchange_sink sink, struct conn_ignore_sink ignore);
/* Other limits on bodies, for messages that begin from now on. */
void conns__set_bodies(struct conns *c, uint32_t request, uint32_t response);
/* Other types of which no bodies are kept, for heads that are complete from now on; the old list may go after it. */
void conns__set_exclude_types(struct conns *c, struct media_types types);
/* OPEN, DATA, CLOSE, WORKER, EXIT, TICK, GOVERN. Never fails: what cannot be kept is counted and given up as a whole.
 */
void conns__on_record(struct conns *c, const struct record *rec);
/* Everything that is still open is handed on (as if the connections closed at t_ns, with MSG_OPEN left as the end). */
void conns__flush(struct conns *c, uint64_t t_ns);
size_t conns__count(const struct conns *c);
uint64_t conns__memory(const struct conns *c);
/* What is known of a worker, or NULL. Valid until the next record. */
const struct rec_worker *conns__worker(const struct conns *c, uint32_t pid);
void conns__free(struct conns *c);

#endif
