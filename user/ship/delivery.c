/* Requests and what their answers mean for the batches in them. */
#include <stdio.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/stats.h"
#include "ship/sender.h"
#include "ship/slim.h"
#include "ship/verdict.h"

/* The collector rejects what is older. */
#define EVENT_AGE_MAX_NS (30ull * 86400 * 1000000000)

/* A batch longer than this may break off so often while it is being sent before it is halved. */
#define BROKE_OFF_BYTES 65536
#define BROKE_OFF_MAX 5

#define READ_RETRY_NS (1000 * NS_PER_MS)

void delivery__finish(struct sender *s, struct batch *b)
{
	if (b->ref)
		spool__done(s->spool, b->ref, b->count);
	else
		queue__uncharge(s->queue, b->count, b->charge);
	b->ref = NULL;
	queue__recycle(s->queue, b);
}

static bool comes_before(const struct batch *a, const struct batch *b)
{
	return a->seq != b->seq ? a->seq < b->seq : a->part < b->part;
}

void delivery__hold(struct sender *s, struct batch *b)
{
	struct list *at = s->held.next;

	while (at != &s->held && comes_before(list_entry(at, struct batch, node), b))
		at = at->next;
	list_push_back(at, &b->node); /* before `at` */
}

static struct batch *first_held(struct sender *s)
{
	struct batch *b;

	if (list_empty(&s->held))
		return NULL;
	b = list_entry(s->held.next, struct batch, node);
	list_remove(&b->node);
	return b;
}

static struct batch *from_spool(struct sender *s, uint64_t now_ns)
{
	struct batch *b;

	/* At the end, what is on disk is safe there. */
	if (!s->spool || s->stopping || now_ns < s->spool_read_ns || !spool__pending(s->spool))
		return NULL;
	b = spool__next(s->spool);
	if (!b) {
		s->spool_read_ns = now_ns + READ_RETRY_NS;
		return NULL;
	}
	b->seq = s->spool_seq++;
	b->born_ns = now_ns;
	return b;
}

static struct batch *from_queue(struct sender *s, uint64_t now_ns)
{
	return queue__take(s->queue, now_ns, s->stopping ? 0 : sender_batch_age(s));
}

/* What failed before comes first. Then the spool, which is older, and the queue take turns, so that a long backlog does
 * not make every new event late. */
static struct batch *next_batch(struct sender *s, uint64_t now_ns)
{
	struct batch *b = first_held(s);

	if (b)
		return b;
	s->spool_turn = !s->spool_turn;
	if (s->spool_turn) {
		b = from_spool(s, now_ns);
		return b ? b : from_queue(s, now_ns);
	}
	b = from_queue(s, now_ns);
	return b ? b : from_spool(s, now_ns);
}

static bool expired(const struct batch *b)
{
	uint64_t now = clock_wall_ns();

	return now > b->wall_ns && now - b->wall_ns > EVENT_AGE_MAX_NS;
}

static void send(struct sender *s, uint64_t now_ns, struct batch *b)
{
	if (expired(b)) {
		stats_add(STAT_ship_dropped_expired, b->count);
		delivery__finish(s, b);
		return;
	}
	if (http__post(s->http, batch__body(b), b)) {
		delivery__hold(s, b);
		gate__on_retry(&s->gate, now_ns, 0, "out of memory");
		return;
	}
	if (b->tried)
		stats_inc(STAT_ship_retries);
	b->tried = true;
	list_push_back(&s->flying, &b->node);
	s->nflying++;
}

/* One request at a time keeps the order. A collector that answers more slowly than batches fill gets several, as long
 * as more than one waits or some are on disk. */
static bool may_send(struct sender *s, uint64_t now_ns)
{
	if (s->nflying >= gate__width(&s->gate, now_ns))
		return false;
	return !s->nflying || queue__backlog(s->queue) || (s->spool && spool__pending(s->spool));
}

void delivery__start(struct sender *s, uint64_t now_ns)
{
	while (may_send(s, now_ns)) {
		struct batch *b = next_batch(s, now_ns);

		if (!b)
			return;
		send(s, now_ns, b);
	}
}

uint64_t delivery__due(struct sender *s, uint64_t now_ns)
{
	bool old = s->spool && !s->stopping && spool__pending(s->spool);
	uint64_t due = queue__due(s->queue, s->stopping ? 0 : sender_batch_age(s));

	if (old && s->spool_read_ns < due)
		due = s->spool_read_ns;
	if (!list_empty(&s->held))
		due = 0;
	if (due == UINT64_MAX || !may_send(s, now_ns)) {
		/* An answer will tell, or the gate, or the queue when its next batch is full. */
		if (due == UINT64_MAX || s->nflying)
			return UINT64_MAX;
		return gate__due(&s->gate);
	}
	return due;
}

