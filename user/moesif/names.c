#include "moesif/names.h"

#include <errno.h>
#include <stdlib.h>

void names__init(struct names *s, bool icase)
{
	*s = (struct names){.icase = icase};
}

/* FNV-1a: the set is the configuration's, so nobody outside chooses what collides. */
static uint32_t exact_hash(struct span name)
{
	uint32_t h = 2166136261U;

	for (size_t i = 0; i < name.n; i++)
		h = (h ^ (unsigned char)name.p[i]) * 16777619U;
	return h;
}

static uint32_t hash_of(const struct names *s, struct span name)
{
	return s->icase ? header_hash(name) : exact_hash(name);
}

static bool has(const struct names *s, struct span name, uint32_t hash)
{
	if (!s->n)
		return false;
	for (uint32_t i = hash & s->mask; s->slots[i]; i = (i + 1) & s->mask) {
		const struct hname *e = &s->v[s->slots[i] - 1];

		if (e->hash == hash && (s->icase ? span_ieq(e->name, name) : span_eq(e->name, name)))
			return true;
	}
	return false;
}

static void place(struct names *s, uint32_t index)
{
	uint32_t i = s->v[index].hash & s->mask;

	while (s->slots[i])
		i = (i + 1) & s->mask;
	s->slots[i] = (uint16_t)(index + 1);
}

static int grow(struct names *s)
{
	uint32_t cap = s->cap ? s->cap * 2 : 8;
	struct hname *v = realloc(s->v, cap * sizeof(*v));
	uint16_t *slots;

	if (!v)
		return -ENOMEM;
	s->v = v;
	slots = calloc((size_t)cap * 2, sizeof(*slots));
	if (!slots)
		return -ENOMEM;
	free(s->slots);
	s->slots = slots;
	s->cap = cap;
	s->mask = cap * 2 - 1;
	for (uint32_t i = 0; i < s->n; i++)
		place(s, i);
	return 0;
}

int names__add(struct names *s, struct span name)
{
	uint32_t hash = hash_of(s, name);
	int r;

	if (has(s, name, hash))
		return 0;
	if (s->n == NAMES_MAX)
		return -ENOSPC;
	if (s->n == s->cap) {
		r = grow(s);
		if (r < 0)
			return r;
	}
	s->v[s->n] = (struct hname){name, hash};
	place(s, s->n);
	s->n++;
	return 0;
}

bool names__has(const struct names *s, struct span name)
{
	return s->n && has(s, name, hash_of(s, name));
}

bool names__has_header(const struct names *s, struct span name, uint32_t hash)
{
	return has(s, name, hash);
}

void names__free(struct names *s)
{
	if (!s)
		return;
	free(s->v);
	free(s->slots);
	*s = (struct names){.icase = s->icase};
}

struct hname hname_of(struct span name)
{
	return (struct hname){name, header_hash(name)};
}

int hname_find(const struct headers *h, const struct hname *n, uint32_t from)
{
	for (uint32_t i = from; i < h->count; i++)
		if (h->fields[i].hash == n->hash && span_ieq(headers__name_at(h, i), n->name))
			return (int)i;
	return -1;
}

bool name_is_token(struct span s)
{
	for (size_t i = 0; i < s.n; i++) {
		unsigned char c = ascii_lower((unsigned char)s.p[i]);

		if (!((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || (c && strchr("!#$%&'*+-.^_`|~", c))))
			return false;
	}
	return s.n > 0;
}
