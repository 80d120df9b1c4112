/* Masks: what is named goes, everything else stays byte for byte; and no way round them. */
#include <errno.h>

#include "event_kit.h"

#include "moesif/json_out.h"
#include "moesif/json_plain.h"
#include "moesif/json_scan.h"
#include "moesif/mask_json.h"

static char *masked(const char *text, const char *a, const char *b)
{
	bool did, breaks;
	struct names set;
	struct buf o;
	char *r = NULL;

	names__init(&set, false);
	if (a)
		assert_int_equal(names__add(&set, span_str(a)), 0);
	if (b)
		assert_int_equal(names__add(&set, span_str(b)), 0);
	buf__init(&o, strlen(text));
	if (mask_json(&o, span_str(text), &set, &did, &breaks) == 0) {
		r = strndup(o.p ? o.p : "", o.n);
		assert_int_equal(did, strcmp(r, text) != 0);
		assert_true(json_valid(span_str(r), NULL));
	}
	buf__free(&o);
	names__free(&set);
	return r;
}

static void test_json_masks(void **state)
{
	static const struct {
		const char *in, *want;
	} t[] = {
		{"{\"a\":[],\"p\":{\"password\":\"x\",\"q\":[{\"password\":1,\"k\":2}]},\"password\":\"z\"}",
			"{\"a\":[],\"p\":{\"q\":[{\"k\":2}]}}"},
		{"{\"password\":1}", "{}"},
		{"{ \"password\" : 1 }", "{ }"},
		{"{\"password\":1,\"a\":2}", "{\"a\":2}"},
		{"{\"a\":2,\"password\":1}", "{\"a\":2}"},
		{"{\"a\":1,\"password\":{\"x\":[1,{\"y\":2}]},\"b\":3}", "{\"a\":1,\"b\":3}"},
		{"{\"password\":1,\"password\":2}", "{}"},
		{"{\"password\":1,\"secret\":2,\"b\":3,\"secret\":4}", "{\"b\":3}"},
		{"{ \"a\" : 1.50 , \"b\" : 12345678901234567890 }", "{ \"a\" : 1.50 , \"b\" : 12345678901234567890 }"},
		{"{\"pass\\u0077ord\":1,\"x\":\"\\u0077\"}", "{\"x\":\"\\u0077\"}"},
		{"{\"Password\":1,\"xpassword\":2,\"passwor\":3}", "{\"Password\":1,\"xpassword\":2,\"passwor\":3}"},
		{"[[{\"password\":1}],{\"a\":{\"password\":1},\"password\":2}]", "[[{}],{\"a\":{}}]"},
		{"\"password\"", "\"password\""},
		{" [ 1 , 2 ] ", " [ 1 , 2 ] "},
		{"{\"a\":1 , \"password\":1 , \"b\":2}", "{\"a\":1 , \"b\":2}"},
		{"{\n\"password\":1,\n\"b\":2\n}", "{\n\"b\":2\n}"},
		{"{\"a\":{\"secret\":1},\"b\":{\"c\":{\"secret\":{}}},\"c\":\"password\"}",
			"{\"a\":{},\"b\":{\"c\":{}},\"c\":\"password\"}"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
		char *r = masked(t[i].in, "password", "secret");

		assert_non_null(r);
		assert_string_equal(r, t[i].want);
		free(r);
	}
}

static void test_not_json(void **state)
{
	static const char *const bad[] = {"", "{", "{\"a\"}", "{\"a\":1,}", "{,}", "[1,]", "[1 2]", "{\"a\":1}x", "nul",
		"01", "1.", ".5", "+1", "1e", "-", "\"\x01\"", "\"\\x\"", "\"\\u12\"", "\"\\ud800\"",
		"\"\\udc00\\ud800\"", "\"\xff\"", "\"\xc0\x80\"", "\"\xed\xa0\x80\"", "'a'", "{a:1}", "[1}",
		"{\"a\":1]", "tru", "truex", "\"", "{\"password\":}", "\xef\xbb\xbf{}", "NaN", "[1]]",
		"{\"password\":1", "\v1", "// x\n1"};

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		assert_null(masked(bad[i], "password", NULL));
		assert_false(json_valid(span_str(bad[i]), NULL));
	}
}

/* Cut anywhere, a text that began as one value in braces is none any more. */
static void test_every_prefix(void **state)
{
	const char *text = "{\"a\":[1,-2.5e+3,true,null,\"\\u00e9\\ud83d\\ude00\xc3\xa9\"],\"password\":{\"b\":{}}}";

	(void)state;
	for (size_t n = 0; n < strlen(text); n++)
		assert_false(json_valid(span_of(text, n), NULL));
	assert_true(json_valid(span_str(text), NULL));
}

