/* credentials: what the client showed to be let in, as the client leg has it. */
#ifndef KT_MOESIF_CREDENTIALS_H
#define KT_MOESIF_CREDENTIALS_H

#include "moesif/call.h"
#include "moesif/learn.h"
#include "moesif/settings.h"
#include "moesif/sip.h"

struct credentials {
	bool any; /* there is one at all, and the request was seen whole: `fingerprint` holds */
	/* Of all of them together, of cookies and what else may say who calls, and of the gateway they were shown to.
	 */
	struct fingerprint fingerprint;
	struct span api_key; /* first one, from a header or a parameter; n 0: none */
	char decoded[256];   /* api_key may point here */
};

/* `secret` keys the fingerprint. */
void credentials_collect(
	struct credentials *k, const struct call *c, const struct settings *s, const unsigned char secret[SIP_KEY_LEN]);

#endif
