#include "ship/sender.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/stats.h"

/* The status is brought up to date at least so often. */
#define IDLE_NS (1000 * NS_PER_MS)

uint64_t sender_batch_age(const struct sender *s)
{
	uint64_t age = s->o->batch_age * NS_PER_MS, half = s->o->spool_sync * NS_PER_MS / 2;

	/* Sent before it would have to be written to disk: a collector that answers keeps the disk idle. */
	return s->spool && half < age ? half : age;
}

static void on_answer(void *ctx, void *token, const struct http_answer *a)
{
	struct sender *s = ctx;
	uint64_t now = clock_mono_ns();

	if (remote__owns(&s->remote, token))
		remote__on_answer(&s->remote, now, token, a);
	else
		delivery__on_answer(s, now, token, a);
	remote__on_tags(&s->remote, now, a);
}

static void publish(struct sender *s)
{
	pthread_mutex_lock(&s->lock);
	s->status.state = s->gate.state;
	if (s->spool)
		spool__level(s->spool, &s->status.spooled_events, &s->status.spooled_bytes);
	pthread_mutex_unlock(&s->lock);
}

static void look_for_stop(struct sender *s, uint64_t now_ns)
{
	bool wanted;

	pthread_mutex_lock(&s->lock);
	wanted = s->stop_wanted;
	pthread_mutex_unlock(&s->lock);
	if (!wanted || s->stopping)
		return;
	s->stopping = true;
	s->deadline_ns = now_ns + s->o->shutdown_timeout * NS_PER_MS;
	gate__hurry(&s->gate);
}

/* Nothing is left to do, or there is no point in trying on. */
static bool is_over(struct sender *s, uint64_t now_ns)
{
	bool idle;

	if (!s->stopping)
		return false;
	if (now_ns >= s->deadline_ns || s->gate.state == SHIP_REFUSED)
		return true;
	/* With a spool there is a better place to wait than here. */
	if (s->spool && s->gate.failures && !s->nflying && gate__width(&s->gate, now_ns) == 0)
		return true;
	idle = list_empty(&s->held) && s->nflying == 0 && queue__due(s->queue, 0) == UINT64_MAX;
	return idle;
}

static int wait_ms(struct sender *s, uint64_t now_ns)
{
	uint64_t due = now_ns + IDLE_NS, other;

	other = delivery__due(s, now_ns);
	due = other < due ? other : due;
	other = safekeeping__due(s, now_ns);
	due = other < due ? other : due;
	other = s->stopping ? s->deadline_ns : remote__due(&s->remote);
	due = other < due ? other : due;
	/* Rounded up, so that what is due is due when we wake. */
	return due <= now_ns ? 0 : (int)((due - now_ns + NS_PER_MS - 1) / NS_PER_MS);
}

static void loop(struct sender *s)
{
	for (;;) {
		uint64_t now = clock_mono_ns();

		look_for_stop(s, now);
		safekeeping__run(s, now);
		delivery__start(s, now);
		if (!s->stopping)
			remote__run(&s->remote, s->http, now);
		publish(s);
		if (is_over(s, now))
			break;
		http__run(s->http, wait_ms(s, now));
	}
}

static void *run(void *ctx)
{
	struct sender *s = ctx;

	safekeeping__begin(s);
	loop(s);
	safekeeping__last(s);
	publish(s);
	spool__close(s->spool);
	s->spool = NULL;
	return NULL;
}

int sender__start(struct sender *s)
{
	uint64_t now = clock_mono_ns();
	sigset_t all, before;
	int err;

	list_init(&s->held);
	list_init(&s->flying);
	gate__init(&s->gate, s->o, now);
	s->spool_seq = 1;
	s->http = http__new(s->o, s->o->send_parallel + REMOTE_KINDS, (struct http_sink){on_answer, s});
	if (!s->http)
		return -errno;
	/* Signals are the main thread's. */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	err = pthread_create(&s->thread, NULL, run, s);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (err)
		return -err;
	s->running = true;
	pthread_setname_np(s->thread, "kongtap-ship");
	return 0;
}

void sender__stop(struct sender *s)
{
	if (!s->running)
		return;
	pthread_mutex_lock(&s->lock);
	s->stop_wanted = true;
	pthread_mutex_unlock(&s->lock);
	http__wake(s->http);
	pthread_join(s->thread, NULL);
	s->running = false;
}
