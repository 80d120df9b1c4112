/* The decoder for connections joined late, held against nghttp2's, which saw them from the start. */
#include "kt_cmocka.h"

#include <errno.h>
#include <nghttp2/nghttp2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "wire/h2block.h"
#include "wire/h2huff.h"

static uint64_t rnd_state = 1;

static uint32_t rnd(uint32_t below)
{
	rnd_state ^= rnd_state << 13;
	rnd_state ^= rnd_state >> 7;
	rnd_state ^= rnd_state << 17;
	return (uint32_t)(rnd_state >> 33) % below;
}

/* Fields of one block as text, "name=value\n" each, "?\n" for an unknown one. */
static void on_field(void *ctx, const struct h2field *f)
{
	struct buf *b = ctx;

	if (f) {
		buf__append_span(b, f->name);
		buf__append_char(b, '=');
		buf__append_span(b, f->value);
	} else {
		buf__append_char(b, '?');
	}
	buf__append_char(b, '\n');
}

static int decode(struct h2table *t, const void *p, size_t n, struct buf *out)
{
	struct buf scratch;
	char *copy = malloc(n ? n : 1);
	int err;

	assert_non_null(copy);
	memcpy(copy, p, n);
	buf__init(&scratch, 65536);
	buf__clear(out);
	err = h2block_decode(t, span_of(copy, n), &scratch, (struct h2field_sink){on_field, out});
	buf__free(&scratch);
	free(copy);
	return err;
}

/* 0, or -1 when nghttp2 refuses it. */
static int decode_reference(nghttp2_hd_inflater *in, const unsigned char *p, size_t n, struct buf *out)
{
	buf__clear(out);
	for (;;) {
		nghttp2_nv nv;
		int flags = 0;
		ssize_t r = nghttp2_hd_inflate_hd2(in, &nv, &flags, p, n, 1);

		if (r < 0)
			return -1;
		p += r;
		n -= (size_t)r;
		if (flags & NGHTTP2_HD_INFLATE_EMIT) {
			struct h2field f = {span_of(nv.name, nv.namelen), span_of(nv.value, nv.valuelen)};

			on_field(out, &f);
		}
		if (flags & NGHTTP2_HD_INFLATE_FINAL) {
			nghttp2_hd_inflate_end_headers(in);
			return 0;
		}
		if (!(flags & NGHTTP2_HD_INFLATE_EMIT) && !n)
			return -1;
	}
}

/* Line by line equal, or unknown. Returns how many lines were unknown. */
static unsigned int same_or_unknown(const struct buf *got, const struct buf *want)
{
	const char *g = got->p, *ge = got->p + got->n, *w = want->p, *we = want->p + want->n;
	unsigned int unknown = 0;

	while (g < ge && w < we) {
		size_t gn = (size_t)((char *)memchr(g, '\n', (size_t)(ge - g)) - g);
		size_t wn = (size_t)((char *)memchr(w, '\n', (size_t)(we - w)) - w);

		if (gn == 1 && *g == '?') {
			unknown++;
		} else {
			assert_int_equal(gn, wn);
			assert_memory_equal(g, w, gn);
		}
		g += gn + 1;
		w += wn + 1;
	}
	assert_true(g == ge && w == we);
	return unknown;
}

static void examples_of_the_rfc(void **state)
{
	/* RFC 7541, C.4 and C.6 use what C.3 and C.5 insert; these are sequences on one table each. */
	static const unsigned char c4_1[] = {
		0x82, 0x86, 0x84, 0x41, 0x8c, 0xf1, 0xe3, 0xc2, 0xe5, 0xf2, 0x3a, 0x6b, 0xa0, 0xab, 0x90, 0xf4, 0xff};
	static const unsigned char c4_2[] = {0x82, 0x86, 0x84, 0xbe, 0x58, 0x86, 0xa8, 0xeb, 0x10, 0x64, 0x9c, 0xbf};
	static const unsigned char c4_3[] = {0x82, 0x87, 0x85, 0xbf, 0x40, 0x88, 0x25, 0xa8, 0x49, 0xe9, 0x5b, 0xa9,
		0x7d, 0x7f, 0x89, 0x25, 0xa8, 0x49, 0xe9, 0x5b, 0xb8, 0xe8, 0xb4, 0xbf};
	struct wire_budget budget = {.max = 1 << 20};
	struct h2table *t = h2table__new(65536, &budget);
	struct buf out;

	(void)state;
	buf__init(&out, 65536);
	assert_int_equal(decode(t, c4_1, sizeof(c4_1), &out), 0);
	assert_string_equal(
		(buf__append_char(&out, 0), out.p), ":method=GET\n:scheme=http\n:path=/\n:authority=www.example.com\n");
	assert_int_equal(decode(t, c4_2, sizeof(c4_2), &out), 0);
	assert_string_equal((buf__append_char(&out, 0), out.p),
		":method=GET\n:scheme=http\n:path=/\n:authority=www.example.com\ncache-control=no-cache\n");
	assert_int_equal(decode(t, c4_3, sizeof(c4_3), &out), 0);
	assert_string_equal((buf__append_char(&out, 0), out.p),
		":method=GET\n:scheme=https\n:path=/index.html\n:authority=www.example.com\ncustom-key=custom-value\n");
	assert_int_equal(h2table__count(t), 3);
	assert_false(h2table__exact(t));
	h2table__free(t);
	assert_int_equal(budget.used, 0);
	buf__free(&out);
}

