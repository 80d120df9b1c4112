/* The status page: its policy fits its script, nothing in it comes from elsewhere, and status.json is valid whatever
 * the wire said. */
#include <openssl/sha.h>
#include <string.h>

#include <jansson.h>

#include "kt_cmocka.h"

#include "base/base64.h"
#include "base/stats.h"
#include "ops/page.h"
#include "ops/status.h"

static struct ops_view view;

static int set_up(void **state)
{
	(void)state;
	stats_reset();
	memset(&view, 0, sizeof(view));
	return 0;
}

static json_t *status(void)
{
	json_error_t error;
	struct buf b;
	json_t *v;

	buf__init(&b, 1 << 22);
	assert_int_equal(status_render(&b, &view), 0);
	v = json_loadb(b.p, b.n, JSON_REJECT_DUPLICATES, &error);
	if (!v)
		fail_msg("%s at %d", error.text, error.position);
	buf__free(&b);
	return v;
}

static void has_digest(const char *policy, const char *open, const char *close)
{
	struct span page = page_text();
	const char *from = (const char *)memmem(page.p, page.n, open, strlen(open)) + strlen(open);
	const char *to = memmem(from, page.n - (size_t)(from - page.p), close, strlen(close));
	unsigned char sum[SHA256_DIGEST_LENGTH];
	struct buf wanted;

	assert_non_null(to);
	SHA256((const unsigned char *)from, (size_t)(to - from), sum);
	buf__init(&wanted, 100);
	buf__append_str(&wanted, "'sha256-");
	base64_encode(&wanted, span_of(sum, sizeof(sum)));
	buf__append(&wanted, "'", 2);
	assert_non_null(strstr(policy, wanted.p));
	buf__free(&wanted);
}

static size_t count(const char *what)
{
	struct span page = page_text();
	size_t n = 0;

	for (const char *at = page.p; (at = memmem(at, page.n - (size_t)(at - page.p), what, strlen(what))); at++)
		n++;
	return n;
}

static void test_policy(void **state)
{
	char policy[PAGE_POLICY_LEN];

	(void)state;
	assert_int_equal(page_policy(policy), 0);
	has_digest(policy, "<script>", "</script>");
	has_digest(policy, "<style>", "</style>");
	assert_non_null(strstr(policy, "default-src 'none'"));
	assert_null(strstr(policy, "unsafe"));
	assert_true(strlen(policy) < PAGE_POLICY_LEN - 1);
	/* One script and one style, so one digest each; nothing inline beside them, nothing from elsewhere. */
	assert_int_equal(count("<script"), 1);
	assert_int_equal(count("<style"), 1);
	assert_int_equal(count(" style="), 0);
	assert_int_equal(count("onclick"), 0);
	assert_int_equal(count("onload"), 0);
	assert_int_equal(count("innerHTML"), 0);
	assert_int_equal(count("insertAdjacent"), 0);
	assert_int_equal(count("eval("), 0);
	assert_int_equal(count("http://"), count("http://www.w3.org/2000/svg"));
	assert_int_equal(count("https://"), 0);
}

static void test_nothing_yet(void **state)
{
	json_t *v = status();

	(void)state;
	assert_true(json_is_false(json_object_get(v, "ready")));
	assert_true(json_is_null(json_object_get(v, "last_calls")));
	assert_int_equal(json_array_size(json_object_get(v, "workers")), 0);
	json_decref(v);
}

static const char nasty[] = "</script><img src=x onerror=alert(1)>\"\\\x01\x80\xff\xed\xa0\x80\xe2\x80\xae";

