/* HTTP/1.x conversations: each fed whole, byte by byte and cut at every position of its first kilobyte. */
#include "wire_rig.h"

#define TURNS 16

struct conversation {
	const char *name;
	struct {
		char dir;
		const char *text;
	} turn[TURNS];
	bool open; /* does not end with a close */
	bool upstream;
	bool late;     /* was open before the agent came */
	bool one_read; /* what it shows depends on the reads being as they are */
	const char *want;
};

#define OK0 "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
#define OK5 "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"
#define BAD400 "HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 3\r\n\r\nbad"
#define GETA "GET /a HTTP/1.1\r\nHost: h\r\n\r\n"

static const struct conversation table[] = {
	{"get", {{'>', GETA}, {'<', OK5}}, .want = "GET /a 1.1 complete 0 \"\" > 200 1.1 complete 5 \"hello\"\n"},
	{"keep-alive", {{'>', GETA}, {'<', OK5}, {'>', "DELETE /b?x=1 HTTP/1.1\r\n\r\n"}, {'<', OK0}},
		.want = "GET /a 1.1 complete 0 \"\" > 200 1.1 complete 5 \"hello\"\n"
			"DELETE /b?x=1 1.1 complete 0 \"\" > 200 1.1 complete 0 \"\"\n"},
	{"pipelined, both ends",
		{{'>', GETA "POST /b HTTP/1.1\r\nContent-Length: 2\r\n\r\nhiGET /c HTTP/1.1\r\n\r\n"},
			{'<', OK5 OK0 OK5}},
		.want = "GET /a 1.1 complete 0 \"\" > 200 1.1 complete 5 \"hello\"\n"
			"POST /b 1.1 complete 2 \"hi\" > 200 1.1 complete 0 \"\"\n"
			"GET /c 1.1 complete 0 \"\" > 200 1.1 complete 5 \"hello\"\n"},
	{"line ends between requests",
		{{'>', "POST /b HTTP/1.1\r\nContent-Length: 2\r\n\r\nhi\r\n"}, {'<', OK0}, {'>', "\r\n" GETA},
			{'<', OK5}},
		.want = "POST /b 1.1 complete 2 \"hi\" > 200 1.1 complete 0 \"\"\n"
			"GET /a 1.1 complete 0 \"\" > 200 1.1 complete 5 \"hello\"\n"},
	{"line ends first", {{'>', "\r\n\n" GETA}, {'<', OK0}},
		.want = "GET /a 1.1 complete 0 \"\" > 200 1.1 complete 0 \"\"\n"},
	{"http/1.0, body until close",
		{{'>', "GET / HTTP/1.0\r\n\r\n"}, {'<', "HTTP/1.0 200 OK\r\n\r\nabc\r\n\r\nHTTP/1.1 500"}},
		.want = "GET / 1.0 complete 0 \"\" > 200 1.0 complete 19 \"abc\\x0d\\x0a\\x0d\\x0aHTTP/1.1 500\"\n"},
	{"http/0.9", {{'>', "GET /x\r\n"}, {'<', "plain"}},
		.want = "GET /x 0.9 complete 0 \"\" > 0 0.0 complete 5 \"plain\"\n"},
	{"chunked with extensions and trailers",
		{{'>', "POST /c HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"
		       "5;a=b;c=\"d\"\r\nhello\r\n001 \r\n!\r\n0;last\r\nX-Sum: 1\r\nY: 2\r\n\r\n"},
			{'<', "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nA\r\n0123456789\r\n0\r\n\r\n" OK0}},
		.want = "POST /c 1.1 complete 6 \"hello!\" > 200 1.1 complete 10 \"0123456789\"\n"},
	{"chunked, bare line feeds",
		{{'>', "POST /c HTTP/1.1\nTransfer-Encoding: CHUNKED\n\n3\nabc\n0\n\nGET /n HTTP/1.1\n\n"},
			{'<', OK0 OK0}},
		.want = "POST /c 1.1 complete 3 \"abc\" > 200 1.1 complete 0 \"\"\n"
			"GET /n 1.1 complete 0 \"\" > 200 1.1 complete 0 \"\"\n"},
	{"head, 204, 304",
		{{'>', "HEAD /h HTTP/1.1\r\n\r\n"}, {'<', "HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n"},
			{'>', "GET /n HTTP/1.1\r\n\r\n"}, {'<', "HTTP/1.1 204 No Content\r\n\r\n"},
			{'>', "GET /m HTTP/1.1\r\n\r\n"},
			{'<', "HTTP/1.1 304 Not Modified\r\nContent-Length: 7\r\n\r\n"}, {'>', GETA}, {'<', OK5}},
		.want = "HEAD /h 1.1 complete 0 \"\" > 200 1.1 complete 0 \"\"\n"
			"GET /n 1.1 complete 0 \"\" > 204 1.1 complete 0 \"\"\n"
			"GET /m 1.1 complete 0 \"\" > 304 1.1 complete 0 \"\"\n"
			"GET /a 1.1 complete 0 \"\" > 200 1.1 complete 5 \"hello\"\n"},
	{"expect 100-continue",
		{{'>', "PUT /p HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n"},
			{'<', "HTTP/1.1 100 Continue\r\n\r\n"}, {'>', "abc"}, {'<', OK5}},
		.want = "PUT /p 1.1 complete 3 \"abc\" > 200 1.1 complete 5 \"hello\" interim 1\n"},
	{"early hints", {{'>', GETA}, {'<', "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 102 P\r\n\r\n" OK0}},
		.want = "GET /a 1.1 complete 0 \"\" > 200 1.1 complete 0 \"\" interim 2\n"},
	{"websocket",
		{{'>', "GET /ws HTTP/1.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n"},
			{'<', "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n\x81\x05hello"},
			{'>', "\x81\x85GET / HTTP/1.1\r\n\r\n"}, {'<', OK5}},
		.want = "GET /ws 1.1 complete 0 \"\" > 101 1.1 complete 0 \"\" [upgraded]\n"},
	{"websocket, with a request behind it that is none",
		{{'>', "GET /ws HTTP/1.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\nGET /no HTTP/1.1\r\n\r\n"},
			{'<', "HTTP/1.1 101 Switching Protocols\r\n\r\n"}},
		.one_read = true, .want = "GET /ws 1.1 complete 0 \"\" > 101 1.1 complete 0 \"\" [upgraded]\n"},
	{"upgrade refused",
		{{'>', "GET /ws HTTP/1.1\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n\r\n"}, {'<', OK5}, {'>', GETA},
			{'<', OK0}},
		.want = "GET /ws 1.1 complete 0 \"\" > 200 1.1 complete 5 \"hello\"\n"
			"GET /a 1.1 complete 0 \"\" > 200 1.1 complete 0 \"\"\n"},
	{"connect refused",
		{{'>', "CONNECT h:443 HTTP/1.1\r\n\r\n"}, {'<', "HTTP/1.1 405 No\r\nContent-Length: 1\r\n\r\nx"}},
		.want = "CONNECT h:443 1.1 complete 0 \"\" > 405 1.1 complete 1 \"x\"\n"},
	{"connect", {{'>', "CONNECT h:443 HTTP/1.1\r\n\r\n"}, {'<', "HTTP/1.1 200 OK\r\n\r\nraw"}, {'>', "raw"}},
		.want = "CONNECT h:443 1.1 complete 0 \"\" > 200 1.1 complete 0 \"\" [upgraded]\n"},
	{"absolute form", {{'>', "GET http://h/p?q HTTP/1.1\r\n\r\n"}, {'<', OK0}},
		.want = "GET http://h/p?q 1.1 complete 0 \"\" > 200 1.1 complete 0 \"\"\n"},
	{"asterisk and odd methods",
		{{'>', "OPTIONS * HTTP/1.1\r\n\r\n"}, {'<', OK0}, {'>', "X_Y-Z   /s   HTTP/1.1  \r\n\r\n"}, {'<', OK0}},
		.want = "OPTIONS * 1.1 complete 0 \"\" > 200 1.1 complete 0 \"\"\n"
			"X_Y-Z /s 1.1 complete 0 \"\" > 200 1.1 complete 0 \"\"\n"},
	{"answered before its body was complete",
		{{'>', "POST /p HTTP/1.1\r\nContent-Length: 6\r\n\r\nab"}, {'<', OK5}, {'>', "cdef"}, {'>', GETA},
			{'<', OK0}},
		.want = "POST /p 1.1 complete 6 \"abcdef\" > 200 1.1 complete 5 \"hello\"\n"
			"GET /a 1.1 complete 0 \"\" > 200 1.1 complete 0 \"\"\n"},
	{"answered early, then closed", {{'>', "POST /p HTTP/1.1\r\nContent-Length: 6\r\n\r\nab"}, {'<', BAD400}},
		.want = "POST /p 1.1 closed 2 \"ab\" > 400 1.1 complete 3 \"bad\"\n"},
	{"client gone in the head", {{'>', "GET /a HTTP/1.1\r\nHo"}}, .want = "GET /a 1.1 closed 0 \"\" > [gone]\n"},
	{"client gone in the body", {{'>', "POST /a HTTP/1.1\r\nContent-Length: 9\r\n\r\nabc"}},
		.want = "POST /a 1.1 closed 3 \"abc\" > [gone]\n"},
	{"client gone before the answer", {{'>', GETA}}, .want = "GET /a 1.1 complete 0 \"\" > [gone]\n"},
	{"client gone in the answer", {{'>', GETA}, {'<', "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhel"}},
		.want = "GET /a 1.1 complete 0 \"\" > 200 1.1 closed 3 \"hel\" [gone]\n"},
	{"upstream gone in a chunk",
		{{'<', GETA}, {'>', "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhe"}}, .upstream = true,
		.want = "GET /a 1.1 complete 0 \"\" > 200 1.1 closed 2 \"\"\n"},
	{"upstream leg keeps no body", {{'<', "POST /a HTTP/1.1\r\nContent-Length: 2\r\n\r\nab"}, {'>', OK5}},
		.upstream = true, .want = "POST /a 1.1 complete 2 \"\" > 200 1.1 complete 5 \"\"\n"},
	{"open at the end", {{'>', GETA}, {'<', "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhel"}}, .open = true,
		.want = "GET /a 1.1 complete 0 \"\" > 200 1.1 open 3 \"hel\"\n"},
	{"length and coding",
		{{'>', "POST /s HTTP/1.1\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /evil "
		       "HTTP/1.1\r\n\r\n"},
			{'<', BAD400}},
		.want = "POST /s 1.1 bad 0 \"\" > 400 1.1 complete 3 \"bad\"\n"},
	{"two lengths",
		{{'>', "POST /s HTTP/1.1\r\nContent-Length: 3\r\nContent-Length: 3\r\nX: y\r\n\r\nabcGET /evil "
		       "HTTP/1.1\r\n\r\n"},
			{'<', BAD400}},
		.want = "POST /s 1.1 bad 0 \"\" > 400 1.1 complete 3 \"bad\"\n"},
	{"odd length", {{'>', "POST /s HTTP/1.1\r\nContent-Length: +3\r\nX: y\r\n\r\nabc"}, {'<', BAD400}},
		.want = "POST /s 1.1 bad 0 \"\" > 400 1.1 complete 3 \"bad\"\n"},
	{"coding that is not chunked",
		{{'>', "POST /s HTTP/1.1\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n"}, {'<', BAD400}},
		.want = "POST /s 1.1 bad 0 \"\" > 400 1.1 complete 3 \"bad\"\n"},
	{"chunk size that is none",
		{{'>', "POST /s HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\nGET / HTTP/1.1\r\n\r\n"},
			{'<', BAD400}},
		.want = "POST /s 1.1 bad 0 \"\" > 400 1.1 complete 3 \"bad\"\n"},
	{"space in the target", {{'>', "GET /a b HTTP/1.1\r\n\r\n"}, {'<', BAD400}},
		.want = "GET /a 0.0 bad 0 \"\" > 400 1.1 complete 3 \"bad\"\n"},
	{"no HTTP at all", {{'>', "hello there\r\n"}, {'<', BAD400}},
		.want = "  0.0 bad 0 \"\" > 400 1.1 complete 3 \"bad\"\n"},
	{"behind an answer that closes",
		{{'>', GETA "GET /never HTTP/1.1\r\n\r\n"},
			{'<', "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"}},
		.one_read = true, .want = "GET /a 1.1 complete 0 \"\" > 200 1.1 complete 0 \"\"\n"},
	{"upstream: coding beats length",
		{{'<', GETA},
			{'>', "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: "
			      "chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"},
			{'<', GETA}, {'>', OK0}},
		.upstream = true,
		.want = "GET /a 1.1 complete 0 \"\" > 200 1.1 complete 3 \"\"\n"
			"GET /a 1.1 complete 0 \"\" > 200 1.1 complete 0 \"\"\n"},
	{"upstream: not HTTP", {{'<', GETA}, {'>', "SSH-2.0-x\r\n"}}, .upstream = true,
		.want = "GET /a 1.1 complete 0 \"\" > 0 0.0 bad 0 \"\"\n"},
	{"proxy protocol 1", {{'>', "PROXY TCP4 192.0.2.1 198.51.100.7 1234 80\r\n" GETA}, {'<', OK0}},
		.want = "GET /a 1.1 complete 0 \"\" > 200 1.1 complete 0 \"\"\n"},
	{"late, idle", {{'>', GETA}, {'<', OK5}}, .late = true,
		.want = "GET /a 1.1 complete 0 \"\" > 200 1.1 complete 5 \"hello\"\n"},
};

