/* toll: what a hook costs on this machine, measured on a function and on system calls of our own. What a probe costs is
 * the trap, hardly the program under it; it differs tenfold between machines, and between instructions.
 */
#ifndef KT_CAPTURE_TOLL_H
#define KT_CAPTURE_TOLL_H

#include "capture/kernel.h"
#include "capture/source.h"

/* Nanoseconds that the agent's two probes add to a call of a function that looks like SSL_read: `placed` on the call
 * and the jump inside it, else at its entry and at its return. By the programs as they treat a process that is not
 * watched. Takes about 10 ms, and at most 200. 0; -ENOTSUP: no such placement on this architecture; other negative
 * errno. */
int toll_probes(struct kernel *k, const struct features *f, bool placed, double *ret_ns);

/* As on the machines that were measured. */
extern const struct hook_costs toll_usual;
/* Of a measured time what may be believed: within TOLL_FACTOR_MAX of the usual one. */
#define TOLL_FACTOR_MAX 16
uint32_t toll_believed(double measured_ns, uint32_t usual);
/* What can be measured on this machine, as toll_probes does it; the rest is as usual: a system call always, since
 * what is dear about it is the program, not the way into it. True when something was. */
bool toll_measure(struct kernel *k, const struct features *f, struct hook_costs *ret);

/* What runs have taken so far. What one takes may change on the way; those that were are not reckoned anew, so the sum
 * only grows. Zeroed at the beginning. */
struct toll_sum {
	uint64_t runs, ns;
};
/* `runs` have been by now, and those that are new took this much each. */
void toll_sum__add(struct toll_sum *t, uint64_t runs, uint32_t ns_each);

/* Nanoseconds of a short system call of this process, as the machine is now. */
struct toll_calls {
	double hooked; /* read, which the agent watches */
	double other;  /* getppid, which nobody watches */
};
/* Takes about 20 ms. */
void toll_calls(struct toll_calls *ret);

#endif
