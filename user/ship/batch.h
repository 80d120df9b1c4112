/* batch: events in one piece of memory that is the body of the request they will be sent in: [a,b,c]. Events are only
 * appended. Not thread-safe.
 */
#ifndef KT_SHIP_BATCH_H
#define KT_SHIP_BATCH_H

#include "base/list.h"
#include "base/span.h"

struct spool_ref;

struct batch {
	struct list node;
	char *p; /* "[" event "," event …; batch__body adds the "]" */
	size_t n, cap;
	uint32_t *ends; /* where each event ends in p */
	uint32_t count, ends_cap;
	uint64_t born_ns; /* CLOCK_MONOTONIC, first event (or when it was read back) */
	uint64_t wall_ns; /* wall clock, first event */

	/* For the sender. */
	uint64_t seq, part;    /* its place in the order: batches, then the parts of one that was split */
	uint64_t charge;       /* bytes it counts for in the queue; 0: it came from the spool */
	struct spool_ref *ref; /* it is on disk, too; shared by the parts of a split */
	unsigned broke_off;    /* how often the connection failed while it was being sent */
	bool tried;	       /* was sent before */
	bool slim;	       /* its bodies were left out */
};

/* NULL and errno ENOMEM. */
struct batch *batch__new(void);
void batch__free(struct batch *b); /* the ref must have been given up; NULL is fine */
/* Empties it, memory is kept. */
void batch__clear(struct batch *b);
/* 0; -ENOMEM; -EFBIG (would not fit 32-bit offsets). Untouched on failure. */
int batch__add(struct batch *b, struct span json);
/* The i-th event. */
struct span batch__event(const struct batch *b, uint32_t i);
/* The JSON array. 0 bytes only when the closing bracket found no memory. Nothing may be added afterwards. */
struct span batch__body(struct batch *b);
/* Gives back memory that it does not fill. */
void batch__trim(struct batch *b);
/* Bytes of the events alone. */
size_t batch__bytes(const struct batch *b);
/* A new batch of the events [from, to), with its share of b's charge; seq, times and ref copied (the ref is not counted
 * up). NULL and errno ENOMEM. */
struct batch *batch__slice(const struct batch *b, uint32_t from, uint32_t to);

#endif
