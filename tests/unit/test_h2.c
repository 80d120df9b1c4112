#include "h2kit.h"

#define GET(path) ":method: GET\n:scheme: https\n:path: " path "\n:authority: a.example:8443\n"
#define POST(path) ":method: POST\n:scheme: https\n:path: " path "\n:authority: a.example:8443\n"
#define OK ":status: 200\ncontent-type: text/plain\n"

static void one_call(void **state)
{
	struct talk t;

	(void)state;
	talk__init(&t);
	preface(&t);
	call(&t, REQ);
	head(&t, H2_END_STREAM, 1, GET("/a?b=c") "accept: */*\nx-two: 1\nx-two: 2\n");
	call(&t, RESP);
	head(&t, 0, 1, OK "content-length: 5\n");
	data(&t, H2_END_STREAM, 1, "hello");
	expect(&t, "1 GET https://a.example:8443/a?b=c complete accept=*/*|x-two=1|x-two=2 > "
		   "200 complete content-type=text/plain|content-length=5 5=hello\n");
	talk__free(&t);
}

static void interleaved_streams_end_in_their_own_order(void **state)
{
	struct talk t;

	(void)state;
	talk__init(&t);
	preface(&t);
	call(&t, REQ);
	head(&t, 0, 1, POST("/1"));
	head(&t, H2_END_STREAM, 3, GET("/3"));
	data(&t, 0, 1, "ab");
	head(&t, H2_END_STREAM, 5, GET("/5"));
	call(&t, RESP);
	head(&t, 0, 5, OK);
	head(&t, 0, 3, OK);
	data(&t, 0, 5, "fi");
	call(&t, REQ);
	data(&t, H2_END_STREAM, 1, "c");
	call(&t, RESP);
	data(&t, H2_END_STREAM, 3, "three");
	head(&t, H2_END_STREAM, 1, ":status: 204\n");
	data(&t, 0, 5, "ve");
	data(&t, H2_END_STREAM, 5, "");
	expect(&t, "3 GET https://a.example:8443/3 complete > 200 complete content-type=text/plain 5=three\n"
		   "1 POST https://a.example:8443/1 complete 3=abc > 204 complete\n"
		   "5 GET https://a.example:8443/5 complete > 200 complete content-type=text/plain 4=five\n");
	talk__free(&t);
}

static void padding_priority_and_continuation(void **state)
{
	unsigned char b[512], padded[600] = {7, 0, 0, 0, 0, 16};
	struct talk t;
	size_t n;

	(void)state;
	talk__init(&t);
	preface(&t);
	call(&t, REQ);
	n = block(&t, REQ, POST("/long") "cookie: a=1\naccept: x\ncookie: b=2\ncookie: c=3\n", b, sizeof(b));
	memcpy(padded + 6, b, 10);
	memset(padded + 16, 0xff, 7);
	frame(&t, H2_HEADERS, H2_PADDED | H2_PRIORITY_FLAG, 1, padded, 23);
	frame(&t, H2_CONTINUATION, 0, 1, b + 10, 1);
	frame(&t, H2_CONTINUATION, 0, 1, b, 0);
	frame(&t, H2_CONTINUATION, H2_END_HEADERS, 1, b + 11, n - 11);
	frame(&t, H2_PRIORITY, 0, 9, "\0\0\0\1\5", 5);
	frame(&t, H2_DATA, H2_PADDED, 1, "\2xy\0\0", 5);
	frame(&t, H2_DATA, H2_PADDED, 1, "\0z", 2);
	frame(&t, H2_DATA, H2_PADDED | H2_END_STREAM, 1, "\3\0\0\0", 4);
	call(&t, RESP);
	head(&t, H2_END_STREAM, 1, OK);
	expect(&t, "1 POST https://a.example:8443/long complete cookie=a=1; b=2; c=3|accept=x 3=xyz > "
		   "200 complete content-type=text/plain\n");
	talk__free(&t);
}

