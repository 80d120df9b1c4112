/* What may not stay in memory alone: events that are older than spool_sync, and those that a full queue would refuse.
 */
#include <errno.h>

#include "base/log.h"
#include "base/stats.h"
#include "ship/sender.h"

/* After a failed write the disk is left in peace for this long. */
#define DISK_RETRY_NS (1000 * NS_PER_MS)

/* Written when three quarters of the promised time are over: the rest is for the write and for a busy machine. */
static uint64_t keep_age(const struct sender *s)
{
	return (uint64_t)s->o->spool_sync * NS_PER_MS * 3 / 4;
}

static void disk_failed(struct sender *s, uint64_t now_ns, int err)
{
	s->spool_retry_ns = now_ns + DISK_RETRY_NS;
	if (log_rate(&s->disk_failures))
		log_warn("spool", "cannot write to %s: %s; events stay in memory (%lu times so far)", s->o->spool_dir,
			strerror(-err), s->disk_failures);
}

/* A batch that goes on being held or flying gets a copy on disk. */
static int keep_copy(struct sender *s, struct batch *b)
{
	int err = spool__put(s->spool, b, true);

	if (err)
		return err;
	queue__uncharge(s->queue, b->count, b->charge);
	b->charge = 0;
	return 0;
}

static int keep_copies(struct sender *s, struct list *head, uint64_t now_ns)
{
	struct list *it;

	for (it = head->next; it != head; it = it->next) {
		struct batch *b = list_entry(it, struct batch, node);
		int err;

		if (b->ref || now_ns - b->born_ns < keep_age(s))
			continue;
		err = keep_copy(s, b);
		if (err)
			return err;
	}
	return 0;
}

/* From the queue to the disk. */
static int move(struct sender *s, struct batch *b)
{
	int err = spool__put(s->spool, b, false);

	if (err) {
		queue__untake(s->queue, b);
		return err;
	}
	queue__uncharge(s->queue, b->count, b->charge);
	queue__recycle(s->queue, b);
	return 0;
}

static bool crowded(struct sender *s)
{
	uint64_t events, bytes;

	queue__waiting(s->queue, &events, &bytes);
	return bytes > s->o->queue_bytes / 2 || events > s->o->event_queue_size / 2;
}

static int move_old(struct sender *s, uint64_t now_ns)
{
	struct batch *b;
	int err = 0;

	while (!err && (b = queue__take_old(s->queue, now_ns, crowded(s) ? 0 : keep_age(s))))
		err = move(s, b);
	return err;
}

void safekeeping__begin(struct sender *s)
{
	stats_add(STAT_ship_recovered_events, s->recovered);
	if (s->recovered)
		log_info("spool", "%llu events of an earlier run wait on disk", (unsigned long long)s->recovered);
}

/* At the start the disk was not to be used; it may be by now. */
static bool open_late(struct sender *s, uint64_t now_ns)
{
	if (!s->o->spool_dir || s->stopping || now_ns < s->spool_retry_ns)
		return false;
	s->spool = spool__open(s->o->spool_dir, s->o->spool_bytes, &s->recovered);
	if (!s->spool) {
		s->spool_retry_ns = now_ns + DISK_RETRY_NS;
		return false;
	}
	log_info("spool", "spool_dir %s can be used now", s->o->spool_dir);
	safekeeping__begin(s);
	return true;
}

void safekeeping__run(struct sender *s, uint64_t now_ns)
{
	int err = 0;

	if (!s->spool && !open_late(s, now_ns))
		return;
	if (now_ns >= s->spool_retry_ns) {
		err = keep_copies(s, &s->flying, now_ns);
		if (!err)
			err = keep_copies(s, &s->held, now_ns);
		if (!err)
			err = move_old(s, now_ns);
	}
	if (!err && spool__dirty(s->spool) && now_ns - s->synced_ns >= s->o->spool_sync * NS_PER_MS) {
		err = spool__sync(s->spool);
		s->synced_ns = now_ns;
	}
	if (err)
		disk_failed(s, now_ns, err);
}

static uint64_t first_uncopied(const struct list *head)
{
	uint64_t born = UINT64_MAX;

	for (const struct list *it = head->next; it != head; it = it->next) {
		const struct batch *b = list_entry(it, struct batch, node);

		if (!b->ref && b->born_ns < born)
			born = b->born_ns;
	}
	return born;
}

uint64_t safekeeping__due(struct sender *s, uint64_t now_ns)
{
	uint64_t born, due = UINT64_MAX, other;

	if (!s->spool)
		return UINT64_MAX;
	born = queue__born(s->queue);
	other = first_uncopied(&s->flying);
	born = other < born ? other : born;
	other = first_uncopied(&s->held);
	born = other < born ? other : born;
	if (born != UINT64_MAX)
		due = born + keep_age(s);
	if (crowded(s))
		due = now_ns;
	if (due < s->spool_retry_ns)
		due = s->spool_retry_ns;
	if (spool__dirty(s->spool) && s->synced_ns + s->o->spool_sync * NS_PER_MS < due)
		due = s->synced_ns + s->o->spool_sync * NS_PER_MS;
	return due;
}

static void last_of(struct sender *s, struct batch *b)
{
	if (b->ref) {
		spool_ref__leave(b->ref);
		b->ref = NULL;
		queue__recycle(s->queue, b);
		return;
	}
	if (!s->spool || spool__put(s->spool, b, false))
		stats_add(STAT_ship_dropped_shutdown, b->count);
	queue__uncharge(s->queue, b->count, b->charge);
	queue__recycle(s->queue, b);
}

void safekeeping__last(struct sender *s)
{
	struct list *it, *tmp;
	struct batch *b;

	list_for_each_safe (it, tmp, &s->flying) {
		b = list_entry(it, struct batch, node);
		http__cancel(s->http, b);
		list_remove(it);
		s->nflying--;
		delivery__hold(s, b);
	}
	list_for_each_safe (it, tmp, &s->held) {
		list_remove(it);
		last_of(s, list_entry(it, struct batch, node));
	}
	while ((b = queue__take(s->queue, 0, 0)))
		last_of(s, b);
	if (s->spool)
		spool__sync(s->spool);
}
