#include "moesif/json_scan.h"

#include <errno.h>

#include "moesif/json_plain.h"
#include "moesif/utf8.h"

enum { WANT_VALUE, WANT_KEY, WANT_KEY_OR_END, WANT_VALUE_OR_END, WANT_NEXT, BROKEN };

void json_scan__init(struct json_scan *s, struct span text)
{
	memset(s, 0, sizeof(*s));
	s->p = text.p;
	s->end = text.n ? text.p + text.n : text.p;
	s->state = WANT_VALUE;
}

static enum json_token broken(struct json_scan *s)
{
	s->state = BROKEN;
	return JT_BAD;
}

static inline void skip_space(struct json_scan *s)
{
	if (s->p < s->end && (unsigned char)*s->p > ' ')
		return;
	for (; s->p < s->end; s->p++) {
		if (*s->p == '\n' || *s->p == '\r')
			s->line_break = true;
		else if (*s->p != ' ' && *s->p != '\t')
			break;
	}
}

static int hex4(const char *p, const char *end, uint32_t *ret)
{
	uint32_t v = 0;

	if (end - p < 4)
		return -EINVAL;
	for (int i = 0; i < 4; i++) {
		unsigned char c = ascii_lower((unsigned char)p[i]);

		if (c >= '0' && c <= '9')
			v = v << 4 | (uint32_t)(c - '0');
		else if (c >= 'a' && c <= 'f')
			v = v << 4 | (uint32_t)(c - 'a' + 10);
		else
			return -EINVAL;
	}
	*ret = v;
	return 0;
}

/* p stands behind a backslash. Length of what follows it in this escape, the second half of a pair included; 0: bad. */
static size_t escape_len(const char *p, const char *end, uint32_t *ret_char)
{
	static const char plain[] = "\"\\/bfnrt", means[] = "\"\\/\b\f\n\r\t";
	uint32_t hi, lo;

	if (p == end)
		return 0;
	if (*p != 'u') {
		const char *at = memchr(plain, *p, sizeof(plain) - 1);

		if (!at)
			return 0;
		*ret_char = (unsigned char)means[at - plain];
		return 1;
	}
	if (hex4(p + 1, end, &hi) < 0)
		return 0;
	if (hi < 0xd800 || hi > 0xdfff) {
		*ret_char = hi;
		return 5;
	}
	if (hi > 0xdbff || end - p < 11 || p[5] != '\\' || p[6] != 'u' || hex4(p + 7, end, &lo) < 0)
		return 0;
	if (lo < 0xdc00 || lo > 0xdfff)
		return 0;
	*ret_char = 0x10000 + ((hi - 0xd800) << 10) + (lo - 0xdc00);
	return 11;
}

/* p stands on the opening quote; sets text and moves behind the closing one. */
static int string(struct json_scan *s)
{
	const char *p = s->p + 1;
	uint32_t c;

	s->escaped = false;
	for (;;) {
		size_t n;

		p += json_plain_prefix(p, (size_t)(s->end - p));
		if (p == s->end || (unsigned char)*p < 0x20)
			return -EINVAL;
		if (*p == '"')
			break;
		if (*p == '\\') {
			s->escaped = true;
			n = escape_len(p + 1, s->end, &c);
			if (!n)
				return -EINVAL;
			n++;
		} else {
			n = utf8_char((const unsigned char *)p, (size_t)(s->end - p));
			if (!n)
				return -EINVAL;
		}
		p += n;
	}
	s->text = span_of(s->p + 1, (size_t)(p - s->p - 1));
	s->p = p + 1;
	return 0;
}

static const char *digits(const char *p, const char *end)
{
	while (p < end && *p >= '0' && *p <= '9')
		p++;
	return p;
}