static void noise_changes_nothing(void **state)
{
	struct talk t;

	(void)state;
	talk__init(&t);
	preface(&t);
	call(&t, REQ);
	frame(&t, H2_SETTINGS, H2_ACK, 0, "", 0);
	frame(&t, H2_WINDOW_UPDATE, 0, 0, "\0\1\0\0", 4);
	head(&t, H2_END_STREAM, 1, GET("/"));
	frame(&t, H2_PING, 0, 0, "12345678", 8);
	frame(&t, H2_PRIORITY_UPDATE, 0, 0, "\0\0\0\1u=1", 7);
	frame(&t, 0xb + 0x1f, 0xff, 0, "grease", 6);
	call(&t, RESP);
	frame(&t, H2_PING, H2_ACK, 0, "12345678", 8);
	frame(&t, H2_WINDOW_UPDATE, 0, 1, "\0\1\0\0", 4);
	head(&t, 0, 1, ":status: 103\nlink: </a.css>\n");
	frame(&t, 0xc, 0, 0, "origin", 6);
	head(&t, 0, 1, ":status: 100\n");
	head(&t, 0, 1, OK);
	frame(&t, 0xa, 0, 1, "altsvc", 6);
	data(&t, 0, 1, "");
	data(&t, 0, 1, "x");
	data(&t, H2_END_STREAM, 1, "");
	frame(&t, H2_GOAWAY, 0, 0, "\0\0\0\1\0\0\0\0bye", 11);
	expect(&t, "1 GET https://a.example:8443/ complete > 2+200 complete content-type=text/plain 1=x\n");
	talk__free(&t);
}

static void grpc_trailers(void **state)
{
	struct talk t;

	(void)state;
	talk__init(&t);
	preface(&t);
	call(&t, REQ);
	head(&t, 0, 1, POST("/hello.Hello/Say") "content-type: application/grpc\nte: trailers\n");
	frame(&t, H2_DATA, 0, 1, "12345m", 6);
	head(&t, H2_END_STREAM, 1, "x-sum: 9\n");
	call(&t, RESP);
	head(&t, 0, 1, ":status: 200\ncontent-type: application/grpc\n");
	frame(&t, H2_DATA, 0, 1, "54321r", 6);
	head(&t, H2_END_STREAM, 1, "grpc-status: 5\ngrpc-message: not%20there\n");
	expect(&t, "1 POST https://a.example:8443/hello.Hello/Say complete content-type=application/grpc|te=trailers "
		   "6=12345m +x-sum=9 > 200 complete content-type=application/grpc 6=54321r "
		   "+grpc-status=5|grpc-message=not%20there\n");
	talk__free(&t);
}

static void resets_and_goaway(void **state)
{
	struct talk t;

	(void)state;
	talk__init(&t);
	preface(&t);
	call(&t, REQ);
	head(&t, 0, 1, POST("/by-client"));
	head(&t, 0, 3, POST("/by-server"));
	head(&t, 0, 5, POST("/early-answer"));
	head(&t, H2_END_STREAM, 7, GET("/half"));
	head(&t, H2_END_STREAM, 9, GET("/last-taken"));
	head(&t, H2_END_STREAM, 11, GET("/not-taken"));
	data(&t, 0, 1, "12");
	frame(&t, H2_RST_STREAM, 0, 1, "\0\0\0\10", 4);
	call(&t, RESP);
	frame(&t, H2_RST_STREAM, 0, 3, "\0\0\0\7", 4);
	head(&t, H2_END_STREAM, 5, ":status: 413\n");
	frame(&t, H2_RST_STREAM, 0, 5, "\0\0\0\0", 4);
	head(&t, 0, 7, OK);
	data(&t, 0, 7, "ha");
	frame(&t, H2_GOAWAY, 0, 0, "\0\0\0\11\0\0\0\0", 8);
	head(&t, H2_END_STREAM, 9, ":status: 204\n");
	call(&t, REQ);
	frame(&t, H2_RST_STREAM, 0, 7, "\0\0\0\10", 4);
	frame(&t, H2_RST_STREAM, 0, 7, "\0\0\0\10", 4);
	head(&t, H2_END_STREAM, 13, GET("/too-late"));
	expect(&t, "1 POST https://a.example:8443/by-client reset 2=12 > 0 reset gone\n"
		   "3 POST https://a.example:8443/by-server reset > 0 reset refused\n"
		   "5 POST https://a.example:8443/early-answer reset > 413 complete\n"
		   "11 GET https://a.example:8443/not-taken complete > 0 reset refused\n"
		   "9 GET https://a.example:8443/last-taken complete > 204 complete\n"
		   "7 GET https://a.example:8443/half complete > 200 reset content-type=text/plain 2=ha gone\n");
	talk__free(&t);
}

