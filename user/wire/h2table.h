/* h2table: the part of a dynamic table of HPACK (RFC 7541) that is known to somebody who began to listen late.
 *
 * Indices count from the newest entry. So whoever has seen the last n insertions knows what the indices 1 … n mean,
 * however many entries there were before, and whatever their sizes: entries go at the old end only, and an index whose
 * entry went is never used by a sender that works (the receiver would end the connection over it). What is older is not
 * known. It is known to be gone, though, as soon as the table's maximum is known, from a size update, and the entries
 * that are known fill it: from there on the table is exact, and an index beyond it an error.
 */
#ifndef KT_WIRE_H2TABLE_H
#define KT_WIRE_H2TABLE_H

#include "wire/exchange.h"
#include "wire/h2static.h"
#include "wire/proto.h"

struct h2table;

/* `keep`: most bytes of entries (as HPACK counts them) that are held; what is over is forgotten, oldest first. All
 * memory is charged to the budget. NULL and errno: ENOMEM, ENOSPC. */
struct h2table *h2table__new(uint32_t keep, struct wire_budget *budget);

/* Entry `index`, 1 is the newest. 1: *ret is it, borrowed until the table changes. 0: there is one, older than what is
 * known. -EBADMSG: there is none. */
int h2table__at(const struct h2table *t, uint32_t index, struct h2field *ret);

/* A field was added; name and value may point into the table itself. What cannot be held is forgotten, with all that
 * is older. */
void h2table__insert(struct h2table *t, struct span name, struct span value);

/* A field was added whose name is one that is not known: it takes its place in the count, and no more. */
void h2table__insert_nameless(struct h2table *t, struct span value);

/* A size update: the maximum is `max` from here on. */
void h2table__resize(struct h2table *t, uint32_t max);

/* Nothing is known any more, not even the maximum: header blocks went by unseen. */
void h2table__forget(struct h2table *t);

/* Entries that are counted, and whether nothing is left that is older than they. */
uint32_t h2table__count(const struct h2table *t);
bool h2table__exact(const struct h2table *t);

void h2table__free(struct h2table *t); /* NULL is fine */

#endif
