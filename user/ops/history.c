#include "ops/history.h"

#include "base/stats.h"

#define NS_PER_S 1000000000ull

static uint64_t calls_of(const struct tally *now, const struct tally *before, unsigned class)
{
	uint64_t n = 0;

	for (unsigned m = 0; m < METHOD_COUNT_; m++)
		n += now->calls[m][class] - before->calls[m][class];
	return n;
}

static void start_step(struct history *h, uint64_t now_ns, const struct tally *t, const struct history_now *now)
{
	h->step_start_ns = now_ns;
	h->tally = *t;
	h->seen = stats_get(STAT_txn_seen);
	h->lost = now->lost;
	h->cpu_ns = now->cpu_ns;
}

void history__init(struct history *h, uint64_t now_ns, const struct tally *t, const struct history_now *now)
{
	*h = (struct history){.n = 0};
	start_step(h, now_ns, t, now);
}

static double share(uint64_t part, uint64_t all)
{
	return all ? (double)part / (double)all : -1;
}

static void measure(const struct history *h, double seconds, const struct tally *t, const struct history_now *now,
	struct history_step *ret)
{
	struct histogram took;
	uint64_t all;

	histogram_since(&t->total, &h->tally.total, &took);
	all = histogram_count(&took);
	ret->calls = (double)(stats_get(STAT_txn_seen) - h->seen) / seconds;
	ret->client_errors = share(calls_of(t, &h->tally, 4), all);
	ret->server_errors = share(calls_of(t, &h->tally, 5), all);
	ret->p50_ms = all ? (double)histogram_percentile(&took, 50) / 1e6 : -1;
	ret->p95_ms = all ? (double)histogram_percentile(&took, 95) / 1e6 : -1;
	ret->lost = (double)(now->lost - h->lost) / seconds;
	ret->cpu = (double)(now->cpu_ns - h->cpu_ns) / 1e9 / seconds;
	ret->queued = now->queued;
	ret->resident = now->resident;
}

void history__tick(struct history *h, uint64_t now_ns, const struct tally *t, const struct history_now *now)
{
	uint64_t passed = now_ns - h->step_start_ns;

	if (now_ns < h->step_start_ns || passed < HISTORY_STEP_S * NS_PER_S)
		return;
	measure(h, (double)passed / 1e9, t, now, &h->steps[h->at]);
	h->at = (h->at + 1) % HISTORY_STEPS;
	if (h->n < HISTORY_STEPS)
		h->n++;
	start_step(h, now_ns, t, now);
}

const struct history_step *history__step(const struct history *h, unsigned i)
{
	return &h->steps[(h->at + HISTORY_STEPS - h->n + i) % HISTORY_STEPS];
}
