/* HAR entries: the rules of HAR 1.2 (what must be there and of which type), and what each part of an event becomes. */
#include <string.h>

#include <jansson.h>

#include "kt_cmocka.h"

#include "ship/har.h"
#include "ship/json_view.h"

#define REQUEST_HEADERS                                                                                                \
	"{\"host\":\"a.example\",\"content-type\":\"application/json\",\"cookie\":[\"a=1; b=\\\"x;y\\\"\",\"c\"],"     \
	"\"x-list\":[\"1\",\"2\"]}"
#define RESPONSE_HEADERS                                                                                               \
	"{\"content-type\":\"text/plain\",\"location\":\"/next\",\"set-cookie\":"                                      \
	"[\"s=1; Path=/; HttpOnly; secure; path=/again\",\"t=\"]}"
#define KONG                                                                                                           \
	"{\"protocol\":\"h2\",\"service\":{\"address\":\"10.0.0.7\",\"port\":80},\"latency\":{\"total\":12.345,"       \
	"\"first_byte\":10.5}}"

static char json[8192];

static struct event make(const char *request, const char *response)
{
	snprintf(json, sizeof(json),
		"{\"request\":{\"time\":\"x\",%s\"headers\":" REQUEST_HEADERS
		"},\"response\":{%s\"status\":200,\"headers\":" RESPONSE_HEADERS "},\"metadata\":{\"kong\":" KONG "}}",
		request, response);
	return (struct event){
		.json = span_str(json),
		.wall_ns = 1795451904007000000ull,
		.total_ns = 12345678,
		.kong_ms = 1,
		.upstream_ms = 10,
		.request_bytes = 7,
		.response_bytes = 70,
		.verb = SPAN_LIT("POST"),
		.uri = SPAN_LIT("https://a.example/p?x=1&y=%20a+b&z&=q&%zz=%e9"),
		.path = SPAN_LIT("/p"),
		.user = SPAN_LIT("al\"ice"),
		.status = 200,
		.weight = 1,
	};
}

static json_t *entry_of(const struct event *e)
{
	json_error_t error;
	struct buf b;
	json_t *entry;

	buf__init(&b, 1 << 20);
	assert_int_equal(har_entry(&b, e), 0);
	entry = json_loadb(b.p, b.n, 0, &error);
	if (!entry)
		fail_msg("%s at %d in %.*s", error.text, error.position, (int)b.n, b.p);
	buf__free(&b);
	return entry;
}

static const json_t *at(const json_t *v, const char *path)
{
	char name[64];

	while (*path) {
		size_t n = strcspn(path, ".");

		snprintf(name, sizeof(name), "%.*s", (int)n, path);
		v = json_is_array(v) ? json_array_get(v, (size_t)atoi(name)) : json_object_get(v, name);
		path += n + (path[n] == '.');
	}
	return v;
}

static void text_is(const json_t *v, const char *path, const char *wanted)
{
	const json_t *got = at(v, path);

	if (!json_is_string(got))
		fail_msg("%s is no text", path);
	assert_string_equal(json_string_value(got), wanted);
}

/* What the specification demands of each object: name and type (s text, n number, a array, o object). */
static void needs(const json_t *v, const char *path, const char *const *members)
{
	const json_t *object = at(v, path);

	assert_true(json_is_object(object));
	for (; *members; members++) {
		const json_t *m = json_object_get(object, *members + 1);

		if (!m || !((**members == 's' && json_is_string(m)) || (**members == 'n' && json_is_number(m)) ||
				  (**members == 'a' && json_is_array(m)) || (**members == 'o' && json_is_object(m))))
			fail_msg("%s.%s is missing or of another type", path, *members + 1);
	}
}

static void pairs_are_pairs(const json_t *list)
{
	static const char *const pair[] = {"sname", "svalue", NULL};
	size_t i;
	json_t *item;

	json_array_foreach(list, i, item) needs(item, "", pair);
}

/* Members that HAR has no name for begin with an underscore. */
static void only_known(const json_t *object, const char *known)
{
	const char *name;
	json_t *value;

	json_object_foreach((json_t *)object, name, value)
	{
		char word[64];

		snprintf(word, sizeof(word), " %s ", name);
		if (name[0] != '_' && !strstr(known, word))
			fail_msg("HAR 1.2 knows no %s", name);
	}
}

