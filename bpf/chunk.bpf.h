/* chunk: a chunked body (RFC 9112, section 7.1), to the byte at which it ends. Its data is passed over, its framing is
 * looked at byte by byte, and where a call ends in the middle of that, the next one goes on. nginx takes what is in
 * here as it is meant; bare LFs, blanks in the line of a size, extensions of the last chunk and trailers are odd, and
 * then nothing is known.
 */
#ifndef KT_BPF_CHUNK_H
#define KT_BPF_CHUNK_H

#include "head.bpf.h"

#define CHUNK_SIZE_BITS 40

/* What is to come (kt_io.stage, kt_conn.stage). */
enum {
	CHUNK_NONE, /* no chunked body */
	CHUNK_BEGIN,
	CHUNK_SIZE,
	CHUNK_EXTENSION,
	CHUNK_SIZE_LF,
	CHUNK_DATA, /* io->length of it are behind this call, and then CR */
	CHUNK_DATA_LF,
	CHUNK_LAST_CR,
	CHUNK_LAST_LF,
};

/* A body begins where its head ends. */
static __always_inline void chunks_begin(struct kt_io *io)
{
	io->off = io->head;
	io->length = 0;
	io->stage = CHUNK_BEGIN;
}

/* 16 and above: none. */
static __always_inline __u32 hex_digit(char ch)
{
	__u32 digit = (__u8)ch - '0', letter = ((__u8)ch | 0x20) - 'a';

	return digit < 10 ? digit : letter < 6 ? letter + 10 : 16;
}

static __always_inline int chunk_size(struct kt_io *io, char ch)
{
	__u32 digit = hex_digit(ch);

	if (digit < 16) {
		if (io->length >> CHUNK_SIZE_BITS)
			return odd(io);
		io->length = io->length * 16 + digit;
		io->stage = CHUNK_SIZE;
	} else if (io->stage == CHUNK_SIZE && ch == '\r') {
		io->stage = CHUNK_SIZE_LF;
	} else if (io->stage == CHUNK_SIZE && ch == ';' && io->length) {
		io->stage = CHUNK_EXTENSION;
	} else {
		return odd(io);
	}
	return 0;
}

static __always_inline void chunk_data(struct kt_io *io)
{
	__u64 here = io->seg_left - io->off;

	if (!io->length) {
		io->stage = CHUNK_LAST_CR;
		return;
	}
	if (here > io->length)
		here = io->length;
	io->off += here;
	io->length -= here;
	io->stage = CHUNK_DATA;
}

/* A line end, byte by byte: true, and the stage is `next`, if this is the byte that belongs there. */
static __always_inline bool chunk_expects(struct kt_io *io, char ch, char want, __u8 next)
{
	io->stage = next;
	return ch == want;
}

/* Looks at the next byte of framing. True: there is no more to see, the body is over (no stage), odd, or the bytes are
 * at their end. */
static __noinline int chunk_on(struct kt_io *io)
{
	__u32 at = io->off - io->window;
	bool good = true;
	char ch;

	if (io->off >= io->seg_left)
		return 1;
	if (at >= io->have) {
		if (!look_load(io))
			return odd(io);
		at = 0;
	}
	ch = io->look[at & (KT_LOOK - 1)];
	io->off++;
	switch (io->stage) {
	case CHUNK_BEGIN:
	case CHUNK_SIZE:
		return chunk_size(io, ch);
	case CHUNK_EXTENSION:
		if (ch == '\r')
			io->stage = CHUNK_SIZE_LF;
		good = ch != '\n';
		break;
	case CHUNK_SIZE_LF:
		good = ch == '\n';
		chunk_data(io);
		break;
	case CHUNK_DATA:
		good = chunk_expects(io, ch, '\r', CHUNK_DATA_LF);
		break;
	case CHUNK_DATA_LF:
		good = chunk_expects(io, ch, '\n', CHUNK_BEGIN);
		break;
	case CHUNK_LAST_CR:
		good = chunk_expects(io, ch, '\r', CHUNK_LAST_LF);
		break;
	default:
		good = chunk_expects(io, ch, '\n', CHUNK_NONE);
		break;
	}
	if (!good)
		return odd(io);
	return !io->stage;
}

#endif