static void split(struct sender *s, uint64_t now_ns, struct batch *b)
{
	uint32_t half = b->count / 2;
	struct batch *left = batch__slice(b, 0, half), *right = left ? batch__slice(b, half, b->count) : NULL;

	if (!right) {
		batch__free(left);
		delivery__hold(s, b);
		gate__on_retry(&s->gate, now_ns, 0, "out of memory");
		return;
	}
	if (b->ref)
		spool_ref__share(b->ref);
	b->ref = NULL;
	queue__recycle(s->queue, b);
	delivery__hold(s, left);
	delivery__hold(s, right);
}

static void drop(struct sender *s, struct batch *b, enum counter cause, const char *why)
{
	static unsigned long logged;

	stats_add(cause, b->count);
	if (log_rate(&logged))
		log_warn("ship", "an event was dropped: %s (%lu so far)", why, logged);
	gate__on_dropped(&s->gate);
	delivery__finish(s, b);
}

static void on_poison(struct sender *s, uint64_t now_ns, struct batch *b, const char *why)
{
	if (b->count > 1)
		split(s, now_ns, b);
	else if (gate__on_poison(&s->gate, now_ns, why))
		delivery__hold(s, b);
	else
		drop(s, b, STAT_ship_dropped_poison, why);
}

/* One event that is too large by itself goes without its bodies, if that helps. */
static void on_too_large(struct sender *s, uint64_t now_ns, struct batch *b, const char *why)
{
	if (b->count > 1)
		split(s, now_ns, b);
	else if (!b->slim && batch__slim(b) == 0)
		delivery__hold(s, b);
	else
		drop(s, b, STAT_ship_dropped_too_large, why);
}

/* A long batch that breaks off time and again while it is being sent may be too much for the way to the collector: too
 * slow for send_timeout, or somebody on it answers 413 and hangs up before the answer can be read. */
static void on_retry(struct sender *s, uint64_t now_ns, struct batch *b, const struct http_answer *a)
{
	b->broke_off += a->broke_off;
	if (b->broke_off >= BROKE_OFF_MAX && b->count > 1 && b->n > BROKE_OFF_BYTES)
		split(s, now_ns, b);
	else
		delivery__hold(s, b);
}

static void on_delivered(struct sender *s, uint64_t now_ns, struct batch *b)
{
	stats_add(STAT_ship_sent_events, b->count);
	stats_inc(STAT_ship_sent_batches);
	gate__on_delivered(&s->gate, now_ns);
	delivery__finish(s, b);
}

static void note(struct sender *s, const struct http_answer *a, bool good, const char *why)
{
	pthread_mutex_lock(&s->lock);
	s->status.last_http_status = a->status;
	if (!good)
		snprintf(s->status.last_error, sizeof(s->status.last_error), "%.*s",
			(int)sizeof(s->status.last_error) - 1, why);
	pthread_mutex_unlock(&s->lock);
}

void delivery__on_answer(struct sender *s, uint64_t now_ns, struct batch *b, const struct http_answer *a)
{
	enum verdict verdict = verdict_of(a);
	char why[128];

	list_remove(&b->node);
	s->nflying--;
	verdict_text(a, why, sizeof(why));
	note(s, a, verdict == VERDICT_DELIVERED, why);
	if (verdict != VERDICT_DELIVERED)
		stats_inc(STAT_ship_failed_requests);
	switch (verdict) {
	case VERDICT_DELIVERED:
		on_delivered(s, now_ns, b);
		break;
	case VERDICT_RETRY:
		gate__on_retry(&s->gate, now_ns, a->retry_after_s, why);
		on_retry(s, now_ns, b, a);
		break;
	case VERDICT_TOO_LARGE:
		on_too_large(s, now_ns, b, why);
		break;
	case VERDICT_POISON:
		on_poison(s, now_ns, b, why);
		break;
	case VERDICT_PLAIN:
		log_warn("ship", "the collector does not take compressed requests: plain from now on");
		http__plain(s->http);
		delivery__hold(s, b);
		break;
	case VERDICT_REFUSED:
		delivery__hold(s, b);
		gate__on_refused(&s->gate, now_ns, why);
		break;
	}
}
