/* h1conn: one HTTP/1.x connection: pairs its requests with its responses and finds its place again after a loss.
 * Split in three: h1conn.c (life and time), h1req.c (the direction of requests), h1resp.c (the direction of responses).
 */
#ifndef KT_WIRE_H1CONN_H
#define KT_WIRE_H1CONN_H

#include "wire/h1calls.h"
#include "wire/http1.h"

enum h1last { H1LAST_NONE, H1LAST_REQUEST, H1LAST_RESPONSE };

struct h1side {
	struct http1_reader *reader; /* NULL between messages, which is how most connections are found */
	bool reading;		     /* in the middle of a message */
	bool synced;		     /* otherwise bytes are passed over until a message is known to begin */
};

struct proto {
	const struct proto_env *env;
	struct h1side req, resp;
	struct h1calls calls;
	uint32_t ordinal;
	size_t mem;	  /* charged to the budget */
	enum h1last last; /* the direction of the latest bytes */
	bool skipped;	  /* request bytes were passed over, not to an end, and no response bytes came since */
	bool answered;	  /* something came in the direction of responses since it did in that of requests */
	bool closing;	  /* the latest response said that no other will come */
	bool tunnel;
};

/* Both: `start` says that in->p begins what one call moved. */
enum proto_state h1conn__requests(struct proto *p, struct span in, uint64_t t_ns, bool start);
enum proto_state h1conn__responses(struct proto *p, struct span in, uint64_t t_ns, bool start);
void h1conn__request_gap(struct proto *p, uint64_t n, enum gap_cause cause, uint64_t t_ns);
void h1conn__response_gap(struct proto *p, uint64_t n, enum gap_cause cause, uint64_t t_ns);

/* A call of the connection, its exchange made; NULL: a limit or no memory, the connection is to be given up. */
struct h1call *h1conn__push(struct proto *p, uint64_t t_ns);
/* Its reader, ready for a message to begin. NULL: no memory. */
struct http1_reader *h1conn__reader(struct proto *p, struct h1side *s);
/* Drop the youngest call, whose request turned out to be none; its response, if one was seen, stays. */
void h1conn__drop_last(struct proto *p);
/* Hand on the calls that are over, eldest first, and begin the one whose turn has come. */
void h1conn__settle(struct proto *p, uint64_t t_ns);
/* The direction of requests moved on without a gap: doubtful pairs are right; or with one: they may not be. */
void h1conn__confirm(struct proto *p, uint64_t t_ns);
void h1conn__deny(struct proto *p, uint64_t t_ns);
/* A response that was patched, or to a request whose method was not seen, is over when the next request comes: chunks
 * may have been found where there were none, and it may have been the answer to a HEAD. */
void h1conn__end_unsure(struct proto *p, uint64_t t_ns);
/* The request of this call, which has been answered, is over if its end was left out with the rest of its body. */
void h1conn__end_searched(struct proto *p, struct h1call *c, uint64_t t_ns);
/* Account for what heads and readers hold. 0 or -ENOSPC. */
int h1conn__charge(struct proto *p);
/* Everything open is handed on at a limit: its own, or (PROTO_NO_ROOM) that of all. */
enum proto_state h1conn__give_up(struct proto *p, uint64_t t_ns);

/* It cannot be read on, for what it is or for its size. NULL is fine. */
void h1conn_end_bad(struct message *m);
/* Bytes of a message: when it was seen and how much of it. */
void h1conn_saw(struct message *m, uint64_t n, uint64_t t_ns);
/* Bytes of its body went by unseen; `framed`: and of its chunks, which are not told apart. NULL is fine. */
void h1conn_missed(struct message *m, uint64_t n, enum gap_cause cause, bool framed, uint64_t t_ns);

#endif
