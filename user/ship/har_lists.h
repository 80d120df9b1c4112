/* har_lists: the arrays of name and value in a HAR entry. `headers` is the event's object of headers: values are
 * strings or arrays of strings, escaped as JSON already.
 */
#ifndef KT_SHIP_HAR_LISTS_H
#define KT_SHIP_HAR_LISTS_H

#include "moesif/json_out.h"

/* The header's (first) value as JSON text inside its quotes; `name` in lower case; n 0: none. */
struct span har_header(struct span headers, const char *name);
void har_headers(struct json_out *o, struct span headers);
void har_request_cookies(struct json_out *o, struct span headers);
void har_response_cookies(struct json_out *o, struct span headers);
/* The parameters of a URI, decoded; no JSON. */
void har_query(struct json_out *o, struct span uri);

#endif
