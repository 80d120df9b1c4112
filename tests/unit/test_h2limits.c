/* Peers that mean no good: memory stays bounded, what is dropped is counted, and at worst the connection is given up.
 */
#include "h2kit.h"

#include <errno.h>

#define GET ":method: GET\n:scheme: https\n:path: /\n:authority: a\n"

static void begin(struct rig *r, struct talk *t)
{
	rig__open(r);
	talk__init(t);
	preface(t);
}

static void finish(struct rig *r, struct talk *t)
{
	rig__close(r);
	rig__free(r);
	talk__free(t);
}

/* Feeds what was put since, and empties the conversation. */
static void flush(struct rig *r, struct talk *t)
{
	rig__run(r, t, 0, 0, CUT_NONE);
	assert_true(r->budget.used <= r->budget.max);
	t->count = 0;
	buf__clear(&t->bytes);
}

static void rapid_reset(void **state)
{
	struct talk t;
	struct rig r;

	(void)state;
	rig__init(&r);
	begin(&r, &t);
	for (uint32_t id = 1; id < 40000; id += 2) {
		call(&t, REQ);
		head(&t, H2_END_STREAM, id, GET);
		frame(&t, H2_RST_STREAM, 0, id, "\0\0\0\10", 4);
		flush(&r, &t);
	}
	assert_int_equal(r.begun, 20000);
	assert_int_equal(r.done, 20000);
	assert_false(http2_ops.busy(r.p));
	finish(&r, &t);
}

static void more_streams_than_allowed(void **state)
{
	struct talk t;
	struct rig r;

	(void)state;
	stats_reset();
	rig__init(&r);
	r.limits.streams = 10;
	begin(&r, &t);
	for (uint32_t id = 1; id < 2000; id += 2) {
		call(&t, REQ);
		head(&t, H2_END_STREAM, id, GET);
		flush(&r, &t);
	}
	assert_int_equal(r.begun, 10);
	assert_int_equal(stats_get(STAT_wire_exchanges_dropped), 990);
	/* A stream that ends makes room; an answer to one that was dropped is nobody's. */
	call(&t, RESP);
	head(&t, H2_END_STREAM, 1, ":status: 200\n");
	head(&t, H2_END_STREAM, 1999, ":status: 200\n");
	call(&t, REQ);
	head(&t, H2_END_STREAM, 2001, GET);
	flush(&r, &t);
	assert_int_equal(r.begun, 11);
	assert_int_equal(r.done, 1);
	finish(&r, &t);
	assert_int_equal(r.done, 11);
}

/* Streams whose end was lost do not keep others out. */
static void streams_lost_from_sight_make_room(void **state)
{
	struct talk t;
	struct rig r;

	(void)state;
	rig__init(&r);
	r.limits.streams = 10;
	begin(&r, &t);
	for (uint32_t id = 1; id < 20; id += 2) {
		call(&t, REQ);
		head(&t, H2_END_STREAM, id, GET);
	}
	lose(&t, RESP, 1000);
	call(&t, REQ);
	head(&t, H2_END_STREAM, 21, GET);
	flush(&r, &t);
	assert_int_equal(r.begun, 11);
	assert_int_equal(r.done, 1);
	finish(&r, &t);
}

static void continuation_flood(void **state)
{
	struct talk t;
	struct rig r;

	(void)state;
	rig__init(&r);
	begin(&r, &t);
	call(&t, REQ);
	frame(&t, H2_HEADERS, 0, 1, "\x82", 1);
	flush(&r, &t);
	for (int i = 0; i < 20000; i++) {
		call(&t, REQ);
		frame(&t, H2_CONTINUATION, 0, 1,
			"\0\1a\100aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", i % 3 ? 68 : 0);
		flush(&r, &t);
		assert_true(r.budget.used < 300000);
	}
	/* The block is lost and its table with it; the stream is known to be there, and the next call is seen. */
	call(&t, REQ);
	frame(&t, H2_CONTINUATION, H2_END_HEADERS, 1, "", 0);
	frame(&t, H2_HEADERS, H2_END_STREAM | H2_END_HEADERS, 3, "\x82\x84\x87", 3);
	call(&t, RESP);
	head(&t, H2_END_STREAM, 1, ":status: 431\n");
	head(&t, H2_END_STREAM, 3, ":status: 200\n");
	flush(&r, &t);
	buf__append_char(&r.text, 0);
	assert_string_equal(r.text.p, "1   lost > 431 complete\n3 GET / complete > 200 complete\n");
	finish(&r, &t);
}

