/* One direction: what is new in a record, what is missing before and after it. */
#include "kt_cmocka.h"

#include <errno.h>

#include "base/stats.h"
#include "wire/stream.h"

struct row {
	uint64_t pos;
	size_t n;
	uint64_t gap;
	/* expected */
	uint64_t lost;
	size_t skip, left;
	uint64_t gap_left, next;
	bool start;
};

static void test_table(void **state)
{
	static const struct row rows[] = {
		{0, 10, 0, 0, 0, 10, 0, 10, true},
		{10, 5, 7, 0, 0, 5, 7, 22, true},
		{30, 5, 0, 8, 0, 5, 0, 35, true},    /* a jump */
		{30, 5, 0, 0, 5, 0, 0, 35, false},   /* again */
		{33, 5, 0, 0, 2, 3, 0, 38, false},   /* overlap */
		{36, 1, 4, 0, 1, 0, 3, 41, false},   /* the data was known, part of the gap was not */
		{20, 5, 40, 0, 5, 0, 24, 65, false}, /* from far back */
		{65, 0, 5, 0, 0, 0, 5, 70, true},    /* sendfile: nothing but a gap */
		{0, 0, 0, 0, 0, 0, 0, 70, true},
		{60, 0, 5, 0, 0, 0, 0, 70, true},
	};
	static char bytes[64];
	struct stream s = {0};
	struct stream_step st;
	uint64_t seen = 0;

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		const struct row *r = &rows[i];
		struct rec_data d = {.pos = r->pos, .data = {bytes, r->n}, .gap = r->gap, .cause = GAP_LIMIT};

		assert_int_equal(stream__take(&s, &d, &st), 0);
		assert_int_equal(st.lost, r->lost);
		assert_int_equal(st.data.n, r->left);
		assert_ptr_equal(st.data.p, bytes + r->skip);
		assert_int_equal(st.gap, r->gap_left);
		assert_int_equal(s.next, r->next);
		assert_int_equal(st.fragment_start, r->start);
		/* What a record adds accounts for every position. */
		seen += st.lost + st.data.n + st.gap;
		assert_int_equal(seen, s.next);
	}
	assert_int_equal(stream__end(&s, 70, GAP_LOST), 0);
	assert_int_equal(stream__end(&s, 60, GAP_LOST), 0);
	assert_int_equal(stream__end(&s, 75, GAP_LOST), 5);
	assert_int_equal(stream__end(&s, 75, GAP_LOST), 0);
}

static void test_overflow(void **state)
{
	struct stream s = {.next = 5};
	struct stream_step st;
	struct rec_data d = {.pos = UINT64_MAX, .data = SPAN_LIT("ab")};

	(void)state;
	assert_int_equal(stream__take(&s, &d, &st), -EOVERFLOW);
	d = (struct rec_data){.pos = 4, .data = SPAN_LIT("ab"), .gap = UINT64_MAX - 5};
	assert_int_equal(stream__take(&s, &d, &st), -EOVERFLOW);
	assert_int_equal(s.next, 5);
	d.gap = UINT64_MAX - 6;
	assert_int_equal(stream__take(&s, &d, &st), 0);
	assert_int_equal(s.next, UINT64_MAX);
	d = (struct rec_data){.pos = UINT64_MAX};
	assert_int_equal(stream__take(&s, &d, &st), 0);
	assert_int_equal(stream__end(&s, UINT64_MAX, GAP_LOST), 0);
}

static void test_causes(void **state)
{
	static const enum counter stats[] = {STAT_wire_gap_lost, STAT_wire_gap_lost, STAT_wire_gap_limit,
		STAT_wire_gap_nodata, STAT_wire_gap_fault, STAT_wire_gap_lost};
	struct stream s = {0};
	struct stream_step st;

	(void)state;
	for (unsigned cause = 0; cause < 6; cause++) {
		uint64_t before = stats_get(stats[cause]);
		struct rec_data d = {.pos = s.next, .gap = 3, .cause = (enum gap_cause)cause};

		assert_int_equal(stream__take(&s, &d, &st), 0);
		assert_int_equal(stats_get(stats[cause]) - before, 3);
		assert_int_equal(st.cause, cause && cause <= GAP_FAULT ? cause : GAP_LOST);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_table),
		cmocka_unit_test(test_overflow),
		cmocka_unit_test(test_causes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
