/* base64: RFC 4648. Encoding is the standard alphabet with padding. Decoding takes both alphabets (sections 4 and 5),
 * with or without padding, and nothing else: no white space, no foreign characters.
 */
#ifndef KT_BASE_BASE64_H
#define KT_BASE_BASE64_H

#include "base/buf.h"

static inline size_t base64_encoded_len(size_t n)
{
	return (n + 2) / 3 * 4;
}

/* Appends; 0, -ENOSPC, -ENOMEM (nothing appended then). */
int base64_encode(struct buf *out, struct span data);

/* Most bytes that n characters can decode to. */
static inline size_t base64_decoded_max(size_t n)
{
	return n / 4 * 3 + 3;
}

/* Decodes into out (room for base64_decoded_max(text.n)). Returns the length, or -EINVAL. */
long base64_decode(struct span text, void *out);

#endif
