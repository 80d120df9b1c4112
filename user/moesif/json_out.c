#include "moesif/json_out.h"

#include <stdio.h>

#include "base/base64.h"
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

static void inside(struct json_out *o, struct span s)
{
	while (s.n && !o->err) {
		size_t n = json_plain_prefix(s.p, s.n);

		json_put_raw(o, span_of(s.p, n));
		s = span_skip(s, n);
		if (!s.n)
			break;
		if ((unsigned char)s.p[0] < 0x80) {
			escape(o, (unsigned char)s.p[0]);
			n = 1;
		} else {
			n = utf8_char((const unsigned char *)s.p, s.n);
			json_put_raw(o, n ? span_of(s.p, n) : SPAN_LIT("\xef\xbf\xbd"));
			n += !n;
		}
		s = span_skip(s, n);
	}
}

void json_put_string(struct json_out *o, struct span s)
{
	json_put_lit(o, "\"");
	inside(o, s);
	json_put_lit(o, "\"");
}

void json_put_string_lower(struct json_out *o, struct span s)
{
	char part[128];

	json_put_lit(o, "\"");
	while (s.n) {
		size_t n = s.n < sizeof(part) ? s.n : sizeof(part);

		/* Names are ASCII where they are legal; a cut inside a foreign character only shows as U+FFFD. */
		span_lower(part, span_of(s.p, n));
		inside(o, span_of(part, n));
		s = span_skip(s, n);
	}
	json_put_lit(o, "\"");
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
