/* metrics_counters: the counters of base/stats.h as metrics. Each counter is exactly one sample: of a family with
 * labels where several counters are one fact by its cause, else kongtap_<counter>_total.
 */
#ifndef KT_OPS_METRICS_COUNTERS_H
#define KT_OPS_METRICS_COUNTERS_H

#include "ops/expose.h"

void metrics_counters(struct expose *x);

#endif
