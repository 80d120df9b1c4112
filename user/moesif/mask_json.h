/* mask_json: takes members out of a JSON text wherever they stand, and leaves every other byte of it as it was:
 * numbers, order, white space, empty arrays. One pass, whatever the depth and the number of names.
 */
#ifndef KT_MOESIF_MASK_JSON_H
#define KT_MOESIF_MASK_JSON_H

#include "base/buf.h"
#include "moesif/names.h"

/* Appends `text` without the members named in `masks` (letter case matters; an escape in a name is undone first).
 * 0; -EINVAL: not JSON (nothing appended); -ENOSPC, -ENOMEM. */
int mask_json(struct buf *out, struct span text, const struct names *masks, bool *ret_masked, bool *ret_line_break);

#endif
