/* header_view: the headers of an event: what is shown, masked or redacted, and repeated names brought together.
 */
#ifndef KT_MOESIF_HEADER_VIEW_H
#define KT_MOESIF_HEADER_VIEW_H

#include "moesif/call.h"
#include "moesif/json_out.h"
#include "moesif/settings.h"

struct header_item {
	struct span name, value;
	uint32_t hash;
	uint32_t next; /* index + 1 of the next item with this name; 0: none */
	uint32_t last; /* of the first one of a name: index of the last */
	uint8_t known; /* enum known */
	bool repeats;  /* a later one of its name */
};

struct header_view {
	struct header_item *v;
	uint32_t n, cap;
	uint32_t *slots;
	uint32_t slot_cap;
};

/* Both borrow from the call and empty the view first. 0 or -ENOMEM.
 * Request: the client's headers, and what Kong said of the caller in place of what the client claimed. */
int header_view__request(struct header_view *w, const struct call *c, const struct settings *s);
int header_view__response(struct header_view *w, const struct call *c, const struct settings *s);
/* One JSON object: names lower-cased, values of a repeated name as an array in their order; the values of
 * credentials starred where the settings say so, masked parameters starred in Referer, Location and Content-Location.
 * `join_cookies`: HTTP/2 may cut a cookie header into pieces, they are one header (RFC 9113, 8.2.3). */
void header_view__write(const struct header_view *w, const struct settings *s, bool join_cookies, struct json_out *o);
void header_view__free(struct header_view *w); /* NULL is fine */

#endif
