/* ends: where messages end that the kernel passed over. User space says of a body's rest that it is of no use, and the
 * kernel tells of its end when it gets there. A body that was over before it was said has no later call that would
 * tell; so it is looked up some moments after it was said.
 */
#ifndef KT_CAPTURE_ENDS_H
#define KT_CAPTURE_ENDS_H

#include "capture/kernel.h"

/* At a time; the eldest make room. Their ends are seen when the next message begins, or the connection closes. */
#define ENDS_MAX 256

struct ends {
	struct end {
		struct conn_key key;
		enum direction dir;
		bool said;  /* was waiting when this round began */
		bool known; /* owed is what is to be told */
		uint64_t until;
		struct kernel_owed owed;
	} v[ENDS_MAX];
	uint32_t n;
};

/* The kernel was told that these are of no use. */
void ends__said(struct ends *e, const struct conn_key *key, const struct byte_range useless[2]);
/* The connection is over, and its close told of everything. What was looked up before would come behind that and look
 * like a connection that begins in its middle. */
void ends__over(struct ends *e, const struct conn_key *key);
/* Everything that was in the data ring when this was called last has been read. Hands on a record for each end that the
 * kernel had passed; how many. */
uint32_t ends__round(struct ends *e, const struct kernel *k, struct record_sink sink);

#endif
