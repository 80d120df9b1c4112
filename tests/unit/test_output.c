/* Outputs into files, pipes and a terminal: whole lines, whole documents, bounded waiting, footers. */
#include <errno.h>
#include <fcntl.h>
#include <pty.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <termios.h>
#include <unistd.h>

#include <jansson.h>

#include "kt_cmocka.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/stats.h"
#include "ship/har.h"
#include "ship/live.h"
#include "ship/output.h"

static char dir[] = "/tmp/kt-output-XXXXXX", path[64], text[1 << 20];
static size_t text_len;

static struct event make(int status, const char *where)
{
	return (struct event){
		.json = SPAN_LIT("{\"request\":{\"headers\":{}}}"),
		.wall_ns = 1795451904007000000ull,
		.kong_ms = -1,
		.upstream_ms = -1,
		.verb = SPAN_LIT("GET"),
		.uri = SPAN_LIT("http://a/"),
		.path = span_str(where),
		.status = status,
		.weight = 1,
	};
}

static void no_log(void *ctx, enum log_level level, const char *module, const char *line)
{
	(void)ctx, (void)level, (void)module, (void)line;
}

static int set_up(void **state)
{
	(void)state;
	log_set_sink(no_log, NULL);
	stats_reset();
	unsetenv("COLUMNS");
	unsetenv("NO_COLOR");
	setenv("TERM", "xterm", 1);
	strcpy(dir + strlen(dir) - 6, "XXXXXX");
	if (!mkdtemp(dir))
		return -1;
	snprintf(path, sizeof(path), "%s/out", dir);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	unlink(path);
	return rmdir(dir);
}

static void read_fd(int fd)
{
	ssize_t n = read(fd, text, sizeof(text) - 1);

	text_len = n > 0 ? (size_t)n : 0;
	text[text_len] = '\0';
}

static void read_path(void)
{
	int fd = open(path, O_RDONLY);

	assert_true(fd >= 0);
	read_fd(fd);
	close(fd);
}

static struct output *open_kind(enum output_kind kind, const char *filter)
{
	struct output_options o = {.kind = kind, .path = path, .live = true, .filter = filter};

	return output__open(&o);
}

static void test_lines(void **state)
{
	struct output *o = open_kind(OUTPUT_JSONL, NULL);
	struct event e = make(200, "/");
	struct stat st;

	(void)state;
	assert_non_null(o);
	assert_int_equal(output__event(o, &e), 0);
	assert_int_equal(output__flush(o), 0);
	assert_int_equal(output__event(o, &e), 0);
	assert_int_equal(output__close(o), 0);
	read_path();
	assert_string_equal(text, "{\"request\":{\"headers\":{}}}\n{\"request\":{\"headers\":{}}}\n");
	assert_int_equal(stats_get(STAT_output_written), 2);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
}

static void test_filter(void **state)
{
	struct output *o = open_kind(OUTPUT_PRETTY, "5xx");
	struct event good = make(200, "/good"), bad = make(500, "/bad");

	(void)state;
	assert_non_null(o);
	output__event(o, &good);
	output__event(o, &bad);
	output__close(o);
	read_path();
	assert_null(strstr(text, "/good"));
	assert_non_null(strstr(text, "/bad"));
	/* No colour and no footer in a file. */
	assert_null(strchr(text, '\x1b'));
	errno = 0;
	assert_null(open_kind(OUTPUT_PRETTY, "what"));
	assert_int_equal(errno, EINVAL);
}

static size_t entries(void)
{
	json_error_t error;
	json_t *doc;
	size_t n;

	read_path();
	doc = json_loadb(text, text_len, 0, &error);
	if (!doc)
		fail_msg("no JSON: %s in %s", error.text, text);
	n = json_array_size(json_object_get(json_object_get(doc, "log"), "entries"));
	assert_string_equal(json_string_value(json_object_get(json_object_get(doc, "log"), "version")), "1.2");
	json_decref(doc);
	return n;
}

