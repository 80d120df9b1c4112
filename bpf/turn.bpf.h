/* turn: how much of a body is copied. User space needs the heads and the beginnings of bodies; by the time it could say
 * so of a large one, a fast peer has sent megabytes. So the kernel counts by itself what one side of an HTTP/1
 * connection has sent since the other side last spoke, and stops copying where no head can be and no more of a body is
 * wanted. Positions go on; what was passed over is told as a gap, when the turn is over or about once a second.
 *
 * This relies on nginx taking one request after the other: it does not read a request before the response to the one
 * before it is written, and what it writes of a response it has read. Where it answers before a body has come, it reads
 * the rest of that and then the next request in one turn.
 */
#ifndef KT_BPF_TURN_H
#define KT_BPF_TURN_H

#include "emit.bpf.h"

/* More than any head has, with the interim responses before it. User space knows the figure (user/wire/conn.c). */
#define TURN_HEAD (64u << 10)
/* In a turn longer than this a call may begin another message. */
#define TURN_ASK (16u << 10)
/* As far into a call the end of a head is looked for. */
#define HEAD_MAX (8u << 10)
/* What is as short as this is copied: that is cheaper than to leave it out. */
#define BODY_SMALL 1024
/* Calls that say nothing of what is spoken before nobody asks any more. */
#define PEEKS_MAX 16

#define EIGHT(a, b, c, d, e, f, g, h)                                                                                  \
	((__u64)(a) | (__u64)(b) << 8 | (__u64)(c) << 16 | (__u64)(d) << 24 | (__u64)(e) << 32 | (__u64)(f) << 40 |    \
		(__u64)(g) << 48 | (__u64)(h) << 56)
#define FIRST(n) (~0ULL >> (64 - 8 * (n)))

/* The first bytes of a call, eight of them unless it or its first segment is shorter, as a number on a little-endian
 * machine, which all of ours are; zeroes where there are none. */
static __noinline __u64 first_eight(struct kt_io *io)
{
	__u64 at = io->at, n = io->n, bytes = 0;
	struct iovec v;

	if (io->shape == KT_NODATA)
		return 0;
	if (io->shape == KT_SEGMENTS) {
		if (bpf_probe_read_user(&v, sizeof(v), (void *)at))
			return 0;
		at = (__u64)v.iov_base;
		if (n > v.iov_len)
			n = v.iov_len;
	}
	if (n > sizeof(bytes))
		n = sizeof(bytes);
	return bpf_probe_read_user(&bytes, n, (void *)at) ? 0 : bytes;
}

#define RESPONSE EIGHT('H', 'T', 'T', 'P', '/', '1', '.', 0)

static __always_inline bool is_response(__u64 first)
{
	return (first & FIRST(7)) == RESPONSE;
}

/* Or the first bytes of one, before which another was. Neither a chunk nor JSON begins so. */
static __always_inline bool may_be_response(__u64 first)
{
	if (first & 0xff00)
		return first >> 56 ? is_response(first) : (first & FIRST(2)) == (RESPONSE & FIRST(2));
	return first == 'H';
}

/* Those that bring bodies along; every other connection is known by its first response. */
static __always_inline bool is_request(__u64 first)
{
	return (first & FIRST(6)) == EIGHT('P', 'O', 'S', 'T', ' ', '/', 0, 0) ||
	       (first & FIRST(5)) == EIGHT('P', 'U', 'T', ' ', '/', 0, 0, 0) ||
	       (first & FIRST(7)) == EIGHT('P', 'A', 'T', 'C', 'H', ' ', '/', 0);
}

