/* The filter of the outputs: what passes, and what is told about a wrong expression. */
#include <errno.h>
#include <string.h>

#include "kt_cmocka.h"

#include "ship/filter.h"

static struct event make(const char *verb, int status, const char *path, const char *user)
{
	return (struct event){.verb = span_str(verb), .status = status, .path = span_str(path), .user = span_str(user)};
}

static bool pass(const char *text, const struct event *e)
{
	char error[FILTER_ERROR_LEN] = "";
	struct filter *f = filter__new(text, error);
	bool yes;

	if (!f)
		fail_msg("%s: %s", text, error);
	yes = filter__pass(f, e);
	filter__free(f);
	return yes;
}

static void test_pass(void **state)
{
	static const struct {
		const char *text;
		bool ok_get, missing_post, broken_get;
	} cases[] = {
		{"", true, true, true},
		{"  \t ", true, true, true},
		{"200", true, false, false},
		{"2xx", true, false, false},
		{"4XX", false, true, false},
		{"4xx,5xx", false, true, true},
		{">=400", false, true, true},
		{">404", false, false, true},
		{"<300", true, false, false},
		{"<=404", true, true, false},
		{"400-499", false, true, false},
		{"status=404,500", false, true, true},
		{"status>=500", false, false, true},
		{"!5xx", true, true, false},
		{"!4xx,5xx", true, false, false},
		{"GET", true, false, true},
		{"GET,POST", true, true, true},
		{"method=get", true, false, true},
		{"!GET", false, true, false},
		{"/api/*", true, false, true},
		{"/api/v?/a", true, false, true},
		{"/api", false, false, false},
		{"*a", true, false, true},
		{"path=/x", false, true, false},
		{"user=alice", true, false, false},
		{"user=al*", true, false, false},
		{"user=-", false, false, true},
		{"!user=-", true, true, false},
		{"company=-", true, true, true},
		{"GET 5xx", false, false, true},
		{"GET 5xx user=alice", false, false, false},
		{"5xx\tGET\n/api/*", false, false, true},
	};
	struct event ok = make("GET", 200, "/api/v1/a", "alice"), missing = make("POST", 404, "/x", "bob"),
		     broken = make("GET", 500, "/api/v1/a", NULL);

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		const char *text = cases[i].text;

		if (pass(text, &ok) != cases[i].ok_get || pass(text, &missing) != cases[i].missing_post ||
			pass(text, &broken) != cases[i].broken_get)
			fail_msg("filter \"%s\"", text);
	}
}

static void test_errors(void **state)
{
	static const char *const wrong[] = {"foo", "!", "200,", ",200", "2x", "600x", "1000", ">=", "<", ">4x",
		"499-400", "400-", "status=", "user=", "status=abc", "GET,,POST", "!!5xx", "method", "4 04x"};
	char error[FILTER_ERROR_LEN], longer[FILTER_TEXT_MAX + 1];

	(void)state;
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		error[0] = '\0';
		errno = 0;
		if (filter__new(wrong[i], error))
			fail_msg("accepted \"%s\"", wrong[i]);
		assert_int_equal(errno, EINVAL);
		assert_true(strlen(error) > 0);
	}
	memset(longer, 'A', sizeof(longer) - 1);
	longer[sizeof(longer) - 1] = '\0';
	assert_null(filter__new(longer, error));
	/* 65 alternatives are one too many. */
	longer[0] = '\0';
	for (int i = 0; i < 65; i++)
		strcat(longer, i ? ",200" : "200");
	assert_null(filter__new(longer, error));
	assert_non_null(strstr(error, "too many"));
	filter__free(NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_pass),
		cmocka_unit_test(test_errors),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
