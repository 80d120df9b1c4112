#include "ship/gate.h"

#include "base/log.h"

#define NS_PER_MS 1000000ull
#define NS_PER_S 1000000000ull

#define POISON_RUN_MAX 20

void gate__init(struct gate *g, const struct ship_options *o, uint64_t seed)
{
	*g = (struct gate){.o = o, .state = SHIP_IDLE, .dice = seed | 1};
}

unsigned gate__width(const struct gate *g, uint64_t now_ns)
{
	if (g->failures == 0)
		return g->o->send_parallel ? g->o->send_parallel : 1;
	return now_ns >= g->next_ns ? 1 : 0;
}

uint64_t gate__due(const struct gate *g)
{
	return g->failures ? g->next_ns : UINT64_MAX;
}

/* xorshift: only spreads retries of many agents in time. */
static uint64_t roll(struct gate *g, uint64_t below)
{
	g->dice ^= g->dice << 13;
	g->dice ^= g->dice >> 7;
	g->dice ^= g->dice << 17;
	return below ? g->dice % below : 0;
}

/* Doubles from retry_base to retry_max, the upper half of it random. */
static uint64_t backoff_ns(struct gate *g)
{
	unsigned shift = g->failures - 1 < 20 ? g->failures - 1 : 20;
	uint64_t ms = (uint64_t)g->o->retry_base << shift, ns;

	if (ms > g->o->retry_max)
		ms = g->o->retry_max;
	ns = ms * NS_PER_MS;
	return ns / 2 + roll(g, ns / 2 + 1);
}

static void trouble_begins(struct gate *g, uint64_t now_ns)
{
	if (g->failures == 0) {
		g->since_ns = now_ns;
		g->logged = 0;
	}
}

void gate__on_delivered(struct gate *g, uint64_t now_ns)
{
	g->poison_run = 0;
	/* It was under way when another one was told to wait: that still holds. */
	if (g->failures && now_ns < g->asked_ns)
		return;
	if (g->failures)
		log_info("ship", "the collector accepts events again, after %.1f s and %u attempts",
			(double)(now_ns - g->since_ns) / (double)NS_PER_S, g->failures);
	g->state = SHIP_OK;
	g->failures = 0;
}

/* The collector asked for so much patience. */
static void asked(struct gate *g, uint64_t now_ns, uint32_t retry_after_s)
{
	uint64_t until;

	if (retry_after_s > RETRY_AFTER_MAX_S)
		retry_after_s = RETRY_AFTER_MAX_S;
	until = now_ns + retry_after_s * NS_PER_S;
	if (retry_after_s && until > g->asked_ns)
		g->asked_ns = until;
	if (g->next_ns < g->asked_ns)
		g->next_ns = g->asked_ns;
}

void gate__on_retry(struct gate *g, uint64_t now_ns, uint32_t retry_after_s, const char *why)
{
	uint64_t wait;

	/* Requests that were under way together fail together: that is one failure. */
	if (g->failures && now_ns < g->next_ns) {
		asked(g, now_ns, retry_after_s);
		return;
	}
	trouble_begins(g, now_ns);
	g->failures++;
	g->state = SHIP_RETRYING;
	g->next_ns = now_ns + backoff_ns(g);
	asked(g, now_ns, retry_after_s);
	wait = g->next_ns - now_ns;
	if (log_rate(&g->logged))
		log_warn("ship", "the collector does not take events: %s; next try in %.1f s", why,
			(double)wait / (double)NS_PER_S);
}

void gate__on_refused(struct gate *g, uint64_t now_ns, const char *why)
{
	bool said = g->failures && g->state == SHIP_REFUSED;

	if (said && now_ns < g->next_ns)
		return;
	trouble_begins(g, now_ns);
	g->failures++;
	g->state = SHIP_REFUSED;
	g->next_ns = now_ns + g->o->refused_probe * NS_PER_MS;
	if (!said)
		log_err("ship",
			"THE COLLECTOR REFUSES EVERYTHING: %s. Events are kept as far as there is room; trying again "
			"every %u s",
			why, g->o->refused_probe / 1000);
}

bool gate__on_poison(struct gate *g, uint64_t now_ns, const char *why)
{
	if (++g->poison_run <= POISON_RUN_MAX)
		return false;
	g->poison_run = 0;
	gate__on_refused(g, now_ns, why);
	return true;
}

void gate__on_dropped(struct gate *g)
{
	if (g->state == SHIP_IDLE)
		g->state = SHIP_OK;
}

void gate__hurry(struct gate *g)
{
	if (g->failures && g->state != SHIP_REFUSED)
		g->next_ns = g->asked_ns = 0;
}
