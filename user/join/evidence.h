/* evidence: what both legs of one call must agree on, folded into one number, for when no request id joins them.
 *
 * Kong writes on every proxied request (kong/templates/nginx_kong.lua): X-Real-IP and the tail of X-Forwarded-For, the
 * address that the client came from; X-Forwarded-Host and -Port, host and port that it asked for; X-Forwarded-Path
 * (since 2.2), its path. A request without X-Real-IP and X-Forwarded-For is no proxied one: Kong made it itself.
 */
#ifndef KT_JOIN_EVIDENCE_H
#define KT_JOIN_EVIDENCE_H

#include "wire/exchange.h"

/* Does this upstream-leg request carry the marks of a proxied call? */
bool evidence_proxied(const struct message *req);
/* Of a client-leg exchange / an upstream-leg exchange of the same worker; equal when they fit. 0: nothing to go by.
 * The upstream one is known to be proxied. */
uint64_t evidence_of_client(const struct exchange *x);
uint64_t evidence_of_upstream(const struct exchange *x);

/* Do the two legs carry different values of a header that Kong forwards as it came? Then they are not one call's. A
 * credential that a plugin replaced (OpenID Connect) counts too: better no join than another user's. */
bool evidence_contradicts(const struct exchange *client, const struct exchange *upstream);

#endif
