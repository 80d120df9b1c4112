/* kernel: the programs of bpf/ in the running kernel, and their maps. Everything that others say to the kernel side
 * goes through here.
 */
#ifndef KT_CAPTURE_KERNEL_H
#define KT_CAPTURE_KERNEL_H

#include "capture/features.h"
#include "capture/record.h"

struct kernel;

struct kernel_options {
	uint64_t ring_bytes; /* data ring; made a power of two, at least 64 KiB */
	uint32_t call_bytes;
	const char *btf; /* file with the running kernel's types; NULL: it has them itself */
};

/* Loads, and attaches what follows the life of processes. NULL and errno, the reason logged:
 * EPERM, ENOTSUP, ENOMEM, ENOENT; EBADMSG: o->btf is not of the running kernel. */
struct kernel *kernel__open(const struct features *f, const struct kernel_options *o);
/* Opens the gate. */
void kernel__go(struct kernel *k);
/* Look at system calls, or do so no more. It taxes those of every process of the host: on before the first process is
 * watched, off when there is none. Off takes its time (tens of milliseconds). 0 or negative errno, logged. */
int kernel__tap(struct kernel *k, bool on);

/* The rings: descriptors for epoll, and for ring__open with their sizes. */
int kernel__data_fd(const struct kernel *k);
int kernel__control_fd(const struct kernel *k);
size_t kernel__data_size(const struct kernel *k);
size_t kernel__control_size(const struct kernel *k);

/* Watch a process: capture its traffic, follow its children. Replaces what was said before. 0 or negative errno. */
int kernel__watch(struct kernel *k, uint32_t pid, bool traffic, bool forks);
void kernel__unwatch(struct kernel *k, uint32_t pid);
/* Is its traffic captured, by what was said above or because a process whose children are followed forked it? */
bool kernel__captures(const struct kernel *k, uint32_t pid);
/* Forget the connections of a process that is gone. */
void kernel__sweep(struct kernel *k, uint32_t pid);
/* These bytes of this connection need not be copied; until UINT64_MAX: none of all that come. `useless` by enum
 * direction. It replaces what was said before. 0 or negative errno. */
/* How much of a body is wanted, on client legs; of those on upstream legs nothing is. The kernel copies no more, or not
 * much more, from here on; until this is called it copies everything. */
void kernel__bodies(struct kernel *k, uint32_t request, uint32_t response);
/* Of bodies of these media types (type/subtype or type/star, no parameters) nothing is wanted; replaces what was said
 * before. In force after kernel__bodies only. What is too long for the kernel's list, or beyond KT_TYPES, is copied. */
void kernel__exclude(struct kernel *k, char *const *types, size_t n);
/* What the kernel has passed over in a direction and not told yet. 0; -ENOENT: the connection is over. */
struct kernel_owed {
	uint64_t pos;  /* after the last byte that moved */
	uint64_t owed; /* bytes up to pos that were passed over and not told */
	uint64_t t_ns; /* when the last of them moved */
};
int kernel__owed(const struct kernel *k, const struct conn_key *key, enum direction dir, struct kernel_owed *ret);
int kernel__skip(struct kernel *k, const struct conn_key *key, const struct byte_range useless[2]);
/* The connection is over: its place is free again. What the programs have read of it they go on with. */
void kernel__over(struct kernel *k, const struct conn_key *key);
/* Of accepted connections only those whose number has none of these bits set; 0: all. */
void kernel__sample(struct kernel *k, uint32_t mask);
/* Takes all hooks on system calls away and forgets all connections; processes are followed on. The caller has detached
 * the TLS library before. */
void kernel__pause(struct kernel *k);
/* Puts them back. 0 or negative errno, the reason logged: it is paused still. */
int kernel__resume(struct kernel *k);
/* Brings the agent's counters up to the programs'. */
void kernel__counters(struct kernel *k);
/* Records that found no room so far, in either ring. Cheap, but looks at a line of memory of each CPU. */
uint64_t kernel__lost(const struct kernel *k);

/* Programs for the TLS library. COUNTED ones take the number of bytes from where the fourth argument points to. */
enum tls_prog {
	TLS_RETURN, /* after any of the next four */
	TLS_READ,
	TLS_READ_COUNTED,
	TLS_WRITE,
	TLS_WRITE_COUNTED,
	TLS_SET_FD,
	TLS_FREE,
	TLS_PROG_COUNT_,
};

struct tls_site {
	enum tls_prog prog;
	uint64_t offset; /* in the file */
	bool at_return;
};

struct tls_links;

/* In the file that `path` leads to now; pid 0: in every process that maps it. All or nothing. NULL and errno. */
struct tls_links *kernel__attach_tls(
	struct kernel *k, const char *path, uint32_t pid, const struct tls_site *sites, size_t n);
void kernel__detach_tls(struct tls_links *l); /* NULL is fine */

void kernel__close(struct kernel *k); /* NULL is fine; after kernel__detach_tls */

#endif
