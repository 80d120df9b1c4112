/* Header sections read by whole plain lines and by the parser alone (it gets every byte by itself, so no line is ever
 * there as a whole when it begins): the same fields, whatever the bytes. */
#include <stdlib.h>
#include <string.h>

#include "kt_cmocka.h"
#include "wire/h1fields.h"
#include "wire/http1.h"

#define SECTION_MAX 4096

static uint64_t dice = 88172645463325252ull;

static unsigned roll(unsigned below)
{
	dice ^= dice << 13;
	dice ^= dice >> 7;
	dice ^= dice << 17;
	return (unsigned)(dice >> 33) % below;
}

struct text {
	char p[SECTION_MAX];
	size_t n;
};

static void put(struct text *t, const char *p, size_t n)
{
	assert_true(t->n + n <= sizeof(t->p));
	memcpy(t->p + t->n, p, n);
	t->n += n;
}

static void put_str(struct text *t, const char *s)
{
	put(t, s, strlen(s));
}

/* Mostly of `usual`, now and then any byte. */
static void put_random(struct text *t, const char *usual, unsigned n, unsigned odds)
{
	while (n--) {
		char c = roll(odds) ? usual[roll((unsigned)strlen(usual))] : (char)roll(256);

		put(t, &c, 1);
	}
}

static void put_line(struct text *t, unsigned odds)
{
	static const char *const names[] = {"Content-Length", "transfer-encoding", "Connection", "Upgrade",
		"Proxy-Connection", "X-Kong-Request-Id", "a", "Cookie"};
	static const char *const ends[] = {"\n", "\r", "\r\r\n", "\r\n ", "\r\n\t", " \r\n", "\n\n", ""};

	if (roll(4))
		put_random(t, "abcxyzABCXYZ0189-_!#$%&'*+.^`|~", 1 + roll(40), odds);
	else
		put_str(t, names[roll(sizeof(names) / sizeof(names[0]))]);
	if (!roll(odds))
		put_str(t, " ");
	if (roll(odds))
		put_str(t, ":");
	put_random(t, " \t", roll(3), odds);
	if (roll(5))
		put_random(t, "abc XYZ\t019\xc3\xbc=;,/\"\\\x80\xff", roll(70), odds);
	else
		put_random(t, "0123456789", roll(8), odds);
	put_str(t, roll(odds) ? "\r\n" : ends[roll(sizeof(ends) / sizeof(ends[0]))]);
}

static void make_section(struct text *t, unsigned odds)
{
	t->n = 0;
	for (unsigned i = roll(12); i > 0; i--)
		put_line(t, odds);
	put_str(t, "\r\n");
}

/* Reads a response's head with these fields, `step` bytes at a time after the status line; 0: in pieces of any size. */
static void read_head(struct text *section, size_t step, struct message *m, enum http1_step *last, size_t *left)
{
	static const struct message_limits limits = {.header_bytes = SECTION_MAX, .header_count = 100, .body = 0};
	static const char line[] = "HTTP/1.1 200 OK\r\n";
	struct http1_reader *r = http1_reader__new(SECTION_MAX);
	struct span in = span_of(line, sizeof(line) - 1), body;
	size_t at = 0;

	assert_non_null(r);
	message__init(m, &limits);
	http1_reader__begin(r, m, false);
	*last = http1_reader__next(r, &in, &body);
	while (*last == HTTP1_MORE && at < section->n) {
		size_t n = step ? step : 1 + roll(80);
		char *piece;

		if (n > section->n - at)
			n = section->n - at;
		/* Memory of its own: nothing beyond it may be looked at. */
		piece = malloc(n);
		assert_non_null(piece);
		memcpy(piece, section->p + at, n);
		in = span_of(piece, n);
		*last = http1_reader__next(r, &in, &body);
		at += n - in.n;
		free(piece);
	}
	*left = section->n - at;
	http1_reader__free(r);
}