static size_t turns_of(const struct conversation *c, struct talk_turn out[TURNS])
{
	size_t n = 0;

	for (; n < TURNS && c->turn[n].text; n++)
		out[n] = (struct talk_turn){c->turn[n].dir == '>' ? DIR_IN : DIR_OUT, span_str(c->turn[n].text)};
	return n;
}

static void run(struct rig *r, const struct conversation *c, enum rig_cut cut, size_t at)
{
	struct talk_turn t[TURNS];
	size_t n = turns_of(c, t);

	rig__init(r);
	rig__open(r, c->late ? CONN_UNKNOWN : c->upstream ? CONN_CONNECTED : CONN_ACCEPTED);
	rig__talk(r, t, n, cut, at);
	if (!c->open)
		rig__close(r);
	rig__finish(r);
}

static void test_table(void **state)
{
	unsigned wrong = 0;

	(void)state;
	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		struct rig ref, r;

		run(&ref, &table[i], CUT_WHOLE, 0);
		if (strcmp(rig_text(&ref.brief), table[i].want) != 0)
			print_error("%s:\n%s", table[i].name, rig_text(&ref.brief)), wrong++;
		for (size_t at = 0; at <= 1024 && !table[i].one_read; at++) {
			run(&r, &table[i], at ? CUT_AT : CUT_BYTES, at);
			if (strcmp(rig_text(&r.whole), rig_text(&ref.whole)) != 0)
				print_error("%s, cut at %zu:\n%s", table[i].name, at, rig_text(&r.whole)), wrong++;
			rig__free(&r);
		}
		rig__free(&ref);
	}
	assert_int_equal(wrong, 0);
}

