#include "wire/conns.h"

#include <errno.h>
#include <stdlib.h>

#include "base/stats.h"
#include "wire/conn.h"
#include "wire/dropped.h"

#define WORKERS_MAX 4096
#define VICTIMS_MAX 16		/* idle connections that are looked at for one that costs nothing */
#define QUIET_NS 10000000000ull /* what moved nothing for so long may be given up for another connection */

/* Time: a connection with an open exchange is in `busy`, in the order in which it is to be looked at again; any other
 * in `idle`, the one that was quiet for longest first. So a tick looks only at those whose time has come. */
struct conns {
	struct wire_limits limits;
	uint32_t request_body, response_body; /* while bodies are captured */
	bool without_bodies;
	uint32_t stands_for;
	struct wire_budget budget;
	struct conn_ignore_sink ignore;
	struct proto_env env; /* what a connection's environment is copied from */
	struct hmap map;
	struct workers workers;
	struct list busy, idle;
	struct dropped dropped;
	uint64_t next_serial, next_exchange;
	uint64_t now_ns;
};

struct conns *conns__new(const struct wire_limits *limits, struct exchange_sink sink, struct conn_ignore_sink ignore)
{
	struct conns *c = calloc(1, sizeof(*c));

	if (!c)
		return NULL;
	c->limits = *limits;
	c->request_body = limits->request_body;
	c->response_body = limits->response_body;
	c->stands_for = 1;
	c->budget.max = limits->total_bytes;
	c->ignore = ignore;
	c->next_serial = c->next_exchange = 1;
	c->env = (struct proto_env){.limits = &c->limits,
		.budget = &c->budget,
		.stands_for = &c->stands_for,
		.sink = sink,
		.next_exchange_id = &c->next_exchange};
	list_init(&c->busy);
	list_init(&c->idle);
	if (hmap__init(&c->map) || workers__init(&c->workers, WORKERS_MAX)) {
		conns__free(c);
		errno = ENOMEM;
		return NULL;
	}
	return c;
}

static void apply_bodies(struct conns *c)
{
	c->limits.request_body = c->without_bodies ? 0 : c->request_body;
	c->limits.response_body = c->without_bodies ? 0 : c->response_body;
}

void conns__set_bodies(struct conns *c, uint32_t request, uint32_t response)
{
	c->request_body = request;
	c->response_body = response;
	apply_bodies(c);
}

void conns__set_exclude_types(struct conns *c, struct media_types types)
{
	c->limits.exclude_types = types;
}

/* Without gen: the lives of one fd or SSL pointer are found together. */
static uint64_t key_hash(const struct conn_key *k)
{
	return hash_u64(k->obj ^ (uint64_t)k->pid << 33 ^ (uint64_t)k->tls << 32);
}

static struct conn *find(const struct conns *c, const struct conn_key *k)
{
	for (struct hnode *n = hmap__first(&c->map, key_hash(k)); n; n = hmap__next_same(n)) {
		struct conn *it = hmap_entry(n, struct conn, node);

		if (conn_key_eq(&it->facts.key, k))
			return it;
	}
	return NULL;
}

static void tell_over(struct conns *c, const struct conn_key *k)
{
	if (c->ignore.over)
		c->ignore.over(c->ignore.ctx, k);
}

static void let_go(struct conns *c, struct conn *it)
{
	if (it->told)
		tell_over(c, &it->facts.key);
	hmap__remove(&c->map, &it->node);
	conn__free(it);
	stats_inc(STAT_wire_conns_closed);
}

static void forget(struct conns *c, struct conn *it)
{
	struct worker *w = it->worker;

	let_go(c, it);
	workers__drop(&c->workers, w, false);
}

static void end(struct conns *c, struct conn *it, enum conn_ending why, uint64_t t_ns)
{
	conn__end(it, why, t_ns);
	forget(c, it);
}

static void tell_ignore(struct conns *c, const struct conn_key *k)
{
	if (c->ignore.fn)
		c->ignore.fn(c->ignore.ctx, k);
}

static bool quiet_for(const struct conn *it, uint64_t now_ns, uint64_t ns)
{
	return it->last_ns <= now_ns && now_ns - it->last_ns >= ns;
}