/* Capital letters up to a space, to the end of the call, or to that of what is looked at. */
static __always_inline bool may_be_request(__u64 first)
{
	__u32 n = 0;

	while (n < sizeof(first) && (__u8)first >= 'A' && (__u8)first <= 'Z') {
		first >>= 8;
		n++;
	}
	return n == sizeof(first) || (n && !first) || (n >= 3 && (__u8)first == ' ');
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

static __noinline int swallow(struct kt_io *io, struct kt_conn *c)
{
	__u32 dir = io->dir & 1;
	__u64 before = c->pos[dir], n = io->n;
	bool ends;

	c->last_five = last_five(io, c->last_five);
	ends = c->last_five == CHUNKED_END && c->owed[dir] + n >= 5;
	if (ends)
		n -= 5; /* They may have come in two calls: then some are owed already. */
	c->pos[dir] += n;
	owe(c, dir, n, ends || (c->skip[dir] > before && c->skip[dir] <= c->pos[dir]));
	if (!ends)
		return 0;
	c->pos[dir] += 5;
	c->more = 0;
	return put_chunked_end(c, dir);
}

/* Whether heads are all that is wanted of what comes in this direction: of responses, and of requests to upstreams. As
 * long as bodies of the client's leg are wanted, those of upstream legs are copied up to where no head can be any more:
 * looking for the end of a head costs more than a small body. What a client sends may have the next request behind a
 * body. */
static __always_inline bool heads_only(struct kt_conn *c, __u32 dir)
{
	if (!have_loop() || !body_limits)
		return false;
	if (c->origin == KT_CONNECTED)
		return !body_keep[(dir + 1) & 1];
	return dir == KT_OUT && !body_keep[KT_OUT];
}

/* Four bytes on at a time: of the four that end a head one is met. Looks at KT_LOOK bytes, at the next KT_LOOK - 4
 * then. */
static long look_step(__u32 i, struct kt_io **ctx)
{
	struct kt_io *io = *ctx;
	__u64 at = io->base + i * (KT_LOOK - 4), n = io->base + io->seg_left - at;
	const char *b = io->look;

	if (at >= io->base + io->seg_left || n < 4)
		return 1;
	if (n > KT_LOOK)
		n = KT_LOOK;
	if (bpf_probe_read_user(io->look, n, (void *)at))
		return 1;
	for (__u32 p = 3; p < KT_LOOK - 4; p += 4) {
		__u32 end = 0;

		if (p >= n)
			break;
		if (b[p] == '\n') {
			if (b[p - 1] != '\r')
				continue;
			if (b[p - 2] == '\n' && b[p - 3] == '\r')
				end = p + 1;
			else if (b[p + 1] == '\r' && b[p + 2] == '\n')
				end = p + 3;
		} else if (b[p] == '\r') {
			if (b[p + 1] != '\n')
				continue;
			if (b[p + 2] == '\r' && b[p + 3] == '\n')
				end = p + 4;
			else if (b[p - 1] == '\n' && b[p - 2] == '\r')
				end = p + 2;
		}
		if (end && end <= n) {
			io->head = i * (KT_LOOK - 4) + end;
			return 1;
		}
	}
	return 0;
}

/* Finds the head that the call begins with, whole: io->head. Not one that others may follow (1xx), nor one that is
 * spread over segments. */
static __noinline int find_head(struct kt_io *io)
{
	__u64 first = first_eight(io);
	struct kt_io *ctx = io;
	struct iovec v;

	io->head = 0;
	io->base = io->at;
	io->seg_left = io->n;
	if (io->shape == KT_SEGMENTS) {
		if (bpf_probe_read_user(&v, sizeof(v), (void *)io->at))
			return 0;
		io->base = (__u64)v.iov_base;
		if (io->seg_left > v.iov_len)
			io->seg_left = v.iov_len;
	}
	if (io->seg_left > HEAD_MAX)
		io->seg_left = HEAD_MAX;
	if (is_response(first)) {
		if (bpf_probe_read_user(io->look, 10, (void *)io->base) || io->look[9] == '1')
			return 0;
	}
	bpf_loop(HEAD_MAX / (KT_LOOK - 4) + 1, look_step, &ctx, 0);
	return 0;
}

/* A call of which nothing is wanted is told at once, without its bytes; of the end of a chunked body some may have been
 * told already. */
static __noinline int put_bodily(struct kt_io *io, struct kt_conn *c)
{
	__u32 dir = io->dir & 1;
	bool ends = c->last_five == CHUNKED_END;
	__u64 n = !ends ? io->n : io->n > 5 ? io->n - 5 : 0;

	c->more = 0;
	if (n)
		put_gap(c, dir, c->pos[dir], n, KT_CAUSE_LIMIT);
	c->pos[dir] += io->n;
	return ends ? put_chunked_end(c, dir) : 0;
}

/* Where heads are all that is wanted: how much of the call may be copied (io->budget). True: nothing, and it has been
 * seen to. */
static __noinline int beyond_head(struct kt_io *io, struct kt_conn *c)
{
	if (c->headed) {
		c->last_five = last_five(io, c->last_five);
		if (!c->opened || (io->n < BODY_SMALL && c->last_five != CHUNKED_END))
			return 0;
		put_bodily(io, c);
		return 1;
	}
	if (io->n < BODY_SMALL || io->shape == KT_NODATA)
		return 0;
	find_head(io);
	if (!io->head)
		return 0;
	c->headed = 1;
	c->last_five = last_five(io, 0);
	if (io->n - io->head >= BODY_SMALL)
		io->budget = io->head;
	return 0;
}

/* Whether this call may begin another message in a turn that goes on: the answer to a pipelined request, or the request
 * behind the rest of a body that was answered before it had come. */
static __noinline int begins_another(struct kt_io *io, struct kt_conn *c)
{
	__u64 first = first_eight(io);

	return may_be_response(first) || ((io->dir & 1) == KT_IN && c->origin != KT_CONNECTED && may_be_request(first));
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
		c->turn = c->headed = 0;
		c->last_five = 0;
	} else if ((c->turn > TURN_ASK || c->headed) && begins_another(io, c)) {
		settle(c, dir);
		c->turn = c->headed = 0;
	}
	if (keep == ~0u)
		return 0;
	turn = c->turn + io->n;
	if (c->turn < limit) {
		if (io->budget > limit - c->turn)
			io->budget = limit - c->turn;
		c->turn = turn < ~0u ? turn : ~0u;
		return heads_only(c, dir) ? beyond_head(io, c) : 0;
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
