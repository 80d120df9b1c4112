/* h2: which bytes of an HTTP/2 connection need copying: everything but the DATA of streams of whose body enough was
 * copied, or none is wanted. The frames of both directions are followed from the first byte on (RFC 9113, section 4.1),
 * so that positions stay exact and user space finds frames wherever it looks.
 *
 * Of a frame whose payload is not wanted the header is copied and the payload is a gap. Downloads have a frame for each
 * 8 KiB, though: a row of them, none of which ends its stream, is told as one DATA frame of the sum of their payloads,
 * and before it one frame of a type that nobody knows (RFC 9113, section 4.1: to be ignored) as long as the headers
 * that it leaves out. So nobody who reads this needs to know of it.
 */
#ifndef KT_BPF_H2_H
#define KT_BPF_H2_H

#include "hpack.bpf.h"

#define H2_HEAD 9
#define H2_PREFACE_LEN 24
#define H2_DATA 0
#define H2_HEADERS 1
#define H2_UNKNOWN 0xfa
#define H2_END_STREAM 0x1
#define H2_PADDED 0x8
#define H2_PRIORITY 0x20
#define H2_PRIORITY_LEN 5
/* Where no body is wanted, a payload that is cheaper to copy than to leave out. */
#define H2_SMALL 1024
/* A payload that joins others, and what they come to at most before they are told: the length of a frame has 24 bits.
 */
#define H2_JOIN_MAX (1u << 20)
#define H2_ROW_MAX (12u << 20)
/* Frames and segments of one call, and pieces of heads that are looked at. */
#define H2_STEPS 4096
#define H2_STEPS_HEADS 16384

struct h2_frame {
	__u32 length, stream;
	__u8 type, flags;
};

static __always_inline void h2_parse(const __u8 *b, struct h2_frame *f)
{
	f->length = (__u32)b[0] << 16 | (__u32)b[1] << 8 | b[2];
	f->type = b[3];
	f->flags = b[4];
	f->stream = ((__u32)b[5] << 24 | (__u32)b[6] << 16 | (__u32)b[7] << 8 | b[8]) & 0x7fffffff;
}

/* A frame header that stands for others, and after it a gap of what it says is there. */
static __noinline int put_frame(struct kt_conn *c, __u32 dir, __u64 pos, const struct h2_frame *f, __u64 gap)
{
	__u64 now = bpf_ktime_get_ns();
	struct kt_data *d = bpf_ringbuf_reserve(&data, sizeof(*d) + 16, 0);
	__u8 *b;

	if (!d) {
		count(KT_STAT_LOST_DATA);
		return -1;
	}
	data_head(d, c, dir, now);
	d->pos = pos;
	d->len = H2_HEAD;
	d->gap = gap;
	d->cause = KT_CAUSE_LIMIT;
	b = (__u8 *)(d + 1);
	b[0] = f->length >> 16;
	b[1] = f->length >> 8;
	b[2] = f->length;
	b[3] = f->type;
	b[4] = 0;
	b[5] = f->stream >> 24;
	b[6] = f->stream >> 16;
	b[7] = f->stream >> 8;
	b[8] = f->stream;
	bpf_ringbuf_submit(d, wake_flags(sizeof(*d) + 16, false));
	return 0;
}

/* Tells the row of frames that was passed over, the last of which may still go on: its rest is a gap then. */
static __noinline int h2_settle(struct kt_conn *c, struct kt_h2_dir *d, __u32 dir)
{
	__u64 frames = d->frames, payload = d->payload, pos = c->pos[dir & 1] - payload - frames * H2_HEAD;
	struct h2_frame f = {.type = H2_UNKNOWN};

	if (!frames)
		return 0;
	if (frames > 1) {
		f.length = (frames - 2) * H2_HEAD;
		put_frame(c, dir & 1, pos, &f, f.length);
		pos += (frames - 1) * H2_HEAD;
	}
	f.type = H2_DATA;
	f.stream = d->stream;
	f.length = payload;
	if (d->mode == KT_H2_SWALLOW && d->left) {
		f.length += d->left;
		d->mode = KT_H2_DROP;
	}
	put_frame(c, dir & 1, pos, &f, payload);
	d->frames = d->payload = 0;
	return 0;
}

/* In place of the length of a body of which nothing is wanted. */
#define H2_UNWANTED (~0u)

/* The place of this stream, or, if it has none, that of the shortest body: the streams with the longest ones keep
 * theirs. */
