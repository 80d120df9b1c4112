#include "wire/headers.h"

#include <errno.h>
#include <stdlib.h>

/* A usual head of a request through a gateway fits in these, so one allocation of each does for it. */
#define BYTES_FIRST 1024
#define FIELDS_FIRST 24

/* 1 to 7 bytes as a number. */
static uint64_t few(const char *p, size_t n)
{
	uint32_t first, last;

	if (n < 4)
		return (uint64_t)(unsigned char)p[0] << 16 | (uint64_t)(unsigned char)p[n / 2] << 8 |
		       (unsigned char)p[n - 1];
	memcpy(&first, p, 4);
	memcpy(&last, p + n - 4, 4);
	return (uint64_t)first << 32 | last;
}

/* Eight bytes at a time. Setting bit 5 makes letters small and mixes up a few other bytes: names that are alike but for
 * case have the same hash, and a hash is never more than a hint. */
uint32_t header_hash(struct span name)
{
	const uint64_t small = 0x2020202020202020ull, k = 0x9e3779b97f4a7c15ull;
	const char *p = name.p, *end = name.p + name.n;
	uint64_t h = name.n;

	for (; end - p >= 8; p += 8) {
		h = (h ^ (span_word(p) | small)) * k;
		h ^= h >> 32;
	}
	/* The end of a longer one is covered by its last eight bytes. */
	if (p != end) {
		h = (h ^ ((name.n > 8 ? span_word(end - 8) : few(p, name.n)) | small)) * k;
		h ^= h >> 32;
	}
	return (uint32_t)(h ^ h >> 17);
}

/* One of 32, by length and first letter in either case: most names that are looked for are not there, and most that are
 * not there have a bit that nobody set. */
static uint32_t name_bit(struct span name)
{
	return 1u << ((name.n * 4 + (name.n ? (unsigned char)name.p[0] & 3u : 0)) & 31);
}

