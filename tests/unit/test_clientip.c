/* Whose address an event carries (facts, B.5 and part F). */
#include "event_kit.h"

#include "moesif/clientip.h"

static const char *ip_of(const char *lines)
{
	call_with(lines, NULL, 200);
	return txn_str(&out, "request.ip_address");
}

static void test_vectors(void **state)
{
	(void)state;
	assert_string_equal(ip_of("X-Forwarded-For: unknown, 10.0.0.1, 1.2.3.4\n"), "10.0.0.1");
	assert_string_equal(ip_of("X-Forwarded-For: 1.2.3.4:5678\n"), "1.2.3.4");
	assert_string_equal(ip_of("X-Forwarded-For: 2001:db8::1\n"), "2001:db8::1");
	assert_string_equal(ip_of("X-Forwarded-For: [2001:db8::1]:443\n"), "2001:db8::1");
	assert_string_equal(ip_of("Forwarded: for=1.2.3.4\n"), "1.2.3.4");
	assert_string_equal(
		ip_of("Forwarded: proto=http; For=\"[2001:db8::7]:1234\";by=1.1.1.1, for=9.9.9.9\n"), "2001:db8::7");
	assert_string_equal(ip_of("X-Client-IP: zz::yy\n"), "127.0.0.1");
	assert_string_equal(ip_of("X-Client-IP: 1.2.3.999\n"), "127.0.0.1");
	assert_string_equal(ip_of("X-Forwarded-For: ::ffff:1.2.3.4\n"), "::ffff:1.2.3.4");
}

static void test_precedence(void **state)
{
	static const char *const order[] = {"X-Client-IP", "X-Forwarded-For", "CF-Connecting-IP", "Fastly-Client-IP",
		"True-Client-IP", "X-Real-IP", "X-Cluster-Client-IP", "X-Forwarded", "Forwarded-For", "Forwarded"};
	enum { N = sizeof(order) / sizeof(order[0]) };

	(void)state;
	for (int first = 0; first < N; first++) {
		char lines[1024] = "", want[32];

		for (int i = N - 1; i >= first; i--)
			snprintf(lines + strlen(lines), sizeof(lines) - strlen(lines), "%s: 10.0.0.%d\n", order[i], i);
		snprintf(want, sizeof(want), "10.0.0.%d", first);
		assert_string_equal(ip_of(lines), want);
	}
	/* Nobody's address there: the next header, a repeated one included, is asked. */
	assert_string_equal(ip_of("X-Forwarded-For: unknown\nX-Forwarded-For: 4.4.4.4\n"), "4.4.4.4");
	assert_string_equal(ip_of("X-Client-IP: \nX-Real-IP: 5.5.5.5\n"), "5.5.5.5");
}

static void test_fallbacks(void **state)
{
	(void)state;
	/* Kong's X-Real-IP of the upstream leg is the client as its trusted proxies tell it. */
	run((struct txn_spec){.creq = "GET / HTTP/1.1\nHost: a\n\n",
		.cresp = OK_DOWN,
		.ureq = "GET / HTTP/1.1\nX-Real-IP: 198.51.100.7\nX-Forwarded-For: 203.0.113.1\n\n",
		.uresp = OK_UP});
	assert_string_equal(txn_str(&out, "request.ip_address"), "198.51.100.7");
	run((struct txn_spec){.creq = "GET / HTTP/1.1\nHost: a\n\n", .cresp = OK_DOWN, .peer = "[2001:db8::9]:1000"});
	assert_string_equal(txn_str(&out, "request.ip_address"), "2001:db8::9");
	run((struct txn_spec){.creq = "GET / HTTP/1.1\nHost: a\n\n", .cresp = OK_DOWN, .peer = "unix"});
	assert_string_equal(txn_str(&out, "request.ip_address"), "(none)");
	/* Masking the header hides the header, not the client. */
	set_list(&opt.request_header_masks, "x-forwarded-for", NULL);
	apply();
	assert_string_equal(ip_of("X-Forwarded-For: 203.0.113.7\n"), "203.0.113.7");
	assert_string_equal(txn_str(&out, "request.headers.x-forwarded-for"), "(none)");
}

static void test_no_address(void **state)
{
	static const char *const bad[] = {"", " ", "[", "[]", "[::1", "[::1]x", "[::1]:", "[1.2.3.4]", "1.2.3",
		"1.2.3.4:", "1.2.3.4:999999", "1.2.3.4:a", "fe80::1%eth0", "\"", "\"\"", "1.2.3.4 5", ":::", "::1:443x",
		"for=1.2.3.4"};

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(clientip_address(span_str(bad[i])).n, 0);
	assert_int_equal(clientip_address((struct span){NULL, 0}).n, 0);
	assert_int_equal(clientip_address(span_of("1.2.3.4\0", 8)).n, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		kit_test(test_vectors),
		kit_test(test_precedence),
		kit_test(test_fallbacks),
		kit_test(test_no_address),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
