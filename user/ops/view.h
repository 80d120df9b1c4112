/* view: everything that metrics and the status page tell, at one moment. The agent's thread fills a snapshot about once
 * a second; the rest is read when somebody asks.
 */
#ifndef KT_OPS_VIEW_H
#define KT_OPS_VIEW_H

#include "ops/gauges.h"
#include "ops/history.h"
#include "ops/process.h"
#include "ops/recent.h"
#include "ops/tally.h"
#include "ops/workers.h"

#define PEAK_SECONDS 60

struct ops_snapshot {
	uint64_t taken_ns; /* monotonic; 0: none was taken yet */
	double calls_rate; /* a second, smoothed over a few */
	struct gauges gauges;
	struct process_facts process;
	uint64_t ring_peak_bytes; /* of the last PEAK_SECONDS */
	struct worker_table workers;
	struct history history;
	struct recent recent;
};

struct ops_view {
	struct ops_snapshot snap;
	struct tally tally;
	uint64_t now_ns, now_wall_ns, started_wall_ns;
	uint64_t quiet_ns; /* since the agent's loop came round last */
	bool ready;
	char not_ready[128]; /* why */
};

#endif
