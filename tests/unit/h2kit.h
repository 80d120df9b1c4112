/* h2kit: HTTP/2 conversations made of frames, fed to the protocol in any cut, and what came out of it as text.
 * Header blocks come from nghttp2's encoder or from the test itself.
 */
#ifndef KT_TESTS_H2KIT_H
#define KT_TESTS_H2KIT_H

#include "kt_cmocka.h"

#include <nghttp2/nghttp2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/stats.h"
#include "wire/h2frame.h"
#include "wire/proto.h"

#define REQ true
#define RESP false
#define KIT_STEPS 512

/* What one call moved in one direction, or bytes that were lost there. */
struct kit_step {
	bool is_request;
	size_t off, n;
	uint64_t gap;
};

struct talk {
	struct buf bytes;
	struct kit_step steps[KIT_STEPS];
	unsigned int count;
	nghttp2_hd_deflater *enc[2];
};

static inline void talk__init(struct talk *t)
{
	*t = (struct talk){0};
	buf__init(&t->bytes, 64u << 20);
	for (int i = 0; i < 2; i++)
		assert_int_equal(nghttp2_hd_deflate_new(&t->enc[i], 4096), 0);
}

static inline void talk__free(struct talk *t)
{
	for (int i = 0; i < 2; i++)
		nghttp2_hd_deflate_del(t->enc[i]);
	buf__free(&t->bytes);
}

/* Begin a new call; what is put goes into it. */
static inline void call(struct talk *t, bool is_request)
{
	assert_true(t->count < KIT_STEPS);
	t->steps[t->count++] = (struct kit_step){.is_request = is_request, .off = t->bytes.n};
}

static inline void put(struct talk *t, const void *p, size_t n)
{
	assert_int_equal(buf__append(&t->bytes, p, n), 0);
	t->steps[t->count - 1].n += n;
}

static inline void lose(struct talk *t, bool is_request, uint64_t n)
{
	call(t, is_request);
	t->steps[t->count - 1].gap = n;
}

static inline void frame(struct talk *t, int type, int flags, uint32_t stream, const void *payload, size_t n)
{
	unsigned char h[H2_HEAD_LEN] = {(unsigned char)(n >> 16), (unsigned char)(n >> 8), (unsigned char)n,
		(unsigned char)type, (unsigned char)flags, (unsigned char)(stream >> 24), (unsigned char)(stream >> 16),
		(unsigned char)(stream >> 8), (unsigned char)stream};

	put(t, h, sizeof(h));
	put(t, payload, n);
}

static inline void data(struct talk *t, int flags, uint32_t stream, const char *text)
{
	frame(t, H2_DATA, flags, stream, text, strlen(text));
}

/* "name: value" lines; pseudo-header fields begin with their colon. Returns the block's length. */
static inline size_t block(struct talk *t, bool is_request, const char *lines, unsigned char *out, size_t size)
{
	nghttp2_nv nv[128];
	size_t n = 0;
	ssize_t r;

	while (*lines) {
		const char *end = strchr(lines, '\n'), *colon = strchr(lines + 1, ':');

		assert_true(n < 128);
		nv[n++] = (nghttp2_nv){(uint8_t *)lines, (uint8_t *)colon + 2, (size_t)(colon - lines),
			(size_t)(end - colon) - 2, NGHTTP2_NV_FLAG_NONE};
		lines = end + 1;
	}
	r = nghttp2_hd_deflate_hd(t->enc[is_request], out, size, nv, n);
	assert_true(r >= 0);
	return (size_t)r;
}

/* A HEADERS frame in the current call. */
static inline void head(struct talk *t, int flags, uint32_t stream, const char *lines)
{
	unsigned char b[70000];
	size_t n = block(t, t->steps[t->count - 1].is_request, lines, b, sizeof(b));

	frame(t, H2_HEADERS, flags | H2_END_HEADERS, stream, b, n);
}

static inline void preface(struct talk *t)
{
	struct span p = H2_PREFACE;

	call(t, REQ);
	put(t, p.p, p.n);
	frame(t, H2_SETTINGS, 0, 0, "\0\3\0\0\0\144\0\4\0\0\377\377", 12);
	call(t, RESP);
	frame(t, H2_SETTINGS, 0, 0, "", 0);
	frame(t, H2_SETTINGS, H2_ACK, 0, "", 0);
}

/* A connection and what comes out of it. */
struct rig {
	struct wire_limits limits;
	struct wire_budget budget;
	struct conn_facts facts;
	enum conn_ending ending;
	uint64_t conn_used, next_id, t;
	struct proto_env env;
	struct proto *p;
	struct buf text; /* a line an exchange */
	unsigned int begun, done;
	bool gave_up;
};

static inline const char *kit_end(enum msg_end e)
{
	static const char *const names[] = {
		"none", "open", "complete", "closed", "reset", "lost", "limit", "idle", "bad"};

	return names[e];
}

static inline void kit_headers(struct buf *b, const struct headers *h, const char *sep)
{
	for (uint32_t i = 0; i < h->count; i++) {
		buf__append_str(b, i ? "|" : sep);
		buf__append_span(b, headers__name_at(h, i));
		buf__append_str(b, "=");
		buf__append_span(b, headers__value_at(h, i));
	}
}

