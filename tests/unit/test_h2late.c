/* Connections joined late, and bytes lost on the way: what comes out is right, or left out and marked. Never wrong. */
#include "h2kit.h"

#define GET(path) ":method: GET\n:scheme: https\n:path: " path "\n:authority: a.example\n"
#define POST(path) ":method: POST\n:scheme: https\n:path: " path "\n:authority: a.example\n"

static void expect_from(const struct talk *t, unsigned int first, bool from_start, const char *lines)
{
	struct rig r;

	rig__init(&r);
	r.facts.from_start = from_start;
	rig__open(&r);
	rig__run(&r, t, first, 0, CUT_NONE);
	rig__close(&r);
	buf__append_char(&r.text, 0);
	assert_string_equal(r.text.p, lines);
	rig__free(&r);
}

static void joined_late(void **state)
{
	struct talk t;
	unsigned int first;

	(void)state;
	talk__init(&t);
	preface(&t);
	call(&t, REQ);
	head(&t, H2_END_STREAM, 1, GET("/old") "user-agent: browser\nx-key: old\ncookie: a=1\n");
	head(&t, 0, 3, POST("/before") "user-agent: browser\n");
	first = t.count;
	call(&t, REQ);
	data(&t, H2_END_STREAM, 3, "unknown beginning");
	/* Agent, authority and the name of the key are older than the observer: left out. The cookie may have been one
	 * crumb of many. */
	head(&t, H2_END_STREAM, 5, GET("/new") "user-agent: browser\nx-key: new\nx-n: 1\ncookie: b=1\n");
	head(&t, H2_END_STREAM, 7, GET("/new") "x-key: new\nx-n: 2\ncookie: b=1\n");
	head(&t, H2_END_STREAM, 9, ":method: GET\n:scheme: https\n:path: /new\nx-n: 2\ncookie: b=1\ncookie: c=1\n");
	call(&t, RESP);
	head(&t, 0, 1, ":status: 200\nx-kong-request-id: 01\n");
	data(&t, H2_END_STREAM, 1, "one");
	head(&t, 0, 3, ":status: 202\nx-kong-request-id: 03\n");
	data(&t, H2_END_STREAM, 3, "three");
	head(&t, H2_END_STREAM, 5, ":status: 200\n");
	head(&t, H2_END_STREAM, 7, ":status: 200\n");
	head(&t, H2_END_STREAM, 9, ":status: 200\n");
	expect_from(&t, first, false,
		"1   none > 200 complete x-kong-request-id=01 3=one\n"
		"3   none > 202 complete x-kong-request-id=03 5=three\n"
		"5 GET /new complete partial x-n=1 > 200 complete\n"
		"7 GET /new complete partial x-n=2 > 200 complete\n"
		"9 GET /new complete x-n=2|cookie=b=1; c=1 > 200 complete\n");
	talk__free(&t);
}

static void joined_before_the_first_byte_after_all(void **state)
{
	struct talk t;

	(void)state;
	talk__init(&t);
	preface(&t);
	call(&t, REQ);
	head(&t, H2_END_STREAM, 1, GET("/") "user-agent: browser\n");
	head(&t, H2_END_STREAM, 3, GET("/") "user-agent: browser\n");
	call(&t, RESP);
	head(&t, H2_END_STREAM, 1, ":status: 201\n");
	head(&t, H2_END_STREAM, 3, ":status: 201\n");
	expect_from(&t, 0, false,
		"1 GET https://a.example/ complete user-agent=browser > 201 complete\n"
		"3 GET https://a.example/ complete user-agent=browser > 201 complete\n");
	talk__free(&t);
}

static void joined_within_a_response(void **state)
{
	struct talk t;
	unsigned int first;

	(void)state;
	talk__init(&t);
	preface(&t);
	call(&t, REQ);
	head(&t, H2_END_STREAM, 1, GET("/1"));
	head(&t, H2_END_STREAM, 3, GET("/3"));
	call(&t, RESP);
	head(&t, 0, 1, ":status: 200\n");
	data(&t, 0, 1, "begin");
	first = t.count;
	call(&t, RESP);
	data(&t, 0, 1, "middle");
	frame(&t, H2_WINDOW_UPDATE, 0, 0, "\0\0\1\0", 4);
	call(&t, RESP);
	head(&t, H2_END_STREAM, 1, "grpc-status: 0\n");
	head(&t, H2_END_STREAM, 3, ":status: 404\n");
	/* Nothing is said of stream 1: its status was not seen. */
	expect_from(&t, first, false, "3   none > 404 complete\n");
	talk__free(&t);
}

