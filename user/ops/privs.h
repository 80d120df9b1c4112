/* privs: what the agent may do, and giving up what it need not.
 *
 * Attaching and reading other processes goes on for as long as the agent runs: nodes and libraries come and go. So the
 * thread that captures keeps five capabilities (CAP_BPF, CAP_PERFMON, CAP_SYS_PTRACE, CAP_DAC_READ_SEARCH,
 * CAP_CHECKPOINT_RESTORE), and CAP_SYS_ADMIN only where the kernel lets nobody else place uprobes. The threads that
 * talk to the network keep none. A system call filter binds all of them; see seccomp.h.
 */
#ifndef KT_OPS_PRIVS_H
#define KT_OPS_PRIVS_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

struct privs_options {
	bool keep_admin; /* what is attached later will need CAP_SYS_ADMIN */
	bool no_filter;	 /* no system call filter: for a kernel or a library that it does not suit */
};

/* First thing in the process: no core dumps, nothing readable by its own user's other processes; as many open files as
 * there may be, within reason. */
void privs_start(void);

/* Calls fn(ctx) in a thread without any capability and returns what it returns. Threads that fn starts have none
 * either: capabilities belong to threads, and a new thread has those of its maker. -EAGAIN when no thread can be had;
 * what is not fn's own error is logged. */
int privs_without(int (*fn)(void *ctx), void *ctx);

/* A net under the limits of the stages: from here on the process may map this much more of its own memory, and stacks
 * for a few threads, and an allocation beyond it fails. 0 or negative errno. */
int privs_bound_memory(uint64_t more);

/* After everything is attached: gives up what is not needed from here on, in this thread; sets no_new_privs and the
 * filter, in all threads. 0, or negative errno when capabilities could not be given up. A filter that the kernel
 * refuses is logged and not an error: the agent must run on kernels without it. */
int privs_drop(const struct privs_options *o);

/* Would attaching by perf events need CAP_SYS_ADMIN on this kernel? Tries it. (Debian's kernels with
 * kernel.perf_event_paranoid 3 do not take CAP_PERFMON for tracepoints, from 6.12 on.) */
bool privs_uprobes_want_admin(void);
bool privs_tracepoints_want_admin(void);

/* For `kongtap check`: which capabilities are needed, which are there. 0 all that is needed, 1 something lacks. */
int privs_check(FILE *out);

#endif
