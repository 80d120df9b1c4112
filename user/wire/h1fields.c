#include "wire/h1fields.h"

static bool is_token(unsigned char c)
{
	/* A bit for each of "!#$%&'*+-.0123456789", of "A-Z^_" and of "`a-z|~". */
	static const uint32_t set[8] = {0, 0x03ff6cfa, 0xc7fffffe, 0x57ffffff};

	return set[c / 32] >> (c % 32) & 1;
}

static bool ends_value(unsigned char c)
{
	return (c < 0x20 && c != '\t') || c == 0x7f;
}

#ifdef __SSE2__

#define LANES 16

/* How many bytes at p are letters, digits or dashes, of LANES. */
static unsigned name_run(const char *p)
{
	__m128i v = span_load16(p);
	__m128i letter = at_most16(_mm_sub_epi8(_mm_or_si128(v, _mm_set1_epi8(0x20)), _mm_set1_epi8('a')), 25);
	__m128i digit = at_most16(_mm_sub_epi8(v, _mm_set1_epi8('0')), 9);
	__m128i good = _mm_or_si128(_mm_or_si128(letter, digit), _mm_cmpeq_epi8(v, _mm_set1_epi8('-')));

	return (unsigned)__builtin_ctz(~(unsigned)_mm_movemask_epi8(good));
}

/* How many bytes at p are no control characters, of LANES. */
static unsigned value_run(const char *p)
{
	__m128i v = span_load16(p);
	__m128i bad = _mm_or_si128(at_most16(v, 0x1f), _mm_cmpeq_epi8(v, _mm_set1_epi8(0x7f)));

	return (unsigned)__builtin_ctz((unsigned)_mm_movemask_epi8(bad) | 1u << LANES);
}

#else

#define LANES 1

static unsigned name_run(const char *p)
{
	return is_token((unsigned char)*p);
}

static unsigned value_run(const char *p)
{
	return !ends_value((unsigned char)*p);
}

#endif

static const char *name_end(const char *p, const char *end)
{
	while (end - p >= LANES) {
		unsigned n = name_run(p);

		p += n;
		if (n < LANES)
			break;
	}
	while (p < end && is_token((unsigned char)*p))
		p++;
	return p;
}

static const char *value_end(const char *p, const char *end)
{
	while (end - p >= LANES) {
		unsigned n = value_run(p);

		p += n;
		if (n == LANES)
			continue;
		if (ends_value((unsigned char)*p))
			return p;
		p++; /* a tab */
	}
	while (p < end && !ends_value((unsigned char)*p))
		p++;
	return p;
}

static bool is_blank(char c)
{
	return c == ' ' || c == '\t';
}

/* A plain line at p: where the next one begins, NULL if it is none. */
static const char *plain_line(const char *p, const char *end, struct span *name, struct span *value)
{
	const char *colon = name_end(p, end), *cr, *from;

	if (colon == p || colon == end || *colon != ':')
		return NULL;
	from = colon + 1;
	from += from < end && is_blank(*from);
	cr = value_end(from, end);
	/* Two bytes of line end, and one by which the next line shows that it does not go on with this one. */
	if (end - cr < 3 || cr[0] != '\r' || cr[1] != '\n' || is_blank(cr[2]))
		return NULL;
	/* Of a length without a value the parser makes something of its own; and more white space around a value than a
	 * placed field may have. */
	if (cr == from || is_blank(from[0]) || is_blank(cr[-1]))
		return NULL;
	*name = span_of(p, (size_t)(colon - p));
	*value = span_of(from, (size_t)(cr - from));
	return cr + 2;
}

bool h1fields__take(struct span *in, struct headers *h)
{
	const char *p = in->p, *end = in->p + in->n, *next;
	struct span name, value;
	uint32_t count = 0;
	bool over = false;

	for (;; p = next) {
		if (end - p >= 2 && p[0] == '\r' && p[1] == '\n') {
			over = true;
			break;
		}
		next = plain_line(p, end, &name, &value);
		if (!next || (h && headers__place(h, name, value)))
			break;
		count++;
	}
	if (h && headers__adopt(h, span_of(in->p, (size_t)(p - in->p)), count))
		return false;
	*in = span_skip(*in, (size_t)(p - in->p) + (over ? 2 : 0));
	return over;
}
