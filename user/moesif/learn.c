#include "moesif/learn.h"

#include <errno.h>
#include <stdlib.h>

#include "base/hmap.h"
#include "base/list.h"

struct entry {
	struct hnode node;
	struct list lru; /* head.next is the oldest */
	struct fingerprint f;
	uint64_t t_ns;	 /* last time Kong said so */
	bool doubtful;	 /* contradicted: names nobody */
	uint16_t len[4]; /* custom_id, username, id, credential, one behind the other in text */
	char text[];
};

struct learn {
	struct hmap map;
	struct list lru;
	uint32_t max;
	uint64_t ttl_ns, bytes, max_bytes;
};

struct learn *learn__new(uint32_t max, uint32_t ttl_seconds, uint64_t bytes)
{
	struct learn *l = calloc(1, sizeof(*l));

	if (!l)
		return NULL;
	list_init(&l->lru);
	if (hmap__init(&l->map) < 0) {
		free(l);
		errno = ENOMEM;
		return NULL;
	}
	learn__set_limits(l, max, ttl_seconds, bytes);
	return l;
}

/* With its share of the table and what the allocator puts before it. */
static uint64_t size_of(const struct entry *e)
{
	return sizeof(*e) + e->len[0] + e->len[1] + e->len[2] + e->len[3] + 4 * sizeof(void *);
}

static void drop(struct learn *l, struct entry *e)
{
	l->bytes -= size_of(e);
	hmap__remove(&l->map, &e->node);
	list_remove(&e->lru);
	free(e);
}

static void drop_oldest(struct learn *l, uint32_t keep, uint64_t keep_bytes)
{
	while (l->map.count > keep || l->bytes > keep_bytes)
		drop(l, list_entry(l->lru.next, struct entry, lru));
}

void learn__set_limits(struct learn *l, uint32_t max, uint32_t ttl_seconds, uint64_t bytes)
{
	l->max = max;
	l->max_bytes = bytes;
	l->ttl_ns = ttl_seconds * 1000000000ULL;
	drop_oldest(l, max, bytes);
}

/* The fingerprint is a keyed hash already: nobody outside can aim at a slot. */
static uint64_t slot_of(const struct fingerprint *f)
{
	uint64_t h;

	memcpy(&h, f->b, sizeof(h));
	return h;
}

static struct entry *lookup(const struct learn *l, const struct fingerprint *f)
{
	for (struct hnode *n = hmap__first(&l->map, slot_of(f)); n; n = hmap__next_same(n)) {
		struct entry *e = hmap_entry(n, struct entry, node);

		if (memcmp(&e->f, f, sizeof(*f)) == 0)
			return e;
	}
	return NULL;
}

static bool aged(const struct learn *l, const struct entry *e, uint64_t t_ns)
{
	return t_ns > e->t_ns && t_ns - e->t_ns > l->ttl_ns;
}

static void consumer_of(const struct entry *e, struct consumer *ret)
{
	const char *p = e->text;
	struct span *part[4] = {&ret->custom_id, &ret->username, &ret->id, &ret->credential};

	for (int i = 0; i < 4; i++) {
		*part[i] = span_of(p, e->len[i]);
		p += e->len[i];
	}
}

/* Whether both may be the same consumer: the credential's identifier is no part of who it is. */
static bool same(const struct consumer *a, const struct consumer *b)
{
	return span_eq(a->custom_id, b->custom_id) && span_eq(a->username, b->username) && span_eq(a->id, b->id);
}

static struct entry *entry_new(const struct fingerprint *f, const struct consumer *c, uint64_t t_ns)
{
	const struct span part[4] = {c->custom_id, c->username, c->id, c->credential};
	struct entry *e;
	size_t n = 0;
	char *p;

	/* Each part is looked at by itself first: a sum of lengths from the wire could wrap. */
	for (int i = 0; i < 4; i++) {
		if (part[i].n > CONSUMER_TEXT_MAX)
			return NULL;
		n += part[i].n;
	}
	if (n > CONSUMER_TEXT_MAX)
		return NULL;
	e = calloc(1, sizeof(*e) + n);
	if (!e)
		return NULL;
	e->f = *f;
	e->t_ns = t_ns;
	p = e->text;
	for (int i = 0; i < 4; i++) {
		e->len[i] = (uint16_t)part[i].n;
		if (part[i].n)
			memcpy(p, part[i].p, part[i].n);
		p += part[i].n;
	}
	return e;
}

static void insert(struct learn *l, struct entry *e)
{
	if (!e)
		return;
	if (!l->max || size_of(e) > l->max_bytes) {
		free(e);
		return;
	}
	drop_oldest(l, l->max - 1, l->max_bytes - size_of(e));
	l->bytes += size_of(e);
	hmap__insert(&l->map, &e->node, slot_of(&e->f));
	list_push_back(&l->lru, &e->lru);
}

static void refresh(struct learn *l, struct entry *e, uint64_t t_ns)
{
	if (t_ns > e->t_ns)
		e->t_ns = t_ns;
	list_remove(&e->lru);
	list_push_back(&l->lru, &e->lru);
}

void learn__observe(struct learn *l, const struct fingerprint *f, const struct consumer *c, uint64_t t_ns)
{
	struct entry *e = lookup(l, f);
	struct consumer known;

	if (e && aged(l, e, t_ns)) {
		drop(l, e);
		e = NULL;
	}
	if (!e) {
		insert(l, entry_new(f, c, t_ns));
		return;
	}
	consumer_of(e, &known);
	if (e->doubtful)
		return;
	if (!same(&known, c))
		e->doubtful = true;
	refresh(l, e, t_ns);
}

void learn__contradict(struct learn *l, const struct fingerprint *f, uint64_t t_ns)
{
	struct entry *e = lookup(l, f);

	if (!e)
		return;
	e->doubtful = true;
	refresh(l, e, t_ns);
}

bool learn__find(struct learn *l, const struct fingerprint *f, uint64_t t_ns, struct consumer *ret)
{
	struct entry *e = lookup(l, f);

	if (!e)
		return false;
	if (aged(l, e, t_ns)) {
		drop(l, e);
		return false;
	}
	if (e->doubtful)
		return false;
	consumer_of(e, ret);
	return true;
}

uint32_t learn__count(const struct learn *l)
{
	return (uint32_t)l->map.count;
}

uint64_t learn__bytes(const struct learn *l)
{
	return l->bytes;
}

void learn__free(struct learn *l)
{
	if (!l)
		return;
	drop_oldest(l, 0, 0);
	hmap__free(&l->map);
	free(l);
}
