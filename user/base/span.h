/* span: a view of bytes that somebody else owns. Never NUL-terminated by contract. */
#ifndef KT_BASE_SPAN_H
#define KT_BASE_SPAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#ifdef __SSE2__
#include <emmintrin.h>
#endif

struct span {
	const char *p;
	size_t n;
};

#define SPAN_LIT(s) ((struct span){"" s, sizeof(s) - 1})

static inline struct span span_of(const void *p, size_t n)
{
	return (struct span){(const char *)p, n};
}

static inline struct span span_str(const char *s)
{
	return (struct span){s, s ? strlen(s) : 0};
}

static inline bool span_eq(struct span a, struct span b)
{
	return a.n == b.n && (a.n == 0 || memcmp(a.p, b.p, a.n) == 0);
}

/* ASCII only: header names and schemes are ASCII (RFC 9110, 5.1), locale must not matter. */
static inline unsigned char ascii_lower(unsigned char c)
{
	return (c >= 'A' && c <= 'Z') ? (unsigned char)(c + 32) : c;
}

/* The same for eight bytes at once: adding carries into a byte's high bit where it is beyond a limit, and never
 * further, since the high bits were cleared before. */
static inline uint64_t ascii_lower8(uint64_t w)
{
	const uint64_t ones = ~0ULL / 255, low = w & ones * 127;
	uint64_t from_a = low + ones * (128 - 'A'), past_z = low + ones * (127 - 'Z');

	return w | ((from_a & ~past_z & ~w & ones * 128) >> 2);
}

static inline uint64_t span_word(const char *p)
{
	uint64_t w;

	memcpy(&w, p, sizeof(w));
	return w;
}

#ifdef __SSE2__
static inline __m128i span_load16(const char *p)
{
	return _mm_loadu_si128((const __m128i *)p);
}

/* Unsigned: is each byte of v at most max? */
static inline __m128i at_most16(__m128i v, char max)
{
	return _mm_cmpeq_epi8(_mm_min_epu8(v, _mm_set1_epi8(max)), v);
}

static inline __m128i ascii_lower16(__m128i v)
{
	__m128i letter = at_most16(_mm_sub_epi8(v, _mm_set1_epi8('A')), 25);

	return _mm_or_si128(v, _mm_and_si128(letter, _mm_set1_epi8(0x20)));
}

static inline bool span_ieq16(const char *a, const char *b)
{
	__m128i same = _mm_cmpeq_epi8(ascii_lower16(span_load16(a)), ascii_lower16(span_load16(b)));

	return _mm_movemask_epi8(same) == 0xffff;
}
#endif

static inline bool span_ieq(struct span a, struct span b)
{
	size_t i = 0;

	if (a.n != b.n)
		return false;
#ifdef __SSE2__
	if (a.n >= 16) {
		for (; a.n - i > 16; i += 16)
			if (!span_ieq16(a.p + i, b.p + i))
				return false;
		return span_ieq16(a.p + a.n - 16, b.p + a.n - 16);
	}
#endif
	for (; a.n - i >= 8; i += 8)
		if (ascii_lower8(span_word(a.p + i)) != ascii_lower8(span_word(b.p + i)))
			return false;
	/* The end of a longer one is covered by its last eight bytes. */
	if (i && i < a.n)
		return ascii_lower8(span_word(a.p + a.n - 8)) == ascii_lower8(span_word(b.p + b.n - 8));
	for (; i < a.n; i++)
		if (ascii_lower((unsigned char)a.p[i]) != ascii_lower((unsigned char)b.p[i]))
			return false;
	return true;
}

/* Writes s.n bytes to out. */
static inline void span_lower(char *out, struct span s)
{
	size_t i = 0;

	for (; s.n - i >= 8; i += 8) {
		uint64_t w = ascii_lower8(span_word(s.p + i));

		memcpy(out + i, &w, sizeof(w));
	}
	for (; i < s.n; i++)
		out[i] = (char)ascii_lower((unsigned char)s.p[i]);
}

static inline bool span_starts(struct span a, struct span prefix)
{
	return a.n >= prefix.n && (prefix.n == 0 || memcmp(a.p, prefix.p, prefix.n) == 0);
}

/* First n bytes dropped; n beyond the end gives an empty span at the end. */
static inline struct span span_skip(struct span a, size_t n)
{
	if (n > a.n)
		n = a.n;
	return (struct span){a.p + n, a.n - n};
}

#define DECIMAL_MAX 20

/* v in decimal, at the end of `room`. */
static inline struct span span_decimal(char room[DECIMAL_MAX], uint64_t v)
{
	size_t i = DECIMAL_MAX;

	do {
		room[--i] = (char)('0' + v % 10);
		v /= 10;
	} while (v);
	return (struct span){room + i, DECIMAL_MAX - i};
}

/* Space and tab trimmed on both ends (the OWS of RFC 9110, 5.6.3). */
static inline struct span span_trim(struct span a)
{
	while (a.n && (a.p[0] == ' ' || a.p[0] == '\t'))
		a = span_skip(a, 1);
	while (a.n && (a.p[a.n - 1] == ' ' || a.p[a.n - 1] == '\t'))
		a.n--;
	return a;
}

#endif
