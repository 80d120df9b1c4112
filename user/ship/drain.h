/* drain: bytes on their way into a file descriptor that may be slow: they wait in memory, bounded, and go when the
 * descriptor takes them. Optionally a document whose end is rewritten with each write (see drain__set_tail).
 */
#ifndef KT_SHIP_DRAIN_H
#define KT_SHIP_DRAIN_H

#include "base/buf.h"

struct drain {
	int fd;
	bool regular;	    /* a file on disk: takes what it is given */
	int wait_ms;	    /* for a reader that does not take anything: 0 live, -1 (as long as it takes) in a replay */
	struct buf pending; /* what waits; append to it */
	struct span tail;   /* end of the document, not in `pending` */
	bool in_place;	    /* … which is on disk after each write, and overwritten by the next */
	uint64_t at;	    /* in_place: where the next bytes go */
	bool mid_line;	    /* what was written last is the beginning of a line */
	unsigned long failures;
	char *path;
};

/* `path` NULL: standard output. Created 0600. `document`: its end will be rewritten, so it is not opened for appending;
 * else it is. `max`: bound of what waits. 0 or negative errno. */
int drain__open(struct drain *d, const char *path, bool document, bool live, size_t max);
/* From now on every write ends with `tail` (borrowed for good), which the next one overwrites. Where the descriptor
 * cannot be written in place (pipe, terminal, opened for appending) the tail is written by drain__close only.
 * `resume_at`: where to go on in a file that has contents. */
void drain__set_tail(struct drain *d, struct span tail, uint64_t resume_at);
/* Writes what can be written now. 0 all of it; -EAGAIN some is left; negative errno of a write that failed (logged, now
 * and then). */
int drain__flush(struct drain *d);
/* Is what was written whole, up to a line or the end of the document? Asked after drain__flush. */
bool drain__is_whole(struct drain *d);
/* The file that is at the path now (made if there is none), for d->fd: its descriptor, or negative errno; -EALREADY: it
 * is the one that is open, -ENOTSUP: it, or what is open, is no file on disk. */
int drain__open_again(const struct drain *d);
/* Flushes once more, waiting a little even when live, writes the tail, closes. What is left then is lost, and said to
 * be. As drain__flush. */
int drain__close(struct drain *d);

#endif
