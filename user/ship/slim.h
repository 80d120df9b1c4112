/* slim: an event without its bodies, for a collector that finds it too large. */
#ifndef KT_SHIP_SLIM_H
#define KT_SHIP_SLIM_H

#include "ship/batch.h"

/* Removes `body` and `transfer_encoding` of request and response from the one event of the batch, whose metadata says
 * so then (event_limit), and sets slim. 0; -ENOENT: there is nothing to remove, or it is no event; the batch is
 * untouched then. */
int batch__slim(struct batch *b);

#endif
