/* head: what there is to know of an HTTP/1 head before its body comes: where it ends, how long the body is, and whether
 * that is of a type that is not wanted (body_exclude_content_types). One pass over the bytes of a call, line by line.
 *
 * Whoever leaves a body out relies on it, so it is narrower than any reader of HTTP: what has a line end without CR, a
 * folded line, two lengths or one that is not plain digits, or a field that is cut by the end of its call, is odd, and
 * then nothing is known. Of the value of Content-Type the first type counts; user space (user/wire/mediatype.c) takes
 * any of them.
 */
#ifndef KT_BPF_HEAD_H
#define KT_BPF_HEAD_H

#include "emit.bpf.h"

/* What was found (kt_io.found). */
#define HEAD_LENGTH 1
#define HEAD_CODED 2 /* it has a transfer coding */
#define HEAD_UNWANTED 4
#define HEAD_ODD 8

/* Lines of one head, and pieces that they come in. */
#define LOOK_STEPS 128
/* … and, where requests are followed, bytes of the framing of chunks. */
#define FOLLOW_STEPS 8192
#define LOOK_DIGITS 18
#define EACH(byte) ((byte)*0x0101010101010101ULL)

#define EIGHT(a, b, c, d, e, f, g, h)                                                                                  \
	((__u64)(a) | (__u64)(b) << 8 | (__u64)(c) << 16 | (__u64)(d) << 24 | (__u64)(e) << 32 | (__u64)(f) << 40 |    \
		(__u64)(g) << 48 | (__u64)(h) << 56)
#define FIRST(n) (~0ULL >> (64 - 8 * (n)))

static __always_inline __u64 eight_at(const char *b)
{
	return *(const __u64 *)b;
}

static __always_inline bool is_blank(char ch)
{
	return ch == ' ' || ch == '\t';
}

static __always_inline bool odd(struct kt_io *io)
{
	io->found |= HEAD_ODD;
	return true;
}

/* A letter made small, without a branch for the verifier to follow. */
static __always_inline char small(char ch)
{
	return ch | (((__u32)(__u8)(ch - 'A') - 26) >> 31 << 5);
}

/* The value of Content-Length; n bytes of the line are known. */
static __always_inline void look_length(struct kt_io *io, __u32 n)
{
	const char *b = io->look + (io->value & 31);
	__u64 length = 0;

	for (__u32 i = 0; i <= LOOK_DIGITS; i++) {
		__u8 digit = b[i] - '0';

		if (digit <= 9) {
			length = length * 10 + digit;
			continue;
		}
		if (!i || i + 18 > n || b[i] != '\r' || b[i + 1] != '\n' || io->found & HEAD_LENGTH)
			break;
		io->length = length;
		io->found |= HEAD_LENGTH;
		return;
	}
	odd(io);
}

/* Is the type in io->type one of those that are not wanted? */
static __always_inline bool is_excluded(struct kt_io *io)
{
	for (__u32 i = 0; i < KT_TYPES; i++) {
		__u64 differ = 0;

		if (i >= excluded_types)
			return false;
		if ((io->type[0] ^ excluded[i].type[0]) & excluded[i].mask[0])
			continue;
		for (__u32 w = 1; w < KT_TYPE_WORDS; w++)
			differ |= (io->type[w] ^ excluded[i].type[w]) & excluded[i].mask[w];
		if (!differ)
			return true;
	}
	return false;
}

/* The value of Content-Type: its first type, in small letters and zeroes behind it. */
static __always_inline void look_type(struct kt_io *io, __u32 n)
{
	const char *b = io->look + (io->value & 31);
	char *type = (char *)io->type;

	for (__u32 w = 0; w < KT_TYPE_WORDS; w++)
		io->type[w] = 0;
	for (__u32 i = 0; i < KT_TYPE_LEN; i++) {
		char ch = b[i];

		if (i + 16 > n || !ch)
			return;
		if (ch == ';' || ch == ',' || is_blank(ch))
			break;
		if (ch == '\r') {
			if (b[i + 1] != '\n')
				return;
			break;
		}
		type[i] = small(ch);
	}
	if (is_excluded(io))
		io->found |= HEAD_UNWANTED;
}

/* The piece from io->off on of `n` bytes at `base`. */
static __always_inline bool look_load_of(struct kt_io *io, __u64 base, __u64 n)
{
	n -= io->off;
	if (n > KT_LOOK)
		n = KT_LOOK;
	io->window = io->off;
	io->have = n;
	return !bpf_probe_read_user(io->look, n, (void *)(base + io->off));
}