/* One entry of 4 KiB, referred to 16,000 times in one frame: 64 MiB of header list. */
static void hpack_bomb(void **state)
{
	static unsigned char b[16000];
	struct talk t;
	struct rig r;

	(void)state;
	rig__init(&r);
	begin(&r, &t);
	memset(b, 'x', sizeof(b));
	memcpy(b, "\x82\x84\x87\x40\1n\x7f\xd1\x1e", 9); /* length 127 + 0x51 + (0x1e << 7) = 4048 */
	memset(b + 9 + 4048, 0xbe, sizeof(b) - 9 - 4048);
	call(&t, REQ);
	frame(&t, H2_HEADERS, H2_END_HEADERS | H2_END_STREAM, 1, b, sizeof(b));
	memset(b, 0xbe, sizeof(b));
	for (uint32_t id = 3; id < 200; id += 2)
		frame(&t, H2_HEADERS, H2_END_HEADERS | H2_END_STREAM, id, b, sizeof(b));
	flush(&r, &t);
	assert_true(r.conn_used <= r.limits.conn_bytes + 2 * r.limits.header_bytes);
	assert_true(r.begun > 0);
	finish(&r, &t);
}

static void a_header_list_beyond_the_limit(void **state)
{
	char lines[4096] = GET "cookie: whole=1\n";
	struct talk t;
	struct rig r;

	(void)state;
	rig__init(&r);
	r.limits.header_bytes = 300;
	begin(&r, &t);
	for (int i = 0; i < 20; i++)
		snprintf(lines + strlen(lines), 100, "x-%d: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\n", i);
	strcat(lines, "cookie: and=2\n");
	call(&t, REQ);
	head(&t, H2_END_STREAM, 1, lines);
	head(&t, H2_END_STREAM, 3, GET "x-0: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\n");
	call(&t, RESP);
	head(&t, H2_END_STREAM, 3, ":status: 200\n");
	flush(&r, &t);
	buf__append_char(&r.text, 0);
	/* What does not fit is left out, a cookie of which a part may be missing too; the table goes on. */
	assert_string_equal(
		r.text.p, "3 GET https://a/ complete x-0=aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa > 200 complete\n");
	finish(&r, &t);
}

static void a_table_larger_than_is_followed(void **state)
{
	struct talk t;
	struct rig r;

	(void)state;
	rig__init(&r);
	r.limits.hpack_table = 8192;
	begin(&r, &t);
	call(&t, RESP);
	frame(&t, H2_SETTINGS, 0, 0, "\0\1\0\20\0\0", 6);
	call(&t, REQ);
	nghttp2_hd_deflate_change_table_size(t.enc[REQ], 1 << 20);
	for (uint32_t id = 1; id < 400; id += 2) {
		char lines[4096];

		snprintf(lines, sizeof(lines), GET "x-%u: %0500u\n", id, id);
		head(&t, H2_END_STREAM, id, lines);
	}
	head(&t, H2_END_STREAM, 401, GET "x-1: 1\n");
	call(&t, RESP);
	head(&t, H2_END_STREAM, 401, ":status: 200\n");
	flush(&r, &t);
	assert_true(r.budget.used < 200 * 4096);
	assert_false(r.gave_up);
	finish(&r, &t);
}

static void nonsense_is_given_up(void **state)
{
	struct talk t;
	struct rig r;

	(void)state;
	rig__init(&r);
	begin(&r, &t);
	for (int i = 0; i < 200; i++) {
		call(&t, REQ);
		frame(&t, H2_HEADERS, H2_END_HEADERS, (uint32_t)i * 2 + 1, "\x82\xff\xff\xff\xff\xff\x7f", 7);
	}
	flush(&r, &t);
	assert_true(r.gave_up);
	finish(&r, &t);

	rig__init(&r);
	rig__open(&r);
	rig__feed(&r, REQ, "PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n", 24, true);
	assert_true(r.gave_up);
	rig__close(&r);
	rig__free(&r);
}

/* At every size of the budget: nothing breaks, nothing leaks, and what was begun is handed on. */
static void any_budget(void **state)
{
	char body[3000];
	struct talk t;

	(void)state;
	memset(body, 'b', sizeof(body));
	talk__init(&t);
	preface(&t);
	for (uint32_t id = 1; id < 60; id += 2) {
		char lines[1024];

		call(&t, REQ);
		snprintf(lines, sizeof(lines), GET "x-%u: %0300u\ncookie: a\ncookie: b\n", id % 7, id);
		head(&t, 0, id, lines);
		frame(&t, H2_DATA, H2_END_STREAM, id, body, sizeof(body));
		if (id % 10 == 1)
			lose(&t, REQ, 100);
		if (id < 21)
			continue;
		call(&t, RESP);
		head(&t, 0, id - 20, ":status: 200\nserver: kong\n");
		frame(&t, H2_DATA, 0, id - 20, body, sizeof(body));
		head(&t, H2_END_STREAM, id - 20, "grpc-status: 0\n");
	}
	for (uint64_t max = 0; max < 150000; max += 97) {
		struct rig r;

		rig__init(&r);
		r.budget.max = max;
		r.p = http2_ops.new(&r.env, true);
		if (!r.p)
			continue;
		rig__run(&r, &t, 0, max % 2 ? 0 : 50, CUT_NONE);
		rig__close(&r);
		assert_true(r.done >= r.begun);
		rig__free(&r);
	}
	talk__free(&t);
}

