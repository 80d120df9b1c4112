/* tally: the calls by method and status, their bytes, and how long they took. One thread counts; any thread may read
 * meanwhile: each number is whole, the numbers among each other may be one call apart.
 *
 * An event of a sampled call counts as the calls that it stands for (its weight).
 */
#ifndef KT_OPS_TALLY_H
#define KT_OPS_TALLY_H

#include "moesif/event.h"

enum tally_method {
	METHOD_GET,
	METHOD_HEAD,
	METHOD_POST,
	METHOD_PUT,
	METHOD_PATCH,
	METHOD_DELETE,
	METHOD_OPTIONS,
	METHOD_OTHER, /* whatever else a client says: a name from the wire is no label */
	METHOD_COUNT_,
};

/* Index: hundreds of the status; 0: none was seen. */
#define STATUS_CLASSES 6

const char *tally_method_name(enum tally_method m);
const char *tally_class_name(unsigned class);

/* Upper bounds of the buckets, ns; the last bucket has none. */
#define HISTOGRAM_BOUNDS 15
extern const uint64_t histogram_bounds[HISTOGRAM_BOUNDS];

struct histogram {
	uint64_t buckets[HISTOGRAM_BOUNDS + 1]; /* each for itself, not added up */
	uint64_t sum_ns;
};

struct tally {
	uint64_t calls[METHOD_COUNT_][STATUS_CLASSES];
	uint64_t request_bytes, response_bytes;
	uint64_t truncated, incomplete;
	struct histogram total, kong, upstream;
};

void tally__event(struct tally *t, const struct event *e);
/* A copy, from any thread. */
void tally__read(const struct tally *t, struct tally *ret);

uint64_t histogram_count(const struct histogram *h);
/* What was added between two copies. */
void histogram_since(const struct histogram *now, const struct histogram *before, struct histogram *ret);
/* The time that `percent` of the calls stayed below, by a straight line inside its bucket; 0 without calls. */
uint64_t histogram_percentile(const struct histogram *h, unsigned percent);

#endif
