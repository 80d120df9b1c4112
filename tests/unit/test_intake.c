/* intake: two rings, one order. */
#include "kt_cmocka.h"

#include <linux/types.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/stats.h"
#include "capture.h"
#include "capture/intake.h"

static char said[4096];
static struct intake *in;
static unsigned drains;
static struct kt_open late; /* put on the control ring when it is drained again */

static void say(const char *word, unsigned long long t)
{
	size_t n = strlen(said);

	snprintf(said + n, sizeof(said) - n, "%s%s%llu", n ? " " : "", word, t);
}

static void on_record(void *ctx, const struct record *r)
{
	(void)ctx;
	say(r->kind == REC_OPEN ? "O" : r->kind == REC_CLOSE ? "C" : r->kind == REC_LOSS ? "L" : "D", r->t_ns);
}

static void on_proc(void *ctx, const struct proc_event *e)
{
	(void)ctx;
	say(e->what == PROC_FORK ? "F" : e->what == PROC_EXEC ? "X" : "E", e->t_ns);
}

static void on_drain(void *ctx)
{
	(void)ctx;
	drains++;
	if (late.head.kind)
		intake__control(in, &late, sizeof(late));
	late.head.kind = 0;
}

static int setup(void **state)
{
	struct intake_sink sink = {.record = {on_record, NULL}, .proc = on_proc, .drain = on_drain};

	(void)state;
	said[0] = '\0';
	drains = 0;
	memset(&late, 0, sizeof(late));
	stats_reset();
	in = intake__new(&sink);
	return in ? 0 : -1;
}

static int teardown(void **state)
{
	(void)state;
	intake__free(in);
	return 0;
}

static struct kt_open open_at(uint64_t t)
{
	return (struct kt_open){.head = {.t_ns = t, .pid = 1, .kind = KT_OPEN}, .fd = 5};
}

static void control(uint32_t kind, uint64_t t)
{
	struct kt_close c = {.head = {.t_ns = t, .pid = 1, .kind = kind}};

	if (kind == KT_OPEN) {
		struct kt_open o = open_at(t);

		intake__control(in, &o, sizeof(o));
	} else {
		intake__control(in, &c, sizeof(c));
	}
}

static void data(uint64_t t, uint8_t flags)
{
	struct {
		struct kt_data head;
		char payload[8];
	} d = {.head = {.head = {.t_ns = t, .pid = 1, .kind = KT_DATA}, .len = 3, .flags = flags}, .payload = "abc"};

	intake__data(in, &d, sizeof(d));
}

static void by_time(void **state)
{
	uint64_t mark;

	(void)state;
	control(KT_OPEN, 10);
	control(KT_CLOSE, 30);
	mark = intake__mark(in);
	data(20, 0);
	data(25, 0);
	assert_string_equal(said, "O10 D20 D25");
	data(31, 0);
	assert_string_equal(said, "O10 D20 D25 C30 D31");
	intake__settle(in, mark);
	assert_int_equal(intake__count(in), 5);
}

/* A loss is as old as the data before it, and sends nothing on that waits. */
static void losing(void **state)
{
	(void)state;
	control(KT_CLOSE, 30);
	data(20, 0);
	intake__lost(in);
	data(31, 0);
	assert_string_equal(said, "D20 L20 C30 D31");
}

/* What arrived after the mark waits for the next round. */
static void settling(void **state)
{
	uint64_t mark;

	(void)state;
	control(KT_CLOSE, 10);
	mark = intake__mark(in);
	control(KT_CLOSE, 20);
	intake__settle(in, mark);
	assert_string_equal(said, "C10");
	intake__settle(in, intake__mark(in));
	assert_string_equal(said, "C10 C20");
}

/* CPUs that put their records down in another order than they read the clock. */
static void out_of_order(void **state)
{
	(void)state;
	control(KT_CLOSE, 30);
	control(KT_OPEN, 10);
	control(KT_FORK, 20);
	data(25, 0);
	assert_string_equal(said, "O10 F20 D25");
	intake__settle(in, intake__mark(in));
	assert_string_equal(said, "O10 F20 D25 C30");
}

/* The first record of a connection fetches the OPEN that was written after the control ring had been read. */
static void first(void **state)
{
	(void)state;
	late = open_at(5);
	data(6, KT_FIRST);
	assert_int_equal(drains, 1);
	assert_string_equal(said, "O5 D6");
}

static void control_in_data_ring(void **state)
{
	struct kt_open o = open_at(15);

	(void)state;
	control(KT_CLOSE, 12);
	intake__data(in, &o, sizeof(o));
	assert_string_equal(said, "C12 O15");
}

