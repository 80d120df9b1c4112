/* Works on the JSON text in place, without a tree: the events are our own, checked when they were made or when their
 * record was read back; anything unexpected ends the attempt.
 */
#include "ship/slim.h"

#include <errno.h>
#include <stdio.h>

struct scan {
	const char *p;
	size_t n, at;
};

static bool skip_string(struct scan *s)
{
	if (s->at >= s->n || s->p[s->at] != '"')
		return false;
	for (s->at++; s->at < s->n && s->p[s->at] != '"'; s->at++)
		if (s->p[s->at] == '\\')
			s->at++;
	return s->at++ < s->n;
}

static void skip_blanks(struct scan *s)
{
	while (s->at < s->n && memchr(" \t\r\n", s->p[s->at], 4))
		s->at++;
}

/* Any value: strings are respected, brackets are counted. */
static bool skip_value(struct scan *s)
{
	unsigned depth = 0;

	do {
		char c;

		if (s->at >= s->n)
			return false;
		c = s->p[s->at];
		if (c == '"') {
			if (!skip_string(s))
				return false;
			continue;
		}
		if (depth == 0 && (c == ',' || c == '}' || c == ']'))
			return true;
		depth += c == '{' || c == '[';
		depth -= c == '}' || c == ']';
		s->at++;
	} while (depth || (s->at < s->n && !memchr(",}]", s->p[s->at], 3)));
	return true;
}

struct member {
	struct span key; /* without quotes */
	size_t from, to; /* "key":value */
	size_t value;
};

/* The next member of an object; s->at is behind { or behind the member before. False at the end or when it is none. */
static bool next_member(struct scan *s, struct member *m)
{
	skip_blanks(s);
	if (s->at < s->n && s->p[s->at] == ',')
		s->at++;
	skip_blanks(s);
	m->from = s->at;
	if (!skip_string(s))
		return false;
	m->key = span_of(s->p + m->from + 1, s->at - m->from - 2);
	skip_blanks(s);
	if (s->at >= s->n || s->p[s->at] != ':')
		return false;
	s->at++;
	skip_blanks(s);
	m->value = s->at;
	if (!skip_value(s))
		return false;
	m->to = s->at;
	return true;
}

/* Cuts [from, to) and one comma beside it. */
static void cut(char *p, size_t *n, size_t from, size_t to)
{
	if (to < *n && p[to] == ',')
		to++;
	else if (from > 0 && p[from - 1] == ',')
		from--;
	memmove(p + from, p + to, *n - to);
	*n -= to - from;
}

/* The object that begins at `at`: its body goes. */
static bool slim_object(char *p, size_t *n, size_t at)
{
	struct scan s = {p, *n, at + 1};
	struct member m;
	bool any = false;

	if (at >= *n || p[at] != '{')
		return false;
	while (next_member(&s, &m)) {
		if (!span_eq(m.key, SPAN_LIT("body")) && !span_eq(m.key, SPAN_LIT("transfer_encoding")))
			continue;
		cut(p, n, m.from, m.to);
		any = true;
		s = (struct scan){p, *n, at + 1};
	}
	return any;
}

/* The metadata says that a body is left out, and why, as it does where an event is too long from the start. There is
 * room for it where the body was. Nothing but a member of the metadata looks like it: quotes in a text have a backslash
 * before them. */
static void tell(char *p, size_t *n, size_t room, const char *part)
{
	char was[48], is[96], *at;
	size_t was_n = (size_t)snprintf(was, sizeof(was), "\"%s_body_truncated\":false", part);
	size_t is_n = (size_t)snprintf(
		is, sizeof(is), "\"%s_body_omitted\":\"event_limit\",\"%s_body_truncated\":true", part, part);

	at = memmem(p, *n, was, was_n);
	if (!at || *n - was_n + is_n > room)
		return;
	memmove(at + is_n, at + was_n, *n - (size_t)(at - p) - was_n);
	memcpy(at, is, is_n);
	*n += is_n - was_n;
}

static bool slim_event(char *p, size_t *n)
{
	static const char *const parts[] = {"request", "response"};
	const size_t room = *n;
	bool cut_one[2] = {false, false};

	for (size_t i = 0; i < 2; i++) {
		struct scan s = {p, *n, 1};
		struct member m;

		if (*n == 0 || p[0] != '{')
			break;
		while (next_member(&s, &m)) {
			if (!span_eq(m.key, span_str(parts[i])))
				continue;
			cut_one[i] = slim_object(p, n, m.value);
			break;
		}
	}
	for (size_t i = 0; i < 2; i++)
		if (cut_one[i])
			tell(p, n, room, parts[i]);
	return cut_one[0] || cut_one[1];
}

int batch__slim(struct batch *b)
{
	size_t n;

	if (b->count != 1)
		return -ENOENT;
	n = batch__bytes(b);
	if (!slim_event(b->p + 1, &n))
		return -ENOENT;
	b->n = n + 1;
	b->ends[0] = (uint32_t)b->n;
	b->slim = true;
	return 0;
}
