/* hpack: whether the head that begins in a HEADERS frame (RFC 7541) is that of a body that is not wanted, by its media
 * type (body_exclude_content_types). One pass over the fields, of which only content-type is read: by its index in the
 * static table with the value beside it. So no other table is needed, and all that nginx sends is seen, which never
 * refers to an entry that it added; of what clients send those are missed whose value is in the dynamic table.
 *
 * What is cut, coded with rare symbols or not understood is wanted: user space decides by the whole head.
 */
#ifndef KT_BPF_HPACK_H
#define KT_BPF_HPACK_H

#include "turn.bpf.h"

/* The index of a field, or the length of a string, takes so many bytes at most; those with more are not understood. */
#define HPACK_PIECE 3
#define HPACK_CONTENT_TYPE 31

/* What is next (kt_io.stage). */
enum { HPACK_NONE, HPACK_WAITS, HPACK_FIELD, HPACK_NAME, HPACK_VALUE, HPACK_TYPE };

/* The symbols whose codes have at most eight bits (RFC 7541, appendix B), in the order of the codes. */
#define HPACK_SYMBOLS 128
static const char hpack_symbols[HPACK_SYMBOLS] = "012aceiost"
						 " %-./3456789=A_bdfghlmnpru"
						 ":BCDEFGHIJKLMNOPQRSTUVWYjkqvwxyz"
						 "&*,;XZ";

static __always_inline __u8 hpack_byte(struct kt_io *io, __u32 at)
{
	return io->look[at & (KT_LOOK - 1)];
}

static __always_inline bool hpack_load(struct kt_io *io)
{
	return look_load_of(io, io->block, io->block_n);
}

/* The symbol whose code begins in the highest of these eight bits, and in *len how long that is: 0, it is longer. */
static __always_inline char hpack_symbol(__u32 bits, __u32 *len)
{
	__u32 at;

	if (bits >> 3 < 0x0a) {
		*len = 5;
		at = bits >> 3;
	} else if (bits >> 2 < 0x2e) {
		*len = 6;
		at = 10 + (bits >> 2) - 0x14;
	} else if (bits >> 1 < 0x7c) {
		*len = 7;
		at = 36 + (bits >> 1) - 0x5c;
	} else {
		*len = bits < 0xfe ? 8 : 0;
		at = 68 + bits - 0xf8;
	}
	return hpack_symbols[at & (HPACK_SYMBOLS - 1)];
}

/* The next byte of the type. True: it is over, or not understood. */
static __always_inline int hpack_char(struct kt_io *io)
{
	__u32 at = io->bit >> 3, have = io->bits - io->bit, i = io->chars, len = 8, bits;
	char ch;

	if (!have || i >= KT_TYPE_LEN)
		return 1;
	if (io->value) {
		bits = ((__u32)hpack_byte(io, at) << 8 | hpack_byte(io, at + 1)) >> (8 - (io->bit & 7)) & 0xff;
		if (have < 8 && bits >> (8 - have) == 0xffu >> (8 - have))
			return 1; /* padding */
		ch = hpack_symbol(bits, &len);
	} else {
		ch = hpack_byte(io, at);
	}
	if (!len || len > have)
		return odd(io);
	io->bit += len;
	if (ch == ';' || ch == ',' || is_blank(ch))
		return 1;
	((char *)io->type)[i] = small(ch);
	io->chars = i + 1;
	return 0;
}

static __always_inline int hpack_type(struct kt_io *io)
{
	if (!hpack_char(io))
		return 0;
	if (!(io->found & HEAD_ODD) && is_excluded(io))
		io->found |= HEAD_UNWANTED;
	return 1;
}

/* The value of content-type, which has `n` bytes, is next. */
static __always_inline int hpack_begin_type(struct kt_io *io, __u32 n)
{
	if (io->off >= io->block_n || !hpack_load(io))
		return 1;
	if (n > io->have)
		n = io->have;
	for (__u32 w = 0; w < KT_TYPE_WORDS; w++)
		io->type[w] = 0;
	io->bit = io->chars = 0;
	io->bits = 8 * n;
	io->stage = HPACK_TYPE;
	return 0;
}

static __always_inline int hpack_field(struct kt_io *io, __u32 at)
{
	__u8 first = hpack_byte(io, at), more = hpack_byte(io, at + 1);
	/* Indexed fields and updates of the table's size have no strings. */
	__u32 mask = first & 0x80 ? 0x7f : first & 0x40 ? 0x3f : first & 0x20 ? 0x1f : 0x0f;
	__u32 index = first & mask;

	io->off++;
	if (index == mask) {
		if (more & 0x80)
			return 1;
		index += more;
		io->off++;
	}
	io->value = index == HPACK_CONTENT_TYPE;
	io->stage = first & 0x80 || mask == 0x1f ? HPACK_FIELD : index ? HPACK_VALUE : HPACK_NAME;
	return 0;
}

static __always_inline int hpack_string(struct kt_io *io, __u32 at)
{
	__u8 first = hpack_byte(io, at), second = hpack_byte(io, at + 1), third = hpack_byte(io, at + 2);
	__u32 n = first & 0x7f;

	io->off++;
	if (n == 0x7f) {
		n += second & 0x7f;
		io->off++;
		if (second & 0x80) {
			if (third & 0x80)
				return 1;
			n += (__u32)third << 7;
			io->off++;
		}
	}
	if (io->value) {
		io->value = first >> 7;
		return hpack_begin_type(io, n);
	}
	io->off += n;
	io->stage = io->stage == HPACK_NAME ? HPACK_VALUE : HPACK_FIELD;
	return 0;
}

/* Looks at the next piece of the head. True: there is no more to see, io->found says whether the body is unwanted. */
static __noinline int hpack_on(struct kt_io *io)
{
	__u32 at = io->off - io->window;

	if (io->stage == HPACK_TYPE)
		return hpack_type(io);
	if (io->off >= io->block_n)
		return 1;
	if (at >= io->have || (at + HPACK_PIECE > io->have && io->window + io->have < io->block_n)) {
		if (!hpack_load(io))
			return 1;
		at = 0;
	}
	return io->stage == HPACK_FIELD ? hpack_field(io, at) : hpack_string(io, at);
}

/* A head begins, of which the first `n` bytes are at `block`. */
static __always_inline void hpack_begin(struct kt_io *io, __u64 block, __u32 n)
{
	look_begin(io, 0);
	io->block = block;
	io->block_n = n;
	io->stage = HPACK_FIELD;
	io->value = 0;
}

#endif