static __always_inline struct kt_h2_slot *h2_slot(struct kt_h2_dir *d, __u32 stream)
{
	__u32 least = 0;

	for (__u32 i = 0; i < KT_H2_SLOTS; i++) {
		if (d->slots[i].stream == stream)
			return &d->slots[i];
		if (d->slots[i].bytes < d->slots[least & (KT_H2_SLOTS - 1)].bytes)
			least = i;
	}
	return &d->slots[least & (KT_H2_SLOTS - 1)];
}

/* The head of a body came, the last one counts (there may be interim ones): is the body wanted? */
static __noinline int h2_want(struct kt_h2_dir *d, __u32 stream, bool wants)
{
	struct kt_h2_slot *s = h2_slot(d, stream);

	if (wants && s->stream != stream)
		return 0;
	s->stream = stream;
	s->bytes = wants ? 0 : H2_UNWANTED;
	return 0;
}

/* Counts a DATA frame to its stream's body. True: it is beyond what is wanted. */
static __noinline int h2_beyond(struct kt_h2_dir *d, __u32 stream, __u32 length, __u32 end, __u32 keep)
{
	struct kt_h2_slot *s;
	__u32 bytes;

	if (!keep)
		return length >= H2_SMALL;
	s = h2_slot(d, stream);
	if (s->stream != stream) {
		if (!end) {
			s->stream = stream;
			s->bytes = length;
		}
		return 0;
	}
	bytes = s->bytes;
	if (end)
		s->stream = s->bytes = 0;
	else if (bytes < keep)
		s->bytes = bytes + length;
	return bytes >= keep;
}

static __always_inline __u32 h2_mode(struct kt_conn *c, struct kt_h2_dir *d, __u32 dir, const struct h2_frame *f)
{
	__u32 keep = wanted(c, dir), end = f->flags & H2_END_STREAM;

	/* Where padding begins is in the payload. */
	if (f->type != H2_DATA || (f->flags & H2_PADDED) || keep == ~0u || !f->stream)
		return KT_H2_COPY;
	if (!h2_beyond(d, f->stream, f->length, end, keep))
		return KT_H2_COPY;
	return end || f->length > H2_JOIN_MAX ? KT_H2_DROP : KT_H2_SWALLOW;
}

struct h2_walk {
	struct kt_io *io;
	struct kt_conn *c;
	struct kt_h2_dir *d;
};

/* Copies what was put by. */
static __noinline int h2_flush(struct kt_io *io, struct kt_conn *c, struct kt_h2_dir *d)
{
	__u64 base = io->base;

	if (!io->run_len)
		return 0;
	h2_settle(c, d, io->dir);
	io->base = io->run;
	io->piece = io->run_len;
	io->last = 0;
	put_piece(io, c);
	io->base = base;
	io->run_len = 0;
	return 0;
}

static __always_inline void h2_put_by(struct h2_walk *w, __u64 n, const bool act)
{
	struct kt_io *io = w->io;

	if (!act)
		return;
	if (io->run_len && io->run + io->run_len != io->base)
		h2_flush(io, w->c, w->d);
	if (!io->run_len)
		io->run = io->base;
	io->run_len += n;
	if (io->run_len >= KT_PIECE)
		h2_flush(io, w->c, w->d);
}

static __always_inline void h2_payload(struct h2_walk *w, __u64 n, const bool act)
{
	struct kt_h2_dir *d = w->d;
	struct kt_conn *c = w->c;
	__u32 dir = w->io->dir & 1;

	if (d->mode == KT_H2_COPY) {
		h2_put_by(w, n, act);
	} else if (!act) {
		w->io->dropped = 1;
	} else {
		h2_flush(w->io, c, d);
		if (d->mode == KT_H2_SWALLOW) {
			d->payload += n;
		} else {
			h2_settle(c, d, dir);
			put_gap(c, dir, c->pos[dir], n, KT_CAUSE_LIMIT);
		}
		c->pos[dir] += n;
	}
	d->left -= n;
}

/* Is there something to see of a body's type in this frame's payload? */
static __always_inline void h2_heads(struct h2_walk *w, const struct h2_frame *f)
{
	struct kt_io *io = w->io;

	io->stage = HPACK_NONE;
	if (!excluded_types || f->type != H2_HEADERS || f->flags & (H2_END_STREAM | H2_PADDED) || w->c->upstream)
		return;
	io->headers = f->stream;
	io->stage = HPACK_WAITS;
	io->off = f->flags & H2_PRIORITY ? H2_PRIORITY_LEN : 0;
}