static void remember(struct conns *c, const struct conn *it)
{
	const uint64_t pos[2] = {it->stream[0].next, it->stream[1].next};

	dropped__add(&c->dropped, &it->facts.key, pos);
}

/* One of those that were quiet for longest. With nothing open, HTTP/1 is itself again at its next call; HTTP/2 has lost
 * its table for good, and what has not spoken yet its beginning. */
static struct conn *victim(struct conns *c, uint64_t quiet_ns)
{
	struct list *at = c->idle.next;
	struct conn *it;

	for (int i = 0; i < VICTIMS_MAX && at != &c->idle; i++, at = at->next) {
		it = list_entry(at, struct conn, by_time);
		if (it->facts.proto == PROTO_HTTP1)
			return it;
	}
	it = list_entry(c->idle.next, struct conn, by_time);
	if (!list_empty(&c->idle) && quiet_for(it, c->now_ns, quiet_ns))
		return it;
	it = list_entry(c->busy.next, struct conn, by_time);
	return !list_empty(&c->busy) && quiet_for(it, c->now_ns, quiet_ns) ? it : NULL;
}

/* What goes on is not given up for what comes: quiet_ns is how long one that loses by it must have been quiet. */
static bool evict_one(struct conns *c, uint64_t quiet_ns)
{
	struct conn *it = victim(c, quiet_ns);

	if (!it)
		return false;
	stats_inc(STAT_wire_conns_over_limit);
	remember(c, it);
	end(c, it, ENDING_LIMIT, c->now_ns);
	return true;
}

/* A connection wants more than itself: two are let go for one, so that at the limit it does not starve. */
static struct conn *new_conn(struct conns *c, const struct conn_key *key)
{
	struct conn *it;

	if (c->map.count >= c->limits.conns && !evict_one(c, 0))
		return NULL;
	it = conn__new(&c->env, key, c->next_serial);
	if (it || errno != ENOSPC || !evict_one(c, QUIET_NS))
		return it;
	evict_one(c, QUIET_NS);
	return conn__new(&c->env, key, c->next_serial);
}

static struct conn *make(struct conns *c, const struct conn_key *key)
{
	uint64_t pos[2] = {0, 0};
	bool again = dropped__take(&c->dropped, key, pos);
	struct conn *it = new_conn(c, key);
	struct worker *w;

	if (!it) {
		/* There is no room now; there may be when it comes again. */
		if (!again)
			stats_inc(STAT_wire_conns_over_limit);
		dropped__add(&c->dropped, key, pos);
		return NULL;
	}
	w = workers__get(&c->workers, key->pid);
	if (!w) {
		conn__free(it);
		stats_inc(STAT_wire_conns_over_limit);
		tell_ignore(c, key);
		return NULL;
	}
	c->next_serial++;
	for (int dir = 0; dir < 2; dir++) {
		it->stream[dir].next = pos[dir];
		it->behind[dir] = again || c->dropped.forgot;
	}
	it->worker = w;
	list_push_back(&w->conns, &it->of_worker);
	list_push_back(&c->idle, &it->by_time);
	hmap__insert(&c->map, &it->node, key_hash(key));
	stats_inc(STAT_wire_conns_opened);
	return it;
}

/* How long a busy connection is left alone: an idle stream is noticed at one and a half of its time at the latest. */
static uint64_t look_again_ns(const struct conns *c)
{
	uint64_t ns = c->limits.stream_idle_ns ? c->limits.stream_idle_ns : c->limits.conn_idle_ns;

	return ns > 1 ? ns / 2 : 1;
}

static void place(struct conns *c, struct conn *it, uint64_t t_ns)
{
	bool busy = conn__is_busy(it);

	it->last_ns = t_ns;
	if (busy && it->busy)
		return;
	list_remove(&it->by_time);
	if (busy)
		it->due_ns = c->now_ns + look_again_ns(c);
	list_push_back(busy ? &c->busy : &c->idle, &it->by_time);
	it->busy = busy;
}

