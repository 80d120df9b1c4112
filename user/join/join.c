/* Records of one worker come in the order of its calls, so a call's client request has begun before its upstream
 * request does, and that is when the two are linked by evidence: if exactly one open client call fits. The request id
 * comes later (the client leg shows it in the response only) and overrides the link.
 */
#include "join/join.h"

#include <errno.h>
#include <stdlib.h>

#include "base/hmap.h"
#include "base/list.h"
#include "base/stats.h"
#include "base/zalloc.h"
#include "join/evidence.h"

#define ID_MAX 64
#define TRIES_MAX 64 /* upstream exchanges of one call; Kong's retries default to 5, its limit is 32767 */

/* Open calls of the same evidence: many, where one client makes many alike at once, so nobody looks at each. */
struct group {
	struct hnode node;
	struct list open;
	uint64_t evidence;
	uint32_t n;
	uint64_t ambiguous; /* an upstream request fitted all calls up to this serial number */
};

/* A client exchange, from its request head until it is handed on. */
struct call {
	struct hnode by_id;
	struct list age;     /* in `waiting` once it is done and waits */
	struct group *group; /* while it is open; NULL: no evidence */
	struct list in_group;
	uint64_t serial;
	uint64_t id;
	uint32_t pid;
	struct exchange *x;		 /* NULL while open */
	const struct rec_worker *worker; /* once it is done: NULL, or what is known of it */
	struct rec_worker *kept;	 /* of its own, while it waits */
	bool ambiguous;			 /* an upstream request fitted this call and another, or may do */
	uint64_t deadline;
	size_t mem; /* of it, while it waits */
};

/* An upstream exchange, from its request head until its call takes it. */
struct
try {
	struct hnode by_x, by_id, by_call;
	struct list age;
	uint64_t x_id;
	uint64_t call_id; /* linked by evidence; 0: to none */
	uint64_t waiter;  /* the call that is done and waits for it; 0: none does */
	uint32_t pid;
	uint32_t id_len;
	uint64_t t_begin;
	char id[ID_MAX];
	const struct exchange *open; /* while it is: the wire's */
	struct exchange *x;	     /* NULL while open */
	bool taken;		     /* its call went on without waiting for its end, with what was known of it */
	size_t mem;
};

struct join {
	struct join_limits limits;
	struct transaction_sink sink;
	int64_t wall_offset;
	struct hmap calls, groups;
	uint64_t serial;     /* of the latest call … */
	uint64_t lost;	     /* … and when records were lost last */
	struct list waiting; /* calls, by deadline */
	struct hmap tries, tries_by_id, tries_by_call;
	struct list fitting, loose; /* tries by age: of those that an open call fitted, and of the others */
	uint64_t held;		    /* bytes of tries, and of calls that wait */
};

void join_limits_default(struct join_limits *l)
{
	*l = (struct join_limits){
		.window_ns = 500000000ull,
		.orphan_ns = 600000000000ull,
		.waiting = 65536,
		.waiting_bytes = 16u << 20,
	};
}

static struct span kong_id(const struct headers *h)
{
	struct span id = headers__get(h, SPAN_LIT("x-kong-request-id"));

	return id.n && id.n <= ID_MAX ? id : (struct span){0};
}

static uint64_t id_hash(struct span id, uint32_t pid)
{
	return hash_bytes(id.p, id.n) ^ hash_u64(pid);
}

/* --- tries ----------------------------------------------------------------------------------------------------- */

/* No call is to find it any more. */
static void hide_try(struct join *j, struct try *t)
{
	if (t->id_len)
		hmap__remove(&j->tries_by_id, &t->by_id);
	if (t->call_id)
		hmap__remove(&j->tries_by_call, &t->by_call);
	t->id_len = 0;
	t->call_id = t->waiter = 0;
}

static void forget_try(struct join *j, struct try *t)
{
	hmap__remove(&j->tries, &t->by_x);
	hide_try(j, t);
	list_remove(&t->age);
	j->held -= t->mem;
	exchange__free(t->x);
	free(t);
}

static struct call *find_call(const struct join *j, uint64_t id)
{
	struct hnode *n = hmap__first(&j->calls, hash_u64(id));

