#include "wire/exchange.h"

#include <errno.h>
#include <stdlib.h>

#include "base/stats.h"
#include "base/zalloc.h"
#include "wire/proto.h"

/* Bodies may take three quarters of what there is; the rest is kept for heads, without which nothing can be told. */
static uint64_t body_share(uint64_t max)
{
	return max - max / 4;
}

static bool fits(uint64_t used, uint64_t more, uint64_t max)
{
	return used <= max && more <= max - used;
}

static void account(const struct proto_env *env, struct exchange *x, size_t mem)
{
	env->budget->used += mem - x->mem;
	if (env->conn_used)
		*env->conn_used += mem - x->mem;
	x->mem = mem;
}

static void release(const struct proto_env *env, struct exchange *x)
{
	account(env, x, 0);
}

struct exchange *exchange__new(const struct proto_env *env, uint32_t stream, uint64_t t_ns)
{
	const struct wire_limits *l = env->limits;
	bool upstream = env->facts->leg == LEG_UPSTREAM;
	struct message_limits ml = {.header_bytes = l->header_bytes, .header_count = l->header_count};
	struct exchange *x;

	if (!fits(env->budget->used, sizeof(*x), env->budget->max)) {
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
	account(env, x, sizeof(*x));
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

	account(env, x, mem);
	if (!more)
		return 0;
	if (env->budget->used > env->budget->max)
		return -ENOSPC;
	return env->conn_used && *env->conn_used > env->limits->conn_bytes ? -ENOSPC : 0;
}

/* A body that cannot grow goes as a whole: its memory is what others need now. */
static void drop_body(const struct proto_env *env, struct exchange *x, struct message *m)
{
	if (!m->body_truncated)
		stats_inc(STAT_wire_bodies_dropped);
	m->body_truncated = true;
	buf__free(&m->body);
	account(env, x, exchange_mem(x));
}

static bool may_grow(const struct proto_env *env, uint64_t more)
{
	if (!fits(env->budget->used, more, body_share(env->budget->max)))
		return false;
	return !env->conn_used || fits(*env->conn_used, more, body_share(env->limits->conn_bytes));
}

void exchange__body(const struct proto_env *env, struct exchange *x, struct message *m, struct span data)
{
	size_t take, cap = m->body.cap;

	m->body_len += data.n;
	if (!data.n || m->body_truncated)
		return;
	take = m->body.max - m->body.n;
	if (take > data.n)
		take = data.n;
	if (m->body.n + take > cap) {
		/* A buffer doubles when it grows: that much must be free. */
		if (!may_grow(env, 2 * (uint64_t)(m->body.n + take)) || buf__reserve(&m->body, take)) {
			drop_body(env, x, m);
			return;
		}
		account(env, x, x->mem + (m->body.cap - cap));
	}
	buf__append_some(&m->body, data.p, take);
	m->body_truncated = take < data.n;
}

void exchange__body_gap(struct exchange *x, struct message *m, uint64_t n, enum gap_cause cause)
{
	(void)x;
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
	release(env, x);
	x->mem = exchange_mem(x);
	stats_inc(STAT_wire_exchanges);
	env->sink.done(env->sink.ctx, x);
}

void exchange__discard(const struct proto_env *env, struct exchange *x)
{
	if (!x)
		return;
	release(env, x);
	exchange__free(x);
}

void exchange__free(struct exchange *x)
{
	if (!x)
		return;
	message__free(&x->req);
	message__free(&x->resp);
	free(x);
}
