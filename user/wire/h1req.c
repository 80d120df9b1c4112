#include "base/stats.h"
#include "wire/h1conn.h"
#include "wire/h1line.h"

/* The message that is being read, or NULL when its exchange was handed on. */
static struct message *message_of(struct h1call *c)
{
	return c->x ? &c->x->req : NULL;
}

static struct span skip_line_ends(struct span s)
{
	while (s.n && (s.p[0] == '\r' || s.p[0] == '\n'))
		s = span_skip(s, 1);
	return s;
}

/* Another request may follow: what is passed over is the rest of a body that was answered before all of it had come. */
static bool ends_chunks(struct span s)
{
	return s.n >= 5 && span_eq(span_skip(s, s.n - 5), SPAN_LIT("0\r\n\r\n"));
}

static void skip(struct proto *p, struct span *in)
{
	stats_add(STAT_wire_unsynced_bytes, in->n);
	p->skipped = !ends_chunks(*in);
	*in = span_skip(*in, in->n);
}

/* A place where a request may begin although this direction's place was lost: the fragment's first bytes read like a
 * request, no answer is outstanding, and these are not further bytes of something of which some were passed over. */
static bool may_resync(const struct proto *p, struct span in, bool start)
{
	return start && !p->calls.n && !p->skipped && h1line_looks_request(in, true) != 0;
}

/* True when a message is being read now. */
static bool begin_message(struct proto *p, struct span *in, uint64_t t_ns, bool start, enum proto_state *st)
{
	bool owed = !p->resp.synced || p->resp.reading || p->calls.n;
	struct h1call *c;

	if (p->closing) {
		skip(p, in);
		return false;
	}
	if (p->req.synced)
		*in = skip_line_ends(*in);
	else if (!may_resync(p, *in, start))
		skip(p, in);
	if (!in->n)
		return false;
	c = h1conn__reader(p, &p->req) ? h1conn__push(p, t_ns) : NULL;
	if (!c) {
		*st = h1conn__give_up(p, t_ns);
		return false;
	}
	c->turn = start;
	c->owed = owed;
	c->tentative = !p->req.synced;
	c->x->req.end = MSG_OPEN;
	http1_reader__begin(p->req.reader, &c->x->req, true);
	p->req.reading = true;
	return true;
}

static void on_head(struct proto *p, struct h1call *c, uint64_t t_ns)
{
	struct message *m = message_of(c);

	m->head_done = true;
	m->t_head_ns = t_ns;
	exchange__head_done(p->env, c->x, m);
	c->is_bare = m->major == 0;
	if (c->tentative) {
		c->tentative = false;
		c->unsure &= span_eq(message__method(m), SPAN_LIT("HEAD"));
		p->req.synced = true;
		stats_inc(STAT_wire_resyncs);
	}
	h1conn__settle(p, t_ns);
}

static void on_end(struct proto *p, struct h1call *c, uint64_t t_ns)
{
	struct message *m = message_of(c);

	p->req.reading = false;
	if (m)
		m->end = MSG_COMPLETE;
	stats_inc(STAT_wire_messages);
	c->req_over = true;
	h1conn__settle(p, t_ns);
}

/* It stays open for its answer, which is a 400 if nginx reads it as we do. */
static void on_bad(struct proto *p, struct h1call *c, struct span *in, uint64_t t_ns)
{
	p->req.reading = p->req.synced = false;
	if (c->tentative) {
		h1conn__drop_last(p);
		h1conn__settle(p, t_ns);
	} else {
		h1conn_end_bad(message_of(c));
		c->req_over = true;
		h1conn__settle(p, t_ns);
	}
	skip(p, in);
}

