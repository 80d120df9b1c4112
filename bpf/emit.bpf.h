/* emit: records into the rings. Room is reserved by size class and filled in place: no scratch that another program on
 * this CPU could spoil. A position advances by what the call moved, whether its bytes found room or not, so that user
 * space knows every hole.
 */
#ifndef KT_BPF_EMIT_H
#define KT_BPF_EMIT_H

#include "sock.bpf.h"

#define IOV_MAX 1024
/* Segments and pieces of one call; fewer on kernels without bpf_loop, where nginx's 64 segments still fit. */
#define WALK_STEPS 2048
#define WALK_STEPS_UNROLLED 80

/* The timer of the reader serves a quiet ring; a busy one wakes it when `wake_bytes` are passed, once. */
static __always_inline __u64 wake_flags(__u32 size, bool now)
{
	__u64 have;

	if (now)
		return BPF_RB_FORCE_WAKEUP;
	have = bpf_ringbuf_query(&data, BPF_RB_AVAIL_DATA);
	return have >= wake_bytes && have - size < wake_bytes ? BPF_RB_FORCE_WAKEUP : BPF_RB_NO_WAKEUP;
}

static __always_inline void data_head(struct kt_data *d, struct kt_conn *c, __u32 dir, __u64 now)
{
	d->head.t_ns = now;
	d->head.pid = c->pid;
	d->head.kind = KT_DATA;
	d->gen = c->gen;
	d->obj = c->obj;
	d->pos = c->pos[dir & 1];
	d->gap = 0;
	d->tls = c->tls;
	d->dir = dir;
	d->cause = KT_CAUSE_NONE;
	d->flags = (c->told ? 0 : KT_FIRST) | (c->more ? KT_MORE : 0);
	c->told = 1;
	c->more = 1;
}

/* `n` bytes, at `pos`, that will never come. */
static __noinline int put_gap(struct kt_conn *c, __u32 dir, __u64 pos, __u64 n, __u32 cause)
{
	__u64 now = bpf_ktime_get_ns();
	struct kt_data *d = bpf_ringbuf_reserve(&data, sizeof(*d), 0);

	if (!d) {
		count(KT_STAT_LOST_DATA);
		return -1;
	}
	data_head(d, c, dir, now);
	d->pos = pos;
	d->len = 0;
	d->gap = n;
	d->cause = cause;
	bpf_ringbuf_submit(d, wake_flags(sizeof(*d), false));
	return 0;
}

/* What was passed over because user space said so is told in one record before the next that has bytes. */
static __noinline int settle(struct kt_conn *c, __u32 dir)
{
	__u64 n = c->owed[dir & 1];

	if (n) {
		c->owed[dir & 1] = 0;
		put_gap(c, dir, c->pos[dir & 1] - n, n, KT_CAUSE_LIMIT);
	}
	return 0;
}

static __always_inline void put(struct kt_io *io, struct kt_conn *c, const __u32 room)
{
	__u64 n = io->piece, now = bpf_ktime_get_ns();
	struct kt_data *d = bpf_ringbuf_reserve(&data, sizeof(*d) + room, 0);

	if (!d) {
		count(KT_STAT_LOST_DATA);
		return;
	}
	data_head(d, c, io->dir & 1, now);
	if (n > room) /* never: for the verifier */
		n = room;
	d->len = n;
	if (bpf_probe_read_user(d + 1, n, (void *)io->base)) {
		count(KT_STAT_FAULT);
		d->len = 0;
		d->gap = n;
		d->cause = KT_CAUSE_FAULT;
	}
	bpf_ringbuf_submit(d, wake_flags(sizeof(*d) + room, io->wake && io->last));
}

