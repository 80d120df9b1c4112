/* emit: records into the rings. Room is reserved exactly or by size class and filled in place: no scratch that another
 * program on this CPU could spoil. A position advances by what the call moved, whether its bytes found room or not, so
 * that user space knows every hole.
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

/* `n` bytes, at `pos`, that will never come, and moved at `when`. Five arguments are the most: the cause is in the
 * second byte of `dir`. */
static __noinline int put_gap_of(struct kt_conn *c, __u32 dir, __u64 pos, __u64 n, __u64 when)
{
	__u32 cause = dir >> 8;
	struct kt_data *d = bpf_ringbuf_reserve(&data, sizeof(*d), 0);

	if (!d) {
		count(KT_STAT_LOST_DATA);
		return -1;
	}
	data_head(d, c, dir & 1, when);
	d->pos = pos;
	d->len = 0;
	d->gap = n;
	d->cause = cause;
	bpf_ringbuf_submit(d, wake_flags(sizeof(*d), false));
	return 0;
}

static __always_inline int put_gap(struct kt_conn *c, __u32 dir, __u64 pos, __u64 n, __u32 cause)
{
	return put_gap_of(c, (dir & 1) | cause << 8, pos, n, bpf_ktime_get_ns());
}

/* What was passed over because it is of no use is told in one record before the next that has bytes. */
static __noinline int settle(struct kt_conn *c, __u32 dir)
{
	__u64 n = c->owed[dir & 1];

	if (n) {
		c->owed[dir & 1] = 0;
		put_gap_of(c, (dir & 1) | KT_CAUSE_LIMIT << 8, c->pos[dir & 1] - n, n, c->owed_ns);
	}
	return 0;
}

/* About once a second, counted in its own units. */
static __always_inline bool is_time(struct kt_conn *c, __u64 now_ns)
{
	__u32 now = now_ns >> 30;

	if (now == c->settled)
		return false;
	c->settled = now;
	return true;
}

/* The call moved n more that are of no use: told about once a second, and where user space expects an end. */
static __always_inline void owe(struct kt_conn *c, __u32 dir, __u64 n, bool end)
{
	c->owed[dir] += n;
	c->owed_ns = bpf_ktime_get_ns();
	if (is_time(c, c->owed_ns) || end)
		settle(c, dir);
}

/* The call moved n more, the last of which may be a part of something that user space is to see as a whole: not told
 * yet.
 */
static __always_inline void owe_quietly(struct kt_conn *c, __u32 dir, __u64 n)
{
	if (!n)
		return;
	c->pos[dir & 1] += n;
	c->owed[dir & 1] += n;
	c->owed_ns = bpf_ktime_get_ns();
}

/* Room of exact size is a dynamic pointer (5.19), and that user memory is read into it in one step is new (6.17). */
extern int bpf_probe_read_user_dynptr(struct bpf_dynptr *to, __u64 off, __u64 n, const void *from) __weak __ksym;

static __always_inline bool have_exact(void)
{
#ifndef KT_UNTYPED
	return use_exact && bpf_probe_read_user_dynptr;
#else
	return false;
#endif
}

/* Bytes of user memory to where they belong behind the head. */
static __always_inline long read_exact(struct bpf_dynptr *room, __u64 off, __u64 n, __u64 base)
{
	return bpf_probe_read_user_dynptr(room, sizeof(struct kt_data) + off, n, (void *)base);
}

/* Room for a head, which is filled in, and exactly `n` bytes. Null: there is none. The verifier wants the pointer given
 * back in both cases. */
static __always_inline struct kt_data *reserve_exact(
	struct bpf_dynptr *room, struct kt_io *io, struct kt_conn *c, __u32 n)
{
	__u64 now = bpf_ktime_get_ns();
	struct kt_data *d;

	bpf_ringbuf_reserve_dynptr(&data, sizeof(*d) + n, 0, room);
	d = bpf_dynptr_data(room, 0, sizeof(*d));
	if (!d) {
		count(KT_STAT_LOST_DATA);
		bpf_ringbuf_discard_dynptr(room, 0);
		return 0;
	}
	data_head(d, c, io->dir & 1, now);
	return d;
}

