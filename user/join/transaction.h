/* transaction: a client-leg exchange joined with the upstream-leg exchanges that served it. */
#ifndef KT_JOIN_TRANSACTION_H
#define KT_JOIN_TRANSACTION_H

#include "wire/exchange.h"

enum join_how {
	JOIN_NONE = 0,	  /* the gateway answered by itself, as far as the wire shows */
	JOIN_BY_ID,	  /* X-Kong-Request-Id on both legs */
	JOIN_BY_EVIDENCE, /* one candidate only: worker, time, forwarded headers, method */
	JOIN_MISSING,	  /* Kong's answer says that an upstream served it, and that leg was not seen */
	JOIN_AMBIGUOUS,	  /* several calls fit, or one that was lost might: nothing was taken from any */
};

/* Everything here but the worker is owned by the transaction. */
struct transaction {
	struct exchange *client;    /* never NULL */
	struct exchange **upstream; /* tries in their order; bodies are not kept */
	uint32_t upstream_count;
	struct exchange *answered; /* the one of `upstream` that answered (the last with a response), or NULL */
	enum join_how how;
	const struct rec_worker *worker; /* NULL when not known; good for the time of the sink's call */
	int64_t wall_offset_ns;		 /* wall clock = t_ns + this */
};

void transaction__free(struct transaction *t);

struct transaction_sink {
	void (*fn)(void *ctx, struct transaction *t); /* takes it */
	void *ctx;
};

#endif
