/* har: events as the entries of an HTTP Archive (HAR 1.2), which browsers' developer tools and HAR viewers open.
 *
 * The document is HAR_HEAD, entries with HAR_BETWEEN between them, HAR_TAIL. What HAR has no name for stands under
 * names with an underscore, as HAR 1.2 asks: _user, _company, _kong (the event's metadata).
 */
#ifndef KT_SHIP_HAR_H
#define KT_SHIP_HAR_H

#include "base/buf.h"
#include "moesif/event.h"
#include "version.h"

#define HAR_HEAD                                                                                                       \
	"{\"log\":{\"version\":\"1.2\",\"creator\":{\"name\":\"kongtap\",\"version\":\"" KONGTAP_VERSION "\"},"        \
	"\"entries\":["
#define HAR_BETWEEN ","
#define HAR_TAIL "\n]}}\n"

/* Appends a line break and one entry. 0, -ENOSPC, -ENOMEM: nothing appended then. */
int har_entry(struct buf *out, const struct event *e);

#endif
