/* Bytes of bodies that the kernel leaves out on purpose (bpf/turn.bpf.h, bpf/h2.bpf.h), as the wire is to take them. */
#include "wire_rig.h"

static void one(const char *what, void (*talk)(struct rig *r), const char *want)
{
	struct rig r;

	(void)what;
	rig__init(&r);
	rig__open(&r, CONN_ACCEPTED);
	talk(&r);
	assert_string_equal(rig_text(&r.brief), want);
	rig__free(&r);
}

#define CHUNKED "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n"

static void end_shown(struct rig *r)
{
	rig__in(r, "GET /a HTTP/1.1\r\n\r\n");
	rig__out(r, CHUNKED);
	rig__lose(r, DIR_OUT, 1000, GAP_LIMIT);
	rig__lose(r, DIR_OUT, 500, GAP_LIMIT);
	assert_int_equal(r->done, 0);
	rig__out(r, "0\r\n\r\n");
	/* At once, not when the next request shows that nothing else was lost. */
	assert_int_equal(r->done, 1);
}

/* The end came in two calls, the first of which was told as left out: the kernel shows it whole. */
static void end_shown_in_two(struct rig *r)
{
	rig__in(r, "GET /a HTTP/1.1\r\n\r\n");
	rig__out(r, CHUNKED);
	rig__lose(r, DIR_OUT, 1003, GAP_LIMIT);
	r->pos[DIR_OUT] -= 3;
	rig__out(r, "0\r\n\r\n");
	assert_int_equal(r->done, 1);
	rig__in(r, "GET /b HTTP/1.1\r\n\r\n");
	rig__out(r, "HTTP/1.1 201 OK\r\nContent-Length: 1\r\n\r\nb");
	assert_int_equal(r->done, 2);
}

/* What is no more than a body's bytes is taken where it goes on. */
static void no_end_shown(struct rig *r)
{
	rig__in(r, "GET /a HTTP/1.1\r\n\r\n");
	rig__out(r, "HTTP/1.1 200 OK\r\nContent-Length: 1005\r\n\r\n");
	rig__lose(r, DIR_OUT, 1003, GAP_LIMIT);
	r->pos[DIR_OUT] -= 3;
	rig__out(r, "0\r\n\r\n");
	assert_int_equal(r->done, 1);
}

static void end_left_out(struct rig *r)
{
	rig__in(r, "GET /a HTTP/1.1\r\n\r\n");
	rig__out(r, CHUNKED);
	rig__lose(r, DIR_OUT, 1000, GAP_LIMIT);
	assert_int_equal(r->done, 0);
	rig__in(r, "GET /b HTTP/1.1\r\n\r\n");
	assert_int_equal(r->done, 1);
	rig__out(r, "HTTP/1.1 201 OK\r\nContent-Length: 1\r\n\r\nb");
	assert_int_equal(r->done, 2);
}

/* Three requests in one read, and the end of the first answer is left out. */
static void pipelined(struct rig *r)
{
	rig__in(r, "GET /a HTTP/1.1\r\n\r\nGET /b HTTP/1.1\r\n\r\nGET /c HTTP/1.1\r\n\r\n");
	rig__out(r, CHUNKED);
	rig__lose(r, DIR_OUT, 1000, GAP_LIMIT);
	rig__out(r, "HTTP/1.1 201 OK\r\nContent-Length: 1\r\n\r\nb");
	rig__out(r, "HTTP/1.1 202 OK\r\nContent-Length: 1\r\n\r\nc");
	assert_int_equal(r->done, 3);
}

/* What the ring lost is still held back until it is known that nothing else was. */
static void torn(struct rig *r)
{
	rig__in(r, "GET /a HTTP/1.1\r\n\r\n");
	rig__out(r, CHUNKED);
	rig__lose(r, DIR_OUT, 1000, GAP_LIMIT);
	rig__lose(r, DIR_OUT, 500, GAP_LOST);
	rig__out(r, "0\r\n\r\n");
	assert_int_equal(r->done, 0);
	rig__in(r, "GET /b HTTP/1.1\r\n\r\n");
	assert_int_equal(r->done, 1);
	rig__out(r, "HTTP/1.1 201 OK\r\nContent-Length: 1\r\n\r\nb");
}

