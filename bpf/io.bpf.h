/* io: what the socket system calls moved, seen at their exit. */
#ifndef KT_BPF_IO_H
#define KT_BPF_IO_H

#include "conn.bpf.h"

#include <bpf/bpf_tracing.h>

#define EINPROGRESS 115
#define MSG_OOB 0x1
#define MSG_PEEK 0x2
#define MSG_TRUNC 0x20
#define MSG_ERRQUEUE 0x2000

enum call {
	CALL_NONE,
	CALL_ACCEPT,
	CALL_CONNECT,
	CALL_CLOSE,
	CALL_READ,
	CALL_RECVFROM,
	CALL_READV,
	CALL_RECVMSG,
	CALL_WRITE,
	CALL_SENDTO,
	CALL_WRITEV,
	CALL_SENDMSG,
	CALL_SENDFILE,
};

static __always_inline struct kt_watch *watch_of(__u32 pid)
{
	struct kt_watch *w;

	if (!ready)
		return 0;
	w = bpf_map_lookup_elem(&watched, &pid);
	return w && (w->flags & KT_WATCH_TRAFFIC) ? w : 0;
}

/* Where programs at system calls can be preempted, the kernel leaves out the run of one that is under way on this CPU
 * for another process. So there is a second of each, a spare, which comes after the first and has something to do only
 * where that one was left out. What tells is the number that TCP gives to the next byte: each call that moves any has
 * its own. */
static __noinline __u32 next_byte(__s32 fd, __u32 dir)
{
	struct sock *sk = tcp_sock(file_at(fd));
	struct tcp_sock *tcp = (struct tcp_sock *)sk;

	if (!sk || BPF_CORE_READ(sk, sk_protocol) != IPPROTO_TCP)
		return 0;
	return dir == KT_OUT ? BPF_CORE_READ(tcp, write_seq) : BPF_CORE_READ(tcp, copied_seq);
}

static __always_inline bool seen_already(struct kt_conn *c, __s32 fd, __u32 dir, __u32 spare)
{
	__u32 seq;

	if (!use_spares)
		return false;
	seq = next_byte(fd, dir);
	if (spare && (!seq || seq == c->seq[dir & 1]))
		return true;
	c->seq[dir & 1] = seq;
	return false;
}

/* TLS records begin with a type of 20 to 23 and version 3.x; no HTTP message does. What is shorter than three bytes is
 * believed only where it is the first that the connection moved. */
static __noinline int looks_cipher(struct kt_io *io, __u32 origin)
{
	__u8 b[3] = {};
	__u64 at = io->at, n = io->n;
	struct iovec v;

	if (io->shape == KT_SEGMENTS) {
		if (bpf_probe_read_user(&v, sizeof(v), (void *)at))
			return 0;
		at = (__u64)v.iov_base;
		if (n > v.iov_len)
			n = v.iov_len;
	}
	if (n >= 3) {
		if (bpf_probe_read_user(b, 3, (void *)at))
			return 0;
		return b[0] >= 20 && b[0] <= 23 && b[1] == 3 && b[2] <= 4;
	}
	if (origin == KT_UNKNOWN || !n || bpf_probe_read_user(b, 1, (void *)at))
		return 0;
	return b[0] >= 20 && b[0] <= 23;
}

static __noinline int on_moved(struct kt_watch *w)
{
	struct kt_io *io = &w->io;
	struct kt_conn *c;

	if (w->call.active) {
		/* Under a call into the TLS library: ciphertext. All that it tells is the fd. */
		w->call.fd = io->fd;
		return 0;
	}
	c = conn_of_fd(bpf_get_current_pid_tgid() >> 32, io->fd);
	if (!c)
		return 0;
	if (c->state == KT_UNDECIDED && io->shape != KT_NODATA)
		c->state = looks_cipher(io, c->origin) ? KT_CIPHER : KT_CLEAR;
	return c->state == KT_CIPHER || seen_already(c, io->fd, io->dir, io->spare) ? 0 : conn_moved(io, c);
}

