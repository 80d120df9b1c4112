/* wire_rig: connections fed with what one side read and wrote, in any cut, and the exchanges that came out as text.
 *
 * An exchange reads `GET /a 1.1 complete 0 "" > 200 1.1 complete 5 "hello"`: start line, how the message ended, length
 * of its body and what was kept of it. What is not there is left out; notes in brackets follow.
 */
#ifndef KT_TESTS_WIRE_RIG_H
#define KT_TESTS_WIRE_RIG_H

#include "kt_cmocka.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/stats.h"
#include "wire/conns.h"

#define MS 1000000ull

struct rig {
	struct conns *c;
	struct buf brief, whole; /* a line per exchange: without and with header fields */
	struct wire_limits limits;
	struct conn_key key;
	uint64_t pos[2];
	uint64_t t_ns;
	unsigned begun, done, ignored, skips, over;
	struct byte_range skip[2];
	struct conn_key last_over;
	struct conn_facts last;	 /* of the exchange that came out last */
	uint32_t stands_for;	 /* likewise */
	uint64_t open_ids[4096]; /* begun and not done */
	unsigned nopen;
};

static inline const char *rig_end(enum msg_end e)
{
	static const char *const names[] = {
		"none", "open", "complete", "closed", "reset", "lost", "limit", "idle", "bad"};

	return names[e];
}

static inline void rig_bytes(struct buf *b, struct span s)
{
	for (size_t i = 0; i < s.n; i++)
		assert_int_equal((unsigned char)s.p[i] < 0x20 || (unsigned char)s.p[i] > 0x7e || s.p[i] == '\\'
					 ? buf__printf(b, "\\x%02x", (unsigned char)s.p[i])
					 : buf__append_char(b, s.p[i]),
			0);
}

static inline void rig_fields(struct buf *b, const struct headers *h, const char *name)
{
	if (!h->count)
		return;
	buf__printf(b, " %s{", name);
	for (uint32_t i = 0; i < h->count; i++) {
		rig_bytes(b, headers__name_at(h, i));
		buf__append_str(b, ":");
		rig_bytes(b, headers__value_at(h, i));
		buf__append_str(b, "|");
	}
	buf__append_str(b, "}");
}

static inline void rig_tail(struct buf *b, const struct message *m, bool fields)
{
	buf__printf(b, "%s %llu \"", rig_end(m->end), (unsigned long long)m->body_len);
	rig_bytes(b, buf_span(&m->body));
	buf__append_str(b, "\"");
	if (m->body_gap)
		buf__printf(b, " gap %llu/%x", (unsigned long long)m->body_gap, m->gap_causes);
	if (m->interim)
		buf__printf(b, " interim %u", m->interim);
	if (m->headers.overflow)
		buf__append_str(b, " overflow");
	if (m->body_excluded)
		buf__append_str(b, " excluded");
	if (fields) {
		buf__printf(b, " wire %llu", (unsigned long long)m->wire_bytes);
		rig_fields(b, &m->headers, "fields");
		rig_fields(b, &m->trailers, "trailers");
	}
}

static inline void rig_exchange(struct buf *b, const struct exchange *x, bool fields)
{
	if (x->req.end != MSG_NONE) {
		rig_bytes(b, message__method(&x->req));
		buf__append_char(b, ' ');
		rig_bytes(b, message__target(&x->req));
		buf__printf(b, " %u.%u ", x->req.major, x->req.minor);
		rig_tail(b, &x->req, fields);
	}
	buf__append_str(b, " >");
	if (x->resp.end != MSG_NONE) {
		buf__printf(b, " %u %u.%u ", x->resp.status, x->resp.major, x->resp.minor);
		rig_tail(b, &x->resp, fields);
	}
	if (x->client_gone)
		buf__append_str(b, " [gone]");
	if (x->upgraded)
		buf__append_str(b, " [upgraded]");
	if (x->refused)
		buf__append_str(b, " [refused]");
	buf__append_str(b, "\n");
}

static inline void rig_begun(void *ctx, const struct exchange *x)
{
	struct rig *r = ctx;

	assert_true(x->req.head_done);
	assert_true(r->nopen < 4096);
	for (unsigned i = 0; i < r->nopen; i++)
		assert_true(r->open_ids[i] != x->id);
	r->open_ids[r->nopen++] = x->id;
	r->begun++;
}

static inline void rig_done(void *ctx, struct exchange *x)
{
	struct rig *r = ctx;
	bool was_open = false;

	for (unsigned i = 0; i < r->nopen; i++) {
		if (r->open_ids[i] != x->id)
			continue;
		r->open_ids[i] = r->open_ids[--r->nopen];
		was_open = true;
		break;
	}
	/* Begun if, and only if, its request's head was whole. */
	assert_int_equal(was_open, x->req.head_done);
	/* The next stage charges it to a budget of its own. */
	assert_int_equal(x->mem, sizeof(*x) + message__mem(&x->req) + message__mem(&x->resp));
	r->done++;
	r->last = x->conn;
	r->stands_for = x->stands_for;
	rig_exchange(&r->brief, x, false);
	rig_exchange(&r->whole, x, true);
	exchange__free(x);
}

static inline void rig_ignored(void *ctx, const struct conn_key *key)
{
	struct rig *r = ctx;

	(void)key;
	r->ignored++;
}

