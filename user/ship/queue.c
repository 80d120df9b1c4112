#include "ship/queue.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>

#include "base/clock.h"

/* Empty batches kept for reuse: enough that the steady state allocates nothing. */
#define SPARE_MAX 4
#define SPARE_BYTES_MAX (1u << 20)

struct queue {
	struct queue_limits limits;
	struct queue_wake wake;
	pthread_mutex_t lock;
	/* All below: under the lock. */
	struct list batches; /* oldest first; only the last one is open for more */
	struct list spare;
	unsigned spares;
	uint64_t events, bytes;			/* taken ones included */
	uint64_t waiting_events, waiting_bytes; /* in batches */
	uint64_t next_seq;
	bool closed;
};

struct queue *queue__new(const struct queue_limits *limits, struct queue_wake wake)
{
	struct queue *q = calloc(1, sizeof(*q));

	if (!q)
		return NULL;
	q->limits = *limits;
	q->wake = wake;
	q->next_seq = QUEUE_FIRST_SEQ;
	list_init(&q->batches);
	list_init(&q->spare);
	pthread_mutex_init(&q->lock, NULL);
	return q;
}

static void free_all(struct list *head)
{
	struct list *it, *tmp;

	list_for_each_safe (it, tmp, head)
		batch__free(list_entry(it, struct batch, node));
}

void queue__free(struct queue *q)
{
	if (!q)
		return;
	free_all(&q->batches);
	free_all(&q->spare);
	pthread_mutex_destroy(&q->lock);
	free(q);
}

static struct batch *front(struct queue *q)
{
	return list_empty(&q->batches) ? NULL : list_entry(q->batches.next, struct batch, node);
}

static bool full(const struct queue *q, const struct batch *b)
{
	return b->count >= q->limits.batch_events || batch__bytes(b) >= q->limits.batch_bytes;
}

static struct batch *spare_or_new(struct queue *q)
{
	struct batch *b;

	if (list_empty(&q->spare))
		return batch__new();
	b = list_entry(q->spare.next, struct batch, node);
	list_remove(&b->node);
	q->spares--;
	return b;
}

/* The batch that takes an event of n bytes, or NULL without memory. */
static struct batch *open_batch(struct queue *q, size_t n)
{
	struct batch *b;

	if (!list_empty(&q->batches)) {
		b = list_entry(q->batches.prev, struct batch, node);
		if (!full(q, b) && (b->count == 0 || batch__bytes(b) + n <= q->limits.batch_bytes))
			return b;
		/* With a backlog the room that a batch grew into and did not fill would add up. */
		if (b != front(q))
			batch__trim(b);
	}
	b = spare_or_new(q);
	if (!b)
		return NULL;
	b->born_ns = clock_mono_ns();
	b->wall_ns = clock_wall_ns();
	b->seq = q->next_seq++;
	list_push_back(&q->batches, &b->node);
	return b;
}

static void drop_if_empty(struct batch *b)
{
	if (b->count)
		return;
	list_remove(&b->node);
	batch__free(b);
}

/* Does the sender sleep on without seeing what just changed? It sleeps until the front batch is due, so it must hear of
 * a first event, of a batch that got full, and of the fill level at which it has to make room. */
static bool worth_waking(const struct queue *q, const struct batch *b)
{
	bool crowded = q->limits.notice_bytes &&
		       (q->waiting_bytes > q->limits.notice_bytes || q->waiting_events > q->limits.notice_events);

	return full(q, b) || (b->count == 1) || crowded;
}

int queue__give(struct queue *q, struct span json)
{
	struct batch *b;
	bool wake = false;
	int err = 0;

	pthread_mutex_lock(&q->lock);
	if (q->closed || q->events >= q->limits.events || json.n > q->limits.bytes ||
		q->bytes > q->limits.bytes - json.n) {
		err = -ENOSPC;
		goto out;
	}
	b = open_batch(q, json.n);
	err = b ? batch__add(b, json) : -ENOMEM;
	if (err) {
		if (b)
			drop_if_empty(b);
		goto out;
	}
	b->charge += json.n;
	q->events++;
	q->bytes += json.n;
	q->waiting_events++;
	q->waiting_bytes += json.n;
	wake = worth_waking(q, b);
out:
	pthread_mutex_unlock(&q->lock);
	if (wake && q->wake.fn)
		q->wake.fn(q->wake.ctx);
	return err;
}

