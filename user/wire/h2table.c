#include "wire/h2table.h"

#include <errno.h>
#include <stdlib.h>

#define ENTRY_COST 32u /* what HPACK adds to name and value for each entry */
#define RING_MIN 16u

struct entry {
	uint32_t name_len, value_len;
	uint32_t size; /* as HPACK counts it; of a nameless one, the least it can be */
	bool nameless;
	char bytes[];
};

struct h2table {
	struct wire_budget *budget;
	struct entry **ring; /* slots: power of two, or 0 */
	uint32_t slots, newest, count;
	uint32_t size; /* sum over the known entries: the table holds at least this much */
	uint32_t keep;
	uint32_t max;
	bool max_known;
	bool older_gone; /* no entry is older than the known ones */
	size_t mem;	 /* charged */
};

static bool charge(struct h2table *t, size_t n)
{
	if (!wire_budget__room(t->budget, n))
		return false;
	t->budget->used += n;
	t->mem += n;
	return true;
}

static void discharge(struct h2table *t, size_t n)
{
	t->budget->used -= n;
	t->mem -= n;
}

static size_t entry_mem(const struct entry *e)
{
	return sizeof(*e) + e->name_len + e->value_len;
}

struct h2table *h2table__new(uint32_t keep, struct wire_budget *budget)
{
	struct h2table *t = calloc(1, sizeof(*t));

	if (!t)
		return NULL;
	t->budget = budget;
	t->keep = keep;
	if (!charge(t, sizeof(*t))) {
		free(t);
		errno = ENOSPC;
		return NULL;
	}
	return t;
}

/* index 1 is the newest */
static struct entry *known(const struct h2table *t, uint32_t index)
{
	return t->ring[(t->newest - (index - 1)) & (t->slots - 1)];
}

static void drop_oldest(struct h2table *t)
{
	struct entry *e = known(t, t->count);

	t->count--;
	t->size -= e->size;
	discharge(t, entry_mem(e));
	free(e);
}

/* The known entries go, because they are evicted or because they cannot be held. */
static void drop_all(struct h2table *t)
{
	while (t->count)
		drop_oldest(t);
}

/* Where less than an entry's least size is left over, nothing older can be there. */
static void look_at_older(struct h2table *t)
{
	if (t->max_known && t->max - t->size < ENTRY_COST)
		t->older_gone = true;
}

/* Entries that must be gone by the sender's own arithmetic. Sizes of nameless ones are lower bounds, so this may come
 * too late, which only costs memory: a reference to what is gone does not come. */
static void evict(struct h2table *t, uint32_t room)
{
	while (t->count && t->max_known && t->size > t->max - room) {
		drop_oldest(t);
		t->older_gone = true;
	}
}

/* What is over what is held is still in the sender's table: from here on it is among the older ones. */
static void forget_oldest(struct h2table *t)
{
	drop_oldest(t);
	t->older_gone = false;
}

static int grow(struct h2table *t)
{
	uint32_t slots = t->slots ? t->slots * 2 : RING_MIN;
	struct entry **ring;

	if (t->count < t->slots)
		return 0;
	if (!charge(t, (slots - t->slots) * sizeof(*ring)))
		return -ENOSPC;
	ring = calloc(slots, sizeof(*ring));
	if (!ring) {
		discharge(t, (slots - t->slots) * sizeof(*ring));
		return -ENOMEM;
	}
	for (uint32_t i = 0; i < t->count; i++)
		ring[t->count - 1 - i] = known(t, i + 1);
	free(t->ring);
	t->ring = ring;
	t->slots = slots;
	t->newest = t->count ? t->count - 1 : slots - 1;
	return 0;
}

static struct entry *make_entry(struct h2table *t, struct span name, struct span value, uint32_t size)
{
	size_t n = sizeof(struct entry) + name.n + value.n;
	struct entry *e;

	if (!charge(t, n))
		return NULL;
	e = malloc(n);
	if (!e) {
		discharge(t, n);
		return NULL;
	}
	*e = (struct entry){(uint32_t)name.n, (uint32_t)value.n, size, false};
	if (name.n)
		memcpy(e->bytes, name.p, name.n);
	if (value.n)
		memcpy(e->bytes + name.n, value.p, value.n);
	return e;
}

static void push(struct h2table *t, struct entry *e)
{
	if (!e || grow(t)) {
		/* It is in the sender's table and cannot be in this one: with it, all older ones have lost their index.
		 */
		if (e)
			discharge(t, entry_mem(e));
		free(e);
		drop_all(t);
		t->older_gone = false;
		return;
	}
	t->newest = (t->newest + 1) & (t->slots - 1);
	t->ring[t->newest] = e;
	t->count++;
	t->size += e->size;
	while (t->size > t->keep)
		forget_oldest(t);
	look_at_older(t);
}

/* The size of an entry, or 0 when it is larger than any table that is held. */
static uint32_t entry_size(const struct h2table *t, size_t n)
{
	return n + ENTRY_COST <= t->keep ? (uint32_t)n + ENTRY_COST : 0;
}

/* An entry larger than the table empties it and is not put in. True when that has happened. */
static bool too_large(struct h2table *t, size_t n)
{
	if (!t->max_known || n + ENTRY_COST <= t->max)
		return false;
	drop_all(t);
	t->older_gone = true;
	return true;
}

void h2table__insert(struct h2table *t, struct span name, struct span value)
{
	uint32_t size = entry_size(t, name.n + value.n);
	struct entry *e;

	if (too_large(t, name.n + value.n))
		return;
	/* The name may lie in an entry that is evicted now: copy first. */
	e = size ? make_entry(t, name, value, size) : NULL;
	if (size)
		evict(t, size);
	push(t, e);
}

void h2table__insert_nameless(struct h2table *t, struct span value)
{
	uint32_t size = entry_size(t, value.n);
	struct entry *e;

	if (too_large(t, value.n))
		return;
	e = size ? make_entry(t, span_of("", 0), span_of("", 0), size) : NULL;
	if (e)
		e->nameless = true;
	if (size)
		evict(t, size);
	push(t, e);
}

int h2table__at(const struct h2table *t, uint32_t index, struct h2field *ret)
{
	const struct entry *e;

	if (!index)
		return -EBADMSG;
	if (index > t->count)
		return t->older_gone ? -EBADMSG : 0;
	e = known(t, index);
	if (e->nameless)
		return 0;
	ret->name = span_of(e->bytes, e->name_len);
	ret->value = span_of(e->bytes + e->name_len, e->value_len);
	return 1;
}

void h2table__resize(struct h2table *t, uint32_t max)
{
	t->max = max;
	t->max_known = true;
	evict(t, 0);
	look_at_older(t);
}

void h2table__forget(struct h2table *t)
{
	drop_all(t);
	t->max_known = false;
	t->older_gone = false;
}

uint32_t h2table__count(const struct h2table *t)
{
	return t->count;
}

bool h2table__exact(const struct h2table *t)
{
	return t->older_gone;
}

void h2table__free(struct h2table *t)
{
	if (!t)
		return;
	drop_all(t);
	free(t->ring);
	t->budget->used -= t->mem;
	free(t);
}
