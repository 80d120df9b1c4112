/* process: what the agent itself takes of the machine. */
#ifndef KT_OPS_PROCESS_H
#define KT_OPS_PROCESS_H

#include <stdint.h>

struct process_facts {
	uint64_t cpu_ns; /* user and system, all threads */
	uint64_t resident_bytes, resident_peak_bytes, virtual_bytes;
	uint64_t open_fds, max_fds, threads;
};

/* Opens what is read later, since by then the agent may not be allowed to. Call it once, first; tells when the process
 * was started, wall clock, ns (0: not known). */
uint64_t process_start(void);
/* CPU time so far, all threads. Any thread. */
uint64_t process_cpu_ns(void);
/* A fact that cannot be read is 0. One thread at a time. */
void process_read(struct process_facts *ret);

#endif
