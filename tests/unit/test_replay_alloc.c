/* link: -Wl,--wrap=malloc,--wrap=calloc,--wrap=realloc,--wrap=reallocarray,--wrap=strdup,--wrap=strndup */
/* A recording of a real Kong (HTTP/1, HTTP/2, gRPC, WebSocket, server-sent events) goes through the whole agent, and
 * every allocation of ours on its way fails once, each in turn; then all of them from some point on. Whatever fails,
 * nothing crashes or leaks, and each call that was seen has ended in one way. Runs from the root of the tree.
 *
 * Of ours: jansson 2.14 reads beyond its own buffer when that cannot grow. It reads recordings and the collector's
 * configuration, no traffic. */
#include "alloc_fail.h"
#include "kt_cmocka.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent.h"
#include "base/log.h"
#include "ops/balance.h"

#define RECORDING "tests/replay/kong-3.9.1/ws-grpc-sse.calls.jsonl.gz"

static void silent(void *ctx, enum log_level level, const char *module, const char *text)
{
	(void)ctx;
	(void)level;
	(void)module;
	(void)text;
}

static char output[] = "/tmp/kt-replay-alloc-XXXXXX";

/* The exit code of `kongtap replay`, allocations failing as told. */
static int replay(long from, bool on)
{
	const char *const words[] = {"kongtap", "replay", RECORDING, "--output", "jsonl", "--output-file", output,
		"--redact-credentials", "--request-body-masks", "a,b", "--user-id-header", "X-User"};
	struct config *c = NULL;
	struct agent *a;
	int rc;

	stats_reset();
	assert_int_equal(truncate(output, 0), 0);
	assert_int_equal(config_load(sizeof(words) / sizeof(words[0]), (char **)(uintptr_t)words, &c), 0);
	alloc_made = 0;
	alloc_for_good = on;
	alloc_fail_after(from);
	a = agent__new(c);
	rc = a ? agent__run(a) : 1;
	alloc_fail_no_more();
	agent__free(a);
	return rc;
}

/* Lines in the output. */
static uint64_t lines(void)
{
	uint64_t n = 0;
	FILE *f = fopen(output, "r");
	int c;

	assert_non_null(f);
	while ((c = getc(f)) != EOF)
		n += c == '\n';
	fclose(f);
	return n;
}

static void check_sums(long from)
{
	if (balance_open(&balance_of_calls))
		fail_msg("allocation %ld: %lld of %llu calls are not accounted for", from,
			(long long)balance_open(&balance_of_calls), (unsigned long long)stats_get(STAT_txn_seen));
	assert_int_equal(stats_get(STAT_output_written) + stats_get(STAT_output_errors), stats_get(STAT_txn_events));
	assert_int_equal(lines(), stats_get(STAT_output_written));
}

static unsigned long wanted; /* allocations of a run in which none fails */
static uint64_t calls;

static void none_fails(void **state)
{
	(void)state;
	assert_int_equal(replay(-1, false), 0);
	wanted = alloc_made;
	calls = stats_get(STAT_txn_seen);
	assert_true(calls >= 5 && wanted > 300);
	assert_int_equal(stats_get(STAT_txn_events), calls);
	check_sums(-1);
}

static void each_fails_once(void **state)
{
	uint64_t hit = 0;

	(void)state;
	alloc_failures = 0;
	for (unsigned long i = 0; i < wanted; i++) {
		(void)replay((long)i, false);
		check_sums((long)i);
		assert_true(stats_get(STAT_txn_seen) <= calls + 1);
		hit += stats_get(STAT_txn_events) < calls;
	}
	/* Most are survived with all events; a replay that cannot read on says so and ends. */
	assert_int_equal(alloc_failures, wanted);
	assert_true(hit > 0 && hit < wanted);
}

static void all_fail_from_some_point_on(void **state)
{
	(void)state;
	for (unsigned long i = 0; i < wanted; i += 1 + wanted / 100) {
		(void)replay((long)i, true);
		check_sums((long)i);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(none_fails),
		cmocka_unit_test(each_fails_once),
		cmocka_unit_test(all_fail_from_some_point_on),
	};
	int fd = mkstemp(output), rc;

	if (fd < 0)
		return 1;
	close(fd);
	log_set_sink(silent, NULL);
	rc = cmocka_run_group_tests(tests, NULL, NULL);
	unlink(output);
	return rc;
}