static void test_hostile_text(void **state)
{
	struct record rec = {.kind = REC_WORKER, .t_ns = 1, .worker = {.pid = 7, .node_pid = 6, .nports = 2}};
	struct event e = {.verb = span_str(nasty), .path = span_str(nasty), .user = span_str(nasty), .status = 200};
	const json_t *row, *call;
	json_t *v;

	(void)state;
	memcpy(rec.worker.prefix, nasty, sizeof(nasty));
	/* No NUL at its end. */
	memset(rec.worker.pod, 0xe9, sizeof(rec.worker.pod));
	rec.worker.ports[1] = (struct listen_port){.port = 8443, .role = PORT_PROXY, .ssl = 1};
	worker_table__on_record(&view.snap.workers, &rec);
	view.snap.recent.want = 2;
	for (int i = 0; i < 3; i++) {
		e.status = 200 + i;
		recent__event(&view.snap.recent, &e);
	}
	view.snap.gauges.ntls = 1;
	view.snap.gauges.tls[0].pid = 7;
	memcpy(view.snap.gauges.tls[0].text, nasty, sizeof(nasty));
	memcpy(view.snap.gauges.error, nasty, sizeof(nasty));
	memcpy(view.not_ready, nasty, sizeof(nasty));
	v = status();
	row = json_array_get(json_object_get(v, "workers"), 0);
	assert_int_equal(json_integer_value(json_object_get(row, "tls_ports")), 1);
	assert_int_equal(strncmp(json_string_value(json_object_get(row, "prefix")), "</script><img", 13), 0);
	assert_non_null(json_object_get(row, "tls"));
	assert_int_equal(json_array_size(json_object_get(v, "last_calls")), 2);
	/* Newest first. */
	call = json_array_get(json_object_get(v, "last_calls"), 0);
	assert_int_equal(json_integer_value(json_object_get(call, "status")), 202);
	json_decref(v);
}

static void test_workers(void **state)
{
	struct worker_table *t = &view.snap.workers;
	struct record rec = {.kind = REC_WORKER, .t_ns = 1};
	struct record data = {.kind = REC_DATA, .t_ns = 9, .data = {.data = SPAN_LIT("abc"), .gap = 4}};

	(void)state;
	for (uint32_t pid = 1; pid <= OPS_WORKERS_MAX + 2; pid++) {
		rec.worker.pid = pid;
		worker_table__on_record(t, &rec);
		worker_table__on_record(t, &rec);
	}
	assert_int_equal(t->n, OPS_WORKERS_MAX);
	assert_int_equal(t->left_out, 4);
	data.data.key = (struct conn_key){.pid = 3, .tls = 1};
	worker_table__on_record(t, &data);
	data.data.key = (struct conn_key){.pid = 3, .tls = 0};
	worker_table__on_record(t, &data);
	worker_table__on_record(t, &data);
	data.data.key.pid = 100000; /* nobody's */
	worker_table__on_record(t, &data);
	assert_int_equal(t->rows[2].tls_bytes, 7);
	assert_int_equal(t->rows[2].clear_bytes, 14);
	assert_int_equal(t->rows[2].seen_ns, 9);
	rec = (struct record){.kind = REC_EXIT, .exit.pid = 2};
	worker_table__on_record(t, &rec);
	worker_table__on_record(t, &rec);
	assert_int_equal(t->n, OPS_WORKERS_MAX - 1);
	assert_int_equal(t->rows[1].pid, 3);
	assert_int_equal(t->rows[1].clear_bytes, 14);
	assert_int_equal(t->rows[t->n - 1].pid, OPS_WORKERS_MAX);
	json_decref(status());
	for (uint32_t pid = 1; pid <= OPS_WORKERS_MAX; pid++) {
		rec.exit.pid = pid;
		worker_table__on_record(t, &rec);
	}
	assert_int_equal(t->n, 0);
}

static void test_full_buffer(void **state)
{
	struct buf small, whole;

	(void)state;
	buf__init(&whole, 1 << 20);
	assert_int_equal(status_render(&whole, &view), 0);
	for (size_t max = 0; max < whole.n; max += 13) {
		buf__init(&small, max);
		assert_int_equal(status_render(&small, &view), -28);
		buf__free(&small);
	}
	buf__free(&whole);
}

int main(void)
{
#define T(fn) cmocka_unit_test_setup(fn, set_up)
	const struct CMUnitTest tests[] = {
		T(test_policy),
		T(test_nothing_yet),
		T(test_hostile_text),
		T(test_workers),
		T(test_full_buffer),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
