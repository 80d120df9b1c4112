#include "wire/h2streams.h"

#include <stdlib.h>

#include "base/hmap.h"
#include "base/list.h"
#include "base/stats.h"
#include "base/zalloc.h"

#define UNSEEN_RANGES 4

struct h2_stream {
	struct hnode node;
	struct list link; /* in the order in which they were opened */
	uint32_t id;
	struct exchange *x;
	bool tunnel;	/* CONNECT: its DATA is no body, unless the answer refuses it */
	bool resp_lost; /* frames of the response went by unseen */
};

/* Ids of requests that went by unseen: lo < id < hi. */
struct range {
	uint32_t lo, hi;
};

struct h2streams {
	struct proto_env env;
	struct hmap by_id;
	struct list order;
	struct h2_stream *last; /* the one found last */
	uint32_t top;		/* ids of requests only go up: what is above was never used, as far as seen */
	struct range unseen[UNSEEN_RANGES];
	uint32_t nunseen; /* ever added; the newest UNSEEN_RANGES are kept */
	bool requests_lost;
	uint32_t last_taken; /* the server takes no stream above it */
	uint32_t lost_above; /* while requests_lost: any id above it may have been used */
};

struct h2streams *h2streams__new(const struct proto_env *env, bool from_start)
{
	struct h2streams *s = calloc(1, sizeof(*s));

	if (!s)
		return NULL;
	s->env = *env;
	list_init(&s->order);
	s->requests_lost = !from_start;
	s->last_taken = UINT32_MAX;
	if (hmap__init(&s->by_id)) {
		free(s);
		return NULL;
	}
	return s;
}

static struct h2_stream *find(struct h2streams *s, uint32_t id)
{
	struct hnode *n;

	if (s->last && s->last->id == id)
		return s->last;
	for (n = hmap__first(&s->by_id, hash_u64(id)); n; n = hmap__next_same(n)) {
		struct h2_stream *st = hmap_entry(n, struct h2_stream, node);

		if (st->id == id) {
			s->last = st;
			return st;
		}
	}
	return NULL;
}

static void forget(struct h2streams *s, struct h2_stream *st)
{
	hmap__remove(&s->by_id, &st->node);
	list_remove(&st->link);
	if (s->last == st)
		s->last = NULL;
	free(st);
}

static void finish(struct h2streams *s, struct h2_stream *st, uint64_t t_ns)
{
	struct exchange *x = st->x;

	forget(s, st);
	exchange__finish(&s->env, x, t_ns);
}

static bool is_over(const struct message *m)
{
	return m->end != MSG_NONE && m->end != MSG_OPEN;
}

/* Over when both sides are; a request of which nothing was seen is over as far as anybody can tell. */
static void settle(struct h2streams *s, struct h2_stream *st, uint64_t t_ns)
{
	if (is_over(&st->x->resp) && st->x->req.end != MSG_OPEN)
		finish(s, st, t_ns);
}

static struct message *side(struct h2_stream *st, bool is_request)
{
	return is_request ? &st->x->req : &st->x->resp;
}

/* Room for one more: where the limit is reached, the oldest stream goes whose end may have gone by unseen. */
static bool make_room(struct h2streams *s, uint64_t t_ns)
{
	struct list *it, *tmp;

	if (s->by_id.count < s->env.limits->streams)
		return true;
	list_for_each_safe (it, tmp, &s->order) {
		struct h2_stream *st = list_entry(it, struct h2_stream, link);

		if (!st->resp_lost)
			continue;
		if (!is_over(&st->x->resp))
			st->x->resp.end = MSG_LOST;
		if (st->x->req.end == MSG_OPEN)
			st->x->req.end = MSG_LOST;
		finish(s, st, t_ns);
		return true;
	}
	return false;
}

static struct h2_stream *open_stream(struct h2streams *s, uint32_t id, uint64_t t_ns)
{
	struct h2_stream *st = NULL;

	if (!make_room(s, t_ns))
		goto dropped;
	st = zalloc(sizeof(*st));
	if (!st)
		goto dropped;
	st->id = id;
	st->x = exchange__new(&s->env, id, t_ns);
	if (!st->x)
		goto dropped;
	st->x->req.major = st->x->resp.major = 2;
	hmap__insert(&s->by_id, &st->node, hash_u64(id));
	list_push_back(&s->order, &st->link);
	return st;
dropped:
	free(st);
	stats_inc(STAT_wire_exchanges_dropped);
	return NULL;
}

/* Before its head was told to anybody an exchange can go without a trace. */
static void drop(struct h2streams *s, struct h2_stream *st)
{
	struct exchange *x = st->x;

	forget(s, st);
	exchange__discard(&s->env, x);
	stats_inc(STAT_wire_exchanges_dropped);
}

