/* stream: one direction of one connection. Knows which byte comes next, and so what is missing and what came before.
 * It holds no bytes back: records of a worker come in the order of its calls, so a jump forward is a loss, not a delay.
 */
#ifndef KT_WIRE_STREAM_H
#define KT_WIRE_STREAM_H

#include "capture/record.h"

struct stream {
	uint64_t next; /* position after the last byte that came or is known to be missing */
	bool started;
};

/* What a record adds, in order: bytes missing before it, its bytes, bytes missing after them. */
struct stream_step {
	uint64_t lost;	     /* cause GAP_LOST */
	struct span data;    /* may be shorter at the front than the record's */
	bool fragment_start; /* data begins where the record's does */
	uint64_t gap;
	enum gap_cause cause;
};

/* 0; -EOVERFLOW: the record's positions are impossible, nothing is taken. Counts gaps and late bytes. */
int stream__take(struct stream *s, const struct rec_data *d, struct stream_step *ret);
/* The direction got to this position at its end: how many bytes are missing up to it (counted under the cause). */
uint64_t stream__end(struct stream *s, uint64_t pos, enum gap_cause cause);

#endif
