/* The text of the metrics, held against the conventions of Prometheus, and the numbers behind it. */
#include <stdio.h>
#include <string.h>

#include "kt_cmocka.h"

#include "base/stats.h"
#include "ops/expose.h"
#include "ops/history.h"
#include "ops/loss.h"
#include "ops/metrics.h"

static struct ops_view view;
static struct buf out;

static const char *render(bool open)
{
	buf__clear(&out);
	assert_int_equal(metrics_render(&out, &view, open), 0);
	assert_int_equal(buf__append_char(&out, '\0'), 0);
	return out.p;
}

static int set_up(void **state)
{
	(void)state;
	stats_reset();
	memset(&view, 0, sizeof(view));
	buf__init(&out, 1 << 22);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	buf__free(&out);
	return 0;
}

static void add_library(const char *library, bool probed, bool placed)
{
	struct tls_gauge *t = &view.snap.gauges.tls[view.snap.gauges.ntls++];

	snprintf(t->library, sizeof(t->library), "%s", library);
	t->probed = probed;
	t->placed = placed;
}

static bool ends_with(const char *s, const char *end)
{
	return strlen(s) >= strlen(end) && !strcmp(s + strlen(s) - strlen(end), end);
}

/* One family at a time, its samples together, names and suffixes by its type, no series twice. */
struct lint {
	char families[200][96];
	char series[2000][600];
	size_t nfamilies, nseries;
	char family[96], type[16];
	bool open, ended;
};

static void lint_name(const char *name)
{
	static const char *const bad[] = {
		"_ms", "_us", "_ns", "_sec", "_kb", "_mb", "_kib", "_milliseconds", "_percent"};

	for (const char *p = name; *p; p++)
		assert_true((*p >= 'a' && *p <= 'z') || (*p >= '0' && *p <= '9') || *p == '_');
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		if (ends_with(name, bad[i]))
			fail_msg("%s: not a base unit", name);
}

static void lint_family(struct lint *l, const char *name)
{
	lint_name(name);
	for (size_t i = 0; i < l->nfamilies; i++)
		if (!strcmp(l->families[i], name))
			fail_msg("family %s comes twice", name);
	snprintf(l->families[l->nfamilies++], 96, "%s", name);
	snprintf(l->family, sizeof(l->family), "%s", name);
	l->type[0] = '\0';
}

static void lint_type(struct lint *l, const char *name, const char *type)
{
	bool total = ends_with(name, "_total");

	assert_string_equal(name, l->family);
	assert_int_equal(total, !l->open && !strcmp(type, "counter"));
	snprintf(l->type, sizeof(l->type), "%s", type);
}

static void lint_sample(struct lint *l, const char *line)
{
	char name[96], series[600];
	const char *space = strrchr(line, ' '), *suffix;

	assert_non_null(space);
	assert_true(strspn(space + 1, "0123456789.e+-") == strlen(space + 1));
	snprintf(name, sizeof(name), "%.*s", (int)strcspn(line, "{ "), line);
	assert_int_equal(strncmp(name, l->family, strlen(l->family)), 0);
	suffix = name + strlen(l->family);
	if (!strcmp(l->type, "counter"))
		assert_string_equal(suffix, l->open ? "_total" : "");
	else if (!strcmp(l->type, "gauge"))
		assert_string_equal(suffix, "");
	else if (!strcmp(l->type, "histogram"))
		assert_true(!strcmp(suffix, "_bucket") || !strcmp(suffix, "_sum") || !strcmp(suffix, "_count"));
	else
		assert_true(!strcmp(l->type, "summary") && (!strcmp(suffix, "_sum") || !strcmp(suffix, "_count")));
	snprintf(series, sizeof(series), "%.*s", (int)(space - line), line);
	for (size_t i = 0; i < l->nseries; i++)
		if (!strcmp(l->series[i], series))
			fail_msg("series %s comes twice", series);
	snprintf(l->series[l->nseries++], 600, "%s", series);
}

static void lint_line(struct lint *l, const char *line)
{
	char name[96], rest[16];

	assert_false(l->ended);
	if (sscanf(line, "# HELP %95s", name) == 1) {
		lint_family(l, name);
		/* A sentence, not a name said again. */
		assert_true(strlen(line) > strlen("# HELP ") + strlen(name) + 4);
	} else if (sscanf(line, "# TYPE %95s %15s", name, rest) == 2) {
		lint_type(l, name, rest);
	} else if (sscanf(line, "# UNIT %95s %15s", name, rest) == 2) {
		assert_true(l->open && !strcmp(name, l->family) && ends_with(name, rest));
	} else if (!strcmp(line, "# EOF")) {
		l->ended = true;
	} else {
		assert_true(line[0] != '#');
		lint_sample(l, line);
	}
}