static inline void kit_message(struct buf *b, const struct message *m)
{
	buf__append_str(b, kit_end(m->end));
	if (m->head_partial)
		buf__append_str(b, " partial");
	kit_headers(b, &m->headers, " ");
	if (m->body_len || m->body_truncated) {
		buf__printf(b, " %llu", (unsigned long long)m->body_len);
		if (m->body_gap)
			buf__printf(b, "-%llu", (unsigned long long)m->body_gap);
		buf__append_str(b, m->body_truncated ? "<" : "=");
		buf__append_span(b, buf_span(&m->body));
	}
	if (m->body_excluded)
		buf__append_str(b, " excluded");
	kit_headers(b, &m->trailers, " +");
}

static inline void kit_begun(void *ctx, const struct exchange *x)
{
	struct rig *r = ctx;

	assert_true(x->req.head_done);
	r->begun++;
}

static inline void kit_done(void *ctx, struct exchange *x)
{
	struct rig *r = ctx;
	struct buf *b = &r->text;

	r->done++;
	buf__printf(b, "%u ", x->stream);
	buf__append_span(b, message__method(&x->req));
	buf__append_str(b, " ");
	if (x->req.authority.n) {
		buf__append_span(b, message__scheme(&x->req));
		buf__append_str(b, "://");
		buf__append_span(b, message__authority(&x->req));
	}
	buf__append_span(b, message__target(&x->req));
	buf__append_str(b, " ");
	kit_message(b, &x->req);
	buf__append_str(b, " > ");
	if (x->resp.interim)
		buf__printf(b, "%u+", x->resp.interim);
	buf__printf(b, "%u ", x->resp.status);
	kit_message(b, &x->resp);
	if (x->upgraded)
		buf__printf(b, " tunnel %llu/%llu", (unsigned long long)x->upgraded_in,
			(unsigned long long)x->upgraded_out);
	if (x->client_gone)
		buf__append_str(b, " gone");
	if (x->refused)
		buf__append_str(b, " refused");
	buf__append_str(b, "\n");
	exchange__free(x);
}

/* Limits may be changed between this and rig__open. */
static inline void rig__init(struct rig *r)
{
	*r = (struct rig){0};
	wire_limits_default(&r->limits);
	r->budget.max = r->limits.total_bytes;
	r->facts = (struct conn_facts){.leg = LEG_CLIENT, .from_start = true};
	buf__init(&r->text, 64u << 20);
	r->env = (struct proto_env){.limits = &r->limits,
		.budget = &r->budget,
		.conn_used = &r->conn_used,
		.ending = &r->ending,
		.facts = &r->facts,
		.sink = {kit_begun, kit_done, r},
		.next_exchange_id = &r->next_id};
}

static inline void rig__open(struct rig *r)
{
	r->p = http2_ops.new(&r->env, r->facts.from_start);
	assert_non_null(r->p);
}

static inline void rig__feed(struct rig *r, bool is_request, const void *p, size_t n, bool start)
{
	/* A copy of its own, so that a read beyond it is noticed. */
	char *copy = malloc(n ? n : 1);

	assert_non_null(copy);
	memcpy(copy, p, n);
	r->t += 1000;
	if (!r->gave_up && http2_ops.feed(r->p, is_request, span_of(copy, n), r->t, start) == PROTO_GIVE_UP)
		r->gave_up = true;
	free(copy);
}

/* Everything ends; nothing may be left on the budget. Text is kept. */
static inline void rig__close(struct rig *r)
{
	http2_ops.close(r->p, r->t);
	assert_false(http2_ops.busy(r->p));
	http2_ops.free(r->p);
	r->p = NULL;
	assert_int_equal(r->budget.used, 0);
	assert_int_equal(r->conn_used, 0);
}

static inline void rig__free(struct rig *r)
{
	buf__free(&r->text);
}

#define CUT_NONE SIZE_MAX

/* Feeds the steps from `first` on; `piece`: bytes at a time (0: a call at once); `cut`: one cut more, at this byte. */
static inline void rig__run(struct rig *r, const struct talk *t, unsigned int first, size_t piece, size_t cut)
{
	for (unsigned int i = first; i < t->count; i++) {
		const struct kit_step *s = &t->steps[i];
		size_t at = 0, n;

		if (s->gap && !r->gave_up)
			http2_ops.gap(r->p, s->is_request, s->gap, GAP_LOST, r->t += 1000);
		for (; at < s->n; at += n) {
			n = piece && piece < s->n - at ? piece : s->n - at;
			if (cut > s->off + at && cut < s->off + at + n)
				n = cut - s->off - at;
			rig__feed(r, s->is_request, t->bytes.p + s->off + at, n, at == 0);
		}
	}
}

/* The conversation as it is, byte by byte, and cut at every place, gives these lines. */
static inline void expect(const struct talk *t, const char *lines)
{
	for (size_t cut = 0; cut <= t->bytes.n + 1; cut++) {
		struct rig r;

		rig__init(&r);
		rig__open(&r);
		rig__run(&r, t, 0, cut == t->bytes.n + 1 ? 1 : 0, cut ? cut : CUT_NONE);
		rig__close(&r);
		buf__append_char(&r.text, 0);
		assert_string_equal(r.text.p, lines);
		rig__free(&r);
	}
}

#endif
