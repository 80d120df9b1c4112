/* tls_attach: probes in the TLS libraries that workers map. A library is probed once however many workers map it, for
 * as long as one of them lives; one that the whole host uses is probed in the workers alone.
 */
#ifndef KT_CAPTURE_TLS_ATTACH_H
#define KT_CAPTURE_TLS_ATTACH_H

#include "capture/kernel.h"
#include "capture/tlslib.h"

#define TLS_SITES_MAX 32
#define TLS_TEXT_MAX 400

/* What would be probed in a process, and how. */
struct tls_plan {
	struct tlslib lib;
	struct tls_site sites[TLS_SITES_MAX];
	size_t n;		 /* 0: nothing, `text` says why */
	bool placed;		 /* both SSL_read and SSL_write on instructions inside them */
	bool one_process;	 /* the library is everybody's: probes in this process alone */
	char text[TLS_TEXT_MAX]; /* for people: library and way, or what is missing */
};

/* 0, also with nothing to probe; -ESRCH when the process is gone. ret_fd: the library, for the caller to close,
 * -1 if n is 0; NULL: not wanted. */
int tls_plan(const struct features *f, uint32_t pid, struct tls_plan *ret, int *ret_fd);

struct tls_attach;

/* NULL and errno ENOMEM. Both are borrowed. */
struct tls_attach *tls_attach__new(struct kernel *k, const struct features *f);
/* Probes what this process maps, or counts it among those that map it. `all_only`: not if it would be for this process
 * alone (a master serves nobody). What was done is in *ret. 0, also with nothing probed; -ESRCH: the process is gone;
 * -ENOMEM. */
int tls_attach__process(struct tls_attach *t, uint32_t pid, bool all_only, struct tls_plan *ret);
/* The process is gone: the last one takes the probes with it. */
void tls_attach__forget(struct tls_attach *t, uint32_t pid);
/* Takes all probes away, and those that ask meanwhile get none. */
void tls_attach__pause(struct tls_attach *t);
/* Puts them back, for all processes that have not been forgotten since. One that lives and cannot be probed any more is
 * logged, and told to fn with the reason. */
void tls_attach__resume(
	struct tls_attach *t, void (*fn)(void *ctx, uint32_t pid, const struct tls_plan *why), void *ctx);
void tls_attach__free(struct tls_attach *t); /* NULL is fine */

#endif
