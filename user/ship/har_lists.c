#include "ship/har_lists.h"

#include "ship/json_view.h"

/* Calls fn for each value of each header whose name is `only` (n 0: of all), text without quotes. */
static void each_header(struct span headers, struct span only,
	void (*fn)(struct json_out *o, struct span name, struct span value), struct json_out *o)
{
	struct view_walk all = view_walk(headers), list;
	struct span name, value, unused;

	while (all.object && view_walk__next(&all, &name, &value)) {
		if (only.n && !span_ieq(name, only))
			continue;
		if (view_is_string(value)) {
			fn(o, name, view_inside(value));
			continue;
		}
		list = view_walk(value);
		while (view_walk__next(&list, &unused, &value))
			if (view_is_string(value))
				fn(o, name, view_inside(value));
	}
}

struct span har_header(struct span headers, const char *name)
{
	struct view_walk list;
	struct span value = view_member(headers, name), unused, item;

	if (view_is_string(value))
		return view_inside(value);
	list = view_walk(value);
	return !list.object && view_walk__next(&list, &unused, &item) ? view_inside(item) : (struct span){NULL, 0};
}

static void comma(struct json_out *o)
{
	if (o->b->n && o->b->p[o->b->n - 1] != '[')
		json_put_lit(o, ",");
}

/* Both are JSON text already. */
static void pair(struct json_out *o, struct span name, struct span value)
{
	comma(o);
	json_put_lit(o, "{\"name\":\"");
	json_put_raw(o, name);
	json_put_lit(o, "\",\"value\":\"");
	json_put_raw(o, value);
	json_put_lit(o, "\"}");
}

void har_headers(struct json_out *o, struct span headers)
{
	json_put_lit(o, "[");
	each_header(headers, SPAN_LIT(""), pair, o);
	json_put_lit(o, "]");
}

/* Up to `stop`, which is passed over. No escape of JSON holds one of the characters that are used here. */
static struct span take_until(struct span *s, char stop)
{
	const char *end = s->n ? memchr(s->p, stop, s->n) : NULL;
	struct span taken = span_of(s->p, end ? (size_t)(end - s->p) : s->n);

	*s = span_skip(*s, taken.n + 1);
	return taken;
}

static void cookie_header(struct json_out *o, struct span header, struct span value)
{
	(void)header;
	while (value.n) {
		struct span cookie = span_trim(take_until(&value, ';')), name = take_until(&cookie, '=');

		if (name.n)
			pair(o, name, cookie);
	}
}

void har_request_cookies(struct json_out *o, struct span headers)
{
	json_put_lit(o, "[");
	each_header(headers, SPAN_LIT("cookie"), cookie_header, o);
	json_put_lit(o, "]");
}

static void set_cookie_attributes(struct json_out *o, struct span rest)
{
	bool seen[4] = {false};

	while (rest.n) {
		static const struct {
			struct span name;
			const char *member;
			bool flag;
		} known[] = {{SPAN_LIT("path"), ",\"path\":\"", false}, {SPAN_LIT("domain"), ",\"domain\":\"", false},
			{SPAN_LIT("httponly"), ",\"httpOnly\":true", true},
			{SPAN_LIT("secure"), ",\"secure\":true", true}};
		struct span value = span_trim(take_until(&rest, ';')), name = take_until(&value, '=');

		for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
			if (seen[i] || !span_ieq(name, known[i].name))
				continue;
			seen[i] = true;
			json_put_raw(o, span_str(known[i].member));
			if (known[i].flag)
				continue;
			json_put_raw(o, value);
			json_put_lit(o, "\"");
		}
	}
}

static void set_cookie_header(struct json_out *o, struct span header, struct span value)
{
	struct span cookie = span_trim(take_until(&value, ';')), name = take_until(&cookie, '=');

	(void)header;
	if (!name.n)
		return;
	comma(o);
	json_put_lit(o, "{\"name\":\"");
	json_put_raw(o, name);
	json_put_lit(o, "\",\"value\":\"");
	json_put_raw(o, cookie);
	json_put_lit(o, "\"");
	set_cookie_attributes(o, value);
	json_put_lit(o, "}");
}

void har_response_cookies(struct json_out *o, struct span headers)
{
	json_put_lit(o, "[");
	each_header(headers, SPAN_LIT("set-cookie"), set_cookie_header, o);
	json_put_lit(o, "]");
}

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c = (char)ascii_lower((unsigned char)c);
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* A part of a query, decoded, as a JSON string. A part that does not fit `room` is shown as it is. */
static void query_text(struct json_out *o, struct span s)
{
	char room[2048];
	size_t n = 0;

	if (s.n > sizeof(room)) {
		json_put_string(o, s);
		return;
	}
	for (size_t i = 0; i < s.n; i++) {
		int hi = i + 2 < s.n && s.p[i] == '%' ? hex_digit(s.p[i + 1]) : -1;
		int lo = hi >= 0 ? hex_digit(s.p[i + 2]) : -1;

		if (lo >= 0) {
			room[n++] = (char)(hi << 4 | lo);
			i += 2;
		} else {
			room[n++] = s.p[i] == '+' ? ' ' : s.p[i];
		}
	}
	json_put_string(o, span_of(room, n));
}

void har_query(struct json_out *o, struct span uri)
{
	struct span name, value;

	json_put_lit(o, "[");
	take_until(&uri, '?');
	while (uri.n) {
		value = take_until(&uri, '&');
		if (!value.n)
			continue;
		name = take_until(&value, '=');
		comma(o);
		json_put_lit(o, "{\"name\":");
		query_text(o, name);
		json_put_lit(o, ",\"value\":");
		query_text(o, value);
		json_put_lit(o, "}");
	}
	json_put_lit(o, "]");
}
