/* pretty: one line of text for one event. */
#ifndef KT_SHIP_PRETTY_H
#define KT_SHIP_PRETTY_H

#include "base/buf.h"
#include "moesif/event.h"

/* Appends the line with its newline: time, verb, status, path, user, size, total and upstream milliseconds, marks (T:
 * body truncated, I: incomplete). Bytes that a terminal would obey are shown as '?'. `colour`: ANSI colours for the
 * status. `width`: columns to keep within (at least 60). 0, -ENOSPC, -ENOMEM. */
int pretty_line(struct buf *out, const struct event *e, bool colour, unsigned width);
int pretty_header(struct buf *out, unsigned width);

#endif