/* True: the message that was being read is over. */
static bool read_some(struct proto *p, struct span *in, uint64_t t_ns)
{
	struct h1call *c = h1calls__last(&p->calls);
	struct message *m = message_of(c);
	struct span body = {0};
	size_t had = in->n;
	enum http1_step step = http1_reader__next(p->req.reader, in, &body);

	if (m)
		h1conn_saw(m, had - in->n, t_ns);
	switch (step) {
	case HTTP1_MORE:
		return true;
	case HTTP1_HEAD:
		/* Its first bytes may have been the beginning of a usual method without being one. */
		if (c->tentative && !h1line_usual_method(message__method(m))) {
			http1_reader__reset(p->req.reader);
			on_bad(p, c, in, t_ns);
			return true;
		}
		on_head(p, c, t_ns);
		return false;
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

void h1conn__end_searched(struct proto *p, struct h1call *c, uint64_t t_ns)
{
	if (!p->req.reading || c != h1calls__last(&p->calls) || !http1_reader__searching(p->req.reader))
		return;
	http1_reader__reset(p->req.reader);
	/* Unless nginx did not wait for it: then more of it may come. */
	p->req.synced = false;
	on_end(p, c, t_ns);
}

/* In a chunked body of which a part was left out: true when its chunks go on here, or another request begins. */
static bool search(struct proto *p, struct span in, uint64_t t_ns, bool start, bool answered)
{
	struct h1call *c = h1calls__last(&p->calls);

	/* Whatever came of its answer: nginx takes no other before. */
	if (start && answered && h1line_looks_request(in, true) != 0) {
		h1conn__end_searched(p, c, t_ns);
		return true;
	}
	if (start && http1_reader__resume(p->req.reader, in, true))
		return true;
	h1conn_missed(message_of(c), in.n, GAP_LIMIT, true, t_ns);
	return false;
}

enum proto_state h1conn__requests(struct proto *p, struct span in, uint64_t t_ns, bool start)
{
	enum proto_state st = PROTO_GOOD;
	bool answered = p->answered;

	p->answered = false;
	h1conn__end_unsure(p, t_ns);
	h1conn__confirm(p, t_ns);
	if (p->req.reading && http1_reader__searching(p->req.reader) && !search(p, in, t_ns, start, answered))
		return st;
	do {
		if (!p->req.reading && !begin_message(p, &in, t_ns, start, &st))
			break;
		start = false;
		while (!read_some(p, &in, t_ns))
			continue;
	} while (in.n && st == PROTO_GOOD);
	return st;
}

static void lose_request(struct proto *p, struct h1call *c, enum gap_cause cause, uint64_t t_ns)
{
	http1_reader__salvage(p->req.reader);
	http1_reader__reset(p->req.reader);
	p->req.reading = false;
	if (c->tentative) {
		h1conn__drop_last(p);
		h1conn__settle(p, t_ns);
		return;
	}
	c->overtaken = true;
	if (c->x) {
		c->x->req.end = MSG_LOST;
		c->x->req.gap_causes |= (uint8_t)(1u << cause);
	}
	c->req_over = true;
	h1conn__settle(p, t_ns);
}

void h1conn__request_gap(struct proto *p, uint64_t n, enum gap_cause cause, uint64_t t_ns)
{
	struct span none = {0};

	h1conn__end_unsure(p, t_ns);
	h1conn__deny(p, t_ns);
	p->answered = false;
	p->last = H1LAST_REQUEST;
	if (p->req.reading) {
		struct h1call *c = h1calls__last(&p->calls);
		bool searching = http1_reader__searching(p->req.reader);
		uint64_t passed = searching ? 0 : http1_reader__gap(p->req.reader, n);

		h1conn_missed(message_of(c), passed, cause, false, t_ns);
		if (passed)
			read_some(p, &none, t_ns);
		if (passed == n)
			return;
		if (p->req.reading && cause == GAP_LIMIT && http1_reader__search(p->req.reader)) {
			/* What comes may be another request, if the ring loses the answer to this one. */
			c->overtaken = true;
			h1conn_missed(message_of(c), n - passed, cause, true, t_ns);
			return;
		}
		if (p->req.reading)
			lose_request(p, c, cause, t_ns);
	}
	p->req.synced = false;
	if (h1calls__last(&p->calls))
		h1calls__last(&p->calls)->overtaken = true;
}
