/* Names of options: exact, with - for _, and what a misspelt one probably means. */
#include "config_option.h"

#define NAME_MAX_LEN 48

static bool name_eq(struct span given, const char *name)
{
	size_t i = 0;

	for (; i < given.n && name[i]; i++)
		if (given.p[i] != name[i] && !(given.p[i] == '-' && name[i] == '_'))
			return false;
	return i == given.n && !name[i];
}

const struct option *option_find(struct span name)
{
	for (size_t i = 0; i < option_count; i++)
		if (name_eq(name, option_table[i].name))
			return &option_table[i];
	return NULL;
}

static unsigned least(unsigned a, unsigned b, unsigned c)
{
	unsigned m = a < b ? a : b;

	return m < c ? m : c;
}

/* Levenshtein distance; both at most NAME_MAX_LEN. */
static unsigned distance(struct span a, struct span b)
{
	unsigned row[NAME_MAX_LEN + 1];

	for (unsigned j = 0; j <= b.n; j++)
		row[j] = j;
	for (size_t i = 0; i < a.n; i++) {
		unsigned diagonal = row[0];

		row[0] = (unsigned)i + 1;
		for (size_t j = 0; j < b.n; j++) {
			unsigned cost = ascii_lower((unsigned char)a.p[i]) != ascii_lower((unsigned char)b.p[j]);
			unsigned up = row[j + 1];

			row[j + 1] = least(up + 1, row[j] + 1, diagonal + cost);
			diagonal = up;
		}
	}
	return row[b.n];
}

const struct option *option_guess(struct span name)
{
	const struct option *best = NULL;
	unsigned best_distance = name.n < 6 ? 2 : 4; /* exclusive */

	if (name.n > NAME_MAX_LEN || name.n < 3)
		return NULL;
	for (size_t i = 0; i < option_count; i++) {
		struct span known = span_str(option_table[i].name);
		unsigned d;

		if (known.n > NAME_MAX_LEN || (option_table[i].flags & OPTION_HIDDEN))
			continue;
		d = distance(name, known);
		if (d < best_distance) {
			best = &option_table[i];
			best_distance = d;
		}
	}
	return best;
}
