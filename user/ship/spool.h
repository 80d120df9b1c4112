/* spool: batches on disk, oldest first, in files of a directory that belongs to one agent at a time.
 *
 * Promise: what spool__put wrote survives the death of the process at once, and that of the machine after the next
 * spool__sync; it is read back until spool__done, in this life or a later one, so a batch may be delivered twice. The
 * space is bounded: at the bound the oldest file goes, and its events are counted (ship_dropped_spool).
 * Files that are not the spool's are left alone. Used by the sender thread only.
 */
#ifndef KT_SHIP_SPOOL_H
#define KT_SHIP_SPOOL_H

#include "ship/batch.h"

struct spool;

/* A record that somebody holds in memory. */
struct spool_ref;

/* NULL and errno: ENOMEM, EBUSY (another agent has it), EACCES, EROFS, ENOTDIR…. The directory is made, mode 0700, if
 * it does not exist, and so are those above it. Events that an earlier life left are counted in *recovered. */
struct spool *spool__open(const char *dir, uint64_t max_bytes, uint64_t *recovered);
/* Writes the batch. A directory that was removed is made again first, with what of it was open; what was not is counted
 * (ship_dropped_spool). 0; negative errno (nothing was written then). `hold`: the caller keeps the batch and sets its
 * ref; else spool__next will bring it. */
int spool__put(struct spool *s, struct batch *b, bool hold);
/* The oldest batch that nobody holds, with its ref set, or NULL: there is none (or no memory for it now). */
struct batch *spool__next(struct spool *s);
/* Is there one? (It may turn out to be damaged.) */
bool spool__pending(const struct spool *s);
/* One more batch shares this ref. */
void spool_ref__share(struct spool_ref *ref);
/* A holder has dealt with `events` of its events and lets go. The last one frees the record. */
void spool__done(struct spool *s, struct spool_ref *ref, uint32_t events);
/* A holder lets go without having dealt with them: they stay on disk for the next life. */
void spool_ref__leave(struct spool_ref *ref);
/* What was written gets safe from power loss. 0 or negative errno. Does nothing when nothing was written. */
int spool__sync(struct spool *s);
/* Is there something to sync? */
bool spool__dirty(const struct spool *s);
/* Events on disk not yet dealt with (held ones included), and the bytes of the files. */
void spool__level(const struct spool *s, uint64_t *events, uint64_t *bytes);
void spool__close(struct spool *s); /* syncs; all refs must have been let go; NULL is fine */

#endif
