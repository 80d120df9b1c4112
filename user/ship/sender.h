/* sender: the thread that delivers. Everything in here belongs to it, but for the queue (which locks for itself),
 * http__wake and what is under `lock`.
 *
 * Where a batch is, at any time, in exactly one of: the queue; held (to be sent before anything else); flying (a
 * request is under way); the spool. A batch that is held or flying may be on disk as well (its ref), since it got older
 * than what may be lost.
 */
#ifndef KT_SHIP_SENDER_H
#define KT_SHIP_SENDER_H

#include <pthread.h>

#include "ship/gate.h"
#include "ship/http.h"
#include "ship/queue.h"
#include "ship/remote.h"
#include "ship/spool.h"

#define NS_PER_MS 1000000ull

struct sender {
	const struct ship_options *o;
	struct queue *queue;
	struct spool *spool; /* NULL: none, or none yet */
	uint64_t recovered;  /* events that the spool held when it was opened */
	struct http *http;
	struct gate gate;
	struct remote remote;
	struct list held; /* oldest first */
	struct list flying;
	unsigned nflying;
	uint64_t spool_seq; /* of the next batch from the spool */
	bool spool_turn;    /* it is the spool's turn, not the queue's */

	uint64_t spool_retry_ns; /* the disk failed: not before this time */
	uint64_t spool_read_ns;	 /* likewise for reading */
	uint64_t synced_ns;
	unsigned long disk_failures;

	bool stopping;
	uint64_t deadline_ns;

	pthread_t thread;
	bool running;
	pthread_mutex_t lock;
	/* Under the lock. */
	bool stop_wanted;
	struct ship_status status;
};

/* 0 or negative errno; the thread runs then. */
int sender__start(struct sender *s);
/* Returns when the thread has ended. */
void sender__stop(struct sender *s);

/* delivery.c: requests and their answers. */
void delivery__start(struct sender *s, uint64_t now_ns);
void delivery__on_answer(struct sender *s, uint64_t now_ns, struct batch *b, const struct http_answer *a);
/* When delivery__start has something to do next. */
uint64_t delivery__due(struct sender *s, uint64_t now_ns);
/* A batch's events are dealt with for good: what they took is free again. The batch is gone. */
void delivery__finish(struct sender *s, struct batch *b);
/* Into the list of what is to be sent first, at its place. */
void delivery__hold(struct sender *s, struct batch *b);

/* safekeeping.c: what must not stay in memory alone. */
/* The spool was opened. */
void safekeeping__begin(struct sender *s);
void safekeeping__run(struct sender *s, uint64_t now_ns);
uint64_t safekeeping__due(struct sender *s, uint64_t now_ns);
/* The end: everything that is left goes to disk or is counted as dropped. */
void safekeeping__last(struct sender *s);

/* How long a first event may wait for others. */
uint64_t sender_batch_age(const struct sender *s);

#endif
