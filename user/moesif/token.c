#include "moesif/token.h"

#include <errno.h>

#include "base/base64.h"
#include "moesif/json_scan.h"
#include "moesif/utf8.h"

/* Takes "<scheme> " off the front; the value as it is when another scheme, or none, stands there. */
static bool take_scheme(struct span *value, struct span scheme)
{
	struct span v = *value;

	if (v.n <= scheme.n || !span_ieq(span_of(v.p, scheme.n), scheme) ||
		(v.p[scheme.n] != ' ' && v.p[scheme.n] != '\t'))
		return false;
	*value = span_trim(span_skip(v, scheme.n));
	return true;
}

static int decode(struct span text, struct buf *store, struct span *ret)
{
	long n;

	buf__clear(store);
	*ret = (struct span){NULL, 0};
	if (!text.n || text.n > TOKEN_MAX)
		return 0;
	if (buf__reserve(store, base64_decoded_max(text.n)) < 0)
		return -ENOMEM;
	n = base64_decode(text, store->p);
	if (n <= 0)
		return 0;
	store->n = (size_t)n;
	*ret = buf_span(store);
	return 0;
}

static int parse_basic(struct span text, struct buf *store, struct token *ret)
{
	struct span plain;
	const char *colon;
	int r = decode(text, store, &plain);

	if (r < 0 || !plain.n)
		return r;
	colon = memchr(plain.p, ':', plain.n);
	if (!colon || colon == plain.p)
		return 0;
	ret->user = span_of(plain.p, (size_t)(colon - plain.p));
	ret->kind = TOKEN_BASIC;
	return 0;
}

/* Second of the parts between dots; the whole when there is no dot and that is allowed. Five parts are an encrypted
 * token (RFC 7516): its second part is a key, not claims. */
static struct span claims_part(struct span text, bool whole)
{
	struct span part[2] = {{NULL, 0}, {NULL, 0}}, rest = text;
	unsigned parts = 0;

	for (;;) {
		const char *dot = rest.n ? memchr(rest.p, '.', rest.n) : NULL;
		struct span p = span_of(rest.p, dot ? (size_t)(dot - rest.p) : rest.n);

		if (parts < 2)
			part[parts] = p;
		parts++;
		if (!dot)
			break;
		rest = span_skip(rest, p.n + 1);
	}
	if (parts == 1)
		return whole ? part[0] : part[1];
	return parts == 5 ? (struct span){NULL, 0} : part[1];
}

static int parse_claims(struct span text, bool whole, struct buf *store, struct token *ret)
{
	struct span plain;
	int r = decode(claims_part(text, whole), store, &plain);

	if (r < 0 || !plain.n || !json_valid(plain, NULL))
		return r;
	while (plain.n && strchr(" \t\r\n", plain.p[0]))
		plain = span_skip(plain, 1);
	if (plain.p[0] != '{')
		return 0;
	ret->claims = plain;
	ret->kind = TOKEN_CLAIMS;
	return 0;
}

int token_parse(struct span value, struct buf *store, struct token *ret)
{
	struct span v = span_trim(value);

	*ret = (struct token){0};
	if (take_scheme(&v, SPAN_LIT("basic")))
		return parse_basic(v, store, ret);
	if (take_scheme(&v, SPAN_LIT("bearer")))
		return parse_claims(v, false, store, ret);
	return parse_claims(v, true, store, ret);
}

static int append_value(const struct json_value *v, struct buf *out)
{
	size_t mark = out->n;
	int r = 0;

	if (v->kind == JT_STRING)
		r = json_unescape(out, v->text);
	else if (v->kind == JT_NUMBER)
		r = buf__append_span(out, v->text);
	if (r < 0 || out->n - mark > TOKEN_TEXT_MAX)
		out->n = mark;
	if (r == -ENOMEM)
		return r;
	return out->n > mark;
}

static int find(struct span object, struct span name, struct json_value *ret)
{
	int r = json_member(object, name, false, ret);

	return r == 0 ? json_member(object, name, true, ret) : r;
}

int token_claim(struct span claims, struct span field, struct buf *out)
{
	struct json_value v = {JT_OBJECT, claims, false};
	const char *dot;
	int r;

	if (!field.n)
		return 0;
	r = find(claims, field, &v);
	while (r == 0 && v.kind == JT_OBJECT && (dot = memchr(field.p, '.', field.n)) != NULL) {
		struct span step = span_of(field.p, (size_t)(dot - field.p));

		if (find(v.text, step, &v) <= 0)
			return 0;
		field = span_skip(field, step.n + 1);
		r = v.kind == JT_OBJECT ? find(v.text, field, &v) : 0;
	}
	if (r > 0 && v.kind == JT_ARRAY)
		r = json_first_element(v.text, &v);
	return r > 0 ? append_value(&v, out) : 0;
}
