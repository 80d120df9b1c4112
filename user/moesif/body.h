/* body: what an event carries of a message's body: JSON as it was on the wire, base64 of everything else, or nothing
 * and the reason. Content codings undone and masks applied here, so that nothing unmasked goes further.
 */
#ifndef KT_MOESIF_BODY_H
#define KT_MOESIF_BODY_H

#include "moesif/known.h"
#include "moesif/names.h"
#include "wire/message.h"

struct body_rules {
	bool capture;
	bool decode;		   /* undo Content-Encoding */
	uint64_t limit;		   /* bytes as transferred; a longer body is left out */
	const struct names *masks; /* keys of JSON and of forms; may be empty */
};

enum body_form { BODY_NONE = 0, BODY_JSON, BODY_BASE64 /* data is to be encoded */ };

struct body {
	enum body_form form;
	struct span data;    /* good until the maker's next use, or as long as the message */
	bool line_break;     /* JSON with CR or LF between its tokens */
	bool truncated;	     /* the event does not hold the whole body, and that was no wish of the configuration */
	const char *omitted; /* why a body that was there is left out, or NULL */
};

struct body_maker;

/* Decoded and masked bodies do not grow beyond `decoded_limit`. NULL and errno. */
struct body_maker *body_maker__new(size_t decoded_limit);
void body_maker__set_limit(struct body_maker *b, size_t decoded_limit);
/* x: the index of m->headers. */
void body_maker__make(struct body_maker *b, const struct message *m, const struct known_index *x,
	const struct body_rules *rules, struct body *ret);
void body_maker__free(struct body_maker *b); /* NULL is fine */

#endif
