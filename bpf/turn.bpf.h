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

#include "chunk.bpf.h"

/* More than any head has, with the interim responses before it. User space knows the figure (user/wire/conn.c). */
#define TURN_HEAD (64u << 10)
/* In a turn longer than this a call may begin another message. */
#define TURN_ASK (16u << 10)
/* What is as short as this is copied: that is cheaper than to leave it out. */
#define BODY_SMALL 1024
/* From here on it is cheaper to look for the end of a head than to copy what may be behind it. */
#define LOOK_PAYS 3072
/* Calls that say nothing of what is spoken before nobody asks any more. */
#define PEEKS_MAX 16

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
	return !body_limits ? ~0u : c->upstream ? 0 : body_keep[dir & 1];
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

/* Whether it is worth looking for the end of a head: no body is wanted in this direction, or none of some types. On
 * upstream legs none ever is; but as long as those of the client's leg are wanted whatever they are, only a message of
 * some length is looked at (nginx reads 4 KiB of an answer first), and others are copied, for looking costs more. What
 * a client sends may have the next request behind a body: see below. */
static __always_inline bool looks_for_head(struct kt_io *io, struct kt_conn *c, bool first)
{
	__u32 dir = io->dir & 1;

	if (!have_loop() || !body_limits)
		return false;
	if (c->upstream)
		return excluded_types || !body_keep[(dir + 1) & 1] || (first && io->n >= LOOK_PAYS);
	return dir == KT_OUT && (excluded_types || !body_keep[KT_OUT]);
}

/* A call of which nothing is wanted is told at once, without its bytes; of the end of a chunked body some may have been
 * told already. */
static __noinline int put_bodily(struct kt_io *io, struct kt_conn *c)
{
	__u32 dir = io->dir & 1;
	bool ends = c->last_five == CHUNKED_END;
	__u64 n = !ends ? io->n : io->n > 5 ? io->n - 5 : 0;

	settle(c, dir);
	c->more = 0;
	if (n)
		put_gap(c, dir, c->pos[dir], n, KT_CAUSE_LIMIT);
	c->pos[dir] += io->n;
	return ends ? put_chunked_end(c, dir) : 0;
}

#define LINE_END 0x0d0a
#define EMPTY_LINE 0x0d0a0d0aULL
#define PREAMBLE_MAX 107

/* The first call of a message whose body comes by itself: in one buffer, ending with the head. */
static __always_inline bool is_head_alone(struct kt_io *io, __u64 begin)
{
	__u64 five;

	if ((io->shape == KT_SEGMENTS && io->segments > 1) || !(is_response(begin) || is_request(begin)))
		return false;
	five = last_five(io, 0);
	return (five & 0xffffffff) == EMPTY_LINE && five != CHUNKED_END;
}

/* What is in the first segment of the call may be a head. Not one that others may follow (1xx). */
static __always_inline bool at_head(struct kt_io *io, __u64 begin)
{
	struct iovec v;

	look_begin(io, 0);
	io->base = io->at;
	io->seg_left = io->n;
	if (io->shape == KT_SEGMENTS) {
		if (bpf_probe_read_user(&v, sizeof(v), (void *)io->at))
			return false;
		io->base = (__u64)v.iov_base;
		if (io->seg_left > v.iov_len)
			io->seg_left = v.iov_len;
	}
	if (!is_response(begin))
		return true;
	return !bpf_probe_read_user(io->look, 10, (void *)io->base) && io->look[9] != '1';
}

/* Where it is worth looking for the end of a head: is it in this call? `first`: it is the first of its turn, or of its
 * message. */
static __noinline int may_have_head(struct kt_io *io, struct kt_conn *c, bool first)
{
	__u64 begin = first ? first_eight(io) : 0;

	if (io->shape == KT_NODATA || (io->n < BODY_SMALL && !is_head_alone(io, begin)))
		return 0;
	/* What looks like a head further on may be part of a body that is wanted. */
	if (wanted(c, io->dir) && !is_response(begin))
		return 0;
	return at_head(io, first ? begin : first_eight(io));
}

