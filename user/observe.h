/* observe: what the stages tell of themselves, for the status endpoint and for the footer on a terminal. Neither knows
 * the stages, so it is put together here. For the agent's own thread.
 */
#ifndef KT_OBSERVE_H
#define KT_OBSERVE_H

#include "config.h"
#include "ops/gauges.h"
#include "ops/governor.h"
#include "wire/conns.h"

struct observe {
	const struct config *config;
	struct source *source;
	const struct conns *conns;
	struct shipper *shipper; /* NULL: nothing is shipped */
	const struct governor *governor;
};

/* gauge_source.fn and footer_source.fn; ctx: struct observe, all stages there. */
void observe_gauges(void *ctx, struct gauges *ret);
void observe_footer(void *ctx, struct footer_facts *ret);

#endif