/* The document is whole after each flush, and a second run goes on with it. */
static void test_har_file(void **state)
{
	struct event e = make(200, "/");
	struct output *o = open_kind(OUTPUT_HAR, NULL);

	(void)state;
	assert_non_null(o);
	assert_int_equal(output__flush(o), 0);
	assert_int_equal(entries(), 0);
	for (size_t i = 1; i <= 3; i++) {
		assert_int_equal(output__event(o, &e), 0);
		assert_int_equal(output__flush(o), 0);
		assert_int_equal(entries(), i);
	}
	output__event(o, &e);
	assert_int_equal(output__close(o), 0);
	assert_int_equal(entries(), 4);
	o = open_kind(OUTPUT_HAR, NULL);
	assert_non_null(o);
	assert_int_equal(entries(), 4);
	output__event(o, &e);
	output__close(o);
	assert_int_equal(entries(), 5);
}

static void test_har_of_no_event(void **state)
{
	struct event e = make(200, "/");

	(void)state;
	output__close(open_kind(OUTPUT_HAR, NULL));
	assert_int_equal(entries(), 0);
	for (int i = 1; i < 3; i++) {
		struct output *o = open_kind(OUTPUT_HAR, NULL);

		output__event(o, &e);
		output__close(o);
		assert_int_equal(entries(), i);
	}
}

static void test_har_keeps_foreign_files(void **state)
{
	int fd = open(path, O_WRONLY | O_CREAT, 0600);

	(void)state;
	assert_int_equal(write(fd, "precious\n", 9), 9);
	close(fd);
	errno = 0;
	assert_null(open_kind(OUTPUT_HAR, NULL));
	assert_int_equal(errno, EEXIST);
	read_path();
	assert_string_equal(text, "precious\n");
}

static char said[4096];

static void gather_log(void *ctx, enum log_level level, const char *module, const char *line)
{
	size_t n = strlen(said);

	(void)ctx, (void)level, (void)module;
	snprintf(said + n, sizeof(said) - n, "%s\n", line);
}

static char old_path[80];

static void rotate(void)
{
	snprintf(old_path, sizeof(old_path), "%s.1", path);
	assert_int_equal(rename(path, old_path), 0);
	said[0] = '\0';
	log_set_sink(gather_log, NULL);
}

static void read_old(void)
{
	char kept[sizeof(path)];

	memcpy(kept, path, sizeof(path));
	assert_true(strlen(old_path) < sizeof(path));
	strcpy(path, old_path);
	read_path();
	memcpy(path, kept, sizeof(path));
}

#define LINE "{\"request\":{\"headers\":{}}}\n"

static void test_rotated(void **state)
{
	struct output *o = open_kind(OUTPUT_JSONL, NULL);
	struct event e = make(200, "/");

	(void)state;
	assert_non_null(o);
	output__event(o, &e);
	/* Nobody has renamed it: nothing happens. */
	output__reopen(o);
	read_path();
	assert_string_equal(text, LINE);
	output__event(o, &e);
	rotate();
	/* Until it is told, and with what it has by then, events are the old one's. */
	output__flush(o);
	output__event(o, &e);
	output__reopen(o);
	assert_non_null(strstr(said, "opened anew"));
	output__event(o, &e);
	output__flush(o);
	read_old();
	assert_string_equal(text, LINE LINE LINE);
	read_path();
	assert_string_equal(text, LINE);
	/* What cannot be opened leaves the one that is open. */
	unlink(old_path);
	rotate();
	assert_int_equal(mkdir(path, 0700), 0);
	output__reopen(o);
	assert_non_null(strstr(said, "Is a directory; events go on into the file that is open"));
	rmdir(path);
	/* A FIFO without a reader would hold up everything. */
	assert_int_equal(mkfifo(path, 0600), 0);
	said[0] = '\0';
	output__reopen(o);
	assert_non_null(strstr(said, "events go on into the file that is open"));
	output__event(o, &e);
	assert_int_equal(output__close(o), 0);
	read_old();
	assert_string_equal(text, LINE LINE);
	unlink(old_path);
}

