/* exchange: a request with its response, on one connection. */
#ifndef KT_WIRE_EXCHANGE_H
#define KT_WIRE_EXCHANGE_H

#include "capture/record.h"
#include "wire/message.h"

enum leg { LEG_UNKNOWN = 0, LEG_CLIENT, LEG_UPSTREAM };

enum wire_proto { PROTO_NONE = 0, PROTO_HTTP1, PROTO_HTTP2 };

/* What an exchange knows of its connection; copied, so it outlives it. */
struct conn_facts {
	struct conn_key key;
	uint64_t serial; /* of the connection in this run, 1, 2, … */
	int32_t fd;
	enum leg leg;
	enum conn_origin origin;
	enum wire_proto proto;
	struct endpoint local, peer; /* local: Kong's side */
	bool from_start;	     /* seen from its first byte */
};

struct exchange {
	uint64_t id; /* 1, 2, … in the order in which requests began; unique in this run */
	struct conn_facts conn;
	uint32_t stream; /* HTTP/2 stream id; HTTP/1: ordinal on the connection, from 1 */
	struct message req, resp;
	bool upgraded; /* 101, or 2xx to CONNECT: bytes after it are counted, not parsed */
	uint64_t upgraded_in, upgraded_out;
	bool client_gone; /* connection was closed by the peer before the response was complete */
	bool refused; /* the server did nothing with it: HTTP/2's GOAWAY or REFUSED_STREAM, HTTP/1: it was closing */
	uint64_t t_end_ns;   /* when it was over: last byte or close */
	uint32_t stands_for; /* calls: more than 1 while only a part of the connections is captured */
	size_t mem;	     /* bytes that it takes: charged to the wire's budget until it is handed on */

	/* Of the wire, until it is handed on. */
	uint64_t *conn_used;		/* what its connection's exchanges take; NULL: not watched */
	struct exchange *older, *newer; /* among those that hold bodies */
};

/* Frees both messages and the exchange. NULL is fine. */
void exchange__free(struct exchange *x);
/* When its last byte was seen, in either direction. */
static inline uint64_t exchange__last_ns(const struct exchange *x)
{
	return x->req.t_last_ns > x->resp.t_last_ns ? x->req.t_last_ns : x->resp.t_last_ns;
}

/* What is known so far of one that has begun and is not done: a copy of its heads, without bodies and trailers. What is
 * still coming of it is MSG_IDLE; it ends with the last byte seen. NULL: no memory. */
struct exchange *exchange__so_far(const struct exchange *x);

/* The stages after it. `begun`: a request's head is complete; borrowed, and it stays where it is until it is done.
 * `done`: ownership passes to the callee. Every begun exchange is done exactly once; an exchange whose request head was
 * never seen is done without being begun. */
struct exchange_sink {
	void (*begun)(void *ctx, const struct exchange *x);
	void (*done)(void *ctx, struct exchange *x);
	void *ctx;
};

#endif
