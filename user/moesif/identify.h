/* identify: who made a call: user, company, session. In the order of the plugin's documentation; never a guess: what is
 * ambiguous, refused by Kong or vouched for by the client alone names nobody.
 */
#ifndef KT_MOESIF_IDENTIFY_H
#define KT_MOESIF_IDENTIFY_H

#include "moesif/call.h"
#include "moesif/settings.h"

enum id_from {
	ID_NONE = 0,
	ID_REQUEST_HEADER, /* user_id_header, company_id_header */
	ID_RESPONSE_HEADER,
	ID_CONSUMER, /* what Kong set on the upstream leg */
	ID_LEARNT,   /* the consumer that this credential belonged to before */
	ID_TOKEN,
};

struct identity {
	struct span user, company,
		session; /* valid UTF-8; n 0: none; borrowed from the identifier until its next use */
	enum id_from user_from, company_from;
};

struct identifier;

/* Settings are borrowed. NULL and errno. */
struct identifier *identifier__new(const struct settings *s);
/* Other settings from now on; what was learnt is kept. */
void identifier__set(struct identifier *i, const struct settings *s);
/* 0 or -ENOMEM (then *ret says what was found before it). */
int identifier__run(struct identifier *i, const struct call *c, struct identity *ret);
uint32_t identifier__learnt(const struct identifier *i);
void identifier__free(struct identifier *i); /* NULL is fine */

const char *id_from_text(enum id_from f); /* NULL for ID_NONE */

#endif