static void test_depth(void **state)
{
	struct buf b;

	(void)state;
	buf__init(&b, 1 << 20);
	for (int n = JSON_DEPTH_MAX; n <= JSON_DEPTH_MAX + 1; n++) {
		buf__clear(&b);
		for (int i = 0; i < n; i++)
			buf__append_str(&b, i % 2 ? "[" : "{\"a\":");
		buf__append_str(&b, "1");
		for (int i = n; i-- > 0;)
			buf__append_str(&b, i % 2 ? "]" : "}");
		assert_int_equal(json_valid(buf_span(&b), NULL), n == JSON_DEPTH_MAX);
	}
	buf__free(&b);
}

/* Work grows with the text, not with masks^depth as in the plugin: 1 MiB with 5 masks at depth 500 in no time. */
static void test_linear(void **state)
{
	struct names set;
	struct buf in, o;
	bool did, breaks;

	(void)state;
	names__init(&set, false);
	names__add(&set, SPAN_LIT("m0"));
	names__add(&set, SPAN_LIT("m1"));
	names__add(&set, SPAN_LIT("m2"));
	names__add(&set, SPAN_LIT("m3"));
	names__add(&set, SPAN_LIT("m4"));
	buf__init(&in, 1 << 20);
	buf__init(&o, 1 << 20);
	for (int i = 0; i < 500; i++)
		buf__printf(&in, "{\"m%d\":1,\"k\":", i % 5);
	buf__append_str(&in, "[");
	while (in.n < (1 << 20) - 4096)
		buf__append_str(&in, "{\"m3\":{\"m1\":[]}},");
	buf__append_str(&in, "0]");
	for (int i = 0; i < 500; i++)
		buf__append_str(&in, "}");
	assert_int_equal(mask_json(&o, buf_span(&in), &set, &did, &breaks), 0);
	assert_true(did);
	assert_null(memmem(o.p, o.n, "\"m", 2));
	buf__free(&in);
	buf__free(&o);
	names__free(&set);
}

static uint64_t dice_state = 1;

static unsigned roll(unsigned n)
{
	dice_state = dice_state * 6364136223846793005ULL + 1442695040888963407ULL;
	return (unsigned)(dice_state >> 33) % n;
}

static void random_space(struct buf *b)
{
	if (!roll(4))
		buf__append(b, &" \n\t "[roll(4)], 1);
}

static void random_value(struct buf *b, int depth)
{
	static const char *const keys[] = {"a", "b", "password", "pass\\u0077ord", "secret", "Secret", "\xc3\xa9", ""};
	static const char *const plain[] = {"1", "-2.50e+3", "true", "null", "\"x\\\"y\"", "\"password\"", "[]", "{}"};
	unsigned kind = depth ? roll(3) : 0, n = roll(5);

	random_space(b);
	if (kind == 0)
		buf__append_str(b, plain[roll(8)]);
	else
		buf__append_char(b, kind == 1 ? '{' : '[');
	for (unsigned i = 0; kind && i < n; i++) {
		random_space(b);
		if (kind == 1)
			buf__printf(b, "\"%s\"%s:", keys[roll(8)], roll(3) ? "" : " ");
		random_value(b, depth - 1);
		if (i + 1 < n)
			buf__append_char(b, ',');
	}
	random_space(b);
	if (kind)
		buf__append_char(b, kind == 1 ? '}' : ']');
	random_space(b);
}

static void strip(json_t *v)
{
	json_t *child;
	const char *key;
	size_t i;

	json_object_del(v, "password");
	json_object_del(v, "secret");
	json_object_foreach(v, key, child) strip(child);
	json_array_foreach(v, i, child) strip(child);
}

/* What remains is what a parser would leave that takes the same names out. */
static void test_against_a_parser(void **state)
{
	struct buf b;

	(void)state;
	buf__init(&b, 1 << 20);
	for (int i = 0; i < 20000; i++) {
		json_t *want, *got;
		char *r;

		buf__clear(&b);
		random_value(&b, 6);
		buf__append_char(&b, 0);
		r = masked(b.p, "password", "secret");
		assert_non_null(r);
		want = json_loads(b.p, JSON_DECODE_ANY, NULL);
		got = json_loads(r, JSON_DECODE_ANY, NULL);
		assert_non_null(want);
		strip(want);
		assert_true(json_equal(want, got));
		json_decref(want);
		json_decref(got);
		free(r);
	}
	buf__free(&b);
}

