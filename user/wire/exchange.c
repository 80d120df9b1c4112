#include "wire/exchange.h"

#include <errno.h>
#include <stdlib.h>

#include "base/stats.h"
#include "base/zalloc.h"
#include "wire/proto.h"

/* A longer body takes its memory bit by bit. */
#define SMALL_BODY 4096u

static bool fits(uint64_t used, uint64_t more, uint64_t max)
{
	return used <= max && more <= max - used;
}

struct exchange *exchange__new(const struct proto_env *env, uint32_t stream, uint64_t t_ns)
{
	const struct wire_limits *l = env->limits;
	bool upstream = env->facts->leg == LEG_UPSTREAM;
	struct message_limits ml = {.header_bytes = l->header_bytes, .header_count = l->header_count};
	struct exchange *x;

	if (!wire_budget__room_for_new(env->budget, sizeof(*x))) {
		errno = ENOSPC;
		return NULL;
	}
	x = zalloc(sizeof(*x));
	if (!x) {
		errno = ENOMEM;
		return NULL;
	}
	x->id = (*env->next_exchange_id)++;
	x->stream = stream;
	x->conn = *env->facts;
	/* The capture leaves out only such whose beginning it saw. */
	x->stands_for = env->stands_for && env->facts->origin == CONN_ACCEPTED ? *env->stands_for : 1;
	ml.body = upstream ? 0 : l->request_body;
	message__init(&x->req, &ml);
	ml.body = upstream ? 0 : l->response_body;
	message__init(&x->resp, &ml);
	x->t_end_ns = t_ns;
	x->conn_used = env->conn_used;
	wire_budget__charge(env->budget, x, sizeof(*x));
	return x;
}

static size_t exchange_mem(const struct exchange *x)
{
	return sizeof(*x) + message__mem(&x->req) + message__mem(&x->resp);
}

int exchange__charge(const struct proto_env *env, struct exchange *x)
{
	size_t mem = exchange_mem(x);
	bool more = mem > x->mem;

	wire_budget__charge(env->budget, x, mem);
	if (x->req.body.cap || x->resp.body.cap)
		wire_budget__lend(env->budget, x);
	if (!more)
		return 0;
	if (!wire_budget__room(env->budget, 0))
		return -ENOSPC;
	return env->conn_used && *env->conn_used > env->limits->conn_bytes ? -ENOSPC : 0;
}

/* A type that stands among fields which could not be read may be one of those. */
static bool is_excluded(const struct media_types *l, const struct message *m)
{
	bool known;

	return media_types__have_of(l, &m->headers, &known) || (!known && (m->head_partial || m->headers.overflow));
}

/* A head may be followed by another one that turns out to be the message's: then that one decides. */
static void exclude_body(const struct wire_limits *l, const struct exchange *x, struct message *m)
{
	bool excluded = is_excluded(&l->exclude_types, m);

	if (excluded)
		m->body.max = 0;
	else if (m->body_excluded)
		m->body.max = m == &x->req ? l->request_body : l->response_body;
	m->body_excluded = excluded;
}

void exchange__head_done(const struct proto_env *env, const struct exchange *x, struct message *m)
{
	/* Of an upstream leg no body is kept anyway. */
	if (env->limits->exclude_types.n && env->facts->leg != LEG_UPSTREAM)
		exclude_body(env->limits, x, m);
}

/* A body that cannot grow goes as a whole: its memory is what others need now. */
static void drop_body(const struct proto_env *env, struct exchange *x, struct message *m)
{
	message__drop_body(m);
	wire_budget__charge(env->budget, x, exchange_mem(x));
}

/* Beyond this the rest is for heads, without which nothing can be told. It is less of all memory, where heads can have
 * the bodies' too. */
static bool may_grow(const struct proto_env *env, uint64_t more)
{
	uint64_t all = env->budget->max, own = env->limits->conn_bytes;

	if (!fits(env->budget->used, more, all - all / 8))
		return false;
	return !env->conn_used || fits(*env->conn_used, more, own - own / 4);
}