static void older_entries_are_unknown_until_they_are_gone(void **state)
{
	struct wire_budget budget = {.max = 1 << 20};
	struct h2table *t = h2table__new(65536, &budget);
	struct buf out;

	(void)state;
	buf__init(&out, 65536);
	/* An index, a name by index that is then inserted, and a reference to that. */
	assert_int_equal(decode(t, "\xbe", 1, &out), 0);
	assert_string_equal((buf__append_char(&out, 0), out.p), "?\n");
	assert_int_equal(decode(t, "\x7e\1x\xbe\x40\1a\1b\xbe\xbf\xc0", 12, &out), 0);
	assert_string_equal((buf__append_char(&out, 0), out.p), "?\n?\na=b\na=b\n?\n?\n");
	assert_int_equal(h2table__count(t), 2);
	/* A table of 34 bytes holds the entry of 34 bytes and nothing else. */
	assert_int_equal(decode(t, "\x3f\x03\xbe", 3, &out), 0);
	assert_string_equal((buf__append_char(&out, 0), out.p), "a=b\n");
	assert_true(h2table__exact(t));
	assert_int_equal(decode(t, "\xbf", 1, &out), -EBADMSG);
	/* Too large for the table: empties it. */
	assert_int_equal(decode(t, "\x40\1a\2bc", 6, &out), 0);
	assert_int_equal(h2table__count(t), 0);
	assert_int_equal(decode(t, "\xbe", 1, &out), -EBADMSG);
	h2table__forget(t);
	assert_false(h2table__exact(t));
	assert_int_equal(decode(t, "\xbe", 1, &out), 0);
	/* One entry of 34 bytes leaves no room for an older one in a table of 40, though none was seen to go. */
	assert_int_equal(decode(t, "\x3f\x09\x40\1a\1b", 7, &out), 0);
	assert_true(h2table__exact(t));
	assert_int_equal(decode(t, "\xbf", 1, &out), -EBADMSG);
	h2table__free(t);
	assert_int_equal(budget.used, 0);
	buf__free(&out);
}

/* What is not held any more for want of room is still in the sender's table: unknown, and no error. */
static void what_is_not_held_is_unknown(void **state)
{
	struct wire_budget budget = {.max = 1 << 20};
	struct h2table *t = h2table__new(70, &budget);
	struct buf out;

	(void)state;
	buf__init(&out, 65536);
	assert_int_equal(decode(t, "\x3f\xe1\x1f\x40\1a\1b\x40\1c\1d\x40\1e\1f", 18, &out), 0);
	assert_int_equal(h2table__count(t), 2);
	assert_false(h2table__exact(t));
	assert_int_equal(decode(t, "\xbe\xbf\xc0", 3, &out), 0);
	assert_string_equal((buf__append_char(&out, 0), out.p), "e=f\nc=d\n?\n");
	h2table__free(t);
	buf__free(&out);
}

static void what_is_no_block_is_refused(void **state)
{
	static const struct {
		const char *bytes;
		size_t n;
	} rows[] = {
		{"\x80", 1},			    /* index 0 */
		{"\xff", 1},			    /* integer without its end */
		{"\xff\xff\xff\xff\xff\x7f", 6},    /* integer beyond all bounds */
		{"\xff\x80\x80\x80\x80\x00", 6},    /* likewise, of zeroes */
		{"\x40", 1},			    /* no name */
		{"\x40\5abc", 5},		    /* name cut */
		{"\x40\1a", 3},			    /* no value */
		{"\x40\1a\5b", 4},		    /* value cut */
		{"\x82\x20", 2},		    /* size update after a field */
		{"\x40\x81\x00\1b", 4},		    /* wrong padding of a coded string */
		{"\x40\x82\x1f\xff\1b", 5},	    /* padding of a whole byte */
		{"\x40\x84\xff\xff\xff\xff\1b", 7}, /* the code of end-of-string */
		{"\x40\x7f\xff\xff\xff\x7f", 6},    /* length beyond all bounds */
	};
	struct wire_budget budget = {.max = 1 << 20};
	struct buf out;

	(void)state;
	buf__init(&out, 65536);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct h2table *t = h2table__new(65536, &budget);

		assert_int_equal(decode(t, rows[i].bytes, rows[i].n, &out), -EBADMSG);
		h2table__free(t);
	}
	buf__free(&out);
}

