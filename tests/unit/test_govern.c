/* What the governor's word does to connections: bodies, weights, connections that are left out, and the end of all. */
#include "wire_rig.h"

#define POST(name) "POST /" name " HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc"
#define OK5 "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"

static void govern(struct rig *r, bool bodies, uint32_t shift, bool detached)
{
	struct record rec = {.kind = REC_GOVERN, .govern = {.bodies = bodies, .shift = shift, .detached = detached}};

	rig__send(r, &rec);
}

static void want(struct rig *r, const char *text)
{
	assert_string_equal(rig_text(&r->brief), text);
	buf__clear(&r->brief);
}

static void bodies(void **state)
{
	struct rig r;

	(void)state;
	rig__init(&r);
	rig__open(&r, CONN_ACCEPTED);
	rig__in(&r, "POST /a HTTP/1.1\r\nContent-Length: 6\r\n\r\nabc");
	govern(&r, false, 0, false);
	/* A call that had begun keeps what it was promised. */
	rig__in(&r, "def");
	rig__out(&r, OK5);
	rig__in(&r, POST("b"));
	rig__out(&r, OK5);
	govern(&r, true, 0, false);
	rig__in(&r, POST("c"));
	rig__out(&r, OK5);
	want(&r, "POST /a 1.1 complete 6 \"abcdef\" > 200 1.1 complete 5 \"hello\"\n"
		 "POST /b 1.1 complete 3 \"\" > 200 1.1 complete 5 \"\"\n"
		 "POST /c 1.1 complete 3 \"abc\" > 200 1.1 complete 5 \"hello\"\n");
	assert_int_equal(r.stands_for, 1);
	rig__free(&r);
}

/* A reload while bodies are given up counts once they are wanted again. */
static void other_limits_meanwhile(void **state)
{
	struct rig r;

	(void)state;
	rig__init(&r);
	govern(&r, false, 0, false);
	conns__set_bodies(r.c, 2, 3);
	rig__open(&r, CONN_ACCEPTED);
	rig__in(&r, POST("a"));
	rig__out(&r, OK5);
	govern(&r, true, 0, false);
	rig__in(&r, POST("b"));
	rig__out(&r, OK5);
	want(&r, "POST /a 1.1 complete 3 \"\" > 200 1.1 complete 5 \"\"\n"
		 "POST /b 1.1 complete 3 \"ab\" > 200 1.1 complete 5 \"hel\"\n");
	rig__free(&r);
}

static void never_more_than_configured(void **state)
{
	struct wire_limits l;
	struct rig r;

	(void)state;
	wire_limits_default(&l);
	l.request_body = 0;
	l.response_body = 2;
	rig__init_with(&r, &l);
	govern(&r, false, 0, false);
	govern(&r, true, 0, false);
	rig__open(&r, CONN_ACCEPTED);
	rig__in(&r, POST("a"));
	rig__out(&r, OK5);
	want(&r, "POST /a 1.1 complete 3 \"\" > 200 1.1 complete 5 \"he\"\n");
	rig__free(&r);
}

/* Only connections whose beginning was seen are ever left out: the others stand for themselves. */
static void weights(void **state)
{
	static const enum conn_origin origins[] = {CONN_ACCEPTED, CONN_UNKNOWN, CONN_CONNECTED};
	static const uint32_t stand_for[] = {16, 1, 1};

	(void)state;
	for (int i = 0; i < 3; i++) {
		bool client = origins[i] != CONN_CONNECTED;
		struct rig r;

		rig__init(&r);
		rig__open(&r, origins[i]);
		govern(&r, false, 4, false);
		rig__data(&r, client ? DIR_IN : DIR_OUT, POST("a"), strlen(POST("a")));
		govern(&r, false, 5, false);
		/* By what held when it began. */
		rig__data(&r, client ? DIR_OUT : DIR_IN, OK5, strlen(OK5));
		assert_int_equal(r.done, 1);
		assert_int_equal(r.stands_for, stand_for[i]);
		rig__free(&r);
	}
}

static void left_out(void **state)
{
	struct record out = {.kind = REC_CLOSE}, back = {.kind = REC_OPEN};
	struct rig r;

	(void)state;
	rig__init(&r);
	rig__open(&r, CONN_ACCEPTED);
	rig__in(&r, POST("a"));
	rig__out(&r, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhe");
	out.close =
		(struct rec_close){.key = r.key, .in_pos = r.pos[DIR_IN], .out_pos = r.pos[DIR_OUT], .limited = true};
	rig__send(&r, &out);
	/* Not closed, and the client not gone. */
	want(&r, "POST /a 1.1 complete 3 \"abc\" > 200 1.1 limit 2 \"he\"\n");
	assert_int_equal(conns__count(r.c), 0);
	/* It comes back in its middle: in the rest of an answer that nobody knows. */
	back.open = (struct rec_open){.key = r.key, .fd = 7, .origin = CONN_ACCEPTED, .late = true};
	rig__send(&r, &back);
	r.pos[DIR_IN] = 1000;
	r.pos[DIR_OUT] = 2000;
	rig__out(&r, "llo");
	rig__in(&r, POST("b"));
	rig__out(&r, OK5);
	want(&r, "POST /b 1.1 complete 3 \"abc\" > 200 1.1 complete 5 \"hello\"\n");
	rig__free(&r);
}

static void detached(void **state)
{
	struct rig r;

	(void)state;
	rig__init(&r);
	rig__open(&r, CONN_ACCEPTED);
	rig__in(&r, POST("a"));
	govern(&r, false, 6, true);
	want(&r, "POST /a 1.1 complete 3 \"abc\" >\n");
	assert_int_equal(conns__count(r.c), 0);
	assert_int_equal(conns__memory(r.c), 0);
	rig__free(&r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(bodies),
		cmocka_unit_test(other_limits_meanwhile),
		cmocka_unit_test(never_more_than_configured),
		cmocka_unit_test(weights),
		cmocka_unit_test(left_out),
		cmocka_unit_test(detached),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
