/* The header list: order, case, limits, and fields that come in pieces. */
#include "kt_cmocka.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "wire/headers.h"
#include "wire/message.h"

#define S(x) SPAN_LIT(x)

static void same(struct span a, const char *b)
{
	assert_int_equal(a.n, strlen(b));
	assert_memory_equal(a.p, b, a.n);
}

static void test_find(void **state)
{
	struct headers h;

	(void)state;
	headers__init(&h, 1000, 10);
	assert_null(headers__get(&h, S("a")).p);
	assert_int_equal(headers__add(&h, S("Set-Cookie"), S("a=1")), 0);
	assert_int_equal(headers__add(&h, S("Empty"), S("")), 0);
	assert_int_equal(headers__add(&h, S("set-COOKIE"), S("b=2 \t")), 0);
	same(headers__name_at(&h, 2), "set-COOKIE");
	same(headers__value_at(&h, 2), "b=2");
	same(headers__get(&h, S("SET-cookie")), "a=1");
	assert_non_null(headers__get(&h, S("empty")).p);
	assert_int_equal(headers__get(&h, S("empty")).n, 0);
	assert_int_equal(headers__find(&h, S("set-cookie"), 1), 2);
	assert_int_equal(headers__find(&h, S("set-cookie"), 3), -1);
	assert_int_equal(headers__find(&h, S("set-cookie"), 99), -1);
	assert_int_equal(headers__count_of(&h, S("set-cookie")), 2);
	assert_int_equal(headers__count_of(&h, S("set-cooki")), 0);
	assert_null(headers__name_at(&h, 3).p);
	headers__clear(&h);
	assert_int_equal(h.count, 0);
	headers__free(&h);
	headers__free(NULL);
}

static void test_only_empty(void **state)
{
	struct headers h;

	(void)state;
	headers__init(&h, 100, 10);
	assert_int_equal(headers__add(&h, S(""), S("")), 0);
	assert_non_null(headers__get(&h, S("")).p);
	headers__free(&h);
}

static void test_pieces(void **state)
{
	const char *name = "Content-Type", *value = "text/html; x  ";
	struct headers h;

	(void)state;
	for (size_t step = 1; step < 20; step++) {
		headers__init(&h, 100, 10);
		assert_int_equal(headers__begin(&h), 0);
		for (size_t i = 0; i < strlen(name); i += step)
			headers__name(&h, span_of(name + i, strnlen(name + i, step)));
		for (size_t i = 0; i < strlen(value); i += step)
			headers__value(&h, span_of(value + i, strnlen(value + i, step)));
		headers__end(&h);
		headers__end(&h);
		same(headers__get(&h, S("content-type")), "text/html; x");
		/* Forgotten in the middle; begun without the end of the one before. */
		assert_int_equal(headers__begin(&h), 0);
		headers__name(&h, S("gone"));
		headers__abandon(&h);
		headers__abandon(&h);
		assert_int_equal(headers__begin(&h), 0);
		headers__name(&h, S("a"));
		assert_int_equal(headers__begin(&h), 0);
		headers__name(&h, S("b"));
		headers__end(&h);
		assert_int_equal(h.count, 3);
		assert_int_equal(headers__find(&h, S("a"), 0), 1);
		assert_int_equal(headers__find(&h, S("b"), 0), 2);
		assert_false(h.overflow);
		headers__free(&h);
	}
}

static void test_limits(void **state)
{
	struct headers h;

	(void)state;
	headers__init(&h, 10, 2);
	assert_int_equal(headers__add(&h, S("12345"), S("67890")), 0);
	assert_int_equal(headers__add(&h, S("x"), S("")), -ENOSPC);
	assert_true(h.overflow);
	assert_int_equal(h.count, 1);
	same(headers__get(&h, S("12345")), "67890");
	headers__free(&h);
	/* A field that does not fit is not there in part, and the next one may fit. */
	headers__init(&h, 10, 2);
	assert_int_equal(headers__begin(&h), 0);
	assert_int_equal(headers__name(&h, S("12345")), 0);
	assert_int_equal(headers__value(&h, S("123")), 0);
	assert_int_equal(headers__value(&h, S("123")), -ENOSPC);
	assert_int_equal(headers__value(&h, S("1")), -ENOSPC);
	headers__end(&h);
	assert_int_equal(h.count, 0);
	assert_int_equal(headers__add(&h, S("a"), S("b")), 0);
	assert_int_equal(headers__add(&h, S("c"), S("d")), 0);
	assert_int_equal(headers__add(&h, S("e"), S("f")), -ENOSPC);
	assert_int_equal(headers__name(&h, S("e")), -ENOSPC);
	assert_int_equal(h.count, 2);
	headers__free(&h);
	headers__init(&h, 10, 2);
	assert_int_equal(headers__name(&h, S("e")), -EINVAL);
	headers__free(&h);
	headers__init(&h, 0, 0);
	assert_int_equal(headers__add(&h, S("a"), S("b")), -ENOSPC);
	headers__free(&h);
}

