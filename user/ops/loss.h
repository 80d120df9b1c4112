/* loss: which counters tell that something was lost, and what an operator can do about it. */
#ifndef KT_OPS_LOSS_H
#define KT_OPS_LOSS_H

#include <stddef.h>

#include "base/stats.h"

struct loss {
	enum counter counter;
	const char *unit;   /* what the counter counts, plural */
	const char *advice; /* one sentence */
};

extern const struct loss loss_table[];
extern const size_t loss_count;

/* All of them added up, each loss as one (bytes count per started KiB): its rise tells that something is being lost. */
uint64_t loss_sum(void);

#endif
