#include "base/hmap.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#define HMAP_MIN 64

static uint64_t hash_seed;

void hash_set_seed(uint64_t seed)
{
	hash_seed = seed | 1;
}

static uint64_t seed(void)
{
	if (!hash_seed) {
		uint64_t s = 0;

		if (getrandom(&s, sizeof(s), 0) != (ssize_t)sizeof(s))
			s = (uint64_t)(uintptr_t)&s * 0x9e3779b97f4a7c15ull;
		hash_seed = s | 1;
	}
	return hash_seed;
}

/* Two multiplications of 64 by 64 bits folded: mixes all bits, and the seed makes collisions unpredictable. */
static uint64_t fold(uint64_t a, uint64_t b)
{
	__uint128_t m = (__uint128_t)a * b;

	return (uint64_t)m ^ (uint64_t)(m >> 64);
}

uint64_t hash_u64(uint64_t v)
{
	return fold(fold(v ^ seed(), 0x9e3779b97f4a7c15ull), seed() ^ 0xd6e8feb86659fd93ull);
}

uint64_t hash_bytes(const void *data, size_t n)
{
	const unsigned char *p = data;
	uint64_t h = seed() ^ (uint64_t)n, v;

	for (; n >= 8; n -= 8, p += 8) {
		memcpy(&v, p, 8);
		h = fold(h ^ v, 0x9e3779b97f4a7c15ull);
	}
	v = 0;
	if (n)
		memcpy(&v, p, n);
	h = fold(h ^ v, 0xd6e8feb86659fd93ull);
	return fold(h, seed());
}

int hmap__init(struct hmap *m)
{
	*m = (struct hmap){0};
	m->slots = calloc(HMAP_MIN, sizeof(*m->slots));
	if (!m->slots)
		return -ENOMEM;
	m->mask = HMAP_MIN - 1;
	return 0;
}

void hmap__free(struct hmap *m)
{
	if (!m)
		return;
	free(m->slots);
	*m = (struct hmap){0};
}

static void grow(struct hmap *m)
{
	size_t n = (m->mask + 1) * 2;
	struct hnode **slots = calloc(n, sizeof(*slots));

	if (!slots)
		return;
	for (size_t i = 0; i <= m->mask; i++) {
		struct hnode *it = m->slots[i], *next;

		for (; it; it = next) {
			next = it->next;
			it->next = slots[it->hash & (n - 1)];
			slots[it->hash & (n - 1)] = it;
		}
	}
	free(m->slots);
	m->slots = slots;
	m->mask = n - 1;
}

void hmap__insert(struct hmap *m, struct hnode *n, uint64_t hash)
{
	if (m->count > m->mask)
		grow(m);
	n->hash = hash;
	n->next = m->slots[hash & m->mask];
	m->slots[hash & m->mask] = n;
	m->count++;
}

void hmap__remove(struct hmap *m, struct hnode *n)
{
	struct hnode **at = &m->slots[n->hash & m->mask];

	while (*at && *at != n)
		at = &(*at)->next;
	if (!*at)
		return;
	*at = n->next;
	n->next = NULL;
	m->count--;
}

static struct hnode *same(struct hnode *n, uint64_t hash)
{
	while (n && n->hash != hash)
		n = n->next;
	return n;
}

struct hnode *hmap__first(const struct hmap *m, uint64_t hash)
{
	return same(m->slots[hash & m->mask], hash);
}

struct hnode *hmap__next_same(const struct hnode *n)
{
	return same(n->next, n->hash);
}

struct hnode *hmap__next(const struct hmap *m, const struct hnode *after)
{
	size_t i = 0;

	if (after) {
		if (after->next)
			return after->next;
		i = (after->hash & m->mask) + 1;
	}
	for (; i <= m->mask; i++)
		if (m->slots[i])
			return m->slots[i];
	return NULL;
}
