#include "kt_cmocka.h"

#include <errno.h>
#include <math.h>

#include "capture/placement.h"
#include "capture/toll.h"

#if defined(__x86_64__)
extern const char toll_function[], toll_at_call[], toll_at_jump[];

/* What is measured is what is used: the matcher finds in the function of our own the two places that are probed. */
static void test_the_function_is_like_the_librarys(void **state)
{
	struct placement p;

	(void)state;
	assert_true(placement_find((const uint8_t *)toll_function, 64, &p));
	assert_int_equal(p.call, toll_at_call - toll_function);
	assert_int_equal(p.jump, toll_at_jump - toll_function);
}
#endif

static void test_system_calls_take_time(void **state)
{
	struct toll_calls t;

	(void)state;
	toll_calls(&t);
	assert_true(t.hooked > 0 && t.other > 0);
}

static void test_without_uprobes(void **state)
{
	struct features f = {0};
	double ns = -1;

	(void)state;
	assert_int_equal(toll_probes(NULL, &f, true, &ns), -ENOTSUP);
	assert_true(ns == -1);
}

/* A measurement that something came between does not switch the capture off, nor does it let it go unbounded. */
static void test_what_is_believed(void **state)
{
	(void)state;
	assert_int_equal(toll_believed(1387.6, 1200), 1387);
	assert_int_equal(toll_believed(76, 1200), 76);
	assert_int_equal(toll_believed(74, 1200), 75);
	assert_int_equal(toll_believed(-3000, 1200), 75);
	assert_int_equal(toll_believed(19199, 1200), 19199);
	assert_int_equal(toll_believed(19201, 1200), 19200);
	assert_int_equal(toll_believed(1e300, 1200), 19200);
	assert_int_equal(toll_believed((double)NAN, 1200), 75);
}

static void test_usual_where_nothing_can_be_measured(void **state)
{
	struct features f = {0};
	struct hook_costs c = {0};

	(void)state;
	assert_false(toll_measure(NULL, &f, &c));
	assert_memory_equal(&c, &toll_usual, sizeof(c));
}

/* A worker that is dearer comes and goes: what was before it and after it costs what it did. */
static void test_a_sum_only_grows(void **state)
{
	struct toll_sum t = {0};

	(void)state;
	toll_sum__add(&t, 100, 1000);
	assert_int_equal(t.ns, 100000);
	toll_sum__add(&t, 100, 9000);
	assert_int_equal(t.ns, 100000);
	toll_sum__add(&t, 110, 9000);
	assert_int_equal(t.ns, 190000);
	toll_sum__add(&t, 110, 1000);
	assert_int_equal(t.ns, 190000);
	toll_sum__add(&t, 120, 1000);
	assert_int_equal(t.ns, 200000);
	toll_sum__add(&t, 90, 1000);
	assert_int_equal(t.ns, 200000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#if defined(__x86_64__)
		cmocka_unit_test(test_the_function_is_like_the_librarys),
#endif
		cmocka_unit_test(test_system_calls_take_time),
		cmocka_unit_test(test_without_uprobes),
		cmocka_unit_test(test_what_is_believed),
		cmocka_unit_test(test_usual_where_nothing_can_be_measured),
		cmocka_unit_test(test_a_sum_only_grows),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
