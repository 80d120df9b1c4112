/* The life of connections: legs, reuse, exits, limits, losses and finding the place again. */
#include "wire_rig.h"

#define OK5 "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"
#define GET(x) "GET /" x " HTTP/1.1\r\nHost: h\r\n\r\n"
#define GOOD(x) "GET /" x " 1.1 complete 0 \"\" > 200 1.1 complete 5 \"hello\"\n"

#define want(r, text) assert_string_equal(rig_text(&(r)->brief), text)

static void test_leg_by_first_bytes(void **state)
{
	struct rig r;

	(void)state;
	rig__init(&r);
	/* No OPEN at all: a request that was read makes it a client leg, one that was written an upstream leg. */
	rig__in(&r, GET("a"));
	rig__out(&r, OK5);
	r.key.gen++;
	r.pos[0] = r.pos[1] = 0;
	rig__out(&r, GET("b"));
	rig__in(&r, OK5);
	want(&r, GOOD("a") "GET /b 1.1 complete 0 \"\" > 200 1.1 complete 5 \"\"\n");
	rig__free(&r);
}

static void test_leg_by_ports(void **state)
{
	struct record w = {.kind = REC_WORKER, .worker = {.pid = 42, .nports = 1, .ports = {{.port = 8000}}}};
	struct record open = {.kind = REC_OPEN, .open = {.fd = 7}};
	struct rig r;

	(void)state;
	rig__init(&r);
	rig__send(&r, &w);
	assert_int_equal(conns__worker(r.c, 42)->ports[0].port, 8000);
	assert_null(conns__worker(r.c, 43));
	/* The local port is not one that is listened on: an upstream leg, whatever its first bytes are. */
	open.open.key = r.key;
	open.open.local = (struct endpoint){.family = ADDR_IP4, .port = 45678};
	rig__send(&r, &open);
	rig__in(&r, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
	want(&r, " > 200 1.1 complete 0 \"\"\n");
	rig__free(&r);
}

static void test_facts_come_later(void **state)
{
	struct record open = {.kind = REC_OPEN, .open = {.fd = -1}};
	struct rig r;

	(void)state;
	rig__init(&r);
	r.key.tls = 1;
	open.open.key = r.key;
	rig__send(&r, &open);
	open.open.fd = 9;
	open.open.origin = CONN_ACCEPTED;
	open.open.peer = (struct endpoint){.family = ADDR_IP4, .port = 5, .addr = {10, 1, 2, 3}};
	rig__send(&r, &open);
	rig__in(&r, GET("a"));
	rig__out(&r, OK5);
	assert_int_equal(conns__count(r.c), 1);
	want(&r, GOOD("a"));
	rig__free(&r);
}

static void test_reuse(void **state)
{
	struct rig r;

	(void)state;
	rig__init(&r);
	rig__open(&r, CONN_ACCEPTED);
	rig__in(&r, "POST /a HTTP/1.1\r\nContent-Length: 9\r\n\r\nabc");
	rig__close(&r);
	/* The same fd at once, and once more without its close having been seen. */
	r.key.gen++;
	rig__open(&r, CONN_ACCEPTED);
	rig__in(&r, GET("b"));
	r.key.gen++;
	rig__open(&r, CONN_ACCEPTED);
	assert_int_equal(conns__count(r.c), 1);
	rig__in(&r, GET("c"));
	rig__out(&r, OK5);
	want(&r, "POST /a 1.1 closed 3 \"abc\" > [gone]\nGET /b 1.1 complete 0 \"\" > [gone]\n" GOOD("c"));
	rig__free(&r);
}

/* Data of a life that another has taken the place of: it is no connection that could ever end. */
static void test_late_data_of_an_earlier_life(void **state)
{
	uint64_t late = stats_get(STAT_wire_late_bytes);
	struct rig r;

	(void)state;
	rig__init(&r);
	for (int i = 0; i < 1000; i++) {
		r.key.gen += 2;
		rig__open(&r, CONN_ACCEPTED);
		r.key.gen--;
		rig__in(&r, GET("late"));
		r.key.gen++;
		r.pos[DIR_IN] = 0;
		rig__in(&r, GET("b"));
		rig__out(&r, OK5);
		assert_int_equal(conns__count(r.c), 1);
	}
	assert_int_equal(r.done, 1000);
	assert_int_equal(stats_get(STAT_wire_late_bytes) - late, 1000 * strlen(GET("late")));
	rig__free(&r);
}

static void test_exit(void **state)
{
	struct record gone = {.kind = REC_EXIT, .exit = {.pid = 42}};
	struct rig r;

	(void)state;
	rig__init(&r);
	for (int i = 0; i < 10; i++) {
		r.key.obj++;
		r.key.pid = i < 5 ? 42 : 43;
		rig__open(&r, CONN_ACCEPTED);
		rig__in(&r, GET("a"));
	}
	rig__send(&r, &gone);
	assert_int_equal(conns__count(r.c), 5);
	assert_int_equal(r.done, 5);
	assert_null(strstr(rig_text(&r.brief), "[gone]"));
	rig__free(&r);
}

static void test_close_before_data(void **state)
{
	struct rig r;

	(void)state;
	rig__init(&r);
	rig__open(&r, CONN_ACCEPTED);
	rig__in(&r, GET("a"));
	rig__close(&r);
	rig__out(&r, OK5);
	rig__in(&r, GET("b"));
	rig__close(&r);
	assert_int_equal(conns__count(r.c), 0);
	rig__free(&r);
}

static void test_many_connects(void **state)
{
	struct rig r;
	uint64_t mem = 0;

	(void)state;
	rig__init(&r);
	for (int i = 0; i < 100000; i++) {
		r.key.gen++;
		r.key.obj = 10 + (unsigned)i % 50;
		rig__open(&r, CONN_ACCEPTED);
		if (i % 3 == 0)
			rig__in(&r, GET("a"));
		rig__close(&r);
		if (i == 100)
			mem = conns__memory(r.c);
	}
	assert_int_equal(conns__memory(r.c), mem);
	assert_int_equal(conns__count(r.c), 0);
	r.brief.n = 0;
	rig__free(&r);
}

static void test_conn_limit_and_idle(void **state)
{
	struct wire_limits l;
	struct rig r;

	(void)state;
	wire_limits_default(&l);
	l.conns = 100;
	rig__init_with(&r, &l);
	for (int i = 0; i < 1000; i++) {
		r.key.gen++;
		r.key.obj++;
		rig__open(&r, CONN_ACCEPTED);
	}
	assert_int_equal(conns__count(r.c), 100);
	/* The youngest are the ones that are left. */
	rig__in(&r, GET("a"));
	rig__out(&r, OK5);
	want(&r, GOOD("a"));
	rig__tick(&r, 3599000 * MS);
	assert_int_equal(conns__count(r.c), 100);
	rig__in(&r, GET("b"));
	rig__out(&r, OK5);
	rig__tick(&r, 2000 * MS);
	assert_int_equal(conns__count(r.c), 1);
	rig__tick(&r, 3601000 * MS);
	assert_int_equal(conns__count(r.c), 0);
	rig__free(&r);
}

static void test_memory_limit(void **state)
{
	static char body[60000];
	struct wire_limits l;
	uint64_t dropped = stats_get(STAT_wire_bodies_dropped), over = stats_get(STAT_wire_conns_over_limit);
	struct rig r;

	(void)state;
	memset(body, 'x', sizeof(body));
	wire_limits_default(&l);
	l.total_bytes = 1 << 20;
	rig__init_with(&r, &l);
	for (int i = 0; i < 60; i++) {
		r.key.gen++;
		r.key.obj++;
		rig__open(&r, CONN_ACCEPTED);
		rig__in(&r, "POST /a HTTP/1.1\r\nContent-Length: 60000\r\n\r\n");
		rig__data(&r, DIR_IN, body, sizeof(body));
		assert_true(conns__memory(r.c) <= l.total_bytes);
	}
	/* Bodies went first: every call is still there. */
	assert_int_equal(conns__count(r.c), 60);
	assert_int_equal(r.begun, 60);
	assert_int_equal(r.done, 0);
	assert_true(stats_get(STAT_wire_bodies_dropped) > dropped);
	/* Then whole connections. */
	for (int i = 0; i < 3000; i++) {
		r.key.gen++;
		r.key.obj++;
		rig__open(&r, CONN_ACCEPTED);
		rig__in(&r, GET("a"));
		assert_true(conns__memory(r.c) <= l.total_bytes + 4096);
	}
	assert_true(stats_get(STAT_wire_conns_over_limit) > over);
	/* Memory may be there when they come again: nobody is told to leave them out. */
	assert_int_equal(r.ignored, 0);
	rig__free(&r);
}

/* Bodies of calls that are open make room for calls that begin, the eldest first, and every byte of them is free. */
static void test_bodies_make_room(void **state)
{
	static char body[60000];
	struct wire_limits l;
	uint64_t dropped = stats_get(STAT_wire_bodies_dropped), over = stats_get(STAT_wire_conns_over_limit);
	unsigned calls = 0;
	struct rig r;

	(void)state;
	memset(body, 'x', sizeof(body));
	wire_limits_default(&l);
	l.total_bytes = 1 << 20;
	rig__init_with(&r, &l);
	for (; calls < 10; calls++) {
		r.key.obj++;
		rig__open(&r, CONN_ACCEPTED);
		rig__in(&r, "POST /a HTTP/1.1\r\nContent-Length: 60001\r\n\r\n");
		rig__data(&r, DIR_IN, body, sizeof(body));
	}
	assert_int_equal(stats_get(STAT_wire_bodies_dropped), dropped);
	for (; stats_get(STAT_wire_bodies_dropped) < dropped + 10; calls++) {
		r.key.obj++;
		rig__open(&r, CONN_ACCEPTED);
		rig__in(&r, GET("a"));
		assert_true(conns__memory(r.c) <= l.total_bytes);
	}
	assert_true(calls > 400);
	assert_int_equal(stats_get(STAT_wire_conns_over_limit), over);
	assert_int_equal(r.begun, calls);
	assert_int_equal(r.nopen, calls);
	rig__free(&r);
}

/* Where all memory is in calls that go on, a new connection has to wait. It is seen again once there is room, and what
 * was missed of it is not taken for lost. */
static void test_room_comes_later(void **state)
{
	const size_t n = strlen(GET("a"));
	uint64_t over = stats_get(STAT_wire_conns_over_limit), lost = stats_get(STAT_wire_gap_lost);
	uint64_t limit = stats_get(STAT_wire_gap_limit);
	struct wire_limits l;
	unsigned taken;
	struct rig r;

	(void)state;
	wire_limits_default(&l);
	l.total_bytes = 200000;
	rig__init_with(&r, &l);
	while (stats_get(STAT_wire_conns_over_limit) == over) {
		r.key.obj++;
		rig__open(&r, CONN_ACCEPTED);
		rig__in(&r, GET("a"));
	}
	taken = r.begun;
	assert_in_range(taken, 100, 200);
	/* Some room for a connection may be left. */
	for (int i = 0; i < 8; i++) {
		r.key.obj++;
		rig__open(&r, CONN_ACCEPTED);
	}
	over = stats_get(STAT_wire_conns_over_limit);
	for (int i = 0; i < 2; i++) {
		r.key.obj++;
		rig__open(&r, CONN_ACCEPTED);
		rig__in(&r, GET("a"));
		rig__in(&r, "more");
	}
	assert_int_equal(stats_get(STAT_wire_conns_over_limit), over + 2);
	assert_int_equal(r.begun, taken);
	/* One ends before there is room: what was missed of it is known then. */
	rig__close(&r);
	assert_int_equal(stats_get(STAT_wire_gap_limit) - limit, n + 4);
	r.key.obj -= 11 + taken;
	for (unsigned i = 0; i < taken; i++) {
		r.key.obj++;
		r.pos[DIR_IN] = n;
		r.pos[DIR_OUT] = 0;
		rig__out(&r, OK5);
	}
	assert_int_equal(r.done, taken);
	r.key.obj += 10;
	r.pos[DIR_IN] = n + 4;
	r.pos[DIR_OUT] = 0;
	rig__in(&r, GET("b"));
	rig__out(&r, OK5);
	assert_int_equal(r.begun, taken + 1);
	assert_int_equal(r.done, taken + 1);
	assert_int_equal(r.ignored, 0);
	assert_int_equal(stats_get(STAT_wire_gap_lost), lost);
	assert_int_equal(stats_get(STAT_wire_gap_limit) - limit, 2 * (n + 4));
	rig__free(&r);
}

static void test_pipeline_limit(void **state)
{
	struct rig r;

	(void)state;
	rig__init(&r);
	rig__open(&r, CONN_ACCEPTED);
	for (int i = 0; i < 65; i++)
		rig__in(&r, GET("a"));
	assert_int_equal(r.done, 64);
	assert_int_equal(r.ignored, 1);
	rig__in(&r, GET("a"));
	assert_int_equal(r.done, 64);
	rig__free(&r);
}

static void test_not_http(void **state)
{
	struct rig r;

	(void)state;
	rig__init(&r);
	rig__open(&r, CONN_CONNECTED);
	rig__data(&r, DIR_OUT, "\0\0\0\x08\x04\xd2\x16\x2f", 8);
	assert_int_equal(r.ignored, 1);
	rig__in(&r, OK5);
	rig__close(&r);
	/* One that was open before: not before it has shown that it is not HTTP either. */
	r.key.gen++;
	rig__open(&r, CONN_UNKNOWN);
	for (int i = 0; i < 40 && r.ignored == 1; i++) {
		rig__data(&r, DIR_OUT, "\1\2\3\4", 4);
		rig__data(&r, DIR_IN, "\1\2\3\4", 4);
	}
	assert_int_equal(r.ignored, 2);
	assert_int_equal(r.done, 0);
	rig__free(&r);
}

static void test_gap_in_bodies(void **state)
{
	struct rig r;

	(void)state;
	rig__init(&r);
	rig__open(&r, CONN_ACCEPTED);
	rig__in(&r, "POST /a HTTP/1.1\r\nContent-Length: 10\r\n\r\nab");
	rig__lose(&r, DIR_IN, 5, GAP_FAULT);
	rig__in(&r, "hij");
	rig__out(&r, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n8\r\nab");
	rig__lose(&r, DIR_OUT, 4, GAP_NONE);
	rig__out(&r, "gh\r\n2\r\nij\r\n0\r\n\r\n");
	/* To the last byte of the message, exactly. */
	rig__in(&r, "POST /b HTTP/1.1\r\nContent-Length: 4\r\n\r\n");
	rig__lose(&r, DIR_IN, 4, GAP_LIMIT);
	rig__out(&r, "HTTP/1.1 200 OK\r\nContent-Length: 100000000000\r\n\r\n");
	rig__lose(&r, DIR_OUT, 100000000000, GAP_NODATA);
	rig__in(&r, GET("c"));
	rig__out(&r, OK5);
	want(&r, "POST /a 1.1 complete 10 \"ab\" gap 5/10 > 200 1.1 complete 10 \"ab\" gap 4/2\n"
		 "POST /b 1.1 complete 4 \"\" gap 4/4 > 200 1.1 complete 100000000000 \"\" gap 100000000000/8\n" GOOD(
			 "c"));
	rig__free(&r);
}

static void test_gap_in_heads(void **state)
{
	struct rig r;

	(void)state;
	rig__init(&r);
	rig__open(&r, CONN_ACCEPTED);
	/* A request's head: that call keeps its answer, the next one is whole. */
	rig__in(&r, "GET /a HTTP/1.1\r\nHo");
	rig__lose(&r, DIR_IN, 9, GAP_LOST);
	rig__in(&r, "X: y\r\n\r\n");
	rig__out(&r, OK5);
	rig__in(&r, GET("b"));
	rig__out(&r, OK5);
	want(&r, "GET /a 1.1 lost 0 \"\" > 200 1.1 complete 5 \"hello\"\n" GOOD("b"));
	buf__clear(&r.brief);
	/* A response's head: what follows is not taken for another one, whatever it looks like. */
	rig__in(&r, GET("c"));
	rig__lose(&r, DIR_OUT, 30, GAP_NONE);
	rig__out(&r, "HTTP/1.1 500 Fake\r\nContent-Length: 0\r\n\r\n");
	rig__in(&r, GET("d"));
	rig__out(&r, OK5);
	want(&r, "GET /c 1.1 complete 0 \"\" > 0 0.0 lost 0 \"\"\n" GOOD("d"));
	buf__clear(&r.brief);
	/* A whole answer: the next call's is not given to it. */
	rig__in(&r, GET("e"));
	rig__lose(&r, DIR_OUT, 43, GAP_NONE);
	rig__in(&r, GET("f"));
	rig__out(&r, OK5);
	/* It is believed when no other request turns out to have come between. */
	want(&r, "GET /e 1.1 complete 0 \"\" > 0 0.0 lost 0 \"\"\n");
	rig__in(&r, GET("g"));
	rig__out(&r, OK5);
	want(&r, "GET /e 1.1 complete 0 \"\" > 0 0.0 lost 0 \"\"\n" GOOD("f") GOOD("g"));
	buf__clear(&r.brief);
	/* As before, but a request was lost, too: the answer stands alone. */
	rig__in(&r, GET("p"));
	rig__lose(&r, DIR_OUT, 43, GAP_NONE);
	rig__in(&r, GET("q"));
	rig__lose(&r, DIR_OUT, 43, GAP_NONE);
	rig__lose(&r, DIR_IN, 28, GAP_NONE);
	rig__out(&r, OK5);
	rig__in(&r, GET("s"));
	rig__out(&r, OK5);
	want(&r, "GET /p 1.1 complete 0 \"\" > 0 0.0 lost 0 \"\"\nGET /q 1.1 complete 0 \"\" > 0 0.0 lost 0 \"\"\n"
		 " > 200 1.1 complete 5 \"hello\"\n" GOOD("s"));
	buf__clear(&r.brief);
	/* A whole request: its answer stands alone. */
	rig__lose(&r, DIR_IN, 20, GAP_LOST);
	rig__out(&r, OK5);
	rig__in(&r, GET("h"));
	rig__out(&r, OK5);
	want(&r, " > 200 1.1 complete 5 \"hello\"\n" GOOD("h"));
	buf__clear(&r.brief);
	/* Chunk framing. */
	rig__in(&r, GET("i"));
	rig__out(&r, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel");
	rig__lose(&r, DIR_OUT, 6, GAP_LOST);
	rig__out(&r, "3\r\nabc\r\n0\r\n\r\n");
	rig__in(&r, GET("j"));
	rig__out(&r, OK5);
	want(&r, "GET /i 1.1 complete 0 \"\" > 200 1.1 complete 12 \"hel\" gap 6/2\n" GOOD("j"));
	buf__clear(&r.brief);
	/* Chunks that are not found again before the next request, or where there are none. */
	rig__in(&r, GET("k"));
	rig__out(&r, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n");
	rig__lose(&r, DIR_OUT, 20, GAP_LOST);
	rig__out(&r, "xyz\r\n0\r\n\r\n");
	rig__in(&r, GET("k"));
	rig__out(&r, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n");
	rig__lose(&r, DIR_OUT, 20, GAP_LOST);
	rig__out(&r, "abc\r\n0\r\n\r\n");
	rig__in(&r, GET("l"));
	rig__out(&r, OK5);
	want(&r, "GET /k 1.1 complete 0 \"\" > 200 1.1 lost 35 \"hello\" gap 30/2\n"
		 "GET /k 1.1 complete 0 \"\" > 200 1.1 lost 30 \"hello\" gap 20/2\n" GOOD("l"));
	buf__clear(&r.brief);
	/* Chunks that are found again, but a request was lost, too: whose end it was is not known. */
	rig__in(&r, GET("m"));
	rig__out(&r, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n");
	rig__lose(&r, DIR_OUT, 90, GAP_NONE);
	rig__lose(&r, DIR_IN, 28, GAP_NONE);
	rig__out(&r, "5\r\nhello\r\n");
	rig__out(&r, "0\r\nT: 1\r\n\r\n");
	rig__in(&r, GET("o"));
	rig__out(&r, OK5);
	want(&r, "GET /m 1.1 complete 0 \"\" > 200 1.1 lost 100 \"hello\" gap 90/2\n" GOOD("o"));
	rig__free(&r);
}

/* An answer was lost, and the HEAD that followed: its answer, which has a length and no body, is not read on into the
 * next. */
static void test_head_that_was_lost(void **state)
{
	struct rig r;

	(void)state;
	rig__init(&r);
	rig__open(&r, CONN_UNKNOWN);
	rig__in(&r, "GET /e HTTP/1.1\r\n\r\n");
	rig__lose(&r, DIR_OUT, 43, GAP_NONE);
	rig__lose(&r, DIR_IN, 40, GAP_NONE);
	rig__out(&r, "HTTP/1.1 200 OK\r\nContent-Length: 77\r\n\r\n");
	rig__out(&r, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello");
	rig__out(&r, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello");
	rig__close(&r);
	assert_null(strstr(rig_text(&r.brief), "HTTP/1.1"));
	rig__free(&r);
}

static void test_body_is_not_believed(void **state)
{
	struct rig r;

	(void)state;
	/* The head of an upload was lost; its body holds what looks like a request. */
	rig__init(&r);
	rig__open(&r, CONN_ACCEPTED);
	rig__in(&r, GET("a"));
	rig__out(&r, OK5);
	rig__lose(&r, DIR_IN, 100, GAP_LOST);
	rig__in(&r, "some of the body");
	rig__in(&r, GET("fake"));
	rig__in(&r, GET("fake"));
	rig__out(&r, OK5);
	rig__in(&r, GET("b"));
	rig__out(&r, OK5);
	want(&r, GOOD("a") " > 200 1.1 complete 5 \"hello\"\n" GOOD("b"));
	rig__free(&r);
}

static void test_piece_of_a_method_is_none(void **state)
{
	struct rig r;

	(void)state;
	/* HEAD without its A: D begins DELETE, and D would be a method. */
	rig__init(&r);
	rig__open(&r, CONN_ACCEPTED);
	rig__in(&r, "HE");
	rig__lose(&r, DIR_IN, 1, GAP_LIMIT);
	rig__out(&r, OK5);
	rig__in(&r, "D");
	rig__in(&r, " /a HTTP/1.1\r\n\r\n");
	rig__out(&r, OK5);
	assert_null(strstr(rig_text(&r.brief), "D /a"));
	rig__in(&r, GET("b"));
	rig__out(&r, OK5);
	assert_non_null(strstr(rig_text(&r.brief), GOOD("b")));
	rig__free(&r);
}

static void test_late_in_the_middle(void **state)
{
	struct rig r;

	(void)state;
	rig__init(&r);
	/* In an answer. */
	rig__open(&r, CONN_UNKNOWN);
	rig__out(&r, "\"some\": \"body\"}");
	rig__in(&r, GET("a"));
	rig__out(&r, OK5);
	want(&r, GOOD("a"));
	buf__clear(&r.brief);
	/* Before an answer; that to HEAD ends with its head, which only the next call shows. */
	r.key.gen++;
	rig__open(&r, CONN_UNKNOWN);
	rig__out(&r, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n");
	rig__in(&r, GET("b"));
	rig__out(&r, OK5);
	want(&r, " > 200 1.1 lost 0 \"\"\n" GOOD("b"));
	buf__clear(&r.brief);
	/* In a request's body. */
	r.key.gen++;
	rig__open(&r, CONN_UNKNOWN);
	rig__in(&r, "\1\2\3\4");
	rig__out(&r, OK5);
	rig__in(&r, GET("c"));
	rig__out(&r, OK5);
	want(&r, " > 200 1.1 complete 5 \"hello\"\n" GOOD("c"));
	rig__free(&r);
}

static void test_positions(void **state)
{
	struct record rec = {.kind = REC_DATA};
	uint64_t late = stats_get(STAT_wire_late_bytes), lost = stats_get(STAT_wire_gap_lost);
	struct rig r;

	(void)state;
	rig__init(&r);
	rig__open(&r, CONN_ACCEPTED);
	rig__in(&r, GET("a"));
	rig__out(&r, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhel");
	/* Twice the same, then an overlap. */
	r.pos[DIR_OUT] -= 3;
	rig__out(&r, "hel");
	r.pos[DIR_OUT] -= 2;
	rig__out(&r, "ello");
	want(&r, GOOD("a"));
	assert_int_equal(stats_get(STAT_wire_late_bytes) - late, 5);
	/* Impossible positions are refused. */
	rec.data = (struct rec_data){.key = r.key, .pos = UINT64_MAX - 1, .data = SPAN_LIT("abc")};
	rig__send(&r, &rec);
	rec.data = (struct rec_data){.key = r.key, .pos = 10, .gap = UINT64_MAX};
	rig__send(&r, &rec);
	assert_int_equal(stats_get(STAT_wire_gap_lost), lost);
	/* What is missing at the close is counted. */
	r.pos[DIR_OUT] += 7;
	rig__close(&r);
	assert_int_equal(stats_get(STAT_wire_gap_lost) - lost, 7);
	rig__free(&r);
}

static void test_long_bodies_are_skipped(void **state)
{
	struct rig r;
	uint64_t lost = stats_get(STAT_wire_gap_lost);

	(void)state;
	rig__init(&r);
	rig__open(&r, CONN_ACCEPTED);
	rig__in(&r, GET("a"));
	/* Longer than what is kept of a body: known from its head on. */
	rig__out(&r, "HTTP/1.1 200 OK\r\nContent-Length: 1073741824\r\n\r\n");
	assert_int_equal(r.skips, 1);
	assert_int_equal(r.skip[DIR_IN].until, 0);
	assert_int_equal(r.skip[DIR_OUT].from, r.pos[DIR_OUT]);
	assert_int_equal(r.skip[DIR_OUT].until, r.pos[DIR_OUT] + 1073741824);
	for (int i = 0; i < 2; i++)
		rig__lose(&r, DIR_OUT, 50000, GAP_NODATA);
	rig__lose(&r, DIR_OUT, 500000000, GAP_LIMIT);
	assert_int_equal(r.skips, 1);
	rig__lose(&r, DIR_OUT, 1073741824 - 500100000, GAP_LIMIT);
	rig__in(&r, GET("b"));
	rig__out(&r, OK5);
	want(&r, "GET /a 1.1 complete 0 \"\" > 200 1.1 complete 1073741824 \"\" gap 1073741824/c\n" GOOD("b"));
	/* The other way, and closed in the middle: what is missing was not wanted. */
	rig__in(&r, "POST /c HTTP/1.1\r\nContent-Length: 1000000\r\n\r\n");
	rig__lose(&r, DIR_IN, 100, GAP_LIMIT);
	assert_int_equal(r.skips, 2);
	r.pos[DIR_IN] += 500000;
	rig__close(&r);
	assert_int_equal(stats_get(STAT_wire_gap_lost), lost);
	/* The answer to an unknown request may have no body at all; an upstream leg keeps none. */
	r.key.gen++;
	rig__open(&r, CONN_UNKNOWN);
	rig__out(&r, "HTTP/1.1 200 OK\r\nContent-Length: 1073741824\r\n\r\n");
	rig__lose(&r, DIR_OUT, 100, GAP_LIMIT);
	assert_int_equal(r.skips, 2);
	r.key.gen++;
	memset(r.skip, 0, sizeof(r.skip));
	rig__open(&r, CONN_CONNECTED);
	rig__out(&r, GET("d"));
	rig__in(&r, "HTTP/1.1 200 OK\r\nContent-Length: 65536\r\n\r\n");
	assert_int_equal(r.skips, 3);
	assert_int_equal(r.skip[DIR_IN].from, r.pos[DIR_IN]);
	assert_int_equal(r.skip[DIR_IN].until, r.pos[DIR_IN] + 65536);
	/* Until the close: as much as is kept of a body is wanted. */
	r.key.gen++;
	memset(r.skip, 0, sizeof(r.skip));
	rig__open(&r, CONN_ACCEPTED);
	rig__in(&r, GET("e"));
	rig__out(&r, "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n");
	assert_int_equal(r.skips, 4);
	assert_int_equal(r.skip[DIR_OUT].from, r.pos[DIR_OUT] + 100000);
	assert_true(r.skip[DIR_OUT].until > r.skip[DIR_OUT].from);
	rig__free(&r);
}

/* Of what the capture was told something it is told the end, whichever way it comes, once. */
static void test_over(void **state)
{
	struct record exit = {.kind = REC_EXIT, .exit = {.pid = 42}};
	struct rig r;

	(void)state;
	rig__init(&r);
	for (unsigned n = 0; n < 6; n++) {
		r.key.gen++;
		memset(r.skip, 0, sizeof(r.skip));
		rig__open(&r, CONN_ACCEPTED);
		switch (n) {
		case 0: /* nothing was told */
			rig__in(&r, GET("a"));
			rig__out(&r, OK5);
			break;
		case 1:
		case 2:
		case 3:
			rig__data(&r, DIR_IN, "\1\2\3\4", 4);
			break;
		default:
			rig__in(&r, GET("b"));
			rig__out(&r, "HTTP/1.1 200 OK\r\nContent-Length: 1073741824\r\n\r\n");
		}
		/* The third's end is lost: the next life shows it. */
		assert_int_equal(r.over, n < 3 ? n - (n > 0) : n - 1);
		if (n == 5)
			rig__send(&r, &exit);
		else if (n != 2)
			rig__close(&r);
		assert_int_equal(r.over, n == 2 ? 1 : n);
		if (n != 0 && n != 2)
			assert_true(conn_key_eq(&r.last_over, &r.key));
	}
	assert_int_equal(r.ignored, 3);
	assert_int_equal(r.skips, 2);
	/* One that was not known may have been told of. */
	r.key.gen++;
	rig__close(&r);
	assert_int_equal(r.over, 6);
	rig__free(&r);
	assert_int_equal(r.over, 6);
}

/* A new worker accepts, and its TLS library is not probed yet: the connection's beginning goes by unseen. */
static void test_accepted_and_joined_late(void **state)
{
	struct record open = {.kind = REC_OPEN, .open = {.fd = 9, .origin = CONN_ACCEPTED, .late = true}};
	struct rig r;

	(void)state;
	rig__init(&r);
	r.key.tls = 1;
	open.open.key = r.key;
	rig__send(&r, &open);
	rig__data(&r, DIR_OUT, "\0\0\1\1\5\0\0\0\5\x88", 10);
	rig__data(&r, DIR_IN, "\0\0\3\1\5\0\0\0\7\x82\x84\x87", 12);
	rig__data(&r, DIR_OUT, "\0\0\1\1\5\0\0\0\7\x88", 10);
	assert_int_equal(r.ignored, 0);
	want(&r, " > 200 2.0 complete 0 \"\"\nGET / 2.0 complete 0 \"\" > 200 2.0 complete 0 \"\"\n");
	assert_int_equal(r.last.leg, LEG_CLIENT);
	rig__free(&r);
}

static void test_tunnel_is_ignored(void **state)
{
	uint64_t in = stats_get(STAT_wire_tunnel_in_bytes), out = stats_get(STAT_wire_tunnel_out_bytes);
	struct rig r;

	(void)state;
	rig__init(&r);
	rig__open(&r, CONN_ACCEPTED);
	rig__in(&r, "GET /ws HTTP/1.1\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n");
	rig__out(&r, "HTTP/1.1 101 Switching Protocols\r\n\r\n\x81\x02hi");
	assert_int_equal(r.done, 1);
	assert_int_equal(r.ignored, 1);
	/* Its bytes are counted, in whatever way they are told of: what came with the head, more of them, what the
	 * kernel passed over since it was told, what only the close shows. */
	rig__in(&r, GET("a"));
	rig__out(&r, OK5);
	rig__lose(&r, DIR_IN, 1000, GAP_LIMIT);
	rig__lose(&r, DIR_OUT, 5000, GAP_NONE);
	rig__close(&r);
	assert_int_equal(r.done, 1);
	assert_int_equal(stats_get(STAT_wire_tunnel_in_bytes) - in, strlen(GET("a")) + 1000);
	assert_int_equal(stats_get(STAT_wire_tunnel_out_bytes) - out, 4 + strlen(OK5) + 5000);
	/* Those on the other side of the gateway are the same again. */
	r.key.gen++;
	rig__open(&r, CONN_CONNECTED);
	rig__out(&r, "GET /ws HTTP/1.1\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n");
	rig__in(&r, "HTTP/1.1 101 Switching Protocols\r\n\r\n\x81\x02hi");
	rig__out(&r, "\x81\x02hi");
	assert_int_equal(r.done, 2);
	assert_int_equal(stats_get(STAT_wire_tunnel_out_bytes) - out, 4 + strlen(OK5) + 5000);
	rig__free(&r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_leg_by_first_bytes),
		cmocka_unit_test(test_leg_by_ports),
		cmocka_unit_test(test_facts_come_later),
		cmocka_unit_test(test_reuse),
		cmocka_unit_test(test_late_data_of_an_earlier_life),
		cmocka_unit_test(test_exit),
		cmocka_unit_test(test_close_before_data),
		cmocka_unit_test(test_many_connects),
		cmocka_unit_test(test_conn_limit_and_idle),
		cmocka_unit_test(test_memory_limit),
		cmocka_unit_test(test_bodies_make_room),
		cmocka_unit_test(test_room_comes_later),
		cmocka_unit_test(test_pipeline_limit),
		cmocka_unit_test(test_not_http),
		cmocka_unit_test(test_gap_in_bodies),
		cmocka_unit_test(test_gap_in_heads),
		cmocka_unit_test(test_head_that_was_lost),
		cmocka_unit_test(test_body_is_not_believed),
		cmocka_unit_test(test_piece_of_a_method_is_none),
		cmocka_unit_test(test_late_in_the_middle),
		cmocka_unit_test(test_positions),
		cmocka_unit_test(test_long_bodies_are_skipped),
		cmocka_unit_test(test_accepted_and_joined_late),
		cmocka_unit_test(test_over),
		cmocka_unit_test(test_tunnel_is_ignored),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