static void test_response(void **state)
{
	(void)state;
	one("the end is shown", end_shown, "GET /a 1.1 complete 0 \"\" > 200 1.1 complete 1505 \"hello\" gap 1500/4\n");
	one("the end is shown in two", end_shown_in_two,
		"GET /a 1.1 complete 0 \"\" > 200 1.1 complete 1008 \"hello\" gap 1003/4\n"
		"GET /b 1.1 complete 0 \"\" > 201 1.1 complete 1 \"b\"\n");
	one("no end is shown", no_end_shown, "GET /a 1.1 complete 0 \"\" > 200 1.1 complete 1005 \"\" gap 1003/4\n");
	one("the end is left out", end_left_out,
		"GET /a 1.1 complete 0 \"\" > 200 1.1 complete 1005 \"hello\" gap 1000/4\n"
		"GET /b 1.1 complete 0 \"\" > 201 1.1 complete 1 \"b\"\n");
	one("pipelined", pipelined,
		"GET /a 1.1 complete 0 \"\" > 200 1.1 complete 1005 \"hello\" gap 1000/4\n"
		"GET /b 1.1 complete 0 \"\" > 201 1.1 complete 1 \"b\"\n"
		"GET /c 1.1 complete 0 \"\" > 202 1.1 complete 1 \"c\"\n");
	one("torn", torn,
		"GET /a 1.1 complete 0 \"\" > 200 1.1 complete 1505 \"hello\" gap 1500/6\n"
		"GET /b 1.1 complete 0 \"\" > 201 1.1 complete 1 \"b\"\n");
}

#define UPLOAD "POST /a HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n"

static void upload(struct rig *r)
{
	rig__in(r, UPLOAD);
	rig__lose(r, DIR_IN, 1000, GAP_LIMIT);
	rig__in(r, "0\r\n\r\n");
	rig__out(r, "HTTP/1.1 201 OK\r\nContent-Length: 1\r\n\r\na");
	assert_int_equal(r->done, 1);
	rig__in(r, "GET /b HTTP/1.1\r\n\r\n");
	rig__out(r, "HTTP/1.1 202 OK\r\nContent-Length: 1\r\n\r\nb");
}

static void upload_end_left_out(struct rig *r)
{
	rig__in(r, UPLOAD);
	rig__lose(r, DIR_IN, 1005, GAP_LIMIT);
	rig__out(r, "HTTP/1.1 201 OK\r\nContent-Length: 1\r\n\r\na");
	assert_int_equal(r->done, 1);
	rig__in(r, "GET /b HTTP/1.1\r\n\r\n");
	rig__out(r, "HTTP/1.1 202 OK\r\nContent-Length: 1\r\n\r\nb");
}

/* The answer comes early, and after it the rest of what nobody waited for. */
static void upload_answered_early(struct rig *r)
{
	rig__in(r, UPLOAD);
	rig__lose(r, DIR_IN, 1000, GAP_LIMIT);
	rig__out(r, "HTTP/1.1 413 No\r\nConnection: close\r\nContent-Length: 1\r\n\r\na");
	rig__in(r, "GET /x HTTP/1.1\r\n\r\n");
	rig__in(r, "more of it\r\n0\r\n\r\n");
}

/* Nor does the connection end: what comes behind the rest is a call like others. */
static void upload_answered_early_and_on(struct rig *r)
{
	rig__in(r, UPLOAD);
	rig__lose(r, DIR_IN, 1000, GAP_LIMIT);
	rig__out(r, "HTTP/1.1 401 No\r\nContent-Length: 1\r\n\r\na");
	rig__in(r, "more of it\r\n");
	rig__lose(r, DIR_IN, 1000, GAP_LIMIT);
	rig__in(r, "0\r\n\r\n");
	rig__in(r, "GET /b HTTP/1.1\r\n\r\n");
	rig__out(r, "HTTP/1.1 202 OK\r\nContent-Length: 1\r\n\r\nb");
	assert_int_equal(r->done, 2);
}

/* It came along with the end of what was left out: only its answer is seen. */
static void upload_answered_early_next_left_out(struct rig *r)
{
	rig__in(r, UPLOAD);
	rig__out(r, "HTTP/1.1 401 No\r\nContent-Length: 1\r\n\r\na");
	rig__lose(r, DIR_IN, 1000, GAP_LIMIT);
	rig__out(r, "HTTP/1.1 202 OK\r\nContent-Length: 1\r\n\r\nb");
	assert_int_equal(r->done, 2);
	rig__in(r, "GET /c HTTP/1.1\r\n\r\n");
	rig__out(r, "HTTP/1.1 203 OK\r\nContent-Length: 1\r\n\r\nc");
}

