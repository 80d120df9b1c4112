/* Lines for a terminal: golden ones at several widths, and that nothing from the wire changes the terminal or the
 * width. */
#include <string.h>

#include "kt_cmocka.h"

#include "moesif/utf8.h"
#include "ship/cell.h"
#include "ship/pretty.h"

static struct event plain(void)
{
	return (struct event){
		.wall_ns = 1795451904007000000ull,
		.total_ns = 12345678,
		.kong_ms = 1,
		.upstream_ms = 11,
		.response_bytes = 1434,
		.verb = SPAN_LIT("GET"),
		.path = SPAN_LIT("/orders/42"),
		.user = SPAN_LIT("alice"),
		.status = 200,
		.weight = 1,
	};
}

static void is_line(const struct event *e, bool colour, unsigned width, const char *wanted)
{
	struct buf b;

	buf__init(&b, 65536);
	assert_int_equal(pretty_line(&b, e, colour, width), 0);
	assert_int_equal(buf__append_char(&b, '\0'), 0);
	assert_string_equal(b.p, wanted);
	buf__free(&b);
}

static void is_header(unsigned width, const char *wanted)
{
	struct buf b;

	buf__init(&b, 65536);
	assert_int_equal(pretty_header(&b, width), 0);
	assert_int_equal(buf__append_char(&b, '\0'), 0);
	assert_string_equal(b.p, wanted);
	buf__free(&b);
}

static void test_columns(void **state)
{
	struct event e = plain();

	(void)state;
	is_header(80, "TIME     METHOD  ST  PATH               USER        SIZE  TOTAL   KONG  UPSTR\n");
	is_line(&e, false, 80, "16:38:24 GET     200 /orders/42         alice       1.4K   12ms    1ms   11ms\n");
	is_header(120,
		"TIME         METHOD  ST  PATH                                     USER                      SIZE  "
		"TOTAL   KONG  UPSTR\n");
	is_line(&e, false, 120,
		"16:38:24.007 GET     200 /orders/42                               alice                     1.4K   "
		"12ms    1ms   11ms\n");
	is_header(60, "TIME     METHOD  ST  PATH           USER      SIZE  TOTAL\n");
	is_line(&e, false, 60, "16:38:24 GET     200 /orders/42     alice     1.4K   12ms\n");
	is_header(40, "TIME     METHOD  ST  PATH       TOTAL\n");
	is_line(&e, false, 1, "16:38:24 GET     200 /orders/>   12ms\n");
}

static void test_marks_and_blanks(void **state)
{
	struct event e = plain();

	(void)state;
	e.truncated = true;
	is_line(&e, false, 80, "16:38:24 GET     200 /orders/42         alice       1.4K   12ms    1ms   11ms T\n");
	e.incomplete = true;
	is_line(&e, false, 80, "16:38:24 GET     200 /orders/42         alice       1.4K   12ms    1ms   11ms TI\n");
	e = plain();
	e.status = 0;
	e.kong_ms = e.upstream_ms = -1;
	e.user = (struct span){NULL, 0};
	is_line(&e, false, 80, "16:38:24 GET       - /orders/42         -           1.4K   12ms      -      -\n");
}

static void test_colour(void **state)
{
	static const struct {
		int status;
		const char *line;
	} cases[] = {
		{200, "16:38:24 GET     \x1b[32m200\x1b[0m /orders/>   12ms\n"},
		{304, "16:38:24 GET     \x1b[36m304\x1b[0m /orders/>   12ms\n"},
		{404, "16:38:24 GET     \x1b[33m404\x1b[0m /orders/>   12ms\n"},
		{503, "16:38:24 GET     \x1b[31m503\x1b[0m /orders/>   12ms\n"},
		{0, "16:38:24 GET       - /orders/>   12ms\n"},
	};
	struct event e = plain();

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		e.status = cases[i].status;
		is_line(&e, true, 40, cases[i].line);
	}
}

static void is_cell(const char *text, size_t n, unsigned width, const char *wanted)
{
	struct buf b;

	buf__init(&b, 4096);
	assert_int_equal(cell_put(&b, span_of(text, n), width), 0);
	assert_int_equal(buf__append_char(&b, '\0'), 0);
	assert_string_equal(b.p, wanted);
	buf__free(&b);
}

#define CELL(text, width, wanted) is_cell(text, sizeof(text) - 1, width, wanted)