static void every_symbol_of_the_code(void **state)
{
	struct wire_budget budget = {.max = 16 << 20};
	struct h2table *t = h2table__new(65536, &budget);
	nghttp2_hd_deflater *enc;
	unsigned char value[64], wire[4096];
	struct buf out, huge;

	(void)state;
	buf__init(&out, 1 << 20);
	assert_int_equal(nghttp2_hd_deflate_new(&enc, 4096), 0);
	for (int c = 0; c < 256; c++) {
		/* nghttp2 codes a string when that makes it shorter: among zeroes each symbol comes to be coded. */
		for (int run = 1; run < 8; run++) {
			nghttp2_nv nv = {(uint8_t *)"x", value, 1, sizeof(value), NGHTTP2_NV_FLAG_NO_INDEX};
			ssize_t n;

			memset(value, '0', sizeof(value));
			memset(value + 3, c, (size_t)run);
			n = nghttp2_hd_deflate_hd(enc, wire, sizeof(wire), &nv, 1);
			assert_true(n > 0 && n < 68);
			assert_int_equal(decode(t, wire, (size_t)n, &out), 0);
			assert_int_equal(out.n, sizeof(value) + 3);
			assert_memory_equal(out.p + 2, value, sizeof(value));
		}
	}
	nghttp2_hd_deflate_del(enc);
	/* The bound: nothing decodes to more. */
	buf__init(&huge, h2huff_bound(5));
	assert_int_equal(h2huff_decode(span_of("\0\0\0\0\0", 5), &huge), 0);
	assert_int_equal(huge.n, 8);
	buf__free(&huge);
	buf__init(&huge, 4);
	assert_int_equal(h2huff_decode(span_of("\0\0\0\0\0", 5), &huge), -ENOSPC);
	buf__free(&huge);
	h2table__free(t);
	buf__free(&out);
}

/* One block of a sender that works: fields known to it are referred to by index now and then, sizes vary. */
static ssize_t random_block(nghttp2_hd_deflater *enc, unsigned char *wire, size_t size, unsigned int variety)
{
	static char names[32][32], values[32][600];
	nghttp2_nv nv[32];
	size_t n = rnd(20);

	for (size_t i = 0; i < n; i++) {
		uint32_t v = rnd(variety), len = rnd(20) == 0 ? rnd(590) : rnd(24);

		if (rnd(5) == 0)
			snprintf(names[i], sizeof(names[i]), "accept-language");
		else
			snprintf(names[i], sizeof(names[i]), "x-%u", rnd(variety));
		memset(values[i], 'a' + (int)(v % 26), len);
		snprintf(values[i] + len, 10, "%u", v);
		nv[i] = (nghttp2_nv){(uint8_t *)names[i], (uint8_t *)values[i], strlen(names[i]), strlen(values[i]),
			rnd(8) == 0 ? NGHTTP2_NV_FLAG_NO_INDEX : NGHTTP2_NV_FLAG_NONE};
	}
	return nghttp2_hd_deflate_hd(enc, wire, size, nv, n);
}

struct tally {
	unsigned long fields, unknown;
};

/* A connection that is joined after `skipped` blocks; tables are resized at random. */
static void late_join(unsigned int skipped, uint32_t keep, unsigned int variety, struct tally *tally)
{
	struct wire_budget budget = {.max = 16 << 20};
	struct h2table *t = h2table__new(keep, &budget);
	nghttp2_hd_inflater *reference;
	nghttp2_hd_deflater *enc;
	unsigned char wire[32768];
	struct buf got, want;

	buf__init(&got, 1 << 20);
	buf__init(&want, 1 << 20);
	assert_int_equal(nghttp2_hd_deflate_new(&enc, 1 << 20), 0);
	assert_int_equal(nghttp2_hd_inflate_new(&reference), 0);
	nghttp2_hd_inflate_change_table_size(reference, 1 << 20);
	for (unsigned int i = 0; i < 120; i++) {
		ssize_t n;

		if (rnd(16) == 0)
			nghttp2_hd_deflate_change_table_size(enc, rnd(4) ? rnd(8192) : rnd(200));
		n = random_block(enc, wire, sizeof(wire), variety);
		assert_true(n >= 0);
		assert_int_equal(decode_reference(reference, wire, (size_t)n, &want), 0);
		if (i < skipped)
			continue;
		if (rnd(60) == 0) {
			/* A block is lost. */
			h2table__forget(t);
			continue;
		}
		assert_int_equal(decode(t, wire, (size_t)n, &got), 0);
		tally->unknown += same_or_unknown(&got, &want);
		for (size_t k = 0; k < want.n; k++)
			tally->fields += want.p[k] == '\n';
		if (h2table__exact(t) && keep >= 8192)
			assert_true(h2table__count(t) >= nghttp2_hd_inflate_get_num_table_entries(reference) - 61);
	}
	nghttp2_hd_deflate_del(enc);
	nghttp2_hd_inflate_del(reference);
	h2table__free(t);
	assert_int_equal(budget.used, 0);
	buf__free(&got);
	buf__free(&want);
}

