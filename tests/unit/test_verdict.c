/* What an answer of the collector means for the batch (facts, A.5), for every status that there is. */
#include "kt_cmocka.h"

#include "ship/verdict.h"

static enum verdict wanted(long status, bool compressed)
{
	if (status == 0 || status == 408 || status == 429 || (status >= 500 && status <= 599))
		return VERDICT_RETRY;
	if (status >= 200 && status <= 299)
		return VERDICT_DELIVERED;
	if (status == 413)
		return VERDICT_TOO_LARGE;
	if (status == 400 || status == 422)
		return VERDICT_POISON;
	return status == 415 && compressed ? VERDICT_PLAIN : VERDICT_REFUSED;
}

static void every_status(void **state)
{
	(void)state;
	for (long status = 0; status < 1000; status++) {
		for (int compressed = 0; compressed < 2; compressed++) {
			struct http_answer a = {.status = status, .compressed = compressed};

			assert_int_equal(verdict_of(&a), wanted(status, compressed));
		}
	}
}

static void in_words(void **state)
{
	static const struct {
		long status;
		const char *has;
	} t[] = {{401, "application id is wrong"}, {402, "subscription"}, {403, "may not"}, {404, "api_endpoint"},
		{407, "proxy"}, {413, "too large"}, {429, "too many"}, {302, "not followed"}, {503, "has a problem"},
		{201, "HTTP 201"}, {418, "HTTP 418"}, {0, "no answer: "}};
	char text[128], small[8];

	(void)state;
	for (size_t i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
		struct http_answer a = {.status = t[i].status, .error = t[i].status ? NULL : "Connection refused"};

		verdict_text(&a, text, sizeof(text));
		assert_non_null(strstr(text, t[i].has));
		verdict_text(&a, small, sizeof(small));
		assert_int_equal(strlen(small), 7);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_status),
		cmocka_unit_test(in_words),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