static void close_hands_on_what_is_open(void **state)
{
	struct talk t;

	(void)state;
	talk__init(&t);
	preface(&t);
	call(&t, REQ);
	head(&t, H2_END_STREAM, 1, GET("/1"));
	head(&t, 0, 3, POST("/3"));
	data(&t, 0, 3, "up");
	call(&t, RESP);
	head(&t, 0, 1, OK);
	data(&t, 0, 1, "do");
	expect(&t, "1 GET https://a.example:8443/1 complete > 200 closed content-type=text/plain 2=do gone\n"
		   "3 POST https://a.example:8443/3 closed 2=up > 0 none gone\n");
	talk__free(&t);
}

static void connect_is_a_tunnel(void **state)
{
	struct talk t;

	(void)state;
	talk__init(&t);
	preface(&t);
	call(&t, REQ);
	head(&t, 0, 1, ":method: CONNECT\n:authority: b.example:443\n");
	head(&t, 0, 3, ":method: CONNECT\n:protocol: websocket\n:scheme: https\n:path: /chat\n:authority: a\n");
	call(&t, RESP);
	head(&t, 0, 1, ":status: 403\n");
	data(&t, H2_END_STREAM, 1, "no");
	head(&t, 0, 3, ":status: 200\n");
	data(&t, 0, 3, "12345");
	call(&t, REQ);
	data(&t, H2_END_STREAM, 1, "");
	data(&t, H2_END_STREAM, 3, "123");
	call(&t, RESP);
	data(&t, H2_END_STREAM, 3, "6");
	expect(&t, "1 CONNECT ://b.example:443 complete > 403 complete 2=no\n"
		   "3 CONNECT https://a/chat complete > 200 complete tunnel 3/6\n");
	talk__free(&t);
}

static void pushed_streams_move_the_table_only(void **state)
{
	unsigned char b[512] = {0, 0, 0, 2};
	struct talk t;
	size_t n;

	(void)state;
	talk__init(&t);
	preface(&t);
	call(&t, REQ);
	head(&t, H2_END_STREAM, 1, GET("/"));
	call(&t, RESP);
	n = block(&t, RESP, GET("/style.css") "x-pushed: yes\n", b + 4, sizeof(b) - 4);
	frame(&t, H2_PUSH_PROMISE, H2_END_HEADERS, 1, b, n + 4);
	head(&t, 0, 2, OK "x-pushed: yes\n");
	data(&t, H2_END_STREAM, 2, "css");
	head(&t, H2_END_STREAM, 1, OK "x-pushed: yes\n");
	expect(&t, "1 GET https://a.example:8443/ complete > 200 complete content-type=text/plain|x-pushed=yes\n");
	talk__free(&t);
}