static int number(struct json_scan *s)
{
	const char *p = s->p, *from;

	if (*p == '-')
		p++;
	from = p;
	p = digits(p, s->end);
	if (p == from || (*from == '0' && p - from > 1))
		return -EINVAL;
	if (p < s->end && *p == '.') {
		from = ++p;
		p = digits(p, s->end);
		if (p == from)
			return -EINVAL;
	}
	if (p < s->end && (*p == 'e' || *p == 'E')) {
		p++;
		if (p < s->end && (*p == '+' || *p == '-'))
			p++;
		from = p;
		p = digits(p, s->end);
		if (p == from)
			return -EINVAL;
	}
	s->text = span_of(s->p, (size_t)(p - s->p));
	s->p = p;
	return 0;
}

static enum json_token word(struct json_scan *s, struct span w, enum json_token kind)
{
	struct span rest = span_of(s->p, (size_t)(s->end - s->p));

	if (!span_starts(rest, w))
		return broken(s);
	s->text = span_of(s->p, w.n);
	s->p += w.n;
	s->state = WANT_NEXT;
	return kind;
}

static enum json_token open_container(struct json_scan *s, bool object)
{
	uint64_t bit;

	if (s->depth == JSON_DEPTH_MAX)
		return broken(s);
	bit = 1ULL << (s->depth % 64);
	if (object)
		s->in_object[s->depth / 64] |= bit;
	else
		s->in_object[s->depth / 64] &= ~bit;
	s->depth++;
	s->text = span_of(s->p, 1);
	s->p++;
	s->state = object ? WANT_KEY_OR_END : WANT_VALUE_OR_END;
	return object ? JT_OBJECT : JT_ARRAY;
}

static bool inside_object(const struct json_scan *s)
{
	unsigned d = s->depth - 1U;

	return s->in_object[d / 64] >> (d % 64) & 1;
}

static enum json_token close_container(struct json_scan *s)
{
	bool object = inside_object(s);

	if (*s->p != (object ? '}' : ']'))
		return broken(s);
	s->text = span_of(s->p, 1);
	s->p++;
	s->depth--;
	s->state = WANT_NEXT;
	return object ? JT_OBJECT_END : JT_ARRAY_END;
}

static enum json_token key(struct json_scan *s)
{
	if (*s->p != '"' || string(s) < 0)
		return broken(s);
	skip_space(s);
	if (s->p == s->end || *s->p != ':')
		return broken(s);
	s->p++;
	s->state = WANT_VALUE;
	return JT_KEY;
}

static enum json_token value(struct json_scan *s)
{
	switch (*s->p) {
	case '{':
		return open_container(s, true);
	case '[':
		return open_container(s, false);
	case '"':
		if (string(s) < 0)
			return broken(s);
		s->state = WANT_NEXT;
		return JT_STRING;
	case 't':
		return word(s, SPAN_LIT("true"), JT_TRUE);
	case 'f':
		return word(s, SPAN_LIT("false"), JT_FALSE);
	case 'n':
		return word(s, SPAN_LIT("null"), JT_NULL);
	default:
		if (number(s) < 0)
			return broken(s);
		s->state = WANT_NEXT;
		return JT_NUMBER;
	}
}

enum json_token json_scan__next(struct json_scan *s)
{
	if (s->state == BROKEN)
		return JT_BAD;
	skip_space(s);
	if (s->state == WANT_NEXT) {
		if (s->depth == 0)
			return s->p == s->end ? JT_DONE : broken(s);
		if (s->p == s->end)
			return broken(s);
		if (*s->p != ',')
			return close_container(s);
		s->p++;
		s->state = inside_object(s) ? WANT_KEY : WANT_VALUE;
		skip_space(s);
	}
	if (s->p == s->end)
		return broken(s);
	switch (s->state) {
	case WANT_KEY_OR_END:
		return *s->p == '}' ? close_container(s) : key(s);
	case WANT_KEY:
		return key(s);
	case WANT_VALUE_OR_END:
		return *s->p == ']' ? close_container(s) : value(s);
	default:
		return value(s);
	}
}

