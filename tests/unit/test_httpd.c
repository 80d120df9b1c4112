/* The endpoint over real sockets: answers, refusals, limits, and that nobody who is slow or hostile stops it. */
#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "kt_cmocka.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/stats.h"
#include "ops/ops.h"
#include "ops/routes.h"

static struct ops *ops;
static char answer[1 << 20];
static unsigned warnings;

static void count_warnings(void *ctx, enum log_level level, const char *module, const char *text)
{
	(void)ctx, (void)module, (void)text;
	warnings += level == LOG_LVL_WARN;
}

static void fill(void *ctx, struct gauges *ret)
{
	(void)ctx;
	ret->workers = 3;
	ret->ring_peak_bytes = 1000;
}

static int set_up(void **state)
{
	struct ops_options o = {.listen = "127.0.0.1:0", .last_calls = 5, .gauges = {.fn = fill}};

	(void)state;
	stats_reset();
	warnings = 0;
	log_set_sink(count_warnings, NULL);
	ops = ops__new(&o);
	ops__tick(ops);
	return ops && ops__port(ops) ? 0 : -1;
}

static int tear_down(void **state)
{
	(void)state;
	ops__free(ops);
	return 0;
}

static int dial(void)
{
	struct sockaddr_in a = {
		.sin_family = AF_INET, .sin_port = htons(ops__port(ops)), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_int_equal(connect(fd, (struct sockaddr *)&a, sizeof(a)), 0);
	return fd;
}

/* Everything until the other side closes, at most for some seconds. */
static size_t read_all(int fd)
{
	struct pollfd p = {.fd = fd, .events = POLLIN};
	size_t n = 0;

	while (n < sizeof(answer) - 1 && poll(&p, 1, 5000) == 1) {
		ssize_t got = read(fd, answer + n, sizeof(answer) - 1 - n);

		if (got <= 0)
			break;
		n += (size_t)got;
	}
	answer[n] = '\0';
	return n;
}

static void ask(const char *request)
{
	int fd = dial();

	assert_int_equal(send(fd, request, strlen(request), MSG_NOSIGNAL), strlen(request));
	read_all(fd);
	close(fd);
}

static void get(const char *path, const char *headers)
{
	char request[512];

	snprintf(request, sizeof(request), "GET %s HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n%s\r\n", path,
		headers);
	ask(request);
}

#define STARTS(text) assert_int_equal(strncmp(answer, text, strlen(text)), 0)
#define HOLDS(text) assert_non_null(strstr(answer, text))

static void test_answers(void **state)
{
	(void)state;
	get("/", "");
	STARTS("HTTP/1.1 200 ");
	HOLDS("Content-Type: text/html; charset=utf-8");
	HOLDS("Content-Security-Policy: default-src 'none'; script-src 'sha256-");
	HOLDS("X-Content-Type-Options: nosniff");
	HOLDS("</html>");
	get("/status.json", "");
	STARTS("HTTP/1.1 200 ");
	HOLDS("\"workers_watched\":3,");
	get("/metrics", "");
	STARTS("HTTP/1.1 200 ");
	HOLDS("Content-Type: text/plain; version=0.0.4");
	HOLDS("\nkongtap_workers 3\n");
	HOLDS("\nkongtap_ring_peak_bytes 1000\n");
	get("/metrics?x=y", "Accept: application/openmetrics-text; version=1.0.0\r\n");
	HOLDS("Content-Type: application/openmetrics-text; version=1.0.0");
	HOLDS("\n# EOF\n");
	get("/nothing", "");
	STARTS("HTTP/1.1 404 ");
	get("/metrics/", "");
	STARTS("HTTP/1.1 404 ");
	get("//", "");
	STARTS("HTTP/1.1 404 ");
}

static void test_head_and_others(void **state)
{
	(void)state;
	ask("HEAD /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
	STARTS("HTTP/1.1 200 ");
	assert_null(strstr(answer, "kongtap_workers"));
	ask("POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3\r\nConnection: close\r\n\r\nabc");
	STARTS("HTTP/1.1 405 ");
	HOLDS("Allow: GET, HEAD");
	ask("DELETE /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
	STARTS("HTTP/1.1 405 ");
	ask("GET /healthz HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3\r\nConnection: close\r\n\r\nabc");
	STARTS("HTTP/1.1 200 ");
}

static void test_ready(void **state)
{
	(void)state;
	get("/readyz", "");
	STARTS("HTTP/1.1 503 ");
	HOLDS("not ready: starting\n");
	ops__set_ready(ops, NULL);
	get("/readyz", "");
	STARTS("HTTP/1.1 200 ");
	HOLDS("ready, watching 3 workers\n");
	ops__set_ready(ops, "stopping");
	get("/readyz", "");
	HOLDS("not ready: stopping\n");
	get("/healthz", "");
	STARTS("HTTP/1.1 200 ");
	HOLDS("ok\n");
}

/* Another site's page can lead its own name here, but not another. */
static void test_names(void **state)
{
	static const struct {
		const char *host;
		bool good;
	} cases[] = {{"127.0.0.1", true}, {"127.0.0.1:9464", true}, {"[::1]:9464", true}, {"[::1]", true},
		{"10.1.2.3", true}, {"localhost", true}, {"LocalHost:80", true}, {"evil.example", false},
		{"evil.example:9464", false}, {"127.0.0.1.evil.example", false}, {"localhost.evil.example", false},
		{"unix", false}, {"?", false}, {"[::1", false}, {"@", false}};
	char request[256], host[128] = "";

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		snprintf(request, sizeof(request), "GET /status.json HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n",
			cases[i].host);
		ask(request);
		if (!strncmp(answer, "HTTP/1.1 200 ", 13) != cases[i].good)
			fail_msg("Host: %s: %.40s", cases[i].host, answer);
		/* Scrapers and supervisors go by whatever name. */
		snprintf(request, sizeof(request), "GET /healthz HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n",
			cases[i].host);
		ask(request);
		STARTS("HTTP/1.1 200 ");
	}
	gethostname(host, sizeof(host) - 1);
	snprintf(request, sizeof(request), "GET / HTTP/1.1\r\nHost: %s:9464\r\nConnection: close\r\n\r\n", host);
	ask(request);
	STARTS("HTTP/1.1 200 ");
}

static void test_events(void **state)
{
	struct event e = {
		.verb = SPAN_LIT("GET"), .path = SPAN_LIT("/<b>"), .status = 200, .total_ns = 5000000, .weight = 1};
	struct record w = {.kind = REC_WORKER, .worker.pid = 77};

	(void)state;
	ops__on_event(ops, &e);
	ops__on_record(ops, &w);
	get("/metrics", "");
	HOLDS("kongtap_calls_total{method=\"GET\",status=\"2xx\"} 1\n");
	/* What is copied once a second comes with the next tick of a later second. */
	get("/status.json", "");
	assert_null(strstr(answer, "\"pid\":77"));
	for (int i = 0; i < 50 && !strstr(answer, "\"pid\":77"); i++) {
		poll(NULL, 0, 100);
		ops__tick(ops);
		get("/status.json", "");
	}
	HOLDS("\"pid\":77");
	HOLDS("\"path\":\"/<b>\"");
}

/* Garbage, half requests and silence do not keep others from being answered. */
static void test_hostile_clients(void **state)
{
	static const char *const garbage[] = {"\x16\x03\x01\x02", "GET", "GET / HTTP/9.9\r\n\r\n", "\r\n\r\n\r\n",
		"A B C\r\n\r\n", "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
		"GET /%00%ff%zz HTTP/1.1\r\nHost: localhost\r\n\r\n",
		"GET / HTTP/1.1\r\nContent-Length: 99999999999999999999\r\n\r\n",
		"GET / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffffff\r\n"};
	int held[20];

	(void)state;
	for (size_t i = 0; i < sizeof(held) / sizeof(held[0]); i++) {
		held[i] = dial();
		send(held[i], "GET / HT", 8, MSG_NOSIGNAL);
	}
	for (size_t i = 0; i < sizeof(garbage) / sizeof(garbage[0]); i++) {
		int fd = dial();

		send(fd, garbage[i], strlen(garbage[i]), MSG_NOSIGNAL);
		shutdown(fd, SHUT_WR);
		/* Answered or not: that is up to the server. */
		poll(NULL, 0, 20);
		close(fd);
	}
	get("/healthz", "");
	STARTS("HTTP/1.1 200 ");
	for (size_t i = 0; i < sizeof(held) / sizeof(held[0]); i++)
		close(held[i]);
}

static void test_long_head(void **state)
{
	static char request[40000];
	int n = snprintf(request, sizeof(request), "GET / HTTP/1.1\r\nHost: localhost\r\nX: ");

	(void)state;
	memset(request + n, 'a', sizeof(request) - 5 - (size_t)n);
	memcpy(request + sizeof(request) - 5, "\r\n\r\n", 5);
	ask(request);
	STARTS("HTTP/1.1 4");
}

/* One byte at a time. */
static void test_slow_request(void **state)
{
	static const char request[] = "GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
	int fd = dial();

	(void)state;
	for (size_t i = 0; i + 1 < sizeof(request); i++) {
		assert_int_equal(send(fd, request + i, 1, MSG_NOSIGNAL), 1);
		poll(NULL, 0, 1);
	}
	read_all(fd);
	close(fd);
	STARTS("HTTP/1.1 200 ");
}

/* A flood is turned away, but not the supervisor. */
static void test_flood(void **state)
{
	unsigned good = 0, away = 0;

	(void)state;
	for (int i = 0; i < 500; i++) {
		get("/metrics", "");
		good += !strncmp(answer, "HTTP/1.1 200 ", 13);
		away += !strncmp(answer, "HTTP/1.1 429 ", 13);
	}
	assert_int_equal(good + away, 500);
	assert_true(good >= 200);
	for (int i = 0; i < 300; i++) {
		get("/healthz", "");
		STARTS("HTTP/1.1 200 ");
	}
}

static void test_cannot_listen(void **state)
{
	struct ops_options o = {.listen = "127.0.0.1:0"};
	char taken[32];
	struct ops *second;

	(void)state;
	snprintf(taken, sizeof(taken), "127.0.0.1:%u", ops__port(ops));
	for (int i = 0; i < 2; i++) {
		o.listen = i ? "not an address" : taken;
		warnings = 0;
		second = ops__new(&o);
		assert_non_null(second);
		assert_int_equal(warnings, 1);
		assert_int_equal(ops__port(second), 0);
		ops__tick(second);
		ops__set_ready(second, NULL);
		ops__free(second);
	}
	/* To everybody, with customers' calls: worth a word. */
	o = (struct ops_options){.listen = "0.0.0.0:0", .last_calls = 1};
	warnings = 0;
	second = ops__new(&o);
	assert_int_equal(warnings, 1);
	ops__free(second);
	o.listen = "[::1]:0";
	warnings = 0;
	second = ops__new(&o);
	assert_int_equal(warnings, 0);
	ops__free(second);
}

static void look(void *ctx, bool whole, struct ops_view *ret)
{
	(void)whole;
	ret->quiet_ns = *(uint64_t *)ctx;
}

/* The loop hangs: the supervisor is told. */
static void test_hang(void **state)
{
	uint64_t quiet = 9900000000ull;
	struct routes r = {.look = look, .ctx = &quiet};
	struct httpd_request req = {.path = SPAN_LIT("/healthz")};
	struct httpd_answer a = {.status = 500};

	(void)state;
	assert_int_equal(routes__init(&r), 0);
	buf__init(&a.body, HTTPD_ANSWER_MAX);
	routes__answer(&r, &req, &a);
	assert_int_equal(a.status, 200);
	quiet = 12300000000ull;
	routes__answer(&r, &req, &a);
	assert_int_equal(a.status, 503);
	assert_true(span_eq(buf_span(&a.body), SPAN_LIT("the loop that captures has not come round for 12.3 s\n")));
	buf__free(&a.body);
}

static void test_without(void **state)
{
	struct event e = {.status = 200};
	struct record rec = {.kind = REC_TICK};

	(void)state;
	ops__tick(NULL);
	ops__on_event(NULL, &e);
	ops__on_record(NULL, &rec);
	ops__set_ready(NULL, NULL);
	assert_int_equal(ops__port(NULL), 0);
	ops__free(NULL);
}

int main(void)
{
#define T(fn) cmocka_unit_test_setup_teardown(fn, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		T(test_answers),
		T(test_head_and_others),
		T(test_ready),
		T(test_names),
		T(test_events),
		T(test_hostile_clients),
		T(test_long_head),
		T(test_slow_request),
		T(test_flood),
		T(test_cannot_listen),
		T(test_hang),
		T(test_without),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
