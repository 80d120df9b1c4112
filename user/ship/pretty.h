/* pretty: one line of text for one event, in columns that fit the width.
 *
 *	80 columns   TIME METHOD ST PATH USER SIZE TOTAL KONG UPSTR marks
 *	from 100     the time with milliseconds
 *	below 80     without KONG and UPSTR; below 60 without USER and SIZE
 */
#ifndef KT_SHIP_PRETTY_H
#define KT_SHIP_PRETTY_H

#include "base/buf.h"
#include "moesif/event.h"

#define PRETTY_MIN_WIDTH 40

/* Appends the line with its newline: time, verb, status, path, user, size, total, Kong's and the upstream's time, marks
 * (T: body truncated, I: incomplete). Bytes that a terminal would obey are shown as '?'. `colour`: ANSI colours for the
 * status. `width`: columns to keep within (at least PRETTY_MIN_WIDTH). 0, -ENOSPC, -ENOMEM: nothing appended then. */
int pretty_line(struct buf *out, const struct event *e, bool colour, unsigned width);
int pretty_header(struct buf *out, unsigned width);

#define PRETTY_NUMBER_LEN 24
/* At most 5 columns: "999B", "1.2K", "34M". */
void pretty_size(char out[PRETTY_NUMBER_LEN], uint64_t bytes);
/* At most 6 columns: "0.4ms", "120ms", "1.5s", "12m34s", "99h". */
void pretty_duration(char out[PRETTY_NUMBER_LEN], uint64_t ns);

#endif
