/* discover: finds the gateways of this host and their workers, and notices when they come, change and go. It looks at
 * /proc when asked to; what the kernel reports in between (forks, exits) is told to it, so that a new worker is known
 * before its first call.
 */
#ifndef KT_CAPTURE_DISCOVER_H
#define KT_CAPTURE_DISCOVER_H

#include "capture/source.h"

struct discover_sink {
	/* A master to be followed. */
	void (*node)(void *ctx, uint32_t pid, const char *prefix);
	void (*node_gone)(void *ctx, uint32_t pid);
	/* A worker was found (fresh), or what is known of it changed. */
	void (*worker)(void *ctx, const struct rec_worker *w, bool fresh);
	/* Its process ended, or turned out to be no worker. */
	void (*worker_gone)(void *ctx, uint32_t pid);
	/* Is it captured already, since a master that is followed forked it, and still the same program? May be NULL.
	 */
	bool (*captured)(void *ctx, uint32_t pid);
	void *ctx;
};

struct discover;

/* Options are borrowed. NULL and errno ENOMEM. */
struct discover *discover__new(const struct capture_options *o, const struct discover_sink *sink);
/* One look at every process. 0 or negative errno. */
int discover__scan(struct discover *d);
/* A master that is followed has a child. False: that process is not known. */
bool discover__forked(struct discover *d, uint32_t parent, uint32_t child);
/* A process became another program. False: it was not known. */
bool discover__ended(struct discover *d, uint32_t pid);
/* A process is exiting, whatever /proc still shows of it. False: it was not known. */
bool discover__exited(struct discover *d, uint32_t pid);
size_t discover__workers(const struct discover *d);
size_t discover__nodes(const struct discover *d);
/* A process was forked that has not shown yet what it is: look again soon. */
bool discover__unsettled(const struct discover *d);
/* Somewhere an nginx is starting, which may become a master: keep looking. */
bool discover__starting(const struct discover *d);
void discover__free(struct discover *d); /* NULL is fine; calls nobody */

#endif
