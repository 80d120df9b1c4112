/* When the collector's configuration is asked for: by the clock, by tags that are new, not more often than is decent.
 */
#include "kt_cmocka.h"

#include <stdio.h>

#include "base/log.h"
#include "ship/remote.h"

#define S 1000000000ull

static struct ship_options opt;
static unsigned taken[2];

static void on_document(void *ctx, bool rules, struct span body)
{
	(void)ctx;
	assert_true(body.n > 0);
	taken[rules]++;
}

static void silent(void *ctx, enum log_level level, const char *module, const char *text)
{
	(void)ctx, (void)level, (void)module, (void)text;
}

static struct remote fresh(void)
{
	struct remote r;

	opt = (struct ship_options){.remote_config = true, .remote_interval = 60000};
	taken[0] = taken[1] = 0;
	remote__init(&r, &opt, (struct remote_sink){on_document, NULL}, 1 * S);
	return r;
}

static struct http_answer answer(long status, const char *tag)
{
	struct http_answer a = {.status = status, .body = SPAN_LIT("{}")};

	snprintf(a.config_tag, sizeof(a.config_tag), "%s", tag);
	return a;
}

/* As remote__run would have asked, and the collector answered at once. */
static void fetched(struct remote *r, uint64_t now, long status, const char *tag)
{
	struct http_answer a = answer(status, tag);

	r->docs[REMOTE_CONFIG].under_way = true;
	r->docs[REMOTE_CONFIG].last_ns = now;
	remote__on_answer(r, now, &r->docs[REMOTE_CONFIG], &a);
	remote__on_tags(r, now, &a);
}

static uint64_t after_tag(struct remote *r, uint64_t now, const char *tag)
{
	struct http_answer a = answer(201, tag);

	remote__on_tags(r, now, &a);
	return r->docs[REMOTE_CONFIG].next_ns;
}

static void by_the_clock(void **state)
{
	struct remote r = fresh();

	(void)state;
	assert_int_equal(remote__due(&r), 1 * S);
	fetched(&r, 1 * S, 200, "v1");
	assert_int_equal(r.docs[REMOTE_CONFIG].next_ns, 61 * S);
	assert_int_equal(remote__due(&r), 1 * S); /* the rules */
	assert_int_equal(taken[0], 1);
	opt.remote_config = false;
	remote__init(&r, &opt, (struct remote_sink){on_document, NULL}, 1 * S);
	assert_int_equal(remote__due(&r), UINT64_MAX);
	assert_int_equal(after_tag(&r, 2 * S, "v9"), UINT64_MAX);
}

/* Nodes of the collector may disagree for a while: going back and forth between two tags fetches nothing. */
static void by_new_tags(void **state)
{
	struct remote r = fresh();

	(void)state;
	fetched(&r, 1 * S, 200, "v1");
	assert_int_equal(after_tag(&r, 2 * S, "v1"), 61 * S);
	assert_int_equal(after_tag(&r, 2 * S, ""), 61 * S);
	/* Not before 5 s after the fetch before. */
	assert_int_equal(after_tag(&r, 2 * S, "v2"), 6 * S);
	fetched(&r, 6 * S, 200, "v2");
	for (unsigned i = 0; i < 10; i++)
		assert_int_equal(after_tag(&r, (7 + i) * S, i % 2 ? "v1" : "v2"), 66 * S);
	assert_int_equal(after_tag(&r, 20 * S, "v3"), 20 * S);
	fetched(&r, 20 * S, 200, "v3");
	assert_int_equal(after_tag(&r, 30 * S, "v2"), 80 * S);
	assert_int_equal(after_tag(&r, 30 * S, "v1"), 30 * S);
	/* The other document has tags of its own. */
	assert_string_equal(r.docs[REMOTE_RULES].tags[0], "");
}

static void after_failures(void **state)
{
	struct remote r = fresh();
	uint64_t now = 1 * S, wait[] = {2, 4, 8, 16, 32, 60, 60};

	(void)state;
	log_set_sink(silent, NULL);
	for (size_t i = 0; i < sizeof(wait) / sizeof(wait[0]); i++) {
		fetched(&r, now, i % 2 ? 0 : 503, "");
		assert_int_equal(r.docs[REMOTE_CONFIG].next_ns, now + wait[i] * S);
		now = r.docs[REMOTE_CONFIG].next_ns;
	}
	assert_int_equal(taken[0], 0);
	fetched(&r, now, 200, "v1");
	assert_int_equal(r.docs[REMOTE_CONFIG].next_ns, now + 60 * S);
	fetched(&r, now, 500, "");
	assert_int_equal(r.docs[REMOTE_CONFIG].next_ns, now + 2 * S);
	log_set_sink(NULL, NULL);
}

/* An application id that is wrong is no reason to ask once a minute, and Retry-After is for these requests, too. */
static void a_refusal_is_no_reason_to_hurry(void **state)
{
	static const long refused[] = {401, 402, 403, 404, 410, 302};
	struct remote r;
	struct http_answer a;

	(void)state;
	log_set_sink(silent, NULL);
	for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); i++) {
		r = fresh();
		opt.refused_probe = 300000;
		fetched(&r, 1 * S, refused[i], "");
		assert_int_equal(r.docs[REMOTE_CONFIG].next_ns, 301 * S);
	}
	r = fresh();
	a = answer(429, "");
	a.retry_after_s = 100;
	remote__on_answer(&r, 1 * S, &r.docs[REMOTE_CONFIG], &a);
	assert_int_equal(r.docs[REMOTE_CONFIG].next_ns, 101 * S);
	a.retry_after_s = UINT32_MAX;
	remote__on_answer(&r, 1 * S, &r.docs[REMOTE_CONFIG], &a);
	assert_int_equal(r.docs[REMOTE_CONFIG].next_ns, 3601 * S);
	log_set_sink(NULL, NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(by_the_clock),
		cmocka_unit_test(by_new_tags),
		cmocka_unit_test(after_failures),
		cmocka_unit_test(a_refusal_is_no_reason_to_hurry),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