/* A payload in which there is: its first `n` bytes are at hand. True: they are looked at now. */
static __always_inline bool h2_looks_at_head(struct kt_io *io, __u64 n)
{
	if (io->stage != HPACK_WAITS)
		return false;
	io->stage = HPACK_NONE;
	if (n <= io->off)
		return false;
	hpack_begin(io, io->base + io->off, n - io->off);
	return true;
}

/* At most n bytes of a frame's header. How many they were; 0: they could not be read. */
static __always_inline __u32 h2_header(struct h2_walk *w, __u64 n, const bool act)
{
	struct kt_h2_dir *d = w->d;
	__u32 have = d->have, mode, dir = w->io->dir & 1;
	struct h2_frame f;
	__u64 m;

	if (have >= H2_HEAD)
		return 0;
	m = n < H2_HEAD - have ? n : H2_HEAD - have;
	barrier_var(m); /* what is compared is what is used: kernels before 6.12 know no more of it */
	if (m > H2_HEAD || bpf_probe_read_user(&d->head[have], m, (void *)w->io->base))
		return 0;
	d->have = have + m;
	if (have + m < H2_HEAD) {
		h2_put_by(w, m, act);
		return m;
	}
	d->have = 0;
	h2_parse(d->head, &f);
	h2_heads(w, &f);
	mode = h2_mode(w->c, d, dir, &f);
	/* Of a header whose first bytes were copied the others must be, too. */
	if (mode == KT_H2_SWALLOW && have)
		mode = KT_H2_DROP;
	if (mode != KT_H2_SWALLOW) {
		h2_put_by(w, m, act);
	} else if (!act) {
		w->io->dropped = 1;
	} else {
		h2_flush(w->io, w->c, d);
		if (d->stream != f.stream || d->payload > H2_ROW_MAX)
			h2_settle(w->c, d, dir);
		d->stream = f.stream;
		d->frames++;
		w->c->pos[dir] += m;
	}
	d->left = f.length;
	d->mode = mode;
	return m;
}

static __always_inline long h2_step(struct h2_walk *w, const bool act)
{
	struct kt_io *io = w->io;
	__u64 n = io->left;

	if (io->stage > HPACK_WAITS) {
		if (hpack_on(io)) {
			io->stage = HPACK_NONE;
			h2_want(w->d, io->headers, !(io->found & HEAD_UNWANTED));
		}
		return 0;
	}
	if (!n || next_segment(io))
		return 1;
	if (n > io->seg_left)
		n = io->seg_left;
	if (w->d->left && h2_looks_at_head(io, n < w->d->left ? n : w->d->left))
		return 0;
	if (act && n > KT_PIECE - io->run_len)
		n = KT_PIECE - io->run_len;
	if (!n)
		return 0;
	if (w->d->left) {
		if (n > w->d->left)
			n = w->d->left;
		h2_payload(w, n, act);
	} else {
		n = h2_header(w, n, act);
		if (!n)
			return 1;
	}
	io->base += n;
	io->seg_left -= n;
	io->left -= n;
	return 0;
}

static long h2_look(__u32 i, struct h2_walk *w)
{
	return h2_step(w, false);
}

static long h2_act(__u32 i, struct h2_walk *w)
{
	return h2_step(w, true);
}

static __always_inline void h2_rewind(struct kt_io *io, __u64 at, __u32 segments)
{
	io->at = at;
	io->segments = segments;
	io->left = io->n;
	io->run_len = 0;
	io->stage = HPACK_NONE;
	io->base = at;
	io->seg_left = io->shape == KT_SEGMENTS ? 0 : io->n;
}

/* The call as a whole, of a direction that is followed. */
static __noinline int h2_emit(struct kt_io *io, struct kt_conn *c, struct kt_h2 *h)
{
	struct kt_h2_dir *d = &h->dir[io->dir & 1];
	struct h2_walk w = {.io = io, .c = c, .d = &h->trial};
	__u64 at = io->at;
	__u32 segments = io->segments, steps = excluded_types ? H2_STEPS_HEADS : H2_STEPS;

	h->trial = *d;
	io->dropped = 0;
	h2_rewind(io, at, segments);
	bpf_loop(steps, h2_look, &w, 0);
	if (io->left || !io->dropped) {
		h2_settle(c, d, io->dir);
		if (io->left) {
			d->on = 0; /* too many frames, or memory that cannot be read: followed no more */
		} else {
			*d = h->trial;
			d->frames = d->payload = 0; /* which were told just now */
		}
		h2_rewind(io, at, segments);
		return emit(io, c);
	}
	h2_rewind(io, at, segments);
	w.d = d;
	bpf_loop(2 * steps, h2_act, &w, 0);
	h2_flush(io, c, d);
	if (io->left) {
		h2_settle(c, d, io->dir);
		put_gap(c, io->dir, c->pos[io->dir & 1], io->left, KT_CAUSE_FAULT);
		c->pos[io->dir & 1] += io->left;
		d->on = 0;
	}
	if (is_time(c, bpf_ktime_get_ns()))
		h2_settle(c, d, io->dir);
	return 0;
}