static void same_fields(const struct headers *a, const struct headers *b)
{
	assert_int_equal(a->count, b->count);
	assert_int_equal(a->overflow, b->overflow);
	for (uint32_t i = 0; i < a->count; i++) {
		assert_true(span_eq(headers__name_at(a, i), headers__name_at(b, i)));
		assert_true(span_eq(headers__value_at(a, i), headers__value_at(b, i)));
		assert_int_equal(a->fields[i].hash, b->fields[i].hash);
		if (!a->open)
			assert_int_equal(a->fields[i].hash, header_hash(headers__name_at(a, i)));
	}
}

static void test_like_the_parser(void **state)
{
	static const unsigned odds[] = {4, 30, 300, 100000};
	enum { WHOLE, PIECES, ALONE };

	(void)state;
	for (int round = 0; round < 12000; round++) {
		static struct text t;
		struct message m[3];
		enum http1_step last[3];
		size_t left[3];

		make_section(&t, odds[round % 4]);
		read_head(&t, t.n, &m[WHOLE], &last[WHOLE], &left[WHOLE]);
		read_head(&t, 0, &m[PIECES], &last[PIECES], &left[PIECES]);
		read_head(&t, 1, &m[ALONE], &last[ALONE], &left[ALONE]);
		for (int i = WHOLE; i < ALONE; i++) {
			assert_int_equal(last[i], last[ALONE]);
			assert_int_equal(left[i], left[ALONE]);
			same_fields(&m[i].headers, &m[ALONE].headers);
		}
		for (int i = WHOLE; i <= ALONE; i++)
			message__free(&m[i]);
	}
}

struct line_case {
	const char *text;
	uint32_t taken; /* lines */
	bool over;
};

static void test_what_is_plain(void **state)
{
	static const struct line_case cases[] = {
		{"\r\n", 0, true},
		{"\n", 0, false},
		{"", 0, false},
		{"a: b\r\n\r\n", 1, true},
		{"a:\r\n\r\n", 0, false},
		{"a:b\r\n\r\n", 1, true},
		{"a: b\r\n", 0, false}, /* may be folded */
		{"a: b\r\n c\r\n\r\n", 0, false},
		{"a: b\r\nc: d\r\n\te\r\n\r\n", 1, false},
		{"a : b\r\n\r\n", 0, false},
		{": b\r\n\r\n", 0, false},
		{"a: b\n\r\n", 0, false},
		{"a: b\r\r\n\r\n", 0, false},
		{"a:  b\r\n\r\n", 0, false},
		{"a: b \r\n\r\n", 0, false},
		{"a: \001\r\n\r\n", 0, false},
		{"a\xc3: b\r\n\r\n", 0, false},
		{"a: x\r\nA-Very-Long-Name-With-More-Than-One-Block: a\tvalue that is as long\r\nz: 1\r\n\r\n", 3,
			true},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct span in = span_str(cases[i].text);
		struct headers h;

		headers__init(&h, SECTION_MAX, 100);
		assert_int_equal(h1fields__take(&in, &h), cases[i].over);
		assert_int_equal(h.count, cases[i].taken);
		assert_true(!cases[i].over || in.n == 0);
		in = span_str(cases[i].text);
		assert_int_equal(h1fields__take(&in, NULL), cases[i].over);
		headers__free(&h);
	}
}

static void test_no_room(void **state)
{
	static const char text[] = "a: 1\r\nbb: 22\r\nccc: 333\r\n\r\n";
	struct span in = span_str(text);
	struct headers h;

	(void)state;
	/* By number: the third line is left for the parser, which says that it does not fit. */
	headers__init(&h, SECTION_MAX, 2);
	assert_false(h1fields__take(&in, &h));
	assert_int_equal(h.count, 2);
	assert_true(span_starts(in, SPAN_LIT("ccc")));
	assert_false(h.overflow);
	headers__free(&h);
	/* By bytes. */
	in = span_str(text);
	headers__init(&h, 6, 100);
	assert_false(h1fields__take(&in, &h));
	assert_int_equal(h.count, 2);
	assert_true(span_eq(headers__value_at(&h, 1), SPAN_LIT("22")));
	headers__free(&h);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_like_the_parser),
		cmocka_unit_test(test_what_is_plain),
		cmocka_unit_test(test_no_room),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
