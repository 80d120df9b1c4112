/* expose: writes metrics as Prometheus text (0.0.4) or OpenMetrics text (1.0.0). A family is begun, then its samples
 * are written. Errors stick: write on, look at `err` at the end.
 */
#ifndef KT_OPS_EXPOSE_H
#define KT_OPS_EXPOSE_H

#include "base/buf.h"

enum metric_type { METRIC_COUNTER, METRIC_GAUGE, METRIC_HISTOGRAM, METRIC_SUMMARY };

struct expose {
	struct buf *b;
	bool open_metrics;
	int err;
};

/* `name` of a counter ends with _total. `help`: one sentence. */
void expose__family(struct expose *x, const char *name, enum metric_type type, const char *help);
/* `labels`: "cause=\"lost\"" or NULL; escaped by expose_label where a value is not the agent's own. */
void expose__u64(struct expose *x, const char *name, const char *labels, uint64_t v);
void expose__double(struct expose *x, const char *name, const char *labels, double v);
/* Nanoseconds as seconds. */
void expose__seconds(struct expose *x, const char *name, const char *labels, uint64_t ns);
/* After the last family. */
void expose__end(struct expose *x);

/* name="value", the value cut to what fits in out (whole escapes). */
void expose_label(char *out, size_t size, const char *name, struct span value);

#endif
