/* token: who an authorization value names. Signatures are not checked: that was Kong's or the service's affair. */
#ifndef KT_MOESIF_TOKEN_H
#define KT_MOESIF_TOKEN_H

#include "base/buf.h"

enum token_kind {
	TOKEN_NONE = 0, /* opaque, malformed, encrypted: names nobody */
	TOKEN_BASIC,	/* user */
	TOKEN_CLAIMS,	/* claims */
};

struct token {
	enum token_kind kind;
	struct span user;   /* what stands before the first colon; never the password */
	struct span claims; /* a JSON object, checked to its end */
};

/* Largest token that is looked into, and largest identity that is believed. */
#define TOKEN_MAX 65536
#define TOKEN_TEXT_MAX 2048

/* Reads a header's value: "Basic …", "Bearer …" (any letter case), or a token of its own, with dots (the second part
 * holds the claims) or without. base64 and base64url, padded or not. `store` is emptied and holds what *ret points to.
 * 0, or -ENOMEM; what cannot be read is TOKEN_NONE. */
int token_parse(struct span value, struct buf *store, struct token *ret);

/* The claim `field` as text, appended to out: strings as they are meant, numbers digit by digit as they stand, the
 * first element of an array. Exact name first, then any letter case, then as a path with dots ("user.id"). 1 found, 0
 * not (absent, null, true, false, object, empty, longer than TOKEN_TEXT_MAX), -ENOMEM. */
int token_claim(struct span claims, struct span field, struct buf *out);

#endif
