/* output: events for people and files: one JSON object a line, a table-like line a call, or a HAR document.
 * Never blocks when it is live: what a slow reader or a full disk does not take is kept up to a bound and tried again;
 * beyond the bound whole events are dropped and counted (output_errors). A line is written whole or not at all.
 *
 * On a terminal `pretty` has a footer, and shows a sample when calls are many. A HAR document in a file is whole after
 * each write, elsewhere after output__close.
 */
#ifndef KT_SHIP_OUTPUT_H
#define KT_SHIP_OUTPUT_H

#include "moesif/event.h"
#include "ship/live.h"

enum output_kind { OUTPUT_AUTO = 0 /* not settled yet */, OUTPUT_NONE, OUTPUT_PRETTY, OUTPUT_JSONL, OUTPUT_HAR };

struct output_options {
	enum output_kind kind;
	const char *path;	     /* NULL: standard output. Created 0600; appended to. */
	bool live;		     /* false (replay): writes wait until they are taken, all calls are shown */
	size_t pending_bytes;	     /* bound of what waits, default (0) 8 MiB */
	const char *filter;	     /* ship/filter.h: only these events are shown; NULL: all */
	struct footer_source footer; /* asked from within output__flush; fn NULL: nothing to tell but the counters */
};

struct output;

/* NULL and errno (ENOMEM, what open(2) gives; EINVAL: filter, EEXIST: the file holds something that is no HAR document
 * of kongtap; both logged). */
struct output *output__open(const struct output_options *o);
/* Takes the event, or counts it dropped. 0; -ENOSPC dropped. */
int output__event(struct output *o, const struct event *e);
/* Writes what can be written now. 0 all of it; -EAGAIN some is left; negative errno of a write that failed. */
int output__flush(struct output *o);
/* The file may have been renamed or removed (log rotation): from the next whole line or document on events go to the
 * one that is at its path then. One that cannot be used is logged, and they go on into the old one. Nothing is done
 * where the output is no file that was opened by its path. */
void output__reopen(struct output *o);
/* Flushes once more, closes. Returns as output__flush. NULL is fine. */
int output__close(struct output *o);

#endif
