/* record: what the capture stage hands on, live or from a recording: the one stream of facts that everything after it
 * is computed from. The same records in the same order give the same events, byte for byte.
 *
 * Order: records of one worker come in the order of the worker's calls. OPEN comes before the first DATA of its
 * connection, CLOSE after its last. Nothing is promised between workers.
 */
#ifndef KT_CAPTURE_RECORD_H
#define KT_CAPTURE_RECORD_H

#include "base/span.h"

/* One life of one connection's plaintext. tls 0: obj is the fd; tls 1: obj is the SSL pointer.
 * gen differs for each life of the same (pid, obj): both are reused at once by the next connection. */
struct conn_key {
	uint64_t gen;
	uint64_t obj;
	uint32_t pid; /* tgid of the worker, in the agent's PID namespace */
	uint32_t tls;
};

static inline bool conn_key_eq(const struct conn_key *a, const struct conn_key *b)
{
	return a->gen == b->gen && a->obj == b->obj && a->pid == b->pid && a->tls == b->tls;
}

enum addr_family { ADDR_NONE = 0, ADDR_IP4 = 4, ADDR_IP6 = 6, ADDR_UNIX = 1 };

struct endpoint {
	uint8_t family;	  /* enum addr_family */
	uint16_t port;	  /* host order */
	uint8_t addr[16]; /* network order; IPv4 in the first four; ::ffff:a.b.c.d arrives as IPv4 */
};

#define ENDPOINT_TEXT_LEN 56
/* "1.2.3.4:80", "[2001:db8::1]:443", "unix", "?"; returns the length without the NUL. */
size_t endpoint_text(const struct endpoint *e, char out[ENDPOINT_TEXT_LEN]);
/* The address alone, no brackets, as inet_ntop. */
size_t endpoint_addr_text(const struct endpoint *e, char out[ENDPOINT_TEXT_LEN]);
/* Parses what endpoint_text prints. 0 or -EINVAL, *ret untouched then. */
int endpoint_parse(struct span text, struct endpoint *ret);

enum conn_origin {
	CONN_UNKNOWN = 0, /* was open before the agent came */
	CONN_ACCEPTED = 1,
	CONN_CONNECTED = 2,
};

enum direction { DIR_IN = 0 /* the worker read it */, DIR_OUT = 1 /* the worker wrote it */ };

enum gap_cause {
	GAP_NONE = 0,
	GAP_LOST = 1,	/* no room in the ring */
	GAP_LIMIT = 2,	/* not copied on purpose */
	GAP_NODATA = 3, /* sendfile: the bytes never were in the worker's memory */
	GAP_FAULT = 4,	/* the worker's memory could not be read */
};

enum record_kind {
	REC_OPEN = 1,
	REC_DATA,
	REC_CLOSE,
	REC_WORKER,
	REC_EXIT,
	REC_TICK,
	REC_CLOCK,
	REC_REMOTE,
	REC_GOVERN,
	REC_LOSS /* records that belong somewhere before this one found no room; whose they were, nobody knows */
};

struct rec_open {
	struct conn_key key;
	int32_t fd; /* -1 when not known (TLS before its fd was found) */
	enum conn_origin origin;
	bool late; /* bytes may have moved before the first that are told of, whatever the origin */
	struct endpoint local, peer;
};

/* Bytes [pos, pos + data.n) of one direction, then `gap` bytes that the same call moved and that will never come.
 * pos counts what the calls of this direction moved since the connection began (or since the agent first saw it).
 * A jump of pos beyond the last known end is a gap that nobody announced: GAP_LOST. */
struct rec_data {
	struct conn_key key;
	enum direction dir;
	uint64_t pos;
	struct span data; /* borrowed until the sink returns */
	uint64_t gap;
	enum gap_cause cause; /* of gap */
};

struct rec_close {
	struct conn_key key;
	uint64_t in_pos, out_pos; /* final positions: what is missing up to here is GAP_LOST */
	bool limited;		  /* it lives on, but is captured no more, to spend less */
};

enum port_role { PORT_PROXY = 0, PORT_ADMIN, PORT_STATUS, PORT_MANAGER, PORT_CLUSTER, PORT_STREAM, PORT_OTHER };

struct listen_port {
	uint16_t port; /* host order */
	uint8_t role;  /* enum port_role */
	uint8_t ssl;
};

#define WORKER_PORTS_MAX 64
#define WORKER_TEXT_MAX 128

/* A worker was found, or what is known of it changed. */
struct rec_worker {
	uint32_t pid;
	uint32_t node_pid; /* the master's */
	uint32_t nports;   /* 0: what it listens on is not known */
	struct listen_port ports[WORKER_PORTS_MAX];
	char prefix[WORKER_TEXT_MAX];	 /* Kong's prefix as the master names it; may be empty */
	char container[WORKER_TEXT_MAX]; /* container id, or empty */
	char pod_uid[WORKER_TEXT_MAX];
	char pod[WORKER_TEXT_MAX];
	char pod_namespace[WORKER_TEXT_MAX];
};

struct rec_exit {
	uint32_t pid; /* every connection of this worker is closed, no more records of it */
};

/* Bytes that are of no use, by their positions in a direction. */
struct byte_range {
	uint64_t from, until;
};

/* Made by the agent, not by a source: facts from outside that events depend on, so that a recording holds them. */
struct rec_clock {
	int64_t wall_offset_ns; /* wall clock = t_ns + this, from here on */
};

struct rec_remote {
	struct span config; /* body of the collector's GET /v1/config; borrowed */
};

/* How much is captured from here on (ops/governor.h). */
struct rec_govern {
	bool bodies;
	bool detached;	/* nothing: every connection is lost sight of */
	uint32_t shift; /* one accepted connection of 1 << shift */
};

struct record {
	enum record_kind kind;
	uint64_t t_ns; /* CLOCK_MONOTONIC; a TICK carries nothing else: time has come this far on all workers. A LOSS
			* neither */
	union {
		struct rec_open open;
		struct rec_data data;
		struct rec_close close;
		struct rec_worker worker;
		struct rec_exit exit;
		struct rec_clock clock;
		struct rec_remote remote;
		struct rec_govern govern;
	};
};

/* Takes one record; everything in it is borrowed until the call returns. */
struct record_sink {
	void (*fn)(void *ctx, const struct record *rec);
	void *ctx;
};

#endif