static void test_request(void **state)
{
	(void)state;
	one("upload", upload,
		"POST /a 1.1 complete 1005 \"hello\" gap 1000/4 > 201 1.1 complete 1 \"a\"\n"
		"GET /b 1.1 complete 0 \"\" > 202 1.1 complete 1 \"b\"\n");
	one("its end is left out", upload_end_left_out,
		"POST /a 1.1 complete 1010 \"hello\" gap 1005/4 > 201 1.1 complete 1 \"a\"\n"
		"GET /b 1.1 complete 0 \"\" > 202 1.1 complete 1 \"b\"\n");
	one("answered early", upload_answered_early,
		"POST /a 1.1 complete 1005 \"hello\" gap 1000/4 > 413 1.1 complete 1 \"a\"\n");
	one("answered early, and on", upload_answered_early_and_on,
		"POST /a 1.1 complete 1005 \"hello\" gap 1000/4 > 401 1.1 complete 1 \"a\"\n"
		"GET /b 1.1 complete 0 \"\" > 202 1.1 complete 1 \"b\"\n");
	one("answered early, and the next is left out", upload_answered_early_next_left_out,
		"POST /a 1.1 complete 1005 \"hello\" gap 1000/4 > 401 1.1 complete 1 \"a\"\n"
		" > 202 1.1 complete 1 \"b\"\n"
		"GET /c 1.1 complete 0 \"\" > 203 1.1 complete 1 \"c\"\n");
}

/* The kernel leaves out a body in the middle of what one call moved, but for its last byte; the request behind it was
 * not read by itself. */
static void behind_a_body(struct rig *r)
{
	rig__in(r, "POST /a HTTP/1.1\r\nContent-Length: 5000\r\n\r\n");
	rig__lose(r, DIR_IN, 4999, GAP_LIMIT);
	rig__in(r, "xGET /b HTTP/1.1\r\n\r\nPUT /c HTTP/1.1\r\nContent-Length: 3\r\n\r\nput");
	rig__out(r, "HTTP/1.1 201 OK\r\nContent-Length: 1\r\n\r\na");
	assert_int_equal(r->done, 1);
	rig__out(r, "HTTP/1.1 202 OK\r\nContent-Length: 1\r\n\r\nb");
	rig__out(r, "HTTP/1.1 203 OK\r\nContent-Length: 1\r\n\r\nc");
	assert_int_equal(r->done, 3);
}

/* The same, and the answer to the first is lost: which of the two the other one answers is not known. */
static void behind_a_body_torn(struct rig *r)
{
	rig__in(r, "POST /a HTTP/1.1\r\nContent-Length: 5000\r\n\r\n");
	rig__lose(r, DIR_IN, 4999, GAP_LIMIT);
	rig__in(r, "xGET /b HTTP/1.1\r\n\r\n");
	rig__lose(r, DIR_OUT, 39, GAP_LOST);
	rig__out(r, "HTTP/1.1 202 OK\r\nContent-Length: 1\r\n\r\nb");
	rig__in(r, "GET /c HTTP/1.1\r\n\r\n");
	rig__out(r, "HTTP/1.1 203 OK\r\nContent-Length: 1\r\n\r\nc");
	assert_int_equal(r->done, 3);
}

/* It comes in calls of its own, after the head, and ends where the kernel tells at once. */
static void bodies_alone(struct rig *r)
{
	rig__in(r, "POST /a HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 3000\r\n\r\n");
	rig__out(r, "HTTP/1.1 100 Continue\r\n\r\n");
	rig__lose(r, DIR_IN, 3000, GAP_LIMIT);
	rig__out(r, "HTTP/1.1 201 OK\r\nContent-Length: 1\r\n\r\na");
	assert_int_equal(r->done, 1);
	rig__in(r, "GET /b HTTP/1.1\r\n\r\n");
	rig__out(r, "HTTP/1.1 202 OK\r\nContent-Length: 1\r\n\r\nb");
}

