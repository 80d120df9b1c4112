/* rules: governance rules (GET /v1/rules). A passive agent cannot block a call or change an answer; it says so, once
 * for each set of rules, and does not drop them in silence.
 */
#ifndef KT_MOESIF_RULES_H
#define KT_MOESIF_RULES_H

#include "base/span.h"

/* Zeroed: nothing was reported. Used by one thread, whichever that is. */
struct rules_watch {
	uint64_t reported; /* hash of the last set; 0: none */
};

/* 0, or -EINVAL: not a JSON array, which is said as well. */
int rules_watch__report(struct rules_watch *w, struct span json);

#endif
