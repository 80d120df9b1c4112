/* link: -Wl,--wrap=malloc,--wrap=calloc,--wrap=realloc,--wrap=reallocarray,--wrap=strdup,--wrap=strndup */
/* The n-th allocation fails, for every n: nothing breaks, nothing leaks, every transaction stays accounted for. */
#include "alloc_fail.h"
#include "event_kit.h"

/* True when the sweep is over: the failure did not come any more. */
static bool over(void)
{
	alloc_fail_no_more();
	return !alloc_has_failed();
}

static void test_new(void **state)
{
	bool done = false;

	(void)state;
	set_list(&opt.request_header_masks, "a", "b");
	set_list(&opt.request_body_masks, "k", NULL);
	opt.redact_credentials = true;
	for (long n = 0; !done; n++) {
		struct moesif *one;

		alloc_fail_after(n);
		one = moesif__new(&opt, (struct event_sink){txn_on_event, &out});
		done = over();
		assert_true(one || !done);
		moesif__free(one);
	}
}

static void nothing(void *ctx, const struct event *e)
{
	*(size_t *)ctx += e->json.n;
}

static void test_transaction(void **state)
{
	const struct txn_spec s = {
		.creq = "POST /p?k=1&apikey=x HTTP/1.1\nHost: a\nContent-Type: application/json\nX: 1\nX: 2\n"
			"Authorization: Bearer e30.eyJzdWIiOiJ1In0.x\n\n{\"k\":1,\"pl\\u0075s\":2,\"a\":[]}",
		.cresp = "HTTP/1.1 200 OK\nContent-Type: application/x-www-form-urlencoded\n\nk=1&a=2",
		.ureq = "POST /p HTTP/1.1\n" UP "X-Consumer-ID: i\nX-Consumer-Username: alice\n\n",
		.uresp = OK_UP};
	uint64_t calls = 0;
	bool done = false;
	size_t bytes = 0;

	(void)state;
	set_list(&opt.request_body_masks, "k", NULL);
	set_list(&opt.response_body_masks, "k", NULL);
	opt.hash_session_token = true;
	for (long n = 0; !done; n++) {
		struct moesif *one = moesif__new(&opt, (struct event_sink){nothing, &bytes});

		struct transaction *t[2] = {txn_build(&s), txn_build(&s)};

		alloc_fail_after(n);
		for (int turn = 0; turn < 2; turn++, calls++)
			moesif__on_transaction(one, t[turn]);
		done = over();
		moesif__free(one);
	}
	assert_int_equal(stats_get(STAT_txn_events) + stats_get(STAT_txn_dropped_memory), calls);
	assert_true(stats_get(STAT_txn_dropped_memory) > 5);
}

static void test_settings_and_remote(void **state)
{
	bool done = false;

	(void)state;
	set_list(&opt.request_header_masks, "a", "b");
	for (long n = 0; !done; n++) {
		alloc_fail_after(n);
		moesif__set_options(m, &opt);
		moesif__set_remote(
			m, SPAN_LIT("{\"sample_rate\":100,\"user_sample_rate\":{\"u\":100},\"regex_config\":[{"
				    "\"conditions\":[{\"path\":\"request.verb\",\"value\":\"NO\"}],"
				    "\"sample_rate\":0}]}"));
		done = over();
		call_with("", NULL, 200);
		assert_int_equal(out.events, 1);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		kit_test(test_new),
		kit_test(test_transaction),
		kit_test(test_settings_and_remote),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
