#include "wire/h1conn.h"

#include <errno.h>
#include <stdlib.h>

#include "base/stats.h"
#include "wire/h1line.h"

void h1conn_saw(struct message *m, uint64_t n, uint64_t t_ns)
{
	if (!m->t_first_ns)
		m->t_first_ns = t_ns;
	m->t_last_ns = t_ns;
	m->wire_bytes += n;
}

void h1conn_missed(struct message *m, uint64_t n, enum gap_cause cause, bool framed, uint64_t t_ns)
{
	if (!m)
		return;
	exchange__body_gap(m, n, cause);
	m->body_len_framed |= framed;
	h1conn_saw(m, n, t_ns);
}

void h1conn_end_bad(struct message *m)
{
	bool too_large = m && m->headers.overflow;

	if (m)
		m->end = too_large ? MSG_LIMIT : MSG_BAD;
	if (!too_large)
		stats_inc(STAT_wire_parse_errors);
}

static int h1conn_guess(struct span data, bool is_request, bool from_start)
{
	/* Empty lines before a request are nothing. */
	while (is_request && data.n && (data.p[0] == '\r' || data.p[0] == '\n'))
		data = span_skip(data, 1);
	return is_request ? h1line_looks_request(data, !from_start) : h1line_looks_response(data);
}

static void h1conn__free(struct proto *p)
{
	if (!p)
		return;
	for (uint32_t i = 0; i < p->calls.n; i++)
		exchange__discard(p->env, p->calls.v[i].x);
	p->env->budget->used -= p->mem;
	h1calls__free(&p->calls);
	http1_reader__free(p->req.reader);
	http1_reader__free(p->resp.reader);
	free(p);
}

static struct proto *h1conn__new(const struct proto_env *env, bool synced)
{
	struct proto *p = calloc(1, sizeof(*p));

	if (!p)
		return NULL;
	p->env = env;
	h1calls__init(&p->calls, env->limits->pipeline);
	p->req.synced = p->resp.synced = synced;
	if (h1conn__charge(p)) {
		h1conn__free(p);
		errno = ENOSPC;
		return NULL;
	}
	return p;
}

struct http1_reader *h1conn__reader(struct proto *p, struct h1side *s)
{
	if (!s->reader)
		s->reader = http1_reader__new(p->env->limits->header_bytes);
	return s->reader;
}

static void put_away(struct h1side *s)
{
	if (s->reading)
		return;
	http1_reader__free(s->reader);
	s->reader = NULL;
}

struct h1call *h1conn__push(struct proto *p, uint64_t t_ns)
{
	struct h1call *c = h1calls__push(&p->calls);

	if (c) {
		c->x = exchange__new(p->env, ++p->ordinal, t_ns);
		if (c->x)
			return c;
		h1calls__unpush(&p->calls);
	}
	stats_inc(STAT_wire_exchanges_dropped);
	return NULL;
}

/* What was taken for a request was none, but its response was seen: that stays. False: there is nothing to keep. */
static bool keep_response(struct h1call *c)
{
	if (!c->x || c->x->resp.end == MSG_NONE)
		return false;
	message__free(&c->x->req);
	c->x->req = (struct message){0};
	c->tentative = false;
	c->unasked = c->req_over = true;
	return true;
}

void h1conn__drop_last(struct proto *p)
{
	struct h1call *c = h1calls__last(&p->calls);

	if (keep_response(c))
		return;
	exchange__discard(p->env, c->x);
	h1calls__unpush(&p->calls);
}

static void hand_on(struct proto *p, struct h1call *c, uint64_t t_ns)
{
	struct exchange *x = c->x;

	if (!x)
		return;
	c->x = NULL;
	exchange__finish(p->env, x, t_ns);
}

static void begin(struct proto *p, struct h1call *c)
{
	if (c->begun || c->unasked || !c->x || !c->x->req.head_done)
		return;
	c->begun = true;
	if (p->env->sink.begun)
		p->env->sink.begun(p->env->sink.ctx, c->x);
}

void h1conn__settle(struct proto *p, uint64_t t_ns)
{
	struct h1call *c;

	while ((c = h1calls__first(&p->calls)) != NULL && c->req_over && c->resp_over && !c->doubtful && !c->patched) {
		begin(p, c);
		hand_on(p, c, t_ns);
		h1calls__pop(&p->calls);
	}
	/* nginx takes a request that came behind another one when that is answered, and not at all after a response
	 * that closes the connection: such a request was sent, but no call was made of it. */
	while (p->closing && (c = h1calls__last(&p->calls)) != NULL && !c->begun && !c->resp_over && !c->unasked) {
		if (p->req.reading) {
			http1_reader__reset(p->req.reader);
			p->req.reading = false;
		}
		h1conn__drop_last(p);
	}
	for (uint32_t i = 0; i < p->calls.n; i++)
		if (i == 0 || p->calls.v[i].turn)
			begin(p, &p->calls.v[i]);
}

