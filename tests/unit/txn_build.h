/* txn_build: transactions made by hand from the text of their messages, and the events that come out of them. */
#ifndef TXN_BUILD_H
#define TXN_BUILD_H

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>

#include "join/transaction.h"
#include "moesif/moesif.h"

/* Messages as on the wire ("GET / HTTP/1.1\r\nHost: a\r\n\r\nbody"); "\n" does as well as "\r\n" in the head.
 * NULL: not seen. The body is what follows the empty line; *_body_n says its length when it holds NUL bytes. */
struct txn_spec {
	const char *creq, *cresp, *ureq, *uresp;
	size_t creq_body_n, cresp_body_n;
	enum join_how how; /* JOIN_NONE with a ureq: JOIN_BY_ID */
	bool tls, h2;
	bool client_gone;
	uint16_t port;	  /* 0: 8000 */
	const char *peer; /* NULL: 127.0.0.1:40000 */
	uint64_t t_ns;	  /* 0: 1000000000 */
	int64_t wall_ns;  /* wall clock at t_ns; 0: 2026-11-23T00:00:00.007Z */
};

#define TXN_WALL_NS 1795392000007000000LL /* 2026-11-23T00:00:00.007Z */

static inline const char *txn_line(const char *p, struct span *ret)
{
	const char *nl = strchr(p, '\n');
	size_t n = nl ? (size_t)(nl - p) : strlen(p);

	*ret = span_of(p, n && p[n - 1] == '\r' ? n - 1 : n);
	return nl ? nl + 1 : p + n;
}

static inline struct span txn_word(struct span *line)
{
	const char *sp = line->n ? memchr(line->p, ' ', line->n) : NULL;
	struct span w = span_of(line->p, sp ? (size_t)(sp - line->p) : line->n);

	*line = span_skip(*line, w.n + 1);
	return w;
}

static inline void txn_message(struct message *m, const char *text, size_t body_n, bool request, bool h2, uint64_t t_ns)
{
	const struct message_limits limits = {1 << 20, 4096, 1 << 24};
	struct span line, word;
	const char *p;

	message__init(m, &limits);
	if (!text)
		return;
	p = txn_line(text, &line);
	word = txn_word(&line);
	if (request) {
		(void)headers__keep(&m->headers, word, &m->method);
		(void)headers__keep(&m->headers, txn_word(&line), &m->target);
		m->minor = span_eq(line, SPAN_LIT("HTTP/1.0")) ? 0 : 1;
	} else {
		m->status = (uint16_t)atoi(line.n ? line.p : "0");
	}
	m->major = h2 ? 2 : 1;
	for (p = txn_line(p, &line); line.n; p = txn_line(p, &line)) {
		const char *colon = memchr(line.p + 1, ':', line.n - 1);
		struct span name = span_of(line.p, colon ? (size_t)(colon - line.p) : line.n);
		struct span value = span_skip(line, name.n + 1);

		if (value.n && value.p[0] == ' ')
			value = span_skip(value, 1);
		if (h2 && span_eq(name, SPAN_LIT(":authority")))
			(void)headers__keep(&m->headers, value, &m->authority);
		else
			headers__add(&m->headers, name, value);
		if (span_ieq(name, SPAN_LIT("content-length"))) {
			m->has_length = true;
			m->content_length = strtoull(value.p, NULL, 10);
		}
	}
	buf__append(&m->body, p, body_n ? body_n : strlen(p));
	m->body_len = m->body.n;
	m->head_done = !request || (m->method.n && m->target.n);
	m->end = MSG_COMPLETE;
	m->t_first_ns = m->t_head_ns = t_ns;
	m->t_last_ns = t_ns + 1000;
}

