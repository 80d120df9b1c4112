/* h2hpack: header blocks of one direction of a connection, by the decoder that can read them.
 *
 * Where the direction was seen from its first byte that is nghttp2's, and every field is exact. Where it was not, or
 * after bytes were lost that may have held a part of a header block, nghttp2's table is worth nothing: from there on
 * h2block decodes what can be known, and the rest is unknown.
 */
#ifndef KT_WIRE_H2HPACK_H
#define KT_WIRE_H2HPACK_H

#include "wire/h2head.h"

struct h2hpack;

/* `late`: header blocks went by unseen. Memory is charged to the budget. NULL and errno ENOMEM. */
struct h2hpack *h2hpack__new(const struct wire_limits *limits, struct wire_budget *budget, bool late);

/* A whole block, field by field into *head. 0; -EBADMSG: it is none, or not one of this table; -ENOMEM, -ENOSPC: no
 * room. After a failure what follows is decoded as by one who came late. */
int h2hpack__decode(struct h2hpack *h, struct span block, struct h2head *head);

/* Header blocks went by unseen. */
void h2hpack__lost(struct h2hpack *h);
/* None did, it turns out: nothing was decoded yet. */
void h2hpack__from_start(struct h2hpack *h);

/* The receiver allows a table of this size (SETTINGS_HEADER_TABLE_SIZE). */
void h2hpack__allow(struct h2hpack *h, uint32_t table);

void h2hpack__free(struct h2hpack *h); /* NULL is fine */

#endif
