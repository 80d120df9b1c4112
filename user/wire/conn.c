#include "wire/conn.h"

#include <errno.h>
#include <stdlib.h>

#include "base/stats.h"
#include "wire/preamble.h"

#define HELD_MAX 4096	      /* a PROXY preamble with its extensions, or the beginning of a start line */
#define SKIP_MIN (64u << 10)  /* telling costs a system call */
#define TURN_HEAD (64u << 10) /* of a turn this much is copied whatever it is (bpf/turn.bpf.h) */
#define TURNS_MAX 16	      /* HTTP shows itself in two changes of direction at the latest */

enum verdict { SPEAKS_NO, SPEAKS_MAYBE, SPEAKS_YES };

static void account(struct conn *c)
{
	size_t mem = sizeof(*c) + c->held.cap;

	c->env.budget->used += mem - c->mem;
	c->mem = mem;
}

struct conn *conn__new(const struct proto_env *env, const struct conn_key *key, uint64_t serial)
{
	struct conn *c;

	if (!wire_budget__room_for_new(env->budget, sizeof(*c))) {
		errno = ENOSPC;
		return NULL;
	}
	c = calloc(1, sizeof(*c));
	if (!c)
		return NULL;
	list_init(&c->by_time);
	list_init(&c->of_worker);
	buf__init(&c->held, HELD_MAX);
	c->facts = (struct conn_facts){.key = *key, .serial = serial, .fd = key->tls ? -1 : (int32_t)key->obj};
	c->env = *env;
	c->env.facts = &c->facts;
	c->env.conn_used = &c->used;
	c->env.ending = &c->ending;
	account(c);
	return c;
}

void conn__learn(struct conn *c, const struct rec_open *open)
{
	struct conn_facts *f = &c->facts;

	if (open->fd >= 0)
		f->fd = open->fd;
	if (f->origin == CONN_UNKNOWN) {
		f->origin = open->origin;
		if (!c->spoken)
			f->from_start = open->origin != CONN_UNKNOWN && !open->late;
	}
	if (!f->local.family)
		f->local = open->local;
	if (!f->peer.family)
		f->peer = open->peer;
}

static enum leg leg_by_facts(const struct conn *c)
{
	const struct conn_facts *f = &c->facts;
	bool known;
	int role;

	if (f->origin == CONN_ACCEPTED)
		return LEG_CLIENT;
	if (f->origin == CONN_CONNECTED)
		return LEG_UPSTREAM;
	if (f->local.family != ADDR_IP4 && f->local.family != ADDR_IP6)
		return LEG_UNKNOWN;
	role = worker__port_role(c->worker, f->local.port, &known);
	if (!known)
		return LEG_UNKNOWN;
	return role >= 0 ? LEG_CLIENT : LEG_UPSTREAM;
}

static bool carries_requests(enum leg leg, enum direction dir)
{
	return (leg == LEG_UPSTREAM) == (dir == DIR_OUT);
}

static void drop_held(struct conn *c)
{
	buf__free(&c->held);
	account(c);
}

static bool ignore(struct conn *c)
{
	if (c->proto) {
		c->ops->free(c->proto);
		c->proto = NULL;
	}
	drop_held(c);
	c->state = CONN_IGNORED;
	return false;
}

static bool not_http(struct conn *c)
{
	stats_inc(STAT_wire_conns_not_http);
	return ignore(c);
}

/* What a protocol said about going on. Whatever it still had open is handed on before it goes. */
static bool go_on(struct conn *c, enum proto_state st, uint64_t t_ns)
{
	if (st == PROTO_GOOD)
		return true;
	if (st == PROTO_GIVE_UP || st == PROTO_NO_ROOM) {
		stats_inc(STAT_wire_conns_over_limit);
		c->ending = ENDING_LIMIT;
		c->no_room = st == PROTO_NO_ROOM;
	}
	c->tunnel = st == PROTO_TUNNEL;
	c->ops->close(c->proto, t_ns);
	return ignore(c);
}

static bool feed(struct conn *c, enum direction dir, struct span data, uint64_t t_ns, bool start)
{
	bool is_request = carries_requests(c->facts.leg, dir);

	return go_on(c, c->ops->feed(c->proto, is_request, data, t_ns, start), t_ns);
}

static bool on_stream_port(const struct conn *c)
{
	bool known;

	return worker__port_role(c->worker, c->facts.local.port, &known) == PORT_STREAM;
}

/* nginx answers 400 to anything printable that a client sends it: those are calls, too. */
static bool is_refused_text(const struct conn *c, enum direction dir, struct span data)
{
	return c->facts.from_start && c->facts.leg == LEG_CLIENT && dir == DIR_IN && data.n && data.p[0] >= ' ' &&
	       data.p[0] <= '~' && !on_stream_port(c);
}

