/* The overhead governor, with a clock of its own. Costs are in per mille of all CPUs. */
#include "kt_cmocka.h"

#include <string.h>

#include "ops/governor.h"

#define S 1000000000ull

static struct governor g;
static uint64_t now, spent;

static void start(uint32_t percent, uint32_t cpus)
{
	const struct governor_options o = {.budget_percent = percent, .cpus = cpus, .calm = 5};

	governor__init(&g, &o);
	now = 1000 * S;
	spent = 7 * S; /* the start was dear, which is nobody's business */
	assert_false(governor__tick(&g, now, spent));
}

/* One second at this cost. */
static bool second(unsigned per_mille)
{
	now += S;
	spent += S / 1000 * per_mille * g.o.cpus;
	return governor__tick(&g, now, spent);
}

/* Seconds until the level changes, at most `most`. */
static unsigned until_change(unsigned per_mille, unsigned most)
{
	unsigned n = 1;

	while (!second(per_mille)) {
		assert_true(n < most);
		n++;
	}
	return n;
}

static void quiet(unsigned per_mille, unsigned seconds)
{
	while (seconds--)
		assert_false(second(per_mille));
}

static void off(void **state)
{
	(void)state;
	start(0, 2);
	quiet(1000, 100);
	assert_int_equal(g.level, GOVERNOR_ALL);
}

static void within_budget(void **state)
{
	(void)state;
	start(5, 4);
	quiet(50, 200);
	assert_int_equal(g.share, 500);
	assert_int_equal(g.level, GOVERNOR_ALL);
	/* One bad second is none; nor are many that do not follow each other. */
	for (int i = 0; i < 50; i++) {
		assert_false(second(900));
		assert_false(second(10));
	}
}

static void in_order(void **state)
{
	static const char *const texts[] = {"everything", "no bodies", "1 connection of 2", "1 connection of 4",
		"1 connection of 8", "1 connection of 16", "1 connection of 32", "1 connection of 64", "detached"};
	char text[32];

	(void)state;
	start(5, 2);
	for (int level = GOVERNOR_ALL; level < GOVERNOR_DETACHED; level++) {
		assert_int_equal(g.level, level);
		assert_string_equal(governor_text(level, text), texts[level]);
		assert_int_equal(governor_bodies(level), level == 0);
		assert_int_equal(governor_shift(level), level < 2 ? 0 : level - 1);
		assert_int_equal(until_change(51, 3), 2);
	}
	assert_int_equal(g.level, GOVERNOR_DETACHED);
	assert_string_equal(governor_text(g.level, text), "detached");
}

static void stops_where_it_fits(void **state)
{
	(void)state;
	start(5, 2);
	until_change(80, 3);
	/* Within the budget, and not so much below it that the step back could be afforded. */
	quiet(40, 500);
	assert_int_equal(g.level, GOVERNOR_NO_BODIES);
	quiet(26, 500);
	assert_int_equal(until_change(25, 6), 5);
	assert_int_equal(g.level, GOVERNOR_ALL);
}

static void learns_patience(void **state)
{
	unsigned patience = 5;

	(void)state;
	start(5, 2);
	until_change(80, 3);
	/* Each time the way back proves too early, twice the time passes before the next try, up to a bound. */
	for (int i = 0; i < 8; i++) {
		assert_int_equal(until_change(10, 1000), patience);
		assert_int_equal(g.level, GOVERNOR_ALL);
		assert_int_equal(until_change(80, 3), 2);
		if (patience < 5 * 32)
			patience *= 2;
	}
	assert_int_equal(patience, 160);
	assert_int_equal(until_change(10, 1000), patience);
	/* A way back that holds. */
	quiet(10, 200);
	until_change(80, 3);
	assert_int_equal(until_change(10, 1000), 5);
}

static void detach(void)
{
	while (g.level != GOVERNOR_DETACHED)
		until_change(500, 3);
}

static void tries_again(void **state)
{
	unsigned wait = 60;

	(void)state;
	start(1, 2);
	detach();
	for (int i = 0; i < 10; i++) {
		assert_int_equal(until_change(0, 10000), wait);
		assert_int_equal(g.level, GOVERNOR_DETACHED - 1);
		assert_int_equal(governor_shift(g.level), GOVERNOR_SHIFT_MAX);
		assert_int_equal(until_change(500, 3), 2);
		assert_int_equal(g.level, GOVERNOR_DETACHED);
		wait = wait < 1800 ? 2 * wait : 3600;
	}
	assert_int_equal(wait, 3600);
	/* It could not be attached: the same as if it had cost too much. */
	until_change(0, 10000);
	governor__refuse(&g, now);
	assert_int_equal(g.level, GOVERNOR_DETACHED);
	assert_int_equal(until_change(0, 10000), 3600);
	until_change(500, 3);
	/* The load is gone: all the way up, and a later trouble is a new one. */
	until_change(0, 10000);
	while (g.level != GOVERNOR_ALL)
		until_change(0, 1000);
	quiet(0, 200);
	detach();
	assert_int_equal(until_change(0, 10000), 60);
}

static void own_cost_of_being_detached_counts_not(void **state)
{
	(void)state;
	start(1, 1);
	detach();
	/* Whatever the machine shows now, there is nothing left to give up. */
	quiet(900, 59);
	assert_true(second(900));
}

static void a_clock_that_jumps(void **state)
{
	(void)state;
	start(5, 2);
	/* Stopped for a minute: the little that was spent is spread over it. */
	now += 60 * S;
	spent += S;
	assert_false(governor__tick(&g, now, spent));
	assert_int_equal(g.share, 83);
	/* More often than a window: nothing is judged before it is over. */
	for (int i = 0; i < 9; i++) {
		now += S / 10;
		spent += S;
		assert_false(governor__tick(&g, now, spent));
		assert_int_equal(g.share, 83);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(off),
		cmocka_unit_test(within_budget),
		cmocka_unit_test(in_order),
		cmocka_unit_test(stops_where_it_fits),
		cmocka_unit_test(learns_patience),
		cmocka_unit_test(tries_again),
		cmocka_unit_test(own_cost_of_being_detached_counts_not),
		cmocka_unit_test(a_clock_that_jumps),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
