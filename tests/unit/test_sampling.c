/* Which calls become events and what each stands for (facts, A.6, A.7 and part F). */
#include "event_kit.h"

#include "moesif/regex.h"
#include "moesif/sample.h"

static void remote(const char *json)
{
	assert_int_equal(moesif__set_remote(m, span_str(json)), 0);
}

/* 1 kept, 0 sampled out. */
static int kept(const char *target, const char *lines, int status)
{
	char *creq = NULL, *cresp = NULL;
	uint64_t before = stats_get(STAT_txn_sampled_out);

	assert_true(asprintf(&creq, "GET %s HTTP/1.1\nHost: h:8000\n%s\n", target, lines) > 0);
	assert_true(asprintf(&cresp, "HTTP/1.1 %d X\n\n", status) > 0);
	run((struct txn_spec){.creq = creq, .cresp = cresp});
	assert_int_equal(out.events + stats_get(STAT_txn_sampled_out) - before, 1);
	free(creq);
	free(cresp);
	return (int)out.events;
}

static const char *weight(void)
{
	return txn_str(&out, "weight");
}

static void test_rates(void **state)
{
	(void)state;
	assert_int_equal(kept("/", "", 200), 1);
	remote("{\"sample_rate\":0}");
	assert_int_equal(kept("/", "", 200), 0);
	remote("{\"sample_rate\":100}");
	assert_int_equal(kept("/", "", 200), 1);
	assert_string_equal(weight(), "1");
	remote("{\"sample_rate\":0,\"user_sample_rate\":{\"u\":100},\"company_sample_rate\":{\"c\":0}}");
	set_text(&opt.user_id_header, "x-u");
	set_text(&opt.company_id_header, "x-c");
	apply();
	assert_int_equal(kept("/", "x-u: u\n", 200), 1);
	assert_int_equal(kept("/", "x-u: other\n", 200), 0);
	/* The user's rate goes before the company's; the plugin takes the lower. */
	assert_int_equal(kept("/", "x-u: u\nx-c: c\n", 200), 1);
	opt.plugin_sampling_rule = true;
	apply();
	assert_int_equal(kept("/", "x-u: u\nx-c: c\n", 200), 0);
	assert_int_equal(kept("/", "x-u: u\n", 200), 1);
	opt.plugin_sampling_rule = false;
	apply();
	remote("{\"sample_rate\":0,\"company_sample_rate\":{\"c\":100}}");
	assert_int_equal(kept("/", "x-c: c\n", 200), 1);
}

static void test_weight(void **state)
{
	static const struct {
		int rate;
		uint32_t weight;
	} t[] = {{0, 1}, {1, 100}, {3, 33}, {10, 10}, {25, 4}, {30, 3}, {50, 2}, {51, 1}, {60, 1}, {100, 1}};

	(void)state;
	for (size_t i = 0; i < sizeof(t) / sizeof(t[0]); i++)
		assert_int_equal(sample_weight(t[i].rate), t[i].weight);
	for (uint64_t d = 0; d < 200; d++) {
		assert_true(sample_keep(100, d));
		assert_false(sample_keep(0, d));
		assert_int_equal(sample_keep(25, d), d % 100 < 25);
	}
}

/* Weights add up to the number of calls, and the same call falls the same way again. */
static void test_statistics(void **state)
{
	enum { CALLS = 4000 };
	uint64_t sum = 0;
	unsigned again = 0;

	(void)state;
	remote("{\"sample_rate\":20}");
	for (int round = 0; round < 2; round++) {
		for (int i = 0; i < CALLS; i++) {
			char cresp[128];

			snprintf(
				cresp, sizeof(cresp), "HTTP/1.1 200 OK\nX-Kong-Request-Id: %032x\n\n", i * 2654435761U);
			run((struct txn_spec){.creq = "GET / HTTP/1.1\nHost: a\n\n", .cresp = cresp});
			if (out.events && !round)
				sum += out.e.weight;
			again += out.events;
		}
	}
	/* Binomial, sigma is 5 * sqrt(4000 * 0.2 * 0.8) = 126: five of them. */
	assert_in_range(sum, CALLS - 630, CALLS + 630);
	assert_int_equal(again, sum / 5 * 2);
}

static int matches(const char *path, const char *pattern, const char *target, const char *lines, int status)
{
	char *json = NULL;

	assert_true(
		asprintf(&json,
			"{\"sample_rate\":100,\"regex_config\":[{\"conditions\":[{\"path\":\"%s\",\"value\":\"%s\"}],"
			"\"sample_rate\":0}]}",
			path, pattern) > 0);
	remote(json);
	free(json);
	return !kept(target, lines, status);
}

static void test_regex(void **state)
{
	(void)state;
	assert_true(matches("request.route", "/health/.*", "/health/live", "", 200));
	assert_true(matches("request.route", "/items/\\\\d+", "/items/42", "", 200));
	assert_false(matches("request.route", "/items/\\\\d+", "/items/x", "", 200));
	assert_true(matches("request.route", "/health-check", "/health-check", "", 200));
	assert_true(matches("request.route", "^/$", "http://h:8000/?x=1", "", 200));
	assert_true(matches("request.route", "^/a/b$", "/a/b?x=1", "", 200));
	assert_false(matches("request.route", "x=1", "/a/b?x=1", "", 200));
	assert_true(matches("request.route", "(cat|dog)s{2}", "/dogss", "", 200));
	assert_false(matches("request.route", "/HEALTH", "/health", "", 200));
	assert_true(matches("request.verb", "^GET$", "/", "", 200));
	assert_true(matches("response.status", "^5", "/", "", 503));
	assert_false(matches("response.status", "^5", "/", "", 200));
	assert_true(matches("request.ip_address", "^9\\\\.", "/", "X-Forwarded-For: 9.9.9.9\n", 200));
	assert_false(matches("request.nonsense", ".*", "/", "", 200));
	/* Broken, endless or catastrophic patterns match nothing and cost little. */
	assert_false(matches("request.route", "((((", "/", "", 200));
	assert_false(matches(
		"request.route", "(a+)+$", "/aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa!", "", 200));
	assert_false(matches("request.route", "(?R)", "/", "", 200));
}

