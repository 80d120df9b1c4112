/* utf8: well-formedness as RFC 3629 has it: no overlong form, no surrogate, nothing beyond U+10FFFF. */
#ifndef KT_MOESIF_UTF8_H
#define KT_MOESIF_UTF8_H

#include "base/buf.h"

/* Length (1 to 4) of the well-formed character at p, or 0 when there is none within n bytes. */
size_t utf8_char(const unsigned char *p, size_t n);
bool utf8_valid(struct span s);
/* Writes code point c (a surrogate is the caller's mistake) to out; returns its length. */
size_t utf8_encode(uint32_t c, char out[4]);
/* Appends s when it is well-formed, else every byte of it as the Latin-1 character it may have meant: two different
 * inputs never become the same text, so an identity stays its own. Errors as buf__reserve. */
int utf8_append_text(struct buf *out, struct span s);

#endif