/* Headers just taken in are given back where there is no room for them. */
static void charge_or_shed(struct h2streams *s, struct h2_stream *st, struct headers *h)
{
	if (!exchange__charge(&s->env, st->x))
		return;
	headers__free(h);
	h->overflow = true;
	(void)exchange__charge(&s->env, st->x);
}

static bool was_unseen(const struct h2streams *s, uint32_t id)
{
	uint32_t kept = s->nunseen < UNSEEN_RANGES ? s->nunseen : UNSEEN_RANGES;

	if (!(id & 1))
		return false;
	if (s->requests_lost && id > s->lost_above)
		return true;
	for (uint32_t i = 0; i < kept; i++)
		if (id > s->unseen[i].lo && id < s->unseen[i].hi)
			return true;
	return false;
}

/* A request's first block on this id was seen. */
static void raise_top(struct h2streams *s, uint32_t id)
{
	if (s->requests_lost) {
		s->unseen[s->nunseen++ % UNSEEN_RANGES] = (struct range){s->lost_above, id};
		s->requests_lost = false;
	}
	s->top = id;
}

static void side_ended(struct h2streams *s, struct h2_stream *st, bool is_request, uint64_t t_ns)
{
	struct message *m = side(st, is_request);

	if (!is_over(m) && (!is_request || m->end == MSG_OPEN))
		m->end = !is_request && st->resp_lost ? MSG_LOST : MSG_COMPLETE;
	settle(s, st, t_ns);
}

static void place(struct message *m, const struct h2block_place *at)
{
	m->wire_bytes += at->wire_bytes;
	m->t_last_ns = at->t_ns;
}

static void set_length(struct message *m)
{
	struct span v = headers__get(&m->headers, SPAN_LIT("content-length"));
	uint64_t n = 0;

	if (!v.n || v.n > 18)
		return;
	for (size_t i = 0; i < v.n; i++) {
		if (v.p[i] < '0' || v.p[i] > '9')
			return;
		n = n * 10 + (uint64_t)(v.p[i] - '0');
	}
	m->has_length = true;
	m->content_length = n;
}

static void take_trailers(struct h2streams *s, struct h2_stream *st, struct message *m, struct h2head *h)
{
	if (h->lost || h->pseudo || m->trailers.count)
		return;
	h2head__into_trailers(h, m);
	charge_or_shed(s, st, &m->trailers);
}

/* Could this block, the first seen of its stream, be the trailers of a request that began unseen? Trailers have no
 * pseudo-header fields and are the end; where fields are unknown nobody can say. */
static bool maybe_trailers(const struct h2streams *s, const struct h2head *h, bool end_stream)
{
	return s->requests_lost && end_stream && !h->pseudo;
}

static void new_request(struct h2streams *s, struct h2head *h, const struct h2block_place *at)
{
	struct message *m;
	struct h2_stream *st;

	if (!(at->stream & 1) || at->stream <= s->top || maybe_trailers(s, h, at->end_stream))
		return;
	raise_top(s, at->stream);
	if (at->stream > s->last_taken)
		return;
	st = open_stream(s, at->stream, at->t_first_ns);
	if (!st)
		return;
	m = &st->x->req;
	m->end = h->lost ? MSG_LOST : at->end_stream ? MSG_COMPLETE : MSG_OPEN;
	m->t_first_ns = at->t_first_ns;
	place(m, at);
	if (h->lost)
		return;
	h2head__into_request(h, m);
	if (exchange__charge(&s->env, st->x)) {
		drop(s, st);
		return;
	}
	set_length(m);
	m->head_done = true;
	m->t_head_ns = at->t_ns;
	exchange__head_done(&s->env, st->x, m);
	st->tunnel = span_eq(message__method(m), SPAN_LIT("CONNECT"));
	stats_inc(STAT_wire_messages);
	if (s->env.sink.begun)
		s->env.sink.begun(s->env.sink.ctx, st->x);
}

static void request_head(struct h2streams *s, struct h2head *h, const struct h2block_place *at)
{
	struct h2_stream *st = find(s, at->stream);

	if (!st) {
		new_request(s, h, at);
		return;
	}
	if (st->x->req.end != MSG_OPEN)
		return;
	place(&st->x->req, at);
	take_trailers(s, st, &st->x->req, h);
	if (at->end_stream)
		side_ended(s, st, true, at->t_ns);
}

