/* dropped: connections for which there was no room, or none any more, and up to where they had been read: when one of
 * them comes again, what is missing of it is missing for that reason. The place of one is given to another as it falls.
 */
#ifndef KT_WIRE_DROPPED_H
#define KT_WIRE_DROPPED_H

#include "capture/record.h"

struct dropped_conn;

/* Zeroed it is ready. */
struct dropped {
	struct dropped_conn *places; /* made with the first */
	bool forgot;		     /* some connection is not remembered any more */
};

/* pos: by enum direction. */
void dropped__add(struct dropped *d, const struct conn_key *key, const uint64_t pos[2]);
/* True: it was there, and is no more. */
bool dropped__take(struct dropped *d, const struct conn_key *key, uint64_t ret_pos[2]);
void dropped__free(struct dropped *d);

#endif