/* A search that takes more than its steps is a search that found nothing. */
static void test_regex_is_bounded(void **state)
{
	static const char *const patterns[] = {"^(?:a|b)*X", "^(a|ab)*X"};
	char *text = malloc(REGEX_SUBJECT_MAX + 2);

	(void)state;
	memset(text, 'a', REGEX_SUBJECT_MAX + 2);
	for (size_t i = 0; i < 2; i++) {
		struct regex *r = regex__new(span_str(patterns[i]));

		assert_non_null(r);
		assert_true(regex__search(r, SPAN_LIT("aabaX")));
		text[REGEX_SUBJECT_MAX - 1] = 'X';
		assert_false(regex__search(r, span_of(text, REGEX_SUBJECT_MAX)));
		regex__free(r);
	}
	struct regex *any = regex__new(SPAN_LIT("^a"));

	assert_true(regex__search(any, span_of(text, REGEX_SUBJECT_MAX)));
	assert_false(regex__search(any, span_of(text, REGEX_SUBJECT_MAX + 1)));
	regex__free(any);
	free(text);
}

static void test_regex_rules(void **state)
{
	(void)state;
	remote("{\"sample_rate\":100,\"regex_config\":["
	       "{\"conditions\":[{\"path\":\"request.verb\",\"value\":\"GET\"},{\"path\":\"request.route\",\"value\":"
	       "\"/a\"}],"
	       "\"sample_rate\":0},"
	       "{\"conditions\":[{\"path\":\"request.route\",\"value\":\"/\"}],\"sample_rate\":100},"
	       "{\"conditions\":[{\"path\":\"request.route\",\"value\":\"/b\"}],\"sample_rate\":0}]}");
	assert_int_equal(kept("/a", "", 200), 0);
	/* The first that matches, all conditions of it, decides. */
	assert_int_equal(kept("/b", "", 200), 1);
	/* Lower of the user's and the rule's. */
	remote("{\"sample_rate\":0,\"user_sample_rate\":{\"u\":100},\"regex_config\":["
	       "{\"conditions\":[{\"path\":\"request.route\",\"value\":\"/low\"}],\"sample_rate\":0},"
	       "{\"conditions\":[{\"path\":\"request.route\",\"value\":\"/high\"}],\"sample_rate\":100}]}");
	set_text(&opt.user_id_header, "x-u");
	apply();
	assert_int_equal(kept("/low", "x-u: u\n", 200), 0);
	assert_int_equal(kept("/high", "x-u: u\n", 200), 1);
	assert_int_equal(kept("/high", "", 200), 1);
	assert_int_equal(kept("/none", "", 200), 0);
}

static void test_graphql(void **state)
{
	const char *rule =
		"{\"regex_config\":[{\"conditions\":[{\"path\":\"request.body.operationName\",\"value\":\"^Ping$\"}],"
		"\"sample_rate\":0},{\"conditions\":[{\"path\":\"request.body.query\",\"value\":\"mutation\"}],"
		"\"sample_rate\":0}]}";
	struct txn_spec s = {.cresp = OK_DOWN,
		.creq = "POST /g HTTP/1.1\nHost: a\nContent-Type: application/json\n\n"
			"{\"operationName\":\"Ping\",\"query\":\"query Ping { x }\"}"};

	(void)state;
	remote(rule);
	run(s);
	assert_int_equal(out.events, 0);
	s.creq = "POST /g HTTP/1.1\nHost: a\nContent-Type: application/json\n\n{\"query\":\"mutation { x }\"}";
	run(s);
	assert_int_equal(out.events, 0);
	s.creq = "POST /g HTTP/1.1\nHost: a\nContent-Type: application/json\n\n{\"query\":\"query { x }\"}";
	run(s);
	assert_int_equal(out.events, 1);
	s.creq = "POST /g HTTP/1.1\nHost: a\nContent-Type: text/plain\n\nmutation";
	run(s);
	assert_int_equal(out.events, 1);
	/* Patterns look at the text that the JSON stands for: line breaks and quotes are escaped in it. */
	remote("{\"regex_config\":[{\"conditions\":[{\"path\":\"request.body.operationName\",\"value\":\"^P$\"},"
	       "{\"path\":\"request.body.query\",\"value\":\"^query P [{]\\\\s+x[(]id: \\\"7\\\"[)]\"}],"
	       "\"sample_rate\":0}]}");
	s.creq = "POST /g HTTP/1.1\nHost: a\nContent-Type: application/json\n\n"
		 "{\"operationName\":\"\\u0050\",\"query\":\"query P {\\n  x(id: \\\"7\\\")\\n}\"}";
	run(s);
	assert_int_equal(out.events, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		kit_test(test_rates),
		kit_test(test_weight),
		kit_test(test_statistics),
		kit_test(test_regex),
		kit_test(test_regex_is_bounded),
		kit_test(test_regex_rules),
		kit_test(test_graphql),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
