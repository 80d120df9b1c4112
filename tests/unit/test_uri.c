/* How a call's URI is composed and its parameters are masked (facts, B.3 and part F). */
#include "event_kit.h"

#include "moesif/uri.h"

static const char *uri_of(const char *target, const char *lines)
{
	char *creq = NULL;

	assert_true(asprintf(&creq, "GET %s HTTP/1.1\n%s\n", target, lines) > 0);
	run((struct txn_spec){.creq = creq, .cresp = OK_DOWN, .port = 18000});
	free(creq);
	return txn_str(&out, "request.uri");
}

static void test_composition(void **state)
{
	(void)state;
	assert_string_equal(uri_of("/a%20b?x=1&y=%zz", "Host: h\n"), "http://h:18000/a%20b?x=1&y=%zz");
	assert_string_equal(uri_of("/p?", "Host: h\n"), "http://h:18000/p?");
	assert_string_equal(uri_of("http://abs.example.com:99/abs?z=1", "Host: Foo.Example.COM:18000\n"),
		"http://abs.example.com:18000/abs?z=1");
	assert_string_equal(uri_of("http://abs.example.com?z=1", "Host: h\n"), "http://abs.example.com:18000/?z=1");
	assert_string_equal(uri_of("/x", "Host: Foo.Example.COM:18000\n"), "http://foo.example.com:18000/x");
	assert_string_equal(uri_of("/x", "Host: foo.\n"), "http://foo:18000/x");
	assert_string_equal(uri_of("/x", ""), "http://kong:18000/x");
	assert_string_equal(uri_of("/x", "Host: [2001:DB8::1]:18000\n"), "http://[2001:db8::1]:18000/x");
	assert_string_equal(uri_of("*", "Host: h\n"), "http://h:18000/*");
	assert_string_equal(uri_of("/\xc3\xa9\xff?q=\xfe", "Host: h\xfd\n"), "http://h%FD:18000/\xc3\xa9%FF?q=%FE");
	assert_string_equal(out.path, "/\xc3\xa9%FF");
}

static void test_route(void **state)
{
	struct span authority;

	(void)state;
	assert_true(span_eq(uri_path(uri_origin_form(SPAN_LIT("/a/b?x=1"), &authority)), SPAN_LIT("/a/b")));
	assert_true(span_eq(uri_path(uri_origin_form(SPAN_LIT("http://h:8000?x=1"), &authority)), SPAN_LIT("/")));
	assert_true(span_eq(uri_path(uri_origin_form(SPAN_LIT("http://h:8000/?x=1"), &authority)), SPAN_LIT("/")));
	assert_true(span_eq(uri_path((struct span){NULL, 0}), SPAN_LIT("/")));
}

static void check_mask(const char *mask, const char *target, const char *want)
{
	char full[256];

	set_list(&opt.request_query_masks, mask, NULL);
	apply();
	snprintf(full, sizeof(full), "http://h:18000%s", want);
	assert_string_equal(uri_of(target, "Host: h\n"), full);
}

static void test_query_masks(void **state)
{
	(void)state;
	check_mask("key", "/p?key=abc&x=1", "/p?key=*****&x=1");
	check_mask("key", "/p?apikey=abc&key=zzz", "/p?apikey=abc&key=*****");
	check_mask("key", "/p?key=a&key=b", "/p?key=*****&key=*****");
	check_mask("api-key", "/p?api-key=a", "/p?api-key=*****");
	check_mask("key", "/p?key=", "/p?key=");
	check_mask("key", "/p?key", "/p?key");
	check_mask("key", "/key=abc/p?x=1", "/key=abc/p?x=1");
	check_mask("key", "/p?KEY=a&k%65y=b&x", "/p?KEY=a&k%65y=*****&x");
	check_mask("a b", "/p?a+b=1&a%20b=2", "/p?a+b=*****&a%20b=*****");
	check_mask("key", "/p?&&key=a&&", "/p?&&key=*****&&");
	check_mask("key", "/p?x=1?key=2&key=3=4", "/p?x=1?key=2&key=*****");
	check_mask("key", "/p?%=%&%6=x&%zz=1&key=a", "/p?%=%&%6=x&%zz=1&key=*****");
}

static void test_no_listener_port(void **state)
{
	struct txn_spec s = {.creq = "GET /x HTTP/1.1\nHost: h:1234\n\n", .cresp = OK_DOWN};
	struct transaction *t = txn_build(&s);

	(void)state;
	t->client->conn.local.family = ADDR_NONE;
	moesif__on_transaction(m, t);
	assert_string_equal(txn_str(&out, "request.uri"), "http://h:1234/x");
	s.creq = "GET /x HTTP/1.1\nHost: [2001:db8::1]\n\n";
	t = txn_build(&s);
	t->client->conn.local.family = ADDR_NONE;
	moesif__on_transaction(m, t);
	assert_string_equal(txn_str(&out, "request.uri"), "http://[2001:db8::1]/x");
	s.creq = "GET /x HTTP/1.1\nHost: h:1234\n\n";
	s.ureq = "GET / HTTP/1.1\n" UP "\n";
	t = txn_build(&s);
	t->client->conn.local.family = ADDR_NONE;
	moesif__on_transaction(m, t);
	assert_string_equal(txn_str(&out, "request.uri"), "http://h:8000/x");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		kit_test(test_composition),
		kit_test(test_route),
		kit_test(test_query_masks),
		kit_test(test_no_listener_port),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