	for (; n; n = hmap__next_same(n))
		if (hmap_entry(n, struct call, by_id)->id == id)
			return hmap_entry(n, struct call, by_id);
	return NULL;
}

static struct try *find_try(const struct join *j, uint64_t x_id)
{
	struct hnode *n = hmap__first(&j->tries, hash_u64(x_id));

	for (; n; n = hmap__next_same(n))
		if (hmap_entry(n, struct try, by_x)->x_id == x_id)
			return hmap_entry(n, struct try, by_x);
	return NULL;
}

static void orphan(struct join *j, struct try *t)
{
	if (!t->taken)
		stats_inc(STAT_join_upstream_orphans);
	forget_try(j, t);
}

static void keep_bounds(struct join *j);

static struct group *find_group(const struct join *j, uint64_t evidence)
{
	struct hnode *n = hmap__first(&j->groups, evidence);

	for (; n; n = hmap__next_same(n))
		if (hmap_entry(n, struct group, node)->evidence == evidence)
			return hmap_entry(n, struct group, node);
	return NULL;
}

/* Without memory for it the call has no evidence. */
static void enter_group(struct join *j, struct call *c, uint64_t evidence)
{
	struct group *g = find_group(j, evidence);

	if (!g) {
		g = zalloc(sizeof(*g));
		if (!g)
			return;
		g->evidence = evidence;
		list_init(&g->open);
		hmap__insert(&j->groups, &g->node, evidence);
	}
	g->n++;
	list_push_back(&g->open, &c->in_group);
	c->group = g;
}

/* It is open no more. */
static void leave_group(struct join *j, struct call *c)
{
	struct group *g = c->group;

	if (!g)
		return;
	c->ambiguous |= c->serial <= g->ambiguous;
	c->group = NULL;
	list_remove(&c->in_group);
	if (--g->n)
		return;
	hmap__remove(&j->groups, &g->node);
	free(g);
}

/* The one open client call that fits, 0 when none does. More than one: none, and they are told. *fits: any did. */
static uint64_t link_call(struct join *j, uint64_t evidence, bool *fits)
{
	struct group *g = evidence ? find_group(j, evidence) : NULL;
	struct call *c;

	*fits = g != NULL;
	if (!g)
		return 0;
	if (g->n > 1) {
		g->ambiguous = j->serial;
		return 0;
	}
	c = list_entry(g->open.next, struct call, in_group);
	return c->serial <= g->ambiguous || c->serial <= j->lost ? 0 : c->id;
}

static void begun_upstream(struct join *j, const struct exchange *x)
{
	struct span id;
	struct try *t;
	bool fits;

	if (!evidence_proxied(&x->req))
		return;
	t = zalloc(sizeof(*t));
	if (!t)
		return; /* its exchange will be an orphan */
	id = kong_id(&x->req.headers);
	t->x_id = x->id;
	t->open = x;
	t->pid = x->conn.key.pid;
	t->t_begin = x->req.t_first_ns;
	t->call_id = link_call(j, evidence_of_upstream(x), &fits);
	if (id.n) {
		memcpy(t->id, id.p, id.n);
		t->id_len = (uint32_t)id.n;
		hmap__insert(&j->tries_by_id, &t->by_id, id_hash(id, t->pid));
	}
	hmap__insert(&j->tries, &t->by_x, hash_u64(t->x_id));
	if (t->call_id)
		hmap__insert(&j->tries_by_call, &t->by_call, hash_u64(t->call_id));
	list_push_back(fits ? &j->fitting : &j->loose, &t->age);
	t->mem = sizeof(*t);
	j->held += t->mem;
	keep_bounds(j);
}

/* --- calls ----------------------------------------------------------------------------------------------------- */

static struct call *new_call(struct join *j, uint64_t id, uint32_t pid, uint64_t evidence)
{
	struct call *c = zalloc(sizeof(*c));

	if (!c)
		return NULL;
	c->id = id;
	c->pid = pid;
	c->serial = ++j->serial;
	list_init(&c->age);
	list_init(&c->in_group);
	hmap__insert(&j->calls, &c->by_id, hash_u64(id));
	if (evidence)
		enter_group(j, c, evidence);
	return c;
}

static void forget_call(struct join *j, struct call *c)
{
	hmap__remove(&j->calls, &c->by_id);
	leave_group(j, c);
	list_remove(&c->age);
	j->held -= c->mem;
	exchange__free(c->x);
	free(c->kept);
	free(c);
}