static inline struct exchange *txn_exchange(const struct txn_spec *s, bool client, uint64_t t_ns)
{
	struct exchange *x = calloc(1, sizeof(*x));
	bool h2 = client && s->h2;

	x->id = client ? 1 : 2;
	x->stands_for = 1;
	x->stream = 1;
	x->conn.key = (struct conn_key){.pid = 77, .obj = 5, .gen = x->id, .tls = client && s->tls};
	x->conn.leg = client ? LEG_CLIENT : LEG_UPSTREAM;
	x->conn.proto = h2 ? PROTO_HTTP2 : PROTO_HTTP1;
	if (client) {
		x->conn.local = (struct endpoint){ADDR_IP4, s->port ? s->port : 8000, {127, 0, 0, 1}};
		x->conn.peer = (struct endpoint){ADDR_IP4, 40000, {127, 0, 0, 1}};
		if (s->peer)
			endpoint_parse(span_str(s->peer), &x->conn.peer);
	} else {
		x->conn.local = (struct endpoint){ADDR_IP4, 50000, {127, 0, 0, 1}};
		x->conn.peer = (struct endpoint){ADDR_IP4, 9000, {10, 0, 0, 9}};
	}
	txn_message(&x->req, client ? s->creq : s->ureq, client ? s->creq_body_n : 0, true, h2, t_ns);
	txn_message(&x->resp, client ? s->cresp : s->uresp, client ? s->cresp_body_n : 0, false, h2, t_ns + 2000000);
	x->client_gone = client && s->client_gone;
	x->t_end_ns = t_ns + 3000000;
	return x;
}

static inline struct transaction *txn_build(const struct txn_spec *s)
{
	struct transaction *t = calloc(1, sizeof(*t));
	uint64_t t_ns = s->t_ns ? s->t_ns : 1000000000;

	t->client = txn_exchange(s, true, t_ns);
	t->how = s->how;
	t->wall_offset_ns = (s->wall_ns ? s->wall_ns : TXN_WALL_NS) - (int64_t)t_ns;
	if (s->ureq) {
		t->upstream = calloc(1, sizeof(*t->upstream));
		t->upstream[0] = txn_exchange(s, false, t_ns + 500000);
		t->upstream_count = 1;
		t->answered = s->uresp ? t->upstream[0] : NULL;
		if (t->how == JOIN_NONE)
			t->how = JOIN_BY_ID;
	}
	return t;
}

/* What came out last. */
struct txn_out {
	unsigned events;
	char *json;
	json_t *root;
	struct event e; /* spans in it are gone */
	char user[256], company[256], path[512];
};

static inline void txn_text(char *to, size_t size, struct span s)
{
	snprintf(to, size, "%.*s", (int)s.n, s.n ? s.p : "");
}

static inline void txn_out_clear(struct txn_out *o)
{
	free(o->json);
	json_decref(o->root);
	memset(o, 0, sizeof(*o));
}

static inline void txn_on_event(void *ctx, const struct event *e)
{
	struct txn_out *o = ctx;
	unsigned n = o->events;
	json_error_t err;

	txn_out_clear(o);
	o->events = n + 1;
	o->e = *e;
	o->json = strndup(e->json.p, e->json.n);
	o->root = json_loadb(e->json.p, e->json.n, JSON_ALLOW_NUL | JSON_REJECT_DUPLICATES, &err);
	if (!o->root)
		fprintf(stderr, "not JSON (%s at %d): %s\n", err.text, err.position, o->json);
	txn_text(o->user, sizeof(o->user), e->user);
	txn_text(o->company, sizeof(o->company), e->company);
	txn_text(o->path, sizeof(o->path), e->path);
}

/* The value at a path of keys and indexes ("request.headers.host", "a.0"); keys with dots in them are not needed. */
static inline const json_t *txn_at(const json_t *v, const char *path)
{
	char key[128];

	while (v && *path) {
		size_t n = strcspn(path, ".");

		snprintf(key, sizeof(key), "%.*s", (int)n, path);
		v = json_is_array(v) ? json_array_get(v, (size_t)atoi(key)) : json_object_get(v, key);
		path += n + (path[n] == '.');
	}
	return v;
}

/* The string there, or "(none)". Numbers come as text too. */
static inline const char *txn_str(const struct txn_out *o, const char *path)
{
	static char text[4][64];
	static unsigned turn;
	const json_t *v = txn_at(o->root, path);

	if (json_is_string(v))
		return json_string_value(v);
	if (!json_is_integer(v))
		return v ? "(other)" : "(none)";
	turn = (turn + 1) % 4;
	snprintf(text[turn], sizeof(text[turn]), "%lld", (long long)json_integer_value(v));
	return text[turn];
}

#endif
