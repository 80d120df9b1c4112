/* call: one transaction as this stage looks at it: both legs' headers indexed, and who said what. What Kong's plugins
 * added is told from what the client claims by comparing the two legs.
 */
#ifndef KT_MOESIF_CALL_H
#define KT_MOESIF_CALL_H

#include "join/transaction.h"
#include "moesif/known.h"
#include "moesif/names.h"

struct call {
	const struct transaction *t;
	const struct exchange *up;  /* of the upstream leg that answered, else the last; NULL when none was joined */
	const struct message *req;  /* the client's; the upstream leg's when the client's head was not seen */
	const struct message *resp; /* the client's */
	struct known_index creq, cresp; /* client leg; empty where the head was not seen */
	struct known_index ureq, uresp; /* upstream leg; empty when there is none */
	bool rebuilt;			/* req is not the client's */
	bool client_whole;		/* what is not among creq's headers the client did not send */
	bool trust;			/* trust_client_consumer_headers */
	bool authenticated;		/* Kong's plugins said who called (an anonymous consumer included) */
	bool anonymous;			/* … and that it is nobody in particular */
	bool own_answer;		/* Kong answered by itself, as far as the wire shows */
	int status;			/* 0: not known */
};

/* 0, or -ENODATA: not enough was seen to name the call. Borrows t. */
int call__init(struct call *c, const struct transaction *t, bool trust_client);

/* The value of a header by known_by_kong(), when Kong's plugins said it on this call; p NULL otherwise. */
struct span call__kong_value(const struct call *c, enum known k);
/* The request header `n` as a plugin in Kong would have seen it; p NULL when it would not have, when it was repeated
 * with different values, or when only the client vouches for a header that is Kong's to set. */
struct span call__request_header(const struct call *c, const struct hname *n);
/* Whether nginx sets this header on the way up, whatever the client sent. */
bool call_nginx_sets(enum known k);
/* The one value of all fields of this name, white space around it trimmed; p NULL: absent, or not one. */
struct span header_unique(const struct headers *h, const struct hname *n);

#endif