/* It was looked for: how much of the call may be copied (io->budget). */
static __always_inline void end_at_head(struct kt_io *io, struct kt_conn *c)
{
	if (!io->head || (wanted(c, io->dir) && !(io->found & HEAD_UNWANTED)))
		return;
	c->headed = 1;
	c->last_five = last_five(io, 0);
	if (io->n - io->head >= BODY_SMALL)
		io->budget = io->head;
	if (c->upstream)
		c->next = (io->found & (HEAD_LENGTH | HEAD_CODED)) == HEAD_LENGTH
				  ? c->pos[io->dir & 1] + io->head + io->length
				  : 0;
}

/* Of an upstream leg the rest of a body whose length is known: it is told when it is over, or when the other side
 * speaks, should the head have spoken of a body that does not come (HEAD). */
static __always_inline bool beyond_length(struct kt_io *io, struct kt_conn *c, __u32 dir)
{
	if (!c->upstream || !c->headed || c->turn_dir != dir || !c->opened || c->pos[dir] + io->n > c->next)
		return false;
	c->pos[dir] += io->n;
	owe(c, dir, io->n, c->pos[dir] == c->next);
	return true;
}

/* Of a message whose head is over nothing else is wanted. True: the call has been seen to. */
static __noinline int beyond_head(struct kt_io *io, struct kt_conn *c)
{
	c->last_five = last_five(io, c->last_five);
	if (!c->opened || (io->n < BODY_SMALL && c->last_five != CHUNKED_END))
		return 0;
	put_bodily(io, c);
	return 1;
}

/* What a client sends is followed from one request to the next, as long as each is known to end where its head or its
 * chunks say: then exactly its body can be left out, and what is pipelined behind it is seen. With something odd that
 * is over. */
static __always_inline bool follows_requests(struct kt_conn *c, __u32 dir)
{
	return have_loop() && dir == KT_IN && (excluded_types || !body_keep[KT_IN]) && body_limits &&
	       c->origin == KT_ACCEPTED && !c->late && !c->lost;
}

/* What a load balancer says before the client does (PROXY protocol, versions 1 and 2): nginx reads it, and nothing
 * else, in one call. */
static __noinline int pass_preamble(struct kt_io *io, struct kt_conn *c, __u64 first)
{
	__u16 length;

	if (c->pos[KT_IN] || io->shape != KT_BUFFER)
		return 0;
	if ((first & FIRST(6)) == EIGHT('P', 'R', 'O', 'X', 'Y', ' ', 0, 0)) {
		if (io->n <= PREAMBLE_MAX && (last_five(io, 0) & 0xffff) == LINE_END)
			c->next = io->n;
	} else if (first == EIGHT('\r', '\n', '\r', '\n', 0, '\r', '\n', 'Q')) {
		if (io->n >= 16 && !bpf_probe_read_user(&length, 2, (void *)(io->at + 14)) &&
			io->n == 16 + (__u64)bpf_ntohs(length))
			c->next = io->n;
	}
	return 0;
}

/* Of `n` bytes of an unwanted body, `at` so far into the call, those that are in it are left out; but not the last one
 * if something follows: that did not begin a call, and is not to look like it. */
static __always_inline void leave_out(struct kt_io *io, __u64 at, __u64 n)
{
	__u64 here = io->n - at;

	if (n < here)
		here = n - 1;
	if (io->hole || here < BODY_SMALL || at > io->budget)
		return;
	io->hole_at = at;
	io->hole = here;
}

/* Of the request with this head, as far as its type matters. */
static __always_inline bool wants_none(__u8 found)
{
	return !body_keep[KT_IN] || found & HEAD_UNWANTED;
}

/* A head is over. True: and so is what there is to see in this call. */
static __always_inline bool follow_body(struct kt_io *io, struct kt_conn *c)
{
	__u64 begins = c->pos[KT_IN] + io->head;

	c->next = begins + io->length;
	if (io->length && wants_none(io->found)) {
		c->skip_from[KT_IN] = begins;
		c->skip[KT_IN] = c->next;
		leave_out(io, io->head, io->length);
	}
	if (io->n - io->head <= io->length)
		return true;
	look_begin(io, io->head + io->length);
	return false;
}