/* Trailers of a request that began unseen, without and with fields that cannot be decoded, are no request. */
static void late_trailers_are_no_request(void **state)
{
	struct talk t;
	unsigned int first;

	(void)state;
	talk__init(&t);
	preface(&t);
	call(&t, REQ);
	head(&t, 0, 1, POST("/1") "x-sum: 1\n");
	head(&t, 0, 3, POST("/3") "x-sum: 1\n");
	first = t.count;
	call(&t, REQ);
	head(&t, H2_END_STREAM, 3, "x-sum: 1\n");
	head(&t, H2_END_STREAM, 1, "x-sum: 2\n");
	head(&t, H2_END_STREAM, 5, GET("/5"));
	call(&t, RESP);
	head(&t, H2_END_STREAM, 3, ":status: 200\n");
	head(&t, H2_END_STREAM, 1, ":status: 200\n");
	head(&t, H2_END_STREAM, 5, ":status: 200\n");
	expect_from(&t, first, false,
		"3   none > 200 complete\n"
		"1   none > 200 complete\n"
		"5 GET /5 complete partial > 200 complete\n");
	talk__free(&t);
}

static void a_gap_in_a_body_costs_the_body(void **state)
{
	struct talk t;

	(void)state;
	talk__init(&t);
	preface(&t);
	call(&t, REQ);
	head(&t, H2_END_STREAM, 1, GET("/1") "x-a: 1\n");
	call(&t, RESP);
	head(&t, 0, 1, ":status: 200\nx-b: 2\n");
	put(&t, "\0\0\12\0\0\0\0\0\1abc", 12);
	lose(&t, RESP, 7);
	call(&t, RESP);
	data(&t, 0, 1, "de");
	put(&t, "\0\0\4\0\1\0\0\0\1f", 10);
	lose(&t, RESP, 3);
	call(&t, REQ);
	head(&t, H2_END_STREAM, 3, GET("/3") "x-a: 1\n");
	call(&t, RESP);
	head(&t, H2_END_STREAM, 3, ":status: 200\nx-b: 2\n");
	expect_from(&t, 0, true,
		"1 GET https://a.example/1 complete x-a=1 > 200 complete x-b=2 16-10<abc\n"
		"3 GET https://a.example/3 complete x-a=1 > 200 complete x-b=2\n");
	talk__free(&t);
}

static void a_gap_over_frames_costs_the_place_and_the_table(void **state)
{
	struct talk t;

	(void)state;
	talk__init(&t);
	preface(&t);
	call(&t, REQ);
	head(&t, H2_END_STREAM, 1, GET("/1") "x-a: 1\n");
	head(&t, 0, 3, POST("/3") "x-a: 1\n");
	data(&t, 0, 3, "abc");
	head(&t, H2_END_STREAM, 7, GET("/7"));
	call(&t, RESP);
	head(&t, 0, 1, ":status: 200\nx-b: 2\n");
	put(&t, "\0\0\12\0\0\0\0\0\1abc", 12);
	lose(&t, RESP, 100);
	lose(&t, REQ, 50);
	/* A call that goes on within a frame is passed over; one that begins with frames is where it goes on. */
	call(&t, RESP);
	put(&t, "remainder of a frame", 20);
	call(&t, REQ);
	put(&t, "\0\0\0\0\0\0\0\0\0", 9);
	call(&t, RESP);
	data(&t, H2_END_STREAM, 1, "more");
	head(&t, 0, 3, ":status: 200\nx-b: 2\n");
	data(&t, H2_END_STREAM, 3, "three");
	call(&t, REQ);
	head(&t, H2_END_STREAM, 9, GET("/9") "x-a: 1\n");
	call(&t, RESP);
	head(&t, H2_END_STREAM, 7, ":status: 200\nx-c: 3\n");
	head(&t, H2_END_STREAM, 9, ":status: 200\nx-c: 3\n");
	expect_from(&t, 0, true,
		"1 GET https://a.example/1 complete x-a=1 > 200 lost x-b=2 14-7<abc\n"
		"3 POST https://a.example/3 lost x-a=1 3<abc > 200 complete partial 5=three\n"
		"7 GET https://a.example/7 complete > 200 complete x-c=3\n"
		"9 GET /9 complete partial > 200 complete x-c=3\n");
	talk__free(&t);
}

