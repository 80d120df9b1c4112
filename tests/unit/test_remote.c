/* Remote configuration that makes no sense, in part or at all, and governance rules. */
#include "event_kit.h"

#include <errno.h>

#include "base/log.h"
#include "moesif/remote.h"
#include "moesif/rules.h"

static unsigned lines;
static char last[512];

static void on_log(void *ctx, enum log_level level, const char *module, const char *text)
{
	(void)ctx;
	(void)level;
	(void)module;
	lines++;
	snprintf(last, sizeof(last), "%s", text);
}

static struct span no_fact(void *ctx, enum remote_path path)
{
	(void)ctx;
	(void)path;
	return SPAN_LIT("anything");
}

static void test_not_usable(void **state)
{
	static const char *const bad[] = {
		"", "[]", "1", "null", "{", "{}x", "{\"sample_rate\":1,}", "<html>502</html>"};

	(void)state;
	assert_int_equal(moesif__set_remote(m, SPAN_LIT("{\"sample_rate\":0}")), 0);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(moesif__set_remote(m, span_str(bad[i])), -EINVAL);
	assert_int_equal(moesif__set_remote(m, (struct span){NULL, 0}), -EINVAL);
	/* The old one is in force still. */
	call_with("", NULL, 200);
	assert_int_equal(out.events, 0);
	assert_int_equal(stats_get(STAT_txn_sampled_out), 1);
	assert_int_equal(moesif__set_remote(m, SPAN_LIT("{}")), 0);
	call_with("", NULL, 200);
	assert_int_equal(out.events, 1);
}

static void test_wrong_entries(void **state)
{
	const struct remote_facts facts = {no_fact, NULL};
	struct remote *r = remote__parse(SPAN_LIT(
		"{\"org_id\":\"1:2\",\"sample_rate\":\"x\",\"user_sample_rate\":{\"a\":10,\"b\":-1,\"c\":101,\"d\":"
		"\"5\",\"e\":null,"
		"\"f\":33.9,\"\":7,\"a\":20},\"company_sample_rate\":[],\"user_rules\":{\"a\":[{\"rules\":\"x\"}]},"
		"\"regex_config\":[null,{},{\"conditions\":[]},{\"conditions\":[],\"sample_rate\":5},"
		"{\"conditions\":[{\"path\":\"request.verb\",\"value\":1}],\"sample_rate\":5},"
		"{\"conditions\":[{\"path\":\"request.verb\",\"value\":\"(\"}],\"sample_rate\":5},"
		"{\"conditions\":[{\"value\":\"any\"}],\"sample_rate\":6},"
		"{\"conditions\":[{\"path\":\"request.verb\",\"value\":\"any\"}],\"sample_rate\":7}]}"));

	(void)state;
	assert_non_null(r);
	assert_int_equal(remote__sample_rate(r), 100);
	assert_int_equal(remote__user_rate(r, SPAN_LIT("a")), 20);
	assert_int_equal(remote__user_rate(r, SPAN_LIT("b")), -1);
	assert_int_equal(remote__user_rate(r, SPAN_LIT("c")), -1);
	assert_int_equal(remote__user_rate(r, SPAN_LIT("d")), -1);
	assert_int_equal(remote__user_rate(r, SPAN_LIT("f")), 33);
	assert_int_equal(remote__user_rate(r, SPAN_LIT("")), -1);
	assert_int_equal(remote__company_rate(r, SPAN_LIT("a")), -1);
	assert_int_equal(remote__regex_rate(r, &facts), 7);
	remote__free(r);
}

static void test_null_fields(void **state)
{
	struct remote *r =
		remote__parse(SPAN_LIT("{\"sample_rate\":null,\"user_sample_rate\":null,\"regex_config\":null}"));

	(void)state;
	assert_non_null(r);
	assert_int_equal(remote__sample_rate(r), 100);
	remote__free(r);
}

/* Blocking is configured beside the rates too, and is no more than reported. */
static void test_blocking_is_reported(void **state)
{
	static const char *const quiet[] = {"{\"block_bot_traffic\":false,\"ip_addresses_blocked_by_name\":{}}",
		"{\"block_bot_traffic\":null,\"ip_addresses_blocked_by_name\":null}"};

	(void)state;
	log_set_sink(on_log, NULL);
	lines = 0;
	for (size_t i = 0; i < 2; i++)
		assert_int_equal(moesif__set_remote(m, span_str(quiet[i])), 0);
	assert_int_equal(lines, 0);
	assert_int_equal(moesif__set_remote(m, SPAN_LIT("{\"block_bot_traffic\":true}")), 0);
	assert_int_equal(lines, 1);
	assert_non_null(strstr(last, "blocks nothing"));
	assert_int_equal(
		moesif__set_remote(m, SPAN_LIT("{\"ip_addresses_blocked_by_name\":{\"bad\":[\"1.2.3.4\"]}}")), 0);
	assert_int_equal(lines, 2);
	log_set_sink(NULL, NULL);
}

static void test_rules_are_reported_once(void **state)
{
	const char *some = "[{\"_id\":\"1\",\"block\":true,\"name\":\"x\"},{\"_id\":\"2\",\"block\":false},\"odd\"]";
	struct rules_watch rules = {0};

	(void)state;
	log_set_sink(on_log, NULL);
	lines = 0;
	assert_int_equal(rules_watch__report(&rules, SPAN_LIT("[]")), 0);
	assert_int_equal(lines, 0);
	assert_int_equal(rules_watch__report(&rules, span_str(some)), 0);
	assert_int_equal(rules_watch__report(&rules, span_str(some)), 0);
	assert_int_equal(lines, 1);
	assert_non_null(strstr(last, "3 governance rules (1 of them blocking)"));
	assert_int_equal(rules_watch__report(&rules, SPAN_LIT("[{\"block\":true}]")), 0);
	assert_int_equal(lines, 2);
	assert_int_equal(rules_watch__report(&rules, SPAN_LIT("{}")), -EINVAL);
	assert_int_equal(rules_watch__report(&rules, SPAN_LIT("[{]")), -EINVAL);
	assert_int_equal(rules_watch__report(&rules, SPAN_LIT("[] x")), -EINVAL);
	assert_int_equal(rules_watch__report(&rules, SPAN_LIT("")), -EINVAL);
	/* Rules that cannot be read are not passed over in silence either. */
	lines = 0;
	assert_int_equal(rules_watch__report(&rules, SPAN_LIT("[{\"block\":true,\"name\":\"\\ud83d\"}]")), -EINVAL);
	assert_int_equal(rules_watch__report(&rules, SPAN_LIT("[{\"block\":true,\"name\":\"\\ud83d\"}]")), -EINVAL);
	assert_int_equal(lines, 1);
	assert_non_null(strstr(last, "cannot be read"));
	log_set_sink(NULL, NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		kit_test(test_not_usable),
		kit_test(test_wrong_entries),
		kit_test(test_null_fields),
		kit_test(test_blocking_is_reported),
		kit_test(test_rules_are_reported_once),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