static void one(const char *in, const char *out, const char *want_whole)
{
	struct rig r;

	rig__init(&r);
	rig__open(&r, CONN_ACCEPTED);
	rig__in(&r, in);
	rig__out(&r, out);
	rig__finish(&r);
	assert_string_equal(rig_text(&r.whole), want_whole);
	rig__free(&r);
}

static void test_fields(void **state)
{
	(void)state;
	one("GET / HTTP/1.1\r\nHost: h\r\nX-a:1\r\nx-A:  2 \t\r\nEmpty:\r\nFold: a\r\n b\r\n\tc\r\n\r\n", OK0,
		"GET / 1.1 complete 0 \"\" wire 70 fields{Host:h|X-a:1|x-A:2|Empty:|Fold:a b\\x09c|} > 200 1.1 "
		"complete 0 \"\" "
		"wire 38 fields{Content-Length:0|}\n");
	/* Any byte in a value; lines that nginx passes over are passed over, those around them are kept. */
	one("GET / HTTP/1.1\r\nA: \xff\x80\x01 \"\r\nB(x): 1\r\nnocolon\r\nC: 3\r\r\nD_e: 4\r\n\r\n", OK0,
		"GET / 1.1 complete 0 \"\" wire 61 fields{A:\\xff\\x80\\x01 \"|C:3|D_e:4|} > 200 1.1 complete 0 \"\" "
		"wire 38 fields{Content-Length:0|}\n");
	one("POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\nSum: 7\r\nB(: 1\r\nEnd: 8\r\n\r\n",
		OK0,
		"POST / 1.1 complete 1 \"x\" wire 81 fields{Transfer-Encoding:chunked|} trailers{Sum:7|End:8|} > 200 "
		"1.1 complete "
		"0 \"\" wire 38 fields{Content-Length:0|}\n");
}

