/* conn: the life of a connection, as the kernel side keeps it. A clear stream is known by its fd, a TLS stream by its
 * SSL pointer; both numbers are used again at once, so each life has a generation of its own.
 */
#ifndef KT_BPF_CONN_H
#define KT_BPF_CONN_H

#include "h2.bpf.h"

/* Bytes of one direction in a row after which the reader is woken. */
#define RUN_BYTES (64 << 10)
/* What does not end such a run: HTTP/2 has its receiver say now and then that there is room for more. */
#define TURN_BYTES 64

static __always_inline void fill_open(struct kt_open *o, struct kt_conn *c, struct sock *sk, __u64 now)
{
	__builtin_memset(o, 0, sizeof(*o));
	o->head.t_ns = now;
	o->head.pid = c->pid;
	o->head.kind = KT_OPEN;
	o->gen = c->gen;
	o->obj = c->obj;
	o->fd = c->fd;
	o->tls = c->tls;
	o->origin = c->origin;
	o->late = c->late;
	if (sk)
		sock_endpoints(sk, o);
}

/* Sends OPEN. Without it nothing of the connection is sent: bytes of a connection that nobody knows are useless. */
static __noinline int open_conn(struct kt_conn *c)
{
	struct sock *sk = c->fd >= 0 ? tcp_sock(file_at(c->fd)) : 0;
	__u64 now = bpf_ktime_get_ns();
	struct kt_open *o = bpf_ringbuf_reserve(&ctl, sizeof(*o), 0);

	if (o) {
		fill_open(o, c, sk, now);
		bpf_ringbuf_submit(o, BPF_RB_NO_WAKEUP);
	} else {
		/* Better in the other ring than nowhere. */
		o = bpf_ringbuf_reserve(&data, sizeof(*o), 0);
		if (!o) {
			count(KT_STAT_LOST_CTL);
			return -1;
		}
		fill_open(o, c, sk, now);
		bpf_ringbuf_submit(o, BPF_RB_NO_WAKEUP);
	}
	c->opened = 1;
	c->told = 0;
	return 0;
}

static __always_inline void fill_close(struct kt_close *r, struct kt_conn *c, __u64 now, __u32 limited)
{
	r->head.t_ns = now;
	r->head.pid = c->pid;
	r->head.kind = KT_CLOSE;
	r->gen = c->gen;
	r->obj = c->obj;
	r->pos[0] = c->pos[0];
	r->pos[1] = c->pos[1];
	r->tls = c->tls;
	r->limited = limited;
}

/* Sends CLOSE if user space knows the connection. The entry stays: the caller removes it or makes it anew. */
static __noinline int end_conn(struct kt_conn *c, __u32 limited)
{
	struct kt_close *r;
	__u64 now;

	if (c->speech == KT_SPEECH_HTTP2)
		h2_end(c);
	if (!c->opened)
		return 0;
	settle(c, KT_IN);
	settle(c, KT_OUT);
	c->opened = 0;
	now = bpf_ktime_get_ns();
	r = bpf_ringbuf_reserve(&ctl, sizeof(*r), 0);
	if (r) {
		fill_close(r, c, now, limited);
		bpf_ringbuf_submit(r, BPF_RB_NO_WAKEUP);
		return 0;
	}
	r = bpf_ringbuf_reserve(&data, sizeof(*r), 0);
	if (r) {
		fill_close(r, c, now, limited);
		bpf_ringbuf_submit(r, BPF_RB_NO_WAKEUP);
		return 0;
	}
	count(KT_STAT_LOST_CTL);
	return -1;
}

static __always_inline int close_conn(struct kt_conn *c)
{
	return end_conn(c, 0);
}

/* A new life under this key; whatever the key stood for before must have been closed. NULL: no room. */
static __noinline struct kt_conn *conn_new(struct kt_conn_key *key, __u64 file, __s32 fd, __u32 origin)
{
	struct kt_conn c = {
		.gen = bpf_ktime_get_ns(),
		.obj = key->obj,
		.file = file,
		.pid = key->pid,
		.fd = fd,
		.skips_seen = skips_epoch,
		.tls = key->tls,
		.origin = origin,
		.upstream = origin == KT_CONNECTED,
	};

	if (bpf_map_update_elem(&conns, key, &c, BPF_ANY)) {
		count(KT_STAT_MAP_FULL);
		return 0;
	}
	return bpf_map_lookup_elem(&conns, key);
}

/* accept or connect gave fd a new socket. A spare comes to hear of it once more. */
static __noinline int conn_begins(__u32 pid, __s32 fd, __u32 origin, bool spare)
{
	struct kt_conn_key key = {.obj = (__u32)fd, .pid = pid};
	struct kt_conn *old = bpf_map_lookup_elem(&conns, &key);
	__u64 file = file_at(fd);

	if (old) {
		/* A second connect(2) that asks how the first one went. */
		if (old->file == file && old->origin == origin && (spare || origin == KT_CONNECTED))
			return 0;
		close_conn(old);
		bpf_map_delete_elem(&conns, &key);
	}
	if (tcp_sock(file))
		conn_new(&key, file, fd, origin);
	return 0;
}