void h1conn__confirm(struct proto *p, uint64_t t_ns)
{
	struct h1call *c = h1calls__first(&p->calls);

	if (!c || !(c->doubtful || c->patched))
		return;
	c->doubtful = c->patched = false;
	h1conn__settle(p, t_ns);
}

/* The response goes to an exchange of its own, whose request was not seen. */
static struct exchange *part(struct proto *p, struct exchange *x, uint64_t t_ns)
{
	struct exchange *own = exchange__new(p->env, ++p->ordinal, t_ns);
	struct message resp = x->resp;

	if (!own)
		return NULL;
	x->resp = own->resp;
	own->resp = resp;
	exchange__charge(p->env, x);
	exchange__charge(p->env, own);
	return own;
}

/* The chunks at its end may be those of another response. */
static void deny_end(struct proto *p, struct h1call *c, uint64_t t_ns)
{
	c->patched = false;
	if (!c->resp_over)
		return;
	if (c->x) {
		c->x->resp.end = MSG_LOST;
		headers__clear(&c->x->resp.trailers);
	}
	h1conn__settle(p, t_ns);
}

void h1conn__deny(struct proto *p, uint64_t t_ns)
{
	struct h1call *c = h1calls__first(&p->calls);
	struct exchange *own = NULL;

	if (!c)
		return;
	if (!c->doubtful) {
		if (c->patched)
			deny_end(p, c, t_ns);
		return;
	}
	c->doubtful = c->patched = false;
	if (!c->resp_over) {
		http1_reader__reset(p->resp.reader);
		p->resp.reading = p->resp.synced = false;
		c->resp_over = true;
	} else if (c->x) {
		own = part(p, c->x, t_ns);
	}
	if (c->x) {
		message__free(&c->x->resp);
		c->x->resp = (struct message){.end = MSG_LOST};
	}
	h1conn__settle(p, t_ns);
	if (own)
		exchange__finish(p->env, own, t_ns);
}

int h1conn__charge(struct proto *p)
{
	size_t mem = sizeof(*p) + p->calls.cap * sizeof(*p->calls.v) + http1_reader__mem(p->req.reader) +
		     http1_reader__mem(p->resp.reader);
	struct h1call *first = h1calls__first(&p->calls), *last = h1calls__last(&p->calls);
	int err = 0;

	p->env->budget->used += mem - p->mem;
	if (mem > p->mem && !wire_budget__room(p->env->budget, 0))
		err = -ENOSPC;
	p->mem = mem;
	if (first && first->x)
		err = exchange__charge(p->env, first->x) ? -ENOSPC : err;
	if (last && last != first && last->x)
		err = exchange__charge(p->env, last->x) ? -ENOSPC : err;
	return err;
}

static bool still_open(enum msg_end end)
{
	return end == MSG_NONE || end == MSG_OPEN;
}

enum proto_state h1conn__give_up(struct proto *p, uint64_t t_ns)
{
	const struct proto_env *env = p->env;
	bool own = p->calls.n == p->calls.max || (env->conn_used && *env->conn_used > env->limits->conn_bytes);

	h1conn__deny(p, t_ns);
	for (uint32_t i = 0; i < p->calls.n; i++) {
		struct h1call *c = &p->calls.v[i];

		if (c->x && still_open(c->x->req.end) && !c->unasked)
			c->x->req.end = MSG_LIMIT;
		if (c->x && still_open(c->x->resp.end))
			c->x->resp.end = MSG_LIMIT;
		c->req_over = c->resp_over = true;
	}
	p->closing = false;
	h1conn__settle(p, t_ns);
	p->req.reading = p->resp.reading = false;
	p->tunnel = true;
	return own ? PROTO_GIVE_UP : PROTO_NO_ROOM;
}

static enum proto_state h1conn__feed(struct proto *p, bool is_request, struct span data, uint64_t t_ns, bool start)
{
	enum proto_state st;

	if (p->tunnel)
		return PROTO_TUNNEL;
	if (!data.n)
		return PROTO_GOOD;
	st = is_request ? h1conn__requests(p, data, t_ns, start) : h1conn__responses(p, data, t_ns, start);
	p->last = is_request ? H1LAST_REQUEST : H1LAST_RESPONSE;
	put_away(&p->req);
	put_away(&p->resp);
	if (st == PROTO_GOOD && h1conn__charge(p))
		st = h1conn__give_up(p, t_ns);
	return st;
}

static enum proto_state h1conn__gap(struct proto *p, bool is_request, uint64_t n, enum gap_cause cause, uint64_t t_ns)
{
	if (p->tunnel)
		return PROTO_TUNNEL;
	if (!n)
		return PROTO_GOOD;
	if (is_request)
		h1conn__request_gap(p, n, cause, t_ns);
	else
		h1conn__response_gap(p, n, cause, t_ns);
	return PROTO_GOOD;
}

