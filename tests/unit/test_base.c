#include "kt_cmocka.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/base64.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/hmap.h"
#include "base/log.h"
#include "base/span.h"

static void buf_keeps_its_maximum(void **state)
{
	struct buf b;

	(void)state;
	buf__init(&b, 10);
	assert_int_equal(buf__append_str(&b, "12345678"), 0);
	assert_int_equal(buf__append_str(&b, "abc"), -ENOSPC);
	assert_int_equal(b.n, 8);
	assert_int_equal(buf__append_some(&b, "abc", 3), 2);
	assert_memory_equal(b.p, "12345678ab", 10);
	buf__consume(&b, 8);
	assert_memory_equal(b.p, "ab", 2);
	assert_int_equal(buf__reserve(&b, SIZE_MAX), -ENOSPC);
	buf__free(&b);
	assert_int_equal(b.max, 10);
}

static void zeroed_buf_takes_nothing(void **state)
{
	struct buf b = {0};

	(void)state;
	assert_int_equal(buf__append_char(&b, 'x'), -ENOSPC);
	assert_int_equal(buf__append(&b, "", 0), 0);
	buf__free(&b);
	buf__free(NULL);
}

static void iso_times(void **state)
{
	static const struct {
		uint64_t ns;
		const char *text;
	} rows[] = {
		{0, "1970-01-01T00:00:00.000Z"},
		{951782400007000000ull, "2000-02-29T00:00:00.007Z"},
		{1767225599050999999ull, "2025-12-31T23:59:59.050Z"},
		{1795447360999000000ull, "2026-11-23T15:22:40.999Z"},
		{4107542400123000000ull, "2100-03-01T00:00:00.123Z"},
	};
	char out[CLOCK_ISO_LEN + 1];

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		clock_iso(rows[i].ns, out);
		assert_string_equal(out, rows[i].text);
	}
}

static void base64_both_ways(void **state)
{
	static const char *const rows[][2] = {{"", ""}, {"f", "Zg=="}, {"fo", "Zm8="}, {"foo", "Zm9v"},
		{"foob", "Zm9vYg=="}, {"\xff\xfe\xfd", "//79"}};
	static const char *const bad[] = {"Z", "Zg=", "Zg===", "Zm9v=", "Zm 9", "Zm9v!", "=", "Zg==Zg=="};
	char out[64];

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		struct buf b;

		buf__init(&b, 100);
		assert_int_equal(base64_encode(&b, span_str(rows[i][0])), 0);
		assert_true(span_eq(buf_span(&b), span_str(rows[i][1])));
		assert_int_equal(base64_decode(buf_span(&b), out), strlen(rows[i][0]));
		assert_memory_equal(out, rows[i][0], strlen(rows[i][0]));
		buf__free(&b);
	}
	assert_int_equal(base64_decode(SPAN_LIT("__79"), out), 3);
	assert_int_equal(base64_decode(SPAN_LIT("Zg"), out), 1);
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
		assert_int_equal(base64_decode(span_str(bad[i]), out), -EINVAL);
}

struct entry {
	struct hnode node;
	unsigned key;
};

static void map_grows_and_shrinks(void **state)
{
	struct entry *e = calloc(5000, sizeof(*e));
	struct hmap m;
	unsigned seen = 0;

	(void)state;
	assert_int_equal(hmap__init(&m), 0);
	for (unsigned i = 0; i < 5000; i++) {
		e[i].key = i;
		/* Few hashes on purpose: chains must hold. */
		hmap__insert(&m, &e[i].node, hash_u64(i % 700));
	}
	for (struct hnode *n = hmap__next(&m, NULL); n; n = hmap__next(&m, n))
		seen++;
	assert_int_equal(seen, 5000);
	seen = 0;
	for (struct hnode *n = hmap__first(&m, hash_u64(7)); n; n = hmap__next_same(n)) {
		assert_int_equal(hmap_entry(n, struct entry, node)->key % 700, 7);
		seen++;
	}
	assert_int_equal(seen, 8);
	for (unsigned i = 0; i < 5000; i++)
		hmap__remove(&m, &e[i].node);
	assert_int_equal(m.count, 0);
	assert_null(hmap__first(&m, hash_u64(7)));
	hmap__free(&m);
	hmap__free(NULL);
	free(e);
}

static void spans(void **state)
{
	(void)state;
	assert_true(span_ieq(SPAN_LIT("Content-TYPE"), SPAN_LIT("content-type")));
	assert_false(span_ieq(SPAN_LIT("content-type"), SPAN_LIT("content_type")));
	assert_true(span_eq(span_trim(SPAN_LIT(" \t a b \t")), SPAN_LIT("a b")));
	assert_int_equal(span_skip(SPAN_LIT("abc"), 9).n, 0);
	assert_true(span_starts(SPAN_LIT("abc"), SPAN_LIT("")));
}

static char logged[256];

static void keep_line(void *ctx, enum log_level level, const char *module, const char *text)
{
	(void)ctx;
	(void)level;
	snprintf(logged, sizeof(logged), "%s:%s", module, text);
}

/* Eight bytes at once, held against one at a time: each byte at each place of each length, beside each other byte. */
static void letters_by_the_word(void **state)
{
	char text[24], other[24], low[24];

	(void)state;
	for (size_t n = 1; n <= 19; n++) {
		for (size_t at = 0; at < n; at++) {
			for (int c = 0; c < 256; c++) {
				memset(text, 0xff, n);
				text[at] = (char)c;
				low[n] = '#';
				span_lower(low, span_of(text, n));
				assert_int_equal((unsigned char)low[at], ascii_lower((unsigned char)c));
				assert_int_equal(low[n], '#');
				memcpy(other, low, n);
				assert_true(span_ieq(span_of(text, n), span_of(other, n)));
				other[at] = (char)(c ^ 0x20);
				assert_int_equal(span_ieq(span_of(text, n), span_of(other, n)),
					ascii_lower((unsigned char)c) == ascii_lower((unsigned char)(c ^ 0x20)));
				other[at] = (char)(c ^ 0x80);
				assert_false(span_ieq(span_of(text, n), span_of(other, n)));
			}
		}
	}
}

static void decimals(void **state)
{
	static const uint64_t values[] = {0, 9, 10, 65535, UINT64_MAX};
	char room[DECIMAL_MAX], text[32];

	(void)state;
	for (size_t i = 0; i < sizeof(values) / sizeof(*values); i++) {
		snprintf(text, sizeof(text), "%llu", (unsigned long long)values[i]);
		assert_true(span_eq(span_decimal(room, values[i]), span_str(text)));
	}
}

static void log_goes_to_its_sink(void **state)
{
	unsigned long n = 0;
	int hits = 0;

	(void)state;
	log_set_sink(keep_line, NULL);
	log_warn("test", "%d of %s", 1, "x");
	assert_string_equal(logged, "test:1 of x");
	log_debug("test", "not at this level");
	assert_string_equal(logged, "test:1 of x");
	log_set_sink(NULL, NULL);
	for (int i = 0; i < 100; i++)
		hits += log_rate(&n);
	assert_int_equal(hits, 7);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(buf_keeps_its_maximum),
		cmocka_unit_test(zeroed_buf_takes_nothing),
		cmocka_unit_test(iso_times),
		cmocka_unit_test(base64_both_ways),
		cmocka_unit_test(map_grows_and_shrinks),
		cmocka_unit_test(spans),
		cmocka_unit_test(letters_by_the_word),
		cmocka_unit_test(decimals),
		cmocka_unit_test(log_goes_to_its_sink),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
