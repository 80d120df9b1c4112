#include "base/stats.h"
#include "wire/h1conn.h"
#include "wire/h1line.h"

static struct message *message_of(struct h1call *c)
{
	return c->x ? &c->x->resp : NULL;
}

/* False: no memory, and given up. */
static bool begin_reading(struct proto *p, struct h1call *c, uint64_t t_ns, enum proto_state *st)
{
	if (!h1conn__reader(p, &p->resp)) {
		*st = h1conn__give_up(p, t_ns);
		return false;
	}
	c->x->resp.end = MSG_OPEN;
	if (c->is_bare)
		http1_reader__begin_bare(p->resp.reader, &c->x->resp);
	else
		http1_reader__begin(p->resp.reader, &c->x->resp, false);
	p->resp.reading = true;
	return true;
}

static void stop_reading(struct proto *p)
{
	http1_reader__reset(p->resp.reader);
	p->resp.reading = false;
}

static void lose_response(struct h1call *c)
{
	if (c->resp_over)
		return;
	if (message_of(c))
		message_of(c)->end = MSG_LOST;
	c->resp_over = true;
}

/* The responses of all calls before `keep` are lost; without it, those of all calls. */
static void lose_before(struct proto *p, const struct h1call *keep, uint64_t t_ns)
{
	uint32_t n = keep ? (uint32_t)(keep - p->calls.v) : p->calls.n;

	for (uint32_t i = 0; i < n; i++)
		lose_response(&p->calls.v[i]);
	h1conn__settle(p, t_ns);
}

/* The call whose response comes next as far as the requests tell: the youngest that came by itself, since everything
 * before it had been answered then. */
static struct h1call *next_turn(struct proto *p)
{
	for (uint32_t i = p->calls.n; i > 0; i--)
		if (p->calls.v[i - 1].turn)
			return &p->calls.v[i - 1];
	return NULL;
}

/* After a loss its response can be told only if an earlier answer was still missing when it began: so that is what was
 * lost, not this one's head. Where more was lost since, another call may have come and gone unseen: one that was read
 * along with it, or one whose request is missing too. */
static struct h1call *may_come(struct proto *p)
{
	struct h1call *c = next_turn(p);

	if (!c || !c->owed || c->resp_over)
		return NULL;
	return c->hole && (c->overtaken || c != h1calls__last(&p->calls)) ? NULL : c;
}

/* A response whose request is not known: the only one that is read without a call is the first that follows something
 * in the other direction which could not be read. */
static bool begin_unasked(struct proto *p, uint64_t t_ns, enum proto_state *st)
{
	struct h1call *c = h1conn__push(p, t_ns);

	if (!c) {
		*st = h1conn__give_up(p, t_ns);
		return false;
	}
	c->unasked = c->turn = c->req_over = true;
	p->resp.synced = true;
	stats_inc(STAT_wire_resyncs);
	return begin_reading(p, c, t_ns, st);
}

/* True when a message is being read now. */
static bool resync(struct proto *p, struct span *in, uint64_t t_ns, bool start, enum proto_state *st)
{
	bool looks = start && h1line_looks_response(*in) != 0;
	struct h1call *c = may_come(p);

	if (looks && c && p->last == H1LAST_REQUEST) {
		lose_before(p, c, t_ns);
		p->resp.synced = true;
		stats_inc(STAT_wire_resyncs);
		c = h1calls__first(&p->calls);
		c->doubtful = c->hole;
		return begin_reading(p, c, t_ns, st);
	}
	if (looks && !p->calls.n && !p->req.synced && p->last != H1LAST_RESPONSE)
		return begin_unasked(p, t_ns, st);
	/* These bytes answer the request before them, and they are not its beginning. */
	if (next_turn(p) && p->last == H1LAST_REQUEST)
		lose_before(p, NULL, t_ns);
	stats_add(STAT_wire_unsynced_bytes, in->n);
	*in = span_skip(*in, in->n);
	p->skipped = false;
	return false;
}

static bool begin_message(struct proto *p, struct span *in, uint64_t t_ns, bool start, enum proto_state *st)
{
	struct h1call *c = h1calls__first(&p->calls);

	if (p->resp.synced && c && !c->resp_over && c->x)
		return begin_reading(p, c, t_ns, st);
	/* What asked for it came behind the rest of a body that was answered before all of it had come, and unseen. */
	if (c && c->resp_over && start)
		h1conn__end_searched(p, c, t_ns);
	/* Nobody asked: whatever this is, the next response begins where a request says so. */
	p->resp.synced = false;
	return resync(p, in, t_ns, start, st);
}