int json_scan__skip(struct json_scan *s, enum json_token at)
{
	unsigned depth;

	if (at == JT_KEY)
		at = json_scan__next(s);
	if (at == JT_OBJECT || at == JT_ARRAY) {
		for (depth = s->depth; s->depth >= depth;) {
			at = json_scan__next(s);
			if (at == JT_BAD)
				break;
		}
	}
	return at == JT_BAD ? -EINVAL : 0;
}

bool json_valid(struct span text, bool *ret_line_break)
{
	struct json_scan s;
	enum json_token t;

	json_scan__init(&s, text);
	do
		t = json_scan__next(&s);
	while (t > JT_DONE);
	if (ret_line_break)
		*ret_line_break = s.line_break;
	return t == JT_DONE;
}

/* The value whose first token `at` was just read; the scanner moves behind it. */
static int take_value(struct json_scan *s, enum json_token at, struct json_value *ret)
{
	const char *from = s->text.p;

	if (at == JT_BAD)
		return -EINVAL;
	*ret = (struct json_value){at, s->text, s->escaped};
	if (at != JT_OBJECT && at != JT_ARRAY)
		return 0;
	if (json_scan__skip(s, at) < 0)
		return -EINVAL;
	ret->text = span_of(from, (size_t)(s->p - from));
	return 0;
}

/* A name with an escape in it is compared in its unescaped form; names beyond this length are no match. */
#define NAME_MAX_BYTES 1024

static bool name_matches(const struct json_scan *s, struct span name, bool icase)
{
	char store[NAME_MAX_BYTES];
	struct buf b = {store, 0, sizeof(store), sizeof(store)};
	struct span have = s->text;

	if (s->escaped) {
		/* Escapes only ever shrink, so what fits the store cannot make the buffer grow. */
		if (have.n > sizeof(store) || json_unescape(&b, have) < 0)
			return false;
		have = buf_span(&b);
	}
	return icase ? span_ieq(have, name) : span_eq(have, name);
}

int json_member(struct span text, struct span name, bool icase, struct json_value *ret)
{
	struct json_value v, found = {0};
	struct json_scan s;
	enum json_token t;
	int have = 0;

	json_scan__init(&s, text);
	if (json_scan__next(&s) != JT_OBJECT)
		return -EINVAL;
	while ((t = json_scan__next(&s)) == JT_KEY) {
		bool match = name_matches(&s, name, icase);

		if (take_value(&s, json_scan__next(&s), &v) < 0)
			return -EINVAL;
		if (match) {
			found = v;
			have = 1;
		}
	}
	if (t != JT_OBJECT_END || json_scan__next(&s) != JT_DONE)
		return -EINVAL;
	if (have)
		*ret = found;
	return have;
}

int json_first_element(struct span text, struct json_value *ret)
{
	struct json_scan s;
	enum json_token t;

	json_scan__init(&s, text);
	if (json_scan__next(&s) != JT_ARRAY)
		return -EINVAL;
	t = json_scan__next(&s);
	if (t == JT_ARRAY_END)
		return 0;
	return take_value(&s, t, ret) < 0 ? -EINVAL : 1;
}

int json_unescape(struct buf *out, struct span text)
{
	const char *p = text.p, *end = text.p + text.n;
	size_t mark = out->n;
	int r = 0;

	while (p < end && r == 0) {
		const char *back = memchr(p, '\\', (size_t)(end - p));
		char utf8[4];
		uint32_t c = 0;
		size_t n;

		if (!back) {
			r = buf__append(out, p, (size_t)(end - p));
			break;
		}
		n = escape_len(back + 1, end, &c);
		r = n ? buf__append(out, p, (size_t)(back - p)) : -EINVAL;
		if (r == 0)
			r = buf__append(out, utf8, utf8_encode(c, utf8));
		p = back + 1 + n;
	}
	if (r < 0)
		out->n = mark;
	return r;
}
