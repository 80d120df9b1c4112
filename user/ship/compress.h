/* compress: request bodies, as Content-Encoding gzip or deflate (RFC 1950, as the plugin sends it). */
#ifndef KT_SHIP_COMPRESS_H
#define KT_SHIP_COMPRESS_H

#include "base/buf.h"

enum encoding { ENCODING_NONE = 0, ENCODING_DEFLATE, ENCODING_GZIP };

/* Replaces what is in out. 0; -ENOSPC (out's maximum); -ENOMEM. */
int compress_body(enum encoding e, struct span in, struct buf *out);
/* "gzip", "deflate"; NULL for none. */
const char *encoding_name(enum encoding e);
/* "none", "deflate", "gzip": 0 or -EINVAL. */
int encoding_parse(const char *name, enum encoding *ret);

#endif
