#include "wire/dropped.h"

#include <stdlib.h>

#include "base/hmap.h"

#define PLACES 4096u

struct dropped_conn {
	uint64_t name; /* 0: nobody */
	uint64_t pos[2];
};

/* A hash that is keyed: nobody makes two alike on purpose, and what hangs on it is a counter. */
static uint64_t name_of(const struct conn_key *key)
{
	uint64_t life = hash_u64((uint64_t)key->pid << 1 ^ key->tls) ^ key->gen;

	return hash_u64(key->obj ^ hash_u64(life)) | 1;
}

void dropped__add(struct dropped *d, const struct conn_key *key, const uint64_t pos[2])
{
	struct dropped_conn it = {name_of(key), {pos[0], pos[1]}}, *at;

	if (!d->places)
		d->places = calloc(PLACES, sizeof(*d->places));
	at = d->places ? &d->places[(it.name >> 1) % PLACES] : NULL;
	if (!at || (at->name && at->name != it.name))
		d->forgot = true;
	if (at)
		*at = it;
}

bool dropped__take(struct dropped *d, const struct conn_key *key, uint64_t ret_pos[2])
{
	uint64_t name = d->places ? name_of(key) : 0;
	struct dropped_conn *at = d->places ? &d->places[(name >> 1) % PLACES] : NULL;

	if (!at || at->name != name)
		return false;
	at->name = 0;
	ret_pos[0] = at->pos[0];
	ret_pos[1] = at->pos[1];
	return true;
}

void dropped__free(struct dropped *d)
{
	free(d->places);
	d->places = NULL;
}