static void end_response(struct proto *p, struct h1call *c, bool being_read, enum conn_ending why)
{
	struct message *m = &c->x->resp;

	if (being_read && http1_reader__until_close(p->resp.reader) && why == ENDING_CLOSE) {
		m->end = MSG_COMPLETE;
		stats_inc(STAT_wire_messages);
	} else if (being_read) {
		m->end = MSG_CLOSED;
	} else if (!p->resp.synced) {
		m->end = MSG_LOST;
	}
	/* Kong closes without having answered in full when the client went away; an upstream that broke off looks the
	 * same on this leg once the head is out, and is told by the upstream leg. */
	c->x->client_gone = p->env->facts->leg != LEG_UPSTREAM && (m->end == MSG_NONE || m->end == MSG_CLOSED);
}

static void h1conn__close(struct proto *p, uint64_t t_ns)
{
	enum conn_ending why = p->env->ending ? *p->env->ending : ENDING_CLOSE;
	bool broken_off = false;

	if (why == ENDING_CLOSE)
		h1conn__confirm(p, t_ns);
	else
		h1conn__deny(p, t_ns);
	for (uint32_t i = 0; i < p->calls.n; i++) {
		struct h1call *c = &p->calls.v[i];

		if (c->tentative)
			keep_response(c);
		if (c->tentative || (!c->begun && !c->turn && i > 0)) {
			exchange__discard(p->env, c->x);
			c->x = NULL;
		} else if (c->x) {
			if (!c->resp_over)
				end_response(p, c, i == 0 && p->resp.reading, why);
			/* After an answer that was not whole nginx takes no other call: it reads away what comes. */
			c->x->refused = broken_off;
			broken_off |=
				i == 0 && why == ENDING_CLOSE && c->x->resp.head_done && c->x->resp.end == MSG_CLOSED;
			if (!c->req_over) {
				http1_reader__salvage(p->req.reader);
				c->x->req.end = MSG_CLOSED;
			}
		}
		c->req_over = c->resp_over = true;
	}
	p->closing = false;
	h1conn__settle(p, t_ns);
	http1_reader__reset(p->req.reader);
	http1_reader__reset(p->resp.reader);
	p->req.reading = p->resp.reading = false;
	p->tunnel = true;
}

static bool quiet(const struct message *m, uint64_t t_ns, uint64_t idle_ns)
{
	return m->t_last_ns <= t_ns && t_ns - m->t_last_ns >= idle_ns;
}

/* Only the eldest call can have a response; the reader of a message whose exchange is gone goes on without it. */
static void h1conn__tick(struct proto *p, uint64_t t_ns)
{
	uint64_t idle_ns = p->env->limits->stream_idle_ns;
	struct h1call *c = h1calls__first(&p->calls);
	struct exchange *x = c ? c->x : NULL;

	if (!x || !idle_ns || !x->resp.head_done || !quiet(&x->resp, t_ns, idle_ns))
		return;
	if (!c->req_over && (!x->req.head_done || !quiet(&x->req, t_ns, idle_ns)))
		return;
	if (c->doubtful || (c->patched && c->resp_over)) {
		h1conn__deny(p, t_ns);
		return;
	}
	if (!c->resp_over) {
		x->resp.end = MSG_IDLE;
		http1_reader__forget(p->resp.reader);
	}
	if (!c->req_over) {
		x->req.end = MSG_IDLE;
		http1_reader__forget(p->req.reader);
	}
	begin(p, c);
	hand_on(p, c, t_ns);
}

static bool h1conn__busy(const struct proto *p)
{
	for (uint32_t i = 0; i < p->calls.n; i++)
		if (p->calls.v[i].x)
			return true;
	return false;
}

/* How much more of this body is wanted. A body that is longer than what is kept of one is left out as a whole. */
static uint64_t body_wanted(const struct message *m)
{
	if (m->body_truncated || (m->has_length && m->content_length > m->body.max))
		return 0;
	return m->body.max - m->body.n;
}

static uint64_t h1conn__useless(const struct proto *p, bool is_request, uint64_t *ret_keep, bool *ret_last)
{
	const struct h1side *s = is_request ? &p->req : &p->resp;
	const struct h1call *c;

	if (!s->reading)
		return 0;
	c = is_request ? &p->calls.v[p->calls.n - 1] : p->calls.v;
	if (!is_request && c->unsure)
		return 0;
	*ret_keep = c->x ? body_wanted(is_request ? &c->x->req : &c->x->resp) : 0;
	return http1_reader__body_ahead(s->reader, ret_last);
}

static bool h1conn__searching(const struct proto *p, bool is_request)
{
	const struct h1side *s = is_request ? &p->req : &p->resp;

	return s->reading && http1_reader__searching(s->reader);
}

const struct proto_ops http1_ops = {
	.name = "http/1",
	.id = PROTO_HTTP1,
	.guess = h1conn_guess,
	.new = h1conn__new,
	.feed = h1conn__feed,
	.gap = h1conn__gap,
	.close = h1conn__close,
	.tick = h1conn__tick,
	.busy = h1conn__busy,
	.useless = h1conn__useless,
	.searching = h1conn__searching,
	.free = h1conn__free,
};
