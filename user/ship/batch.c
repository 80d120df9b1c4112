#include "ship/batch.h"

#include <errno.h>
#include <stdlib.h>

#define FIRST_BYTES 4096
#define FIRST_EVENTS 64
/* Offsets are 32 bits wide; far above any batch_bytes. */
#define BYTES_MAX (1u << 30)

struct batch *batch__new(void)
{
	struct batch *b = calloc(1, sizeof(*b));

	if (b)
		list_init(&b->node);
	return b;
}

void batch__free(struct batch *b)
{
	if (!b)
		return;
	free(b->p);
	free(b->ends);
	free(b);
}

void batch__clear(struct batch *b)
{
	char *p = b->p;
	size_t cap = b->cap;
	uint32_t *ends = b->ends, ends_cap = b->ends_cap;

	*b = (struct batch){.p = p, .cap = cap, .ends = ends, .ends_cap = ends_cap};
	list_init(&b->node);
}

static int room(struct batch *b, size_t n)
{
	size_t cap = b->cap ? b->cap : FIRST_BYTES;
	char *p;

	if (n <= b->cap - b->n)
		return 0;
	if (cap < FIRST_BYTES)
		cap = FIRST_BYTES;
	if (n > BYTES_MAX - b->n)
		return -EFBIG;
	while (cap - b->n < n)
		cap *= 2;
	p = realloc(b->p, cap);
	if (!p)
		return -ENOMEM;
	b->p = p;
	b->cap = cap;
	return 0;
}

static int room_for_end(struct batch *b)
{
	uint32_t cap = b->ends_cap ? b->ends_cap * 2 : FIRST_EVENTS;
	uint32_t *ends;

	if (b->count < b->ends_cap)
		return 0;
	if (cap > BYTES_MAX)
		return -EFBIG;
	ends = reallocarray(b->ends, cap, sizeof(*ends));
	if (!ends)
		return -ENOMEM;
	b->ends = ends;
	b->ends_cap = cap;
	return 0;
}

int batch__add(struct batch *b, struct span json)
{
	int err = room_for_end(b);

	if (!err && json.n > BYTES_MAX - 2)
		err = -EFBIG;
	/* One byte for the separator before it, one kept for the closing bracket. */
	if (!err)
		err = room(b, json.n + 2);
	if (err)
		return err;
	b->p[b->n++] = b->count ? ',' : '[';
	memcpy(b->p + b->n, json.p, json.n);
	b->n += json.n;
	b->ends[b->count++] = (uint32_t)b->n;
	return 0;
}

struct span batch__event(const struct batch *b, uint32_t i)
{
	uint32_t from = i ? b->ends[i - 1] + 1 : 1;

	return span_of(b->p + from, b->ends[i] - from);
}

struct span batch__body(struct batch *b)
{
	if (b->count == 0)
		return SPAN_LIT("[]");
	b->p[b->n] = ']';
	return span_of(b->p, b->n + 1);
}

void batch__trim(struct batch *b)
{
	size_t need = b->n + 1; /* the closing bracket */
	char *p;

	if (b->cap - need <= need / 4)
		return;
	p = realloc(b->p, need);
	if (!p)
		return;
	b->p = p;
	b->cap = need;
}

size_t batch__bytes(const struct batch *b)
{
	return b->n - b->count;
}

struct batch *batch__slice(const struct batch *b, uint32_t from, uint32_t to)
{
	struct batch *part = batch__new();

	for (uint32_t i = from; part && i < to; i++) {
		if (batch__add(part, batch__event(b, i))) {
			batch__free(part);
			errno = ENOMEM;
			return NULL;
		}
	}
	if (!part)
		return NULL;
	part->born_ns = b->born_ns;
	part->wall_ns = b->wall_ns;
	part->seq = b->seq;
	part->part = b->part + from;
	part->ref = b->ref;
	part->charge = b->charge ? batch__bytes(part) : 0;
	return part;
}