/* Behind the head of a request. True: as above. */
static __always_inline bool follow_on(struct kt_io *io, struct kt_conn *c)
{
	if (io->found & HEAD_ODD)
		return true;
	if (io->head) {
		if (io->found & HEAD_CODED) {
			if (io->found & HEAD_LENGTH)
				return true;
			c->found = io->found;
			c->gapped = 0;
			io->from = io->head;
			chunks_begin(io);
			return false;
		}
		if (!follow_body(io, c))
			return false;
	} else {
		c->next = c->pos[KT_IN] + io->n;
		c->part = 1;
		c->length = io->length;
		c->found = io->found;
		c->before = io->before;
		c->fresh = io->fresh;
	}
	c->lost = 0;
	return true;
}

/* A chunked body that began in this call does not end in it. */
static __always_inline void leave_out_rest(struct kt_io *io, struct kt_conn *c)
{
	if (!wants_none(c->found) || io->n - io->from < BODY_SMALL)
		return;
	c->gapped = 1;
	io->owes = io->n - io->from;
}

/* … or it does. Its end is copied, and so is what follows. */
static __always_inline void leave_out_chunks(struct kt_io *io, struct kt_conn *c)
{
	__u64 n = io->off - CHUNKED_END_LEN - io->from;

	if (io->hole || !wants_none(c->found) || n < BODY_SMALL || io->from > io->budget)
		return;
	io->hole_at = io->from;
	io->hole = n;
	io->marks = 1;
}

/* The chunks in this call were looked at. True: there is no more to see. */
static __noinline int follow_chunks(struct kt_io *io, struct kt_conn *c)
{
	if (io->found & HEAD_ODD)
		return 1;
	c->stage = io->stage;
	if (io->stage) {
		c->next = c->pos[KT_IN] + io->n + (io->stage == CHUNK_DATA ? io->length : 0);
		c->length = io->length;
		if (io->from)
			leave_out_rest(io, c);
		c->lost = 0;
		return 1;
	}
	if (io->from)
		leave_out_chunks(io, c);
	else
		io->over = io->off;
	if (io->off < io->n) {
		c->turn = 0;
		look_begin(io, io->off);
		return 0;
	}
	c->next = c->pos[KT_IN] + io->n;
	c->lost = 0;
	return 1;
}

/* A call that begins in a chunked body of which nothing is wanted. True: it has been seen to. What a call begins with
 * may be all that comes of the body's end, and only as a whole it tells user space anything: so nothing is told that
 * may be a part of it. */
static __noinline int pass_chunks(struct kt_io *io, struct kt_conn *c)
{
	__u64 n = io->over ? io->over : io->n;

	if (!c->opened || (!io->gapped && n < BODY_SMALL) || (io->over && c->owed[KT_IN] + n < CHUNKED_END_LEN))
		return 0;
	if (!io->over) {
		c->gapped = 1;
		owe_quietly(c, KT_IN, n);
		if (c->next > c->pos[KT_IN] && is_time(c, c->owed_ns))
			settle(c, KT_IN);
		return 1;
	}
	owe_quietly(c, KT_IN, n - CHUNKED_END_LEN);
	settle(c, KT_IN);
	c->pos[KT_IN] += CHUNKED_END_LEN;
	c->more = 0;
	put_chunked_end(c, KT_IN);
	io->cut = 1;
	io->at += n;
	io->n -= n;
	io->hole_at -= n;
	return !io->n;
}