static void a_gap_in_a_header_block(void **state)
{
	unsigned char b[256];
	struct talk t;
	size_t n;

	(void)state;
	talk__init(&t);
	preface(&t);
	call(&t, REQ);
	head(&t, H2_END_STREAM, 1, GET("/1") "x-a: 1\n");
	n = block(&t, REQ, GET("/3") "x-a: 2\n", b, sizeof(b));
	frame(&t, H2_HEADERS, H2_END_STREAM, 3, b, 2);
	put(&t, (unsigned char[]){0, 0, (unsigned char)(n - 2), H2_CONTINUATION, H2_END_HEADERS, 0, 0, 0, 3}, 9);
	put(&t, b + 2, 1);
	lose(&t, REQ, n - 3);
	call(&t, REQ);
	head(&t, H2_END_STREAM, 5, GET("/5") "x-a: 1\nx-c: 1\n");
	head(&t, H2_END_STREAM, 7, GET("/5") "x-c: 1\n");
	call(&t, RESP);
	for (uint32_t i = 1; i <= 7; i += 2)
		head(&t, H2_END_STREAM, i, ":status: 200\n");
	expect_from(&t, 0, true,
		"1 GET https://a.example/1 complete x-a=1 > 200 complete\n"
		"3   lost > 200 complete\n"
		"5 GET /5 complete partial x-c=1 > 200 complete\n"
		"7 GET /5 complete partial x-c=1 > 200 complete\n");
	talk__free(&t);
}

static void lost_requests_show_by_their_responses(void **state)
{
	struct talk t;
	size_t off;

	(void)state;
	talk__init(&t);
	preface(&t);
	call(&t, REQ);
	head(&t, H2_END_STREAM, 1, GET("/1"));
	call(&t, RESP);
	head(&t, H2_END_STREAM, 1, ":status: 200\n");
	call(&t, REQ);
	head(&t, H2_END_STREAM, 3, GET("/3"));
	off = t.steps[t.count - 1].n;
	t.steps[t.count - 1] = (struct kit_step){.is_request = REQ, .gap = off};
	call(&t, RESP);
	head(&t, H2_END_STREAM, 3, ":status: 203\n");
	call(&t, REQ);
	head(&t, H2_END_STREAM, 5, GET("/5"));
	call(&t, RESP);
	/* 1 is over and known to be: nothing new comes of it. */
	head(&t, H2_END_STREAM, 1, ":status: 500\n");
	head(&t, H2_END_STREAM, 5, ":status: 205\n");
	expect_from(&t, 0, true,
		"1 GET https://a.example/1 complete > 200 complete\n"
		"3   none > 203 complete\n"
		"5 GET /5 complete partial > 205 complete\n");
	talk__free(&t);
}

/* A conversation of many streams whose every field can be foretold from the stream's number. */

#define STREAMS 60

static uint64_t rnd_state;

static uint32_t rnd(uint32_t below)
{
	rnd_state ^= rnd_state << 13;
	rnd_state ^= rnd_state >> 7;
	rnd_state ^= rnd_state << 17;
	return (uint32_t)(rnd_state >> 33) % below;
}

static uint32_t pick(uint32_t stream, uint32_t salt, uint32_t below)
{
	return (uint32_t)(((uint64_t)stream * 2654435761u + salt * 40503u) >> 7) % below;
}

static const char *const methods[] = {"GET", "POST", "PATCH", "DELETE"};

static void request_lines(uint32_t s, char *out, size_t size)
{
	snprintf(out, size,
		":method: %s\n:scheme: https\n:path: /p%u\n:authority: a.example\nuser-agent: u%u\nx-a: a%u\n"
		"cookie: c=%u\ncookie: d=%u\nx-id: %u\n",
		methods[pick(s, 1, 4)], pick(s, 2, 6), pick(s, 3, 2), pick(s, 4, 5), pick(s, 5, 3), pick(s, 6, 3), s);
}

static void response_lines(uint32_t s, char *out, size_t size)
{
	snprintf(out, size, ":status: %u\nserver: kong\nx-b: b%u\nx-kong-request-id: %u\n", 200 + pick(s, 7, 300),
		pick(s, 8, 5), s);
}

static size_t body_of(uint32_t s, uint32_t salt, char *out, size_t size)
{
	size_t n = pick(s, salt, (uint32_t)size);

	for (size_t i = 0; i < n; i++)
		out[i] = (char)(s + i * 7 + salt);
	return n;
}

struct state {
	size_t sent[2], total[2];
	int stage[2]; /* 0 head to come, 1 body, 2 over */
};

