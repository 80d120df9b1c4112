/* json_plain: the bytes of a string that JSON shows as they are: ASCII but for controls, quote and backslash. Found,
 * and copied, sixteen or eight at a time.
 */
#ifndef KT_MOESIF_JSON_PLAIN_H
#define KT_MOESIF_JSON_PLAIN_H

#include "base/span.h"

#define JSON_ONES (~0ULL / 255)

static inline bool json_plain(unsigned char c)
{
	return c >= 0x20 && c < 0x80 && c != '"' && c != '\\';
}

/* Eight bytes, the first in memory lowest. */
static inline uint64_t json_word(const char *p)
{
	uint64_t w = span_word(p);

#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
	w = __builtin_bswap64(w);
#endif
	return w;
}

/* How many of these are plain before the first that is not. Borrows make a plain byte look special only above one that
 * is, so the lowest bit is always right. */
static inline unsigned json_plain8(uint64_t w)
{
	uint64_t quote = w ^ JSON_ONES * '"', slash = w ^ JSON_ONES * '\\';
	uint64_t control = w - JSON_ONES * 0x20, q = quote - JSON_ONES, b = slash - JSON_ONES;
	uint64_t special = (w | (control & ~w) | (q & ~quote) | (b & ~slash)) & (JSON_ONES * 128);

	return special ? (unsigned)__builtin_ctzll(special) / 8 : 8;
}

#ifdef __SSE2__
/* The same for sixteen bytes, copied to to; NULL: not. */
static inline unsigned json_plain16(char *to, const char *p, bool lower)
{
	__m128i v = span_load16(p), special = at_most16(v, 0x1f);

	special = _mm_or_si128(special, _mm_cmpeq_epi8(v, _mm_set1_epi8('"')));
	special = _mm_or_si128(special, _mm_cmpeq_epi8(v, _mm_set1_epi8('\\')));
	if (lower)
		v = ascii_lower16(v);
	if (to)
		_mm_storeu_si128((__m128i *)to, v);
	/* Bytes beyond ASCII bring their mark with them. */
	special = _mm_or_si128(special, v);
	return (unsigned)__builtin_ctz((unsigned)_mm_movemask_epi8(special) | 1u << 16);
}
#endif

static inline unsigned json_plain_step(char *to, const char *p, bool lower)
{
	uint64_t w;

	if (to) {
		w = span_word(p);
		w = lower ? ascii_lower8(w) : w;
		memcpy(to, &w, sizeof(w));
	}
	return json_plain8(json_word(p));
}

/* How many bytes at p are plain before the first that is not, of n; they are copied to to (NULL: not), in small
 * letters if so wanted. What lies behind them in to, up to n, may be anything afterwards. */
static inline size_t json_plain_copy(char *to, const char *p, size_t n, bool lower)
{
	size_t i = 0, step = 0;
	unsigned good;

#ifdef __SSE2__
	for (; n - i >= 16; i += 16, step = 16) {
		good = json_plain16(to ? to + i : NULL, p + i, lower);
		if (good < 16)
			return i + good;
	}
	/* What is left of a longer one is looked at together with bytes before it, which are known to be plain. */
	if (step && i < n)
		return n - 16 + json_plain16(to ? to + n - 16 : NULL, p + n - 16, lower);
#endif
	for (; n - i >= 8; i += 8, step = 8) {
		good = json_plain_step(to ? to + i : NULL, p + i, lower);
		if (good < 8)
			return i + good;
	}
	if (step && i < n)
		return n - 8 + json_plain_step(to ? to + n - 8 : NULL, p + n - 8, lower);
	for (; i < n && json_plain((unsigned char)p[i]); i++)
		if (to)
			to[i] = lower ? (char)ascii_lower((unsigned char)p[i]) : p[i];
	return i;
}

static inline size_t json_plain_prefix(const char *p, size_t n)
{
	return json_plain_copy(NULL, p, n, false);
}

#endif