/* Is there something to look at in this call: the head of a request, or more of it? */
static __noinline int may_follow(struct kt_io *io, struct kt_conn *c)
{
	__u64 pos = c->pos[KT_IN];

	if (c->next >= pos + io->n)
		return 0;
	c->lost = 1;
	if (c->next < pos || io->shape != KT_BUFFER)
		return 0;
	look_begin(io, c->next - pos);
	io->base = io->at;
	io->seg_left = io->n;
	if (c->stage) {
		io->stage = c->stage;
		if (c->stage != CHUNK_DATA)
			io->length = c->length;
	} else if (c->part) {
		c->part = 0;
		io->length = c->length;
		io->found = c->found;
		io->before = c->before;
		io->fresh = c->fresh;
	} else {
		c->turn = 0;
		if (io->off && c->skip[KT_IN] == c->next && c->skip_from[KT_IN] <= pos)
			leave_out(io, 0, io->off);
	}
	return 1;
}

struct look {
	struct kt_io *io;
	struct kt_conn *c;
};

static long look_step(__u32 i, struct look *l)
{
	if (l->io->stage)
		return chunk_on(l->io) && follow_chunks(l->io, l->c);
	if (!look_on(l->io))
		return 0;
	return !l->io->follows || follow_on(l->io, l->c);
}

/* Whether this call may begin another message in a turn that goes on: the answer to a pipelined request, or the request
 * behind the rest of a body that was answered before it had come. */
static __noinline int begins_another(struct kt_io *io, struct kt_conn *c)
{
	__u64 first = first_eight(io);

	return may_be_response(first) || ((io->dir & 1) == KT_IN && !c->upstream && may_be_request(first));
}

/* Looks at what there may be to see of heads and chunks in this call. `first`: as in may_have_head. What it finds is
 * kept where the verifier does not follow it. */
static __noinline int look(struct kt_io *io, struct kt_conn *c, bool first, __u64 limit)
{
	struct look l = {.io = io, .c = c};

	io->follows = follows_requests(c, io->dir & 1);
	io->stage = io->over = io->from = io->marks = io->looks = 0;
	io->gapped = c->gapped;
	io->passes = io->chunks = io->follows ? c->stage : 0;
	if (io->chunks)
		io->passes = c->gapped || wants_none(c->found) || c->turn >= limit;
	if (io->follows)
		io->looks = may_follow(io, c);
	else if (c->turn < limit && looks_for_head(io, c, first) && !c->headed)
		io->looks = may_have_head(io, c, first);
	if (have_loop() && io->looks)
		bpf_loop(io->follows ? FOLLOW_STEPS : LOOK_STEPS, look_step, &l, 0);
	if (c->lost)
		c->stage = 0;
	io->unended = c->stage && io->follows;
	return 0;
}

/* HTTP/1: whose turn it is, and how much of the call may be copied (io->budget). True: nothing, and it has been seen
 * to.
 */
static __noinline int beyond_turn(struct kt_io *io, struct kt_conn *c)
{
	__u32 dir = io->dir & 1, keep = wanted(c, dir);
	__u64 limit = (__u64)TURN_HEAD + keep, turn;
	bool first = c->turn_dir != dir || !c->turn;

	if (beyond_length(io, c, dir))
		return 1;
	if (c->turn_dir != dir) {
		settle(c, !dir);
		c->turn_dir = dir;
		c->turn = c->headed = 0;
		c->last_five = 0;
	} else if ((c->turn > TURN_ASK || c->headed) && begins_another(io, c)) {
		settle(c, dir);
		first = c->headed;
		c->turn = c->headed = 0;
	}
	if (keep == ~0u)
		return 0;
	look(io, c, first, limit);
	if (io->passes && (io->over || !c->lost) && pass_chunks(io, c))
		return 1;
	io->n -= io->owes;
	if (io->hole) {
		io->budget = io->hole_at;
		return 0;
	}
	if (io->owes)
		return 0;
	turn = c->turn + io->n;
	if (c->turn < limit) {
		if (io->budget > limit - c->turn && !io->chunks)
			io->budget = limit - c->turn;
		c->turn = turn < ~0u ? turn : ~0u;
		if (c->headed)
			return beyond_head(io, c);
		if (io->looks && !io->follows)
			end_at_head(io, c);
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