static size_t lint_text(const char *text, bool open)
{
	static struct lint l;

	memset(&l, 0, sizeof(l));
	l.open = open;
	while (*text) {
		size_t n = strcspn(text, "\n");
		char line[1024];

		assert_true(n < sizeof(line) && text[n] == '\n');
		snprintf(line, sizeof(line), "%.*s", (int)n, text);
		lint_line(&l, line);
		text += n + 1;
	}
	assert_int_equal(l.ended, open);
	return l.nseries;
}

static void test_conventions(void **state)
{
	(void)state;
	add_library("/usr/lib/x86_64-linux-gnu/libssl.so.3", true, true);
	add_library("/a\"b\\c\nd\xff\xc3\xa9", false, false);
	lint_text(render(false), false);
	lint_text(render(true), true);
	assert_non_null(strstr(out.p, "# TYPE kongtap_calls counter\n"));
	assert_non_null(strstr(out.p, "# UNIT kongtap_call_duration_seconds seconds\n"));
	assert_non_null(strstr(out.p, "library=\"/a\\\"b\\\\c\\nd?\xc3\xa9\",placement=\"none\"} 1\n"));
}

/* What others control makes no new series without end. */
static void test_bounded_labels(void **state)
{
	size_t few, many;
	char name[32];

	(void)state;
	for (int i = 0; i < 16; i++) {
		snprintf(name, sizeof(name), "/lib%d", i);
		add_library(name, true, true);
	}
	few = lint_text(render(false), false);
	for (int i = 0; i < 60; i++) {
		snprintf(name, sizeof(name), "/other%d", i % 30);
		add_library(name, true, false);
	}
	for (int i = 0; i < 200; i++) {
		struct event e = {.verb = span_str(name), .status = 100 + i * 31};

		snprintf(name, sizeof(name), "VERB%d", i);
		tally__event(&view.tally, &e);
	}
	add_library("/not/seen", false, false);
	view.snap.gauges.tls_beyond[TLS_NONE] = 2;
	many = lint_text(render(false), false);
	assert_int_equal(many, few + 2);
	/* The worker whose TLS is not seen is told apart, wherever it stands: that is what the alert asks for. */
	assert_non_null(strstr(out.p, "kongtap_tls_workers{library=\"others\",placement=\"entry_and_return\"} 60\n"));
	assert_non_null(strstr(out.p, "kongtap_tls_workers{library=\"others\",placement=\"none\"} 3\n"));
}

/* Each counter of the agent is told, once. */
static void test_every_counter(void **state)
{
	(void)state;
	for (int i = 0; i < STAT_COUNT_; i++)
		stats_set((enum counter)i, 700001000000ull + (uint64_t)i * 1000000);
	render(false);
	for (int i = 0; i < STAT_COUNT_; i++) {
		char value[48];
		const char *at;

		if (i == STAT_ship_request_us)
			snprintf(value, sizeof(value), " %llu.000000000\n",
				(700001000000ull + (unsigned)i * 1000000ull) / 1000000);
		else
			snprintf(value, sizeof(value), " %llu\n", 700001000000ull + (unsigned)i * 1000000ull);
		at = strstr(out.p, value);
		if (!at)
			fail_msg("%s is not told", stats_name((enum counter)i));
		assert_null(strstr(at + 1, value));
	}
}

static struct event call(uint64_t ms, int status, uint32_t weight)
{
	return (struct event){.verb = SPAN_LIT("GET"),
		.total_ns = ms * 1000000,
		.kong_ms = (int64_t)ms,
		.upstream_ms = -1,
		.status = status,
		.weight = weight,
		.request_bytes = 10,
		.response_bytes = 100};
}

static void test_calls(void **state)
{
	struct event e = call(3, 200, 1), weighed = call(700, 404, 10), none = call(90000, 0, 0);

	(void)state;
	tally__event(&view.tally, &e);
	tally__event(&view.tally, &weighed);
	tally__event(&view.tally, &none);
	render(false);
	assert_non_null(strstr(out.p, "kongtap_calls_total{method=\"GET\",status=\"2xx\"} 1\n"));
	assert_non_null(strstr(out.p, "kongtap_calls_total{method=\"GET\",status=\"4xx\"} 10\n"));
	assert_non_null(strstr(out.p, "kongtap_calls_total{method=\"GET\",status=\"none\"} 1\n"));
	assert_non_null(strstr(out.p, "kongtap_call_body_bytes_total{message=\"response\"} 1200\n"));
	assert_non_null(strstr(out.p, "kongtap_call_duration_seconds_bucket{le=\"0.0025\"} 0\n"));
	assert_non_null(strstr(out.p, "kongtap_call_duration_seconds_bucket{le=\"0.005\"} 1\n"));
	assert_non_null(strstr(out.p, "kongtap_call_duration_seconds_bucket{le=\"1.0\"} 11\n"));
	assert_non_null(strstr(out.p, "kongtap_call_duration_seconds_bucket{le=\"60.0\"} 11\n"));
	assert_non_null(strstr(out.p, "kongtap_call_duration_seconds_bucket{le=\"+Inf\"} 12\n"));
	assert_non_null(strstr(out.p, "kongtap_call_duration_seconds_sum 97.003000000\n"));
	assert_non_null(strstr(out.p, "kongtap_call_duration_seconds_count 12\n"));
	assert_non_null(strstr(out.p, "kongtap_upstream_latency_seconds_count 0\n"));
}

