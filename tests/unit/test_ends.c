/* ends: what was looked up of a body that the kernel passed over, and who hears of it. */
#include "kt_cmocka.h"

#include "capture/ends.h"

static const struct conn_key ONE = {.pid = 7, .obj = 28, .gen = 1000}, OTHER = {.pid = 7, .obj = 29, .gen = 1001};

static struct conn_key heard[4];
static unsigned hearings;

static void on_record(void *ctx, const struct record *r)
{
	(void)ctx;
	assert_int_equal(r->kind, REC_DATA);
	assert_true(hearings < 4);
	heard[hearings++] = r->data.key;
}

static void looked_up(struct ends *e, const struct conn_key *key, enum direction dir)
{
	e->v[e->n++] = (struct end){
		.key = *key, .dir = dir, .known = true, .until = 900, .owed = {.pos = 1000, .owed = 400, .t_ns = 5}};
}

static void each_is_told_once(void **state)
{
	struct ends e = {.n = 0};

	(void)state;
	hearings = 0;
	looked_up(&e, &ONE, DIR_OUT);
	looked_up(&e, &OTHER, DIR_OUT);
	assert_int_equal(ends__round(&e, NULL, (struct record_sink){on_record, NULL}), 2);
	assert_int_equal(ends__round(&e, NULL, (struct record_sink){on_record, NULL}), 0);
	assert_true(conn_key_eq(&heard[0], &ONE));
	assert_true(conn_key_eq(&heard[1], &OTHER));
}

/* Between the look and the telling the connection closed. */
static void nothing_behind_the_close(void **state)
{
	struct ends e = {.n = 0};

	(void)state;
	hearings = 0;
	looked_up(&e, &ONE, DIR_IN);
	looked_up(&e, &OTHER, DIR_OUT);
	looked_up(&e, &ONE, DIR_OUT);
	ends__over(&e, &ONE);
	assert_int_equal(ends__round(&e, NULL, (struct record_sink){on_record, NULL}), 1);
	assert_int_equal(hearings, 1);
	assert_true(conn_key_eq(&heard[0], &OTHER));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_is_told_once),
		cmocka_unit_test(nothing_behind_the_close),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