/* A line that a full disk cut in two is ended where it was begun. */
static void test_rotated_within_a_line(void **state)
{
	struct output *o = open_kind(OUTPUT_JSONL, NULL);
	struct event e = make(200, "/");
	struct rlimit was, small;

	(void)state;
	assert_non_null(o);
	signal(SIGXFSZ, SIG_IGN);
	getrlimit(RLIMIT_FSIZE, &was);
	small = was;
	small.rlim_cur = strlen(LINE) + 5;
	setrlimit(RLIMIT_FSIZE, &small);
	output__event(o, &e);
	output__event(o, &e);
	output__flush(o);
	rotate();
	output__reopen(o);
	setrlimit(RLIMIT_FSIZE, &was);
	assert_int_equal(access(path, F_OK), -1);
	assert_int_equal(output__flush(o), 0);
	output__event(o, &e);
	assert_int_equal(output__close(o), 0);
	read_old();
	assert_string_equal(text, LINE LINE);
	read_path();
	assert_string_equal(text, LINE);
	unlink(old_path);
}

static void test_har_rotated(void **state)
{
	struct output *o = open_kind(OUTPUT_HAR, NULL);
	struct event e = make(200, "/");
	int fd;

	(void)state;
	assert_non_null(o);
	output__event(o, &e);
	rotate();
	output__reopen(o);
	assert_int_equal(entries(), 0);
	output__event(o, &e);
	output__event(o, &e);
	output__flush(o);
	assert_int_equal(entries(), 2);
	assert_int_equal(rename(old_path, path), 0);
	assert_int_equal(entries(), 1);
	/* Something else lies there: it is not touched, and the document goes on where it was. */
	fd = open(path, O_WRONLY | O_TRUNC);
	assert_int_equal(write(fd, "precious\n", 9), 9);
	close(fd);
	said[0] = '\0';
	output__reopen(o);
	assert_non_null(strstr(said, "go on into the file that is open"));
	read_path();
	assert_string_equal(text, "precious\n");
	unlink(path);
	/* Removed, and nothing there: a new one. */
	output__reopen(o);
	output__event(o, &e);
	assert_int_equal(output__close(o), 0);
	assert_int_equal(entries(), 1);
}

/* A full disk: nothing of a half-written document stays when there is room again. */
static void test_har_full_disk(void **state)
{
	struct rlimit was, small;
	struct event e = make(200, "/");
	struct output *o = open_kind(OUTPUT_HAR, NULL);

	(void)state;
	output__event(o, &e);
	assert_int_equal(output__flush(o), 0);
	signal(SIGXFSZ, SIG_IGN);
	getrlimit(RLIMIT_FSIZE, &was);
	small = was;
	for (rlim_t limit = 400; limit < 1500; limit += 37) {
		small.rlim_cur = limit;
		setrlimit(RLIMIT_FSIZE, &small);
		output__event(o, &e);
		output__flush(o);
		small.rlim_cur = was.rlim_cur;
		setrlimit(RLIMIT_FSIZE, &small);
	}
	assert_int_equal(output__close(o), 0);
	assert_int_equal(entries(), 31);
}

static void test_har_in_a_pipe(void **state)
{
	int fds[2], out = dup(STDOUT_FILENO);
	struct output_options opt = {.kind = OUTPUT_HAR, .live = true};
	struct event e = make(200, "/");
	struct output *o;
	json_t *doc;

	(void)state;
	assert_int_equal(pipe(fds), 0);
	fflush(stdout);
	dup2(fds[1], STDOUT_FILENO);
	o = output__open(&opt);
	output__event(o, &e);
	output__flush(o);
	output__event(o, &e);
	output__close(o);
	dup2(out, STDOUT_FILENO);
	close(out);
	close(fds[1]);
	read_fd(fds[0]);
	close(fds[0]);
	doc = json_loadb(text, text_len, 0, NULL);
	assert_non_null(doc);
	assert_int_equal(json_array_size(json_object_get(json_object_get(doc, "log"), "entries")), 2);
	json_decref(doc);
}

