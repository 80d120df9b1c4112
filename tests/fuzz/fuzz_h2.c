/* A whole HTTP/2 connection. Input: a byte of options, then calls: a byte that says which direction and what (bytes, or
 * a gap), a byte of length, the bytes. What must hold: everything that began is handed on once, no memory stays behind,
 * bodies are prefixes within their limits; and where nothing was lost and nothing refused, the cut of the bytes makes
 * no difference.
 */
#include <stdlib.h>
#include <string.h>

#include "base/stats.h"
#include "wire/proto.h"

int LLVMFuzzerTestOneInput(const uint8_t *in, size_t size);

struct run {
	struct wire_limits limits;
	struct wire_budget budget;
	struct conn_facts facts;
	uint64_t conn_used, next_id, t;
	struct proto_env env;
	unsigned long begun, done, open;
	uint64_t sum; /* of all that was handed on */
	bool gaps, gave_up;
};

static void mix(struct run *r, const void *p, size_t n)
{
	const unsigned char *c = p;

	for (size_t i = 0; i < n; i++)
		r->sum = (r->sum ^ c[i]) * 1099511628211u;
}

static char *excluded[] = {"image/*", "text/plain"};

static void mix_message(struct run *r, const struct message *m, uint32_t limit)
{
	uint64_t numbers[] = {m->end, m->status, m->interim, m->body_len, m->body_gap, m->wire_bytes, m->head_partial,
		m->trailers.count, m->body_excluded};

	if (m->body.n > m->body_len || m->body.n > limit || (!m->body_truncated && m->body.n != m->body_len))
		abort();
	if (m->headers.n > r->limits.header_bytes || m->headers.count > r->limits.header_count)
		abort();
	if (m->body_excluded && (!r->limits.exclude_types.n || !m->head_done || m->body.n))
		abort();
	mix(r, numbers, sizeof(numbers));
	mix(r, message__method(m).p, m->method.n);
	mix(r, message__target(m).p, m->target.n);
	mix(r, m->body.p, m->body.n);
	for (uint32_t i = 0; i < m->headers.count; i++) {
		struct span n = headers__name_at(&m->headers, i), v = headers__value_at(&m->headers, i);

		mix(r, n.p, n.n);
		mix(r, v.p, v.n);
	}
}

static void on_begun(void *ctx, const struct exchange *x)
{
	struct run *r = ctx;

	if (!x->req.head_done)
		abort();
	r->begun++;
}

static void on_done(void *ctx, struct exchange *x)
{
	struct run *r = ctx;

	r->done++;
	if (!r->gave_up && (x->req.end == MSG_OPEN || x->resp.end == MSG_OPEN))
		abort();
	mix_message(r, &x->req, r->limits.request_body);
	mix_message(r, &x->resp, r->limits.response_body);
	exchange__free(x);
}

/* `piece`: at most so many bytes at a time. */
static void run(struct run *r, const uint8_t *in, size_t size, size_t piece)
{
	struct proto *p;
	uint8_t options = size ? in[0] : 0;

	wire_limits_default(&r->limits);
	r->limits.header_bytes = 2048;
	r->limits.header_count = 40;
	r->limits.request_body = r->limits.response_body = 500;
	r->limits.streams = 8;
	r->limits.hpack_table = 5000;
	r->limits.exclude_types = (struct media_types){.v = excluded, .n = (options & 8) ? 2 : 0};
	r->budget.max = (options & 2) ? 20000 : 1 << 20;
	r->facts = (struct conn_facts){.leg = LEG_CLIENT, .from_start = !(options & 1)};
	r->env = (struct proto_env){.limits = &r->limits,
		.budget = &r->budget,
		.conn_used = &r->conn_used,
		.facts = &r->facts,
		.sink = {on_begun, on_done, r},
		.next_exchange_id = &r->next_id};
	p = http2_ops.new(&r->env, r->facts.from_start);
	if (!p)
		abort();
	if (r->facts.from_start)
		http2_ops.feed(p, true, SPAN_LIT("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), 1, true);
	for (size_t at = 1; at + 1 < size && !r->gave_up;) {
		bool is_request = in[at] & 1, gap = (in[at] & 0x0e) == 0x0e;
		size_t n = in[at + 1], m;

		at += 2;
		if (gap) {
			r->gaps = true;
			r->gave_up = http2_ops.gap(p, is_request, n, GAP_LOST, ++r->t) != PROTO_GOOD;
			continue;
		}
		if (n > size - at)
			n = size - at;
		for (size_t i = 0; i < n && !r->gave_up; i += m) {
			char *copy;

			m = n - i < piece ? n - i : piece;
			copy = malloc(m);
			if (!copy)
				abort();
			memcpy(copy, in + at + i, m);
			r->gave_up = http2_ops.feed(p, is_request, span_of(copy, m), ++r->t, !i) != PROTO_GOOD;
			free(copy);
		}
		at += n;
	}
	http2_ops.tick(p, r->t + (options & 4 ? r->limits.stream_idle_ns : 0));
	http2_ops.close(p, r->t);
	if (http2_ops.busy(p) || r->done < r->begun)
		abort();
	http2_ops.free(p);
	if (r->budget.used || r->conn_used)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *in, size_t size)
{
	struct run whole = {0}, cut = {0};

	stats_reset();
	run(&whole, in, size, SIZE_MAX);
	run(&cut, in, size, 1);
	if (whole.facts.from_start && whole.budget.max > 20000 && !whole.gaps && !stats_get(STAT_wire_parse_errors) &&
		(whole.sum != cut.sum || whole.done != cut.done))
		abort();
	return 0;
}
