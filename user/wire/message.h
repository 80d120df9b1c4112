/* message: one HTTP request or response, whatever version carried it. */
#ifndef KT_WIRE_MESSAGE_H
#define KT_WIRE_MESSAGE_H

#include "base/buf.h"
#include "wire/headers.h"

enum msg_end {
	MSG_NONE = 0, /* nothing of it was seen */
	MSG_OPEN,     /* still coming */
	MSG_COMPLETE, /* ended as its framing says */
	MSG_CLOSED,   /* the connection ended before the message did */
	MSG_RESET,    /* HTTP/2 stream reset */
	MSG_LOST,     /* bytes of its head or framing were lost: what follows is not known */
	MSG_LIMIT,    /* given up at a limit */
	MSG_IDLE,     /* handed on while open (long-lived stream), with what was seen */
	MSG_BAD,      /* not HTTP as nginx reads it: given up where it could not be read on */
};

struct message {
	enum msg_end end;
	uint8_t major, minor;  /* 1.0, 1.1, 2.0 */
	bool head_done;	       /* start line and header section are whole */
	bool head_partial;     /* h2: some fields could not be decoded (table older than the agent) */
	uint16_t status;       /* responses; final status, interim 1xx are counted only */
	uint16_t interim;      /* how many 1xx came before */
	struct kept method;    /* requests: as sent; all four are kept with the headers */
	struct kept target;    /* requests: as sent (h2: ":path") */
	struct kept authority; /* h2 ":authority"; empty otherwise */
	struct kept scheme;    /* h2 ":scheme" */
	struct headers headers, trailers;

	/* Body after transfer decoding (chunked removed), before content decoding. `body` is always an exact prefix:
	 * it stops at the limit or at the first gap, never holds a hole. */
	struct buf body;
	uint64_t body_len;    /* bytes the body had, gaps included; also framing, if body_len_framed */
	uint64_t body_gap;    /* of these, bytes that were lost */
	uint8_t gap_causes;   /* bit 1 << enum gap_cause for each cause of a gap in it */
	bool body_len_framed; /* chunks went by that nobody could count apart from what they carry */
	bool body_truncated;  /* body holds less than body_len, for whatever reason */
	bool body_excluded;   /* by its type: nothing of it is kept */
	bool has_length;      /* Content-Length was given */
	uint64_t content_length;
	uint64_t wire_bytes; /* bytes on the wire, head and framing included */

	uint64_t t_first_ns; /* first byte */
	uint64_t t_head_ns;  /* head complete */
	uint64_t t_last_ns;  /* last byte seen */
};

struct message_limits {
	uint32_t header_bytes, header_count; /* of the headers and of the trailers, each; start line likewise */
	uint32_t body;
};

void message__init(struct message *m, const struct message_limits *l);
static inline struct span message__method(const struct message *m)
{
	return headers__kept(&m->headers, m->method);
}

static inline struct span message__target(const struct message *m)
{
	return headers__kept(&m->headers, m->target);
}

static inline struct span message__authority(const struct message *m)
{
	return headers__kept(&m->headers, m->authority);
}

static inline struct span message__scheme(const struct message *m)
{
	return headers__kept(&m->headers, m->scheme);
}

/* Forget a head, as after an interim response: what was counted and the allocations are kept. */
void message__clear_head(struct message *m);
/* What is held of the body goes as a whole, and nothing more is taken in. */
void message__drop_body(struct message *m);
/* Bytes allocated for it, itself not counted. */
size_t message__mem(const struct message *m);
/* Its memory, not the struct. NULL is fine. */
void message__free(struct message *m);

#endif
