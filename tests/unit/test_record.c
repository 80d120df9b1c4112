/* Endpoints as text and back. */
#include "kt_cmocka.h"

#include <errno.h>
#include <string.h>

#include "capture/record.h"

static void test_both_ways(void **state)
{
	static const char *const texts[] = {"1.2.3.4:80", "0.0.0.0:0", "255.255.255.255:65535", "[2001:db8::1]:443",
		"[::]:1", "[fe80::1:2:3:4]:65535", "[ffff:ffff:ffff:ffff:ffff:ffff:ffff:fffe]:65535", "unix", "?"};
	char out[ENDPOINT_TEXT_LEN];
	struct endpoint e;

	(void)state;
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		assert_int_equal(endpoint_parse(span_str(texts[i]), &e), 0);
		assert_int_equal(endpoint_text(&e, out), strlen(texts[i]));
		assert_string_equal(out, texts[i]);
	}
}

static void test_addr(void **state)
{
	char out[ENDPOINT_TEXT_LEN];
	struct endpoint e;

	(void)state;
	assert_int_equal(endpoint_parse(SPAN_LIT("[::ffff:10.1.2.3]:8000"), &e), 0);
	assert_int_equal(e.family, ADDR_IP4);
	assert_int_equal(e.port, 8000);
	assert_int_equal(endpoint_addr_text(&e, out), 8);
	assert_string_equal(out, "10.1.2.3");
	assert_int_equal(endpoint_parse(SPAN_LIT("[2001:db8::1]:443"), &e), 0);
	endpoint_addr_text(&e, out);
	assert_string_equal(out, "2001:db8::1");
	e = (struct endpoint){0};
	endpoint_addr_text(&e, out);
	assert_string_equal(out, "?");
}

static void test_refused(void **state)
{
	static const struct span bad[] = {SPAN_LIT(""), SPAN_LIT(":"), SPAN_LIT(":80"), SPAN_LIT("1.2.3.4"),
		SPAN_LIT("1.2.3.4:"), SPAN_LIT("1.2.3.4:65536"), SPAN_LIT("1.2.3.4:123456"), SPAN_LIT("1.2.3.4:-1"),
		SPAN_LIT("1.2.3.4:8 "), SPAN_LIT("1.2.3:80"), SPAN_LIT("2001:db8::1:443"), SPAN_LIT("[1.2.3.4]:80"),
		SPAN_LIT("[::1:80"), SPAN_LIT("[]:80"), SPAN_LIT("1.2.3.4\0:80"), SPAN_LIT("unixx"),
		SPAN_LIT("localhost:80"),
		SPAN_LIT("[1111:1111:1111:1111:1111:1111:1111:1111:1111:1111:1111:1111:1111]:80")};
	struct endpoint e = {.port = 7};

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		assert_int_equal(endpoint_parse(bad[i], &e), -EINVAL);
		assert_int_equal(e.port, 7);
	}
	assert_int_equal(endpoint_parse((struct span){0}, &e), -EINVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_both_ways),
		cmocka_unit_test(test_addr),
		cmocka_unit_test(test_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
