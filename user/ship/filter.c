#include "ship/filter.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/glob.h"

#define TESTS_MAX 64

enum field { FIELD_STATUS, FIELD_METHOD, FIELD_PATH, FIELD_USER, FIELD_COMPANY };

static const char *const field_names[] = {"status", "method", "path", "user", "company"};
#define FIELDS (sizeof(field_names) / sizeof(field_names[0]))

/* One alternative. The last one of a term ends it. */
struct test {
	enum field field;
	int lo, hi;	  /* status */
	struct span glob; /* all others */
	bool negate, last;
};

struct filter {
	size_t n;
	struct test tests[TESTS_MAX];
	char text[FILTER_TEXT_MAX];
};

static int fail(char error[FILTER_ERROR_LEN], const char *what, struct span at)
{
	snprintf(error, FILTER_ERROR_LEN, "%s: \"%.*s\"", what, (int)(at.n > 80 ? 80 : at.n), at.p);
	return -EINVAL;
}

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

/* Three digits at most; the rest of s is left. -1: none. */
static int take_number(struct span *s)
{
	int v = 0, digits = 0;

	for (; s->n && is_digit(s->p[0]) && digits < 3; digits++) {
		v = v * 10 + (s->p[0] - '0');
		*s = span_skip(*s, 1);
	}
	return digits ? v : -1;
}

/* >=400 >400 <=299 <300 */
static bool parse_comparison(struct span s, struct test *t)
{
	bool greater = s.p[0] == '>', equal = s.n > 1 && s.p[1] == '=';
	int v;

	s = span_skip(s, equal ? 2 : 1);
	v = take_number(&s);
	if (v < 0 || s.n)
		return false;
	t->lo = greater ? v + !equal : 0;
	t->hi = greater ? 999 : v - !equal;
	return true;
}

/* 404, 400-499, 4xx */
static bool parse_status(struct span s, struct test *t)
{
	if (s.n && (s.p[0] == '<' || s.p[0] == '>'))
		return parse_comparison(s, t);
	if (s.n == 3 && is_digit(s.p[0]) && ascii_lower((unsigned char)s.p[1]) == 'x' &&
		ascii_lower((unsigned char)s.p[2]) == 'x') {
		t->lo = (s.p[0] - '0') * 100;
		t->hi = t->lo + 99;
		return true;
	}
	t->lo = t->hi = take_number(&s);
	if (s.n && s.p[0] == '-') {
		s = span_skip(s, 1);
		t->hi = take_number(&s);
	}
	return t->lo >= 0 && t->hi >= t->lo && !s.n;
}

/* Up to the next character of `stop`; that one is passed over. */
static struct span take_word(struct span *s, const char *stop)
{
	size_t n = 0;
	struct span word;

	while (n < s->n && !strchr(stop, s->p[n]))
		n++;
	word = span_of(s->p, n);
	*s = span_skip(*s, n + 1);
	return word;
}

static bool looks_like_method(struct span s)
{
	for (size_t i = 0; i < s.n; i++)
		if (!(s.p[i] >= 'A' && s.p[i] <= 'Z') && s.p[i] != '-')
			return false;
	return s.n > 0;
}

/* By its name and '=' (also status>=400), else by its looks. `s` is left at the values. */
static bool take_field(struct span *s, enum field *ret)
{
	struct span first = *s;

	for (size_t i = 0; i < FIELDS; i++) {
		struct span name = span_str(field_names[i]), rest;

		if (!span_starts(*s, name))
			continue;
		rest = span_skip(*s, name.n);
		if (!rest.n || !strchr(i == FIELD_STATUS ? "=<>" : "=", rest.p[0]))
			continue;
		*s = rest.p[0] == '=' ? span_skip(rest, 1) : rest;
		*ret = (enum field)i;
		return true;
	}
	if (!s->n)
		return false;
	if (is_digit(s->p[0]) || s->p[0] == '<' || s->p[0] == '>')
		*ret = FIELD_STATUS;
	else if (s->p[0] == '/' || s->p[0] == '*')
		*ret = FIELD_PATH;
	else if (looks_like_method(take_word(&first, ",")))
		*ret = FIELD_METHOD;
	else
		return false;
	return true;
}

static int parse_term(struct filter *f, struct span term, char error[FILTER_ERROR_LEN])
{
	struct span whole = term;
	struct test t = {.negate = term.p[0] == '!'};

	if (t.negate)
		term = span_skip(term, 1);
	if (!take_field(&term, &t.field))
		return fail(
			error, "expected a status (404, 5xx, >=400), a METHOD, a /path, user=… or company=…", whole);
	if (term.n && term.p[term.n - 1] == ',')
		return fail(error, "an alternative is empty", whole);
	do {
		struct span value = take_word(&term, ",");

		if (f->n == TESTS_MAX)
			return fail(error, "too many alternatives", whole);
		if (!value.n)
			return fail(error, "an alternative is empty", whole);
		if (t.field == FIELD_STATUS && !parse_status(value, &t))
			return fail(error, "not a status (404, 5xx, 400-499, >=400)", value);
		t.glob = value;
		f->tests[f->n++] = t;
	} while (term.n);
	f->tests[f->n - 1].last = true;
	return 0;
}

struct filter *filter__new(const char *text, char error[FILTER_ERROR_LEN])
{
	struct filter *f = calloc(1, sizeof(*f));
	struct span rest, word;
	int err = 0;

	if (!f)
		return NULL;
	if (strlen(text) >= sizeof(f->text))
		err = fail(error, "too long", span_str(text));
	else
		memcpy(f->text, text, strlen(text));
	for (rest = span_str(f->text); !err && rest.n;) {
		word = take_word(&rest, " \t\r\n");
		if (word.n)
			err = parse_term(f, word, error);
	}
	if (!err)
		return f;
	filter__free(f);
	errno = -err;
	return NULL;
}

static bool holds(const struct test *t, const struct event *e)
{
	struct span none = SPAN_LIT("-");

	switch (t->field) {
	case FIELD_STATUS:
		return e->status >= t->lo && e->status <= t->hi;
	case FIELD_METHOD:
		return glob_match(t->glob, e->verb, true);
	case FIELD_PATH:
		return glob_match(t->glob, e->path, false);
	case FIELD_USER:
		return glob_match(t->glob, e->user.n ? e->user : none, false);
	case FIELD_COMPANY:
		return glob_match(t->glob, e->company.n ? e->company : none, false);
	}
	return false;
}

bool filter__pass(const struct filter *f, const struct event *e)
{
	bool any = false;

	for (size_t i = 0; i < f->n; i++) {
		const struct test *t = &f->tests[i];

		any = any || holds(t, e);
		if (!t->last)
			continue;
		if (any == t->negate)
			return false;
		any = false;
	}
	return true;
}

void filter__free(struct filter *f)
{
	free(f);
}