static void test_large_heads(void **state)
{
	struct buf b;
	struct rig r;

	(void)state;
	buf__init(&b, 1u << 20);
	buf__append_str(&b, "GET /big HTTP/1.1\r\n");
	for (int i = 0; i < 4000; i++)
		buf__printf(&b, "h%d: v%d\r\n", i, i);
	buf__append_str(&b, "\r\n");
	rig__init(&r);
	rig__open(&r, CONN_ACCEPTED);
	rig__data(&r, DIR_IN, b.p, b.n);
	rig__out(&r, OK0);
	assert_string_equal(rig_text(&r.brief), "GET /big 1.1 complete 0 \"\" > 200 1.1 complete 0 \"\"\n");
	assert_non_null(strstr(rig_text(&r.whole), "|h3999:v3999|"));
	/* More than the maximum: the rest of the fields is left out, and with them may be the length of the body. So
	 * that request ends there, its answer is its own, and the next call is whole. */
	buf__clear(&b);
	buf__append_str(&b, "GET /more HTTP/1.1\r\n");
	for (int i = 0; i < 20000; i++)
		buf__printf(&b, "header-%d: value\r\n", i);
	buf__append_str(&b, "\r\n");
	buf__clear(&r.brief);
	rig__data(&r, DIR_IN, b.p, b.n);
	rig__out(&r, OK0);
	rig__in(&r, GETA);
	rig__out(&r, OK0);
	assert_string_equal(rig_text(&r.brief), "GET /more 1.1 limit 0 \"\" overflow > 200 1.1 complete 0 \"\"\n"
						"GET /a 1.1 complete 0 \"\" > 200 1.1 complete 0 \"\"\n");
	rig__free(&r);
	buf__free(&b);
}

