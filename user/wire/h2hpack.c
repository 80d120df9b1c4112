#include "wire/h2hpack.h"

#include <errno.h>
#include <nghttp2/nghttp2.h>
#include <stdlib.h>

#include "wire/h2block.h"

#define TABLE_DEFAULT 4096u
/* What the scratch buffer may keep allocated between header blocks. */
#define SCRATCH_KEPT 1024u

struct h2hpack {
	const struct wire_limits *limits;
	struct wire_budget *budget;
	nghttp2_mem hooks;
	nghttp2_hd_inflater *full; /* made with the first block */
	struct h2table *known;	   /* made with the first block that comes late */
	struct buf scratch;
	size_t mem; /* charged for itself and scratch */
	bool late;
	bool raised;
	uint32_t table; /* what the receiver allows, as far as it is followed */
};

/* nghttp2's memory is on the budget too: a header tells a block's size when it is freed. */
struct block_head {
	size_t n;
} __attribute__((aligned(16)));

static void *mem_malloc(size_t n, void *budget)
{
	struct wire_budget *b = budget;
	struct block_head *h;

	if (!wire_budget__room(b, n))
		return NULL;
	h = malloc(sizeof(*h) + n);
	if (!h)
		return NULL;
	h->n = n;
	b->used += n;
	return h + 1;
}

static void mem_free(void *p, void *budget)
{
	struct wire_budget *b = budget;
	struct block_head *h = p;

	if (!p)
		return;
	b->used -= h[-1].n;
	free(h - 1);
}

static void *mem_calloc(size_t count, size_t n, void *budget)
{
	void *p;

	if (n && count > SIZE_MAX / n)
		return NULL;
	p = mem_malloc(count * n, budget);
	return p ? memset(p, 0, count * n) : NULL;
}

static void *mem_realloc(void *old, size_t n, void *budget)
{
	struct block_head *h = old;
	void *p = mem_malloc(n, budget);

	if (!p || !old)
		return p;
	memcpy(p, old, h[-1].n < n ? h[-1].n : n);
	mem_free(old, budget);
	return p;
}

static void account(struct h2hpack *h)
{
	size_t mem = sizeof(*h) + h->scratch.cap;

	h->budget->used += mem - h->mem;
	h->mem = mem;
}

struct h2hpack *h2hpack__new(const struct wire_limits *limits, struct wire_budget *budget, bool late)
{
	struct h2hpack *h = calloc(1, sizeof(*h));

	if (!h)
		return NULL;
	h->limits = limits;
	h->budget = budget;
	h->hooks = (nghttp2_mem){budget, mem_malloc, mem_free, mem_calloc, mem_realloc};
	h->late = late;
	h->table = TABLE_DEFAULT;
	buf__init(&h->scratch, limits->header_bytes);
	account(h);
	return h;
}

static void free_full(struct h2hpack *h)
{
	if (h->full)
		nghttp2_hd_inflate_del(h->full);
	h->full = NULL;
}

void h2hpack__lost(struct h2hpack *h)
{
	free_full(h);
	h->late = true;
	if (h->known)
		h2table__forget(h->known);
}

void h2hpack__from_start(struct h2hpack *h)
{
	h->late = false;
}

void h2hpack__allow(struct h2hpack *h, uint32_t table)
{
	if (table > h->limits->hpack_table)
		table = h->limits->hpack_table;
	if (table <= h->table)
		return;
	h->table = table;
	h->raised = true;
}

/* A larger table needs the receiver's leave (SETTINGS) and the sender's word (a size update at the head of a block).
 * Leave that is taken back need not be followed: the sender must say so too. */
static int prepare_full(struct h2hpack *h)
{
	if (!h->full && nghttp2_hd_inflate_new2(&h->full, &h->hooks)) {
		h->full = NULL;
		return -ENOMEM;
	}
	if (h->raised && nghttp2_hd_inflate_change_table_size(h->full, h->table))
		return -ENOMEM;
	h->raised = false;
	return 0;
}

static int decode_full(struct h2hpack *h, struct span in, struct h2head *head)
{
	int err = prepare_full(h);

	while (!err) {
		nghttp2_nv nv = {0};
		int flags = 0;
		ssize_t n = nghttp2_hd_inflate_hd2(h->full, &nv, &flags, (const uint8_t *)in.p, in.n, 1);

		if (n < 0)
			return n == NGHTTP2_ERR_NOMEM ? -ENOMEM : -EBADMSG;
		in = span_skip(in, (size_t)n);
		if (flags & NGHTTP2_HD_INFLATE_EMIT) {
			struct h2field f = {span_of(nv.name, nv.namelen), span_of(nv.value, nv.valuelen)};

			h2head__field(head, &f);
		}
		if (flags & NGHTTP2_HD_INFLATE_FINAL) {
			nghttp2_hd_inflate_end_headers(h->full);
			return 0;
		}
		if (!(flags & NGHTTP2_HD_INFLATE_EMIT) && !in.n)
			return -EBADMSG;
	}
	return err;
}

static void on_late_field(void *ctx, const struct h2field *f)
{
	h2head__field(ctx, f);
}

static int decode_late(struct h2hpack *h, struct span in, struct h2head *head)
{
	int err;

	if (!h->known)
		h->known = h2table__new(h->limits->hpack_table, h->budget);
	if (!h->known)
		return -ENOMEM;
	err = h2block_decode(h->known, in, &h->scratch, (struct h2field_sink){on_late_field, head});
	/* It is for the moment only: a connection does not keep a large one. */
	if (h->scratch.cap > SCRATCH_KEPT)
		buf__free(&h->scratch);
	account(h);
	return err;
}

int h2hpack__decode(struct h2hpack *h, struct span block, struct h2head *head)
{
	int err = h->late ? decode_late(h, block, head) : decode_full(h, block, head);

	if (err)
		h2hpack__lost(h);
	return err;
}

void h2hpack__free(struct h2hpack *h)
{
	if (!h)
		return;
	free_full(h);
	h2table__free(h->known);
	buf__free(&h->scratch);
	h->budget->used -= h->mem;
	free(h);
}
