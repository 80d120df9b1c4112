/* notify: held against a socket of the test's own. */
#include "kt_cmocka.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/log.h"
#include "ops/notify.h"

#define SECOND 1000000000ull

static int listener = -1;
static char heard[1024];
static unsigned warnings;

static void on_log(void *ctx, enum log_level level, const char *module, const char *text)
{
	(void)ctx, (void)module, (void)text;
	warnings += level <= LOG_LVL_WARN;
}

/* Listens on a path, or with @ in front on an abstract name, and says so in the environment. */
static void listen_on(const char *name)
{
	struct sockaddr_un a = {.sun_family = AF_UNIX};
	size_t n = strlen(name);

	if (listener >= 0)
		close(listener);
	memcpy(a.sun_path, name, n);
	if (*name == '@')
		a.sun_path[0] = '\0';
	else
		unlink(name);
	listener = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK, 0);
	assert_int_equal(bind(listener, (struct sockaddr *)&a,
				 (socklen_t)(offsetof(struct sockaddr_un, sun_path) + n + (*name == '/'))),
		0);
	setenv("NOTIFY_SOCKET", name, 1);
}

/* The next datagram; "" when there is none. */
static const char *next(void)
{
	ssize_t n = recv(listener, heard, sizeof(heard) - 1, 0);

	heard[n > 0 ? n : 0] = '\0';
	return heard;
}

static void life(const char *name)
{
	struct notify *n;

	listen_on(name);
	n = notify__open();
	assert_non_null(n);
	assert_null(getenv("NOTIFY_SOCKET"));
	assert_string_equal(next(), "");
	notify__ready(n, "watching 2 workers");
	assert_string_equal(next(), "READY=1\nSTATUS=watching 2 workers\n");
	notify__status(n, "watching 2 workers");
	assert_string_equal(next(), "");
	notify__status(n, "watching 3 workers");
	assert_string_equal(next(), "STATUS=watching 3 workers\n");
	notify__reloading(n);
	assert_int_equal(strncmp(next(), "RELOADING=1\nMONOTONIC_USEC=", 27), 0);
	notify__ready(n, "watching 3 workers");
	assert_string_equal(next(), "READY=1\nSTATUS=watching 3 workers\n");
	notify__stopping(n, "delivering 7 events");
	assert_string_equal(next(), "STOPPING=1\nSTATUS=delivering 7 events\n");
	notify__free(n);
}

static void test_path(void **state)
{
	char dir[] = "/tmp/kt-notify-XXXXXX", path[64];

	(void)state;
	assert_non_null(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/socket", dir);
	life(path);
	unlink(path);
	rmdir(dir);
}

static void test_abstract(void **state)
{
	char name[64];

	(void)state;
	snprintf(name, sizeof(name), "@kt-notify-%d", (int)getpid());
	life(name);
}

static void test_watchdog(void **state)
{
	char name[64], pid[16];
	struct notify *n;

	(void)state;
	snprintf(name, sizeof(name), "@kt-watchdog-%d", (int)getpid());
	snprintf(pid, sizeof(pid), "%d", (int)getpid());
	listen_on(name);
	setenv("WATCHDOG_USEC", "10000000", 1);
	setenv("WATCHDOG_PID", pid, 1);
	n = notify__open();
	assert_null(getenv("WATCHDOG_USEC"));
	assert_null(getenv("WATCHDOG_PID"));
	notify__alive(n, 100 * SECOND);
	assert_string_equal(next(), "WATCHDOG=1\n");
	notify__alive(n, 104 * SECOND);
	assert_string_equal(next(), "");
	notify__alive(n, 105 * SECOND);
	assert_string_equal(next(), "WATCHDOG=1\n");
	notify__free(n);
}

static void no_ping(const char *usec, const char *pid)
{
	char name[64];
	struct notify *n;

	snprintf(name, sizeof(name), "@kt-silent-%d", (int)getpid());
	listen_on(name);
	setenv("WATCHDOG_USEC", usec, 1);
	if (pid)
		setenv("WATCHDOG_PID", pid, 1);
	n = notify__open();
	notify__alive(n, 100 * SECOND);
	assert_string_equal(next(), "");
	notify__free(n);
}

static void test_watchdog_not_for_us(void **state)
{
	(void)state;
	no_ping("10000000", "1");
	no_ping("10000000", "");
	no_ping("10000000", "12x");
	no_ping("", NULL);
	no_ping("-5", NULL);
	no_ping("10s", NULL);
	no_ping("99999999999999999999999", NULL);
	no_ping("0", NULL);
}

static void test_one_line(void **state)
{
	char name[64], longer[1000];
	struct notify *n;

	(void)state;
	snprintf(name, sizeof(name), "@kt-line-%d", (int)getpid());
	listen_on(name);
	n = notify__open();
	notify__status(n, "a\nMAINPID=1\n");
	assert_string_equal(next(), "STATUS=a MAINPID=1 \n");
	notify__status(n, "a\nMAINPID=1\n");
	assert_string_equal(next(), "");
	memset(longer, 'x', sizeof(longer) - 1);
	longer[sizeof(longer) - 1] = '\0';
	notify__status(n, longer);
	assert_int_equal(strlen(next()), 7 + 255 + 1);
	notify__free(n);
}

static void test_nobody_there(void **state)
{
	static const char *const bad[] = {"/", "@", "relative", "vsock:2:1", "/nowhere/at/all"};
	char longer[200];
	struct notify *n;

	(void)state;
	log_set_sink(on_log, NULL);
	for (size_t i = 0; i <= sizeof(bad) / sizeof(bad[0]); i++) {
		memset(longer, 'x', sizeof(longer) - 1);
		longer[0] = '/';
		longer[sizeof(longer) - 1] = '\0';
		setenv("NOTIFY_SOCKET", i < 5 ? bad[i] : longer, 1);
		warnings = 0;
		n = notify__open();
		assert_non_null(n);
		notify__ready(n, "ready");
		notify__stopping(n, "stopping");
		notify__free(n);
		assert_in_range(warnings, 1, 2);
	}
	warnings = 0;
	n = notify__open();
	notify__ready(n, "ready");
	notify__alive(n, SECOND);
	notify__free(n);
	assert_int_equal(warnings, 0);
	log_set_sink(NULL, NULL);
	notify__free(NULL);
}

/* A manager that does not read: what is told must not block, and the ping is made up for. */
static void test_manager_is_slow(void **state)
{
	char name[64];
	struct notify *n;
	unsigned pings = 0;

	(void)state;
	log_set_sink(on_log, NULL);
	snprintf(name, sizeof(name), "@kt-slow-%d", (int)getpid());
	listen_on(name);
	setenv("WATCHDOG_USEC", "2000000", 1);
	n = notify__open();
	for (uint64_t i = 1; i <= 2000; i++)
		notify__alive(n, i * SECOND);
	while (*next())
		pings++;
	assert_true(pings > 0 && pings < 2000);
	notify__alive(n, 2000 * SECOND + 1);
	assert_string_equal(next(), "WATCHDOG=1\n");
	notify__free(n);
	log_set_sink(NULL, NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_path),
		cmocka_unit_test(test_abstract),
		cmocka_unit_test(test_watchdog),
		cmocka_unit_test(test_watchdog_not_for_us),
		cmocka_unit_test(test_one_line),
		cmocka_unit_test(test_nobody_there),
		cmocka_unit_test(test_manager_is_slow),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