/* It may have been begun since the caller looked at the clock. */
static bool is_of_age(const struct batch *b, uint64_t now_ns, uint64_t age_ns)
{
	return age_ns == 0 || (now_ns >= b->born_ns && now_ns - b->born_ns >= age_ns);
}

static bool is_ready(const struct queue *q, const struct batch *b, uint64_t now_ns, uint64_t age_ns)
{
	/* A batch that is not the last one was closed by its successor. */
	return b->node.next != &q->batches || full(q, b) || is_of_age(b, now_ns, age_ns);
}

static void unlink_front(struct queue *q, struct batch *b)
{
	list_remove(&b->node);
	q->waiting_events -= b->count;
	q->waiting_bytes -= batch__bytes(b);
}

struct batch *queue__take(struct queue *q, uint64_t now_ns, uint64_t age_ns)
{
	struct batch *b;

	pthread_mutex_lock(&q->lock);
	b = front(q);
	if (b && is_ready(q, b, now_ns, age_ns))
		unlink_front(q, b);
	else
		b = NULL;
	pthread_mutex_unlock(&q->lock);
	return b;
}

struct batch *queue__take_old(struct queue *q, uint64_t now_ns, uint64_t age_ns)
{
	struct batch *b;

	pthread_mutex_lock(&q->lock);
	b = front(q);
	if (b && is_of_age(b, now_ns, age_ns))
		unlink_front(q, b);
	else
		b = NULL;
	pthread_mutex_unlock(&q->lock);
	return b;
}

uint64_t queue__born(struct queue *q)
{
	const struct batch *b;
	uint64_t born;

	pthread_mutex_lock(&q->lock);
	b = front(q);
	born = b ? b->born_ns : UINT64_MAX;
	pthread_mutex_unlock(&q->lock);
	return born;
}

uint64_t queue__due(struct queue *q, uint64_t age_ns)
{
	uint64_t due = UINT64_MAX;
	const struct batch *b;

	pthread_mutex_lock(&q->lock);
	b = front(q);
	if (b && (b->node.next != &q->batches || full(q, b)))
		due = 0;
	else if (b)
		due = b->born_ns + age_ns;
	pthread_mutex_unlock(&q->lock);
	return due;
}

bool queue__backlog(struct queue *q)
{
	bool backlog;

	pthread_mutex_lock(&q->lock);
	/* All but the last one were closed by their successors. */
	backlog = !list_empty(&q->batches) && q->batches.next->next != &q->batches &&
		  (q->batches.next->next->next != &q->batches ||
			  full(q, list_entry(q->batches.prev, struct batch, node)));
	pthread_mutex_unlock(&q->lock);
	return backlog;
}

void queue__untake(struct queue *q, struct batch *b)
{
	pthread_mutex_lock(&q->lock);
	q->waiting_events += b->count;
	q->waiting_bytes += batch__bytes(b);
	b->node.prev = &q->batches;
	b->node.next = q->batches.next;
	q->batches.next->prev = &b->node;
	q->batches.next = &b->node;
	pthread_mutex_unlock(&q->lock);
}

void queue__uncharge(struct queue *q, uint64_t events, uint64_t bytes)
{
	pthread_mutex_lock(&q->lock);
	q->events -= events;
	q->bytes -= bytes;
	pthread_mutex_unlock(&q->lock);
}

void queue__recycle(struct queue *q, struct batch *b)
{
	bool kept = false;

	if (!b)
		return;
	batch__clear(b);
	pthread_mutex_lock(&q->lock);
	if (q->spares < SPARE_MAX && b->cap <= SPARE_BYTES_MAX) {
		list_push_back(&q->spare, &b->node);
		q->spares++;
		kept = true;
	}
	pthread_mutex_unlock(&q->lock);
	if (!kept)
		batch__free(b);
}

void queue__close(struct queue *q)
{
	pthread_mutex_lock(&q->lock);
	q->closed = true;
	pthread_mutex_unlock(&q->lock);
}

void queue__level(struct queue *q, uint64_t *events, uint64_t *bytes)
{
	pthread_mutex_lock(&q->lock);
	*events = q->events;
	*bytes = q->bytes;
	pthread_mutex_unlock(&q->lock);
}

void queue__waiting(struct queue *q, uint64_t *events, uint64_t *bytes)
{
	pthread_mutex_lock(&q->lock);
	*events = q->waiting_events;
	*bytes = q->waiting_bytes;
	pthread_mutex_unlock(&q->lock);
}