/* An object that is in a new life cannot still be in its earlier one, whose end was lost then. So there is one at a
 * time. False: this life is the earlier one, and over. */
static bool end_earlier_lives(struct conns *c, const struct conn_key *k, uint64_t t_ns)
{
	struct hnode *n = hmap__first(&c->map, key_hash(k)), *next;

	for (; n; n = next) {
		struct conn *it = hmap_entry(n, struct conn, node);
		const struct conn_key *o = &it->facts.key;

		next = hmap__next_same(n);
		if (o->pid != k->pid || o->obj != k->obj || o->tls != k->tls)
			continue;
		if (o->gen > k->gen)
			return false;
		end(c, it, ENDING_CLOSE, t_ns);
	}
	return true;
}

static void on_open(struct conns *c, const struct rec_open *open, uint64_t t_ns)
{
	struct conn *it = find(c, &open->key);

	if (!it && end_earlier_lives(c, &open->key, t_ns))
		it = make(c, &open->key);
	if (!it)
		return;
	conn__learn(it, open);
	place(c, it, t_ns);
}

/* It comes again after it was let go. */
static void catch_up(struct conn *it, enum direction dir, uint64_t pos, uint64_t t_ns)
{
	it->behind[dir] = false;
	conn__gap(it, dir, stream__end(&it->stream[dir], pos, GAP_LIMIT), GAP_LIMIT, t_ns);
}

static void on_data(struct conns *c, const struct rec_data *d, uint64_t t_ns)
{
	enum direction dir = d->dir == DIR_OUT ? DIR_OUT : DIR_IN;
	struct conn *it = find(c, &d->key);
	struct stream_step st;
	bool useful;

	if (!it && !end_earlier_lives(c, &d->key, t_ns)) {
		stats_add(STAT_wire_late_bytes, d->data.n);
		return;
	}
	if (!it)
		it = make(c, &d->key);
	if (!it)
		return;
	if (it->behind[dir])
		catch_up(it, dir, d->pos, t_ns);
	if (stream__take(&it->stream[dir], d, &st)) {
		stats_inc(STAT_capture_bad_records);
		return;
	}
	if (st.data.n < d->data.n && conn__is_end(it, dir, d->data)) {
		st.data = d->data;
		st.fragment_start = true;
	}
	conn__turn(it, dir, d->pos);
	useful = conn__gap(it, dir, st.lost, GAP_LOST, t_ns);
	useful = conn__data(it, dir, st.data, t_ns, st.fragment_start) && useful;
	useful = conn__gap(it, dir, st.gap, st.cause, t_ns) && useful;
	if (it->no_room) {
		remember(c, it);
		forget(c, it);
		return;
	}
	if (!useful) {
		it->told = true;
		tell_ignore(c, &d->key);
	} else if (c->ignore.skip && conn__skip(it, dir)) {
		it->told = true;
		c->ignore.skip(c->ignore.ctx, &d->key, it->skip);
	}
	place(c, it, t_ns);
}

/* What is missing at the end was not asked for, or is lost. */
static void end_stream(struct conn *it, enum direction dir, uint64_t pos, uint64_t t_ns)
{
	uint64_t asked = it->skip[dir].until < pos ? it->skip[dir].until : pos;

	if (it->behind[dir])
		catch_up(it, dir, pos, t_ns);
	conn__gap(it, dir, stream__end(&it->stream[dir], asked, GAP_LIMIT), GAP_LIMIT, t_ns);
	conn__gap(it, dir, stream__end(&it->stream[dir], pos, GAP_LOST), GAP_LOST, t_ns);
}

static void on_close(struct conns *c, const struct rec_close *cl, uint64_t t_ns)
{
	struct conn *it = find(c, &cl->key);
	uint64_t pos[2];

	if (!it) {
		if (dropped__take(&c->dropped, &cl->key, pos)) {
			(void)stream__end(&(struct stream){.next = pos[DIR_IN]}, cl->in_pos, GAP_LIMIT);
			(void)stream__end(&(struct stream){.next = pos[DIR_OUT]}, cl->out_pos, GAP_LIMIT);
		}
		/* There may have been no room for it, which was told. */
		tell_over(c, &cl->key);
		return;
	}
	end_stream(it, DIR_IN, cl->in_pos, t_ns);
	end_stream(it, DIR_OUT, cl->out_pos, t_ns);
	end(c, it, cl->limited ? ENDING_LIMIT : ENDING_CLOSE, t_ns);
}

