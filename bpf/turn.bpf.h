/* turn: how much of a body is copied. User space needs the heads and the beginnings of bodies; by the time it could say
 * so of a large one, a fast peer has sent megabytes. So the kernel counts by itself what one side of an HTTP/1
 * connection has sent since the other side last spoke, and stops copying where no head can be and no more of a body is
 * wanted. Positions go on; what was passed over is told as a gap, when the turn is over or about once a second.
 *
 * This relies on nginx taking one request after the other: it does not read a request before the response to the one
 * before it is written, and what it writes of a response it has read.
 */
#ifndef KT_BPF_TURN_H
#define KT_BPF_TURN_H

#include "emit.bpf.h"

/* More than any head has, with the interim responses before it. User space knows the figure (user/wire/conn.c). */
#define TURN_HEAD (64u << 10)
/* In a turn longer than this a call may begin another message: the answer to a pipelined request. */
#define TURN_ASK (16u << 10)
/* Calls that say nothing of what is spoken before nobody asks any more. */
#define PEEKS_MAX 16

#define EIGHT(a, b, c, d, e, f, g, h)                                                                                  \
	((__u64)(a) | (__u64)(b) << 8 | (__u64)(c) << 16 | (__u64)(d) << 24 | (__u64)(e) << 32 | (__u64)(f) << 40 |    \
		(__u64)(g) << 48 | (__u64)(h) << 56)
#define FIRST(n) (~0ULL >> (64 - 8 * (n)))

/* The first eight bytes of a call as a number on a little-endian machine, which all of ours are; 0: not to be had. */
static __noinline __u64 first_eight(struct kt_io *io)
{
	__u64 at = io->at, bytes = 0;
	struct iovec v;

	if (io->n < sizeof(bytes) || io->shape == KT_NODATA)
		return 0;
	if (io->shape == KT_SEGMENTS) {
		if (bpf_probe_read_user(&v, sizeof(v), (void *)at) || v.iov_len < sizeof(bytes))
			return 0;
		at = (__u64)v.iov_base;
	}
	return bpf_probe_read_user(&bytes, sizeof(bytes), (void *)at) ? 0 : bytes;
}

static __always_inline bool is_response(__u64 first)
{
	return (first & FIRST(7)) == EIGHT('H', 'T', 'T', 'P', '/', '1', '.', 0);
}

/* Those that bring bodies along; every other connection is known by its first response. */
static __always_inline bool is_request(__u64 first)
{
	return (first & FIRST(6)) == EIGHT('P', 'O', 'S', 'T', ' ', '/', 0, 0) ||
	       (first & FIRST(5)) == EIGHT('P', 'U', 'T', ' ', '/', 0, 0, 0) ||
	       (first & FIRST(7)) == EIGHT('P', 'A', 'T', 'C', 'H', ' ', '/', 0);
}

static __always_inline bool is_preface(__u64 first)
{
	return first == EIGHT('P', 'R', 'I', ' ', '*', ' ', 'H', 'T');
}

/* A server may say what it can do before the client's preface arrives (RFC 9113, section 3.4): a SETTINGS frame of at
 * most 21 settings. No message of HTTP/1 begins with a zero. */
static __always_inline bool is_settings(__u64 first)
{
	return (first & ~(0xffULL << 16)) == EIGHT(0, 0, 0, 4, 0, 0, 0, 0) && (first >> 16 & 0xff) < 128;
}

/* Bytes of a body that are wanted; all ones: all. */
static __always_inline __u32 wanted(struct kt_conn *c, __u32 dir)
{
	return !body_limits ? ~0u : c->origin == KT_CONNECTED ? 0 : body_keep[dir & 1];
}

/* Tells in one piece what was passed over, about once a second and where user space expects an end. */
static __always_inline void settle_in_time(struct kt_conn *c, __u32 dir, bool end)
{
	__u32 now = c->owed_ns >> 30;

	if (now == c->settled && !end)
		return;
	c->settled = now;
	settle(c, dir);
}

static __noinline int swallow(struct kt_io *io, struct kt_conn *c)
{
	__u32 dir = io->dir & 1;
	__u64 before = c->pos[dir];
	bool ends;

	c->last_five = last_five(io, c->last_five);
	c->owed[dir] += io->n;
	c->owed_ns = bpf_ktime_get_ns();
	ends = c->last_five == CHUNKED_END && c->owed[dir] >= 5;
	if (ends) {
		/* They may have come in two calls. */
		c->owed[dir] -= 5;
		c->pos[dir] += io->n - 5;
	} else {
		c->pos[dir] += io->n;
	}
	settle_in_time(c, dir, ends || (c->skip[dir] > before && c->skip[dir] <= c->pos[dir]));
	if (!ends)
		return 0;
	c->pos[dir] += 5;
	c->more = 0;
	return put_chunked_end(c, dir);
}

/* HTTP/1: whose turn it is, and how much of the call may be copied (io->budget). True: nothing, and it has been seen
 * to.
 */
static __noinline int beyond_turn(struct kt_io *io, struct kt_conn *c)
{
	__u32 dir = io->dir & 1, keep = wanted(c, dir);
	__u64 limit = (__u64)TURN_HEAD + keep, turn;

	if (c->turn_dir != dir) {
		settle(c, !dir);
		c->turn_dir = dir;
		c->turn = 0;
		c->last_five = 0;
	} else if (c->turn > TURN_ASK && is_response(first_eight(io))) {
		settle(c, dir);
		c->turn = 0;
	}
	if (keep == ~0u)
		return 0;
	turn = c->turn + io->n;
	if (c->turn < limit) {
		if (io->budget > limit - c->turn)
			io->budget = limit - c->turn;
		c->turn = turn < ~0u ? turn : ~0u;
		return 0;
	}
	/* Past the end of what is of no use: it is to be seen what follows. */
	if (c->skip[dir] > c->pos[dir] && c->skip[dir] < c->pos[dir] + io->n)
		return 0;
	if (!c->opened)
		return 0;
	swallow(io, c);
	return 1;
}

#endif
