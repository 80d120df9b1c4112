/* Header blocks, one after the other, on nghttp2's decoder from the first and on ours from a later one: as long as
 * nghttp2 takes them, every field of ours is the same or unknown.
 * Input: a byte, the number of blocks before the observer came; then blocks, each with its length in a byte before it.
 */
#include <nghttp2/nghttp2.h>
#include <stdlib.h>
#include <string.h>

#include "wire/h2block.h"

int LLVMFuzzerTestOneInput(const uint8_t *in, size_t size);

/* Fields one after the other: lengths and bytes; an unknown one has UINT32_MAX for a length. */
static void note(void *ctx, const struct h2field *f)
{
	uint32_t n[2] = {UINT32_MAX, 0};
	struct buf *b = ctx;

	if (f)
		n[0] = (uint32_t)f->name.n, n[1] = (uint32_t)f->value.n;
	if (buf__append(b, n, sizeof(n)))
		abort();
	if (f && (buf__append_span(b, f->name) || buf__append_span(b, f->value)))
		abort();
}

static bool reference(nghttp2_hd_inflater *ref, const uint8_t *p, size_t n, struct buf *out)
{
	for (;;) {
		nghttp2_nv nv;
		int flags = 0;
		ssize_t r = nghttp2_hd_inflate_hd2(ref, &nv, &flags, p, n, 1);

		if (r < 0)
			return false;
		p += r;
		n -= (size_t)r;
		if (flags & NGHTTP2_HD_INFLATE_EMIT) {
			struct h2field f = {span_of(nv.name, nv.namelen), span_of(nv.value, nv.valuelen)};

			note(out, &f);
		}
		if (flags & NGHTTP2_HD_INFLATE_FINAL) {
			nghttp2_hd_inflate_end_headers(ref);
			return true;
		}
		if (!(flags & NGHTTP2_HD_INFLATE_EMIT) && !n)
			return false;
	}
}

static void compare(struct span got, struct span want)
{
	while (got.n) {
		uint32_t g[2], w[2];

		if (want.n < sizeof(w))
			abort();
		memcpy(g, got.p, sizeof(g));
		memcpy(w, want.p, sizeof(w));
		got = span_skip(got, sizeof(g));
		want = span_skip(want, sizeof(w));
		if (g[0] != UINT32_MAX) {
			if (g[0] != w[0] || g[1] != w[1] || memcmp(got.p, want.p, (size_t)g[0] + g[1]))
				abort();
			got = span_skip(got, (size_t)g[0] + g[1]);
		}
		want = span_skip(want, (size_t)w[0] + w[1]);
	}
	if (want.n)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *in, size_t size)
{
	struct wire_budget budget = {.max = 1 << 20};
	struct h2table *t = h2table__new(65536, &budget);
	struct buf got, want, scratch;
	nghttp2_hd_inflater *ref;
	unsigned int skip;
	bool good = true;

	buf__init(&got, 256u << 20);
	buf__init(&want, 256u << 20);
	buf__init(&scratch, 65536);
	if (!t || nghttp2_hd_inflate_new(&ref))
		abort();
	skip = size ? in[0] % 8 : 0;
	for (size_t at = 1; good && at < size;) {
		size_t n = in[at++];

		if (n > size - at)
			n = size - at;
		buf__clear(&got);
		buf__clear(&want);
		good = reference(ref, in + at, n, &want);
		if (skip) {
			skip--;
		} else {
			int err = h2block_decode(t, span_of(in + at, n), &scratch, (struct h2field_sink){note, &got});

			if (good && err)
				abort();
			if (good)
				compare(buf_span(&got), buf_span(&want));
		}
		at += n;
	}
	nghttp2_hd_inflate_del(ref);
	h2table__free(t);
	buf__free(&got);
	buf__free(&want);
	buf__free(&scratch);
	if (budget.used)
		abort();
	return 0;
}
