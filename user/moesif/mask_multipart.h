/* mask_multipart: the fields of a form with files in it (RFC 7578) that are named get stars for their content; the JSON
 * in a part that says it is JSON is masked as any other.
 */
#ifndef KT_MOESIF_MASK_MULTIPART_H
#define KT_MOESIF_MASK_MULTIPART_H

#include "base/buf.h"
#include "moesif/names.h"

/* Appends `body` without what is masked; *ret_masked tells whether there was anything. `type` is the Content-Type,
 * which names the boundary. 0; -EINVAL: not such a form to its end, so that nothing can be said of its fields (out is
 * as it was); -ENOMEM, -ENOSPC. */
int mask_multipart(struct buf *out, struct span body, struct span type, const struct names *masks, bool *ret_masked);

#endif
