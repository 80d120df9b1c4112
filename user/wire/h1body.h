/* h1body: how long the body of an HTTP/1.x message is, by the rules of nginx, and the chunked coding as nginx reads it.
 * Knows nothing of heads but their fields, and takes gaps: a chunk's length is known before its bytes.
 */
#ifndef KT_WIRE_H1BODY_H
#define KT_WIRE_H1BODY_H

#include "wire/message.h"

enum h1body_kind { H1BODY_NONE, H1BODY_LENGTH, H1BODY_CHUNKED, H1BODY_CLOSE };

/* By the message's fields (its version and has_length/content_length are filled in). 0; -EBADMSG: nginx refuses it. */
int h1body_kind(struct message *m, bool is_request, enum h1body_kind *ret);

enum h1chunk_at {
	H1CHUNK_START, /* a size is to come */
	H1CHUNK_SIZE,
	H1CHUNK_EXTENSION,
	H1CHUNK_SIZE_LF,
	H1CHUNK_DATA,
	H1CHUNK_DATA_END,
	H1CHUNK_DATA_LF,
};

struct h1chunk {
	uint64_t left; /* of the chunk's data; its size while that is read */
	enum h1chunk_at at;
};

enum h1chunk_step { H1CHUNK_MORE, H1CHUNK_BODY, H1CHUNK_LAST, H1CHUNK_BAD };

/* Takes from the front of *in. BODY: *body is the next piece; LAST: the zero chunk's line is over, trailers follow. */
enum h1chunk_step h1chunk__next(struct h1chunk *c, struct span *in, struct span *body);
/* After a loss in the framing: do chunks begin here? All that are whole in `in` must be right. */
bool h1chunk_looks(struct span in);
/* How many of n missing bytes are data of the present chunk; they are passed over. */
uint64_t h1chunk__gap(struct h1chunk *c, uint64_t n);

#endif
