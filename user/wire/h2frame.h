/* h2frame: HTTP/2 frames as RFC 9113 lays them out: header, shape, and a splitter that takes bytes cut anywhere.
 * No header compression and no streams here.
 */
#ifndef KT_WIRE_H2FRAME_H
#define KT_WIRE_H2FRAME_H

#include "base/span.h"

#define H2_HEAD_LEN 9
#define H2_PREFACE SPAN_LIT("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
#define H2_FRAME_DEFAULT 16384u /* SETTINGS_MAX_FRAME_SIZE unless the receiver said otherwise */

enum h2_type {
	H2_DATA = 0,
	H2_HEADERS = 1,
	H2_PRIORITY = 2,
	H2_RST_STREAM = 3,
	H2_SETTINGS = 4,
	H2_PUSH_PROMISE = 5,
	H2_PING = 6,
	H2_GOAWAY = 7,
	H2_WINDOW_UPDATE = 8,
	H2_CONTINUATION = 9,
	H2_PRIORITY_UPDATE = 16, /* RFC 9218 */
};

enum h2_flag {
	H2_END_STREAM = 0x1,
	H2_ACK = 0x1,
	H2_END_HEADERS = 0x4,
	H2_PADDED = 0x8,
	H2_PRIORITY_FLAG = 0x20,
};

enum h2_code { H2_REFUSED_STREAM = 7 };

enum h2_setting { H2_SET_HEADER_TABLE_SIZE = 1 };

struct h2frame {
	uint32_t length, stream;
	uint8_t type, flags;
};

static inline uint32_t h2_u32(const void *at)
{
	const unsigned char *p = at;

	return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

void h2frame_parse(const unsigned char head[H2_HEAD_LEN], struct h2frame *ret);

/* Bytes before a payload's content: pad length, priority, promised stream. */
uint32_t h2frame_prefix(const struct h2frame *f);

/* Does the shape follow the RFC (length and stream of its type)? Unknown types do: they are to be ignored. */
bool h2frame_legal(const struct h2frame *f);

/* Stricter, for finding a place in the middle of a connection: a known type, no flag that the type lacks, a direction
 * that it may go. `top_stream`: highest client stream known, 0 when none is. */
bool h2frame_plausible(const struct h2frame *f, bool is_request, uint32_t top_stream);

enum h2_chain {
	H2_CHAIN_NO = 0,
	H2_CHAIN_SO_FAR, /* nothing against it, and not enough for it */
	H2_CHAIN_YES,
};

/* Do the bytes from the beginning of a call on consist of plausible frames one after the other? They do when a frame
 * ends where they end, or when at least two of them begin in it. Many frames may go in either direction; what may not
 * go in this one, or a header block that begins as in the other, is refused. */
enum h2_chain h2frame_chain(struct span data, bool is_request, uint32_t top_stream);

/* The splitter. Zeroed, it stands before a frame header. */
struct h2split {
	unsigned char head[H2_HEAD_LEN];
	uint32_t have; /* bytes of head */
	uint32_t left; /* payload bytes still to come, while in_frame */
	bool in_frame;
	struct h2frame frame;
};

enum h2_step {
	H2_MORE = 0, /* data is used up */
	H2_BEGIN,    /* s->frame is the header of a new frame */
	H2_PIECE,    /* *piece is the next part of its payload */
	H2_END,	     /* it is over */
};

/* Takes from the front of *data what makes the next step. Every frame is one H2_BEGIN, any number of H2_PIECE, and one
 * H2_END, which comes without further bytes. */
enum h2_step h2split__next(struct h2split *s, struct span *data, struct span *piece);

/* Of n bytes that are missing here, takes those that belong to the payload of the current frame off it and returns how
 * many they are. The rest went over frame boundaries: zero the splitter then. */
uint32_t h2split__gap(struct h2split *s, uint64_t n);

#endif
