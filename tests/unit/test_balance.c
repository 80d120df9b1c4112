/* Where calls and events went: nothing is missing from the sums, and what is missing would be said. */
#include "kt_cmocka.h"

#include <stdbool.h>
#include <string.h>

#include "ops/balance.h"

static const char *text_of(const struct balance *b, uint64_t waiting)
{
	static char text[512];

	balance_text(b, waiting, text, sizeof(text));
	return text;
}

static bool has_way(const struct balance *b, enum counter c)
{
	for (const struct balance_way *w = b->ways; w->name; w++)
		if (w->counter == c)
			return true;
	return false;
}

/* A new cause for dropping something is a new way for it to end. */
static void every_cause_is_there(void **state)
{
	(void)state;
	for (int i = 0; i < STAT_COUNT_; i++) {
		enum counter c = (enum counter)i;
		const char *name = stats_name(c);

		if (strncmp(name, "txn_", 4) == 0 && c != STAT_txn_seen && !has_way(&balance_of_calls, c))
			fail_msg("%s is no way for a call to end", name);
		if ((strncmp(name, "ship_dropped_", 13) == 0 || strncmp(name, "queue_dropped_", 14) == 0) &&
			!has_way(&balance_of_events, c))
			fail_msg("%s is no way for an event to end", name);
	}
}

static void texts(void **state)
{
	char small[12];

	(void)state;
	stats_reset();
	assert_string_equal(text_of(&balance_of_calls, 0), "0 calls");
	stats_add(STAT_txn_seen, 100);
	stats_add(STAT_txn_events, 90);
	stats_add(STAT_txn_filtered, 7);
	assert_int_equal(balance_open(&balance_of_calls), 3);
	assert_string_equal(text_of(&balance_of_calls, 0), "100 calls: 90 events, 7 filtered, 3 unaccounted");
	stats_add(STAT_txn_dropped_memory, 3);
	assert_string_equal(text_of(&balance_of_calls, 0), "100 calls: 90 events, 7 filtered, 3 dropped (memory)");
	/* What an earlier run left behind counts too. */
	stats_add(STAT_ship_recovered_events, 10);
	stats_add(STAT_ship_sent_events, 80);
	assert_string_equal(text_of(&balance_of_events, 20), "100 events: 80 delivered, 20 left in the spool");
	stats_add(STAT_ship_sent_events, 25);
	assert_string_equal(text_of(&balance_of_events, 0), "100 events: 105 delivered, -5 unaccounted");
	balance_text(&balance_of_calls, 0, small, sizeof(small));
	assert_string_equal(small, "100 calls: ");
	stats_reset();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_cause_is_there),
		cmocka_unit_test(texts),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
