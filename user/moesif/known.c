#include "moesif/known.h"

static const struct span list[KNOWN_COUNT_] = {
#define X(id, name) [KNOWN_##id] = {name, sizeof(name) - 1},
	KNOWN_LIST(X)
#undef X
};

#define SLOTS 256 /* power of two, several times KNOWN_COUNT_ */
_Static_assert(KNOWN_COUNT_ * 4 < SLOTS, "the table of known headers must stay sparse");

/* Filled at first use and never changed after; the stage runs in one thread. */
static struct {
	uint32_t hash[KNOWN_COUNT_];
	uint8_t slot[SLOTS]; /* id + 1; 0: free */
	bool ready;
} table;

static void fill(void)
{
	for (unsigned k = 0; k < KNOWN_COUNT_; k++) {
		unsigned i;

		table.hash[k] = header_hash(list[k]);
		for (i = table.hash[k] % SLOTS; table.slot[i]; i = (i + 1) % SLOTS)
			;
		table.slot[i] = (uint8_t)(k + 1);
	}
	table.ready = true;
}

struct hname known_hname(enum known k)
{
	if (!table.ready)
		fill();
	return (struct hname){list[k], table.hash[k]};
}

enum known known_of(struct span name, uint32_t hash)
{
	if (!table.ready)
		fill();
	for (unsigned i = hash % SLOTS; table.slot[i]; i = (i + 1) % SLOTS) {
		unsigned k = table.slot[i] - 1U;

		if (table.hash[k] == hash && span_ieq(list[k], name))
			return (enum known)k;
	}
	return KNOWN_NONE;
}

void known_index__build(struct known_index *x, const struct headers *h)
{
	x->h = h;
	memset(x->first, 0xff, sizeof(x->first));
	memset(x->count, 0, sizeof(x->count));
	for (uint32_t i = 0; h && i < h->count; i++) {
		enum known k = known_of(headers__name_at(h, i), h->fields[i].hash);

		if (i < KNOWN_FIELDS)
			x->of[i] = (uint8_t)k;
		if (k == KNOWN_NONE)
			continue;
		if (!x->count[k]++)
			x->first[k] = (int32_t)i;
	}
}

struct span known_get(const struct known_index *x, enum known k)
{
	if (!x->count[k])
		return (struct span){NULL, 0};
	return headers__value_at(x->h, (uint32_t)x->first[k]);
}

int known_next(const struct known_index *x, enum known k, int at)
{
	if (x->count[k] < 2)
		return -1;
	for (uint32_t i = (uint32_t)at + 1; i < x->h->count; i++)
		if (x->h->fields[i].hash == table.hash[k] && span_ieq(headers__name_at(x->h, i), list[k]))
			return (int)i;
	return -1;
}
