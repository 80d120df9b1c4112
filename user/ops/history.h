/* history: the last 15 minutes in steps of 10 seconds, for the plots of the status page. */
#ifndef KT_OPS_HISTORY_H
#define KT_OPS_HISTORY_H

#include "ops/tally.h"

#define HISTORY_STEP_S 10
#define HISTORY_STEPS 90

struct history_step {
	double calls; /* a second */
	/* -1: nobody called. */
	double client_errors; /* 4xx, share of all, 0 to 1 */
	double server_errors; /* 5xx */
	double p50_ms, p95_ms;
	double lost;	 /* what the loss table counts, a second */
	double cpu;	 /* of the agent, cores */
	uint64_t queued; /* events that wait for the collector, in memory and on disk */
	uint64_t resident;
};

struct history {
	struct history_step steps[HISTORY_STEPS];
	unsigned n, at; /* how many there are; where the next one goes */
	uint64_t step_start_ns;
	/* At its start. */
	struct tally tally;
	uint64_t seen, lost, cpu_ns;
};

/* Levels at this moment that counters do not tell. */
struct history_now {
	uint64_t lost, queued, cpu_ns, resident;
};

void history__init(struct history *h, uint64_t now_ns, const struct tally *t, const struct history_now *now);
/* Call it each second or so; ends the step when its time is over. */
void history__tick(struct history *h, uint64_t now_ns, const struct tally *t, const struct history_now *now);
/* The i-th step, oldest first; i < n. */
const struct history_step *history__step(const struct history *h, unsigned i);

#endif