static void larger_and_smaller_tables(void **state)
{
	unsigned char set[6] = {0, 1, 0, 0, 0x20, 0};
	struct talk t;

	(void)state;
	talk__init(&t);
	preface(&t);
	call(&t, RESP);
	frame(&t, H2_SETTINGS, 0, 0, set, 6);
	call(&t, REQ);
	frame(&t, H2_SETTINGS, H2_ACK, 0, "", 0);
	nghttp2_hd_deflate_change_table_size(t.enc[REQ], 0x2000);
	head(&t, H2_END_STREAM, 1, GET("/1") "x-a: aaaaaaaaaaaaaaaaaaaaaaaaaaaaa\n");
	nghttp2_hd_deflate_change_table_size(t.enc[REQ], 0);
	nghttp2_hd_deflate_change_table_size(t.enc[REQ], 100);
	head(&t, H2_END_STREAM, 3, GET("/2") "x-a: aaaaaaaaaaaaaaaaaaaaaaaaaaaaa\n");
	head(&t, H2_END_STREAM, 5, GET("/3") "x-a: aaaaaaaaaaaaaaaaaaaaaaaaaaaaa\n");
	call(&t, RESP);
	head(&t, H2_END_STREAM, 1, ":status: 201\n");
	head(&t, H2_END_STREAM, 3, ":status: 201\n");
	head(&t, H2_END_STREAM, 5, ":status: 201\n");
	expect(&t, "1 GET https://a.example:8443/1 complete x-a=aaaaaaaaaaaaaaaaaaaaaaaaaaaaa > 201 complete\n"
		   "3 GET https://a.example:8443/2 complete x-a=aaaaaaaaaaaaaaaaaaaaaaaaaaaaa > 201 complete\n"
		   "5 GET https://a.example:8443/3 complete x-a=aaaaaaaaaaaaaaaaaaaaaaaaaaaaa > 201 complete\n");
	talk__free(&t);
}

/* t of a call is 1000 × its number. */
static void note_times(void *ctx, struct exchange *x)
{
	char *out = ctx;

	snprintf(out, 200, "req %llu %llu %llu %llu; resp %llu %llu %llu %llu; end %llu",
		(unsigned long long)x->req.t_first_ns, (unsigned long long)x->req.t_head_ns,
		(unsigned long long)x->req.t_last_ns, (unsigned long long)x->req.wire_bytes,
		(unsigned long long)x->resp.t_first_ns, (unsigned long long)x->resp.t_head_ns,
		(unsigned long long)x->resp.t_last_ns, (unsigned long long)x->resp.wire_bytes,
		(unsigned long long)x->t_end_ns);
	exchange__free(x);
}

static void times_and_bytes_on_the_wire(void **state)
{
	char text[200] = "";
	struct talk t;
	struct rig r;

	(void)state;
	talk__init(&t);
	preface(&t); /* calls 1 and 2 */
	call(&t, REQ);
	put(&t, "\0\0\2\1\0\0\0\0\1\x82", 10);
	call(&t, REQ);
	put(&t, "\x84\0\0\2\11\4\0\0\0\1\x86\x41", 12);
	t.bytes.p[t.bytes.n - 1] = (char)0x87;
	call(&t, REQ);
	data(&t, H2_END_STREAM, 1, "abc");
	call(&t, RESP);
	head(&t, 0, 1, ":status: 100\n");
	call(&t, RESP);
	frame(&t, H2_HEADERS, H2_END_HEADERS, 1, "\x88", 1);
	call(&t, RESP);
	data(&t, 0, 1, "0123456789");
	call(&t, RESP);
	data(&t, H2_END_STREAM, 1, "");
	rig__init(&r);
	r.env.sink = (struct exchange_sink){NULL, note_times, text};
	rig__open(&r);
	rig__run(&r, &t, 0, 0, CUT_NONE);
	rig__close(&r);
	assert_string_equal(text, "req 3000 4000 5000 34; resp 7000 7000 9000 51; end 9000");
	rig__free(&r);
	talk__free(&t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(one_call),
		cmocka_unit_test(interleaved_streams_end_in_their_own_order),
		cmocka_unit_test(padding_priority_and_continuation),
		cmocka_unit_test(noise_changes_nothing),
		cmocka_unit_test(grpc_trailers),
		cmocka_unit_test(resets_and_goaway),
		cmocka_unit_test(close_hands_on_what_is_open),
		cmocka_unit_test(connect_is_a_tunnel),
		cmocka_unit_test(pushed_streams_move_the_table_only),
		cmocka_unit_test(larger_and_smaller_tables),
		cmocka_unit_test(times_and_bytes_on_the_wire),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