static void follows_the_rules(const json_t *e)
{
	static const char *const entry[] = {
		"sstartedDateTime", "ntime", "orequest", "oresponse", "ocache", "otimings", NULL};
	static const char *const request[] = {"smethod", "surl", "shttpVersion", "acookies", "aheaders", "aqueryString",
		"nheadersSize", "nbodySize", NULL};
	static const char *const response[] = {"nstatus", "sstatusText", "shttpVersion", "acookies", "aheaders",
		"ocontent", "sredirectURL", "nheadersSize", "nbodySize", NULL};
	static const char *const content[] = {"nsize", "smimeType", NULL};
	static const char *const timings[] = {"nsend", "nwait", "nreceive", NULL};
	double sum;

	needs(e, "", entry);
	needs(e, "request", request);
	needs(e, "response", response);
	needs(e, "response.content", content);
	needs(e, "timings", timings);
	pairs_are_pairs(at(e, "request.headers"));
	pairs_are_pairs(at(e, "request.queryString"));
	pairs_are_pairs(at(e, "request.cookies"));
	pairs_are_pairs(at(e, "response.headers"));
	pairs_are_pairs(at(e, "response.cookies"));
	only_known(e, " startedDateTime time request response cache timings serverIPAddress comment ");
	only_known(
		at(e, "request"), " method url httpVersion cookies headers queryString postData headersSize bodySize ");
	only_known(at(e, "response"),
		" status statusText httpVersion cookies headers content redirectURL headersSize bodySize ");
	only_known(at(e, "response.content"), " size mimeType text encoding ");
	only_known(at(e, "timings"), " blocked dns connect send wait receive ssl ");
	sum = json_number_value(at(e, "timings.send")) + json_number_value(at(e, "timings.wait")) +
	      json_number_value(at(e, "timings.receive"));
	assert_true(sum - json_number_value(at(e, "time")) < 1e-6 && json_number_value(at(e, "time")) - sum < 1e-6);
	assert_int_equal(strlen(json_string_value(at(e, "startedDateTime"))), 24);
}

static void test_entry(void **state)
{
	struct event e = make("\"transfer_encoding\":\"json\",\"body\":{\"a\":12345678901234567890,\"b\":\"\\\"\"},",
		"\"transfer_encoding\":\"base64\",\"body\":\"Z3LDvMOf\",");
	json_t *entry = entry_of(&e);

	(void)state;
	follows_the_rules(entry);
	text_is(entry, "startedDateTime", "2026-11-23T16:38:24.007Z");
	text_is(entry, "request.method", "POST");
	text_is(entry, "request.url", "https://a.example/p?x=1&y=%20a+b&z&=q&%zz=%e9");
	text_is(entry, "request.httpVersion", "HTTP/2");
	text_is(entry, "request.postData.mimeType", "application/json");
	/* To the digit. */
	text_is(entry, "request.postData.text", "{\"a\":12345678901234567890,\"b\":\"\\\"\"}");
	text_is(entry, "response.content.text", "gr\xc3\xbc\xc3\x9f");
	assert_null(at(entry, "response.content.encoding"));
	text_is(entry, "response.redirectURL", "/next");
	text_is(entry, "serverIPAddress", "10.0.0.7");
	text_is(entry, "_user", "al\"ice");
	text_is(entry, "_kong.protocol", "h2");
	assert_true(json_number_value(at(entry, "timings.wait")) == 10.5);
	assert_int_equal(json_integer_value(at(entry, "response.bodySize")), 70);
	assert_int_equal(json_array_size(at(entry, "request.headers")), 6);
	json_decref(entry);
}