static void next_frame(struct talk *t, struct state *st, uint32_t s, bool is_request)
{
	char lines[1024], body[3000];
	size_t n = body_of(s, is_request, body, sizeof(body)), part;
	bool trailers = pick(s, 20, 4) == 0 && !is_request;

	if (st->stage[is_request] == 0) {
		(is_request ? request_lines : response_lines)(s, lines, sizeof(lines));
		if (!is_request && pick(s, 21, 5) == 0)
			head(t, 0, s, ":status: 103\nlink: </x>\n");
		head(t, n || trailers ? 0 : H2_END_STREAM, s, lines);
		st->stage[is_request] = n || trailers ? 1 : 2;
		return;
	}
	part = n - st->sent[is_request];
	if (part > 700)
		part = 700;
	st->sent[is_request] += part;
	if (st->sent[is_request] < n || (part && trailers)) {
		frame(t, H2_DATA, 0, s, body + st->sent[is_request] - part, part);
		return;
	}
	if (trailers)
		head(t, H2_END_STREAM, s, "grpc-status: 0\nx-t: 1\n");
	else
		frame(t, H2_DATA, H2_END_STREAM, s, body + st->sent[is_request] - part, part);
	st->stage[is_request] = 2;
}

/* Two to six streams are open at any time; a call carries one to four frames. */
static void make_conversation(struct talk *t)
{
	struct state all[STREAMS] = {0};
	unsigned int over = 0, begun = 2;

	preface(t);
	while (over < begun && t->count < KIT_STEPS - 4) {
		bool is_request = rnd(2);

		call(t, is_request);
		for (uint32_t frames = 1 + rnd(4); frames; frames--) {
			unsigned int i = over + rnd(begun - over), tries = 0;

			/* A response follows its request's head. */
			while (tries++ < begun &&
				(all[i].stage[is_request] == 2 || (!is_request && all[i].stage[REQ] == 0)))
				i = over + (i + 1 - over) % (begun - over);
			if (all[i].stage[is_request] == 2 || (!is_request && all[i].stage[REQ] == 0))
				break;
			/* Streams begin in order. */
			if (is_request && all[i].stage[REQ] == 0)
				while (i > over && all[i - 1].stage[REQ] == 0)
					i--;
			next_frame(t, &all[i], 2 * i + 1, is_request);
		}
		while (over < begun && all[over].stage[0] == 2 && all[over].stage[1] == 2)
			over++;
		while (begun < STREAMS && begun < over + 6 && rnd(3))
			begun++;
		if (over == begun && begun < STREAMS)
			begun++;
	}
}

struct verdict {
	struct rig *rig;
	unsigned int exchanges, whole;
	uint64_t seen; /* bit per stream */
};

/* Each "name: value" of h is among the lines. */
static void headers_among(const struct headers *h, const char *lines)
{
	char line[512];

	for (uint32_t i = 0; i < h->count; i++) {
		struct span n = headers__name_at(h, i), v = headers__value_at(h, i);

		snprintf(line, sizeof(line), "\n%.*s: %.*s\n", (int)n.n, n.p, (int)v.n, v.p);
		if (!strstr(lines, line))
			fail_msg("%s is not in %s", line, lines);
	}
}

static void body_is_prefix(const struct message *m, uint32_t s, bool is_request)
{
	char body[3000];
	size_t n = body_of(s, is_request, body, sizeof(body));

	assert_true(m->body.n <= n);
	assert_memory_equal(m->body.p ? m->body.p : "", body, m->body.n);
	if (m->end != MSG_COMPLETE)
		return;
	assert_int_equal(m->body_len, n);
	if (!m->body_truncated)
		assert_int_equal(m->body.n, n);
}