static enum verdict guess_as(struct conn *c, enum leg leg, enum direction dir, struct span data)
{
	bool undecided = false;

	c->ops = proto_guess(data, carries_requests(leg, dir), c->facts.from_start, &undecided);
	if (c->ops) {
		c->facts.leg = leg;
		return SPEAKS_YES;
	}
	return undecided ? SPEAKS_MAYBE : SPEAKS_NO;
}

static enum verdict guess(struct conn *c, enum direction dir, struct span data)
{
	enum leg as_request = dir == DIR_IN ? LEG_CLIENT : LEG_UPSTREAM;
	enum leg as_response = dir == DIR_IN ? LEG_UPSTREAM : LEG_CLIENT;
	enum verdict v, w;

	if (c->facts.leg == LEG_UNKNOWN)
		c->facts.leg = leg_by_facts(c);
	if (c->facts.leg != LEG_UNKNOWN) {
		v = guess_as(c, c->facts.leg, dir, data);
		if (v == SPEAKS_NO && is_refused_text(c, dir, data)) {
			c->ops = &http1_ops;
			v = SPEAKS_YES;
		}
		return v;
	}
	w = guess_as(c, as_response, dir, data);
	v = guess_as(c, as_request, dir, data);
	if (v == SPEAKS_YES && w == SPEAKS_YES) {
		/* Frames of HTTP/2 that go either way: which leg it is shows later. */
		c->facts.leg = LEG_UNKNOWN;
		return SPEAKS_NO;
	}
	if (v == SPEAKS_YES || w == SPEAKS_NO)
		return v;
	return guess_as(c, as_response, dir, data);
}

/* Cuts a PROXY preamble off *data. 0; -EAGAIN; -EBADMSG. */
static int cut_preamble(struct conn *c, enum direction dir, struct span *data)
{
	int n;

	if (c->preamble_over || !c->facts.from_start || dir != DIR_IN || c->facts.origin != CONN_ACCEPTED)
		return 0;
	n = preamble_parse(*data, &c->facts.peer);
	if (n < 0)
		return n;
	*data = span_skip(*data, (size_t)n);
	c->preamble_over = true;
	return 0;
}

static bool pass_over(struct conn *c, enum direction dir, size_t n)
{
	stats_add(STAT_wire_unsynced_bytes, n);
	if (c->spoken && dir != c->last_dir && ++c->turns >= TURNS_MAX)
		return not_http(c);
	return true;
}

static bool no_room(struct conn *c)
{
	stats_inc(STAT_wire_conns_over_limit);
	c->no_room = true;
	return ignore(c);
}

/* Holds from the front of *data what there is room for. */
static bool hold(struct conn *c, enum direction dir, struct span *data, uint64_t t_ns)
{
	size_t room = c->held.max - c->held.n, n = data->n < room ? data->n : room;

	if (!c->held.n) {
		c->held_dir = dir;
		c->held_t_ns = t_ns;
	}
	if (buf__append_span(&c->held, span_of(data->p, n)))
		return no_room(c);
	*data = span_skip(*data, n);
	account(c);
	return wire_budget__room(c->env.budget, 0) || no_room(c);
}

static bool start_proto(struct conn *c)
{
	c->proto = c->ops->new (&c->env, c->facts.from_start);
	if (!c->proto)
		return no_room(c);
	c->facts.proto = c->ops->id;
	c->state = CONN_SPEAKS;
	return true;
}

/* Tries to understand *data, the first bytes, and to act on them. *decided false: hold what is left in *data. */
static bool decide(struct conn *c, enum direction dir, struct span *data, uint64_t t_ns, bool *decided)
{
	int err = cut_preamble(c, dir, data);
	enum verdict v;

	*decided = false;
	if (err == -EAGAIN)
		return true;
	if (err)
		return not_http(c);
	if (!data->n) {
		*decided = true;
		return true;
	}
	v = guess(c, dir, *data);
	if (v == SPEAKS_MAYBE)
		return true;
	*decided = true;
	if (v == SPEAKS_YES)
		return start_proto(c) && feed(c, dir, *data, t_ns, true);
	return c->facts.from_start ? not_http(c) : pass_over(c, dir, data->n);
}

/* What is neither here nor there after so many bytes is nothing that we read, unless nginx answers it in any case. */
static bool held_in_vain(struct conn *c, enum direction dir)
{
	if (!is_refused_text(c, dir, buf_span(&c->held)))
		return not_http(c);
	c->ops = &http1_ops;
	return start_proto(c) && feed(c, dir, buf_span(&c->held), c->held_t_ns, true);
}

