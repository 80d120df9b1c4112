/* uri: a call's address as the plugin composes it: scheme://host:port + what the request line said, masked parameters
 * starred out.
 */
#ifndef KT_MOESIF_URI_H
#define KT_MOESIF_URI_H

#include "base/buf.h"
#include "moesif/names.h"

struct uri_parts {
	struct span scheme;
	struct span host; /* Host header, :authority or authority of an absolute target; n 0: "kong", as nginx has it */
	uint16_t port;	  /* of the listener; 0: none is written */
	struct span target; /* as sent; of an absolute form only path and query are used */
};

/* Parameters whose values are starred. */
struct uri_masks {
	const struct names *exact;	 /* NULL: none */
	const struct names *credentials; /* any letter case; NULL: none */
};

/* Appends the URI; *ret_path is where path and query are in it: path begins at from, query (with its '?') at to.
 * Bytes that are no UTF-8 are percent-encoded. Errors as buf__reserve. */
struct uri_layout {
	size_t from, to;
};
int uri_compose(struct buf *out, const struct uri_parts *parts, const struct uri_masks *masks, struct uri_layout *ret);

/* Path and query of a target; of "http://host/p?q" that is "/p?q", and *ret_authority is "host" (else n 0). */
struct span uri_origin_form(struct span target, struct span *ret_authority);
/* Host without user, port and trailing dot; brackets of IPv6 stay. */
struct span uri_host(struct span authority);
/* Path of an origin form, "/" when it is empty. */
struct span uri_path(struct span origin_form);

/* Walks over name=value pairs of a query or a form body ('&' between them). False at the end. */
struct uri_pair {
	struct span name, value; /* as sent; value.p NULL: no '=' */
};
bool uri_next_pair(struct span *rest, struct uri_pair *ret);
/* A name as it is meant (percent-encoding and '+' undone) when it fits `store`, else as sent. */
struct span uri_decode_name(struct span name, char *store, size_t size);
/* Appends the pairs, values of masked names replaced by *****; empty values stay. *ret_masked (may be NULL) tells
 * whether there was one. Errors as buf__reserve. */
int uri_mask_pairs(struct buf *out, struct span pairs, const struct uri_masks *masks, bool *ret_masked);

#endif
