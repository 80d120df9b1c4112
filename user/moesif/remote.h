/* remote: what GET /v1/config says, parsed: the rates. Hostile until proven otherwise: bounded, wrong entries are left
 * out one by one. jansson's door in this stage.
 */
#ifndef KT_MOESIF_REMOTE_H
#define KT_MOESIF_REMOTE_H

#include "base/span.h"

#define REMOTE_TEXT_MAX (32 << 20)
#define REMOTE_IDS_MAX 500000
#define REMOTE_RULES_MAX 1000
#define REMOTE_CONDITIONS_MAX 32

/* What a condition of a rule looks at. */
enum remote_path {
	PATH_UNKNOWN = 0, /* never matches */
	PATH_VERB,
	PATH_ROUTE,
	PATH_IP,
	PATH_STATUS,
	PATH_GRAPHQL_QUERY,
	PATH_GRAPHQL_OPERATION,
	PATH_COUNT_,
};

struct remote;

/* NULL and errno: EINVAL (not a JSON object), ENOMEM. An empty span gives a configuration that says nothing. */
struct remote *remote__parse(struct span json);
int remote__sample_rate(const struct remote *r);		       /* 0 to 100; 100 when not given */
int remote__user_rate(const struct remote *r, struct span user);       /* -1: none given */
int remote__company_rate(const struct remote *r, struct span company); /* likewise */

/* Values that conditions are held against. Asked for once per path and transaction, and only when a rule wants it. */
struct remote_facts {
	/* p NULL: the call has no such thing. */
	struct span (*get)(void *ctx, enum remote_path path);
	void *ctx;
};
/* Rate of the first rule of which every condition matches; -1: none. */
int remote__regex_rate(struct remote *r, const struct remote_facts *facts);
void remote__free(struct remote *r); /* NULL is fine */

#endif
