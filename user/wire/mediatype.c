#include "wire/mediatype.h"

static bool covers(struct span pattern, struct span type)
{
	/* type/ and the star: all that begins so. */
	if (pattern.n && pattern.p[pattern.n - 1] == '*') {
		pattern.n--;
		type.n = type.n < pattern.n ? type.n : pattern.n;
	}
	return span_ieq(pattern, type);
}

static bool listed(const struct media_types *l, struct span type)
{
	for (size_t i = 0; i < l->n; i++)
		if (covers(span_str(l->v[i]), type))
			return true;
	return false;
}

/* Up to the comma behind the parameters, of which one may be a quoted string with commas in it. */
static size_t length_of_first(struct span value)
{
	bool quoted = false;

	for (size_t i = 0; i < value.n; i++) {
		if (quoted && value.p[i] == '\\')
			i++;
		else if (value.p[i] == '"')
			quoted = !quoted;
		else if (value.p[i] == ',' && !quoted)
			return i;
	}
	return value.n;
}

/* A blank ends it, too: what comes after it is a parameter whose semicolon was forgotten. */
static struct span without_parameters(struct span type)
{
	size_t n = 0;

	type = span_trim(type);
	while (n < type.n && type.p[n] != ';' && type.p[n] != ' ' && type.p[n] != '\t')
		n++;
	return span_of(type.p, n);
}

bool media_types__have(const struct media_types *l, struct span value)
{
	while (value.n) {
		size_t n = length_of_first(value);

		if (listed(l, without_parameters(span_of(value.p, n))))
			return true;
		value = span_skip(value, n + 1);
	}
	return false;
}

bool media_types__have_of(const struct media_types *l, const struct headers *h, bool *ret_known)
{
	const struct span name = SPAN_LIT("content-type");

	*ret_known = false;
	for (int i = headers__find(h, name, 0); i >= 0; i = headers__find(h, name, (uint32_t)i + 1)) {
		*ret_known = true;
		if (media_types__have(l, headers__value_at(h, (uint32_t)i)))
			return true;
	}
	return false;
}