static void final_head(struct h2streams *s, struct h2_stream *st, struct h2head *h, const struct h2block_place *at)
{
	struct message *m = &st->x->resp;

	m->end = MSG_OPEN;
	m->head_done = true;
	m->t_first_ns = at->t_first_ns;
	m->t_head_ns = at->t_ns;
	st->resp_lost = false;
	h2head__into_response(h, m);
	set_length(m);
	exchange__head_done(&s->env, st->x, m);
	charge_or_shed(s, st, &m->headers);
	if (st->tunnel && m->status >= 200 && m->status < 300)
		st->x->upgraded = true;
	stats_inc(STAT_wire_messages);
}

/* The response's head where it was not seen before. */
static void first_response_head(
	struct h2streams *s, struct h2_stream *st, struct h2head *h, const struct h2block_place *at)
{
	struct message *m = &st->x->resp;

	if (h->lost) {
		st->resp_lost = true;
	} else if (h->has_status && h->status < 200) {
		m->interim++;
	} else if (h->has_status || (h->unknown && !st->resp_lost)) {
		final_head(s, st, h, at);
	} else {
		/* No status: trailers, and the head went by unseen; or a status that is not known, of one of the two.
		 */
		st->resp_lost = true;
		if (!h->unknown && at->end_stream)
			take_trailers(s, st, m, h);
	}
}

static void response_head(struct h2streams *s, struct h2head *h, const struct h2block_place *at)
{
	struct h2_stream *st = find(s, at->stream);
	struct message *m;

	if (!st && was_unseen(s, at->stream) && !h->lost && h->has_status && h->status >= 200)
		st = open_stream(s, at->stream, at->t_first_ns);
	if (!st)
		return;
	m = &st->x->resp;
	if (is_over(m))
		return;
	place(m, at);
	/* A head whose status was not known may have been an interim one: then the one with a status is the head. */
	if (!m->head_done || (!m->status && h->has_status && !h->lost))
		first_response_head(s, st, h, at);
	else if (h->lost)
		st->resp_lost = true;
	else
		take_trailers(s, st, m, h);
	if (at->end_stream)
		side_ended(s, st, false, at->t_ns);
}

void h2streams__head(struct h2streams *s, struct h2head *h, const struct h2block_place *at)
{
	if (at->is_request)
		request_head(s, h, at);
	else
		response_head(s, h, at);
}

/* The stream whose message in this direction is open and can take body bytes. */
static struct h2_stream *with_body(struct h2streams *s, bool is_request, uint32_t id)
{
	struct h2_stream *st = find(s, id);
	struct message *m;

	if (!st)
		return NULL;
	m = side(st, is_request);
	return m->end == MSG_OPEN && m->head_done ? st : NULL;
}

void h2streams__data_begin(struct h2streams *s, bool is_request, uint32_t id, uint64_t wire_bytes)
{
	struct h2_stream *st = with_body(s, is_request, id);

	if (st)
		side(st, is_request)->wire_bytes += wire_bytes;
}

/* CONNECT: bytes of a tunnel, unless the answer was no. Client leg: what the client sends comes in. */
static bool tunnelled(struct h2streams *s, struct h2_stream *st, bool is_request, uint64_t n)
{
	bool in = (s->env.facts->leg == LEG_UPSTREAM) != is_request;

	if (!st->tunnel || (st->x->resp.head_done && !st->x->upgraded))
		return false;
	if (in)
		st->x->upgraded_in += n;
	else
		st->x->upgraded_out += n;
	if (s->env.facts->leg == LEG_CLIENT)
		stats_add(in ? STAT_wire_tunnel_in_bytes : STAT_wire_tunnel_out_bytes, n);
	return true;
}

void h2streams__data(struct h2streams *s, bool is_request, uint32_t id, struct span data, uint64_t t_ns)
{
	struct h2_stream *st = with_body(s, is_request, id);
	struct message *m;

	if (!st || !data.n)
		return;
	m = side(st, is_request);
	m->t_last_ns = t_ns;
	if (tunnelled(s, st, is_request, data.n))
		return;
	/* Something is missing before it, nobody knows how much: what is held stays a prefix. */
	if (!is_request && st->resp_lost)
		m->body_truncated = true;
	exchange__body(&s->env, st->x, m, data);
}

void h2streams__data_gap(struct h2streams *s, bool is_request, uint32_t id, uint64_t n, enum gap_cause cause)
{
	struct h2_stream *st = with_body(s, is_request, id);

	if (st && n && !tunnelled(s, st, is_request, n))
		exchange__body_gap(side(st, is_request), n, cause);
}

void h2streams__data_unsure(struct h2streams *s, bool is_request, uint32_t id)
{
	struct h2_stream *st = with_body(s, is_request, id);

	if (!st)
		return;
	side(st, is_request)->body_truncated = true;
	if (is_request)
		st->x->req.end = MSG_LOST;
	else
		st->resp_lost = true;
}

