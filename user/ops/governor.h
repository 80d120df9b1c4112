/* governor: keeps what the agent costs this machine within a budget. A pure state machine: it is told what was spent
 * and what time it is, and says how much may be captured.
 *
 * Cost is the agent's own CPU time and what its probes are estimated to take from the workers, as a share of the time
 * of all CPUs of the machine. Over the budget it goes one level down after two windows in a row:
 *
 *   everything → no bodies → one connection of 2, 4, … 64 → detached
 *
 * and one level up again when twice the cost would fit for `calm` windows in a row. A step up that had to be taken back
 * doubles the patience before the next one. Detached it costs nothing, so it cannot know whether it might come back: it
 * tries after `retry_ns`, with one connection of 64, and waits twice as long after each try that failed.
 */
#ifndef KT_OPS_GOVERNOR_H
#define KT_OPS_GOVERNOR_H

#include <stdbool.h>
#include <stdint.h>

#define GOVERNOR_SHIFT_MAX 6 /* one connection of 64 */

enum governor_level {
	GOVERNOR_ALL = 0,
	GOVERNOR_NO_BODIES,
	GOVERNOR_SAMPLED, /* one connection of 2; each level after it halves again */
	GOVERNOR_DETACHED = GOVERNOR_SAMPLED + GOVERNOR_SHIFT_MAX,
};

struct governor_options {
	uint32_t budget_percent; /* of all CPUs; 0: no limit */
	uint32_t cpus;		 /* at least 1 */
	uint64_t window_ns;	 /* what is averaged over, default 1 s */
	uint64_t retry_ns;	 /* first wait when detached, default 1 min; doubles up to retry_max_ns */
	uint64_t retry_max_ns;	 /* default 1 h */
	uint32_t calm;		 /* windows, default 30; doubles up to 32 times that */
};

struct governor {
	struct governor_options o;
	int level; /* enum governor_level, and what lies between */
	bool begun;
	uint64_t at_ns, spent_ns; /* at the beginning of the window */
	uint64_t share;		  /* of the last whole window, in 1/10000 of all CPUs */
	uint32_t over, under;	  /* windows in a row */
	uint32_t patience;	  /* windows before a step up */
	uint32_t since_up;	  /* windows since the last one */
	uint64_t retry_at_ns, wait_ns;
};

/* What 0 stands for in the options is filled in. */
void governor__init(struct governor *g, const struct governor_options *o);
/* spent_ns: all that was spent until now_ns (monotonic), own CPU and probes. True: the level is another one now. */
bool governor__tick(struct governor *g, uint64_t now_ns, uint64_t spent_ns);

/* What a step up from detached asked for was not possible: it waits for the next try. */
void governor__refuse(struct governor *g, uint64_t now_ns);

bool governor_bodies(int level);
/* One connection of 1 << this is captured. */
unsigned governor_shift(int level);
/* "everything", "no bodies", "1 connection of 8", "detached": for people; into out, which is returned. */
const char *governor_text(int level, char out[32]);

#endif