static void quiet_streams_are_handed_on(void **state)
{
	struct talk t;
	struct rig r;

	(void)state;
	rig__init(&r);
	begin(&r, &t);
	call(&t, REQ);
	head(&t, H2_END_STREAM, 1, GET);
	head(&t, H2_END_STREAM, 3, GET);
	head(&t, 0, 5, GET);
	call(&t, RESP);
	head(&t, 0, 1, ":status: 200\n");
	data(&t, 0, 1, "event: 1");
	head(&t, H2_END_STREAM, 5, ":status: 413\n");
	flush(&r, &t);
	http2_ops.tick(r.p, r.t + r.limits.stream_idle_ns - 1);
	assert_int_equal(r.done, 0);
	http2_ops.tick(r.p, r.t + r.limits.stream_idle_ns);
	/* Stream 3 waits for its answer, as long as it takes. What follows on 1 is nobody's. */
	call(&t, RESP);
	data(&t, 0, 1, "event: 2");
	head(&t, H2_END_STREAM, 1, "x-t: 1\n");
	head(&t, H2_END_STREAM, 3, ":status: 204\n");
	flush(&r, &t);
	buf__append_char(&r.text, 0);
	assert_string_equal(r.text.p, "1 GET https://a/ complete > 200 idle 8=event: 1\n"
				      "5 GET https://a/ idle > 413 complete\n"
				      "3 GET https://a/ complete > 204 complete\n");
	assert_false(http2_ops.busy(r.p));
	finish(&r, &t);
}

