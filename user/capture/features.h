/* features: what this kernel has, found out by trying. Never by its version: distributions backport and take away. */
#ifndef KT_CAPTURE_FEATURES_H
#define KT_CAPTURE_FEATURES_H

#include <stdbool.h>
#include <stddef.h>

enum feature {
	FEATURE_BTF,	   /* needed: types of the running kernel */
	FEATURE_BPF,	   /* needed: programs may be loaded at all */
	FEATURE_RINGBUF,   /* needed: 5.8 */
	FEATURE_TRACEFS,   /* tracepoints by name; else all system calls through one hook */
	FEATURE_PT_REGS,   /* arguments at the exit of a call (5.15); else as above */
	FEATURE_LOOP,	   /* bpf_loop (5.17): vectored calls in one record */
	FEATURE_GUARD,	   /* bpf_preempt_disable (6.10) */
	FEATURE_EXACT,	   /* bpf_probe_read_user_dynptr (6.17): records of exact size; else of a few */
	FEATURE_STEADY,	   /* programs at system calls are not preempted (before 7.2); else each has a spare */
	FEATURE_TELL,	   /* maps changed by a program that the agent runs (5.14); else by bpf(2) */
	FEATURE_UPROBES,   /* needed for TLS: uprobes at all */
	FEATURE_MULTI,	   /* one link for many uprobes (6.6); else one each */
	FEATURE_MAP_FILES, /* /proc/PID/map_files: the very file that is mapped; else its path */
	FEATURE_PLACEMENT, /* not of the kernel: probes on instructions inside SSL_read and SSL_write */
	FEATURE_COUNT_,
};

struct features {
	bool has[FEATURE_COUNT_];
	int why[FEATURE_COUNT_];     /* errno of the attempt, 0 when it is there */
	bool forced[FEATURE_COUNT_]; /* told to do without it */
	bool untyped;		     /* the kernel has no types of its own: they come from a file */
};

/* Tries everything. `force`: comma list of names to do without, NULL: none. `btf`: file with the kernel's types, NULL:
 * none; it is used even where the kernel has them itself, and FEATURE_BTF is missing where it cannot be (EBADMSG: it
 * holds none, or not a kernel's). 0; -EINVAL: a name in `force` is unknown (then logged). */
int features_probe(const char *force, const char *btf, struct features *ret);

/* "loop", … */
const char *feature_name(enum feature f);
/* One line of English: what it is good for. */
const char *feature_text(enum feature f);
bool feature_needed(enum feature f);

/* Is this process in the host's PID namespace, in which the kernel side names processes? */
bool features_host_pids(void);

#endif
