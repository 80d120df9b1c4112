/* metrics: the agent's numbers as Prometheus or OpenMetrics text. */
#ifndef KT_OPS_METRICS_H
#define KT_OPS_METRICS_H

#include "base/buf.h"
#include "ops/view.h"

/* Appends all families. 0, -ENOSPC, -ENOMEM. */
int metrics_render(struct buf *out, const struct ops_view *v, bool open_metrics);
/* The content type of what it renders. */
const char *metrics_type(bool open_metrics);
/* Does this Accept header ask for OpenMetrics? */
bool metrics_wants_open(struct span accept);

#endif