static void test_percentiles(void **state)
{
	struct histogram h = {.sum_ns = 0};

	(void)state;
	assert_int_equal(histogram_percentile(&h, 50), 0);
	h.buckets[1] = 100; /* 1 to 2.5 ms */
	assert_int_equal(histogram_percentile(&h, 50), 1750000);
	assert_int_equal(histogram_percentile(&h, 100), 2500000);
	h.buckets[HISTOGRAM_BOUNDS] = 100;
	assert_int_equal(histogram_percentile(&h, 95), histogram_bounds[HISTOGRAM_BOUNDS - 1]);
}

static void test_accept(void **state)
{
	(void)state;
	assert_false(metrics_wants_open((struct span){NULL, 0}));
	assert_false(metrics_wants_open(SPAN_LIT("*/*")));
	assert_false(metrics_wants_open(SPAN_LIT("text/plain;version=0.0.4,application/openmetrics-text;q=0.5")));
	assert_true(metrics_wants_open(SPAN_LIT("application/openmetrics-text;version=1.0.0,text/plain;q=0.3")));
}

static void test_labels(void **state)
{
	char label[16];

	(void)state;
	for (size_t size = 5; size < sizeof(label); size++) {
		memset(label, 'x', sizeof(label));
		expose_label(label, size, "a", SPAN_LIT("\"\"\"\"\"\"\xf0\x9f\x98\x80"));
		assert_true(strlen(label) < size);
		assert_int_equal(label[strlen(label) - 1], '"');
		assert_int_equal(strlen(label) % 2, 0); /* whole escapes */
	}
}

#define S 1000000000ull

static void test_history(void **state)
{
	static struct history h;
	struct tally t = {.request_bytes = 0};
	struct history_now now = {.lost = 5, .queued = 0, .cpu_ns = 0, .resident = 1};
	struct event good = call(3, 200, 1), bad = call(3, 503, 1);

	(void)state;
	history__init(&h, S, &t, &now);
	history__tick(&h, 5 * S, &t, &now);
	assert_int_equal(h.n, 0);
	for (int i = 0; i < 30; i++)
		tally__event(&t, i % 3 ? &good : &bad);
	stats_add(STAT_txn_seen, 40);
	now = (struct history_now){.lost = 25, .queued = 7, .cpu_ns = 5 * S, .resident = 2};
	history__tick(&h, 11 * S, &t, &now);
	assert_int_equal(h.n, 1);
	assert_true(history__step(&h, 0)->calls == 4.0);
	assert_true(history__step(&h, 0)->lost == 2.0);
	assert_true(history__step(&h, 0)->cpu == 0.5);
	assert_int_equal((int)(history__step(&h, 0)->server_errors * 1000), 333);
	assert_int_equal(history__step(&h, 0)->queued, 7);
	/* Nobody called: no share and no time. */
	history__tick(&h, 21 * S, &t, &now);
	assert_true(history__step(&h, 1)->calls == 0);
	assert_true(history__step(&h, 1)->server_errors < 0 && history__step(&h, 1)->p95_ms < 0);
	for (uint64_t i = 3; i < 200; i++) {
		now.queued = i;
		history__tick(&h, (1 + i * 10) * S, &t, &now);
	}
	assert_int_equal(h.n, HISTORY_STEPS);
	assert_int_equal(history__step(&h, HISTORY_STEPS - 1)->queued, 199);
	assert_int_equal(history__step(&h, 0)->queued, 200 - HISTORY_STEPS);
}

static void test_loss(void **state)
{
	(void)state;
	assert_int_equal(loss_sum(), 0);
	stats_add(STAT_wire_gap_lost, 1025);
	stats_add(STAT_queue_dropped_full, 3);
	/* On purpose, so no loss. */
	stats_add(STAT_wire_gap_limit, 1000);
	assert_int_equal(loss_sum(), 5);
	for (size_t i = 0; i < loss_count; i++) {
		assert_true(strlen(loss_table[i].advice) > 20);
		for (size_t j = 0; j < i; j++)
			assert_true(loss_table[i].counter != loss_table[j].counter);
	}
}

static void test_full_buffer(void **state)
{
	struct buf small;
	size_t whole = strlen(render(true));

	(void)state;
	for (size_t max = 0; max < whole; max += 97) {
		buf__init(&small, max);
		assert_int_equal(metrics_render(&small, &view, true), -28);
		buf__free(&small);
	}
}

int main(void)
{
#define T(fn) cmocka_unit_test_setup_teardown(fn, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		T(test_conventions),
		T(test_bounded_labels),
		T(test_every_counter),
		T(test_calls),
		T(test_percentiles),
		T(test_accept),
		T(test_labels),
		T(test_history),
		T(test_loss),
		T(test_full_buffer),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
