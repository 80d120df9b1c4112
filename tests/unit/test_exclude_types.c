/* Bodies that are not kept for their media type: which they are, and what the wire does with them. */
#include "wire_rig.h"

static char *list[] = {"image/*", "Application/PDF", "text/csv"};
static const struct media_types types = {.v = list, .n = 3};

/* In a piece of memory of its own size. */
static bool have(const struct media_types *l, const char *value)
{
	size_t n = strlen(value);
	char *copy = malloc(n ? n : 1);
	bool r;

	assert_non_null(copy);
	memcpy(copy, value, n);
	r = media_types__have(l, span_of(copy, n));
	free(copy);
	return r;
}

static void matching(void **state)
{
	static const char *const in[] = {"image/png", "IMAGE/PNG", "image/svg+xml; charset=utf-8", "application/pdf",
		"APPLICATION/pdf;x", " \tapplication/pdf\t ", "application/pdf ; a=b", "application/pdf a=b",
		"text/csv;header=present", "text/html, image/png", "text/html,,image/gif;q=1 , a/b",
		"text/html; a=\"x, y\", image/png", "text/html; a=\"\\\"\", image/png", "image/"};
	static const char *const out[] = {"", ";", ",", ", ,", "image", "imag", "images/png", "application/pdfx",
		"application/pd", "application", "x-image/png", "text/plain", "text/csv2", "text/html; a=\"image/png\"",
		"text/html; a=\", image/png\"", "text/html; a=\"\\\", image/png\"", "text/html; type=image/png",
		"text/html; a=\", image/png", "text/html; a=\"\\", "*/*", "image"};
	static char *others[] = {"*/*", "*", ""};
	const struct media_types none = {0}, odd = {.v = others, .n = 3};

	(void)state;
	for (size_t i = 0; i < sizeof(in) / sizeof(in[0]); i++) {
		if (!have(&types, in[i]))
			fail_msg("not matched: %s", in[i]);
		assert_false(have(&none, in[i]));
	}
	for (size_t i = 0; i < sizeof(out) / sizeof(out[0]); i++)
		if (have(&types, out[i]))
			fail_msg("matched: %s", out[i]);
	/* No configuration has such: and they are read without harm. */
	(void)have(&odd, "image/png");
}

static void open_with(struct rig *r, struct media_types l, enum conn_origin origin)
{
	struct wire_limits limits;

	wire_limits_default(&limits);
	limits.exclude_types = l;
	rig__init_with(r, &limits);
	rig__open(r, origin);
}

static void want(struct rig *r, const char *text)
{
	assert_string_equal(rig_text(&r->brief), text);
	buf__clear(&r->brief);
}

#define POST(type) "POST /a HTTP/1.1\r\n" type "Content-Length: 3\r\n\r\nabc"
#define OK(type) "HTTP/1.1 200 OK\r\n" type "Content-Length: 5\r\n\r\nhello"
#define PNG "Content-Type: image/png\r\n"
#define JSON "Content-Type: application/json\r\n"

