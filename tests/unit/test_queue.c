#include "kt_cmocka.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "ship/queue.h"

static const struct queue_limits small = {.events = 10, .bytes = 1000, .batch_events = 3, .batch_bytes = 100};

static struct queue *queue_of(const struct queue_limits *l)
{
	struct queue *q = queue__new(l, (struct queue_wake){NULL, NULL});

	assert_non_null(q);
	return q;
}

static int give(struct queue *q, const char *json)
{
	return queue__give(q, span_str(json));
}

static void expect_body(struct batch *b, const char *want)
{
	struct span body;

	assert_non_null(b);
	body = batch__body(b);
	assert_int_equal(body.n, strlen(want));
	assert_memory_equal(body.p, want, body.n);
}

static void finish(struct queue *q, struct batch *b)
{
	queue__uncharge(q, b->count, b->charge);
	queue__recycle(q, b);
}

static void batches_are_cut_by_count_and_kept_in_order(void **state)
{
	struct queue *q = queue_of(&small);
	struct batch *b;
	uint64_t now, events, bytes;

	(void)state;
	assert_int_equal(queue__due(q, 1000), UINT64_MAX);
	for (int i = 0; i < 7; i++) {
		char json[16];

		snprintf(json, sizeof(json), "{%d}", i);
		assert_int_equal(give(q, json), 0);
	}
	now = clock_mono_ns();
	assert_int_equal(queue__due(q, UINT64_MAX / 2), 0);
	b = queue__take(q, now, UINT64_MAX / 2);
	expect_body(b, "[{0},{1},{2}]");
	assert_int_equal(b->charge, 9);
	finish(q, b);
	b = queue__take(q, now, UINT64_MAX / 2);
	expect_body(b, "[{3},{4},{5}]");
	queue__level(q, &events, &bytes);
	assert_int_equal(events, 4);
	assert_int_equal(bytes, 12);
	queue__waiting(q, &events, &bytes);
	assert_int_equal(events, 1);
	finish(q, b);
	/* The last one is neither full nor old. */
	assert_null(queue__take(q, now, UINT64_MAX / 2));
	assert_true(queue__due(q, 5000000000) > now);
	b = queue__take(q, now + 10, 10);
	expect_body(b, "[{6}]");
	finish(q, b);
	queue__level(q, &events, &bytes);
	assert_int_equal(events, 0);
	assert_int_equal(bytes, 0);
	queue__free(q);
}

static void batches_are_cut_by_bytes(void **state)
{
	struct queue_limits l = {.events = 100, .bytes = 10000, .batch_events = 100, .batch_bytes = 10};
	struct queue *q = queue_of(&l);
	struct batch *b;

	(void)state;
	give(q, "\"1234\"");
	give(q, "12");
	give(q, "34567890");
	give(q, "\"a single one that is longer than a batch\"");
	give(q, "1");
	b = queue__take(q, 0, UINT64_MAX);
	expect_body(b, "[\"1234\",12]");
	finish(q, b);
	b = queue__take(q, 0, UINT64_MAX);
	expect_body(b, "[34567890]");
	finish(q, b);
	b = queue__take(q, 0, UINT64_MAX);
	expect_body(b, "[\"a single one that is longer than a batch\"]");
	finish(q, b);
	queue__free(q);
}

static void both_bounds_hold_for_what_was_taken_too(void **state)
{
	struct queue *q = queue_of(&small);
	struct batch *b;
	char big[996];

	(void)state;
	for (int i = 0; i < 10; i++)
		assert_int_equal(give(q, "1"), 0);
	assert_int_equal(give(q, "1"), -ENOSPC);
	b = queue__take(q, 0, 0);
	assert_int_equal(give(q, "1"), -ENOSPC);
	finish(q, b);
	assert_int_equal(give(q, "1"), 0);
	/* 8 bytes are in it. */
	memset(big, '1', sizeof(big));
	assert_int_equal(queue__give(q, span_of(big, 993)), -ENOSPC);
	assert_int_equal(queue__give(q, span_of(big, 992)), 0);
	assert_int_equal(queue__give(q, span_of(big, (size_t)-1)), -ENOSPC);
	queue__free(q);
}

/* As the sender does, who looks at the clock before it looks at the queue. */
static void a_batch_that_is_younger_than_the_clock_is_not_old(void **state)
{
	struct queue *q = queue_of(&small);
	uint64_t now = clock_mono_ns() - 1;
	struct batch *b;

	(void)state;
	give(q, "1");
	assert_null(queue__take(q, now, 1000));
	assert_null(queue__take_old(q, now, 1000));
	give(q, "2");
	b = queue__take(q, now, 0);
	expect_body(b, "[1,2]");
	finish(q, b);
	queue__free(q);
}