static void test_header_masks(void **state)
{
	(void)state;
	set_list(&opt.request_header_masks, "X-Secret", "authorization");
	set_list(&opt.response_header_masks, "set-COOKIE", NULL);
	apply();
	run((struct txn_spec){.creq = "GET / HTTP/1.1\nHost: a\nx-secret: canary\nX-SECRET: canary\nAuthorization: "
				      "Basic dXNlcjpwYXNz\n\n",
		.cresp = "HTTP/1.1 200 OK\nSet-Cookie: canary\nX-Secret: shown\n\n"});
	assert_null(strstr(out.json, "canary"));
	assert_string_equal(txn_str(&out, "request.headers.x-secret"), "(none)");
	assert_string_equal(txn_str(&out, "response.headers.x-secret"), "shown");
	/* Identified before masked. */
	assert_string_equal(txn_str(&out, "user_id"), "user");
	set_list(&opt.request_header_masks, "x-consumer-username", NULL);
	apply();
	call_with("", "X-Consumer-ID: i\nX-Consumer-Username: alice\n", 200);
	assert_string_equal(txn_str(&out, "user_id"), "alice");
	assert_string_equal(txn_str(&out, "request.headers.x-consumer-username"), "(none)");
}

static void test_redact_credentials(void **state)
{
	(void)state;
	opt.redact_credentials = true;
	set_text(&opt.authorization_header_name, "authorization,x-own-token");
	apply();
	run((struct txn_spec){
		.creq = "GET /p?apikey=CANARY&API_KEY=CANARY&access_token=CANARY&jwt=CANARY&x=1 HTTP/1.1\nHost: a\n"
			"Authorization: Basic dXNlcjpDQU5BUlk=\nCookie: s=CANARY\nProxy-Authorization: CANARY\n"
			"X-API-Key: CANARY\nX-Own-Token: CANARY\n\n",
		.cresp = "HTTP/1.1 200 OK\nSet-Cookie: a=CANARY\nSet-Cookie: b=CANARY\n\n",
		.ureq = "GET / HTTP/1.1\n" UP
			"X-Consumer-ID: i\nX-Consumer-Username: alice\nX-Credential-Identifier: c\n\n",
		.uresp = OK_UP});
	assert_null(strstr(out.json, "CANARY"));
	assert_null(strstr(out.json, "dXNlcjpDQU5BUlk"));
	assert_string_equal(txn_str(&out, "user_id"), "alice");
	assert_string_equal(txn_str(&out, "request.headers.authorization"), "*****");
	assert_string_equal(txn_str(&out, "response.headers.set-cookie.1"), "*****");
	assert_string_equal(txn_str(&out, "request.uri"),
		"http://a:8000/p?apikey=*****&API_KEY=*****&access_token=*****&jwt=*****&x=1");
	assert_int_equal(strlen(txn_str(&out, "session_token")), 32);
}

/* What is hidden in the URI is not shown in the headers that repeat it. */
static void test_addresses_in_headers(void **state)
{
	(void)state;
	set_list(&opt.request_query_masks, "token", NULL);
	apply();
	run((struct txn_spec){.creq = "GET /p?token=CANARY HTTP/1.1\nHost: a\nReferer: "
				      "https://x.example/p?a=1&token=CANARY&t%6Fken=CANARY#token=CANARY&b=2\nX-Url: "
				      "/?token=shown\n\n",
		.cresp = "HTTP/1.1 302 Found\nLocation: /q?token=CANARY\nContent-Location: ?token=CANARY\n\n"});
	assert_null(strstr(out.json, "CANARY"));
	assert_string_equal(txn_str(&out, "request.headers.referer"),
		"https://x.example/p?a=1&token=*****&t%6Fken=*****#token=*****&b=2");
	assert_string_equal(txn_str(&out, "request.headers.x-url"), "/?token=shown");
	assert_string_equal(txn_str(&out, "response.headers.location"), "/q?token=*****");
	set_list(&opt.request_query_masks, NULL, NULL);
	opt.redact_credentials = true;
	apply();
	run((struct txn_spec){
		.creq = "GET / HTTP/1.1\nHost: a\nReferer: http://a/?apikey=CANARY\nReferer: http://a/\n\n",
		.cresp = "HTTP/1.1 302 Found\nLocation: https://b/cb#access_token=CANARY&state=1?x=#\n\n"});
	assert_null(strstr(out.json, "CANARY"));
	assert_string_equal(txn_str(&out, "request.headers.referer.0"), "http://a/?apikey=*****");
	assert_string_equal(txn_str(&out, "request.headers.referer.1"), "http://a/");
	assert_string_equal(txn_str(&out, "response.headers.location"), "https://b/cb#access_token=*****&state=1?x=#");
}

