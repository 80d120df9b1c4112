/* settings: the options of moesif.h, looked up and checked once: sets of names, hashes, lists split. */
#ifndef KT_MOESIF_SETTINGS_H
#define KT_MOESIF_SETTINGS_H

#include "moesif/moesif.h"
#include "moesif/names.h"

#define AUTH_NAMES_MAX 16

struct settings {
	const struct moesif_options *o;
	struct names request_headers, response_headers; /* masked: left out */
	struct names request_body, response_body;
	struct names query;
	struct names credential_headers;	  /* redacted; empty unless the option is on */
	struct names credential_query;		  /* likewise */
	struct names api_keys;			  /* headers and parameters that carry API keys */
	struct hname user_header, company_header; /* name.n 0: not configured */
	struct hname auth[AUTH_NAMES_MAX];
	uint32_t auth_count;
	struct span user_claim, company_claim;
};

/* Borrows from o for its life. 0, -EINVAL (a name no header, key or parameter can have), -ENOMEM. */
int settings__init(struct settings *s, const struct moesif_options *o);
void settings__free(struct settings *s); /* NULL is fine */

#endif