/* Nobody reads: bounded, counted, never stuck; what waited is whole lines. */
static void test_slow_reader(void **state)
{
	struct output_options opt = {.kind = OUTPUT_JSONL, .path = path, .live = true, .pending_bytes = 1000};
	struct event e = make(200, "/");
	struct output *o;
	size_t bytes = 0;
	int fd;

	(void)state;
	assert_int_equal(mkfifo(path, 0600), 0);
	fd = open(path, O_RDWR | O_NONBLOCK);
	fcntl(fd, F_SETPIPE_SZ, 4096);
	o = output__open(&opt);
	assert_non_null(o);
	for (int i = 0; i < 1000; i++)
		output__event(o, &e);
	assert_true(stats_get(STAT_output_errors) > 0);
	assert_int_equal(stats_get(STAT_output_errors) + stats_get(STAT_output_written), 1000);
	for (bool more = true; more;) {
		more = output__flush(o) == -EAGAIN;
		read_fd(fd);
		bytes += text_len;
	}
	read_fd(fd);
	bytes += text_len;
	assert_int_equal(bytes, stats_get(STAT_output_written) * (e.json.n + 1));
	output__close(o);
	close(fd);
}

static char last_said[256];

static void keep_log(void *ctx, enum log_level level, const char *module, const char *line)
{
	(void)ctx, (void)level, (void)module;
	snprintf(last_said, sizeof(last_said), "%s", line);
}

/* What nobody has taken at the end is lost, and that is said. */
static void test_reader_that_never_comes(void **state)
{
	struct output_options opt = {.kind = OUTPUT_JSONL, .path = path, .live = true};
	struct event e = make(200, "/");
	struct output *o;
	char wanted[256];
	int fd;

	(void)state;
	assert_int_equal(mkfifo(path, 0600), 0);
	fd = open(path, O_RDWR | O_NONBLOCK);
	fcntl(fd, F_SETPIPE_SZ, 4096);
	log_set_sink(keep_log, NULL);
	last_said[0] = '\0';
	o = output__open(&opt);
	assert_non_null(o);
	for (int i = 0; i < 1000; i++)
		output__event(o, &e);
	assert_int_equal(output__close(o), -EAGAIN);
	read_fd(fd);
	snprintf(wanted, sizeof(wanted), "%s: %zu bytes of events were not written and are lost", path,
		1000 * (e.json.n + 1) - text_len);
	assert_string_equal(last_said, wanted);
	close(fd);
}

static int terminal(struct output **ret, unsigned short columns, bool live)
{
	struct winsize w = {.ws_row = 24, .ws_col = columns};
	struct output_options opt = {.kind = OUTPUT_PRETTY, .live = live};
	struct termios raw;
	char name[64];
	int main_fd, child_fd;

	assert_int_equal(openpty(&main_fd, &child_fd, name, NULL, &w), 0);
	tcgetattr(child_fd, &raw);
	cfmakeraw(&raw);
	tcsetattr(child_fd, TCSANOW, &raw);
	opt.path = name;
	*ret = output__open(&opt);
	close(child_fd);
	assert_non_null(*ret);
	fcntl(main_fd, F_SETFL, O_NONBLOCK);
	return main_fd;
}

static void test_terminal(void **state)
{
	struct event e = make(404, "/x");
	struct output *o;
	int fd = terminal(&o, 70, true);

	(void)state;
	output__event(o, &e);
	output__flush(o);
	read_fd(fd);
	assert_non_null(strstr(text, "\x1b[33m404\x1b[0m /x"));
	assert_non_null(strstr(text, " calls/s"));
	assert_non_null(strstr(text, "nothing lost"));
	/* The footer's line is not ended, and the next call takes its place. */
	assert_true(text[text_len - 1] != '\n');
	output__event(o, &e);
	output__flush(o);
	read_fd(fd);
	assert_int_equal(strncmp(text, "\r\x1b[K", 4), 0);
	output__close(o);
	read_fd(fd);
	assert_string_equal(text, "\r\x1b[K");
	close(fd);
}