static void test_wrong_names_refused(void **state)
{
	(void)state;
	set_list(&opt.request_header_masks, "x y", NULL);
	assert_int_equal(moesif__set_options(m, &opt), -EINVAL);
	set_list(&opt.request_header_masks, "ok", NULL);
	set_list(&opt.request_body_masks, "", NULL);
	assert_int_equal(moesif__set_options(m, &opt), -EINVAL);
	set_list(&opt.request_body_masks, "any key: at all", NULL);
	assert_int_equal(moesif__set_options(m, &opt), 0);
	set_text(&opt.user_id_header, "a:b");
	assert_int_equal(moesif__set_options(m, &opt), -EINVAL);
	assert_null(moesif__new(&opt, (struct event_sink){txn_on_event, &out}));
	assert_int_equal(errno, EINVAL);
	/* The old ones are in force still. */
	call_with("", NULL, 200);
	assert_int_equal(out.events, 1);
}

/* Where a string's plain beginning ends, for each byte at each place of each length. */
static void plain_beginnings(void **state)
{
	char text[44];

	(void)state;
	for (size_t n = 1; n <= 40; n++) {
		for (size_t at = 0; at < n; at++) {
			for (int c = 0; c < 256; c++) {
				memset(text, '~', sizeof(text));
				text[at] = (char)c;
				text[n] = '"';
				assert_int_equal(json_plain_prefix(text, n), json_plain((unsigned char)c) ? n : at);
				if (at + 1 < n)
					text[at + 1] = '\\';
				assert_int_equal(
					json_plain_prefix(text, n), !json_plain((unsigned char)c) ? at : at + 1);
			}
		}
	}
}

/* Copied like byte by byte, nothing beyond the end is read or written (memory of its own, for the sanitizer). */
static void plain_copies(void **state)
{
	uint64_t dice = 88172645463325252ull;

	(void)state;
	for (int round = 0; round < 40000; round++) {
		size_t n = (size_t)round % 67, want = 0;
		char *text = malloc(n ? n : 1), *copy = malloc(n ? n : 1);
		bool lower = round & 1;

		assert_true(text && copy);
		for (size_t i = 0; i < n; i++) {
			dice ^= dice << 13, dice ^= dice >> 7, dice ^= dice << 17;
			text[i] = dice >> 58 ? (char)(' ' + (dice >> 20) % 95) : (char)(dice >> 12);
			if ((text[i] == '"' || text[i] == '\\') && dice >> 60)
				text[i] = 'Z';
		}
		while (want < n && json_plain((unsigned char)text[want]))
			want++;
		assert_int_equal(json_plain_prefix(text, n), want);
		assert_int_equal(json_plain_copy(copy, text, n, lower), want);
		for (size_t i = 0; i < want; i++)
			assert_int_equal(copy[i], lower ? (char)ascii_lower((unsigned char)text[i]) : text[i]);
		free(text);
		free(copy);
	}
}

/* As at the end of a reload, where no memory may be needed any more. */
static void test_options_that_move(void **state)
{
	struct moesif_options moved;

	(void)state;
	set_text(&opt.api_version, "7");
	set_list(&opt.request_header_masks, "x-secret", NULL);
	apply();
	moved = opt;
	moesif__move_options(m, &moved);
	memset(&opt, 0xa5, sizeof(opt));
	run((struct txn_spec){.creq = "GET / HTTP/1.1\nHost: a\nX-Secret: s\n\n", .cresp = "HTTP/1.1 200 OK\n\nok"});
	opt = moved;
	moesif__move_options(m, &opt);
	assert_string_equal(txn_str(&out, "request.api_version"), "7");
	assert_string_equal(txn_str(&out, "request.headers.x-secret"), "(none)");
	assert_string_equal(txn_str(&out, "request.headers.host"), "a");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_json_masks),
		cmocka_unit_test(test_not_json),
		cmocka_unit_test(test_every_prefix),
		cmocka_unit_test(test_depth),
		cmocka_unit_test(test_linear),
		cmocka_unit_test(plain_beginnings),
		cmocka_unit_test(plain_copies),
		cmocka_unit_test(test_against_a_parser),
		kit_test(test_header_masks),
		kit_test(test_redact_credentials),
		kit_test(test_addresses_in_headers),
		kit_test(test_wrong_names_refused),
		kit_test(test_options_that_move),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