static void test_thousands(void **state)
{
	struct headers h;
	char name[32];

	(void)state;
	headers__init(&h, 65536, 4096);
	for (int i = 0; i < 4096; i++) {
		snprintf(name, sizeof(name), "h%d", i);
		assert_int_equal(headers__add(&h, span_str(name), S("v")), 0);
	}
	assert_int_equal(headers__find(&h, S("H4095"), 0), 4095);
	assert_int_equal(headers__add(&h, S("h"), S("v")), -ENOSPC);
	assert_true(h.cap <= 65536 && h.fcap <= 4096);
	headers__free(&h);
}

/* Kept beside the fields, against the same maximum and not from the same room. */
static void test_kept(void **state)
{
	struct kept a = {0}, b = {0}, none = {0};
	struct headers h;

	(void)state;
	headers__init(&h, 10, 2);
	assert_int_equal(headers__keep(&h, S("0123456789a"), &none), -ENOSPC);
	assert_int_equal(none.n, 0);
	assert_null(headers__kept(&h, none).p);
	assert_int_equal(headers__keep(&h, S("0123456789"), &a), 0);
	assert_int_equal(headers__add(&h, S("name"), S("value ")), 0);
	assert_int_equal(headers__keep(&h, S("GET"), &b), 0);
	assert_int_equal(headers__add(&h, S("x"), S("")), 0);
	assert_int_equal(headers__add(&h, S("y"), S("")), -ENOSPC);
	for (int fit = 0; fit < 2; fit++) {
		same(headers__kept(&h, a), "0123456789");
		same(headers__kept(&h, b), "GET");
		same(headers__get(&h, S("NAME")), "value");
		headers__fit(&h);
		assert_int_equal(h.cap, h.n);
		assert_int_equal(h.fcap, h.count);
	}
	headers__free(&h);
	assert_null(headers__kept(&h, a).p);
}

/* After it was made to fit it can grow again: fields, pieces of them, what is kept, and lines that are adopted. */
static void test_fit(void **state)
{
	const struct span lines = S("c: 3\r\ndd:4\r\n");
	struct kept k = {0};
	struct headers h;

	(void)state;
	headers__init(&h, 1000, 10);
	headers__fit(&h);
	assert_int_equal(headers__keep(&h, S("kept"), &k), 0);
	headers__fit(&h);
	assert_int_equal(headers__add(&h, S("a"), S("1")), 0);
	headers__fit(&h);
	headers__fit(&h);
	assert_int_equal(headers__begin(&h), 0);
	assert_int_equal(headers__name(&h, S("b")), 0);
	assert_int_equal(headers__value(&h, S("2")), 0);
	headers__end(&h);
	headers__fit(&h);
	assert_int_equal(headers__place(&h, span_of(lines.p, 1), span_of(lines.p + 3, 1)), 0);
	assert_int_equal(headers__place(&h, span_of(lines.p + 6, 2), span_of(lines.p + 9, 1)), 0);
	assert_int_equal(headers__adopt(&h, lines, 2), 0);
	headers__fit(&h);
	same(headers__kept(&h, k), "kept");
	same(headers__get(&h, S("a")), "1");
	same(headers__get(&h, S("b")), "2");
	same(headers__get(&h, S("c")), "3");
	same(headers__get(&h, S("dd")), "4");
	headers__clear(&h);
	assert_int_equal(headers__add(&h, S("e"), S("a value that is longer than all that was there before")), 0);
	assert_int_equal(h.count, 1);
	same(headers__get(&h, S("e")), "a value that is longer than all that was there before");
	headers__free(&h);
}

static void test_message(void **state)
{
	struct message_limits l = {.header_bytes = 100, .header_count = 4, .body = 10};
	struct message m;

	(void)state;
	message__init(&m, &l);
	assert_int_equal(message__mem(&m), 0);
	assert_int_equal(headers__add(&m.headers, S("a"), S("b")), 0);
	m.status = 100;
	m.wire_bytes = 25;
	message__clear_head(&m);
	assert_int_equal(m.headers.count, 0);
	assert_int_equal(m.status, 0);
	assert_int_equal(m.wire_bytes, 25);
	assert_true(message__mem(&m) > 0);
	message__free(&m);
	assert_int_equal(message__mem(&m), 0);
	message__free(NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_find),
		cmocka_unit_test(test_only_empty),
		cmocka_unit_test(test_pieces),
		cmocka_unit_test(test_limits),
		cmocka_unit_test(test_thousands),
		cmocka_unit_test(test_kept),
		cmocka_unit_test(test_fit),
		cmocka_unit_test(test_message),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
