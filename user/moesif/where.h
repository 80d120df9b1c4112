/* where: from where a call came and where it went: the client's address, the URI, the route. */
#ifndef KT_MOESIF_WHERE_H
#define KT_MOESIF_WHERE_H

#include "moesif/call.h"
#include "moesif/settings.h"
#include "moesif/uri.h"

/* Headers first, as the plugin has it; then the peer as Kong tells it upstream (behind a trusted proxy that is not the
 * socket's); then the socket's, written to `store`. n 0: none. */
struct span where_ip(const struct call *c, char store[ENDPOINT_TEXT_LEN]);
/* The masked URI in place of what `out` holds. Errors as buf__reserve. */
int where_uri(const struct call *c, const struct settings *s, struct buf *out, struct uri_layout *ret);
/* The path as the client asked for it, unmasked, without query. */
struct span where_route(const struct call *c);

#endif