static void malformed(void **state)
{
	struct {
		struct kt_data head;
		char payload[8];
	} d = {.head = {.head = {.t_ns = 1, .kind = KT_DATA}, .len = 8}};
	struct kt_open o = open_at(1);

	(void)state;
	for (size_t n = 0; n < sizeof(d); n++)
		intake__data(in, &d, n);
	assert_int_equal(stats_get(STAT_capture_bad_records), sizeof(d));
	d.head.len = 9;
	intake__data(in, &d, sizeof(d));
	d.head.len = UINT32_MAX;
	intake__data(in, &d, sizeof(d));
	d.head.len = 1;
	d.head.dir = 2;
	intake__data(in, &d, sizeof(d));
	d.head.dir = 0;
	d.head.pos = UINT64_MAX;
	intake__data(in, &d, sizeof(d));
	d.head.pos = 0;
	d.head.gap = UINT64_MAX;
	intake__data(in, &d, sizeof(d));
	d.head.gap = 0;
	d.head.cause = 9;
	intake__data(in, &d, sizeof(d));
	for (size_t n = 0; n < sizeof(o); n++)
		intake__control(in, &o, n);
	o.head.kind = 77;
	intake__control(in, &o, sizeof(o));
	assert_int_equal(stats_get(STAT_capture_bad_records), sizeof(d) + 6 + sizeof(o) + 1);
	assert_string_equal(said, "");
}

/* However many there are, memory is bounded and none is forgotten. */
static void flood(void **state)
{
	(void)state;
	for (uint64_t t = 1; t <= 50000; t++)
		control(KT_CLOSE, t);
	intake__settle(in, intake__mark(in));
	assert_int_equal(intake__count(in), 50000);
	assert_int_equal(stats_get(STAT_capture_lost_control), 0);
}

/* Connections come and go by the thousand while the reader is a second behind: the control ring fills again and again,
 * with what lies far ahead of the data. Each connection's records still come in their order. */

#define LAG 10000u
#define RING_RECORDS 1700u /* 256 KiB of OPEN and CLOSE */
#define CONNS 100000u

static struct {
	uint64_t ring[2 * RING_RECORDS]; /* time; a multiple of ten: OPEN, five more: CLOSE */
	unsigned n;
	uint8_t state[CONNS]; /* 0 not seen, 1 open, 2 data came, 3 closed */
	unsigned wrong;
} busy;

static void busy_record(void *ctx, const struct record *r)
{
	uint8_t *s = &busy.state[r->t_ns / 10 - 1];
	uint8_t want = r->kind == REC_OPEN ? 0 : r->kind == REC_DATA ? 1 : 2;

	(void)ctx;
	busy.wrong += *s != want;
	*s = (uint8_t)(want + 1);
}

static void busy_drain(void *ctx)
{
	unsigned n = busy.n;

	(void)ctx;
	busy.n = 0;
	for (unsigned i = 0; i < n; i++)
		control(busy.ring[i] % 10 ? KT_CLOSE : KT_OPEN, busy.ring[i]);
}

/* On the control ring if there is room. Else (true) it stands in the data ring. */
static bool elsewhere(uint64_t t)
{
	if (busy.n == 2 * RING_RECORDS)
		return true;
	busy.ring[busy.n++] = t;
	return false;
}

static void in_data_ring(uint32_t kind, uint64_t t)
{
	struct kt_close c = {.head = {.t_ns = t, .pid = 1, .kind = kind}};
	struct kt_open o = open_at(t);

	if (kind == KT_OPEN)
		intake__data(in, &o, sizeof(o));
	else
		intake__data(in, &c, sizeof(c));
}

static void a_reader_that_lags(void **state)
{
	static bool open_elsewhere[CONNS], close_elsewhere[CONNS];
	struct intake_sink sink = {.record = {busy_record, NULL}, .proc = on_proc, .drain = busy_drain};
	unsigned ahead = 0;

	(void)state;
	intake__free(in);
	memset(&busy, 0, sizeof(busy));
	in = intake__new(&sink);
	assert_non_null(in);
	for (unsigned i = 0; i < CONNS; i++) {
		for (; ahead < CONNS && ahead < i + LAG; ahead++) {
			open_elsewhere[ahead] = elsewhere((ahead + 1) * 10ull);
			close_elsewhere[ahead] = elsewhere((ahead + 1) * 10ull + 5);
		}
		/* Now and then the reader comes back from elsewhere: first the one ring, then the other. */
		if (i % 50000 == 0)
			busy_drain(NULL);
		if (open_elsewhere[i])
			in_data_ring(KT_OPEN, (i + 1) * 10ull);
		data((i + 1) * 10ull + 2, KT_FIRST);
		if (close_elsewhere[i])
			in_data_ring(KT_CLOSE, (i + 1) * 10ull + 5);
	}
	busy_drain(NULL);
	intake__settle(in, intake__mark(in));
	for (unsigned i = 0; i < CONNS; i++)
		busy.wrong += busy.state[i] != 3;
	assert_int_equal(busy.wrong, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(by_time, setup, teardown),
		cmocka_unit_test_setup_teardown(losing, setup, teardown),
		cmocka_unit_test_setup_teardown(settling, setup, teardown),
		cmocka_unit_test_setup_teardown(out_of_order, setup, teardown),
		cmocka_unit_test_setup_teardown(first, setup, teardown),
		cmocka_unit_test_setup_teardown(control_in_data_ring, setup, teardown),
		cmocka_unit_test_setup_teardown(malformed, setup, teardown),
		cmocka_unit_test_setup_teardown(flood, setup, teardown),
		cmocka_unit_test_setup_teardown(a_reader_that_lags, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
