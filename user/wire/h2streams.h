/* h2streams: the streams of one HTTP/2 connection: pairs requests with responses by stream id, makes the exchanges and
 * hands them on. It is told what the frames said; it knows nothing of their layout or of header compression.
 */
#ifndef KT_WIRE_H2STREAMS_H
#define KT_WIRE_H2STREAMS_H

#include "wire/h2head.h"

struct h2streams;

/* `from_start`: every stream of the connection will be seen from its first frame. NULL and errno ENOMEM. */
struct h2streams *h2streams__new(const struct proto_env *env, bool from_start);

/* What a whole header block said, and where it stood. */
struct h2block_place {
	uint32_t stream;
	bool is_request, end_stream;
	uint64_t t_first_ns, t_ns; /* first and last byte of its frames */
	uint64_t wire_bytes;	   /* frame headers included */
};

/* Takes what it wants out of *h, which stays the caller's. h->lost: there was a block, what it said is not known. */
void h2streams__head(struct h2streams *s, struct h2head *h, const struct h2block_place *at);

/* A DATA frame: begin (its bytes on the wire), its content or gaps in it, end. */
void h2streams__data_begin(struct h2streams *s, bool is_request, uint32_t stream, uint64_t wire_bytes);
void h2streams__data(struct h2streams *s, bool is_request, uint32_t stream, struct span data, uint64_t t_ns);
void h2streams__data_gap(struct h2streams *s, bool is_request, uint32_t stream, uint64_t n, enum gap_cause cause);
/* How much of what was lost is content cannot be said: the body's length is not known from here on. */
void h2streams__data_unsure(struct h2streams *s, bool is_request, uint32_t stream);
void h2streams__data_end(struct h2streams *s, bool is_request, uint32_t stream, bool end_stream, uint64_t t_ns);

/* `refused`: with the code that says that nothing was done. */
void h2streams__reset(struct h2streams *s, bool is_request, uint32_t stream, bool refused, uint64_t t_ns);
/* The server did and will do nothing with streams beyond `last`. */
void h2streams__goaway(struct h2streams *s, uint32_t last, uint64_t t_ns);

/* The connection's first byte turned up after all: no request went by unseen. */
void h2streams__from_start(struct h2streams *s);

/* Frames of one direction went by unseen: which streams they began, fed or ended is not known. */
void h2streams__lost(struct h2streams *s, bool is_request, uint64_t t_ns);

void h2streams__tick(struct h2streams *s, uint64_t t_ns);
/* The connection ended, or is given up (`end`: what becomes of messages that are open): hands on everything. */
void h2streams__close(struct h2streams *s, enum msg_end end, uint64_t t_ns);

size_t h2streams__open(const struct h2streams *s);
uint32_t h2streams__top(const struct h2streams *s); /* highest stream that a request began */
void h2streams__free(struct h2streams *s);	    /* hands nothing on; NULL is fine */

#endif
