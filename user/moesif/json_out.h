/* json_out: writes JSON text into a buf. Errors stick: write on, look at `err` at the end.
 * Strings come out as valid UTF-8 whatever goes in: each byte that belongs to no character becomes U+FFFD.
 */
#ifndef KT_MOESIF_JSON_OUT_H
#define KT_MOESIF_JSON_OUT_H

#include "base/buf.h"

struct json_out {
	struct buf *b;
	int err; /* 0 or the first error of buf__reserve */
};

void json_put_slow(struct json_out *o, struct span s); /* for json_put_raw */

static inline void json_put_raw(struct json_out *o, struct span s)
{
	struct buf *b = o->b;

	if (o->err || !s.n)
		return;
	if (s.n > b->cap - b->n || s.n > b->max - b->n) {
		json_put_slow(o, s);
		return;
	}
	memcpy(b->p + b->n, s.p, s.n);
	b->n += s.n;
}

#define json_put_lit(o, text) json_put_raw(o, SPAN_LIT(text))
void json_put_string(struct json_out *o, struct span s);
/* A header's name: lower-cased. */
void json_put_string_lower(struct json_out *o, struct span s);
void json_put_u64(struct json_out *o, uint64_t v);
void json_put_i64(struct json_out *o, int64_t v);
/* Nanoseconds as milliseconds with three decimals. */
void json_put_ms(struct json_out *o, uint64_t ns);
/* A JSON text that was found valid; breaks of lines (white space only, then) become spaces. */
void json_put_verbatim(struct json_out *o, struct span text, bool line_break);
/* A string in base64. */
void json_put_base64(struct json_out *o, struct span data);

#define JSON_ONES (~0ULL / 255)

/* The high bit of each byte that is special: a quote, a backslash, a control character, no ASCII. Borrows make a plain
 * byte look special only above one that is, so the lowest bit is always right. */
static inline uint64_t json_specials(uint64_t w)
{
	uint64_t quote = w ^ JSON_ONES * '"', slash = w ^ JSON_ONES * '\\';
	uint64_t control = w - JSON_ONES * 0x20, q = quote - JSON_ONES, b = slash - JSON_ONES;

	return (w | (control & ~w) | (q & ~quote) | (b & ~slash)) & (JSON_ONES * 128);
}

static inline bool json_plain(unsigned char c)
{
	return c >= 0x20 && c < 0x80 && c != '"' && c != '\\';
}

/* How many bytes at p need no escape and are ASCII. */
static inline size_t json_plain_prefix(const char *p, size_t n)
{
	size_t i = 0;
	uint64_t w;

	for (; n - i >= sizeof(w); i += sizeof(w)) {
		memcpy(&w, p + i, sizeof(w));
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
		w = __builtin_bswap64(w);
#endif
		w = json_specials(w);
		if (w)
			return i + (size_t)__builtin_ctzll(w) / 8;
	}
	/* What is left of a longer one is looked at together with bytes before it, which are known to be plain. */
	if (i && i < n) {
		memcpy(&w, p + n - sizeof(w), sizeof(w));
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
		w = __builtin_bswap64(w);
#endif
		w = json_specials(w);
		return w ? n - sizeof(w) + (size_t)__builtin_ctzll(w) / 8 : n;
	}
	while (i < n && json_plain((unsigned char)p[i]))
		i++;
	return i;
}

#endif
