/* queue: events on their way from the main thread to the sender, gathered into batches as they come. The only lock
 * between the two threads is in here, held for one copy of one event.
 *
 * It is bounded by events and by bytes of JSON; both bounds hold for everything that the sender has taken and not yet
 * given back, too.
 */
#ifndef KT_SHIP_QUEUE_H
#define KT_SHIP_QUEUE_H

#include "ship/batch.h"

struct queue_limits {
	uint64_t events, bytes; /* of everything */
	uint32_t batch_events;	/* of one batch */
	uint64_t batch_bytes;	/* of one batch; a longer event makes a batch of its own */
	uint64_t notice_bytes;	/* wake the sender when more than this or notice_events wait; 0: never */
	uint64_t notice_events;
};

/* Called from queue__give, without the lock, when the sender has something to do. */
struct queue_wake {
	void (*fn)(void *ctx);
	void *ctx;
};

/* seq of the first batch. Lower numbers are free for batches that are older than any in here. */
#define QUEUE_FIRST_SEQ (1ull << 62)

struct queue;

/* NULL and errno ENOMEM. */
struct queue *queue__new(const struct queue_limits *limits, struct queue_wake wake);
void queue__free(struct queue *q); /* what is in it is gone; NULL is fine */

/* Copies. 0; -ENOSPC full or closed; -ENOMEM. Any thread. */
int queue__give(struct queue *q, struct span json);
/* The oldest batch that is full, or whose first event is at least `age_ns` old; NULL when there is none. The caller
 * gives it back with queue__done. */
struct batch *queue__take(struct queue *q, uint64_t now_ns, uint64_t age_ns);
/* The oldest batch if its first event is so old, full or not. */
struct batch *queue__take_old(struct queue *q, uint64_t now_ns, uint64_t age_ns);
/* When the first event of the oldest batch came; UINT64_MAX: it is empty. */
uint64_t queue__born(struct queue *q);
/* When the batch now at the front will be `age_ns` old; 0: it can be taken now; UINT64_MAX: it is empty. */
uint64_t queue__due(struct queue *q, uint64_t age_ns);
/* Do two full batches wait, or more? */
bool queue__backlog(struct queue *q);
/* Puts it back in front (it could not be sent nor spooled). */
void queue__untake(struct queue *q, struct batch *b);
/* These of a taken batch's events and bytes of charge need no room any more. */
void queue__uncharge(struct queue *q, uint64_t events, uint64_t bytes);
/* The batch itself is not needed any more; its memory may serve again. NULL is fine. */
void queue__recycle(struct queue *q, struct batch *b);
/* Nothing is accepted from now on. */
void queue__close(struct queue *q);

/* Everything, taken batches included. */
void queue__level(struct queue *q, uint64_t *events, uint64_t *bytes);
/* What waits and was not taken. */
void queue__waiting(struct queue *q, uint64_t *events, uint64_t *bytes);

#endif
