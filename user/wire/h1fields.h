/* h1fields: lines of an HTTP/1 header section that have nothing odd about them, which nearly all have, read without the
 * parser: one pass over the bytes, and one copy of the whole section.
 */
#ifndef KT_WIRE_H1FIELDS_H
#define KT_WIRE_H1FIELDS_H

#include "wire/headers.h"

/* *in begins at the beginning of a line. Takes plain lines from its front into h (NULL: drops them) and moves *in
 * behind them. True: the empty line that ends the section was taken, too. False: what *in begins with now is for the
 * parser, whose word would be the same for every line that was taken: a line that is not there to its end or may be
 * folded, is odd, or finds no room in h.
 *
 * Plain is a name of token characters (RFC 9110, 5.6.2), a colon right behind it, a value without control characters
 * but tab, CR LF, and no white space at the beginning of the next line. */
bool h1fields__take(struct span *in, struct headers *h);

#endif