static void interim(struct proto *p, struct h1call *c)
{
	struct message *m = message_of(c);

	message__clear_head(m);
	m->interim++;
	m->end = MSG_OPEN;
	http1_reader__begin(p->resp.reader, m, false);
}

/* True: the connection is a tunnel from here on. */
static bool on_head(struct proto *p, struct h1call *c, uint64_t t_ns)
{
	struct message *m = message_of(c);
	struct span method = message__method(&c->x->req);
	bool tunnel = m->status == 101 || (span_eq(method, SPAN_LIT("CONNECT")) && m->status >= 200 && m->status < 300);

	if (m->status < 200 && !tunnel) {
		interim(p, c);
		return false;
	}
	m->head_done = true;
	m->t_head_ns = t_ns;
	exchange__head_done(p->env, c->x, m);
	if (tunnel) {
		m->end = MSG_COMPLETE;
		stats_inc(STAT_wire_messages);
		c->x->upgraded = true;
		return true;
	}
	c->unsure = (!method.n || c->tentative) && c->x->req.end != MSG_BAD;
	if (span_eq(method, SPAN_LIT("HEAD")) || m->status == 204 || m->status == 304)
		http1_reader__no_body(p->resp.reader);
	return false;
}

static bool says_close(const struct message *m)
{
	const struct span name = SPAN_LIT("connection");

	for (int i = headers__find(&m->headers, name, 0); i >= 0; i = headers__find(&m->headers, name, (uint32_t)i + 1))
		if (span_ieq(headers__value_at(&m->headers, (uint32_t)i), SPAN_LIT("close")))
			return true;
	return false;
}

static void on_end(struct proto *p, struct h1call *c, uint64_t t_ns)
{
	struct message *m = message_of(c);

	p->resp.reading = false;
	stats_inc(STAT_wire_messages);
	if (m) {
		m->end = MSG_COMPLETE;
		p->closing = says_close(m);
	}
	c->resp_over = true;
	p->skipped = false;
	h1conn__end_searched(p, c, t_ns);
	h1conn__settle(p, t_ns);
}

static void on_bad(struct proto *p, struct h1call *c, struct span *in, uint64_t t_ns)
{
	p->resp.reading = p->resp.synced = false;
	h1conn_end_bad(message_of(c));
	stats_add(STAT_wire_unsynced_bytes, in->n);
	*in = span_skip(*in, in->n);
	c->resp_over = true;
	h1conn__settle(p, t_ns);
}

/* `behind`: bytes that came with the head and are the other protocol's already. */
static enum proto_state become_tunnel(struct proto *p, struct h1call *c, uint64_t behind, uint64_t t_ns)
{
	if (!c->req_over) {
		c->x->req.end = MSG_IDLE;
		p->req.reading = false;
		http1_reader__reset(p->req.reader);
	}
	c->req_over = c->resp_over = true;
	p->resp.reading = false;
	http1_reader__reset(p->resp.reader);
	/* What came behind the request was for the other protocol. */
	p->closing = true;
	h1conn__settle(p, t_ns);
	p->tunnel = true;
	if (p->env->facts->leg == LEG_CLIENT)
		stats_add(STAT_wire_tunnel_out_bytes, behind);
	return PROTO_TUNNEL;
}

/* True: there is no more to read of this message, or of the connection. */
static bool read_some(struct proto *p, struct span *in, uint64_t t_ns, enum proto_state *st)
{
	struct h1call *c = h1calls__first(&p->calls);
	struct message *m = message_of(c);
	struct span body = {0};
	size_t had = in->n;
	enum http1_step step = http1_reader__next(p->resp.reader, in, &body);

	if (m)
		h1conn_saw(m, had - in->n, t_ns);
	switch (step) {
	case HTTP1_MORE:
		return true;
	case HTTP1_HEAD:
		if (!on_head(p, c, t_ns))
			return false;
		*st = become_tunnel(p, c, in->n, t_ns);
		return true;
	case HTTP1_BODY:
		if (m)
			exchange__body(p->env, c->x, m, body);
		return false;
	case HTTP1_END:
		on_end(p, c, t_ns);
		return true;
	case HTTP1_BAD:
		on_bad(p, c, in, t_ns);
		return true;
	}
	return true;
}

void h1conn__end_unsure(struct proto *p, uint64_t t_ns)
{
	struct h1call *c = h1calls__first(&p->calls);

	if (!c || !p->resp.reading ||
		!(c->unsure || (c->req_over && (c->patched || http1_reader__searching(p->resp.reader)))))
		return;
	if (!c->unsure && !c->patched && !c->torn) {
		/* Its end was left out with the rest. */
		http1_reader__reset(p->resp.reader);
		on_end(p, c, t_ns);
		return;
	}
	lose_response(c);
	stop_reading(p);
	p->resp.synced = false;
	h1conn__settle(p, t_ns);
}

