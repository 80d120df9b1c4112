#include "moesif/json_out.h"

#include <stdio.h>

#include "base/base64.h"
#include "moesif/json_plain.h"
#include "moesif/utf8.h"

void json_put_slow(struct json_out *o, struct span s)
{
	if (!o->err)
		o->err = buf__append(o->b, s.p, s.n);
}

static void escape(struct json_out *o, unsigned char c)
{
	static const char hex[] = "0123456789abcdef";
	char text[6] = {'\\', 'u', '0', '0', hex[c >> 4], hex[c & 15]};
	size_t n = 2;

	switch (c) {
	case '"':
	case '\\':
		text[1] = (char)c;
		break;
	case '\n':
		text[1] = 'n';
		break;
	case '\r':
		text[1] = 'r';
		break;
	case '\t':
		text[1] = 't';
		break;
	default:
		n = sizeof(text);
	}
	json_put_raw(o, span_of(text, n));
}

/* What json_plain_copy stopped at: one character of the string. */
static struct span put_special(struct json_out *o, struct span s)
{
	size_t n = 1;

	if ((unsigned char)s.p[0] < 0x80) {
		escape(o, (unsigned char)s.p[0]);
	} else {
		n = utf8_char((const unsigned char *)s.p, s.n);
		json_put_raw(o, n ? span_of(s.p, n) : SPAN_LIT("\xef\xbf\xbd"));
		n += !n;
	}
	return span_skip(s, n);
}

/* Quotes and all: room for what needs no more than is there is made at once, and nearly always that is the end of it.
 */
static inline void put_string(struct json_out *o, struct span s, bool lower)
{
	struct buf *b = o->b;

	json_put_lit(o, "\"");
	while (!o->err) {
		size_t n;

		if (s.n + 1 > b->cap - b->n || s.n + 1 > b->max - b->n)
			o->err = buf__reserve(b, s.n + 1);
		if (o->err)
			return;
		n = json_plain_copy(b->p + b->n, s.p, s.n, lower);
		b->n += n;
		s = span_skip(s, n);
		if (!s.n) {
			b->p[b->n++] = '"';
			return;
		}
		s = put_special(o, s);
	}
}

void json_put_string(struct json_out *o, struct span s)
{
	put_string(o, s, false);
}

void json_put_string_lower(struct json_out *o, struct span s)
{
	put_string(o, s, true);
}

void json_put_u64(struct json_out *o, uint64_t v)
{
	char text[DECIMAL_MAX];

	json_put_raw(o, span_decimal(text, v));
}

void json_put_i64(struct json_out *o, int64_t v)
{
	if (v < 0)
		json_put_lit(o, "-");
	json_put_u64(o, v < 0 ? 0 - (uint64_t)v : (uint64_t)v);
}

void json_put_ms(struct json_out *o, uint64_t ns)
{
	uint64_t us = ns / 1000 % 1000;
	char frac[4] = {'.', (char)('0' + us / 100), (char)('0' + us / 10 % 10), (char)('0' + us % 10)};

	json_put_u64(o, ns / 1000000);
	json_put_raw(o, span_of(frac, sizeof(frac)));
}

void json_put_verbatim(struct json_out *o, struct span text, bool line_break)
{
	size_t mark = o->b->n;

	json_put_raw(o, text);
	if (o->err || !line_break)
		return;
	for (char *p = o->b->p + mark, *end = p + text.n; p < end; p++)
		if (*p == '\n' || *p == '\r')
			*p = ' ';
}

void json_put_base64(struct json_out *o, struct span data)
{
	json_put_lit(o, "\"");
	if (!o->err)
		o->err = base64_encode(o->b, data);
	json_put_lit(o, "\"");
}
