#include "moesif/uri.h"

#include "moesif/utf8.h"

#define STARS "*****"
#define NAME_STORE 256

bool uri_next_pair(struct span *rest, struct uri_pair *ret)
{
	const char *amp, *eq;
	struct span pair;

	if (!rest->n)
		return false;
	amp = memchr(rest->p, '&', rest->n);
	pair = span_of(rest->p, amp ? (size_t)(amp - rest->p) : rest->n);
	*rest = span_skip(*rest, pair.n + 1);
	eq = pair.n ? memchr(pair.p, '=', pair.n) : NULL;
	ret->name = eq ? span_of(pair.p, (size_t)(eq - pair.p)) : pair;
	ret->value = eq ? span_skip(pair, ret->name.n + 1) : (struct span){NULL, 0};
	return true;
}

/* The byte that two digits stand for; -1: these are none. */
static int hex_byte(const char *p)
{
	unsigned v = 0;

	for (int i = 0; i < 2; i++) {
		unsigned char l = ascii_lower((unsigned char)p[i]);

		if (l >= '0' && l <= '9')
			v = v << 4 | (unsigned)(l - '0');
		else if (l >= 'a' && l <= 'f')
			v = v << 4 | (unsigned)(l - 'a' + 10);
		else
			return -1;
	}
	return (int)v;
}

struct span uri_decode_name(struct span name, char *store, size_t size)
{
	size_t n = 0;

	if (!name.n || name.n > size || (!memchr(name.p, '%', name.n) && !memchr(name.p, '+', name.n)))
		return name;
	for (size_t i = 0; i < name.n; i++) {
		char c = name.p[i];
		int byte = c == '%' && name.n - i > 2 ? hex_byte(name.p + i + 1) : -1;

		if (c == '+') {
			c = ' ';
		} else if (byte >= 0) {
			c = (char)byte;
			i += 2;
		}
		store[n++] = c;
	}
	return span_of(store, n);
}

static bool is_masked(const struct uri_masks *m, struct span name)
{
	char store[NAME_STORE];

	name = uri_decode_name(name, store, sizeof(store));
	return (m->exact && names__has(m->exact, name)) || (m->credentials && names__has(m->credentials, name));
}

int uri_mask_pairs(struct buf *out, struct span pairs, const struct uri_masks *masks, bool *ret_masked)
{
	struct span rest = pairs;
	struct uri_pair pair;
	bool masked = false;
	int r = 0;

	while (r == 0 && uri_next_pair(&rest, &pair)) {
		bool star = pair.value.n && is_masked(masks, pair.name);

		r = buf__append_span(out, pair.name);
		if (r == 0 && pair.value.p)
			r = buf__append_char(out, '=');
		if (r == 0)
			r = buf__append_span(out, star ? SPAN_LIT(STARS) : pair.value);
		masked |= star;
		/* The separator that stood here, also when nothing follows it. */
		if (r == 0 && (rest.n || pairs.p[pairs.n - 1] == '&'))
			r = buf__append_char(out, '&');
	}
	if (ret_masked)
		*ret_masked = masked;
	return r;
}

struct span uri_origin_form(struct span target, struct span *ret_authority)
{
	static const struct span schemes[] = {{"http://", 7}, {"https://", 8}, {"ws://", 5}, {"wss://", 6}};

	*ret_authority = (struct span){NULL, 0};
	for (size_t i = 0; i < sizeof(schemes) / sizeof(schemes[0]); i++) {
		struct span rest;
		size_t n = 0;

		if (target.n < schemes[i].n || !span_ieq(span_of(target.p, schemes[i].n), schemes[i]))
			continue;
		rest = span_skip(target, schemes[i].n);
		while (n < rest.n && rest.p[n] != '/' && rest.p[n] != '?' && rest.p[n] != '#')
			n++;
		*ret_authority = span_of(rest.p, n);
		return span_skip(rest, n);
	}
	return target;
}