/* The present response is not what it seems: here begins another one. Either the request was not seen and was a HEAD,
 * and the next one was not seen either; or a body was taken to last until the close, and then a request came by itself.
 */
static void check_contradiction(struct proto *p, struct span in, uint64_t t_ns, bool start)
{
	struct h1call *c = h1calls__first(&p->calls), *last = h1calls__last(&p->calls);
	struct message *m;

	if (!start || !p->resp.reading)
		return;
	m = message_of(c);
	if (!m || !m->head_done || !h1line_looks_response(in))
		return;
	if (c->unsure && !m->body_len) {
		h1conn__end_unsure(p, t_ns);
		p->last = H1LAST_REQUEST;
	} else if (c->doubtful && !m->body_len) {
		/* What it answered was not the request that it was given to, but a HEAD. */
		h1conn__deny(p, t_ns);
		p->last = H1LAST_REQUEST;
	} else if (c != last && last->turn && p->last == H1LAST_REQUEST && http1_reader__until_close(p->resp.reader)) {
		stop_reading(p);
		lose_before(p, last, t_ns);
	}
}

/* True: chunks were found, or another message; go on reading. */
static bool search(struct proto *p, struct span in, uint64_t t_ns, bool start)
{
	struct h1call *c = h1calls__first(&p->calls);

	if (start && http1_reader__resume(p->resp.reader, in, !c->torn)) {
		/* What the kernel leaves out is of one message: the end that it shows is that of this one. */
		c->patched = c->torn;
		if (c->torn)
			stats_inc(STAT_wire_resyncs);
		return true;
	}
	/* Its end was left out with the rest, and the answer to a request that came along with its own begins. */
	if (start && !c->torn && c != h1calls__last(&p->calls) && h1line_looks_response(in)) {
		http1_reader__reset(p->resp.reader);
		on_end(p, c, t_ns);
		return true;
	}
	/* Part of the body, but nobody knows which. */
	if (c->torn)
		stats_add(STAT_wire_unsynced_bytes, in.n);
	h1conn_missed(message_of(c), in.n, c->torn ? GAP_LOST : GAP_LIMIT, true, t_ns);
	return false;
}

/* Bytes of the response that is being read are missing, other than of its body's known length. True: it goes on. */
static bool go_on_searching(struct proto *p, struct h1call *c, uint64_t n, enum gap_cause cause, uint64_t t_ns)
{
	c->torn |= cause != GAP_LIMIT;
	if ((c->torn && c != h1calls__last(&p->calls)) || c->unsure || !http1_reader__search(p->resp.reader))
		return false;
	h1conn_missed(message_of(c), n, cause, true, t_ns);
	return true;
}

enum proto_state h1conn__responses(struct proto *p, struct span in, uint64_t t_ns, bool start)
{
	enum proto_state st = PROTO_GOOD;

	p->answered = true;
	check_contradiction(p, in, t_ns, start);
	if (p->resp.reading && http1_reader__searching(p->resp.reader) && !search(p, in, t_ns, start))
		return st;
	do {
		if (!p->resp.reading && !begin_message(p, &in, t_ns, start, &st))
			break;
		start = false;
		while (!read_some(p, &in, t_ns, &st))
			continue;
	} while (in.n && st == PROTO_GOOD);
	return st;
}

void h1conn__response_gap(struct proto *p, uint64_t n, enum gap_cause cause, uint64_t t_ns)
{
	enum proto_state st = PROTO_GOOD;
	struct span none = {0};

	p->answered = true;
	if (p->resp.reading) {
		struct h1call *c = h1calls__first(&p->calls);
		bool searching = http1_reader__searching(p->resp.reader);
		uint64_t passed = searching ? 0 : http1_reader__gap(p->resp.reader, n);

		h1conn_missed(message_of(c), passed, cause, false, t_ns);
		if (passed)
			read_some(p, &none, t_ns, &st);
		if (passed == n)
			return;
		if (p->resp.reading) {
			if (go_on_searching(p, c, n - passed, cause, t_ns))
				return;
			stop_reading(p);
			if (c->x)
				c->x->resp.gap_causes |= (uint8_t)(1u << cause);
			lose_response(c);
		}
	}
	p->resp.synced = false;
	for (uint32_t i = 0; i < p->calls.n; i++)
		p->calls.v[i].hole = true;
	lose_before(p, may_come(p), t_ns);
}
