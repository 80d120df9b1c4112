/* What is learnt of credentials: bounded, aged, never shared. */
#include "kt_cmocka.h"

#include "moesif/learn.h"

#define S(text) SPAN_LIT(text)

static struct fingerprint fp(uint32_t n)
{
	struct fingerprint f = {{0}};

	memcpy(f.b, &n, sizeof(n));
	return f;
}

static void test_bounded(void **state)
{
	struct learn *l = learn__new(100, 60, 1 << 20);
	const struct consumer c = {.username = S("u")};
	struct consumer got;
	struct fingerprint f;

	(void)state;
	for (uint32_t i = 0; i < 1000; i++) {
		f = fp(i);
		learn__observe(l, &f, &c, 1);
		assert_true(learn__count(l) <= 100);
	}
	f = fp(899);
	assert_false(learn__find(l, &f, 1, &got));
	f = fp(900);
	assert_true(learn__find(l, &f, 1, &got));
	assert_true(span_eq(got.username, S("u")));
	/* Seen again: stays when others go. */
	learn__observe(l, &f, &c, 2);
	for (uint32_t i = 2000; i < 2099; i++) {
		struct fingerprint other = fp(i);

		learn__observe(l, &other, &c, 2);
	}
	assert_true(learn__find(l, &f, 2, &got));
	learn__set_limits(l, 10, 60, 1 << 20);
	assert_int_equal(learn__count(l), 10);
	learn__set_limits(l, 0, 60, 1 << 20);
	learn__observe(l, &f, &c, 2);
	assert_int_equal(learn__count(l), 0);
	learn__free(l);
	learn__free(NULL);
}

/* As many as there is memory for, whatever their length. */
static void test_bytes(void **state)
{
	char text[CONSUMER_TEXT_MAX] = {0};
	struct learn *l = learn__new(1000000, 60, 64 << 10);
	uint32_t most = 0;

	(void)state;
	for (uint32_t i = 0; i < 5000; i++) {
		struct consumer c = {.username = span_of(text, i % 7 ? 8 : CONSUMER_TEXT_MAX)}, got;
		struct fingerprint f = fp(i);

		learn__observe(l, &f, &c, 1);
		assert_true(learn__find(l, &f, 1, &got));
		assert_true(learn__bytes(l) <= 64 << 10);
		most = learn__count(l) > most ? learn__count(l) : most;
	}
	assert_true(most > 100);
	learn__set_limits(l, 1000000, 60, 4 << 10);
	assert_in_range(learn__bytes(l), 1, 4 << 10);
	learn__set_limits(l, 1000000, 60, 0);
	assert_int_equal(learn__count(l), 0);
	assert_int_equal(learn__bytes(l), 0);
	learn__free(l);
}

static void test_aged(void **state)
{
	struct learn *l = learn__new(10, 60, 1 << 20);
	const struct consumer c = {.id = S("i")};
	const uint64_t s = 1000000000;
	struct consumer got;
	struct fingerprint f = fp(1);

	(void)state;
	learn__observe(l, &f, &c, 100 * s);
	assert_true(learn__find(l, &f, 160 * s, &got));
	learn__observe(l, &f, &c, 150 * s);
	assert_true(learn__find(l, &f, 210 * s, &got));
	assert_false(learn__find(l, &f, 211 * s, &got));
	assert_int_equal(learn__count(l), 0);
	/* Calls end out of order: an older one does not make it older. */
	learn__observe(l, &f, &c, 300 * s);
	learn__observe(l, &f, &c, 250 * s);
	assert_true(learn__find(l, &f, 360 * s, &got));
	assert_true(learn__find(l, &f, 10 * s, &got));
	learn__free(l);
}

static void test_contradicted(void **state)
{
	struct learn *l = learn__new(10, 60, 1 << 20);
	const struct consumer a = {.id = S("a"), .credential = S("k1")}, a2 = {.id = S("a"), .credential = S("k2")};
	const struct consumer b = {.id = S("b")};
	const uint64_t s = 1000000000;
	struct consumer got;
	struct fingerprint f = fp(1);

	(void)state;
	learn__observe(l, &f, &a, s);
	learn__observe(l, &f, &a2, s);
	assert_true(learn__find(l, &f, s, &got));
	learn__observe(l, &f, &b, s);
	assert_false(learn__find(l, &f, s, &got));
	learn__observe(l, &f, &a, 2 * s);
	assert_false(learn__find(l, &f, 2 * s, &got));
	/* Until it has aged. */
	learn__observe(l, &f, &b, 70 * s);
	assert_true(learn__find(l, &f, 70 * s, &got));
	assert_true(span_eq(got.id, S("b")));
	learn__contradict(l, &f, 71 * s);
	assert_false(learn__find(l, &f, 71 * s, &got));
	f = fp(2);
	learn__contradict(l, &f, 71 * s);
	assert_int_equal(learn__count(l), 1);
	learn__free(l);
}

static void test_too_long(void **state)
{
	struct learn *l = learn__new(10, 60, 1 << 20);
	char text[CONSUMER_TEXT_MAX + 1] = {0};
	struct consumer c = {.username = span_of(text, CONSUMER_TEXT_MAX)}, got;
	struct fingerprint f = fp(1);

	(void)state;
	learn__observe(l, &f, &c, 1);
	assert_true(learn__find(l, &f, 1, &got));
	assert_int_equal(got.username.n, CONSUMER_TEXT_MAX);
	f = fp(2);
	c.id = S("x");
	learn__observe(l, &f, &c, 1);
	c = (struct consumer){
		.username = span_of(text, SIZE_MAX / 2), .id = span_of(text, SIZE_MAX / 2), .custom_id = S("ab")};
	learn__observe(l, &f, &c, 1);
	assert_int_equal(learn__count(l), 1);
	learn__free(l);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_bounded),
		cmocka_unit_test(test_bytes),
		cmocka_unit_test(test_aged),
		cmocka_unit_test(test_contradicted),
		cmocka_unit_test(test_too_long),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