static void late_is_equal_or_unknown(void **state)
{
	static const uint32_t keeps[] = {65536, 8192, 500, 64, 0};
	static const unsigned int varieties[] = {4, 20, 200};
	struct tally tally = {0};

	(void)state;
	for (uint64_t seed = 1; seed <= 600; seed++) {
		rnd_state = seed * 0x9e3779b97f4a7c15ull;
		late_join(rnd(100), keeps[seed % 5], varieties[seed % 3], &tally);
	}
	/* It must be worth something too: most of the fields are known. */
	assert_true(tally.unknown * 2 < tally.fields);
	assert_true(tally.unknown > 0);
}

/* Blocks that are not a sender's work but made of random bytes, on both decoders from the first block on: where both go
 * on they say the same, and where nghttp2 says no, so does this one, or it finds something unknown. */
static void random_bytes(void **state)
{
	struct buf got, want;

	(void)state;
	buf__init(&got, 16 << 20);
	buf__init(&want, 16 << 20);
	for (uint64_t seed = 1; seed <= 4000; seed++) {
		struct wire_budget budget = {.max = 16 << 20};
		struct h2table *t = h2table__new(65536, &budget);
		nghttp2_hd_inflater *reference;
		bool good = true;

		rnd_state = seed * 0x9e3779b97f4a7c15ull;
		h2table__resize(t, 0);
		h2table__resize(t, 4096);
		assert_int_equal(nghttp2_hd_inflate_new(&reference), 0);
		while (good) {
			unsigned char wire[256];
			size_t n = rnd(40);
			int err, ref;

			for (size_t i = 0; i < n; i++)
				wire[i] = (unsigned char)(rnd(3) ? (rnd(2) ? 0x80 | rnd(80) : rnd(70)) : rnd(256));
			ref = decode_reference(reference, wire, n, &want);
			err = decode(t, wire, n, &got);
			if (!err && !ref)
				same_or_unknown(&got, &want);
			if (ref && !err && !memchr(got.p ? got.p : "", '?', got.n)) {
				/* What nghttp2 refuses and this one cannot: a table larger than the receiver allows. */
				assert_true(n && (wire[0] & 0xe0) == 0x20);
			}
			if (err)
				assert_true(ref);
			good = !err && !ref;
		}
		nghttp2_hd_inflate_del(reference);
		h2table__free(t);
		assert_int_equal(budget.used, 0);
	}
	buf__free(&got);
	buf__free(&want);
}

static void the_budget_bounds_the_table(void **state)
{
	struct wire_budget budget = {.max = 3000};
	struct h2table *t = h2table__new(65536, &budget);
	unsigned char wire[64] = {0x40, 1, 'n', 50};
	struct buf out;

	(void)state;
	buf__init(&out, 65536);
	for (int i = 0; i < 1000; i++) {
		wire[4] = (unsigned char)i;
		assert_int_equal(decode(t, wire, 54, &out), 0);
		assert_true(budget.used <= budget.max);
	}
	/* Newest first is still right, if it is there at all. */
	assert_int_equal(decode(t, "\xbe", 1, &out), 0);
	assert_true(out.n == 2 || (unsigned char)out.p[2] == (unsigned char)999);
	h2table__free(t);
	assert_int_equal(budget.used, 0);
	buf__free(&out);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(examples_of_the_rfc),
		cmocka_unit_test(older_entries_are_unknown_until_they_are_gone),
		cmocka_unit_test(what_is_not_held_is_unknown),
		cmocka_unit_test(what_is_no_block_is_refused),
		cmocka_unit_test(every_symbol_of_the_code),
		cmocka_unit_test(late_is_equal_or_unknown),
		cmocka_unit_test(random_bytes),
		cmocka_unit_test(the_budget_bounds_the_table),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
