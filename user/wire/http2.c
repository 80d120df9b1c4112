/* http2: HTTP/2 on one connection (RFC 9113): two directions of frames, and the streams that they share.
 *
 * A direction that has lost the place of its frames, or whose beginning was not seen, finds it at the beginning of a
 * call (h2frame_chain).
 */
#include <errno.h>
#include <stdlib.h>

#include "base/stats.h"
#include "wire/h2reader.h"

/* Frames that are none, or header blocks that are none, before the connection is given up. */
#define STRIKES_MAX 64u
/* The longest frame that is waited for while its place is in doubt, and the beginning of the next. */
#define HELD_MAX (H2_FRAME_DEFAULT + 2 * H2_HEAD_LEN)

struct half {
	bool is_request;
	bool synced;	 /* the place of the frames is known */
	bool touched;	 /* bytes of it were seen */
	uint8_t preface; /* bytes of the client's preface still to come */
	struct buf held; /* not synced: what may be the beginning of frames */
	uint64_t held_ns;
	struct h2hpack *hpack;
	struct h2reader reader;
};

struct proto {
	struct proto_env env;
	struct half half[2]; /* by is_request */
	struct h2streams *streams;
	size_t mem; /* charged for itself and what is held */
	uint32_t strikes;
};

/* Keeps the charge in step with the buffers. False: there is more than the budget has. */
static bool account(struct proto *p)
{
	size_t mem = sizeof(*p) + p->half[0].held.cap + p->half[1].held.cap;

	p->env.budget->used += mem - p->mem;
	p->mem = mem;
	return wire_budget__room(p->env.budget, 0);
}

static void lose_place(struct half *h, uint64_t t_ns)
{
	h2reader__lose(&h->reader, t_ns);
	h->synced = false;
	h->preface = 0;
}

static enum proto_state give_up(struct proto *p, uint64_t t_ns)
{
	h2streams__close(p->streams, MSG_LIMIT, t_ns);
	return PROTO_GIVE_UP;
}

static enum proto_state strike(struct proto *p, struct half *h, int err, size_t rest, uint64_t t_ns)
{
	stats_inc(STAT_wire_parse_errors);
	stats_add(STAT_wire_unsynced_bytes, rest);
	lose_place(h, t_ns);
	return err == -EPROTO || ++p->strikes > STRIKES_MAX ? give_up(p, t_ns) : PROTO_GOOD;
}

/* A connection that was taken for an old one begins here. */
static void begin_anew(struct proto *p)
{
	struct half *req = &p->half[true], *resp = &p->half[false];

	req->synced = true;
	req->preface = (uint8_t)H2_PREFACE.n;
	h2hpack__from_start(req->hpack);
	h2streams__from_start(p->streams);
	if (resp->touched)
		return;
	resp->synced = true;
	h2hpack__from_start(resp->hpack);
}

static void pass_over(struct proto *p, struct half *h, size_t n, uint64_t t_ns)
{
	stats_add(STAT_wire_unsynced_bytes, n);
	h2streams__lost(p->streams, h->is_request, t_ns);
}

static void drop_held(struct proto *p, struct half *h, uint64_t t_ns)
{
	if (h->held.n)
		pass_over(p, h, h->held.n, t_ns);
	buf__free(&h->held);
	(void)account(p);
}

static enum h2_chain chain_of(const struct proto *p, const struct half *h, struct span data)
{
	return h2frame_chain(data, h->is_request, h2streams__top(p->streams));
}

static bool hold(struct proto *p, struct half *h, struct span data)
{
	return !buf__append_span(&h->held, data) && account(p);
}

/* Are these the beginning of frames? What may become it is held until that shows. */
static bool find_place(struct proto *p, struct half *h, struct span data, uint64_t t_ns, bool fragment_start)
{
	enum h2_chain chain;

	if (h->is_request && !h->touched && fragment_start && span_starts(data, H2_PREFACE)) {
		begin_anew(p);
		return true;
	}
	if (h->held.n) {
		chain = hold(p, h, data) ? chain_of(p, h, buf_span(&h->held)) : H2_CHAIN_NO;
		if (chain == H2_CHAIN_SO_FAR)
			return false;
		if (chain == H2_CHAIN_YES)
			goto found;
		drop_held(p, h, t_ns);
	}
	chain = fragment_start ? chain_of(p, h, data) : H2_CHAIN_NO;
	if (chain == H2_CHAIN_YES)
		goto found;
	h->held_ns = t_ns;
	if (chain == H2_CHAIN_NO || !hold(p, h, data)) {
		drop_held(p, h, t_ns);
		pass_over(p, h, data.n, t_ns);
	}
	return false;
found:
	h->synced = true;
	stats_inc(STAT_wire_resyncs);
	return true;
}

/* 0 or -EBADMSG */
static int take_preface(struct half *h, struct span *data)
{
	struct span rest = span_skip(H2_PREFACE, H2_PREFACE.n - h->preface);

	if (rest.n > data->n)
		rest.n = data->n;
	if (!span_starts(*data, rest))
		return -EBADMSG;
	h->preface -= (uint8_t)rest.n;
	*data = span_skip(*data, rest.n);
	return 0;
}

static enum proto_state read_frames(struct proto *p, struct half *h, struct span data, uint64_t t_ns)
{
	int err = h2reader__read(&h->reader, &data, t_ns);

	return err ? strike(p, h, err, data.n, t_ns) : PROTO_GOOD;
}

