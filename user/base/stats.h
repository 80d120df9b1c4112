/* stats: the counters of the agent, its only global state. Each counter has ONE writer thread (named by its group:
 * ship_* by the sender, all others by the main thread), so an increment is a relaxed load and store, no locked
 * instruction; readers in any thread see whole values. Add a counter by adding a line to STATS_LIST.
 */
#ifndef KT_BASE_STATS_H
#define KT_BASE_STATS_H

#include <stdint.h>

#include "base/stats_list.h"

enum counter {
#define X(name, help) STAT_##name,
	STATS_LIST(X)
#undef X
		STAT_COUNT_
};

extern uint64_t stats_values[STAT_COUNT_];

static inline void stats_add(enum counter s, uint64_t n)
{
	uint64_t v = __atomic_load_n(&stats_values[s], __ATOMIC_RELAXED);
	__atomic_store_n(&stats_values[s], v + n, __ATOMIC_RELAXED);
}

static inline void stats_inc(enum counter s)
{
	stats_add(s, 1);
}

static inline uint64_t stats_get(enum counter s)
{
	return __atomic_load_n(&stats_values[s], __ATOMIC_RELAXED);
}

static inline void stats_set(enum counter s, uint64_t v)
{
	__atomic_store_n(&stats_values[s], v, __ATOMIC_RELAXED);
}

const char *stats_name(enum counter s);
const char *stats_help(enum counter s);
/* All zero again: tests only. */
void stats_reset(void);

#endif