static inline void rig_skip(void *ctx, const struct conn_key *key, const struct byte_range useless[2])
{
	struct rig *r = ctx;

	(void)key;
	for (int dir = 0; dir < 2; dir++) {
		assert_true(useless[dir].from <= useless[dir].until && useless[dir].until >= r->skip[dir].until);
		r->skip[dir] = useless[dir];
	}
	r->skips++;
}

static inline void rig_over(void *ctx, const struct conn_key *key)
{
	struct rig *r = ctx;

	r->last_over = *key;
	r->over++;
}

static inline void rig__init_with(struct rig *r, const struct wire_limits *l)
{
	*r = (struct rig){.t_ns = 1000 * MS, .limits = *l, .key = {.gen = 1, .obj = 7, .pid = 42}};
	buf__init(&r->brief, 8u << 20);
	buf__init(&r->whole, 64u << 20);
	r->c = conns__new(&r->limits, (struct exchange_sink){rig_begun, rig_done, r},
		(struct conn_ignore_sink){rig_ignored, r, rig_skip, rig_over});
	assert_non_null(r->c);
}

static inline void rig__init(struct rig *r)
{
	struct wire_limits l;

	wire_limits_default(&l);
	rig__init_with(r, &l);
}

static inline const char *rig_text(struct buf *b)
{
	assert_int_equal(buf__append_char(b, '\0'), 0);
	b->n--;
	return b->p;
}

/* Closes everything; afterwards nothing may be held. */
static inline void rig__finish(struct rig *r)
{
	conns__flush(r->c, r->t_ns);
	assert_int_equal(conns__count(r->c), 0);
	assert_int_equal(conns__memory(r->c), 0);
	assert_int_equal(r->nopen, 0);
	conns__free(r->c);
	r->c = NULL;
}

static inline void rig__free(struct rig *r)
{
	if (r->c)
		rig__finish(r);
	buf__free(&r->brief);
	buf__free(&r->whole);
}

static inline void rig__send(struct rig *r, struct record *rec)
{
	r->t_ns += MS;
	rec->t_ns = r->t_ns;
	conns__on_record(r->c, rec);
}

static inline void rig__open(struct rig *r, enum conn_origin origin)
{
	struct record rec = {.kind = REC_OPEN, .open = {.key = r->key, .fd = 7, .origin = origin}};

	rec.open.local = (struct endpoint){
		.family = ADDR_IP4, .port = origin == CONN_CONNECTED ? 40000 : 8000, .addr = {127, 0, 0, 1}};
	rec.open.peer = (struct endpoint){.family = ADDR_IP4, .port = 50000, .addr = {10, 0, 0, 9}};
	r->pos[0] = r->pos[1] = 0;
	rig__send(r, &rec);
}

static inline void rig__data(struct rig *r, enum direction dir, const void *p, size_t n)
{
	/* A copy of its own size: a read beyond it is seen by the sanitizer. */
	char *copy = malloc(n ? n : 1);
	struct record rec = {.kind = REC_DATA, .data = {.key = r->key, .dir = dir, .pos = r->pos[dir]}};

	assert_non_null(copy);
	if (n)
		memcpy(copy, p, n);
	rec.data.data = span_of(copy, n);
	r->pos[dir] += n;
	rig__send(r, &rec);
	free(copy);
}

static inline void rig__in(struct rig *r, const char *s)
{
	rig__data(r, DIR_IN, s, strlen(s));
}

static inline void rig__out(struct rig *r, const char *s)
{
	rig__data(r, DIR_OUT, s, strlen(s));
}

/* Bytes that nobody will see, announced with the record before them (cause) or not at all (GAP_NONE). */
static inline void rig__lose(struct rig *r, enum direction dir, uint64_t n, enum gap_cause cause)
{
	struct record rec = {
		.kind = REC_DATA, .data = {.key = r->key, .dir = dir, .pos = r->pos[dir], .gap = n, .cause = cause}};

	r->pos[dir] += n;
	if (cause != GAP_NONE)
		rig__send(r, &rec);
}

static inline void rig__close(struct rig *r)
{
	struct record rec = {
		.kind = REC_CLOSE, .close = {.key = r->key, .in_pos = r->pos[DIR_IN], .out_pos = r->pos[DIR_OUT]}};

	rig__send(r, &rec);
}

static inline void rig__tick(struct rig *r, uint64_t after_ns)
{
	struct record rec = {.kind = REC_TICK};

	r->t_ns += after_ns;
	rig__send(r, &rec);
}

/* A conversation as text: what the worker read begins with '>', what it wrote with '<', one after the other. */
struct talk_turn {
	enum direction dir;
	struct span bytes;
};

enum rig_cut { CUT_WHOLE, CUT_BYTES, CUT_AT };

/* CUT_AT: each turn is cut once, after `at` bytes (a shorter one is not cut). */
static inline void rig__talk(struct rig *r, const struct talk_turn *t, size_t n, enum rig_cut cut, size_t at)
{
	for (size_t i = 0; i < n; i++) {
		struct span s = t[i].bytes;
		size_t step = cut == CUT_BYTES ? 1 : cut == CUT_AT && at && at < s.n ? at : s.n;

		while (s.n) {
			if (step > s.n)
				step = s.n;
			rig__data(r, t[i].dir, s.p, step);
			s = span_skip(s, step);
			step = cut == CUT_BYTES ? 1 : s.n;
		}
	}
}

#endif
