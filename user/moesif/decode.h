/* decode: undoes Content-Encoding: gzip, deflate (zlib or bare), br, zstd, several in a row. What comes out is bounded;
 * what is not whole and sound to its end is an error. The door of zlib, brotli and zstd in this stage.
 */
#ifndef KT_MOESIF_DECODE_H
#define KT_MOESIF_DECODE_H

#include "base/buf.h"

#define DECODE_CODINGS_MAX 4

struct decoder;

/* No output grows beyond `limit` bytes. NULL and errno ENOMEM. */
struct decoder *decoder__new(size_t limit);
void decoder__set_limit(struct decoder *d, size_t limit);
/* `encoding`: the header's value, codings in the order in which they were applied. *ret points into the decoder until
 * its next use, or is `in` itself when there was nothing to undo.
 * 0; -ENOTSUP: unknown coding or too many; -EBADMSG: damaged or not whole; -ENOSPC: beyond the limit; -ENOMEM. */
int decoder__run(struct decoder *d, struct span encoding, struct span in, struct span *ret);
void decoder__free(struct decoder *d); /* NULL is fine */

/* Whether the header names any coding but identity. */
bool decode_is_encoded(struct span encoding);

#endif