/* The first allocation of a short body is the last. */
static size_t room_for(const struct message *m, size_t take)
{
	if (!m->has_length || m->content_length > SMALL_BODY || m->content_length > m->body.max)
		return take;
	return m->content_length > take ? (size_t)m->content_length : take;
}

void exchange__body(const struct proto_env *env, struct exchange *x, struct message *m, struct span data)
{
	size_t take, room, cap = m->body.cap;

	m->body_len += data.n;
	if (!data.n || m->body_truncated)
		return;
	take = m->body.max - m->body.n;
	if (take > data.n)
		take = data.n;
	if (m->body.n + take > cap) {
		room = room_for(m, take);
		/* A buffer doubles when it grows: that much must be free. */
		if (!may_grow(env, 2 * (uint64_t)(m->body.n + room)) ||
			(cap ? buf__reserve(&m->body, take) : buf__reserve_exact(&m->body, room))) {
			drop_body(env, x, m);
			return;
		}
		wire_budget__charge(env->budget, x, x->mem + (m->body.cap - cap));
		wire_budget__lend(env->budget, x);
	}
	buf__append_some(&m->body, data.p, take);
	m->body_truncated = take < data.n;
}

void exchange__body_gap(struct message *m, uint64_t n, enum gap_cause cause)
{
	if (!n)
		return;
	m->body_len += n;
	m->body_gap += n;
	m->gap_causes |= (uint8_t)(1u << cause);
	m->body_truncated = true;
}

static void settle(const struct proto_env *env, struct exchange *x)
{
	enum conn_ending why = env->ending ? *env->ending : ENDING_CLOSE;
	struct message *both[] = {&x->req, &x->resp};

	if (why != ENDING_CLOSE)
		x->client_gone = false;
	for (int i = 0; i < 2; i++) {
		if (both[i]->end != MSG_CLOSED)
			continue;
		if (why == ENDING_FLUSH)
			both[i]->end = MSG_OPEN;
		else if (why == ENDING_LIMIT)
			both[i]->end = MSG_LIMIT;
	}
}

void exchange__finish(const struct proto_env *env, struct exchange *x, uint64_t t_ns)
{
	settle(env, x);
	x->conn = *env->facts;
	x->t_end_ns = t_ns;
	headers__end(&x->req.headers);
	headers__end(&x->resp.headers);
	wire_budget__end_loan(env->budget, x);
	wire_budget__charge(env->budget, x, 0);
	x->conn_used = NULL;
	x->mem = exchange_mem(x);
	stats_inc(STAT_wire_exchanges);
	env->sink.done(env->sink.ctx, x);
}

void exchange__discard(const struct proto_env *env, struct exchange *x)
{
	if (!x)
		return;
	wire_budget__end_loan(env->budget, x);
	wire_budget__charge(env->budget, x, 0);
	exchange__free(x);
}

/* A head that is not complete is as good as none. */
static int copy_so_far(struct message *m, const struct message *from)
{
	static const struct message_limits none;

	message__init(m, &none);
	if (!from->head_done)
		return 0;
	*m = *from;
	m->headers = m->trailers = (struct headers){0};
	buf__init(&m->body, 0);
	m->body_truncated = m->body_len > 0;
	if (m->end == MSG_OPEN)
		m->end = MSG_IDLE;
	return headers__copy(&m->headers, &from->headers);
}

struct exchange *exchange__so_far(const struct exchange *x)
{
	struct exchange *copy = zalloc(sizeof(*copy));

	if (!copy)
		return NULL;
	*copy = *x;
	copy->conn_used = NULL;
	copy->older = copy->newer = NULL;
	copy->t_end_ns = exchange__last_ns(x);
	if (copy_so_far(&copy->req, &x->req) || copy_so_far(&copy->resp, &x->resp)) {
		exchange__free(copy);
		return NULL;
	}
	copy->mem = exchange_mem(copy);
	return copy;
}

void exchange__free(struct exchange *x)
{
	if (!x)
		return;
	message__free(&x->req);
	message__free(&x->resp);
	free(x);
}
