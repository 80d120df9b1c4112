/* link: -Wl,--wrap=malloc,--wrap=calloc,--wrap=realloc,--wrap=reallocarray,--wrap=strdup,--wrap=strndup */
/* What a replay does not pass (test_replay_alloc.c has that way): every allocation at the edges of the live agent fails
 * once, each in turn. Nothing crashes or leaks; what is lost is counted, or said to the caller. */
#include "kt_cmocka.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/types.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "alloc_fail.h"
#include "base/log.h"
#include "base/stats.h"
#include "capture.h"
#include "capture/elfsym.h"
#include "capture/intake.h"
#include "capture/recorder.h"
#include "ops/notify.h"
#include "ops/ops.h"
#include "ship/output.h"

static char file[] = "/tmp/kt-edges-XXXXXX";

static void silent(void *ctx, enum log_level level, const char *module, const char *text)
{
	(void)ctx, (void)level, (void)module, (void)text;
}

/* The rings. */

static unsigned handed;

static void on_record(void *ctx, const struct record *r)
{
	(void)ctx, (void)r;
	handed++;
}

static void on_proc(void *ctx, const struct proc_event *e)
{
	(void)ctx, (void)e;
}

static void no_more(void *ctx)
{
	(void)ctx;
}

static void use_intake(void)
{
	struct intake_sink sink = {.record = {on_record, NULL}, .proc = on_proc, .drain = no_more};
	uint64_t lost = stats_get(STAT_capture_lost_control);
	struct intake *in = intake__new(&sink);
	unsigned given = 1000;

	if (!in)
		return;
	handed = 0;
	for (unsigned i = 0; i < given; i++) {
		struct kt_open o = {.head = {.t_ns = i, .pid = 1, .kind = KT_OPEN}, .gen = i, .fd = 5};

		intake__control(in, &o, sizeof(o));
	}
	intake__settle(in, intake__mark(in));
	assert_int_equal(handed + stats_get(STAT_capture_lost_control) - lost, given);
	intake__free(in);
}

static void intake(void **state)
{
	(void)state;
	assert_true(alloc_sweep(use_intake) > 3);
}

/* Somebody's library. */

static void use_elfsym(void)
{
	int fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
	struct elfsym *e = elfsym__new(fd);
	struct elf_func f;

	if (e)
		assert_int_equal(elfsym__find(e, "main", &f), 0);
	else
		assert_int_equal(errno, ENOMEM);
	elfsym__free(e);
	close(fd);
}

static void elfsym(void **state)
{
	(void)state;
	assert_true(alloc_sweep(use_elfsym) > 0);
}

/* --record */

static void use_recorder(void)
{
	struct recorder *r = recorder__open(file, 7);
	char bytes[5000];
	struct record records[] = {
		{.kind = REC_OPEN, .t_ns = 1, .open = {.key = {1, 2, 3, 0}, .fd = 2}},
		{.kind = REC_DATA, .t_ns = 2, .data = {.key = {1, 2, 3, 0}, .data = span_of(bytes, sizeof(bytes))}},
		{.kind = REC_WORKER, .t_ns = 3, .worker = {.pid = 3}},
		{.kind = REC_CLOSE, .t_ns = 4, .close = {.key = {1, 2, 3, 0}}},
	};
	int err = 0;

	if (!r)
		return;
	memset(bytes, 'x', sizeof(bytes));
	for (size_t i = 0; i < sizeof(records) / sizeof(records[0]); i++) {
		int one = recorder__write(r, &records[i]);

		/* The first failure is the end, and stays said. */
		assert_true(err == 0 || one == err);
		err = one;
	}
	assert_true(err == 0 || err == -ENOMEM);
	recorder__close(r);
}

static void recorder(void **state)
{
	(void)state;
	assert_true(alloc_sweep(use_recorder) > 2);
}

/* What people look at. */

static enum output_kind kind;

static void use_output(void)
{
	struct output_options o = {.kind = kind, .path = file, .live = true, .filter = "2xx GET path=/a*"};
	struct event e = {
		.json = SPAN_LIT(
			"{\"request\":{\"headers\":{\"cookie\":\"a=b\"},\"body\":\"eHh4\",\"transfer_encoding\":"
			"\"base64\"},\"response\":{\"headers\":{\"x\":[\"1\",\"2\"]},\"body\":{\"a\":1}}}"),
		.wall_ns = 1795451904007000000ull,
		.kong_ms = -1,
		.upstream_ms = -1,
		.verb = SPAN_LIT("GET"),
		.uri = SPAN_LIT("http://a/a?b=c"),
		.path = SPAN_LIT("/a"),
		.status = 200,
		.weight = 1,
	};
	uint64_t before = stats_get(STAT_output_written) + stats_get(STAT_output_errors);
	struct output *out;
	unsigned given = 20;

	assert_int_equal(truncate(file, 0), 0);
	out = output__open(&o);
	if (!out) {
		assert_int_equal(errno, ENOMEM);
		return;
	}
	for (unsigned i = 0; i < given; i++)
		(void)output__event(out, &e);
	(void)output__flush(out);
	(void)output__close(out);
	assert_int_equal(stats_get(STAT_output_written) + stats_get(STAT_output_errors) - before, given);
}

static void output(void **state)
{
	(void)state;
	for (kind = OUTPUT_PRETTY; kind <= OUTPUT_HAR; kind++)
		assert_true(alloc_sweep(use_output) > 1);
}

/* Metrics, health, the page; the service manager. */

static void ask(uint16_t port, const char *path)
{
	struct sockaddr_in a = {
		.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	struct timeval patience = {.tv_sec = 10};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), n;
	char text[4096];
	ssize_t got = 0, all = 0;

	assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience)), 0);
	assert_int_equal(connect(fd, (struct sockaddr *)&a, sizeof(a)), 0);
	n = snprintf(text, sizeof(text), "GET %s HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", path);
	assert_int_equal(send(fd, text, (size_t)n, MSG_NOSIGNAL), n);
	for (; (got = recv(fd, text, sizeof(text), 0)) > 0; all += got)
		if (!all)
			assert_memory_equal(text, "HTTP/1.1 ", 9);
	/* An answer, if only that there is none, or the end of the connection: nobody is left waiting. */
	assert_int_equal(got, 0);
	close(fd);
}

static void use_ops(void)
{
	struct ops_options o = {.listen = "127.0.0.1:0", .last_calls = 5};
	struct event e = {
		.verb = SPAN_LIT("GET"), .path = SPAN_LIT("/"), .status = 200, .total_ns = 5000000, .weight = 1};
	struct record w = {.kind = REC_WORKER, .worker.pid = 77};
	struct ops *ops = ops__new(&o);
	struct notify *n = notify__open();

	notify__free(n);
	if (!ops)
		return;
	ops__on_record(ops, &w);
	ops__on_event(ops, &e);
	ops__tick(ops);
	if (ops__port(ops)) {
		ask(ops__port(ops), "/metrics");
		ask(ops__port(ops), "/status.json");
		ask(ops__port(ops), "/");
	}
	ops__free(ops);
}

static void ops(void **state)
{
	(void)state;
	assert_true(alloc_sweep(use_ops) > 5);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(intake),
		cmocka_unit_test(elfsym),
		cmocka_unit_test(recorder),
		cmocka_unit_test(output),
		cmocka_unit_test(ops),
	};
	int fd = mkstemp(file), rc;

	if (fd < 0)
		return 1;
	close(fd);
	log_set_sink(silent, NULL);
	rc = cmocka_run_group_tests(tests, NULL, NULL);
	unlink(file);
	return rc;
}
