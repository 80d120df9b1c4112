/* seccomp: the system calls that the agent makes once it runs; everything else is refused.
 *
 * Refused means an error, not death: the agent must not fall over because a C library of next year prefers a new call.
 * A call that no program of this kind has a reason to make (exec, ptrace, mount, setuid, …) gets EPERM. One that is
 * merely not on the list gets ENOSYS, as from an older kernel: that is the answer that libraries are written for, and
 * they fall back to what they did before. The kernel is not asked to log refusals: the C library tries clone3 for each
 * thread first, and is refused each time (its flags lie in memory, where a filter cannot look).
 */
#ifndef KT_OPS_SECCOMP_H
#define KT_OPS_SECCOMP_H

/* Binds all threads of the process, for good. Sets no_new_privs. 0 or negative errno. */
int seccomp_confine(void);

#endif
