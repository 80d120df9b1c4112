#include "wire/headers.h"

#include <errno.h>
#include <stdlib.h>

/* A usual head of a request through a gateway fits in these, so one allocation of each does for it. */
#define BYTES_FIRST 1024
#define FIELDS_FIRST 24

/* Eight bytes at a time. Setting bit 5 makes letters small and mixes up a few other bytes: names that are alike but for
 * case have the same hash, and a hash is never more than a hint. */
uint32_t header_hash(struct span name)
{
	const uint64_t small = 0x2020202020202020ull, k = 0x9e3779b97f4a7c15ull;
	uint64_t h = name.n, v;

	for (; name.n >= sizeof(v); name = span_skip(name, sizeof(v))) {
		memcpy(&v, name.p, sizeof(v));
		h = (h ^ (v | small)) * k;
		h ^= h >> 32;
	}
	if (name.n) {
		v = 0;
		memcpy(&v, name.p, name.n);
		h = (h ^ (v | small)) * k;
		h ^= h >> 32;
	}
	return (uint32_t)(h ^ h >> 17);
}

void headers__init(struct headers *h, uint32_t max_bytes, uint32_t max_count)
{
	*h = (struct headers){.max_bytes = max_bytes, .max_count = max_count};
}

static uint32_t grown(uint32_t cap, uint32_t first, uint32_t need, uint32_t max)
{
	uint64_t n = cap ? cap : first;

	while (n < need)
		n *= 2;
	return n > max ? max : (uint32_t)n;
}

static int room_bytes(struct headers *h, size_t n)
{
	uint32_t cap;
	char *p;

	if (n > h->max_bytes - h->n)
		return -ENOSPC;
	if (n <= h->cap - h->n)
		return 0;
	cap = grown(h->cap, BYTES_FIRST, h->n + (uint32_t)n, h->max_bytes);
	p = realloc(h->bytes, cap);
	if (!p)
		return -ENOMEM;
	h->bytes = p;
	h->cap = cap;
	return 0;
}

static int room_field(struct headers *h)
{
	struct header_field *f;
	uint32_t cap;

	if (h->count >= h->max_count)
		return -ENOSPC;
	if (h->count < h->fcap)
		return 0;
	cap = grown(h->fcap, FIELDS_FIRST, h->count + 1, h->max_count);
	f = realloc(h->fields, cap * sizeof(*f));
	if (!f)
		return -ENOMEM;
	h->fields = f;
	h->fcap = cap;
	return 0;
}

void headers__abandon(struct headers *h)
{
	if (!h->open)
		return;
	h->open = false;
	h->count--;
	h->n = h->fields[h->count].name_off;
}

int headers__begin(struct headers *h)
{
	int err;

	headers__end(h);
	err = room_field(h);
	if (err) {
		h->overflow = true;
		return err;
	}
	h->fields[h->count++] = (struct header_field){.name_off = h->n, .value_off = h->n};
	h->open = true;
	return 0;
}

/* Nothing of a field that does not fit is kept: half a value would be a wrong value. */
static int append(struct headers *h, struct span part)
{
	int err;

	if (!h->open)
		return h->overflow ? -ENOSPC : -EINVAL;
	err = room_bytes(h, part.n);
	if (err) {
		headers__abandon(h);
		h->overflow = true;
		return err;
	}
	if (part.n)
		memcpy(h->bytes + h->n, part.p, part.n);
	h->n += (uint32_t)part.n;
	return 0;
}

int headers__name(struct headers *h, struct span part)
{
	struct header_field *f;
	int err = append(h, part);

	if (err)
		return err;
	f = &h->fields[h->count - 1];
	f->name_len += (uint32_t)part.n;
	f->value_off = h->n;
	return 0;
}

int headers__value(struct headers *h, struct span part)
{
	int err = append(h, part);

	if (!err)
		h->fields[h->count - 1].value_len += (uint32_t)part.n;
	return err;
}

void headers__end(struct headers *h)
{
	struct header_field *f;

	if (!h->open)
		return;
	f = &h->fields[h->count - 1];
	while (f->value_len && (h->bytes[h->n - 1] == ' ' || h->bytes[h->n - 1] == '\t')) {
		f->value_len--;
		h->n--;
	}
	f->hash = header_hash(headers__name_at(h, h->count - 1));
	h->open = false;
}

int headers__add(struct headers *h, struct span name, struct span value)
{
	int err = headers__begin(h);

	if (!err)
		err = headers__name(h, name);
	if (!err)
		err = headers__value(h, value);
	if (!err)
		headers__end(h);
	return err;
}

struct span headers__name_at(const struct headers *h, uint32_t i)
{
	if (i >= h->count)
		return (struct span){0};
	if (!h->bytes)
		return SPAN_LIT("");
	return span_of(h->bytes + h->fields[i].name_off, h->fields[i].name_len);
}

struct span headers__value_at(const struct headers *h, uint32_t i)
{
	if (i >= h->count)
		return (struct span){0};
	/* A field without any byte may be the only one: an empty value still has p set. */
	if (!h->bytes)
		return SPAN_LIT("");
	return span_of(h->bytes + h->fields[i].value_off, h->fields[i].value_len);
}

/* The length says nearly as much as the hash would, and need not be taken first. */
int headers__find(const struct headers *h, struct span name, uint32_t from)
{
	for (uint32_t i = from; i < h->count; i++)
		if (h->fields[i].name_len == name.n && span_ieq(headers__name_at(h, i), name))
			return (int)i;
	return -1;
}

struct span headers__get(const struct headers *h, struct span name)
{
	int i = headers__find(h, name, 0);

	return i < 0 ? (struct span){0} : headers__value_at(h, (uint32_t)i);
}

uint32_t headers__count_of(const struct headers *h, struct span name)
{
	uint32_t n = 0;

	for (int i = headers__find(h, name, 0); i >= 0; i = headers__find(h, name, (uint32_t)i + 1))
		n++;
	return n;
}

void headers__clear(struct headers *h)
{
	h->n = h->count = 0;
	h->open = h->overflow = false;
}

void headers__free(struct headers *h)
{
	if (!h)
		return;
	free(h->bytes);
	free(h->fields);
	headers__init(h, h->max_bytes, h->max_count);
}
