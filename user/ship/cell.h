/* cell: text from the wire in a column of a terminal. Whatever the bytes are, the terminal sees printable characters
 * only and the column keeps its width: controls, bytes that are no UTF-8, and characters that would turn the direction
 * of the line or are invisible show as '?'.
 */
#ifndef KT_SHIP_CELL_H
#define KT_SHIP_CELL_H

#include "base/buf.h"

/* Columns that a terminal gives to code point c: 0 combining mark, 1, 2 wide. -1: not to be sent to a terminal. */
int cell_width(uint32_t c);
/* Appends text in exactly `width` columns: padded with spaces, or cut, which shows as '>'. Errors as buf__append; what
 * was appended then is the caller's to take back. */
int cell_put(struct buf *out, struct span text, unsigned width);

#endif