/* The client begins after the server did. */
static __always_inline void h2_begin_late(struct kt_io *io, struct kt_conn *c, struct kt_h2_dir *d)
{
	if (!d->on && !c->pos[io->dir & 1] && is_preface(first_eight(io))) {
		d->on = 1;
		d->left = H2_PREFACE_LEN;
	}
}

static __noinline struct kt_h2 *h2_of(struct kt_conn *c)
{
	struct kt_conn_key key = {.obj = c->obj, .pid = c->pid, .tls = c->tls};
	struct kt_h2 *h = bpf_map_lookup_elem(&h2conns, &key);

	return h && h->gen == c->gen ? h : 0;
}

/* The connection speaks HTTP/2, and this side of it begins now: a client with its preface, after which the place of the
 * other side's frames is known, too, unless that began before; or a server with its first frame. */
static __noinline int h2_begin(struct kt_conn *c, __u32 dir, __u32 preface)
{
	struct kt_conn_key key = {.obj = c->obj, .pid = c->pid, .tls = c->tls};
	__u32 zero = 0;
	struct kt_h2 *h = bpf_map_lookup_elem(&h2blank, &zero);

	c->speech = KT_SPEECH_OTHER;
	if (!have_loop() || !h || bpf_map_update_elem(&h2conns, &key, h, BPF_ANY))
		return 0;
	h = bpf_map_lookup_elem(&h2conns, &key);
	if (!h)
		return 0;
	h->gen = c->gen;
	h->dir[dir & 1].on = c->pos[dir & 1] == 0;
	h->dir[dir & 1].left = preface;
	h->dir[!dir].on = preface && c->pos[!dir] == 0 && !c->late;
	c->speech = KT_SPEECH_HTTP2;
	return 0;
}

/* The connection is over, or nobody follows it any more. */
static __noinline int h2_end(struct kt_conn *c)
{
	struct kt_conn_key key = {.obj = c->obj, .pid = c->pid, .tls = c->tls};
	struct kt_h2 *h = h2_of(c);

	c->speech = KT_SPEECH_OTHER;
	if (!h)
		return 0;
	if (c->opened) {
		h2_settle(c, &h->dir[KT_IN], KT_IN);
		h2_settle(c, &h->dir[KT_OUT], KT_OUT);
	}
	bpf_map_delete_elem(&h2conns, &key);
	return 0;
}

/* Bytes that went by without being looked at. */
static __noinline int h2_passed(struct kt_conn *c, __u32 dir, __u64 n)
{
	struct kt_h2 *h = h2_of(c);
	struct kt_h2_dir *d;

	if (!h)
		return 0;
	d = &h->dir[dir & 1];
	h2_settle(c, d, dir);
	if (n <= d->left)
		d->left -= n;
	else
		d->on = 0;
	return 0;
}

/* What the connection speaks, by the first bytes of this call. */
static __noinline int learn_speech(struct kt_io *io, struct kt_conn *c)
{
	__u64 first = first_eight(io);
	bool follows = follows_requests(c, io->dir), in = (io->dir & 1) == KT_IN;

	if (follows)
		pass_preamble(io, c, first);
	/* Of a connection that was there before. */
	if (c->origin == KT_UNKNOWN && (in ? is_response(first) : is_request(first) || is_preface(first)))
		c->upstream = 1;
	if (is_preface(first))
		h2_begin(c, io->dir & 1, H2_PREFACE_LEN);
	else if (is_response(first) || is_request(first) ||
		 (follows && c->pos[KT_IN] == c->next && may_be_request(first)))
		c->speech = KT_SPEECH_HTTP1;
	else if (is_settings(first) && !c->late && !c->pos[io->dir & 1])
		h2_begin(c, io->dir & 1, 0);
	else if (++c->peeks >= PEEKS_MAX)
		c->speech = KT_SPEECH_OTHER;
	return 0;
}

#endif
