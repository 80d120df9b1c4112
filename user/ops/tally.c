#include "ops/tally.h"

#define MS 1000000ull

const uint64_t histogram_bounds[HISTOGRAM_BOUNDS] = {
	1 * MS,
	2500000,
	5 * MS,
	10 * MS,
	25 * MS,
	50 * MS,
	100 * MS,
	250 * MS,
	500 * MS,
	1000 * MS,
	2500 * MS,
	5000 * MS,
	10000 * MS,
	30000 * MS,
	60000 * MS,
};

static const char *const methods[METHOD_COUNT_] = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "other"};

const char *tally_method_name(enum tally_method m)
{
	return methods[m];
}

const char *tally_class_name(unsigned class)
{
	static const char *const names[STATUS_CLASSES] = {"none", "1xx", "2xx", "3xx", "4xx", "5xx"};

	return names[class];
}

/* One writer, so no locked instruction is needed (as in base/stats.h). */
static void add(uint64_t *to, uint64_t n)
{
	__atomic_store_n(to, __atomic_load_n(to, __ATOMIC_RELAXED) + n, __ATOMIC_RELAXED);
}

static void observe(struct histogram *h, uint64_t ns, uint64_t weight)
{
	unsigned i = 0;

	while (i < HISTOGRAM_BOUNDS && ns > histogram_bounds[i])
		i++;
	add(&h->buckets[i], weight);
	add(&h->sum_ns, ns * weight);
}

/* Kong tells whole milliseconds; a header that claims centuries is nobody's latency. */
static void observe_ms(struct histogram *h, int64_t ms, uint64_t weight)
{
	if (ms >= 0 && ms < 86400000)
		observe(h, (uint64_t)ms * MS, weight);
}

static enum tally_method method_of(struct span verb)
{
	for (unsigned i = 0; i < METHOD_OTHER; i++)
		if (span_eq(verb, span_str(methods[i])))
			return (enum tally_method)i;
	return METHOD_OTHER;
}

void tally__event(struct tally *t, const struct event *e)
{
	uint64_t weight = e->weight ? e->weight : 1;
	unsigned class = e->status >= 100 && e->status < 600 ? (unsigned)e->status / 100 : 0;

	add(&t->calls[method_of(e->verb)][class], weight);
	add(&t->request_bytes, e->request_bytes * weight);
	add(&t->response_bytes, e->response_bytes * weight);
	add(&t->truncated, e->truncated ? weight : 0);
	add(&t->incomplete, e->incomplete ? weight : 0);
	observe(&t->total, e->total_ns, weight);
	observe_ms(&t->kong, e->kong_ms, weight);
	observe_ms(&t->upstream, e->upstream_ms, weight);
}

_Static_assert(sizeof(struct tally) % sizeof(uint64_t) == 0, "a tally is numbers and nothing else");

void tally__read(const struct tally *t, struct tally *ret)
{
	const uint64_t *from = (const uint64_t *)t;
	uint64_t *to = (uint64_t *)ret;

	for (size_t i = 0; i < sizeof(*t) / sizeof(*from); i++)
		to[i] = __atomic_load_n(&from[i], __ATOMIC_RELAXED);
}

uint64_t histogram_count(const struct histogram *h)
{
	uint64_t n = 0;

	for (unsigned i = 0; i <= HISTOGRAM_BOUNDS; i++)
		n += h->buckets[i];
	return n;
}

void histogram_since(const struct histogram *now, const struct histogram *before, struct histogram *ret)
{
	for (unsigned i = 0; i <= HISTOGRAM_BOUNDS; i++)
		ret->buckets[i] = now->buckets[i] - before->buckets[i];
	ret->sum_ns = now->sum_ns - before->sum_ns;
}

uint64_t histogram_percentile(const struct histogram *h, unsigned percent)
{
	double wanted = (double)histogram_count(h) * percent / 100, below = 0;

	if (wanted <= 0)
		return 0;
	for (unsigned i = 0; i < HISTOGRAM_BOUNDS; i++) {
		double lower = i ? (double)histogram_bounds[i - 1] : 0, width = (double)histogram_bounds[i] - lower;
		double n = (double)h->buckets[i];

		if (n > 0 && below + n >= wanted)
			return (uint64_t)(lower + width * (wanted - below) / n);
		below += n;
	}
	/* Beyond the last bound nothing more is known. */
	return histogram_bounds[HISTOGRAM_BOUNDS - 1];
}
