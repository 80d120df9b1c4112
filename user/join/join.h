/* join: client leg ↔ upstream leg. By X-Kong-Request-Id where both legs carry it, else by evidence, else not at all.
 *
 * A client exchange is handed on as soon as all that belongs to it has ended: at once when Kong answered by itself, or
 * when the upstream exchanges with its id are done; later, by at most `window_ns`, when one of them is still open: then
 * with what is known of that one by then.
 * Upstream exchanges wait for their client exchange without their bodies, bounded by count, bytes and age.
 */
#ifndef KT_JOIN_JOIN_H
#define KT_JOIN_JOIN_H

#include "join/transaction.h"

struct join_limits {
	uint64_t window_ns;	/* how long a finished client exchange waits for an upstream leg, default 500 ms */
	uint64_t orphan_ns;	/* how long an upstream exchange waits for its client leg to end, default 10 min */
	uint32_t waiting;	/* upstream exchanges waiting, default 65536 */
	uint64_t waiting_bytes; /* default 16 MiB */
};

void join_limits_default(struct join_limits *l);

struct join;

/* NULL and errno ENOMEM. `sink` takes transactions, from within any of the calls below. */
struct join *join__new(const struct join_limits *l, struct transaction_sink sink);
/* An exchange has begun (its request head is whole): borrowed. */
void join__begun(struct join *j, const struct exchange *x);
/* An exchange is done: taken. `w` is what is known of its worker, or NULL; copied. */
void join__done(struct join *j, struct exchange *x, const struct rec_worker *w);
/* Records were lost before what comes from here on. Whatever is open may lack its own upstream leg, and of another call
 * the client's leg may be missing: then the two would fit. So nothing that has begun is joined by evidence any more. */
void join__lost(struct join *j);
void join__tick(struct join *j, uint64_t t_ns);
/* Hand on everything that waits. */
void join__flush(struct join *j);
void join__set_wall_offset(struct join *j, int64_t offset_ns);
void join__free(struct join *j);

#endif