static void guesses(void **state)
{
	static const char settings[] = "\0\0\0\4\0\0\0\0\0";
	static const char get[] = "\0\0\3\1\5\0\0\0\7\x82\x84\x87", answer[] = "\0\0\1\1\5\0\0\0\7\x88";
	struct span p = H2_PREFACE;

	(void)state;
	assert_int_equal(http2_ops.guess(p, REQ, true), 1);
	assert_int_equal(http2_ops.guess(span_of(p.p, 5), REQ, true), -EAGAIN);
	assert_int_equal(http2_ops.guess(SPAN_LIT("PRIVATE / HTTP/1.1\r\n"), REQ, true), 0);
	assert_int_equal(http2_ops.guess(SPAN_LIT("GET / HTTP/1.1\r\n\r\n"), REQ, false), 0);
	assert_int_equal(http2_ops.guess(SPAN_LIT("HTTP/1.1 200 OK\r\n\r\n"), RESP, true), 0);
	assert_int_equal(http2_ops.guess(SPAN_LIT("HTTP/1.1 200 OK\r\n\r\n"), RESP, false), 0);
	assert_int_equal(http2_ops.guess(span_of(settings, 9), RESP, true), 1);
	assert_int_equal(http2_ops.guess(span_of(settings, 4), RESP, true), -EAGAIN);
	assert_int_equal(http2_ops.guess(p, REQ, false), 1);
	assert_int_equal(http2_ops.guess(span_of(get, 12), REQ, false), 1);
	assert_int_equal(http2_ops.guess(span_of(get, 9), REQ, false), 1);
	assert_int_equal(http2_ops.guess(span_of(get, 12), RESP, false), 0);
	assert_int_equal(http2_ops.guess(span_of(get, 10), REQ, false), 0);
	assert_int_equal(http2_ops.guess(span_of(answer, 10), RESP, false), 1);
	assert_int_equal(http2_ops.guess(span_of(answer, 10), REQ, false), 0);
	assert_int_equal(http2_ops.guess(span_of("\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 18), REQ, false), 0);
	/* A gRPC message at the beginning of a call is no frame. */
	assert_int_equal(http2_ops.guess(span_of("\0\0\0\0\7\12\5world", 12), REQ, false), 0);
}

#define POST ":method: POST\n:scheme: https\n:path: /\n:authority: a\n"
#define OK ":status: 200\n"
#define PNG "content-type: image/png\n"

/* What comes of t from the call `first` on, with at most so many fields in a head. */
static void expect_excluded(struct talk *t, unsigned int first, bool from_start, uint32_t fields, const char *want)
{
	char *list[] = {"text/csv", "image/*"};
	struct rig r;

	rig__init(&r);
	r.limits.exclude_types = (struct media_types){.v = list, .n = 2};
	r.limits.header_count = fields;
	r.facts.from_start = from_start;
	rig__open(&r);
	rig__run(&r, t, first, 0, CUT_NONE);
	rig__close(&r);
	buf__append_char(&r.text, 0);
	assert_string_equal(r.text.p, want);
	rig__free(&r);
}

static void exchange_of(struct talk *t, uint32_t id, const char *request, const char *response)
{
	call(t, REQ);
	head(t, 0, id, request);
	data(t, H2_END_STREAM, id, "abc");
	call(t, RESP);
	head(t, 0, id, response);
	data(t, H2_END_STREAM, id, "hello");
}

static void bodies_of_excluded_types(void **state)
{
	struct talk t;

	(void)state;
	talk__init(&t);
	preface(&t);
	exchange_of(&t, 1, POST PNG, OK);
	exchange_of(&t, 3, POST "content-type: a/b\n", OK "content-type: a/b\ncontent-type: text/csv;x=y\n");
	call(&t, RESP);
	/* Trailers have no say. */
	exchange_of(&t, 5, POST "content-type: a/b\n", OK "x: 1\n");
	call(&t, REQ);
	head(&t, H2_END_STREAM, 7, GET);
	call(&t, RESP);
	head(&t, 0, 7, ":status: 103\n" PNG);
	head(&t, 0, 7, OK);
	data(&t, 0, 7, "hello");
	head(&t, H2_END_STREAM, 7, PNG);
	expect_excluded(&t, 0, true, 4096,
		"1 POST https://a/ complete content-type=image/png 3< excluded > 200 complete 5=hello\n"
		"3 POST https://a/ complete content-type=a/b 3=abc > "
		"200 complete content-type=a/b|content-type=text/csv;x=y 5< excluded\n"
		"5 POST https://a/ complete content-type=a/b 3=abc > 200 complete x=1 5=hello\n"
		"7 GET https://a/ complete > 1+200 complete 5=hello +content-type=image/png\n");
	talk__free(&t);
}

/* Where fields are missing and no type is among the others, it may be one of the missing. */
static void bodies_of_types_that_are_not_known(void **state)
{
	unsigned int first;
	struct talk t;

	(void)state;
	talk__init(&t);
	preface(&t);
	exchange_of(&t, 1, POST "x: 1\n", OK "y: 1\ncontent-type: a/b\n");
	exchange_of(&t, 3, POST "x: 1\ny: 1\n" PNG, OK "x: 1\ny: 1\ncontent-type: a/b\n");
	expect_excluded(&t, 0, true, 2,
		"1 POST https://a/ complete x=1 3=abc > 200 complete y=1|content-type=a/b 5=hello\n"
		"3 POST https://a/ complete x=1|y=1 3< excluded > 200 complete x=1|y=1 5< excluded\n");
	talk__free(&t);
	/* Fields that are named by a table older than the agent. */
	talk__init(&t);
	preface(&t);
	exchange_of(&t, 1, POST "x: 1\n", OK "x: 1\n");
	first = t.count;
	exchange_of(&t, 3, POST "x: 1\n", OK "x: 1\n");
	exchange_of(&t, 5, POST "x: 1\ncontent-type: a/b\n", OK "x: 1\ncontent-type: a/b\n");
	expect_excluded(&t, first, false, 4096,
		"3 POST / complete partial 3< excluded > 200 complete partial 5< excluded\n"
		"5 POST / complete partial content-type=a/b 3=abc > 200 complete partial content-type=a/b 5=hello\n");
	talk__free(&t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(rapid_reset),
		cmocka_unit_test(more_streams_than_allowed),
		cmocka_unit_test(streams_lost_from_sight_make_room),
		cmocka_unit_test(continuation_flood),
		cmocka_unit_test(hpack_bomb),
		cmocka_unit_test(a_header_list_beyond_the_limit),
		cmocka_unit_test(a_table_larger_than_is_followed),
		cmocka_unit_test(nonsense_is_given_up),
		cmocka_unit_test(any_budget),
		cmocka_unit_test(quiet_streams_are_handed_on),
		cmocka_unit_test(guesses),
		cmocka_unit_test(bodies_of_excluded_types),
		cmocka_unit_test(bodies_of_types_that_are_not_known),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
