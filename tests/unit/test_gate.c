/* When the next request may go: back-off with jitter, Retry-After, the slow probe after a refusal. */
#include "kt_cmocka.h"

#include "base/log.h"
#include "ship/gate.h"

#define MS 1000000ull
#define S (1000 * MS)

static unsigned loud;

static void count_errors(void *ctx, enum log_level level, const char *module, const char *text)
{
	(void)ctx, (void)module, (void)text;
	loud += level == LOG_LVL_ERR;
}

static int setup(void **state)
{
	(void)state;
	loud = 0;
	log_set_sink(count_errors, NULL);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	log_set_sink(NULL, NULL);
	return 0;
}

static const struct ship_options opt = {
	.send_parallel = 4, .retry_base = 500, .retry_max = 30000, .refused_probe = 300000};

static uint64_t put_off(struct gate *g, uint64_t *now, uint32_t retry_after_s)
{
	uint64_t wait;

	gate__on_retry(g, *now, retry_after_s, "why");
	assert_int_equal(gate__width(g, *now), 0);
	wait = gate__due(g) - *now;
	*now += wait;
	assert_int_equal(gate__width(g, *now), 1);
	return wait;
}

/* Doubles up to its most, at least half of it; and many agents do not come back at the same moment. */
static void backs_off(void **state)
{
	static const uint64_t want[] = {500, 1000, 2000, 4000, 8000, 16000, 30000, 30000, 30000};
	uint64_t first[50], different = 0;

	(void)state;
	for (uint64_t seed = 0; seed < 50; seed++) {
		uint64_t now = 1 * S;
		struct gate g;

		gate__init(&g, &opt, seed * 7919);
		assert_int_equal(gate__width(&g, now), 4);
		for (size_t i = 0; i < sizeof(want) / sizeof(want[0]); i++) {
			uint64_t wait = put_off(&g, &now, 0);

			assert_in_range(wait, want[i] * MS / 2, want[i] * MS);
			if (i == 8)
				first[seed] = wait;
		}
		different += seed && first[seed] != first[seed - 1];
		gate__on_delivered(&g, now);
		assert_int_equal(gate__width(&g, now), 4);
		assert_int_equal(gate__due(&g), UINT64_MAX);
		assert_in_range(put_off(&g, &now, 0), 250 * MS, 500 * MS);
	}
	assert_true(different > 40);
}

static void does_as_it_is_asked(void **state)
{
	uint64_t now = 1 * S;
	struct gate g;

	(void)state;
	gate__init(&g, &opt, 1);
	assert_int_equal(put_off(&g, &now, 7), 7 * S);
	assert_int_equal(put_off(&g, &now, 3600), 3600 * S);
	/* Who asks for days gets a try an hour later. */
	assert_int_equal(put_off(&g, &now, 1000000), 3600 * S);
	assert_int_equal(put_off(&g, &now, UINT32_MAX), 3600 * S);
}

/* Four requests that were under way together fail together. */
static void failures_at_once_are_one(void **state)
{
	uint64_t now = 1 * S, due;
	struct gate g;

	(void)state;
	gate__init(&g, &opt, 1);
	gate__on_retry(&g, now, 0, "why");
	due = gate__due(&g);
	for (int i = 0; i < 3; i++)
		gate__on_retry(&g, now, 0, "why");
	assert_int_equal(gate__due(&g), due);
	assert_int_equal(g.failures, 1);
	gate__hurry(&g);
	assert_int_equal(gate__width(&g, now), 1);
}

/* Of four that are under way one is told to wait, before or after the others had their answers. */
static void who_asks_for_patience_gets_it(void **state)
{
	uint64_t now = 1 * S;
	struct gate g;

	(void)state;
	gate__init(&g, &opt, 1);
	gate__on_retry(&g, now, 0, "why");
	gate__on_retry(&g, now, 60, "why");
	gate__on_retry(&g, now + 1, 30, "why");
	assert_int_equal(gate__due(&g), now + 60 * S);
	gate__on_delivered(&g, now + 1);
	assert_int_equal(gate__due(&g), now + 60 * S);
	assert_int_equal(gate__width(&g, now + 59 * S), 0);
	now += 60 * S;
	assert_int_equal(gate__width(&g, now), 1);
	gate__on_delivered(&g, now);
	assert_int_equal(gate__width(&g, now), 4);
	/* Nobody asked: an answer that comes is as good as any. */
	gate__on_retry(&g, now, 0, "why");
	gate__on_delivered(&g, now + 1);
	assert_int_equal(gate__width(&g, now + 1), 4);
	/* The end of the agent does not wait. */
	gate__on_retry(&g, now, 60, "why");
	gate__hurry(&g);
	gate__on_delivered(&g, now);
	assert_int_equal(gate__width(&g, now), 4);
}

static void a_refusal_is_probed_slowly(void **state)
{
	uint64_t now = 1 * S;
	struct gate g;

	(void)state;
	gate__init(&g, &opt, 1);
	gate__on_retry(&g, now, 0, "why");
	gate__on_refused(&g, now, "no");
	assert_int_equal(loud, 1);
	for (int i = 0; i < 5; i++) {
		assert_int_equal(gate__due(&g), now + 300 * S);
		assert_int_equal(gate__width(&g, now + 299 * S), 0);
		gate__on_refused(&g, now + 1 * S, "no"); /* of a request sent before */
		assert_int_equal(gate__due(&g), now + 300 * S);
		now += 300 * S;
		assert_int_equal(gate__width(&g, now), 1);
		gate__on_refused(&g, now, "no");
	}
	assert_int_equal(loud, 1);
	/* The end of the agent does not make it try what is refused. */
	gate__hurry(&g);
	assert_int_equal(gate__width(&g, now), 0);
	gate__on_delivered(&g, now);
	gate__on_refused(&g, now, "no");
	assert_int_equal(loud, 2);
}

static void poison_in_a_row_is_a_refusal(void **state)
{
	struct gate g;

	(void)state;
	gate__init(&g, &opt, 1);
	for (int i = 0; i < 20; i++)
		assert_false(gate__on_poison(&g, 1 * S, "bad"));
	gate__on_delivered(&g, 1 * S);
	for (int i = 0; i < 20; i++)
		assert_false(gate__on_poison(&g, 1 * S, "bad"));
	assert_int_equal(loud, 0);
	assert_true(gate__on_poison(&g, 1 * S, "bad"));
	assert_int_equal(loud, 1);
	assert_int_equal(g.state, SHIP_REFUSED);
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(backs_off),
		T(does_as_it_is_asked),
		T(failures_at_once_are_one),
		T(who_asks_for_patience_gets_it),
		T(a_refusal_is_probed_slowly),
		T(poison_in_a_row_is_a_refusal),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