static void test_lists(void **state)
{
	struct event e = make("", "");
	json_t *entry = entry_of(&e);

	(void)state;
	follows_the_rules(entry);
	assert_null(at(entry, "request.postData"));
	assert_null(at(entry, "response.content.text"));
	assert_int_equal(json_array_size(at(entry, "request.queryString")), 5);
	text_is(entry, "request.queryString.1.value", " a b");
	text_is(entry, "request.queryString.2.name", "z");
	text_is(entry, "request.queryString.3.value", "q");
	text_is(entry, "request.queryString.4.name", "%zz");
	text_is(entry, "request.queryString.4.value", "\xef\xbf\xbd");
	text_is(entry, "request.cookies.0.value", "1");
	text_is(entry, "request.cookies.1.name", "b");
	text_is(entry, "response.cookies.0.name", "s");
	text_is(entry, "response.cookies.0.path", "/");
	assert_true(json_is_true(at(entry, "response.cookies.0.httpOnly")));
	assert_true(json_is_true(at(entry, "response.cookies.0.secure")));
	assert_int_equal(json_array_size(at(entry, "response.cookies")), 2);
	json_decref(entry);
}

static void test_binary_stays_base64(void **state)
{
	struct event e = make("\"transfer_encoding\":\"base64\",\"body\":\"/wD/\",",
		"\"transfer_encoding\":\"base64\",\"body\":\"/wD/\",");
	json_t *entry = entry_of(&e);

	(void)state;
	text_is(entry, "response.content.text", "/wD/");
	text_is(entry, "response.content.encoding", "base64");
	text_is(entry, "request.postData.text", "/wD/");
	text_is(entry, "request.postData._encoding", "base64");
	json_decref(entry);
}

/* An event without a response, without metadata, with nothing in it at all: still an entry by the rules. */
static void test_little_is_known(void **state)
{
	static const char *const texts[] = {
		"{\"request\":{\"headers\":{}}}", "{}", "", "[]", "{\"request\":7,\"response\":[]}"};

	(void)state;
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		struct event e = {.json = span_str(texts[i]), .kong_ms = -1, .upstream_ms = -1, .incomplete = true};
		json_t *entry = entry_of(&e);

		follows_the_rules(entry);
		text_is(entry, "comment", "incomplete");
		assert_int_equal(json_integer_value(at(entry, "response.status")), 0);
		json_decref(entry);
	}
}

static void test_full_buffer(void **state)
{
	struct event e = make("\"transfer_encoding\":\"json\",\"body\":[],", "");
	struct buf whole, b;

	(void)state;
	buf__init(&whole, 1 << 20);
	assert_int_equal(har_entry(&whole, &e), 0);
	for (size_t max = 0; max < whole.n; max++) {
		buf__init(&b, max);
		assert_int_equal(har_entry(&b, &e), -28);
		assert_int_equal(b.n, 0);
		buf__free(&b);
	}
	buf__free(&whole);
}

static void test_view(void **state)
{
	struct span v = SPAN_LIT(" { \"a\" : [1, {\"x\":\"]\"} ,\"s\\\"]\" ] , \"b\":{\"c\":12.9}, \"d\":null}");
	struct view_walk w;
	struct span key, item;
	unsigned n = 0;

	(void)state;
	w = view_walk(view_member(v, "a"));
	while (view_walk__next(&w, &key, &item))
		n++;
	assert_int_equal(n, 3);
	assert_int_equal(view_integer(view_at(v, "b.c")), 12);
	assert_true(span_eq(view_member(v, "d"), SPAN_LIT("null")));
	assert_int_equal(view_member(v, "e").n, 0);
	assert_int_equal(view_at(v, "d.x").n, 0);
	assert_int_equal(view_integer(SPAN_LIT("x")), -1);
	/* Cut anywhere, it stays inside. */
	for (size_t cut = 0; cut < v.n; cut++) {
		char *copy = malloc(cut ? cut : 1);

		memcpy(copy, v.p, cut);
		w = view_walk(span_of(copy, cut));
		for (n = 0; view_walk__next(&w, &key, &item) && n < 100; n++)
			assert_true(item.p >= copy && item.p + item.n <= copy + cut);
		assert_true(n < 100);
		view_at(span_of(copy, cut), "b.c");
		free(copy);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_entry),
		cmocka_unit_test(test_lists),
		cmocka_unit_test(test_binary_stays_base64),
		cmocka_unit_test(test_little_is_known),
		cmocka_unit_test(test_full_buffer),
		cmocka_unit_test(test_view),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
