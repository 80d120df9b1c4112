#include "ops/ops.h"

#include <errno.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/stats.h"
#include "ops/loss.h"
#include "ops/routes.h"

#define NS_PER_S 1000000000ull

struct ops {
	struct gauge_source gauges;
	struct routes routes;
	struct httpd *httpd;
	uint64_t started_wall_ns;
	uint64_t last_tick; /* atomic */

	/* The agent's thread writes, any thread reads. */
	struct tally tally;

	/* Of the agent's thread. */
	struct ops_snapshot draft;
	uint64_t peaks[PEAK_SECONDS];
	unsigned peak_at;
	uint64_t seen_before;

	pthread_mutex_t lock;
	struct ops_snapshot shared; /* under the lock */
	bool ready;
	char not_ready[128];
};

/* In the endpoint's thread. */
static void look(void *ctx, bool whole, struct ops_view *ret)
{
	struct ops *ops = ctx;
	uint64_t tick;

	pthread_mutex_lock(&ops->lock);
	if (whole)
		ret->snap = ops->shared;
	else
		ret->snap.gauges.workers = ops->shared.gauges.workers;
	ret->ready = ops->ready;
	memcpy(ret->not_ready, ops->not_ready, sizeof(ret->not_ready));
	pthread_mutex_unlock(&ops->lock);
	tally__read(&ops->tally, &ret->tally);
	ret->now_ns = clock_mono_ns();
	ret->now_wall_ns = clock_wall_ns();
	ret->started_wall_ns = ops->started_wall_ns;
	tick = __atomic_load_n(&ops->last_tick, __ATOMIC_RELAXED);
	ret->quiet_ns = ret->now_ns > tick ? ret->now_ns - tick : 0;
}

static void measure(struct ops_snapshot *s, struct history_now *ret)
{
	process_read(&s->process);
	*ret = (struct history_now){
		.lost = loss_sum(),
		.queued = s->gauges.queued_events + s->gauges.spooled_events,
		.cpu_ns = s->process.cpu_ns,
		.resident = s->process.resident_bytes,
	};
}

static bool is_loopback(const struct endpoint *e)
{
	if (e->family == ADDR_IP4)
		return e->addr[0] == 127;
	return e->family == ADDR_IP6 && memcmp(e->addr, &in6addr_loopback, sizeof(in6addr_loopback)) == 0;
}

static void warn_of_exposure(const struct ops_options *o)
{
	struct endpoint e;

	if (o->last_calls && !endpoint_parse(span_str(o->listen), &e) && !is_loopback(&e))
		log_warn("ops",
			"the status page shows the last %u calls to everybody who can reach %s: status_page_calls",
			o->last_calls, o->listen);
}

static void listen_for_operators(struct ops *ops, const struct ops_options *o)
{
	struct httpd_sink sink = {.fn = routes__answer, .ctx = &ops->routes};

	ops->httpd = httpd__new(o->listen, sink);
	if (!ops->httpd) {
		log_warn("ops",
			"no metrics and no status page: cannot listen on %s (metrics_listen): %s; capture goes on",
			o->listen, strerror(errno));
		return;
	}
	warn_of_exposure(o);
	log_info("ops", "metrics and status page on %s, port %u", o->listen, httpd__port(ops->httpd));
}

struct ops *ops__new(const struct ops_options *o)
{
	struct ops *ops = calloc(1, sizeof(*ops));
	struct history_now now;

	if (!ops)
		return NULL;
	pthread_mutex_init(&ops->lock, NULL);
	ops->gauges = o->gauges;
	ops->routes.look = look;
	ops->routes.ctx = ops;
	ops->started_wall_ns = process_start();
	ops->draft.recent.want = o->last_calls < RECENT_MAX ? o->last_calls : RECENT_MAX;
	ops->last_tick = clock_mono_ns();
	snprintf(ops->not_ready, sizeof(ops->not_ready), "starting");
	measure(&ops->draft, &now);
	history__init(&ops->draft.history, ops->last_tick, &ops->tally, &now);
	ops->shared = ops->draft;
	if (routes__init(&ops->routes)) {
		ops__free(ops);
		errno = EBADMSG;
		return NULL;
	}
	listen_for_operators(ops, o);
	return ops;
}

uint16_t ops__port(const struct ops *ops)
{
	return ops && ops->httpd ? httpd__port(ops->httpd) : 0;
}

void ops__on_record(struct ops *ops, const struct record *rec)
{
	if (ops && ops->httpd)
		worker_table__on_record(&ops->draft.workers, rec);
}

void ops__on_event(struct ops *ops, const struct event *e)
{
	if (!ops || !ops->httpd)
		return;
	tally__event(&ops->tally, e);
	recent__event(&ops->draft.recent, e);
}

/* Rare, and held elsewhere for the time of a copy only. */
void ops__set_ready(struct ops *ops, const char *why_not)
{
	if (!ops)
		return;
	pthread_mutex_lock(&ops->lock);
	ops->ready = !why_not;
	ops->shared = ops->draft; /* who hears of it may ask at once for how many workers */
	snprintf(ops->not_ready, sizeof(ops->not_ready), "%s", why_not ? why_not : "");
	pthread_mutex_unlock(&ops->lock);
}

static void update_peak(struct ops *ops)
{
	uint64_t most = 0;

	ops->peaks[ops->peak_at] = ops->draft.gauges.ring_peak_bytes;
	ops->peak_at = (ops->peak_at + 1) % PEAK_SECONDS;
	for (unsigned i = 0; i < PEAK_SECONDS; i++)
		most = ops->peaks[i] > most ? ops->peaks[i] : most;
	ops->draft.ring_peak_bytes = most;
}

static void update_rate(struct ops *ops, uint64_t passed_ns)
{
	uint64_t seen = stats_get(STAT_txn_seen);
	double now = (double)(seen - ops->seen_before) * 1e9 / (double)passed_ns;

	ops->seen_before = seen;
	ops->draft.calls_rate = ops->draft.taken_ns ? ops->draft.calls_rate * 0.6 + now * 0.4 : now;
}

static void draw_up(struct ops *ops, uint64_t now_ns, uint64_t passed_ns)
{
	struct gauges *g = &ops->draft.gauges;
	struct history_now now;

	memset(g, 0, sizeof(*g));
	if (ops->gauges.fn)
		ops->gauges.fn(ops->gauges.ctx, g);
	update_peak(ops);
	update_rate(ops, passed_ns);
	measure(&ops->draft, &now);
	history__tick(&ops->draft.history, now_ns, &ops->tally, &now);
	ops->draft.taken_ns = now_ns;
}

void ops__tick(struct ops *ops)
{
	uint64_t now, last;

	if (!ops || !ops->httpd)
		return;
	now = clock_mono_ns();
	__atomic_store_n(&ops->last_tick, now, __ATOMIC_RELAXED);
	last = ops->draft.taken_ns;
	if (last && now - last < NS_PER_S)
		return;
	draw_up(ops, now, last ? now - last : NS_PER_S);
	/* Somebody is copying right now: the next second will do. */
	if (pthread_mutex_trylock(&ops->lock))
		return;
	ops->shared = ops->draft;
	pthread_mutex_unlock(&ops->lock);
}

void ops__free(struct ops *ops)
{
	if (!ops)
		return;
	httpd__free(ops->httpd);
	pthread_mutex_destroy(&ops->lock);
	free(ops);
}
