/* status: what the status page shows, as JSON. Everything from outside in it is text and is to be shown as text. */
#ifndef KT_OPS_STATUS_H
#define KT_OPS_STATUS_H

#include "base/buf.h"
#include "ops/view.h"

/* Appends one JSON object. 0, -ENOSPC, -ENOMEM. */
int status_render(struct buf *out, const struct ops_view *v);

#endif