static void test_no_color(void **state)
{
	struct event e = make(404, "/x");
	struct output *o;
	int fd;

	(void)state;
	setenv("NO_COLOR", "1", 1);
	fd = terminal(&o, 70, true);
	output__event(o, &e);
	output__flush(o);
	read_fd(fd);
	assert_non_null(strstr(text, " 404 /x"));
	assert_null(strstr(text, "\x1b[3"));
	output__close(o);
	close(fd);
}

/* A replay shows everything, and no footer. */
static void test_replay_on_a_terminal(void **state)
{
	struct event e = make(200, "/x");
	struct output *o;
	size_t lines = 0;
	int fd = terminal(&o, 70, false);

	(void)state;
	for (int i = 0; i < 300; i++) {
		output__event(o, &e);
		output__flush(o);
		read_fd(fd);
		for (size_t at = 0; at < text_len; at++)
			lines += text[at] == '\n';
		assert_null(strstr(text, "calls/s"));
	}
	assert_int_equal(lines, 301);
	output__close(o);
	close(fd);
}

/* 10,000 calls a second for three seconds: a line each for the first ones, then a sample, all of it countable. */
static void test_never_a_flood(void **state)
{
	struct event e = make(200, "/x"), bad = make(500, "/y");
	unsigned shown[3] = {0}, errors = 0;
	struct live l;

	(void)state;
	live__init(&l, (struct footer_source){.fn = NULL}, 1);
	for (uint64_t i = 0; i < 30000; i++) {
		uint64_t now = 1 + i * 100000;

		if (i % 100 == 99)
			errors += live__wants(&l, &bad, now);
		else
			shown[i / 10000] += live__wants(&l, &e, now);
	}
	assert_true(shown[0] >= 50 && shown[0] <= 65);
	assert_true(shown[1] >= 8 && shown[1] <= 11);
	assert_true(shown[2] >= 8 && shown[2] <= 11);
	assert_true(errors >= 15 && errors <= 25);
	/* Quiet again: every call has its line. */
	for (uint64_t i = 0; i < 20; i++)
		if (i > 10)
			assert_true(live__wants(&l, &e, 5000000000ull + i * 1000000000));
}

static void facts(void *ctx, struct footer_facts *ret)
{
	*ret = *(struct footer_facts *)ctx;
}

static void test_footer(void **state)
{
	struct footer_facts f = {.workers = 4,
		.ships = true,
		.ship = {.state = SHIP_RETRYING, .queued_events = 12, .spooled_events = 7}};
	struct event e = make(200, "/x");
	struct live l;
	struct buf b;

	(void)state;
	buf__init(&b, 4096);
	live__init(&l, (struct footer_source){facts, &f}, 1);
	for (int i = 0; i < 30; i++) {
		stats_inc(STAT_txn_seen);
		live__wants(&l, &e, 2);
	}
	stats_add(STAT_wire_gap_lost, 4096);
	assert_int_equal(live__footer(&l, &b, false, 130, 2000000001ull), 0);
	buf__append_char(&b, '\0');
	assert_non_null(
		strstr(b.p, "15 calls/s  2xx 100% | 4 workers | lost 4.0K | queue 12, spool 7 | collector does not "
			    "answer, retrying"));
	for (unsigned width = 1; width < 40; width++) {
		buf__clear(&b);
		assert_int_equal(live__footer(&l, &b, false, width, 2000000001ull), 0);
		/* Room for the ^C that a terminal writes behind it. */
		assert_true(b.n <= strlen("\r\x1b[K") + (width > 3 ? width - 3 : 1));
	}
	buf__free(&b);
}

int main(void)
{
#define T(fn) cmocka_unit_test_setup_teardown(fn, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		T(test_lines),
		T(test_filter),
		T(test_har_file),
		T(test_har_of_no_event),
		T(test_har_keeps_foreign_files),
		T(test_rotated),
		T(test_rotated_within_a_line),
		T(test_har_rotated),
		T(test_har_full_disk),
		T(test_har_in_a_pipe),
		T(test_slow_reader),
		T(test_reader_that_never_comes),
		T(test_terminal),
		T(test_no_color),
		T(test_replay_on_a_terminal),
		T(test_never_a_flood),
		T(test_footer),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