static void of_http1(void **state)
{
	static const struct {
		const char *request, *response, *want;
	} cases[] = {
		{POST(PNG), OK(JSON), "POST /a 1.1 complete 3 \"\" excluded > 200 1.1 complete 5 \"hello\"\n"},
		{POST(JSON), OK(PNG), "POST /a 1.1 complete 3 \"abc\" > 200 1.1 complete 5 \"\" excluded\n"},
		{POST("cONTENT-tYPE:TEXT/CSV;charset=x\r\n"), OK(""),
			"POST /a 1.1 complete 3 \"\" excluded > 200 1.1 complete 5 \"hello\"\n"},
		{POST(""), OK("Content-Type:\r\n"), "POST /a 1.1 complete 3 \"abc\" > 200 1.1 complete 5 \"hello\"\n"},
		/* One of several is enough, whichever. */
		{POST(PNG JSON), OK(JSON PNG),
			"POST /a 1.1 complete 3 \"\" excluded > 200 1.1 complete 5 \"\" excluded\n"},
		{POST(JSON "Content-Type: a/b, text/csv\r\n"), OK(JSON JSON),
			"POST /a 1.1 complete 3 \"\" excluded > 200 1.1 complete 5 \"hello\"\n"},
		/* An interim response has no say. */
		{POST(JSON), "HTTP/1.1 103 Hints\r\n" PNG "\r\n" OK(JSON),
			"POST /a 1.1 complete 3 \"abc\" > 200 1.1 complete 5 \"hello\" interim 1\n"},
		{POST(JSON), "HTTP/1.1 103 Hints\r\n" JSON "\r\n" OK(PNG),
			"POST /a 1.1 complete 3 \"abc\" > 200 1.1 complete 5 \"\" interim 1 excluded\n"},
		/* Chunks are counted as ever. */
		{"POST /a HTTP/1.1\r\n" PNG "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n",
			"HTTP/1.1 200 OK\r\n" PNG "Transfer-Encoding: chunked\r\n\r\n4\r\nabcd\r\n0\r\n\r\n",
			"POST /a 1.1 complete 5 \"\" excluded > 200 1.1 complete 4 \"\" excluded\n"},
		/* No body is none. */
		{"HEAD /a HTTP/1.1\r\n" PNG "\r\n", "HTTP/1.1 200 OK\r\n" PNG "Content-Length: 5\r\n\r\n",
			"HEAD /a 1.1 complete 0 \"\" excluded > 200 1.1 complete 0 \"\" excluded\n"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		const struct talk_turn talk[] = {
			{DIR_IN, span_str(cases[i].request)}, {DIR_OUT, span_str(cases[i].response)}};

		for (int cut = CUT_WHOLE; cut <= CUT_BYTES; cut++) {
			struct rig r;

			open_with(&r, types, CONN_ACCEPTED);
			rig__talk(&r, talk, 2, cut, 0);
			want(&r, cases[i].want);
			rig__free(&r);
		}
	}
}

/* Nothing of them is kept anyway, and nobody asks why. */
static void of_an_upstream_leg(void **state)
{
	struct rig r;

	(void)state;
	open_with(&r, types, CONN_CONNECTED);
	rig__out(&r, POST(PNG));
	rig__in(&r, OK(PNG));
	want(&r, "POST /a 1.1 complete 3 \"\" > 200 1.1 complete 5 \"\"\n");
	rig__free(&r);
}

#define LONG 80000

/* The kernel learns with the head that nothing of it is wanted, though it is shorter than the limit. */
static void the_rest_is_not_copied(void **state)
{
	static const char *const heads[] = {"HTTP/1.1 200 OK\r\n" JSON "Content-Length: 80000\r\n\r\n",
		"HTTP/1.1 200 OK\r\n" PNG "Content-Length: 80000\r\n\r\n"};
	size_t head = strlen(heads[0]);
	struct rig r;

	(void)state;
	open_with(&r, types, CONN_ACCEPTED);
	rig__in(&r, "GET /a HTTP/1.1\r\n\r\n");
	rig__out(&r, heads[0]);
	assert_int_equal(r.skip[DIR_OUT].until, head + LONG);
	assert_int_equal(r.skip[DIR_OUT].from, head + LONG);
	rig__free(&r);
	open_with(&r, types, CONN_ACCEPTED);
	rig__in(&r, "GET /a HTTP/1.1\r\n\r\n");
	rig__out(&r, heads[1]);
	head = strlen(heads[1]);
	assert_int_equal(r.skip[DIR_OUT].until, head + LONG);
	assert_int_equal(r.skip[DIR_OUT].from, head);
	rig__lose(&r, DIR_OUT, LONG, GAP_LIMIT);
	want(&r, "GET /a 1.1 complete 0 \"\" > 200 1.1 complete 80000 \"\" gap 80000/4 excluded\n");
	rig__free(&r);
}

static struct media_types one_of_its_own(const char *type)
{
	char **v = malloc(sizeof(*v));

	assert_non_null(v);
	*v = strdup(type);
	assert_non_null(*v);
	return (struct media_types){.v = v, .n = 1};
}

static void drop(struct media_types l)
{
	free(l.v[0]);
	free((void *)(uintptr_t)l.v);
}

/* A new list is that of the heads after it, on open connections, too; the old one is not looked at again. */
static void a_reload(void **state)
{
	struct media_types first = one_of_its_own("image/png"), second = one_of_its_own("application/json");
	struct rig r;

	(void)state;
	open_with(&r, first, CONN_ACCEPTED);
	rig__in(&r, "POST /a HTTP/1.1\r\n" PNG "Content-Length: 3\r\n\r\na");
	conns__set_exclude_types(r.c, second);
	drop(first);
	rig__in(&r, "bc");
	rig__out(&r, OK(JSON));
	rig__in(&r, POST(PNG));
	conns__set_exclude_types(r.c, (struct media_types){0});
	drop(second);
	rig__out(&r, OK(JSON));
	want(&r, "POST /a 1.1 complete 3 \"\" excluded > 200 1.1 complete 5 \"\" excluded\n"
		 "POST /a 1.1 complete 3 \"abc\" > 200 1.1 complete 5 \"hello\"\n");
	rig__free(&r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(matching),
		cmocka_unit_test(of_http1),
		cmocka_unit_test(of_an_upstream_leg),
		cmocka_unit_test(the_rest_is_not_copied),
		cmocka_unit_test(a_reload),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