/* io->piece bytes at io->base, at most KT_PIECE; moves the position. */
static __noinline int put_piece(struct kt_io *io, struct kt_conn *c)
{
	__u32 n = io->piece;

	if (n <= 64)
		put(io, c, 64);
	else if (n <= 256)
		put(io, c, 256);
	else if (n <= 512)
		put(io, c, 512);
	else if (n <= 1024)
		put(io, c, 1024);
	else if (n <= 1536)
		put(io, c, 1536);
	else if (n <= 2048)
		put(io, c, 2048);
	else if (n <= 4096)
		put(io, c, 4096);
	else if (n <= 8192)
		put(io, c, 8192);
	else
		put(io, c, KT_PIECE);
	c->pos[io->dir & 1] += io->piece;
	return 0;
}

/* Makes sure that a segment is at hand. 0, or 1: there is none. */
static __noinline int next_segment(struct kt_io *io)
{
	struct iovec v;

	if (io->seg_left)
		return 0;
	if (!io->segments || bpf_probe_read_user(&v, sizeof(v), (void *)io->at)) {
		io->cause = KT_CAUSE_FAULT;
		return 1;
	}
	io->segments--;
	io->at += sizeof(v);
	io->base = (__u64)v.iov_base;
	io->seg_left = v.iov_len;
	return 0;
}

static __noinline int size_piece(struct kt_io *io)
{
	__u64 n = io->left;

	if (n > io->seg_left)
		n = io->seg_left;
	if (n > io->budget)
		n = io->budget;
	io->piece = n < KT_PIECE ? n : KT_PIECE;
	return 0;
}

/* A call's bytes, piece by piece, over as many segments as it had. */
struct walk {
	struct kt_io *io;
	struct kt_conn *c;
};

static long walk_step(__u32 i, struct walk *w)
{
	struct kt_io *io = w->io;

	if (!io->left)
		return 1;
	if (!io->budget) {
		io->cause = KT_CAUSE_LIMIT;
		return 1;
	}
	if (next_segment(io))
		return 1;
	size_piece(io);
	if (!io->piece)
		return 0;
	io->last = io->piece == io->left || io->piece == io->budget;
	put_piece(io, w->c);
	io->base += io->piece;
	io->seg_left -= io->piece;
	io->left -= io->piece;
	io->budget -= io->piece;
	return 0;
}

static __always_inline bool have_loop(void)
{
	return use_loop && bpf_core_enum_value_exists(enum bpf_func_id, BPF_FUNC_loop);
}

static __noinline int walk_all(struct kt_io *io, struct kt_conn *c)
{
	struct walk w = {.io = io, .c = c};

	io->left = io->n;
	io->budget = call_bytes;
	io->cause = KT_CAUSE_LIMIT;
	if (have_loop()) {
		bpf_loop(WALK_STEPS, walk_step, &w, 0);
	} else {
		for (__u32 i = 0; i < WALK_STEPS_UNROLLED; i++)
			if (walk_step(i, &w))
				break;
	}
	if (io->left) {
		put_gap(c, io->dir, c->pos[io->dir & 1], io->left, io->cause);
		c->pos[io->dir & 1] += io->left;
	}
	return 0;
}

/* The segments of a small call, brought together in one record. The verifier knows that the offset is within `room` and
 * the length within `step`, not that their sum is within `room`: so `step` is reserved on top, and larger segments are
 * taken in two or three steps. */
#define GATHER_STEP(room) ((room) / 2)
struct gather {
	struct kt_io *io;
	struct kt_data *d;
};

static __always_inline long gather_step(struct gather *g, const __u32 room)
{
	struct kt_io *io = g->io;
	__u64 off = io->piece, n;

	if (!io->left || next_segment(io))
		return 1;
	n = io->left;
	if (n > io->seg_left)
		n = io->seg_left;
	if (n > GATHER_STEP(room))
		n = GATHER_STEP(room);
	if (off >= room)
		return 1;
	if (bpf_probe_read_user((char *)(g->d + 1) + off, n, (void *)io->base))
		return 1;
	io->piece += n;
	io->base += n;
	io->left -= n;
	io->seg_left -= n;
	return 0;
}

