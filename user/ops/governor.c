#include "ops/governor.h"

#include <stdio.h>

#define NS_PER_S 1000000000ull
#define WHOLE 10000u /* of a share */
#define OVER_WINDOWS 2
#define PATIENCE_TIMES 32

void governor__init(struct governor *g, const struct governor_options *o)
{
	*g = (struct governor){.o = *o};
	if (!g->o.cpus)
		g->o.cpus = 1;
	if (!g->o.window_ns)
		g->o.window_ns = NS_PER_S;
	if (!g->o.retry_ns)
		g->o.retry_ns = 60 * NS_PER_S;
	if (!g->o.retry_max_ns)
		g->o.retry_max_ns = 3600 * NS_PER_S;
	if (!g->o.calm)
		g->o.calm = 30;
	g->patience = g->o.calm;
	g->wait_ns = g->o.retry_ns;
}

static void enter(struct governor *g, int level, uint64_t now_ns)
{
	g->level = level;
	g->over = g->under = 0;
	if (level == GOVERNOR_DETACHED) {
		g->retry_at_ns = now_ns + g->wait_ns;
		g->wait_ns = g->wait_ns > g->o.retry_max_ns / 2 ? g->o.retry_max_ns : 2 * g->wait_ns;
	}
}

static bool go_down(struct governor *g, uint64_t now_ns)
{
	/* The last step up was too early. */
	if (g->since_up && g->since_up <= g->patience && g->patience < PATIENCE_TIMES * g->o.calm)
		g->patience *= 2;
	g->since_up = 0;
	enter(g, g->level + 1, now_ns);
	return true;
}

static bool go_up(struct governor *g, uint64_t now_ns)
{
	g->since_up = 1;
	enter(g, g->level - 1, now_ns);
	return true;
}

/* Quiet where nothing is held back: what was learnt of a harder time is over. */
static void forget(struct governor *g)
{
	g->patience = g->o.calm;
	g->wait_ns = g->o.retry_ns;
	g->since_up = 0;
}

static bool judge(struct governor *g, uint64_t now_ns)
{
	uint64_t budget = (uint64_t)g->o.budget_percent * (WHOLE / 100);

	if (g->since_up)
		g->since_up++;
	g->over = g->share > budget ? g->over + 1 : 0;
	g->under = 2 * g->share <= budget ? g->under + 1 : 0;
	if (g->over >= OVER_WINDOWS && g->level < GOVERNOR_DETACHED)
		return go_down(g, now_ns);
	if (g->under < g->patience)
		return false;
	if (g->level > GOVERNOR_ALL && g->level < GOVERNOR_DETACHED)
		return go_up(g, now_ns);
	if (g->level == GOVERNOR_ALL)
		forget(g);
	return false;
}

bool governor__tick(struct governor *g, uint64_t now_ns, uint64_t spent_ns)
{
	uint64_t passed = now_ns - g->at_ns, spent = spent_ns - g->spent_ns;
	bool first = !g->begun;

	if (!g->o.budget_percent)
		return false;
	if (!first && passed < g->o.window_ns)
		return false;
	g->begun = true;
	g->at_ns = now_ns;
	g->spent_ns = spent_ns;
	/* What the start took is no running cost. */
	if (first)
		return false;
	g->share = (uint64_t)((double)spent * WHOLE / ((double)passed * g->o.cpus));
	if (g->level == GOVERNOR_DETACHED) {
		if (now_ns < g->retry_at_ns)
			return false;
		/* Not out of patience, which has a wait of its own here. */
		enter(g, GOVERNOR_DETACHED - 1, now_ns);
		return true;
	}
	return judge(g, now_ns);
}

void governor__refuse(struct governor *g, uint64_t now_ns)
{
	go_down(g, now_ns);
}

bool governor_bodies(int level)
{
	return level < GOVERNOR_NO_BODIES;
}

unsigned governor_shift(int level)
{
	if (level < GOVERNOR_SAMPLED)
		return 0;
	return level < GOVERNOR_DETACHED ? (unsigned)(level - GOVERNOR_SAMPLED + 1) : GOVERNOR_SHIFT_MAX;
}

const char *governor_text(int level, char out[32])
{
	if (level == GOVERNOR_ALL)
		snprintf(out, 32, "everything");
	else if (level == GOVERNOR_NO_BODIES)
		snprintf(out, 32, "no bodies");
	else if (level == GOVERNOR_DETACHED)
		snprintf(out, 32, "detached");
	else
		snprintf(out, 32, "1 connection of %u", 1u << governor_shift(level));
	return out;
}
