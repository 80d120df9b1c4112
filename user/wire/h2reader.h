/* h2reader: the frames of one direction, where their place is known: what they say goes to the streams, header blocks
 * through the decoder of the direction, table sizes to that of the other.
 */
#ifndef KT_WIRE_H2READER_H
#define KT_WIRE_H2READER_H

#include "wire/h2frame.h"
#include "wire/h2hpack.h"
#include "wire/h2streams.h"

#define H2_SMALL_MAX 8u /* settings, reset code, last stream: what is read of a control frame at once */

struct h2reader {
	bool is_request;
	const struct wire_limits *limits;
	struct wire_budget *budget;
	struct h2streams *streams;	    /* of the connection */
	struct h2hpack *hpack, *peer_hpack; /* owned by the connection */

	struct h2split split;
	uint64_t frame_ns;
	uint32_t prefix;  /* bytes of the frame before its content still to come */
	uint32_t content; /* bytes of content still to come; right once the prefix is through */
	unsigned char small[H2_SMALL_MAX];
	uint8_t small_n;
	bool small_lost;

	bool in_block, promise, broken;
	struct h2block_place at;
	struct buf block;
	size_t mem;	   /* charged for block */
	struct span whole; /* the block, where it lies in one piece in what is being read */
};

/* The pointers above `split` are the caller's to set; the rest begins zeroed. */
void h2reader__init(struct h2reader *r);

/* Reads until *data is used up. 0; -EBADMSG: these are no frames, or no header blocks; -EPROTO: they are those of the
 * other direction. */
int h2reader__read(struct h2reader *r, struct span *data, uint64_t t_ns);

/* n bytes are missing here. 0: the place is still known; -ESPIPE: it is not; errors of h2reader__read. */
int h2reader__gap(struct h2reader *r, uint64_t n, enum gap_cause cause, uint64_t t_ns);

/* The place of the frames is not known from here on: the next byte to be read begins one. */
void h2reader__lose(struct h2reader *r, uint64_t t_ns);

void h2reader__free(struct h2reader *r);

#endif