static void test_requests_are_followed(void **state)
{
	(void)state;
	one("behind a body", behind_a_body,
		"POST /a 1.1 complete 5000 \"\" gap 4999/4 > 201 1.1 complete 1 \"a\"\n"
		"GET /b 1.1 complete 0 \"\" > 202 1.1 complete 1 \"b\"\n"
		"PUT /c 1.1 complete 3 \"put\" > 203 1.1 complete 1 \"c\"\n");
	one("behind a body, torn", behind_a_body_torn,
		"POST /a 1.1 complete 5000 \"\" gap 4999/4 > 0 0.0 lost 0 \"\"\n"
		"GET /b 1.1 complete 0 \"\" > 0 0.0 lost 0 \"\"\n"
		"GET /c 1.1 complete 0 \"\" > 203 1.1 complete 1 \"c\"\n");
	one("bodies alone", bodies_alone,
		"POST /a 1.1 complete 3000 \"\" gap 3000/4 > 201 1.1 complete 1 \"a\" interim 1\n"
		"GET /b 1.1 complete 0 \"\" > 202 1.1 complete 1 \"b\"\n");
}

/* A message that may end while the kernel is silent is told of, however little of it is left; a chunk is not: there may
 * be thousands. */
static void test_ends_are_asked_for(void **state)
{
	char head[128], *body = calloc(1, 140000);
	struct rig r;

	(void)state;
	assert_non_null(body);
	memset(body, 'x', 140000);
	rig__init(&r);
	rig__open(&r, CONN_ACCEPTED);
	rig__in(&r, "GET /a HTTP/1.1\r\n\r\n");
	snprintf(head, sizeof(head), "HTTP/1.1 200 OK\r\nContent-Length: 70000\r\n\r\n");
	rig__out(&r, head);
	rig__data(&r, DIR_OUT, body, 10000);
	/* All of it is wanted, but its end is 64 KiB and more from where the turn began. */
	assert_int_equal(r.skips, 1);
	assert_int_equal(r.skip[DIR_OUT].until, strlen(head) + 70000);
	assert_int_equal(r.skip[DIR_OUT].from, r.skip[DIR_OUT].until);
	for (int i = 0; i < 6; i++)
		rig__data(&r, DIR_OUT, body, 10000);
	assert_int_equal(r.skips, 1);
	assert_int_equal(r.done, 1);
	rig__in(&r, "GET /b HTTP/1.1\r\n\r\n");
	rig__out(&r, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
	for (int i = 0; i < 100; i++) {
		rig__out(&r, "1000\r\n");
		rig__data(&r, DIR_OUT, body, 4096);
		rig__out(&r, "\r\n");
	}
	assert_int_equal(r.skips, 1);
	rig__out(&r, "0\r\n\r\n");
	assert_int_equal(r.done, 2);
	free(body);
	rig__free(&r);
}

static void frame_head(struct rig *r, uint32_t length, uint8_t type, uint8_t flags, uint32_t stream)
{
	unsigned char h[9] = {(unsigned char)(length >> 16), (unsigned char)(length >> 8), (unsigned char)length, type,
		flags, 0, 0, 0, (unsigned char)stream};

	rig__data(r, DIR_OUT, h, sizeof(h));
}

/* A row of ten DATA frames of 1000 bytes each, as the kernel tells it: one frame of a type that nobody knows, as long
 * as nine headers, and one DATA frame of their payloads. */
static void test_row_of_frames(void **state)
{
	static const char request[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
				      "\0\0\0\4\0\0\0\0\0"
				      "\0\0\3\1\5\0\0\0\1\x82\x84\x86";
	struct rig r;

	(void)state;
	rig__init(&r);
	rig__open(&r, CONN_ACCEPTED);
	rig__data(&r, DIR_IN, request, sizeof(request) - 1);
	rig__data(&r, DIR_OUT, "\0\0\0\4\0\0\0\0\0\0\0\1\1\4\0\0\0\1\x88", 19);
	frame_head(&r, 5, 0, 0, 1);
	rig__out(&r, "hello");
	frame_head(&r, 8 * 9, 0xfa, 0, 0);
	rig__lose(&r, DIR_OUT, (uint64_t)8 * 9, GAP_LIMIT);
	frame_head(&r, 10000, 0, 0, 1);
	/* The last of them goes on. */
	rig__lose(&r, DIR_OUT, 9400, GAP_LIMIT);
	rig__lose(&r, DIR_OUT, 600, GAP_LIMIT);
	frame_head(&r, 0, 0, 1, 1);
	assert_int_equal(r.done, 1);
	assert_string_equal(
		rig_text(&r.brief), "GET / 2.0 complete 0 \"\" > 200 2.0 complete 10005 \"hello\" gap 10000/4\n");
	rig__free(&r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_response),
		cmocka_unit_test(test_request),
		cmocka_unit_test(test_requests_are_followed),
		cmocka_unit_test(test_ends_are_asked_for),
		cmocka_unit_test(test_row_of_frames),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
