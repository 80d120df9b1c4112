/* toll: what a hook costs on this machine, measured on a function and on system calls of our own. What a probe costs is
 * the trap, hardly the program under it; it differs tenfold between machines, and between instructions.
 */
#ifndef KT_CAPTURE_TOLL_H
#define KT_CAPTURE_TOLL_H

#include "capture/kernel.h"

/* Nanoseconds that the agent's two probes add to a call of a function that looks like SSL_read: `placed` on the call
 * and the jump inside it, else at its entry and at its return. By the programs as they treat a process that is not
 * watched. Takes about 10 ms, and at most 200. 0; -ENOTSUP: no such placement on this architecture; other negative
 * errno. */
int toll_probes(struct kernel *k, const struct features *f, bool placed, double *ret_ns);

/* Nanoseconds of a short system call of this process, as the machine is now. */
struct toll_calls {
	double hooked; /* read, which the agent watches */
	double other;  /* getppid, which nobody watches */
};
/* Takes about 20 ms. */
void toll_calls(struct toll_calls *ret);

#endif
