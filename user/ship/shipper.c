#include "ship/shipper.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/stats.h"
#include "ship/sender.h"
#include "ship/verdict.h"

/* As much of an answer as the probe reads. */
#define PROBE_MAX (4u << 20)

struct shipper {
	struct sender sender;
};

static void wake_sender(void *ctx)
{
	struct shipper *s = ctx;

	if (s->sender.http)
		http__wake(s->sender.http);
}

static int make_queue(struct shipper *s, const struct ship_options *o)
{
	struct queue_limits limits = {
		.events = o->event_queue_size,
		.bytes = o->queue_bytes,
		.batch_events = o->batch_size ? o->batch_size : 1,
		.batch_bytes = o->batch_bytes,
	};

	/* Only a spool can make room, for batches that fit into it. */
	if (o->spool_dir) {
		if (limits.batch_bytes > o->spool_bytes / 8)
			limits.batch_bytes = o->spool_bytes / 8;
		limits.notice_events = o->event_queue_size / 2;
		limits.notice_bytes = o->queue_bytes / 2;
	}
	s->sender.queue = queue__new(&limits, (struct queue_wake){wake_sender, s});
	return s->sender.queue ? 0 : -ENOMEM;
}

/* Some of what is wrong with a disk passes, and calls are not to be missed for it; all else is somebody's mistake. */
static bool may_pass(int err)
{
	return err == -EROFS || err == -EACCES || err == -EPERM || err == -ENOSPC || err == -EDQUOT || err == -EIO;
}

static int open_spool(struct sender *s)
{
	int err;

	s->spool = spool__open(s->o->spool_dir, s->o->spool_bytes, &s->recovered);
	if (s->spool)
		return 0;
	err = -errno;
	log_err("spool", "spool_dir %s cannot be used: %s%s", s->o->spool_dir,
		err == -EBUSY ? "another agent has it" : strerror(-err),
		may_pass(err) ? "; events stay in memory, and it is tried again every second" : "");
	return may_pass(err) ? 0 : err;
}

struct shipper *shipper__new(const struct ship_options *o, struct remote_sink remote)
{
	struct shipper *s = calloc(1, sizeof(*s));
	int err;

	if (!s)
		return NULL;
	s->sender.o = o;
	pthread_mutex_init(&s->sender.lock, NULL);
	remote__init(&s->sender.remote, o, remote, 0);
	err = make_queue(s, o);
	if (!err && o->spool_dir)
		err = open_spool(&s->sender);
	if (!err)
		err = sender__start(&s->sender);
	if (err) {
		shipper__free(s);
		errno = -err;
		return NULL;
	}
	return s;
}

int shipper__give(struct shipper *s, struct span event_json)
{
	int err = event_json.n ? queue__give(s->sender.queue, event_json) : -EINVAL;

	if (!err)
		return 0;
	stats_inc(STAT_queue_dropped_full);
	return -ENOSPC;
}

void shipper__status(struct shipper *s, struct ship_status *ret)
{
	pthread_mutex_lock(&s->sender.lock);
	*ret = s->sender.status;
	pthread_mutex_unlock(&s->sender.lock);
	queue__level(s->sender.queue, &ret->queued_events, &ret->queued_bytes);
}

void shipper__stop(struct shipper *s)
{
	queue__close(s->sender.queue);
	sender__stop(&s->sender);
}

void shipper__free(struct shipper *s)
{
	if (!s)
		return;
	if (s->sender.queue)
		shipper__stop(s);
	/* Still here only when the thread never ran. */
	spool__close(s->sender.spool);
	http__free(s->sender.http);
	queue__free(s->sender.queue);
	pthread_mutex_destroy(&s->sender.lock);
	free(s);
}

struct probe {
	bool over;
	long status;
	char text[160];
};

static void on_probe(void *ctx, void *token, const struct http_answer *a)
{
	struct probe *p = ctx;

	(void)token;
	p->over = true;
	p->status = a->status;
	verdict_text(a, p->text, sizeof(p->text));
}

int shipper_probe(const struct ship_options *o, char *ret, size_t size)
{
	struct probe p = {.text = "not usable: check application_id, api_endpoint and compression"};
	struct http *h = http__new(o, 1, (struct http_sink){on_probe, &p});

	if (h && http__get(h, "/v1/config", PROBE_MAX, &p) == 0)
		while (!p.over) /* ends: the request has its own time limits */
			http__run(h, 100);
	http__free(h);
	snprintf(ret, size, "%s", p.text);
	if (p.status >= 200 && p.status <= 299)
		return 0;
	return p.status >= 401 && p.status <= 403 ? -EACCES : -EIO;
}