static long gather_256(__u32 i, struct gather *g)
{
	return gather_step(g, 256);
}

static long gather_512(__u32 i, struct gather *g)
{
	return gather_step(g, 512);
}

static long gather_1k(__u32 i, struct gather *g)
{
	return gather_step(g, 1024);
}

static long gather_1k5(__u32 i, struct gather *g)
{
	return gather_step(g, 1536);
}

static long gather_2k(__u32 i, struct gather *g)
{
	return gather_step(g, 2048);
}

static long gather_4k(__u32 i, struct gather *g)
{
	return gather_step(g, 4096);
}

static long gather_16k(__u32 i, struct gather *g)
{
	return gather_step(g, KT_PIECE);
}

static __always_inline int gather(
	struct kt_io *io, struct kt_conn *c, const __u32 room, long (*step)(__u32, struct gather *))
{
	struct gather g = {.io = io};
	__u64 now = bpf_ktime_get_ns();
	struct kt_data *d = bpf_ringbuf_reserve(&data, sizeof(*d) + room + GATHER_STEP(room), 0);

	if (!d) {
		count(KT_STAT_LOST_DATA);
		return 0;
	}
	data_head(d, c, io->dir & 1, now);
	io->left = io->n;
	io->piece = 0;
	g.d = d;
	bpf_loop(IOV_MAX + 4, step, &g, 0);
	d->len = io->piece;
	d->gap = io->left;
	if (io->left) {
		count(KT_STAT_FAULT);
		d->cause = KT_CAUSE_FAULT;
	}
	bpf_ringbuf_submit(d, wake_flags(sizeof(*d) + room + GATHER_STEP(room), io->wake));
	return 0;
}

static __noinline int gather_all(struct kt_io *io, struct kt_conn *c)
{
	if (io->n <= 256)
		gather(io, c, 256, gather_256);
	else if (io->n <= 512)
		gather(io, c, 512, gather_512);
	else if (io->n <= 1024)
		gather(io, c, 1024, gather_1k);
	else if (io->n <= 1536)
		gather(io, c, 1536, gather_1k5);
	else if (io->n <= 2048)
		gather(io, c, 2048, gather_2k);
	else if (io->n <= 4096)
		gather(io, c, 4096, gather_4k);
	else
		gather(io, c, KT_PIECE, gather_16k);
	c->pos[io->dir & 1] += io->n;
	return 0;
}

/* Calls that user space has no use for: counted, and told in one piece before the next that it has, at the latest where
 * what is of no use ends: the message that they belong to may well end there, too. A connection that it still wants
 * shows about once a second that it is alive. */
static __always_inline bool passed_over(struct kt_io *io, struct kt_conn *c)
{
	__u32 dir = io->dir & 1, now;
	__u64 end = c->pos[dir] + io->n;

	if (end > c->skip[dir] || c->pos[dir] < c->skip_from[dir])
		return false;
	c->pos[dir] = end;
	c->owed[dir] += io->n;
	if (c->skip[dir] == ~0ULL)
		return true;
	now = bpf_ktime_get_ns() >> 30;
	if (now != c->settled || end == c->skip[dir]) {
		c->settled = now;
		settle(c, dir);
	}
	return true;
}

/* The call as it is described in io. */
static __noinline int emit(struct kt_io *io, struct kt_conn *c)
{
	if (io->shape == KT_NODATA) {
		put_gap(c, io->dir, c->pos[io->dir & 1], io->n, KT_CAUSE_NODATA);
		c->pos[io->dir & 1] += io->n;
		return 0;
	}
	if (io->shape == KT_SEGMENTS) {
		io->seg_left = 0;
		return have_loop() && io->n <= KT_PIECE ? gather_all(io, c) : walk_all(io, c);
	}
	io->base = io->at;
	io->seg_left = io->n;
	if (io->n > KT_PIECE)
		return walk_all(io, c);
	io->last = 1;
	io->piece = io->n;
	return put_piece(io, c);
}

#endif
