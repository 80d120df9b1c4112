#include "ops/balance.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

static const struct balance_way ways_of_calls[] = {
	{STAT_txn_events, "events"},
	{STAT_txn_filtered, "filtered"},
	{STAT_txn_sampled_out, "sampled out"},
	{STAT_txn_dropped_incomplete, "dropped (incomplete)"},
	{STAT_txn_dropped_memory, "dropped (memory)"},
	{STAT_txn_dropped_too_large, "dropped (too large)"},
	{STAT_COUNT_, NULL},
};

static const struct balance_way ways_of_events[] = {
	{STAT_ship_sent_events, "delivered"},
	{STAT_queue_dropped_full, "dropped (queue full)"},
	{STAT_ship_dropped_poison, "dropped (refused)"},
	{STAT_ship_dropped_too_large, "dropped (too large)"},
	{STAT_ship_dropped_expired, "dropped (expired)"},
	{STAT_ship_dropped_shutdown, "dropped (shutdown)"},
	{STAT_ship_dropped_spool, "dropped (spool)"},
	{STAT_COUNT_, NULL},
};

const struct balance balance_of_calls = {STAT_txn_seen, STAT_txn_seen, "calls", ways_of_calls};
const struct balance balance_of_events = {STAT_txn_events, STAT_ship_recovered_events, "events", ways_of_events};

static uint64_t all_of(const struct balance *b)
{
	return stats_get(b->of) + (b->also != b->of ? stats_get(b->also) : 0);
}

int64_t balance_open(const struct balance *b)
{
	int64_t open = (int64_t)all_of(b);

	for (const struct balance_way *w = b->ways; w->name; w++)
		open -= (int64_t)stats_get(w->counter);
	return open;
}

static size_t put(char *out, size_t size, size_t at, const char *fmt, ...) __attribute__((format(printf, 4, 5)));

static size_t put(char *out, size_t size, size_t at, const char *fmt, ...)
{
	va_list args;
	int n;

	if (at >= size)
		return at;
	va_start(args, fmt);
	n = vsnprintf(out + at, size - at, fmt, args);
	va_end(args);
	return at + (n > 0 ? (size_t)n : 0);
}

void balance_text(const struct balance *b, uint64_t waiting, char *out, size_t size)
{
	int64_t rest = balance_open(b) - (int64_t)waiting;
	const char *sep = ": ";
	size_t at = put(out, size, 0, "%" PRIu64 " %s", all_of(b), b->name);

	for (const struct balance_way *w = b->ways; w->name; w++) {
		if (!stats_get(w->counter))
			continue;
		at = put(out, size, at, "%s%" PRIu64 " %s", sep, stats_get(w->counter), w->name);
		sep = ", ";
	}
	if (waiting) {
		at = put(out, size, at, "%s%" PRIu64 " left in the spool", sep, waiting);
		sep = ", ";
	}
	if (rest)
		put(out, size, at, "%s%" PRId64 " unaccounted", sep, rest);
}