static void set_name(struct headers *h, struct header_field *f, struct span name)
{
	f->hash = header_hash(name);
	h->names |= name_bit(name);
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

/* The bytes get an allocation of their own again, so that either can grow. */
static int take_apart(struct headers *h, uint32_t cap)
{
	/* What was placed and is to be adopted is counted in n and not there yet. */
	uint32_t n = h->n < h->cap ? h->n : h->cap;
	char *p = malloc(cap ? cap : 1);

	if (!p)
		return -ENOMEM;
	if (n)
		memcpy(p, h->bytes, n);
	h->bytes = p;
	h->cap = cap;
	h->joint = false;
	return 0;
}

static int reserve(struct headers *h, uint32_t n)
{
	uint32_t cap;
	char *p;

	if (n <= h->cap)
		return 0;
	cap = grown(h->cap, BYTES_FIRST, n, h->max_bytes + h->between);
	if (h->joint)
		return take_apart(h, cap);
	p = realloc(h->bytes, cap);
	if (!p)
		return -ENOMEM;
	h->bytes = p;
	h->cap = cap;
	return 0;
}

static int room_bytes(struct headers *h, size_t n)
{
	return n > h->max_bytes - (h->n - h->between) ? -ENOSPC : reserve(h, h->n + (uint32_t)n);
}

static int room_field(struct headers *h)
{
	struct header_field *f;
	uint32_t cap;

	if (h->count >= h->max_count)
		return -ENOSPC;
	if (h->count < h->fcap)
		return 0;
	if (h->joint && take_apart(h, h->cap))
		return -ENOMEM;
	cap = grown(h->fcap, FIELDS_FIRST, h->count + 1, h->max_count);
	f = realloc(h->fields, cap * sizeof(*f));
	if (!f)
		return -ENOMEM;
	h->fields = f;
	h->fcap = cap;
	return 0;
}

int headers__keep(struct headers *h, struct span s, struct kept *ret)
{
	uint32_t n = (uint32_t)s.n;
	int err;

	if (s.n > h->max_bytes || (uint64_t)h->max_bytes + h->between + s.n > INT32_MAX)
		return -ENOSPC;
	h->between += n;
	err = reserve(h, h->n + n);
	if (err) {
		h->between -= n;
		return err;
	}
	if (n)
		memcpy(h->bytes + h->n, s.p, n);
	*ret = (struct kept){.off = h->n, .n = n};
	h->n += n;
	return 0;
}

struct span headers__kept(const struct headers *h, struct kept k)
{
	if (!k.n || k.off > h->n || k.n > h->n - k.off)
		return (struct span){0};
	return span_of(h->bytes + k.off, k.n);
}

/* A section's fields and bytes in one allocation without spare room. */
static char *joined(const struct headers *h)
{
	size_t fields = h->count * sizeof(*h->fields);
	char *p = malloc(fields + h->n);

	if (p && fields)
		memcpy(p, h->fields, fields);
	if (p && h->n)
		memcpy(p + fields, h->bytes, h->n);
	return p;
}

static void join(struct headers *h, char *p)
{
	h->fields = (struct header_field *)p;
	h->bytes = p + h->count * sizeof(*h->fields);
	h->fcap = h->count;
	h->cap = h->n;
	h->joint = true;
}

/* A copy, and not a cut: what the section was built in goes back whole and serves the next. */
void headers__fit(struct headers *h)
{
	char *p;

	if (h->joint || !(h->count + h->n) || (h->n == h->cap && h->count == h->fcap))
		return;
	p = joined(h);
	if (!p)
		return;
	free(h->fields);
	free(h->bytes);
	join(h, p);
}

int headers__copy(struct headers *h, const struct headers *from)
{
	char *p = NULL;

	if (from->count + from->n) {
		p = joined(from);
		if (!p)
			return -ENOMEM;
	}
	headers__free(h);
	*h = *from;
	h->bytes = NULL;
	h->fields = NULL;
	h->cap = h->fcap = 0;
	h->joint = false;
	if (p)
		join(h, p);
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
	set_name(h, f, headers__name_at(h, h->count - 1));
	h->open = false;
}

int headers__place(struct headers *h, struct span name, struct span value)
{
	uint32_t line = (uint32_t)(value.p + value.n + 2 - name.p), own = (uint32_t)(name.n + value.n);
	int err;

	if (own > h->max_bytes - (h->n - h->between))
		return -ENOSPC;
	err = h->count < h->fcap ? 0 : room_field(h);
	if (err)
		return err;
	h->fields[h->count++] = (struct header_field){
		.name_off = h->n,
		.name_len = (uint32_t)name.n,
		.value_off = h->n + (uint32_t)(value.p - name.p),
		.value_len = (uint32_t)value.n,
	};
	set_name(h, &h->fields[h->count - 1], name);
	h->n += line;
	h->between += line - own;
	return 0;
}

static void unplace(struct headers *h, struct span lines, uint32_t count)
{
	for (; count; count--) {
		const struct header_field *f = &h->fields[--h->count];

		h->between += f->name_len + f->value_len;
	}
	h->between -= (uint32_t)lines.n;
	h->n -= (uint32_t)lines.n;
}

int headers__adopt(struct headers *h, struct span lines, uint32_t count)
{
	int err;

	if (!count)
		return 0;
	err = reserve(h, h->n);
	if (err)
		unplace(h, lines, count);
	else
		memcpy(h->bytes + h->n - lines.n, lines.p, lines.n);
	return err;
}

int headers__add(struct headers *h, struct span name, struct span value)
{
	struct header_field *f;
	int err;

	headers__end(h);
	while (value.n && (value.p[value.n - 1] == ' ' || value.p[value.n - 1] == '\t'))
		value.n--;
	err = room_field(h);
	if (!err)
		err = name.n > SIZE_MAX - value.n ? -ENOSPC : room_bytes(h, name.n + value.n);
	if (err) {
		h->overflow = true;
		return err;
	}
	f = &h->fields[h->count++];
	*f = (struct header_field){
		.name_off = h->n,
		.name_len = (uint32_t)name.n,
		.value_off = h->n + (uint32_t)name.n,
		.value_len = (uint32_t)value.n,
	};
	if (name.n)
		memcpy(h->bytes + f->name_off, name.p, name.n);
	if (value.n)
		memcpy(h->bytes + f->value_off, value.p, value.n);
	h->n += (uint32_t)(name.n + value.n);
	set_name(h, f, name);
	return 0;
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
	if (!(h->names & name_bit(name)))
		return -1;
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
	h->n = h->between = h->count = 0;
	h->names = 0;
	h->open = h->overflow = false;
}

void headers__free(struct headers *h)
{
	if (!h)
		return;
	if (!h->joint)
		free(h->bytes);
	free(h->fields);
	headers__init(h, h->max_bytes, h->max_count);
}