static bool id_fits(const struct try *t, struct span id, const struct exchange *client)
{
	/* Same worker, and not before the call: two Kongs in a row on one host show the inner one's id on both. */
	return t->pid == client->conn.key.pid && span_eq(span_of(t->id, t->id_len), id) &&
	       (client->req.end == MSG_NONE || t->t_begin >= client->req.t_first_ns);
}

static const struct exchange *seen_of(const struct try *t)
{
	return t->x ? t->x : t->open;
}

struct found {
	struct try *v[TRIES_MAX];
	uint32_t n;
	enum join_how how;
	bool open; /* one of them is not done yet */
};

static void add_found(struct found *f, struct try *t)
{
	uint32_t i = f->n;

	if (f->n == TRIES_MAX)
		return;
	/* In the order in which they began. */
	for (; i && f->v[i - 1]->x_id > t->x_id; i--)
		f->v[i] = f->v[i - 1];
	f->v[i] = t;
	f->n++;
	f->open |= t->x == NULL;
}

static bool other_call(const struct try *a, const struct try *b)
{
	return a->id_len && b->id_len && !span_eq(span_of(a->id, a->id_len), span_of(b->id, b->id_len));
}

/* Kong goes on to another service instance only where one did not answer, or with an error, and names the call the same
 * each time: what was answered well is the last try. Tries that are linked by evidence and say otherwise are those of
 * several calls, of which some began unseen. */
static bool of_one_call(const struct found *f)
{
	for (uint32_t i = 0; i + 1 < f->n; i++) {
		const struct message *resp = &seen_of(f->v[i])->resp;

		if (other_call(f->v[i], f->v[i + 1]) || (resp->head_done && resp->status && resp->status < 400))
			return false;
	}
	return true;
}

static void find_tries(const struct join *j, struct call *c, struct found *f)
{
	const struct exchange *x = c->x;
	struct span id = kong_id(&x->resp.headers);
	struct hnode *n;

	*f = (struct found){0};
	if (id.n) {
		for (n = hmap__first(&j->tries_by_id, id_hash(id, c->pid)); n; n = hmap__next_same(n))
			if (id_fits(hmap_entry(n, struct try, by_id), id, x))
				add_found(f, hmap_entry(n, struct try, by_id));
		f->how = JOIN_BY_ID;
		if (f->n)
			return;
	}
	for (n = hmap__first(&j->tries_by_call, hash_u64(c->id)); n; n = hmap__next_same(n)) {
		struct try *t = hmap_entry(n, struct try, by_call);

		/* Both legs carry an id and they differ: these two do not belong together, whatever else fits. */
		if (t->call_id == c->id && !(id.n && t->id_len) && !evidence_contradicts(x, seen_of(t)))
			add_found(f, t);
	}
	if (!of_one_call(f) || (f->n && c->serial <= j->lost)) {
		c->ambiguous = true;
		*f = (struct found){0};
	}
	f->how = f->n ? JOIN_BY_EVIDENCE : JOIN_NONE;
}

static bool upstream_expected(const struct exchange *x)
{
	return headers__get(&x->resp.headers, SPAN_LIT("x-kong-upstream-latency")).p != NULL;
}

/* Kong writes it on what it answers by itself, unless it is told to write nothing of its own (headers = off). */
static bool says_answered_itself(const struct exchange *x)
{
	return headers__get(&x->resp.headers, SPAN_LIT("x-kong-response-latency")).p != NULL;
}

static enum join_how how_without(const struct call *c)
{
	bool has_id = kong_id(&c->x->resp.headers).n != 0;

	if (c->ambiguous && !has_id && !says_answered_itself(c->x))
		return JOIN_AMBIGUOUS;
	return upstream_expected(c->x) ? JOIN_MISSING : JOIN_NONE;
}

static void count_how(enum join_how how)
{
	static const enum counter by_how[] = {
		[JOIN_NONE] = STAT_join_no_upstream,
		[JOIN_BY_ID] = STAT_join_by_id,
		[JOIN_BY_EVIDENCE] = STAT_join_by_evidence,
		[JOIN_MISSING] = STAT_join_upstream_missing,
		[JOIN_AMBIGUOUS] = STAT_join_ambiguous,
	};

	stats_inc(by_how[how]);
}