/* Goes on with what is held, and as much of *data as it takes to know. */
static bool decide_with_held(struct conn *c, enum direction dir, struct span *data, uint64_t t_ns)
{
	bool decided = false;

	while (data->n && !decided) {
		bool full = c->held.n == c->held.max;
		struct span view;

		if (!full && !hold(c, dir, data, t_ns))
			return false;
		view = buf_span(&c->held);
		if (full ? !held_in_vain(c, dir) : !decide(c, dir, &view, c->held_t_ns, &decided))
			return false;
		if (full || decided)
			break;
		buf__consume(&c->held, c->held.n - view.n);
	}
	if (decided || c->state == CONN_SPEAKS)
		drop_held(c);
	return true;
}

static bool first_bytes(struct conn *c, enum direction dir, struct span data, uint64_t t_ns, bool start)
{
	bool decided, good;

	/* The other side spoke before this one was understood. */
	if (c->held.n && c->held_dir != dir) {
		c->facts.from_start = false;
		stats_add(STAT_wire_unsynced_bytes, c->held.n);
		drop_held(c);
	}
	if (!c->held.n && !start)
		return pass_over(c, dir, data.n);
	if (!c->held.n) {
		good = decide(c, dir, &data, t_ns, &decided);
		if (!good || decided)
			return good;
		if (!hold(c, dir, &data, t_ns))
			return false;
	}
	if (data.n && !decide_with_held(c, dir, &data, t_ns))
		return false;
	if (!data.n)
		return true;
	return c->state == CONN_SPEAKS ? feed(c, dir, data, t_ns, false) : pass_over(c, dir, data.n);
}

static bool pass_ignored(const struct conn *c, enum direction dir, uint64_t n)
{
	if (c->tunnel && c->facts.leg == LEG_CLIENT)
		stats_add(dir == DIR_IN ? STAT_wire_tunnel_in_bytes : STAT_wire_tunnel_out_bytes, n);
	return true;
}

bool conn__data(struct conn *c, enum direction dir, struct span data, uint64_t t_ns, bool start)
{
	bool good = true;

	if (!data.n || c->state == CONN_IGNORED)
		return pass_ignored(c, dir, data.n);
	if (c->state == CONN_SPEAKS)
		good = feed(c, dir, data, t_ns, start);
	else
		good = first_bytes(c, dir, data, t_ns, start);
	c->spoken = true;
	c->last_dir = dir;
	return good;
}

bool conn__gap(struct conn *c, enum direction dir, uint64_t n, enum gap_cause cause, uint64_t t_ns)
{
	bool is_request = carries_requests(c->facts.leg, dir);

	if (!n || c->state == CONN_IGNORED)
		return pass_ignored(c, dir, n);
	if (c->state == CONN_SPEAKS)
		return go_on(c, c->ops->gap(c->proto, is_request, n, cause, t_ns), t_ns);
	c->facts.from_start = false;
	drop_held(c);
	return true;
}

void conn__turn(struct conn *c, enum direction dir, uint64_t pos)
{
	if (c->turn == dir)
		return;
	c->turn = (uint8_t)dir;
	c->turn_from[dir] = pos;
}

bool conn__is_end(const struct conn *c, enum direction dir, struct span data)
{
	return c->state == CONN_SPEAKS && c->ops->searching && span_eq(data, SPAN_LIT("0\r\n\r\n")) &&
	       c->ops->searching(c->proto, carries_requests(c->facts.leg, dir));
}

bool conn__skip(struct conn *c, enum direction dir)
{
	struct byte_range *told = &c->skip[dir];
	uint64_t n, keep = 0, until;
	bool last = false, worth, silent;

	if (c->state != CONN_SPEAKS || !c->ops->useless)
		return false;
	n = c->ops->useless(c->proto, carries_requests(c->facts.leg, dir), &keep, &last);
	if (keep > n)
		keep = n;
	if (__builtin_add_overflow(c->stream[dir].next, n, &until) || until <= told->until)
		return false;
	worth = n - keep >= SKIP_MIN && until - told->until >= SKIP_MIN;
	/* The kernel may get silent before the end of the message, and is to tell when it is there. */
	silent = last && until - c->turn_from[dir] > TURN_HEAD;
	if (!worth && !silent)
		return false;
	*told = (struct byte_range){.from = c->stream[dir].next + keep, .until = until};
	return true;
}

bool conn__is_busy(const struct conn *c)
{
	return c->proto && c->ops->busy(c->proto);
}

void conn__end(struct conn *c, enum conn_ending why, uint64_t t_ns)
{
	c->ending = why;
	if (c->proto)
		c->ops->close(c->proto, t_ns);
}

void conn__free(struct conn *c)
{
	if (!c)
		return;
	if (c->proto)
		c->ops->free(c->proto);
	list_remove(&c->by_time);
	list_remove(&c->of_worker);
	c->env.budget->used -= c->mem;
	buf__free(&c->held);
	free(c);
}
