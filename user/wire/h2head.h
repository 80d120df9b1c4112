/* h2head: what one HTTP/2 header block says, on its way into a message. */
#ifndef KT_WIRE_H2HEAD_H
#define KT_WIRE_H2HEAD_H

#include "wire/h2static.h"
#include "wire/message.h"
#include "wire/proto.h"

struct h2head {
	struct headers fields;
	struct kept method, target, authority, scheme; /* with the fields */
	uint32_t cookies;			       /* fields named cookie among them */
	uint16_t status;
	bool has_status;
	bool pseudo;  /* some pseudo-header field was there */
	bool unknown; /* some field was, that could not be decoded */
	bool lost;    /* the block could not be decoded at all: nothing here says anything */
};

void h2head__init(struct h2head *h, const struct wire_limits *limits);
/* One field, in order; NULL for one that is not known. */
void h2head__field(struct h2head *h, const struct h2field *f);
/* All fields were given: makes one cookie field of its crumbs (RFC 9113, 8.2.3), or none where a crumb may be missing.
 */
void h2head__end(struct h2head *h, const struct wire_limits *limits);
void h2head__free(struct h2head *h);

/* Hand the contents over to a message, whose own are freed. */
void h2head__into_request(struct h2head *h, struct message *m);
void h2head__into_response(struct h2head *h, struct message *m);
void h2head__into_trailers(struct h2head *h, struct message *m);

#endif
