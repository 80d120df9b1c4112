/* conn: one connection: what is known of it, its two streams, and the protocol once it is known. Private to conns. */
#ifndef KT_WIRE_CONN_H
#define KT_WIRE_CONN_H

#include "base/hmap.h"
#include "base/list.h"
#include "wire/proto.h"
#include "wire/stream.h"
#include "wire/workers.h"

enum conn_state {
	CONN_NEW, /* what it speaks is not known */
	CONN_SPEAKS,
	CONN_IGNORED, /* of no use; kept until it closes, so that its bytes do not make a new one */
};

struct conn {
	struct hnode node;     /* by worker, object and kind: gen apart */
	struct list by_time;   /* in the table's list of busy or of idle connections */
	struct list of_worker; /* in worker->conns */
	struct worker *worker;
	struct conn_facts facts;
	struct proto_env env;
	const struct proto_ops *ops;
	struct proto *proto;
	struct stream stream[2];   /* by enum direction */
	struct byte_range skip[2]; /* what the capture was told that is of no use */
	uint64_t turn_from[2];	   /* where a direction was when it began to speak after the other */
	struct buf held;	   /* its first bytes, while they do not say enough */
	uint64_t held_t_ns;
	uint64_t used;	  /* bytes of its exchanges */
	uint64_t last_ns; /* latest record */
	uint64_t due_ns;  /* busy: when it is looked at again */
	size_t mem;	  /* charged to the budget: itself and what it holds back */
	enum conn_ending ending;
	enum conn_state state;
	enum direction held_dir, last_dir;
	uint8_t turns; /* changes of direction without any HTTP */
	uint8_t turn;  /* enum direction of the latest record */
	bool spoken;   /* some bytes were seen */
	bool told;     /* the capture was told that some or all of it is of no use */
	bool preamble_over;
	bool tunnel; /* ignored because it carries another protocol now, whose bytes are counted */
	bool busy;
	bool no_room;	/* given up for want of memory: it may come again */
	bool behind[2]; /* by enum direction: it comes again, and what it is behind is for want of memory */
};

/* Budget, limits, sink and counter of exchanges as in *env; the rest of the environment is the connection's own.
 * NULL and errno ENOMEM, ENOSPC. */
struct conn *conn__new(const struct proto_env *env, const struct conn_key *key, uint64_t serial);
/* What an OPEN says; what is known already is kept. */
void conn__learn(struct conn *c, const struct rec_open *open);

/* All of them: false when the connection has just become of no use (state CONN_IGNORED). */
bool conn__data(struct conn *c, enum direction dir, struct span data, uint64_t t_ns, bool start);
bool conn__gap(struct conn *c, enum direction dir, uint64_t n, enum gap_cause cause, uint64_t t_ns);
/* Bytes of a direction come, at this position. */
void conn__turn(struct conn *c, enum direction dir, uint64_t pos);
/* The kernel has shown these bytes, the end of a chunked body, of which some were told as left out already, and the end
 * is being looked for. */
bool conn__is_end(const struct conn *c, enum direction dir, struct span data);
/* Looks for bytes to come that are of no use and puts them into c->skip. False when there are none worth telling, or
 * they were told. */
bool conn__skip(struct conn *c, enum direction dir);
/* An exchange is open. */
bool conn__is_busy(const struct conn *c);
/* Hands on what is open. */
void conn__end(struct conn *c, enum conn_ending why, uint64_t t_ns);
/* Hands nothing on. NULL is fine. */
void conn__free(struct conn *c);

#endif