struct span uri_host(struct span authority)
{
	const char *at = authority.n ? memrchr(authority.p, '@', authority.n) : NULL, *end;

	if (at)
		authority = span_skip(authority, (size_t)(at - authority.p) + 1);
	if (authority.n && authority.p[0] == '[') {
		end = memchr(authority.p, ']', authority.n);
		return end ? span_of(authority.p, (size_t)(end - authority.p) + 1) : authority;
	}
	end = authority.n ? memchr(authority.p, ':', authority.n) : NULL;
	if (end)
		authority.n = (size_t)(end - authority.p);
	if (authority.n > 1 && authority.p[authority.n - 1] == '.')
		authority.n--;
	return authority;
}

struct span uri_path(struct span origin_form)
{
	const char *mark = origin_form.n ? memchr(origin_form.p, '?', origin_form.n) : NULL;

	if (mark)
		origin_form.n = (size_t)(mark - origin_form.p);
	return origin_form.n ? origin_form : SPAN_LIT("/");
}

/* From `from` on: what is no UTF-8 gets percent-encoded. */
static int make_utf8(struct buf *out, size_t from)
{
	static const char digits[] = "0123456789ABCDEF";
	struct span tail = span_of(out->p + from, out->n - from);
	struct buf fixed;
	int r = 0;

	if (!tail.n || utf8_valid(tail))
		return 0;
	buf__init(&fixed, out->max);
	while (tail.n && r == 0) {
		size_t n = utf8_char((const unsigned char *)tail.p, tail.n);
		unsigned char c = (unsigned char)tail.p[0];
		char code[3] = {'%', digits[c >> 4], digits[c & 15]};

		r = n ? buf__append(&fixed, tail.p, n) : buf__append(&fixed, code, sizeof(code));
		tail = span_skip(tail, n ? n : 1);
	}
	if (r == 0) {
		out->n = from;
		r = buf__append_span(out, buf_span(&fixed));
	}
	buf__free(&fixed);
	return r;
}

static int append_lower(struct buf *out, struct span s)
{
	size_t from = out->n;
	int r = buf__append_span(out, s);

	for (size_t i = from; r == 0 && i < out->n; i++)
		out->p[i] = (char)ascii_lower((unsigned char)out->p[i]);
	return r;
}

int uri_compose(struct buf *out, const struct uri_parts *parts, const struct uri_masks *masks, struct uri_layout *ret)
{
	struct span authority, origin = uri_origin_form(parts->target, &authority), host, path, query;
	char port[DECIMAL_MAX];
	size_t begin = out->n;
	int r;

	host = uri_host(authority.n ? authority : parts->host);
	path = uri_path(origin);
	query = origin.n > path.n || (origin.n && origin.p[0] == '?')
			? span_skip(origin, origin.p[0] == '?' ? 0 : path.n)
			: (struct span){NULL, 0};
	r = buf__append_span(out, parts->scheme);
	if (r == 0)
		r = buf__append_str(out, "://");
	if (r == 0)
		r = append_lower(out, host.n ? host : SPAN_LIT("kong"));
	if (r == 0 && parts->port)
		r = buf__append_char(out, ':');
	if (r == 0 && parts->port)
		r = buf__append_span(out, span_decimal(port, parts->port));
	if (r == 0)
		r = make_utf8(out, begin);
	ret->from = out->n;
	if (r == 0 && path.p[0] != '/')
		r = buf__append_char(out, '/');
	if (r == 0)
		r = buf__append_span(out, path);
	if (r == 0)
		r = make_utf8(out, ret->from);
	ret->to = out->n;
	if (r == 0 && query.n)
		r = buf__append_char(out, '?');
	if (r == 0 && query.n)
		r = uri_mask_pairs(out, span_skip(query, 1), masks, NULL);
	return r == 0 ? make_utf8(out, ret->to) : r;
}
