/* The log: one line a fact whatever is in it, JSON that is JSON, the journal's prefixes, and no flood. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <jansson.h>

#include "kt_cmocka.h"

#include "base/log.h"

static char said[1 << 16];
static int was_stderr, fds[2];

static int set_up(void **state)
{
	(void)state;
	log_set_sink(NULL, NULL);
	log_set_level(LOG_LVL_INFO);
	log_set_json(false);
	unsetenv("JOURNAL_STREAM");
	fflush(stderr);
	was_stderr = dup(STDERR_FILENO);
	if (pipe(fds))
		return -1;
	fcntl(fds[0], F_SETFL, O_NONBLOCK);
	dup2(fds[1], STDERR_FILENO);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	dup2(was_stderr, STDERR_FILENO);
	close(was_stderr);
	close(fds[0]);
	close(fds[1]);
	log_set_over_footer(false);
	log_set_json(false);
	return 0;
}

static const char *read_back(void)
{
	ssize_t n = read(fds[0], said, sizeof(said) - 1);

	said[n > 0 ? n : 0] = '\0';
	return said;
}

static void test_text(void **state)
{
	(void)state;
	log_info("m", "hello %d", 7);
	assert_string_equal(read_back(), "kongtap: hello 7\n");
	log_warn("m", "careful");
	assert_string_equal(read_back(), "kongtap: warning: careful\n");
	log_err("m", "no");
	assert_string_equal(read_back(), "kongtap: error: no\n");
	log_debug("m", "unheard");
	assert_string_equal(read_back(), "");
	log_set_level(LOG_LVL_DEBUG);
	log_debug("m", "heard");
	assert_string_equal(read_back(), "kongtap: debug: heard\n");
	/* A name from elsewhere stays inside its line and off the terminal's controls. */
	log_info("m", "%s", "a\nb\x1b[31m\x7f\xc2\x9b\xff\xc3\xa9\xed\xa0\x80");
	assert_string_equal(read_back(), "kongtap: a?b?[31m???\xc3\xa9???\n");
	log_set_over_footer(true);
	log_info("m", "over");
	assert_string_equal(read_back(), "\r\x1b[Kkongtap: over\n");
}

static void test_json(void **state)
{
	static const char *const texts[] = {"plain", "quote \" slash \\ end\\", "tab\tline\nesc\x1b", "\xff\xfe\xc3",
		"\xc3\xa9\xe2\x82\xac", "\xed\xa0\x80 \xf0\x9f\x98\x80 \xf4\x90\x80\x80 \xc0\xaf \xe0\x80\xaf", ""};

	(void)state;
	log_set_json(true);
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		json_t *v;

		log_warn("mod", "%s", texts[i]);
		read_back();
		assert_int_equal(said[strlen(said) - 1], '\n');
		assert_ptr_equal(strchr(said, '\n'), said + strlen(said) - 1);
		v = json_loads(said, 0, NULL);
		if (!v)
			fail_msg("no JSON: %s", said);
		assert_string_equal(json_string_value(json_object_get(v, "level")), "warning");
		assert_string_equal(json_string_value(json_object_get(v, "module")), "mod");
		assert_int_equal(strlen(json_string_value(json_object_get(v, "time"))), 24);
		json_decref(v);
	}
}

/* Longer than a line may be: cut, and still JSON, wherever the cut falls. */
static void test_long(void **state)
{
	static const char *const fill[] = {"\"", "\xc3\xa9", "\xe2\x82\xac", "\xf0\x9f\x98\x80"};
	char text[4000];

	(void)state;
	log_set_json(true);
	for (size_t i = 0; i < sizeof(fill) / sizeof(fill[0]); i++) {
		for (size_t shift = 0; shift < 4; shift++) {
			json_t *v;

			memset(text, 'a', shift);
			text[shift] = '\0';
			while (strlen(text) + 5 < sizeof(text))
				strcat(text, fill[i]);
			log_warn("m", "%s", text);
			v = json_loads(read_back(), 0, NULL);
			assert_non_null(v);
			assert_true(strlen(said) > 500 && strlen(said) < 1500);
			json_decref(v);
		}
	}
}

static void test_journal(void **state)
{
	char name[64];
	struct stat st;

	(void)state;
	assert_int_equal(fstat(fds[1], &st), 0);
	snprintf(name, sizeof(name), "%ju:%ju", (uintmax_t)st.st_dev, (uintmax_t)st.st_ino);
	setenv("JOURNAL_STREAM", name, 1);
	log_warn("capture", "careful");
	assert_string_equal(read_back(), "<4>capture: careful\n");
	log_set_json(true);
	log_err("capture", "no");
	assert_int_equal(strncmp(read_back(), "<3>{\"time\":", 11), 0);
	log_set_json(false);
	/* Inherited from a service whose stderr is another. */
	setenv("JOURNAL_STREAM", "8:12345", 1);
	log_warn("capture", "careful");
	assert_string_equal(read_back(), "kongtap: warning: careful\n");
	unsetenv("JOURNAL_STREAM");
}

static unsigned lines, told;

static void count(void *ctx, enum log_level level, const char *module, const char *text)
{
	(void)ctx, (void)level, (void)module;
	lines++;
	told += strstr(text, "were left out") != NULL;
}

static void test_no_flood(void **state)
{
	(void)state;
	log_set_sink(count, NULL);
	lines = told = 0;
	for (int i = 0; i < 10000; i++)
		log_warn("m", "the same fact %d", i);
	assert_int_equal(lines, LOG_BURST);
	/* Another place is heard. */
	log_warn("m", "another fact");
	assert_int_equal(lines, LOG_BURST + 1);
	/* What was asked for by hand is not held back. */
	log_set_level(LOG_LVL_DEBUG);
	for (int i = 0; i < 1000; i++)
		log_debug("m", "detail %d", i);
	assert_int_equal(lines, LOG_BURST + 1001);
	assert_int_equal(told, 0);
}

static void test_rate(void **state)
{
	unsigned long n = 0;
	unsigned yes = 0;

	(void)state;
	for (int i = 0; i < 1000; i++)
		yes += log_rate(&n);
	assert_int_equal(yes, 10);
}

int main(void)
{
#define T(fn) cmocka_unit_test_setup_teardown(fn, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		T(test_text),
		T(test_json),
		T(test_long),
		T(test_journal),
		T(test_no_flood),
		T(test_rate),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
