#include "wire/h2block.h"

#include <errno.h>

#include "wire/h2huff.h"

#define INTEGER_MAX (1u << 28)

/* An integer with a prefix of `bits` bits (RFC 7541, 5.1), taken off the front of *in. */
static int take_integer(struct span *in, unsigned int bits, uint32_t *ret)
{
	uint32_t mask = (1u << bits) - 1, v, shift = 0;
	unsigned char c;

	if (!in->n)
		return -EBADMSG;
	v = (unsigned char)in->p[0] & mask;
	*in = span_skip(*in, 1);
	if (v < mask) {
		*ret = v;
		return 0;
	}
	do {
		if (!in->n || shift > 21)
			return -EBADMSG;
		c = (unsigned char)in->p[0];
		*in = span_skip(*in, 1);
		v += (uint32_t)(c & 0x7f) << shift;
		shift += 7;
	} while (c & 0x80);
	if (v > INTEGER_MAX)
		return -EBADMSG;
	*ret = v;
	return 0;
}

/* A string literal (5.2). Where it was coded it is appended to scratch, and *ret has p NULL: the buffer may move until
 * the field is complete. */
static int take_string(struct span *in, struct buf *scratch, struct span *ret)
{
	bool coded = in->n && ((unsigned char)in->p[0] & 0x80);
	size_t before = scratch->n;
	uint32_t n = 0;
	int err = take_integer(in, 7, &n);

	if (err)
		return err;
	if (n > in->n)
		return -EBADMSG;
	*ret = span_of(in->p, n);
	*in = span_skip(*in, n);
	if (!coded)
		return 0;
	err = h2huff_decode(*ret, scratch);
	*ret = (struct span){NULL, scratch->n - before};
	return err;
}

/* Static or dynamic. As h2table__at. */
static int lookup(const struct h2table *t, uint32_t index, struct h2field *ret)
{
	if (!index)
		return -EBADMSG;
	if (index > H2_STATIC_COUNT)
		return h2table__at(t, index - H2_STATIC_COUNT, ret);
	*ret = *h2static_at(index);
	return 1;
}

static int indexed(const struct h2table *t, struct span *in, struct h2field_sink sink)
{
	uint32_t index = 0;
	struct h2field f;
	int r = take_integer(in, 7, &index);

	if (!r)
		r = lookup(t, index, &f);
	if (r < 0)
		return r;
	sink.fn(sink.ctx, r ? &f : NULL);
	return 0;
}

static int literal(struct h2table *t, struct span *in, unsigned int bits, struct buf *scratch, struct h2field_sink sink)
{
	bool insert = bits == 6;
	uint32_t index = 0;
	struct h2field f = {0};
	size_t name_n = 0;
	int err, r = take_integer(in, bits, &index);

	if (r)
		return r;
	buf__clear(scratch);
	if (index) {
		r = lookup(t, index, &f);
	} else {
		r = take_string(in, scratch, &f.name);
		name_n = scratch->n;
		r = r ? r : 1;
	}
	if (r < 0)
		return r;
	err = take_string(in, scratch, &f.value);
	if (err)
		return err;
	if (!f.name.p)
		f.name.p = scratch->n ? scratch->p : "";
	if (!f.value.p)
		f.value.p = scratch->n ? scratch->p + name_n : "";
	sink.fn(sink.ctx, r ? &f : NULL);
	if (insert && r)
		h2table__insert(t, f.name, f.value);
	else if (insert)
		h2table__insert_nameless(t, f.value);
	return 0;
}

int h2block_decode(struct h2table *t, struct span in, struct buf *scratch, struct h2field_sink sink)
{
	bool fields = false;
	uint32_t max = 0;
	int err = 0;

	while (in.n && !err) {
		unsigned char c = (unsigned char)in.p[0];

		if ((c & 0xe0) == 0x20) {
			/* Only before the first field: anywhere else these are not the bytes of a block. */
			err = fields ? -EBADMSG : take_integer(&in, 5, &max);
			if (!err)
				h2table__resize(t, max);
			continue;
		}
		fields = true;
		if (c & 0x80)
			err = indexed(t, &in, sink);
		else
			err = literal(t, &in, (c & 0x40) ? 6 : 4, scratch, sink);
	}
	return err;
}