static __noinline int conn_ends(__u32 pid, __u64 obj, __u32 tls)
{
	struct kt_conn_key key = {.obj = obj, .pid = pid, .tls = tls};
	struct kt_conn *c = bpf_map_lookup_elem(&conns, &key);

	if (!c)
		return 0;
	close_conn(c);
	bpf_map_delete_elem(&conns, &key);
	return 0;
}

/* The clear stream of fd, made at first sight. NULL: no TCP socket, or no room. */
static __always_inline struct kt_conn *conn_of_fd(__u32 pid, __s32 fd)
{
	struct kt_conn_key key = {.obj = (__u32)fd, .pid = pid};
	struct kt_conn *c = bpf_map_lookup_elem(&conns, &key);
	__u64 file = file_at(fd);

	if (c && c->file == file)
		return c;
	if (c) {
		/* The fd became another connection without a close that could be seen (dup2, close_range). */
		close_conn(c);
		bpf_map_delete_elem(&conns, &key);
	}
	if (!tcp_sock(file))
		return 0;
	return conn_new(&key, file, fd, KT_UNKNOWN);
}

/* From here on fd carries TLS: what it moves itself is of no interest. Returns how the connection began. */
static __noinline int conn_is_cipher(__u32 pid, __s32 fd)
{
	struct kt_conn *c = conn_of_fd(pid, fd);

	if (!c)
		return KT_UNKNOWN;
	if (c->state != KT_CIPHER) {
		close_conn(c); /* a PROXY preamble, or a start in clear that became TLS */
		c->state = KT_CIPHER;
	}
	return c->origin;
}

/* User space may have said since that it needs less of this connection. */
static __noinline int conn_skips(struct kt_conn *c)
{
	struct kt_conn_key key = {.obj = c->obj, .pid = c->pid, .tls = c->tls};
	struct kt_skip *s;

	c->skips_seen = skips_epoch;
	s = bpf_map_lookup_elem(&skips, &key);
	if (!s || s->gen != c->gen)
		return 0;
	/* What is known here already may be of a later message. */
	for (__u32 dir = 0; dir < 2; dir++) {
		if (s->until[dir] <= c->skip[dir])
			continue;
		c->skip_from[dir] = s->from[dir];
		c->skip[dir] = s->until[dir];
	}
	return 0;
}

/* Whole connections, the same ones as long as the mask stays, and of these a part when it grows. The upstream legs of
 * many calls share one connection, so these are never left out. User space hears of the end of what it knew. */
static __noinline int is_left_out(struct kt_conn *c)
{
	if (c->origin != KT_ACCEPTED || !((__u32)(c->gen * 0x9E3779B97F4A7C15ull >> 32) & sample_mask)) {
		c->left_out = 0;
		return 0;
	}
	if (!c->left_out) {
		c->left_out = 1;
		count(KT_STAT_LEFT_OUT);
		end_conn(c, 1);
		c->late = 1;
	}
	return 1;
}

/* One side has sent so much in a row that user space may have something to say about the rest: it is to hear of it at
 * once, not when the ring has filled up. */
static __always_inline void count_run(struct kt_io *io, struct kt_conn *c)
{
	io->wake = 0;
	if (c->run_dir != io->dir) {
		if (io->n < TURN_BYTES)
			return;
		c->run_dir = io->dir;
		c->run = 0;
	}
	if (io->n < RUN_BYTES && c->run + io->n < RUN_BYTES) {
		c->run += io->n;
		return;
	}
	c->run = 0;
	io->wake = 1;
}

/* The call that io describes, on its way out. */
static __noinline int conn_moved(struct kt_io *io, struct kt_conn *c)
{
	if (is_left_out(c)) {
		c->pos[io->dir & 1] += io->n;
		return 0;
	}
	if (c->skips_seen != skips_epoch)
		conn_skips(c);
	if (passed_over(io, c))
		return 0;
	if (c->speech == KT_SPEECH_UNKNOWN)
		learn_speech(io, c);
	io->budget = call_bytes;
	io->hole = io->owes = 0;
	io->cut = io->unended = 0;
	if (c->speech == KT_SPEECH_HTTP1 && beyond_turn(io, c))
		return 0;
	if (!c->opened && open_conn(c)) {
		if (c->speech == KT_SPEECH_HTTP2)
			h2_end(c);
		c->pos[io->dir & 1] += io->n + io->owes;
		return 0;
	}
	settle(c, io->dir);
	c->more = io->cut;
	count_run(io, c);
	if (have_loop() && c->speech == KT_SPEECH_HTTP2) {
		struct kt_h2 *h = h2_of(c);

		if (h)
			h2_begin_late(io, c, &h->dir[io->dir & 1]);
		if (h && h->dir[io->dir & 1].on && io->shape != KT_NODATA)
			return h2_emit(io, c, h);
		h2_passed(c, io->dir, io->n);
	}
	emit(io, c);
	owe_quietly(c, io->dir, io->owes);
	return 0;
}

#endif