void h2streams__data_end(struct h2streams *s, bool is_request, uint32_t id, bool end_stream, uint64_t t_ns)
{
	struct h2_stream *st = find(s, id);
	struct message *m;

	if (!st)
		return;
	m = side(st, is_request);
	if (is_over(m) || (is_request && m->end == MSG_NONE))
		return;
	m->t_last_ns = t_ns;
	if (end_stream)
		side_ended(s, st, is_request, t_ns);
}

static void reset(struct h2streams *s, struct h2_stream *st, bool by_client, uint64_t t_ns)
{
	struct exchange *x = st->x;

	if (!is_over(&x->resp)) {
		x->client_gone = by_client;
		x->resp.end = MSG_RESET;
	}
	if (x->req.end == MSG_OPEN)
		x->req.end = MSG_RESET;
	finish(s, st, t_ns);
}

void h2streams__reset(struct h2streams *s, bool is_request, uint32_t id, bool refused, uint64_t t_ns)
{
	struct h2_stream *st = find(s, id);

	if (!st)
		return;
	st->x->refused = refused && !is_request && !st->x->resp.head_done;
	reset(s, st, is_request, t_ns);
}

void h2streams__goaway(struct h2streams *s, uint32_t last, uint64_t t_ns)
{
	struct list *it, *tmp;

	if (last < s->last_taken)
		s->last_taken = last;
	list_for_each_safe (it, tmp, &s->order) {
		struct h2_stream *st = list_entry(it, struct h2_stream, link);

		if (st->id <= last || st->x->resp.head_done)
			continue;
		st->x->refused = true;
		reset(s, st, false, t_ns);
	}
}

void h2streams__lost(struct h2streams *s, bool is_request, uint64_t t_ns)
{
	struct list *it, *tmp;

	if (is_request && !s->requests_lost) {
		s->requests_lost = true;
		s->lost_above = s->top;
	}
	list_for_each_safe (it, tmp, &s->order) {
		struct h2_stream *st = list_entry(it, struct h2_stream, link);
		struct message *m = side(st, is_request);

		if (is_request && m->end == MSG_OPEN) {
			m->end = MSG_LOST;
			m->body_truncated = true;
			settle(s, st, t_ns);
		} else if (!is_request && !is_over(m)) {
			st->resp_lost = true;
		}
	}
}

void h2streams__from_start(struct h2streams *s)
{
	s->requests_lost = false;
}

static bool is_quiet(const struct exchange *x, uint64_t idle, uint64_t t_ns)
{
	uint64_t last = exchange__last_ns(x);

	return t_ns > last && t_ns - last >= idle;
}

void h2streams__tick(struct h2streams *s, uint64_t t_ns)
{
	uint64_t idle = s->env.limits->stream_idle_ns;
	struct list *it, *tmp;

	if (!idle)
		return;
	list_for_each_safe (it, tmp, &s->order) {
		struct h2_stream *st = list_entry(it, struct h2_stream, link);
		struct exchange *x = st->x;

		/* Before its head a response is not quiet but awaited, for as long as it takes. */
		if ((!x->resp.head_done && !st->resp_lost) || !is_quiet(x, idle, t_ns))
			continue;
		if (!is_over(&x->resp))
			x->resp.end = st->resp_lost ? MSG_LOST : MSG_IDLE;
		if (x->req.end == MSG_OPEN)
			x->req.end = MSG_IDLE;
		finish(s, st, t_ns);
	}
}

void h2streams__close(struct h2streams *s, enum msg_end end, uint64_t t_ns)
{
	struct list *it, *tmp;

	list_for_each_safe (it, tmp, &s->order) {
		struct h2_stream *st = list_entry(it, struct h2_stream, link);
		struct exchange *x = st->x;

		if (!is_over(&x->resp) && end == MSG_CLOSED)
			x->client_gone = true;
		if (!is_over(&x->resp) && st->resp_lost)
			x->resp.end = MSG_LOST;
		else if (x->resp.end == MSG_OPEN)
			x->resp.end = end;
		if (x->req.end == MSG_OPEN)
			x->req.end = end;
		finish(s, st, t_ns);
	}
}

size_t h2streams__open(const struct h2streams *s)
{
	return s->by_id.count;
}

uint32_t h2streams__top(const struct h2streams *s)
{
	return s->top;
}

void h2streams__free(struct h2streams *s)
{
	struct list *it, *tmp;

	if (!s)
		return;
	list_for_each_safe (it, tmp, &s->order) {
		struct h2_stream *st = list_entry(it, struct h2_stream, link);
		struct exchange *x = st->x;

		forget(s, st);
		exchange__discard(&s->env, x);
	}
	hmap__free(&s->by_id);
	free(s);
}