/* Of one that is still open, what is known by now: its head has all that Kong wrote on it. */
static struct exchange *take_try(struct join *j, struct try *t)
{
	struct exchange *x = t->x;

	if (x) {
		t->x = NULL;
		forget_try(j, t);
		return x;
	}
	x = exchange__so_far(t->open);
	t->taken = x != NULL;
	hide_try(j, t);
	return x;
}

static void take_tries(struct join *j, struct transaction *t, struct found *f)
{
	if (!f->n)
		return;
	t->upstream = zalloc(f->n * sizeof(*t->upstream));
	for (uint32_t i = 0; i < f->n; i++) {
		struct exchange *x = take_try(j, f->v[i]);

		if (!t->upstream || !x) {
			exchange__free(x);
			continue;
		}
		t->upstream[t->upstream_count++] = x;
		if (x->resp.head_done || !t->answered)
			t->answered = x;
	}
	if (t->answered && !t->answered->resp.head_done)
		t->answered = NULL;
}

/* The call is whole: hand it on, and its tries with it. */
static void hand_on(struct join *j, struct call *c, struct found *f)
{
	struct transaction *t = zalloc(sizeof(*t));
	struct rec_worker *kept;

	stats_inc(STAT_txn_seen);
	if (!t) {
		stats_inc(STAT_txn_dropped_memory);
		for (uint32_t i = 0; i < f->n; i++)
			forget_try(j, f->v[i]);
		forget_call(j, c);
		return;
	}
	t->how = f->n ? f->how : how_without(c);
	t->client = c->x;
	c->x = NULL;
	t->worker = c->worker;
	kept = c->kept;
	c->kept = NULL;
	t->wall_offset_ns = j->wall_offset;
	take_tries(j, t, f);
	/* There was one, and no memory for it: what Kong wrote on it is not to be had. */
	if (f->n && !t->upstream_count)
		t->how = JOIN_MISSING;
	count_how(t->how);
	forget_call(j, c);
	j->sink.fn(j->sink.ctx, t);
	free(kept);
}

/* It outlives what it was told. Without memory for it nobody knows the worker. */
static void keep_worker(struct call *c)
{
	if (!c->worker)
		return;
	c->kept = malloc(sizeof(*c->kept));
	if (c->kept)
		*c->kept = *c->worker;
	c->worker = c->kept;
}

static void settle(struct join *j, struct call *c, bool wait)
{
	struct found f;

	find_tries(j, c, &f);
	if (!f.open || !wait) {
		hand_on(j, c, &f);
		return;
	}
	for (uint32_t i = 0; i < f.n; i++)
		f.v[i]->waiter = c->id;
	if (list_empty(&c->age)) {
		c->deadline = c->x->t_end_ns + j->limits.window_ns;
		list_push_back(&j->waiting, &c->age);
		keep_worker(c);
		c->mem = c->x->mem + (c->kept ? sizeof(*c->kept) : 0);
		j->held += c->mem;
		keep_bounds(j);
	}
}

static bool over_bounds(const struct join *j)
{
	return j->tries.count > j->limits.waiting ||
	       (j->held > j->limits.waiting_bytes && (j->tries.count > 1 || !list_empty(&j->waiting)));
}

/* First go the tries that no call fitted: they are of calls that are not captured, mostly, or that began before the
 * agent did. Then calls wait no longer, and at last the oldest call that is still open loses its upstream leg. */
static void keep_bounds(struct join *j)
{
	while (over_bounds(j)) {
		if (!list_empty(&j->loose))
			orphan(j, list_entry(j->loose.next, struct try, age));
		else if (!list_empty(&j->waiting))
			settle(j, list_entry(j->waiting.next, struct call, age), false);
		else
			orphan(j, list_entry(j->fitting.next, struct try, age));
	}
}

static bool proxy_port(const struct exchange *x, const struct rec_worker *w)
{
	for (uint32_t i = 0; w && i < w->nports && i < WORKER_PORTS_MAX; i++)
		if (w->ports[i].port == x->conn.local.port)
			return w->ports[i].role == PORT_PROXY;
	return x->conn.local.family != ADDR_UNIX;
}