static void test_cells(void **state)
{
	(void)state;
	CELL("", 3, "   ");
	CELL("abc", 3, "abc");
	CELL("abcd", 3, "ab>");
	CELL("abcd", 1, ">");
	CELL("a\x1b[31mb", 8, "a?[31mb ");
	CELL("a\tb\nc\rd\x7f", 9, "a?b?c?d? ");
	CELL("a\0b", 4, "a?b ");
	/* C1 control, Latin-1 byte, overlong slash, surrogate, cut character */
	CELL("\xc2\x9b"
	     "31m",
		5, "?31m ");
	CELL("caf\xe9", 5, "caf? ");
	CELL("\xc0\xaf", 3, "?? ");
	CELL("\xed\xa0\x80", 4, "??? ");
	CELL("a\xe2\x82", 4, "a?? ");
	/* right-to-left override, zero-width space, byte order mark */
	CELL("a\xe2\x80\xae"
	     "b",
		4, "a?b ");
	CELL("\xe2\x80\x8b\xef\xbb\xbf", 3, "?? ");
	/* é, wide characters, a combining accent; one mark on each character only */
	CELL("\xc3\xa9t\xc3\xa9", 4, "\xc3\xa9t\xc3\xa9 ");
	CELL("\xe6\x97\xa5\xe6\x9c\xac", 4, "\xe6\x97\xa5\xe6\x9c\xac");
	CELL("\xe6\x97\xa5\xe6\x9c\xac", 3, "\xe6\x97\xa5>");
	CELL("\xe6\x97\xa5\xe6\x9c\xac", 2, "> ");
	CELL("e\xcc\x81x", 3, "e\xcc\x81x ");
	CELL("e\xcc\x81\xcc\x81\xcc\x81x", 3, "e\xcc\x81x ");
	CELL("\xcc\x81x", 2, "x ");
}

/* Columns of a text that cell_put made. */
static unsigned columns(struct span s)
{
	unsigned n = 0;

	while (s.n) {
		const unsigned char *p = (const unsigned char *)s.p;
		size_t len = utf8_char(p, s.n);
		uint32_t c = len == 1 ? p[0] : 0;

		assert_true(len > 0);
		if (len > 1) {
			c = p[0] & (len == 2 ? 0x1f : len == 3 ? 0x0f : 0x07);
			for (size_t i = 1; i < len; i++)
				c = c << 6 | (p[i] & 0x3f);
		}
		assert_true(cell_width(c) >= 0);
		n += (unsigned)cell_width(c);
		s = span_skip(s, len);
	}
	return n;
}

/* Every pair of bytes, alone and after a wide character, in every narrow column: the width is kept. */
static void test_cells_keep_their_width(void **state)
{
	char text[8] = "\xe6\x97\xa5";
	struct buf b;

	(void)state;
	buf__init(&b, 4096);
	for (unsigned pair = 0; pair < 65536; pair++) {
		text[3] = (char)(pair >> 8);
		text[4] = (char)pair;
		text[5] = '\x82';
		for (unsigned width = 1; width < 6; width++) {
			for (unsigned from = 0; from < 4; from += 3) {
				buf__clear(&b);
				assert_int_equal(cell_put(&b, span_of(text + from, 6 - from), width), 0);
				assert_int_equal(columns(buf_span(&b)), width);
			}
		}
	}
	buf__free(&b);
}

static void test_numbers(void **state)
{
	static const struct {
		uint64_t n;
		const char *text;
	} sizes[] = {{0, "0B"}, {999, "999B"}, {1000, "0.9K"}, {1024, "1.0K"}, {10239, "9.9K"}, {10240, "10K"},
		{1023999, "999K"}, {1024000, "0.9M"}, {1ull << 30, "1.0G"}, {UINT64_MAX, "15E"}},
	  times[] = {{0, "0.0ms"}, {949999, "0.9ms"}, {9999999, "9.9ms"}, {10000000, "10ms"}, {999999999, "999ms"},
		  {1000000000, "1.0s"}, {99999999999, "99.9s"}, {100000000000, "1m40s"}, {5999000000000, "99m59s"},
		  {6000000000000, "1h"}, {99999ull * 3600 * 1000000000, "99999h"},
		  {100000ull * 3600 * 1000000000, "4166d"}, {UINT64_MAX, "99999d"}};
	char text[PRETTY_NUMBER_LEN];

	(void)state;
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		pretty_size(text, sizes[i].n);
		assert_string_equal(text, sizes[i].text);
	}
	for (size_t i = 0; i < sizeof(times) / sizeof(times[0]); i++) {
		pretty_duration(text, times[i].n);
		assert_string_equal(text, times[i].text);
	}
}

/* At every bound: the whole line, or nothing at all. */
static void test_full_buffer(void **state)
{
	struct event e = plain();

	(void)state;
	for (size_t max = 0; max < 200; max++) {
		struct buf b;
		int err;

		buf__init(&b, max);
		err = pretty_line(&b, &e, true, 120);
		assert_true(err == 0 || err == -28);
		assert_int_equal(err != 0, b.n == 0);
		assert_true(err || b.p[b.n - 1] == '\n');
		buf__free(&b);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_columns),
		cmocka_unit_test(test_marks_and_blanks),
		cmocka_unit_test(test_colour),
		cmocka_unit_test(test_cells),
		cmocka_unit_test(test_cells_keep_their_width),
		cmocka_unit_test(test_numbers),
		cmocka_unit_test(test_full_buffer),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
