/* tls: plaintext, where it passes the TLS library. A call is noted where it begins and read where it returns, when the
 * buffer holds what was moved whichever way it went.
 */
#ifndef KT_BPF_TLS_H
#define KT_BPF_TLS_H

#include "io.bpf.h"

/* More than any call moves: a larger count is not a count. */
#define TLS_CALL_MAX (1ull << 30)

/* Uprobe programs can be preempted since 6.0, and since 6.13 a preempted one may find its stack overwritten by the next
 * that runs on the same CPU. */
#ifndef KT_UNTYPED
extern void bpf_preempt_disable(void) __weak __ksym;
extern void bpf_preempt_enable(void) __weak __ksym;
#endif

static __always_inline void guard(void)
{
#ifndef KT_UNTYPED
	if (use_guard && bpf_preempt_disable)
		bpf_preempt_disable();
#endif
}

static __always_inline void unguard(void)
{
#ifndef KT_UNTYPED
	if (use_guard && bpf_preempt_disable)
		bpf_preempt_enable();
#endif
}

/* The main thread of a watched process, which is the one that an nginx worker calls the library from. */
static __always_inline struct kt_watch *tls_watch(void)
{
	__u64 id = bpf_get_current_pid_tgid();

	return (__u32)id == id >> 32 ? watch_of(id >> 32) : 0;
}

static __always_inline int tls_enter(__u64 ssl, __u64 buf, __u64 count_ptr, __u32 dir)
{
	struct kt_watch *w = tls_watch();

	if (!w)
		return 0;
	tally(KT_STAT_TLS_CALLS);
	w->call.ssl = ssl;
	w->call.buf = buf;
	w->call.count_ptr = count_ptr;
	w->call.fd = -1;
	w->call.dir = dir;
	w->call.active = 1;
	return 0;
}

/* The fd of a socket BIO, or -1. Which of the two layouts it has shows by where its `init` flag is 1. */
static __always_inline __s32 bio_fd(__u64 bio)
{
	struct {
		__u32 at20, at24, at28, at2c, at30, at34, at38, at3c;
	} b;

	if (!bio || bpf_probe_read_user(&b, sizeof(b), (void *)(bio + 0x20)))
		return -1;
	if (b.at20 == 1 && b.at24 <= 1)
		return b.at30; /* OpenSSL 1.1.1 */
	if (b.at28 == 1 && b.at2c <= 1)
		return b.at38; /* OpenSSL 3 */
	return -1;
}

/* The library's own structure, believed only where it leads to a TCP socket that the process has. SSL.rbio is at 0x10
 * up to 3.1, at 0x48 or 0x50 since. */
static __noinline int ssl_fd(__u64 ssl)
{
	static const __u32 places[] = {0x10, 0x48, 0x50};
	__u64 bio;
	__s32 fd;

#pragma unroll
	for (int i = 0; i < 3; i++) {
		if (bpf_probe_read_user(&bio, sizeof(bio), (void *)(ssl + places[i])))
			continue;
		fd = bio_fd(bio);
		if (fd >= 0 && tcp_sock(file_at(fd)))
			return fd;
	}
	return -1;
}

static __always_inline void tls_learn_fd(struct kt_watch *w, struct kt_conn *c)
{
	__s32 seen = w->call.fd, fd;

	if (c->fd >= 0 && (seen < 0 || seen == c->fd))
		return;
	/* A system call under this one is the last word, if it was on a socket at all (there is /dev/urandom too). */
	fd = seen >= 0 && tcp_sock(file_at(seen)) ? seen : c->fd >= 0 ? c->fd : ssl_fd(c->obj);
	if (fd < 0 || fd == c->fd)
		return;
	c->fd = fd;
	c->origin = conn_is_cipher(c->pid, fd);
	c->opened = 0; /* tell user space again, with the fd */
}

/* One whose SSL_set_fd was not seen may be of any age: its socket may well have been accepted under our eyes, before
 * the library of a new worker was probed. */
static __always_inline struct kt_conn *conn_of_ssl(__u32 pid, __u64 ssl)
{
	struct kt_conn_key key = {.obj = ssl, .pid = pid, .tls = 1};
	struct kt_conn *c = bpf_map_lookup_elem(&conns, &key);

	if (c)
		return c;
	c = conn_new(&key, 0, -1, KT_UNKNOWN);
	if (c)
		c->late = 1;
	return c;
}

static __noinline int tls_moved(struct kt_watch *w)
{
	struct kt_conn *c = conn_of_ssl(bpf_get_current_pid_tgid() >> 32, w->call.ssl);

	if (!c)
		return 0;
	tls_learn_fd(w, c);
	w->io.at = w->call.buf;
	w->io.dir = w->call.dir;
	w->io.shape = KT_BUFFER;
	return conn_moved(&w->io, c);
}

static __always_inline int tls_leave(__s32 ret)
{
	struct kt_watch *w = tls_watch();
	__u64 n = (__u32)ret;

	if (!w || !w->call.active)
		return 0;
	tally(KT_STAT_TLS_CALLS);
	w->call.active = 0;
	if (ret <= 0)
		return 0;
	if (w->call.count_ptr && bpf_probe_read_user(&n, sizeof(n), (void *)w->call.count_ptr))
		return 0;
	if (!n || n > TLS_CALL_MAX)
		return 0;
	w->io.n = n;
	return tls_moved(w);
}

/* A new connection under this pointer. */
static __always_inline int tls_begins(__u64 ssl, __s32 fd)
{
	__u32 pid = bpf_get_current_pid_tgid() >> 32;
	struct kt_conn_key key = {.obj = ssl, .pid = pid, .tls = 1};

	if (!tls_watch())
		return 0;
	conn_ends(pid, ssl, 1);
	conn_new(&key, 0, fd, conn_is_cipher(pid, fd));
	return 0;
}

static __always_inline int tls_ends(__u64 ssl)
{
	if (!tls_watch())
		return 0;
	return conn_ends(bpf_get_current_pid_tgid() >> 32, ssl, 1);
}

#endif