static void judge(void *ctx, struct exchange *x)
{
	struct verdict *v = ctx;
	char lines[1024], cookie[128], path[32];
	uint32_t s = x->stream;

	assert_true((s & 1) && s < 2 * STREAMS);
	assert_false(v->seen >> (s / 2) & 1);
	v->seen |= 1ull << (s / 2);
	v->exchanges++;
	request_lines(s, lines, sizeof(lines));
	snprintf(cookie, sizeof(cookie), "cookie: c=%u; d=%u\n", pick(s, 5, 3), pick(s, 6, 3));
	strcat(lines, cookie);
	headers_among(&x->req.headers, lines);
	snprintf(path, sizeof(path), "/p%u", pick(s, 2, 6));
	if (x->req.method.n)
		assert_true(span_eq(message__method(&x->req), span_str(methods[pick(s, 1, 4)])));
	if (x->req.target.n)
		assert_true(span_eq(message__target(&x->req), span_str(path)));
	if (x->req.head_done && !x->req.head_partial) {
		assert_int_equal(x->req.headers.count, 4);
		assert_true(x->req.method.n && x->req.target.n && x->req.authority.n && x->req.scheme.n);
	}
	response_lines(s, lines, sizeof(lines));
	headers_among(&x->resp.headers, lines);
	if (x->resp.status)
		assert_int_equal(x->resp.status, 200 + pick(s, 7, 300));
	if (x->resp.head_done && !x->resp.head_partial)
		assert_int_equal(x->resp.headers.count, 3);
	headers_among(&x->resp.trailers, "\ngrpc-status: 0\nx-t: 1\n");
	assert_int_equal(x->req.trailers.count, 0);
	body_is_prefix(&x->req, s, REQ);
	body_is_prefix(&x->resp, s, RESP);
	if (x->req.end == MSG_COMPLETE && x->resp.end == MSG_COMPLETE && !x->req.head_partial &&
		!x->resp.head_partial && !x->resp.body_truncated && !x->req.body_truncated)
		v->whole++;
	exchange__free(x);
}

static struct verdict run_judged(const struct talk *t, unsigned int first, bool from_start, unsigned int loss)
{
	struct verdict v = {0};
	struct rig r;

	rig__init(&r);
	r.facts.from_start = from_start;
	r.env.sink = (struct exchange_sink){NULL, judge, &v};
	rig__open(&r);
	for (unsigned int i = first; i < t->count; i++) {
		const struct kit_step *s = &t->steps[i];
		const char *p = t->bytes.p + s->off;
		/* Bytes [from, to) of the call are lost; now and then the call is cut as TLS records cut it. */
		size_t from = s->n, to = s->n, cut = 0;

		if (loss && rnd(loss) == 0) {
			from = rnd(3) ? rnd((uint32_t)s->n + 1) : 0;
			to = from + rnd((uint32_t)(s->n - from) + 1);
		}
		if (rnd(4) == 0)
			cut = rnd((uint32_t)from + 1);
		if (cut)
			rig__feed(&r, s->is_request, p, cut, true);
		if (from > cut)
			rig__feed(&r, s->is_request, p + cut, from - cut, rnd(2) || !cut);
		if (to > from)
			assert_int_equal(http2_ops.gap(r.p, s->is_request, to - from, GAP_LOST, r.t), PROTO_GOOD);
		if (s->n > to)
			rig__feed(&r, s->is_request, p + to, s->n - to, to == 0);
	}
	assert_false(r.gave_up);
	rig__close(&r);
	rig__free(&r);
	return v;
}

static void never_a_wrong_value(void **state)
{
	unsigned long all = 0, late = 0, late_whole = 0, lossy = 0, lossy_whole = 0;

	(void)state;
	for (uint64_t seed = 1; seed <= 150; seed++) {
		struct verdict v;
		struct talk t;

		rnd_state = seed * 0x9e3779b97f4a7c15ull;
		talk__init(&t);
		make_conversation(&t);
		v = run_judged(&t, 0, true, 0);
		assert_true(v.exchanges >= STREAMS - 6);
		assert_true(v.whole >= STREAMS - 6);
		all += v.exchanges;
		v = run_judged(&t, 1 + rnd(t.count - 1), false, 0);
		late += v.exchanges;
		late_whole += v.whole;
		v = run_judged(&t, 0, true, 20);
		lossy += v.exchanges;
		lossy_whole += v.whole;
		(void)run_judged(&t, rnd(t.count), false, 5);
		talk__free(&t);
	}
	assert_true(late > all / 4 && late_whole > 0);
	assert_true(lossy > all / 2 && lossy_whole > 0);
	print_message(
		"%lu; late %lu, whole %lu; with losses %lu, whole %lu\n", all, late, late_whole, lossy, lossy_whole);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(joined_late),
		cmocka_unit_test(joined_before_the_first_byte_after_all),
		cmocka_unit_test(joined_within_a_response),
		cmocka_unit_test(late_trailers_are_no_request),
		cmocka_unit_test(a_gap_in_a_body_costs_the_body),
		cmocka_unit_test(a_gap_over_frames_costs_the_place_and_the_table),
		cmocka_unit_test(a_gap_in_a_header_block),
		cmocka_unit_test(lost_requests_show_by_their_responses),
		cmocka_unit_test(never_a_wrong_value),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