/* Bytes that went from file to socket, in whichever thread. */
static __noinline int on_sendfile(__s32 fd, __u64 n, bool spare)
{
	struct kt_conn *c = conn_of_fd(bpf_get_current_pid_tgid() >> 32, fd);

	if (!c || c->state == KT_CIPHER || seen_already(c, fd, KT_OUT, spare))
		return 0;
	if (!is_left_out(c) && (c->opened || !open_conn(c))) {
		settle(c, KT_OUT);
		if (c->speech == KT_SPEECH_HTTP2)
			h2_passed(c, KT_OUT, n);
		c->more = 0;
		put_gap(c, KT_OUT, c->pos[KT_OUT], n, KT_CAUSE_NODATA);
	} else if (c->speech == KT_SPEECH_HTTP2) {
		h2_end(c);
	}
	c->pos[KT_OUT] += n;
	return 0;
}

/* `typed`: regs is a pointer that the verifier knows, so a plain load will do. */
#define ARG(i) (typed ? (__u64)PT_REGS_PARM##i##_SYSCALL(regs) : (__u64)PT_REGS_PARM##i##_CORE_SYSCALL(regs))

/* recvfrom and recvmsg may look without taking, or take without giving. */
static __always_inline bool flags_take(struct kt_io *io, __u64 flags)
{
	if (flags & (MSG_PEEK | MSG_OOB | MSG_ERRQUEUE))
		return false;
	if (flags & MSG_TRUNC)
		io->shape = KT_NODATA;
	return true;
}

static __always_inline void segments_of_msg(struct kt_io *io)
{
	struct user_msghdr h;

	io->shape = KT_NODATA;
	if (bpf_probe_read_user(&h, sizeof(h), (void *)io->at))
		return;
	io->shape = KT_SEGMENTS;
	io->at = (__u64)h.msg_iov;
	io->segments = h.msg_iovlen;
}

/* A call that moves bytes through memory. Main thread only: `io` is its own. */
static __always_inline int on_transfer(struct kt_watch *w, __u32 call, struct pt_regs *regs, const bool typed, __u64 n)
{
	struct kt_io *io = &w->io;
	__u64 flags = 0;

	io->fd = ARG(1);
	io->at = ARG(2);
	io->n = n;
	io->dir = call >= CALL_WRITE ? KT_OUT : KT_IN;
	io->shape = KT_BUFFER;
	switch (call) {
	case CALL_RECVFROM:
		flags = ARG(4);
		break;
	case CALL_READV:
	case CALL_WRITEV:
		io->shape = KT_SEGMENTS;
		io->segments = ARG(3);
		break;
	case CALL_RECVMSG:
		flags = ARG(3);
		segments_of_msg(io);
		break;
	case CALL_SENDMSG:
		segments_of_msg(io);
		break;
	default:
		break;
	}
	return flags_take(io, flags) ? on_moved(w) : 0;
}

/* One system call, at its exit. `regs` still holds its arguments. */
static __always_inline int on_syscall(
	struct kt_watch *w, __u32 call, struct pt_regs *regs, const bool typed, long ret, const bool spare)
{
	__u64 id = bpf_get_current_pid_tgid();
	__u32 pid = id >> 32;

	switch (call) {
	case CALL_ACCEPT:
		return ret >= 0 ? conn_begins(pid, ret, KT_ACCEPTED, spare) : 0;
	case CALL_CONNECT:
		return ret == 0 || ret == -EINPROGRESS ? conn_begins(pid, ARG(1), KT_CONNECTED, spare) : 0;
	case CALL_CLOSE:
		return conn_ends(pid, (__u32)ARG(1), 0);
	case CALL_SENDFILE:
		return ret > 0 ? on_sendfile(ARG(1), ret, spare) : 0;
	default:
		if (ret <= 0 || pid != (__u32)id)
			return 0;
		w->io.spare = spare;
		return on_transfer(w, call, regs, typed, ret);
	}
}

#endif
