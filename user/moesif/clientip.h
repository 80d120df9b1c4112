/* clientip: whose address an event carries: what the first of the plugin's headers names, else the peer's. */
#ifndef KT_MOESIF_CLIENTIP_H
#define KT_MOESIF_CLIENTIP_H

#include "moesif/known.h"

/* The address in a token as such headers have it: "1.2.3.4", "1.2.3.4:80", "2001:db8::1", "[2001:db8::1]:443", perhaps
 * in quotes. The address without brackets and port, as it was written; n 0 when there is none. */
struct span clientip_address(struct span token);
/* By the client's request headers; n 0 when none of them names an address. Borrowed from the headers. */
struct span clientip_from_headers(const struct known_index *client);

#endif