static __always_inline bool look_load(struct kt_io *io)
{
	return look_load_of(io, io->base, io->seg_left);
}

/* A field whose name begins with "content-": it is brought to the front of the piece. True: it is odd. */
static __noinline int look_field(struct kt_io *io)
{
	__u64 name;

	if (!look_load(io) || io->have < 16)
		return odd(io);
	name = eight_at(io->look + 8);
	if (((name & FIRST(7)) | (EACH(0x20) & FIRST(6))) == EIGHT('l', 'e', 'n', 'g', 't', 'h', ':', 0)) {
		io->value = io->look[15] == ' ' ? 16 : 15;
		look_length(io, io->have);
	} else if (excluded_types &&
		   ((name & FIRST(5)) | (EACH(0x20) & FIRST(4))) == EIGHT('t', 'y', 'p', 'e', ':', 0, 0, 0)) {
		io->value = io->look[13] == ' ' ? 14 : 13;
		look_type(io, io->have);
	}
	return (io->found & HEAD_ODD) != 0;
}

/* The line that begins at `at` in the piece. True: the head is over (io->head) or odd. */
static __always_inline bool look_name(struct kt_io *io, __u32 at)
{
	const char *b = io->look + (at & (KT_LOOK - 1));
	__u32 n = io->have - at;
	__u64 name;

	if (is_blank(b[0]))
		return odd(io);
	if (b[0] == '\r') {
		if (n < 2 || b[1] != '\n')
			return odd(io);
		io->head = io->off + 2;
		return true;
	}
	if (n < 8) /* cut by the end of the call */
		return (b[0] | 0x20) == 'c' || (b[0] | 0x20) == 't' ? odd(io) : false;
	name = eight_at(b);
	if ((name | (EACH(0x20) & FIRST(7))) == EIGHT('c', 'o', 'n', 't', 'e', 'n', 't', '-'))
		return look_field(io);
	if ((name | EACH(0x20)) == EIGHT('t', 'r', 'a', 'n', 's', 'f', 'e', 'r'))
		io->found |= HEAD_CODED;
	return false;
}

/* Where the next LF of the piece is, from `at` on; KT_LOOK: nowhere. */
static __always_inline __u32 look_end(struct kt_io *io, __u32 at)
{
	for (__u32 i = 0; i < KT_LOOK / 8; i++) {
		__u32 p = at + 8 * i;
		__u64 x, ends;

		if (p >= io->have)
			break;
		x = eight_at(io->look + (p & (KT_LOOK - 1))) ^ EACH('\n');
		/* The highest bit of each byte that is one, of which the lowest counts. */
		ends = ~(((x & EACH(0x7f)) + EACH(0x7f)) | x | EACH(0x7f));
		if (!ends)
			continue;
		ends = (ends & -ends) - 1;
		p += (((ends & EACH(1)) * EACH(1)) >> 56) - 1;
		return p < io->have ? p : KT_LOOK;
	}
	return KT_LOOK;
}

/* Looks at the next line of a head, or a piece of it, from io->off on. True: there is no more to see, the head is over
 * (io->head), odd, or the bytes are at their end. */
static __noinline int look_on(struct kt_io *io)
{
	__u32 at = io->off - io->window, end;
	char before = io->before;

	if (io->off >= io->seg_left)
		return 1;
	if (at >= io->have || (at + 8 > io->have && io->window + io->have < io->seg_left)) {
		if (!look_load(io))
			return odd(io);
	}
	if (io->fresh) {
		io->fresh = 0;
		if (look_name(io, io->off - io->window))
			return 1;
	}
	at = io->off - io->window;
	end = look_end(io, at);
	if (end >= KT_LOOK) {
		io->before = io->look[(io->have - 1) & (KT_LOOK - 1)];
		io->off = io->window + io->have;
		return 0;
	}
	if (end > at)
		before = io->look[(end - 1) & (KT_LOOK - 1)];
	if (before != '\r')
		return odd(io);
	io->before = '\n';
	io->fresh = 1;
	io->off = io->window + end + 1;
	return 0;
}

/* A message begins at `off`. */
static __always_inline void look_begin(struct kt_io *io, __u64 off)
{
	io->off = off;
	io->length = 0;
	io->head = 0;
	io->window = io->have = 0;
	io->found = io->before = io->fresh = 0;
}

#endif