static void done_client(struct join *j, struct exchange *x, const struct rec_worker *w)
{
	struct call *c = find_call(j, x->id);

	if (!proxy_port(x, w)) {
		stats_inc(STAT_join_not_proxy);
		if (c)
			forget_call(j, c);
		exchange__free(x);
		return;
	}
	stats_inc(STAT_join_client);
	if (!c)
		c = new_call(j, x->id, x->conn.key.pid, 0);
	if (!c) {
		stats_inc(STAT_txn_seen);
		stats_inc(STAT_txn_dropped_memory);
		exchange__free(x);
		return;
	}
	leave_group(j, c);
	c->x = x;
	c->worker = w;
	settle(j, c, true);
}

static void done_upstream(struct join *j, struct exchange *x)
{
	struct try *t = find_try(j, x->id);
	struct call *c;

	stats_inc(STAT_join_upstream);
	if (!t) {
		stats_inc(x->req.head_done && !evidence_proxied(&x->req) ? STAT_join_upstream_own
									 : STAT_join_upstream_orphans);
		exchange__free(x);
		return;
	}
	if (t->taken) {
		forget_try(j, t);
		exchange__free(x);
		return;
	}
	t->open = NULL;
	t->x = x;
	t->mem += x->mem;
	j->held += x->mem;
	c = t->waiter ? find_call(j, t->waiter) : NULL;
	if (c)
		settle(j, c, true);
	else
		keep_bounds(j);
}

void join__begun(struct join *j, const struct exchange *x)
{
	if (x->conn.leg == LEG_UPSTREAM)
		begun_upstream(j, x);
	else
		new_call(j, x->id, x->conn.key.pid, evidence_of_client(x));
}

void join__done(struct join *j, struct exchange *x, const struct rec_worker *w)
{
	if (x->conn.leg == LEG_UPSTREAM)
		done_upstream(j, x);
	else
		done_client(j, x, w);
}

static void drop_old(struct join *j, struct list *tries, uint64_t t_ns)
{
	struct list *it, *tmp;

	list_for_each_safe (it, tmp, tries) {
		struct try *t = list_entry(it, struct try, age);

		if (t->t_begin + j->limits.orphan_ns > t_ns)
			break;
		/* Its call is still open (a long download, a stream): it will come for it. */
		if (!t->call_id || !find_call(j, t->call_id))
			orphan(j, t);
	}
}

void join__lost(struct join *j)
{
	j->lost = j->serial;
}

void join__tick(struct join *j, uint64_t t_ns)
{
	while (!list_empty(&j->waiting)) {
		struct call *c = list_entry(j->waiting.next, struct call, age);

		if (c->deadline > t_ns)
			break;
		settle(j, c, false);
	}
	drop_old(j, &j->fitting, t_ns);
	drop_old(j, &j->loose, t_ns);
}

void join__flush(struct join *j)
{
	while (!list_empty(&j->waiting))
		settle(j, list_entry(j->waiting.next, struct call, age), false);
}

void join__set_wall_offset(struct join *j, int64_t offset_ns)
{
	j->wall_offset = offset_ns;
}

struct join *join__new(const struct join_limits *l, struct transaction_sink sink)
{
	struct join *j = calloc(1, sizeof(*j));

	if (!j)
		return NULL;
	j->limits = *l;
	j->sink = sink;
	list_init(&j->waiting);
	list_init(&j->fitting);
	list_init(&j->loose);
	if (hmap__init(&j->calls) || hmap__init(&j->groups) || hmap__init(&j->tries) || hmap__init(&j->tries_by_id) ||
		hmap__init(&j->tries_by_call)) {
		join__free(j);
		errno = ENOMEM;
		return NULL;
	}
	return j;
}

void join__free(struct join *j)
{
	struct hnode *n;

	if (!j)
		return;
	while (j->calls.count && (n = hmap__next(&j->calls, NULL)))
		forget_call(j, hmap_entry(n, struct call, by_id));
	while (j->tries.count && (n = hmap__next(&j->tries, NULL)))
		forget_try(j, hmap_entry(n, struct try, by_x));
	hmap__free(&j->calls);
	hmap__free(&j->groups);
	hmap__free(&j->tries);
	hmap__free(&j->tries_by_id);
	hmap__free(&j->tries_by_call);
	free(j);
}
