/* proto: what speaks on a connection. One object per connection handles both directions and pairs requests with
 * responses. Positions and gaps are already in order: the stream (wire/stream.h) sees to that.
 */
#ifndef KT_WIRE_PROTO_H
#define KT_WIRE_PROTO_H

#include "wire/budget.h"
#include "wire/mediatype.h"

/* All bounds of the stage, in bytes unless said otherwise. */
struct wire_limits {
	uint32_t header_bytes;	 /* one header section, default 65536 */
	uint32_t header_count;	 /* fields in it, default 4096 */
	uint32_t request_body;	 /* captured prefix, client leg, default 100000 */
	uint32_t response_body;	 /* captured prefix, client leg, default 100000 (upstream leg: none) */
	uint32_t pipeline;	 /* exchanges open at once on one HTTP/1 connection, default 64 */
	uint32_t streams;	 /* … on one HTTP/2 connection, default 512 */
	uint32_t hpack_table;	 /* largest dynamic table that is followed, default 65536 */
	uint32_t conn_bytes;	 /* one connection, all its exchanges, default 4 MiB */
	uint64_t total_bytes;	 /* all connections, default 48 MiB */
	uint32_t conns;		 /* connections tracked, default 65536 */
	uint64_t stream_idle_ns; /* an open response quiet for so long is handed on as MSG_IDLE; 0: never; default 30 s
				  */
	uint64_t conn_idle_ns;	 /* a connection quiet for so long, with nothing open, is forgotten; default 1 h */
	/* Bodies of these types are not kept, client leg; default none. Borrowed for as long as they are in force. */
	struct media_types exclude_types;
};

void wire_limits_default(struct wire_limits *l);

/* Why a connection ends, as ops->close and exchange__finish find it in the environment. */
enum conn_ending {
	ENDING_CLOSE = 0, /* one of the peers closed it */
	ENDING_EXIT,	  /* the worker is gone */
	ENDING_FLUSH,	  /* it lives on, the agent does not: MSG_CLOSED becomes MSG_OPEN */
	ENDING_LIMIT,	  /* given up to stay within the limits: MSG_CLOSED becomes MSG_LIMIT */
};

/* What a protocol object gets from its connection. */
struct proto_env {
	const struct wire_limits *limits;
	struct wire_budget *budget;
	uint64_t *conn_used;		/* what this connection's exchanges hold; NULL: not watched */
	const enum conn_ending *ending; /* NULL: ENDING_CLOSE */
	const uint32_t *stands_for;	/* what an accepted connection stands for now; NULL: itself */
	const struct conn_facts *facts; /* owned by the connection, stays valid, may be completed (fd, addresses) */
	struct exchange_sink sink;
	uint64_t *next_exchange_id;
};

struct proto;

enum proto_state {
	PROTO_GOOD = 0,
	PROTO_GIVE_UP, /* the connection is of no more use: count it, tell the kernel, ignore its bytes */
	PROTO_NO_ROOM, /* there is no memory for what it has open: count it and forget it; it may come again */
	PROTO_TUNNEL,  /* it carries something else from here on (upgraded): the same, but nothing to count */
};

/* In all of them `is_request` says whether the direction carries requests (client leg: DIR_IN), t is the fragment's
 * time. `fragment_start`: data.p is the first byte of what one call moved (a message begins there at the earliest on
 * an idle connection; resync looks only there). */
struct proto_ops {
	const char *name;
	enum wire_proto id;
	/* Does the connection speak this? `data` is what its request direction began with. 1 yes, 0 no, -EAGAIN more
	 * bytes wanted. `from_start` false: any byte may come first. */
	int (*guess)(struct span data, bool is_request, bool from_start);
	/* NULL and errno ENOMEM, ENOSPC when it cannot be made. `synced`: the first byte fed begins a message. */
	struct proto *(*new)(const struct proto_env *env, bool synced);
	enum proto_state (*feed)(
		struct proto *p, bool is_request, struct span data, uint64_t t_ns, bool fragment_start);
	enum proto_state (*gap)(struct proto *p, bool is_request, uint64_t n, enum gap_cause cause, uint64_t t_ns);
	/* The connection ended: hands on what is open. */
	void (*close)(struct proto *p, uint64_t t_ns);
	/* Time passed: long-lived responses that were quiet for limits->stream_idle_ns are handed on. */
	void (*tick)(struct proto *p, uint64_t t_ns);
	bool (*busy)(const struct proto *p); /* an exchange is open */
	/* May be NULL. How many of the bytes to come in this direction belong to a body for certain, in *ret_keep how
	 * many of them, the first, are wanted, and in *ret_last whether the message ends with them. */
	uint64_t (*useless)(const struct proto *p, bool is_request, uint64_t *ret_keep, bool *ret_last);
	/* May be NULL. Chunks were left out, and where they go on is not known. */
	bool (*searching)(const struct proto *p, bool is_request);
	void (*free)(struct proto *p); /* hands nothing on; NULL is fine */
};

extern const struct proto_ops http1_ops;
extern const struct proto_ops http2_ops;

/* Shared by the protocols: make, charge and end exchanges. */
/* NULL and errno: ENOMEM, ENOSPC (budget). Bounds of both messages set from the limits and the leg. */
struct exchange *exchange__new(const struct proto_env *env, uint32_t stream, uint64_t t_ns);
/* Account for what its heads have grown to. 0; -ENOSPC: no room for it, the connection is to be given up. */
int exchange__charge(const struct proto_env *env, struct exchange *x);
/* The head of m, one of x's two, is whole: of a body whose type is excluded nothing will be kept. */
void exchange__head_done(const struct proto_env *env, const struct exchange *x, struct message *m);
/* Append body bytes after transfer decoding; keeps the prefix rule, the limits and the budget. */
void exchange__body(const struct proto_env *env, struct exchange *x, struct message *m, struct span data);
void exchange__body_gap(struct message *m, uint64_t n, enum gap_cause cause);
/* Hand it on (releases its charge from the budget). x is gone after it. */
void exchange__finish(const struct proto_env *env, struct exchange *x, uint64_t t_ns);
/* Drop one that was never begun and is not to be handed on. NULL is fine. */
void exchange__discard(const struct proto_env *env, struct exchange *x);

/* The first of the protocols that speaks so, or NULL and in *ret_undecided whether more bytes may change that. */
const struct proto_ops *proto_guess(struct span data, bool is_request, bool from_start, bool *ret_undecided);

#endif
