/* procfs: what /proc tells of other processes, and their files as they see them. All of it may vanish or change between
 * two reads, and a container's files are its owner's to arrange: every read has a limit, and no path leads out of the
 * process's own root.
 */
#ifndef KT_CAPTURE_PROCFS_H
#define KT_CAPTURE_PROCFS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* /proc/PID/NAME, at most size - 1 bytes, NUL-terminated. Length, or negative errno (-ENOENT, -ESRCH: gone). */
ssize_t proc_read(uint32_t pid, const char *name, char *ret, size_t size);
/* A whole file of /proc, shorter than max bytes. Caller frees. NULL and errno. */
char *proc_read_all(uint32_t pid, const char *name, size_t max, size_t *ret_len);
/* Line by line in constant memory, until fn says false. An unfinished or overlong line ends it. 0 or negative errno. */
int proc_each_line(uint32_t pid, const char *name, bool (*fn)(void *ctx, const char *line), void *ctx);

struct proc_stat {
	uint32_t ppid;
	uint64_t start; /* clock ticks since boot: with the pid, a name that is never used again */
	/* Where its code and its stack begin: a forked process has both of its parent, one that became another program
	 * has others. 0: not to be known. */
	uint64_t code, stack;
	char state;
	char comm[64];
};

/* Same program, same memory: the one is a fork of the other, or both are of a third. */
static inline bool proc_same_image(const struct proc_stat *a, const struct proc_stat *b)
{
	return a->stack && a->stack == b->stack && a->code == b->code;
}

/* 0 or negative errno. */
int proc_stat(uint32_t pid, struct proc_stat *ret);
/* Seconds since it started. */
uint64_t proc_age(const struct proc_stat *st);
/* The command line with spaces for NULs. Length or negative errno. */
ssize_t proc_title(uint32_t pid, char *ret, size_t size);
/* Does it go by the host's name? So does a pod that is in the host's network. */
bool proc_has_hosts_name(uint32_t pid);
/* Opens a regular file of the process's own tree (mount namespace and root), read-only. What the kernel makes up
 * (/proc, /sys) is none. Descriptor or negative errno. */
int proc_open_file(uint32_t pid, const char *path);
/* Such a file as a whole, shorter than max bytes. Caller frees. NULL and errno. */
char *proc_file(uint32_t pid, const char *path, size_t max, size_t *ret_len);

/* Calls fn with each process id in /proc. 0 or negative errno; stops early when fn returns false. */
int proc_each(bool (*fn)(void *ctx, uint32_t pid), void *ctx);

#endif
