/* gate: may a request be sent now? Back-off after failures, a long pause after a refusal. */
#ifndef KT_SHIP_GATE_H
#define KT_SHIP_GATE_H

#include "ship/shipper.h"

/* A collector that asks for more patience than this gets a try all the same. */
#define RETRY_AFTER_MAX_S 3600

struct gate {
	const struct ship_options *o;
	enum ship_state state;
	unsigned failures;   /* in a row */
	uint64_t next_ns;    /* nothing before this time, while failures > 0 */
	uint64_t asked_ns;   /* until then the collector asked for patience (Retry-After) */
	uint64_t since_ns;   /* when the trouble began */
	uint64_t dice;	     /* jitter */
	unsigned poison_run; /* single events refused in a row, with nothing accepted in between */
	unsigned long logged;
};

/* Any seed but 0. */
void gate__init(struct gate *g, const struct ship_options *o, uint64_t seed);
/* How many requests may be under way at once at this time, at most: 0, 1 (to try), or the option's number. */
unsigned gate__width(const struct gate *g, uint64_t now_ns);
/* When the answer of gate__width changes by itself; UINT64_MAX: never. */
uint64_t gate__due(const struct gate *g);
void gate__on_delivered(struct gate *g, uint64_t now_ns);
/* Try again later; not before retry_after_s when the collector said so. `why` goes to the log. */
void gate__on_retry(struct gate *g, uint64_t now_ns, uint32_t retry_after_s, const char *why);
void gate__on_refused(struct gate *g, uint64_t now_ns, const char *why);
/* A single event was found to be poison. True: so many in a row that the fault cannot be theirs; the gate is shut as
 * after a refusal and the event is to be kept. */
bool gate__on_poison(struct gate *g, uint64_t now_ns, const char *why);
/* A single event was dropped for what it is: the collector answers, and is no longer one that was not asked. */
void gate__on_dropped(struct gate *g);
/* The end is near: one try now, whatever happened before (but a refusal stands). */
void gate__hurry(struct gate *g);

#endif