static void an_untaken_batch_is_first_again(void **state)
{
	struct queue *q = queue_of(&small);
	struct batch *b;

	(void)state;
	give(q, "1");
	give(q, "2");
	b = queue__take(q, 0, 0);
	expect_body(b, "[1,2]");
	queue__untake(q, b);
	give(q, "3");
	give(q, "4");
	b = queue__take(q, 0, UINT64_MAX);
	expect_body(b, "[1,2,3]");
	queue__untake(q, b);
	b = queue__take(q, 0, UINT64_MAX);
	expect_body(b, "[1,2,3]");
	finish(q, b);
	queue__free(q);
}

static void old_ones_are_taken_whether_full_or_not(void **state)
{
	struct queue *q = queue_of(&small);
	uint64_t born;
	struct batch *b;

	(void)state;
	assert_int_equal(queue__born(q), UINT64_MAX);
	for (int i = 0; i < 3; i++)
		give(q, "1");
	born = queue__born(q);
	assert_null(queue__take_old(q, born + 9, 10));
	b = queue__take_old(q, born + 10, 10);
	expect_body(b, "[1,1,1]");
	finish(q, b);
	queue__free(q);
}

/* Two full batches are one: not one full batch and the beginning of the next. */
static void what_is_a_backlog(void **state)
{
	static const bool want[] = {false, false, false, false, false, true, true};
	struct queue *q = queue_of(&small);

	(void)state;
	assert_false(queue__backlog(q));
	for (int i = 0; i < 7; i++) {
		assert_int_equal(give(q, "{}"), 0);
		assert_int_equal(queue__backlog(q), want[i]);
	}
	finish(q, queue__take(q, clock_mono_ns(), UINT64_MAX / 2));
	assert_false(queue__backlog(q));
	queue__free(q);
}

static void a_closed_queue_takes_no_more(void **state)
{
	struct queue *q = queue_of(&small);

	(void)state;
	give(q, "1");
	queue__close(q);
	assert_int_equal(give(q, "2"), -ENOSPC);
	finish(q, queue__take(q, 0, 0));
	queue__free(q);
	queue__free(NULL);
}

static void count_wake(void *ctx)
{
	++*(int *)ctx;
}

static void the_sender_hears_of_first_full_and_crowded(void **state)
{
	struct queue_limits l = {.events = 100,
		.bytes = 1000,
		.batch_events = 50,
		.batch_bytes = 1000,
		.notice_bytes = 10,
		.notice_events = 5};
	int woken = 0;
	struct queue *q = queue__new(&l, (struct queue_wake){count_wake, &woken});

	(void)state;
	for (int i = 0; i < 5; i++)
		give(q, "1");
	assert_int_equal(woken, 1);
	give(q, "1");
	assert_int_equal(woken, 2);
	queue__free(q);
}

#define MANY 20000

static void *give_many(void *ctx)
{
	for (int i = 0; i < MANY; i++) {
		char json[32];

		snprintf(json, sizeof(json), "{\"id\":%d}", i);
		while (give(ctx, json))
			sched_yield();
	}
	return NULL;
}

static void nothing_is_lost_between_threads(void **state)
{
	struct queue_limits l = {.events = 500, .bytes = 100000, .batch_events = 7, .batch_bytes = 1000};
	struct queue *q = queue_of(&l);
	uint64_t events = 0, bytes, sum = 0;
	pthread_t t;

	(void)state;
	assert_int_equal(pthread_create(&t, NULL, give_many, q), 0);
	while (events < MANY) {
		struct batch *b = queue__take(q, clock_mono_ns(), 1000000);

		if (!b) {
			sched_yield();
			continue;
		}
		for (uint32_t i = 0; i < b->count; i++, events++) {
			assert_int_equal(strtoull(batch__event(b, i).p + 6, NULL, 10), events);
			sum += events;
		}
		finish(q, b);
	}
	pthread_join(t, NULL);
	assert_int_equal(sum, (uint64_t)MANY * (MANY - 1) / 2);
	queue__level(q, &events, &bytes);
	assert_int_equal(events, 0);
	assert_int_equal(bytes, 0);
	queue__free(q);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(batches_are_cut_by_count_and_kept_in_order),
		cmocka_unit_test(batches_are_cut_by_bytes),
		cmocka_unit_test(both_bounds_hold_for_what_was_taken_too),
		cmocka_unit_test(a_batch_that_is_younger_than_the_clock_is_not_old),
		cmocka_unit_test(an_untaken_batch_is_first_again),
		cmocka_unit_test(old_ones_are_taken_whether_full_or_not),
		cmocka_unit_test(what_is_a_backlog),
		cmocka_unit_test(a_closed_queue_takes_no_more),
		cmocka_unit_test(the_sender_hears_of_first_full_and_crowded),
		cmocka_unit_test(nothing_is_lost_between_threads),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