static void on_worker_exit(struct conns *c, uint32_t pid, uint64_t t_ns)
{
	struct worker *w = workers__find(&c->workers, pid);
	struct list *at, *tmp;

	if (!w)
		return;
	list_for_each_safe (at, tmp, &w->conns) {
		struct conn *it = list_entry(at, struct conn, of_worker);

		conn__end(it, ENDING_EXIT, t_ns);
		let_go(c, it);
	}
	workers__drop(&c->workers, w, true);
}

static void tick_busy(struct conns *c, uint64_t now_ns)
{
	while (!list_empty(&c->busy)) {
		struct conn *it = list_entry(c->busy.next, struct conn, by_time);

		if (it->due_ns > now_ns)
			return;
		if (quiet_for(it, now_ns, c->limits.conn_idle_ns)) {
			end(c, it, ENDING_LIMIT, now_ns);
			continue;
		}
		it->ops->tick(it->proto, now_ns);
		it->due_ns = now_ns + look_again_ns(c);
		list_remove(&it->by_time);
		it->busy = conn__is_busy(it);
		list_push_back(it->busy ? &c->busy : &c->idle, &it->by_time);
	}
}

static void on_tick(struct conns *c, uint64_t now_ns)
{
	tick_busy(c, now_ns);
	while (!list_empty(&c->idle)) {
		struct conn *it = list_entry(c->idle.next, struct conn, by_time);

		if (!quiet_for(it, now_ns, c->limits.conn_idle_ns))
			return;
		end(c, it, ENDING_LIMIT, now_ns);
	}
}

/* For calls that begin from here on. */
static void on_govern(struct conns *c, const struct rec_govern *g, uint64_t t_ns)
{
	c->without_bodies = !g->bodies;
	apply_bodies(c);
	c->stands_for = 1u << g->shift;
	if (g->detached)
		conns__flush(c, t_ns);
}

void conns__on_record(struct conns *c, const struct record *rec)
{
	if (rec->t_ns > c->now_ns)
		c->now_ns = rec->t_ns;
	switch (rec->kind) {
	case REC_OPEN:
		on_open(c, &rec->open, rec->t_ns);
		return;
	case REC_DATA:
		on_data(c, &rec->data, rec->t_ns);
		return;
	case REC_CLOSE:
		on_close(c, &rec->close, rec->t_ns);
		return;
	case REC_WORKER:
		workers__learn(&c->workers, &rec->worker);
		return;
	case REC_EXIT:
		on_worker_exit(c, rec->exit.pid, rec->t_ns);
		return;
	case REC_GOVERN:
		on_govern(c, &rec->govern, rec->t_ns);
		return;
	case REC_TICK:
		on_tick(c, c->now_ns);
		return;
	default:
		/* For other stages. */
		return;
	}
}

void conns__flush(struct conns *c, uint64_t t_ns)
{
	/* Those with something open in the order in which it began to be so; the rest has nothing to hand on. */
	while (!list_empty(&c->busy))
		end(c, list_entry(c->busy.next, struct conn, by_time), ENDING_FLUSH, t_ns);
	while (!list_empty(&c->idle))
		end(c, list_entry(c->idle.next, struct conn, by_time), ENDING_FLUSH, t_ns);
}

size_t conns__count(const struct conns *c)
{
	return c->map.count;
}

uint64_t conns__memory(const struct conns *c)
{
	return c->budget.used;
}

const struct rec_worker *conns__worker(const struct conns *c, uint32_t pid)
{
	struct worker *w = workers__find(&c->workers, pid);

	return w ? w->info : NULL;
}

void conns__free(struct conns *c)
{
	if (!c)
		return;
	conns__flush(c, c->now_ns);
	workers__free(&c->workers);
	dropped__free(&c->dropped);
	hmap__free(&c->map);
	free(c);
}
