/* h2huff: the Huffman code of HPACK (RFC 7541, 5.2 and Appendix B), decoding only. */
#ifndef KT_WIRE_H2HUFF_H
#define KT_WIRE_H2HUFF_H

#include "base/buf.h"

/* Most bytes that n coded bytes can become: the shortest code has five bits. */
static inline size_t h2huff_bound(size_t n)
{
	return n + n / 5 * 3 + 3;
}

/* Appends the decoded string. 0; -EBADMSG (a code that is none, or a wrong end); -ENOSPC, -ENOMEM from the buffer. */
int h2huff_decode(struct span coded, struct buf *out);

#endif
