/* balance: every call that was seen, and every event that was made, ends in exactly one of these ways. */
#ifndef KT_OPS_BALANCE_H
#define KT_OPS_BALANCE_H

#include <stddef.h>
#include <stdint.h>

#include "base/stats.h"

struct balance_way {
	enum counter counter;
	const char *name;
};

struct balance {
	enum counter of, also; /* together they are what is accounted for; the same twice: it alone */
	const char *name;
	const struct balance_way *ways; /* ends with a name of NULL */
};

/* Calls seen: an event, filtered, sampled out, or dropped. */
extern const struct balance balance_of_calls;
/* Events made, and found in the spool at the start: delivered or dropped; the rest waits. */
extern const struct balance balance_of_events;

/* What is accounted for, minus what has ended so far. */
int64_t balance_open(const struct balance *b);
/* "1000 calls: 990 events, 10 filtered"; ways of 0 are left out. `waiting`: of what is open, so many are known to wait;
 * a rest is named "unaccounted". */
void balance_text(const struct balance *b, uint64_t waiting, char *out, size_t size);

#endif