static __always_inline void put_exact(struct kt_io *io, struct kt_conn *c)
{
	__u32 n = io->piece;
	struct bpf_dynptr room;
	struct kt_data *d = reserve_exact(&room, io, c, n);

	if (!d)
		return;
	d->len = n;
	if (read_exact(&room, 0, n, io->base)) {
		count(KT_STAT_FAULT);
		d->len = 0;
		d->gap = n;
		d->cause = KT_CAUSE_FAULT;
	}
	bpf_ringbuf_submit_dynptr(&room, wake_flags(sizeof(*d) + n, io->wake && io->last));
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

	if (n > exact_buffer && have_exact())
		put_exact(io, c);
	else if (n <= 64)
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
	else if (n <= 6144)
		put(io, c, 6144);
	else if (n <= 8192)
		put(io, c, 8192);
	else if (n <= 12288)
		put(io, c, 12288);
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

/* Bytes of a body, in the middle of a call that is one buffer: what is behind them is copied. */
static __always_inline long pass_hole(struct kt_io *io, struct kt_conn *c)
{
	__u64 n = io->hole;

	put_gap(c, io->dir, c->pos[io->dir & 1], n, KT_CAUSE_LIMIT);
	c->pos[io->dir & 1] += n;
	io->base += n;
	io->seg_left -= n;
	io->left -= n;
	io->budget = call_bytes;
	io->hole = 0;
	if (io->marks)
		c->more = 0;
	return 0;
}

static long walk_step(__u32 i, struct walk *w)
{
	struct kt_io *io = w->io;

	if (!io->left)
		return 1;
	if (!io->budget && io->hole)
		return pass_hole(io, w->c);
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

/* How a chunked body ends that has no trailers: "0", CR LF, CR LF. */
#define CHUNKED_END 0x300d0a0d0aULL
#define CHUNKED_END_LEN 5
#define FIVE_BYTES 0xffffffffffULL

/* Where the last bytes of a vectored call are; in *ret_n how many of them, at most 5, in one segment. It may have moved
 * less than its segments hold. */
static __noinline __u64 last_of_segments(struct kt_io *io, __u64 *ret_n)
{
	__u64 before = 0;
	struct iovec v;

	for (__u32 i = 0; i < 64; i++) {
		if (i >= io->segments || bpf_probe_read_user(&v, sizeof(v), (void *)(io->at + i * sizeof(v))))
			return 0;
		if (before + v.iov_len >= io->n) {
			*ret_n = io->n - before;
			return (__u64)v.iov_base + (io->n - before);
		}
		before += v.iov_len;
	}
	return 0;
}

/* The last five bytes of a direction after this call, as a number: `had` are those before it. What is not known of them
 * is zero. */
static __noinline __u64 last_five(struct kt_io *io, __u64 had)
{
	__u64 n = io->n, end = io->at + n;
	__u8 b[8] = {};

	if (io->shape == KT_NODATA)
		return 0;
	if (io->shape == KT_SEGMENTS) {
		end = last_of_segments(io, &n);
		if (n != io->n)
			had = 0;
	}
	if (n > 5)
		n = 5;
	if (!end || bpf_probe_read_user(b, n, (void *)(end - n)))
		return 0;
	for (__u32 i = 0; i < 5; i++)
		if (i < n)
			had = had << 8 | b[i];
	return had & FIVE_BYTES;
}

/* The end of a chunked body, which is where the direction is now. */
static __noinline int put_chunked_end(struct kt_conn *c, __u32 dir)
{
	__u64 now = bpf_ktime_get_ns();
	struct kt_data *d = bpf_ringbuf_reserve(&data, sizeof(*d) + 8, 0);

	if (!d) {
		count(KT_STAT_LOST_DATA);
		return -1;
	}
	data_head(d, c, dir & 1, now);
	d->pos = c->pos[dir & 1] - 5;
	d->len = 5;
	__builtin_memcpy(d + 1, "0\r\n\r\n\0\0", 8);
	bpf_ringbuf_submit(d, wake_flags(sizeof(*d) + 8, false));
	return 0;
}

static __noinline int walk_all(struct kt_io *io, struct kt_conn *c)
{
	struct walk w = {.io = io, .c = c};
	bool ends;
	__u64 gap;

	/* Kept where the verifier does not follow it: it would look at all steps twice. */
	io->ends = io->n > io->budget && !io->unended && last_five(io, 0) == CHUNKED_END;
	io->left = io->n;
	io->cause = KT_CAUSE_LIMIT;
	if (have_loop()) {
		bpf_loop(WALK_STEPS, walk_step, &w, 0);
	} else {
		for (__u32 i = 0; i < WALK_STEPS_UNROLLED; i++)
			if (walk_step(i, &w))
				break;
	}
	if (!io->left)
		return 0;
	/* Where a chunked body ends is to be seen, however much of it is left out. */
	ends = io->ends && io->left > 5;
	gap = ends ? io->left - 5 : io->left;
	put_gap(c, io->dir, c->pos[io->dir & 1], gap, io->cause);
	c->pos[io->dir & 1] += io->left;
	return ends ? put_chunked_end(c, io->dir) : 0;
}

/* The segments of a small call, brought together in one record. The verifier knows that the offset is within `room` and
 * the length within `step`, not that their sum is within `room`: so `step` is reserved on top, and larger segments are
 * taken in two or three steps, in the large rooms in up to nine: there it is room that counts, and elsewhere steps. */
#define GATHER_STEP(room) ((room) >= 8192 ? (room) / 8 : (room) / 2)
#define GATHER_STEPS (IOV_MAX + 16)
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

static long gather_64(__u32 i, struct gather *g)
{
	return gather_step(g, 64);
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

static long gather_8k(__u32 i, struct gather *g)
{
	return gather_step(g, 8192);
}

static long gather_12k(__u32 i, struct gather *g)
{
	return gather_step(g, 12288);
}

static long gather_16k(__u32 i, struct gather *g)
{
	return gather_step(g, KT_PIECE);
}

/* What the steps came to. */
static __always_inline void gathered(struct kt_io *io, struct kt_data *d)
{
	d->len = io->piece;
	d->gap = io->left;
	if (io->left) {
		count(KT_STAT_FAULT);
		d->cause = KT_CAUSE_FAULT;
	}
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
	bpf_loop(GATHER_STEPS, step, &g, 0);
	gathered(io, d);
	bpf_ringbuf_submit(d, wake_flags(sizeof(*d) + room + GATHER_STEP(room), io->wake));
	return 0;
}

/* The same in a room of exact size: every segment in one step. */
struct gather_exact {
	struct kt_io *io;
	struct bpf_dynptr room;
};

static long gather_exact_step(__u32 i, struct gather_exact *g)
{
	struct kt_io *io = g->io;
	__u64 n;

	if (!io->left || next_segment(io))
		return 1;
	n = io->left;
	if (n > io->seg_left)
		n = io->seg_left;
	if (read_exact(&g->room, io->piece, n, io->base))
		return 1;
	io->piece += n;
	io->left -= n;
	io->seg_left -= n;
	return 0;
}

static __always_inline void gather_exact(struct kt_io *io, struct kt_conn *c)
{
	struct gather_exact g = {.io = io};
	struct kt_data *d = reserve_exact(&g.room, io, c, io->n);

	if (!d)
		return;
	io->left = io->n;
	io->piece = 0;
	bpf_loop(GATHER_STEPS, gather_exact_step, &g, 0);
	gathered(io, d);
	bpf_ringbuf_submit_dynptr(&g.room, wake_flags(sizeof(*d) + io->n, io->wake));
}

static __noinline int gather_all(struct kt_io *io, struct kt_conn *c)
{
	if (io->n > exact_segments && have_exact())
		gather_exact(io, c);
	else if (io->n <= 64)
		gather(io, c, 64, gather_64);
	else if (io->n <= 256)
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
	else if (io->n <= 8192)
		gather(io, c, 8192, gather_8k);
	else if (io->n <= 12288)
		gather(io, c, 12288, gather_12k);
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
	__u32 dir = io->dir & 1;
	__u64 end = c->pos[dir] + io->n;

	if (end > c->skip[dir] || c->pos[dir] < c->skip_from[dir])
		return false;
	c->pos[dir] = end;
	if (c->skip[dir] == ~0ULL)
		c->owed[dir] += io->n;
	else
		owe(c, dir, io->n, end == c->skip[dir]);
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
	io->base = io->at;
	io->seg_left = io->shape == KT_SEGMENTS ? 0 : io->n;
	if (io->n > KT_PIECE || io->n > io->budget)
		return walk_all(io, c);
	/* Most vectored calls have one segment. */
	if (io->shape == KT_SEGMENTS)
		next_segment(io);
	if (io->seg_left < io->n)
		return have_loop() ? gather_all(io, c) : walk_all(io, c);
	io->last = 1;
	io->piece = io->n;
	return put_piece(io, c);
}

#endif