/* The bytes that were held turned out to be frames. */
static enum proto_state read_held(struct proto *p, struct half *h)
{
	struct buf held = h->held;
	enum proto_state st;

	buf__init(&h->held, held.max);
	st = read_frames(p, h, buf_span(&held), h->held_ns);
	buf__free(&held);
	(void)account(p);
	return st;
}

static enum proto_state h2_feed(struct proto *p, bool is_request, struct span data, uint64_t t_ns, bool fragment_start)
{
	struct half *h = &p->half[is_request];

	if (!data.n)
		return PROTO_GOOD;
	if (!h->synced) {
		bool found = find_place(p, h, data, t_ns, fragment_start);

		h->touched = true;
		if (!found)
			return PROTO_GOOD;
		if (h->held.n)
			return read_held(p, h);
	}
	h->touched = true;
	if (h->preface && take_preface(h, &data)) {
		stats_inc(STAT_wire_parse_errors);
		return give_up(p, t_ns);
	}
	return read_frames(p, h, data, t_ns);
}

static enum proto_state h2_gap(struct proto *p, bool is_request, uint64_t n, enum gap_cause cause, uint64_t t_ns)
{
	struct half *h = &p->half[is_request];
	int err;

	if (!n)
		return PROTO_GOOD;
	h->touched = true;
	if (!h->synced) {
		drop_held(p, h, t_ns);
		h2streams__lost(p->streams, is_request, t_ns);
		return PROTO_GOOD;
	}
	err = h->preface ? -ESPIPE : h2reader__gap(&h->reader, n, cause, t_ns);
	if (err && err != -ESPIPE)
		return strike(p, h, err, 0, t_ns);
	if (err)
		lose_place(h, t_ns);
	return PROTO_GOOD;
}

static void h2_free(struct proto *p)
{
	if (!p)
		return;
	for (int i = 0; i < 2; i++) {
		h2reader__free(&p->half[i].reader);
		h2hpack__free(p->half[i].hpack);
		buf__free(&p->half[i].held);
	}
	h2streams__free(p->streams);
	p->env.budget->used -= p->mem;
	free(p);
}

static void init_half(struct proto *p, bool is_request, bool whole)
{
	struct half *h = &p->half[is_request];

	h->is_request = is_request;
	h->synced = whole;
	h->preface = whole && is_request ? (uint8_t)H2_PREFACE.n : 0;
	buf__init(&h->held, HELD_MAX);
	h->reader.is_request = is_request;
	h->reader.limits = p->env.limits;
	h->reader.budget = p->env.budget;
	h->reader.streams = p->streams;
	h->reader.hpack = h->hpack;
	h->reader.peer_hpack = p->half[!is_request].hpack;
	h2reader__init(&h->reader);
}

static struct proto *h2_new(const struct proto_env *env, bool synced)
{
	bool whole = synced && env->facts->from_start;
	struct proto *p = calloc(1, sizeof(*p));

	if (!p)
		return NULL;
	p->env = *env;
	(void)account(p);
	p->streams = h2streams__new(env, whole);
	for (int i = 0; i < 2; i++)
		p->half[i].hpack = h2hpack__new(env->limits, env->budget, !whole);
	if (!p->streams || !p->half[0].hpack || !p->half[1].hpack) {
		h2_free(p);
		errno = ENOMEM;
		return NULL;
	}
	init_half(p, true, whole);
	init_half(p, false, whole);
	if (!account(p)) {
		h2_free(p);
		errno = ENOSPC;
		return NULL;
	}
	return p;
}

static void h2_close(struct proto *p, uint64_t t_ns)
{
	h2streams__close(p->streams, MSG_CLOSED, t_ns);
}

static void h2_tick(struct proto *p, uint64_t t_ns)
{
	h2streams__tick(p->streams, t_ns);
}

static bool h2_busy(const struct proto *p)
{
	return h2streams__open(p->streams) != 0;
}

static int guess_request_start(struct span data)
{
	struct span preface = H2_PREFACE;

	if (data.n >= preface.n)
		return span_starts(data, preface);
	return span_starts(preface, data) ? -EAGAIN : 0;
}

/* In the middle of a connection: frames, or the header of one alone, as nginx has it in a segment of its own. */
static int guess_frames(struct span data, bool is_request)
{
	enum h2_chain chain = h2frame_chain(data, is_request, 0);

	return chain == H2_CHAIN_YES || (chain == H2_CHAIN_SO_FAR && data.n == H2_HEAD_LEN);
}

static int h2_guess(struct span data, bool is_request, bool from_start)
{
	struct h2frame f;

	if (is_request && (from_start || span_starts(data, H2_PREFACE)))
		return guess_request_start(data);
	if (!from_start)
		return guess_frames(data, is_request);
	/* A server begins with its settings. */
	if (data.n < H2_HEAD_LEN)
		return data.n && data.p[0] ? 0 : -EAGAIN;
	h2frame_parse((const unsigned char *)data.p, &f);
	return f.type == H2_SETTINGS && h2frame_plausible(&f, false, 0) && !(f.flags & H2_ACK);
}

const struct proto_ops http2_ops = {
	.name = "HTTP/2",
	.id = PROTO_HTTP2,
	.guess = h2_guess,
	.new = h2_new,
	.feed = h2_feed,
	.gap = h2_gap,
	.close = h2_close,
	.tick = h2_tick,
	.busy = h2_busy,
	.free = h2_free,
};