static void test_long_target(void **state)
{
	static char target[200000];
	struct rig r;

	(void)state;
	memset(target, 'a', sizeof(target) - 1);
	memcpy(target, "GET /", 5);
	rig__init(&r);
	rig__open(&r, CONN_ACCEPTED);
	for (size_t i = 0; i + 1000 < 60000; i += 1000)
		rig__data(&r, DIR_IN, target + i, 1000);
	rig__out(&r, "HTTP/1.1 414 Too Long\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
	rig__close(&r);
	assert_non_null(strstr(rig_text(&r.brief), "GET /aaaaa"));
	assert_non_null(strstr(rig_text(&r.brief), " closed 0 \"\" > 414 1.1 complete"));
	rig__open(&r, CONN_ACCEPTED);
	buf__clear(&r.brief);
	for (size_t i = 0; i + 1000 < sizeof(target); i += 1000)
		rig__data(&r, DIR_IN, target + i, 1000);
	rig__out(&r, "HTTP/1.1 414 Too Long\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
	rig__close(&r);
	assert_non_null(strstr(rig_text(&r.brief), " bad 0 \"\" > 414 1.1 complete"));
	rig__free(&r);
}

/* However little of its first request's beginning comes first, and however much then. */
static void test_long_beginnings(void **state)
{
	static const char *const begins[] = {"GET /", "GET http://h/", "OPTIONS https://h/"};
	static char text[20000];

	(void)state;
	for (size_t i = 0; i < 3; i++) {
		for (size_t first = 1; first < 9000; first += first < 40 ? 1 : 997) {
			size_t n = (size_t)snprintf(text, sizeof(text),
				"%s%06000d HTTP/1.1\r\nHost: h\r\nX: %05000d\r\n\r\n", begins[i], 1, 1);
			struct rig r;

			rig__init(&r);
			rig__open(&r, CONN_ACCEPTED);
			rig__data(&r, DIR_IN, text, first);
			rig__data(&r, DIR_IN, text + first, n - first);
			rig__out(&r, OK0);
			assert_int_equal(r.done, 1);
			assert_non_null(strstr(rig_text(&r.brief), " 1.1 complete 0 \"\" > 200"));
			assert_int_equal(r.ignored, 0);
			rig__free(&r);
		}
	}
}

/* A line without an end that nginx will refuse some time: its answer makes it a call. */
static void test_text_without_an_end(void **state)
{
	static char text[1000];
	struct rig r;

	(void)state;
	memset(text, 'a', sizeof(text));
	memcpy(text, "GET ", 4);
	rig__init(&r);
	rig__open(&r, CONN_ACCEPTED);
	for (int i = 0; i < 9; i++)
		rig__data(&r, DIR_IN, i ? text + 4 : text, sizeof(text) - 4);
	rig__out(&r, BAD400);
	assert_int_equal(r.done, 0);
	rig__close(&r);
	assert_int_equal(r.done, 1);
	assert_non_null(strstr(rig_text(&r.brief), " > 400 1.1 complete 3 \"bad\""));
	/* A connection to a service that speaks so is none of ours. */
	r.key.gen++;
	rig__open(&r, CONN_CONNECTED);
	for (int i = 0; i < 9; i++)
		rig__data(&r, DIR_OUT, i ? text + 4 : text, sizeof(text) - 4);
	assert_int_equal(r.ignored, 1);
	rig__free(&r);
}

/* Many connections that say little: what is held of them counts as memory, too. */
static void test_what_is_held_is_bounded(void **state)
{
	static char text[4000];
	uint64_t over = stats_get(STAT_wire_conns_over_limit);
	struct wire_limits l;
	struct rig r;

	(void)state;
	memset(text, 'a', sizeof(text));
	memcpy(text, "GET ", 4);
	wire_limits_default(&l);
	l.total_bytes = 1 << 20;
	rig__init_with(&r, &l);
	for (int i = 0; i < 2000; i++) {
		r.key.obj++;
		rig__open(&r, CONN_ACCEPTED);
	}
	for (int i = 0; i < 2000; i++) {
		r.pos[DIR_IN] = 0;
		rig__data(&r, DIR_IN, text, sizeof(text));
		r.key.obj--;
		assert_true(conns__memory(r.c) <= l.total_bytes + 8192);
	}
	assert_true(stats_get(STAT_wire_conns_over_limit) > over);
	assert_int_equal(r.ignored, 0);
	rig__free(&r);
}

static void test_body_limit(void **state)
{
	struct wire_limits l;
	struct rig r;

	(void)state;
	wire_limits_default(&l);
	l.request_body = 4;
	l.response_body = 2;
	rig__init_with(&r, &l);
	rig__open(&r, CONN_ACCEPTED);
	rig__in(&r, "POST / HTTP/1.1\r\nContent-Length: 6\r\n\r\nab");
	rig__in(&r, "cdef");
	rig__out(&r, OK5);
	assert_string_equal(rig_text(&r.brief), "POST / 1.1 complete 6 \"abcd\" > 200 1.1 complete 5 \"he\"\n");
	rig__free(&r);
}

/* At a limit, too, the cut makes no difference: a field is there as a whole or not at all. */
static void test_limits_in_every_cut(void **state)
{
	static const char in[] =
		"POST /a HTTP/1.1\r\nHost: h\r\nA-name-of-some-length: 1\r\nTransfer-Encoding: chunked\r\n"
		"B: a value that is too long\r\nLong-name: 2\r\nC: 3\r\nD: 4\r\n\r\n"
		"3\r\nabc\r\n3\r\ndef\r\n0\r\nTrailer: too long for what is left of the room here, and more\r\nT: "
		"1\r\n\r\n";
	const struct talk_turn t[] = {{DIR_IN, {in, sizeof(in) - 1}}, {DIR_OUT, SPAN_LIT(OK5)}};
	struct wire_limits l;

	(void)state;
	wire_limits_default(&l);
	l.request_body = 4;
	l.response_body = 0;
	for (l.header_count = 0; l.header_count < 8; l.header_count++) {
		for (l.header_bytes = 20; l.header_bytes < 140; l.header_bytes += 3) {
			struct rig ref, r;

			rig__init_with(&ref, &l);
			rig__open(&ref, CONN_ACCEPTED);
			rig__talk(&ref, t, 2, CUT_WHOLE, 0);
			rig__finish(&ref);
			for (size_t at = 0; at < sizeof(in); at++) {
				rig__init_with(&r, &l);
				rig__open(&r, CONN_ACCEPTED);
				rig__talk(&r, t, 2, at ? CUT_AT : CUT_BYTES, at);
				rig__finish(&r);
				assert_string_equal(rig_text(&r.whole), rig_text(&ref.whole));
				rig__free(&r);
			}
			rig__free(&ref);
		}
	}
}

static void test_event_stream(void **state)
{
	struct rig r;

	(void)state;
	rig__init(&r);
	rig__open(&r, CONN_ACCEPTED);
	rig__in(&r, GETA);
	rig__out(&r, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\na\n\n\r\n");
	rig__tick(&r, 20000 * MS);
	assert_int_equal(r.done, 0);
	rig__out(&r, "3\r\nb\n\n\r\n");
	rig__tick(&r, 20000 * MS);
	assert_int_equal(r.done, 0);
	rig__tick(&r, 31000 * MS);
	assert_string_equal(
		rig_text(&r.brief), "GET /a 1.1 complete 0 \"\" > 200 1.1 idle 6 \"a\\x0a\\x0ab\\x0a\\x0a\"\n");
	buf__clear(&r.brief);
	/* The rest is passed over, and the connection goes on behind it. */
	rig__out(&r, "3\r\nc\n\n\r\n0\r\nT: 1\r\n\r\n");
	rig__in(&r, "GET /b HTTP/1.1\r\n\r\n");
	rig__out(&r, OK5);
	assert_string_equal(rig_text(&r.brief), "GET /b 1.1 complete 0 \"\" > 200 1.1 complete 5 \"hello\"\n");
	/* One that is answered while its body is still coming is not quiet. */
	buf__clear(&r.brief);
	rig__in(&r, "POST /up HTTP/1.1\r\nContent-Length: 6\r\n\r\nab");
	rig__out(&r, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\no");
	rig__tick(&r, 20000 * MS);
	rig__in(&r, "cd");
	rig__tick(&r, 20000 * MS);
	assert_int_equal(r.done, 2);
	rig__in(&r, "ef");
	rig__out(&r, "k");
	assert_string_equal(rig_text(&r.brief), "POST /up 1.1 complete 6 \"abcdef\" > 200 1.1 complete 2 \"ok\"\n");
	/* A request that is not answered yet is not a stream. */
	rig__in(&r, "GET /slow HTTP/1.1\r\n\r\n");
	rig__tick(&r, 60000 * MS);
	assert_int_equal(r.done, 3);
	rig__free(&r);
}

/* nginx breaks an answer off with its service, and reads away what the client has sent meanwhile before it closes. */
static void test_behind_a_cut_answer(void **state)
{
	static const char *const cut[] = {"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n"};
	struct rig r;

	(void)state;
	for (int i = 0; i < 2; i++) {
		rig__init(&r);
		rig__open(&r, CONN_ACCEPTED);
		rig__in(&r, GETA);
		rig__out(&r, cut[i]);
		rig__in(&r, "GET /b HTTP/1.1\r\n\r\nGET /c HTTP/1.1\r\n\r\n");
		rig__close(&r);
		assert_string_equal(rig_text(&r.brief),
			"GET /a 1.1 complete 0 \"\" > 200 1.1 closed 4 \"half\" [gone]\n"
			"GET /b 1.1 complete 0 \"\" > [gone] [refused]\n");
		rig__free(&r);
	}
	/* Where it was not begun, the client may have gone. */
	rig__init(&r);
	rig__open(&r, CONN_ACCEPTED);
	rig__in(&r, GETA);
	rig__out(&r, OK0);
	rig__in(&r, "GET /b HTTP/1.1\r\n\r\n");
	rig__close(&r);
	assert_string_equal(rig_text(&r.brief), "GET /a 1.1 complete 0 \"\" > 200 1.1 complete 0 \"\"\n"
						"GET /b 1.1 complete 0 \"\" > [gone]\n");
	rig__free(&r);
}

static void test_proxy_source(void **state)
{
	static const char v2[] = "\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xc0\0\2\1\x0a\0\0\1\x04\xd2\0\x50" GETA;
	struct rig r;

	(void)state;
	for (size_t cut = 0; cut < 28; cut++) {
		rig__init(&r);
		rig__open(&r, CONN_ACCEPTED);
		if (cut)
			rig__data(&r, DIR_IN, v2, cut);
		rig__data(&r, DIR_IN, v2 + cut, sizeof(v2) - 1 - cut);
		rig__out(&r, OK0);
		assert_string_equal(rig_text(&r.brief), "GET /a 1.1 complete 0 \"\" > 200 1.1 complete 0 \"\"\n");
		assert_int_equal(r.last.peer.port, 0x04d2);
		assert_memory_equal(r.last.peer.addr, "\xc0\0\2\1", 4);
		rig__free(&r);
	}
	/* The balancer's own, a health check: whatever address it writes is nobody's. */
	rig__init(&r);
	rig__open(&r, CONN_ACCEPTED);
	rig__data(&r, DIR_IN, "\r\n\r\n\0\r\nQUIT\n\x20\x11\0\x0c\xc0\0\2\1\x0a\0\0\1\x04\xd2\0\x50", 28);
	rig__in(&r, GETA);
	rig__out(&r, OK0);
	assert_int_equal(r.last.peer.port, 50000);
	rig__free(&r);
	rig__init(&r);
	rig__open(&r, CONN_ACCEPTED);
	rig__in(&r, "PROXY TCP6 2001:db8::7 2001:db8::1 4711 443\r\n");
	rig__in(&r, GETA);
	rig__out(&r, OK0);
	assert_int_equal(r.done, 1);
	assert_int_equal(r.last.peer.family, ADDR_IP6);
	assert_int_equal(r.last.peer.port, 4711);
	rig__free(&r);
	/* What it does not know, and what is broken. */
	rig__init(&r);
	rig__open(&r, CONN_ACCEPTED);
	rig__in(&r, "PROXY UNKNOWN\r\n" GETA);
	rig__out(&r, OK0);
	assert_int_equal(r.done, 1);
	assert_int_equal(r.last.peer.port, 50000);
	r.key.gen++;
	rig__open(&r, CONN_ACCEPTED);
	rig__in(&r, "PROXY TCP4 nonsense without an end "
		    "......................................................................"
		    "................................................................................................");
	assert_int_equal(r.ignored, 1);
	rig__free(&r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_table),
		cmocka_unit_test(test_fields),
		cmocka_unit_test(test_large_heads),
		cmocka_unit_test(test_long_target),
		cmocka_unit_test(test_long_beginnings),
		cmocka_unit_test(test_text_without_an_end),
		cmocka_unit_test(test_what_is_held_is_bounded),
		cmocka_unit_test(test_body_limit),
		cmocka_unit_test(test_limits_in_every_cut),
		cmocka_unit_test(test_event_stream),
		cmocka_unit_test(test_behind_a_cut_answer),
		cmocka_unit_test(test_proxy_source),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
