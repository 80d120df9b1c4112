/* h2block: decodes header blocks of a connection whose beginning was not seen, against the table that is known
 * (h2table). A field comes out exact, or as unknown; never as anything else.
 */
#ifndef KT_WIRE_H2BLOCK_H
#define KT_WIRE_H2BLOCK_H

#include "base/buf.h"
#include "wire/h2table.h"

/* f NULL: a field was here, and only the sender knows which. Spans are borrowed until the call returns. */
struct h2field_sink {
	void (*fn)(void *ctx, const struct h2field *f);
	void *ctx;
};

/* A whole block. `scratch` holds decoded strings, its maximum bounds one field. 0; -EBADMSG: no header block, or not
 * one of this table (forget it); -ENOSPC: a field beyond scratch's maximum (likewise); -ENOMEM (likewise). */
int h2block_decode(struct h2table *t, struct span block, struct buf *scratch, struct h2field_sink sink);

#endif
