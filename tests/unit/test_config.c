#include "kt_cmocka.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "config.h"
#include "config_option.h"

static char dir[64], said[65536], logged[65536];

static void take_log(void *ctx, enum log_level level, const char *module, const char *text)
{
	size_t n = strlen(logged);

	(void)ctx;
	snprintf(logged + n, sizeof(logged) - n, "%d %s %s\n", (int)level, module, text);
}

static void clear_env(void)
{
	extern char **environ;

	for (char **e = environ; *e;) {
		char name[64];

		if (strncmp(*e, "KONGTAP_", 8) != 0) {
			e++;
			continue;
		}
		snprintf(name, sizeof(name), "%.*s", (int)strcspn(*e, "="), *e);
		unsetenv(name);
		e = environ;
	}
}

static int setup(void **state)
{
	(void)state;
	strcpy(dir, "/tmp/kt-config-XXXXXX");
	logged[0] = said[0] = '\0';
	log_set_sink(take_log, NULL);
	clear_env();
	return mkdtemp(dir) ? 0 : -1;
}

static int teardown(void **state)
{
	char cmd[128];

	(void)state;
	log_set_sink(NULL, NULL);
	clear_env();
	snprintf(cmd, sizeof(cmd), "rm -r %s", dir);
	return system(cmd);
}

static const char *file(const char *name, const char *text)
{
	static char path[4][128];
	static int turn;
	char *p = path[turn++ % 4];
	FILE *f;

	snprintf(p, sizeof(path[0]), "%s/%s", dir, name);
	f = fopen(p, "w");
	assert_non_null(f);
	fputs(text, f);
	fclose(f);
	chmod(p, 0600);
	return p;
}

/* Runs with stdout and stderr taken into `said`. */
static int load(struct config **ret, const char *const *words)
{
	char *argv[32] = {(char *)(uintptr_t) "kongtap"}, path[128];
	int argc = 1, out = dup(1), err = dup(2), fd, result;
	ssize_t n;

	while (words[argc - 1]) {
		argv[argc] = (char *)(uintptr_t)words[argc - 1];
		argc++;
	}
	snprintf(path, sizeof(path), "%s/said", dir);
	fd = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);
	fflush(stdout);
	fflush(stderr);
	dup2(fd, 1);
	dup2(fd, 2);
	result = config_load(argc, argv, ret);
	fflush(stdout);
	fflush(stderr);
	dup2(out, 1);
	dup2(err, 2);
	close(out);
	close(err);
	n = pread(fd, said, sizeof(said) - 1, 0);
	said[n > 0 ? n : 0] = '\0';
	close(fd);
	return result;
}

#define LOAD(c, ...) load(c, (const char *const[]){__VA_ARGS__, NULL})

static struct config *good(const char *const *words)
{
	struct config *c = NULL;

	if (load(&c, words) != 0)
		fail_msg("%s", said);
	return c;
}

#define GOOD(...) good((const char *const[]){__VA_ARGS__, NULL})

static void expect_said(const char *text)
{
	if (!strstr(said, text))
		fail_msg("expected \"%s\" in \"%s\"", text, said);
}

/* The plugin's defaults are those of its code (MOESIF-KONG-FACTS B.1), not of its documentation. */
static void defaults_are_the_plugins(void **state)
{
	struct config *c = GOOD("run");

	(void)state;
	assert_null(c->ship.application_id);
	assert_string_equal(c->ship.api_endpoint, "https://api.moesif.net");
	assert_int_equal(c->ship.connect_timeout, 1000);
	assert_int_equal(c->ship.send_timeout, 5000);
	assert_int_equal(c->ship.keepalive, 5000);
	assert_int_equal(c->ship.event_queue_size, 1000000);
	assert_int_equal(c->ship.batch_size, 50);
	assert_false(c->ship.enable_compression);
	assert_string_equal(c->moesif.api_version, "1.0");
	assert_string_equal(c->moesif.authorization_header_name, "authorization");
	assert_string_equal(c->moesif.authorization_user_id_field, "sub");
	assert_null(c->moesif.authorization_company_id_field);
	assert_null(c->moesif.user_id_header);
	assert_null(c->moesif.company_id_header);
	assert_int_equal(c->moesif.request_max_body_size_limit, 100000);
	assert_int_equal(c->moesif.response_max_body_size_limit, 100000);
	assert_false(c->moesif.disable_capture_request_body);
	assert_false(c->moesif.disable_transaction_id);
	assert_int_equal(c->moesif.request_header_masks.n, 0);
	assert_string_equal(c->metrics_listen, "127.0.0.1:9464");
	assert_int_equal(c->wire.request_body, 100000);
	assert_int_equal(c->command, CONFIG_RUN);
	config__free(c);
	config__free(NULL);
}

static void the_table_is_sound(void **state)
{
	(void)state;
	for (size_t i = 0; i < option_count; i++) {
		const struct option *o = &option_table[i];

		assert_ptr_equal(option_find(span_str(o->name)), o);
		assert_non_null(o->help);
		assert_non_null(o->group);
		assert_true(o->off || (o->flags & OPTION_UNUSED));
		assert_true(o->type != OPT_CHOICE || o->choices);
		assert_true((o->type != OPT_U32 && o->type != OPT_U64 && o->type != OPT_NUMBERS) || o->max > o->min);
		assert_true(o->type != OPT_U32 || o->max * (o->scale ? o->scale : 1) <= UINT32_MAX);
		assert_true(o->scale == 0 || o->max < UINT64_MAX / o->scale);
		assert_true((o->type != OPT_STRINGS && o->type != OPT_NUMBERS) || o->off_n);
	}
}

static void a_proxys_password_is_not_printed(void **state)
{
	static const char *const proxies[] = {"http://me:secret@proxy:3128", "http://me:sec@secret@proxy:3128",
		"http://me:sec/secret@proxy:3128", "http://me:sec?#secret@proxy:3128", "me:secret@proxy:3128"};

	(void)state;
	for (size_t i = 0; i < sizeof(proxies) / sizeof(proxies[0]); i++) {
		struct config *c = GOOD("run", "--proxy", proxies[i]);
		char *text = NULL;
		size_t n;
		FILE *f = open_memstream(&text, &n);

		config__print(c, f);
		fclose(f);
		assert_null(strstr(text, "secret"));
		assert_non_null(strstr(text, "***@proxy:3128\" # flag\n"));
		free(text);
		config__free(c);
	}
}

/* Every default is a value that the option would take: what config__print prints is read back as it is. */
static void what_is_printed_is_read_back(void **state)
{
	struct config *c = GOOD("run", "--request-body-masks", "a,b \"quoted\\\"", "--spool-dir=/x y",
		"--include-ports", "80,443", "--output", "jsonl", "--user-id-header", "", "--api-version", "",
		"--proxy", "http://me:secret@proxy:3128", "--metrics-listen", "none");
	struct config *again;
	char *text = NULL, *twice = NULL;
	size_t n;
	FILE *f = open_memstream(&text, &n);

	(void)state;
	config__print(c, f);
	fclose(f);
	assert_null(strstr(text, "secret"));
	assert_non_null(strstr(text, "proxy: \"http://***@proxy:3128\" # flag\n"));
	assert_non_null(strstr(text, "metrics_listen: \"\" # flag\n"));
	assert_non_null(strstr(text, "batch_size: 50 # default\n"));
	again = GOOD("run", "-c", file("again.yml", text));
	assert_null(again->moesif.api_version);
	assert_null(again->metrics_listen);
	assert_int_equal(again->moesif.request_body_masks.n, 2);
	assert_string_equal(again->moesif.request_body_masks.v[1], "b \"quoted\\\"");
	f = open_memstream(&twice, &n);
	config__print(again, f);
	fclose(f);
	for (char *a = strtok(text, "\n"), *b = twice; a; a = strtok(NULL, "\n"), b = strchr(b, '\n') + 1)
		assert_memory_equal(a, b, (size_t)(strstr(a, " # ") - a));
	config__free(c);
	config__free(again);
	free(text);
	free(twice);
}

static void later_layers_win(void **state)
{
	const char *kong = file("kong.yml", "_format_version: \"3.0\"\nplugins:\n- name: moesif\n  config:\n"
					    "    batch_size: 1\n    api_version: \"k\"\n    connect_timeout: 11\n"
					    "    keepalive: 7\n");
	const char *yaml = file("c.yml", "batch_size: 2\napi_version: \"f\"\nconnect_timeout: 12\n");
	struct config *c;

	(void)state;
	setenv("KONGTAP_BATCH_SIZE", "3", 1);
	setenv("KONGTAP_API_VERSION", "e", 1);
	setenv("KONGTAP_KEEPALIVE", "", 1);
	c = GOOD("run", "-c", yaml, "--kong-config", kong, "--batch-size", "4");
	assert_int_equal(c->ship.batch_size, 4);
	assert_string_equal(c->moesif.api_version, "e");
	assert_int_equal(c->ship.connect_timeout, 12);
	assert_int_equal(c->ship.keepalive, 7);
	assert_int_equal(c->ship.send_timeout, 5000);
	config__free(c);
	setenv("KONGTAP_CONFIG", yaml, 1);
	setenv("KONGTAP_KONG_CONFIG", kong, 1);
	unsetenv("KONGTAP_API_VERSION");
	c = GOOD("run");
	assert_int_equal(c->ship.batch_size, 3);
	assert_string_equal(c->moesif.api_version, "f");
	assert_int_equal(c->ship.keepalive, 7);
	config__free(c);
}

static void flags_in_all_their_forms(void **state)
{
	struct config *c = GOOD("run", "--batch_size=7", "--batch-age", "5s", "--debug", "--no-tls-verify", "--pid",
		"12", "--pid=13", "--prefix", "/a,/b", "--prefix", "/c", "--for", "3", "--queue-bytes", "1MiB",
		"--output=har", "--record", "-x-");

	(void)state;
	assert_int_equal(c->ship.batch_size, 7);
	assert_int_equal(c->ship.batch_age, 5000);
	assert_true(c->debug);
	assert_int_equal(c->log_level, LOG_LVL_DEBUG);
	assert_false(c->ship.tls_verify);
	assert_int_equal(c->capture.npids, 2);
	assert_int_equal(c->capture.pids[1], 13);
	assert_int_equal(c->capture.nprefixes, 3);
	assert_string_equal(c->capture.prefixes[2], "/c");
	assert_int_equal(c->run_seconds, 3);
	assert_int_equal(c->ship.queue_bytes, 1 << 20);
	assert_int_equal(c->output, OUTPUT_HAR);
	assert_string_equal(c->record_file, "-x-");
	config__free(c);
	c = GOOD("replay", "-", "--output", "none");
	assert_string_equal(c->replay_file, "-");
	assert_int_equal(c->command, CONFIG_REPLAY);
	config__free(c);
	c = GOOD("replay", "--", "--odd--");
	assert_string_equal(c->replay_file, "--odd--");
	config__free(c);
}

static void the_output_follows_from_where_it_goes(void **state)
{
	struct config *c = GOOD("run"); /* standard output is a file here */

	(void)state;
	assert_int_equal(c->output, OUTPUT_JSONL);
	assert_false(config_ships(c));
	config__free(c);
	setenv("KONGTAP_APPLICATION_ID", "the-id", 1);
	c = GOOD("run");
	assert_int_equal(c->output, OUTPUT_NONE);
	assert_true(config_ships(c));
	config__free(c);
	c = GOOD("replay", "x");
	assert_int_equal(c->output, OUTPUT_JSONL);
	assert_false(config_ships(c));
	config__free(c);
}

static void wrong_use_is_said_in_a_line(void **state)
{
	static const struct {
		const char *words[6], *want;
	} cases[] = {
		{{NULL}, "which command?"},
		{{"walk"}, "unknown command \"walk\""},
		{{"run", "fast"}, "\"fast\" is one word too many"},
		{{"run", "--bach-size", "3"}, "did you mean --batch-size?"},
		{{"run", "--xyzzyxyzzy"}, "unknown flag --xyzzyxyzzy"},
		{{"run", "-z"}, "unknown flag -z"},
		{{"run", "-c"}, "-c needs a value"},
		{{"run", "--batch-size"}, "--batch-size needs a value"},
		{{"run", "--batch-size", "many"}, "--batch-size: batch_size: expected a number of events from 1 to "
						  "10000, found the text \"many\""},
		{{"run", "--batch-size", "0"}, "found the text \"0\""},
		{{"run", "--batch-size", "-1"}, "expected a number"},
		{{"run", "--batch-size", "18446744073709551617"}, "expected a number"},
		{{"run", "--batch-size", "5s"}, "expected a number"},
		{{"run", "--batch-age", "18446744073709551615h"}, "expected a number"},
		{{"run", "--ring-bytes", "100000"}, "a power of two"},
		{{"run", "--debug=maybe"}, "expected true or false"},
		{{"run", "--output", "xml"}, "expected one of auto, none, pretty, jsonl, har"},
		{{"run", "--compression", "br"}, "expected one of none, deflate, gzip"},
		{{"run", "--pid", "1,x"}, "expected a list of numbers"},
		{{"run", "--api-version", "a\nb"}, "expected a text"},
		{{"run", "--api-endpoint", "api.moesif.net"}, "api_endpoint: expected a URL"},
		{{"run", "--application-id", "a b"}, "application_id: holds a blank"},
		{{"run", "-c", "/nowhere/x.yml"}, "/nowhere/x.yml: cannot be read: No such file"},
		{{"run", "-c", "/"}, "/: cannot be read: Is a directory"},
		{{"run", "-c", "/dev/zero"}, "/dev/zero: larger than"},
		{{"replay"}, "replay needs the file"},
		{{"help", "cooking"}, "no help on \"cooking\""},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct config *c = NULL;

		assert_int_equal(load(&c, cases[i].words), -EINVAL);
		assert_null(c);
		expect_said(cases[i].want);
		expect_said("try kongtap");
	}
}

static void help_is_there(void **state)
{
	struct config *c = NULL;

	(void)state;
	assert_int_equal(LOAD(&c, "--help"), 1);
	expect_said("kongtap replay RECORDING");
	assert_int_equal(LOAD(&c, "--version"), 1);
	expect_said("kongtap 0.");
	assert_int_equal(LOAD(&c, "run", "--help"), 1);
	expect_said("--kong-config FILE");
	assert_int_equal(LOAD(&c, "help", "check"), 1);
	expect_said("Exit code 0");
	assert_int_equal(LOAD(&c, "help", "config"), 1);
	expect_said("authorization_user_id_field: \"sub\"");
	assert_null(strstr(said, "refused_probe"));
	assert_null(c);
}

/* --- YAML ----------------------------------------------------------------------------------------------------------
 */

static void yaml_takes_what_is_right(void **state)
{
	struct config *c = GOOD("run", "-c",
		file("c.yml", "# comment\napplication_id: \"abc\"\nbatch_size: 9\nbatch_age: 2s\nqueue_bytes: 2 MiB\n"
			      "enable_compression: yes\nrequest_header_masks: [a, 'b']\n"
			      "response_body_masks:\n- x\n- y\ninclude_ports: [8000, 8443]\noutput: none\n"
			      "user_id_header: null\nsend_timeout: 2000.0\nkeepalive: ~\nproxy:\nrequest_masks: {}\n"));

	(void)state;
	assert_string_equal(c->ship.application_id, "abc");
	assert_int_equal(c->ship.batch_size, 9);
	assert_int_equal(c->ship.batch_age, 2000);
	assert_int_equal(c->ship.queue_bytes, 2 << 20);
	assert_true(c->ship.enable_compression);
	assert_int_equal(c->moesif.request_header_masks.n, 2);
	assert_string_equal(c->moesif.response_body_masks.v[1], "y");
	assert_int_equal(c->filter.include_ports.v[1], 8443);
	assert_int_equal(c->ship.send_timeout, 2000);
	assert_int_equal(c->ship.keepalive, 5000);
	assert_int_equal(c->output, OUTPUT_NONE);
	config__free(c);
	config__free(GOOD("run", "-c", file("empty.yml", "")));
	config__free(GOOD("run", "-c", file("comment.yml", "# nothing\n")));
	config__free(GOOD("run", "-c", file("marks.yml", "%YAML 1.1\n---\nbatch_size: 9\n...\n---\n# nothing\n")));
}

static void yaml_errors_name_file_line_key_and_both_sides(void **state)
{
	static const struct {
		const char *text, *want;
	} cases[] = {
		{"batch_size: many\n",
			"c.yml:1: batch_size: expected a number of events from 1 to 10000, found the text \"many\""},
		{"\n\nbatch_size: \"50\"\n", "c.yml:3: batch_size: expected"},
		{"api_version: 1.0\n", "c.yml:1: api_version: expected a text, found the number \"1.0\""},
		{"debug: \"true\"\n", "expected true or false, found the text \"true\""},
		{"debug: 1\n", "expected true or false, found the number \"1\""},
		{"request_header_masks: a\n", "expected a list of header names, found the text \"a\""},
		{"request_header_masks: [a, [b]]\n", "expected a list of header names, found a list"},
		{"request_header_masks: {a: b}\n", "expected a list of header names, found a map"},
		{"request_header_masks: [ok,\n  \"x y\"]\n",
			"c.yml:2: request_header_masks: expected a list of header names, found the text \"x y\""},
		{"api_key_names: [\"k:\"]\n", "expected a list of header names, found the text \"k:\""},
		{"body_exclude_content_types: [image/png,\n  image]\n",
			"c.yml:2: body_exclude_content_types: expected a list of type/subtype or type/*, at most 64 of "
			"at "
			"most 255 characters, found the text \"image\""},
		{"body_exclude_content_types: image/png\n",
			"type/*, at most 64 of at most 255 characters, found the text"},
		{"body_exclude_content_types: [5]\n", "type/*, at most 64 of at most 255 characters, found the number"},
		{"response_body_masks: [a, \"\"]\n", "expected a list of texts, found the text \"\""},
		{"response_body_masks: [a, 5]\n", "expected a list of texts, found the number \"5\""},
		{"user_id_header: a b\n", "c.yml:1: user_id_header: expected a header name, found the text \"a b\""},
		{"\ncompany_id_header: \"a:\"\n", "c.yml:2: company_id_header: expected a header name, found the text"},
		{"authorization_header_name: x, y z\n",
			"authorization_header_name: expected header names, comma between"},
		{"authorization_header_name: \"a,b,c,d,e,f,g,h,i,j,k,l,m,n,o,p,q\"\n", "expected header names, comma"},
		{"batch_size: [1]\n", "found a list"},
		{"batch_size: 1.5\n", "found the number \"1.5\""},
		{"bach_size: 1\n", "c.yml:1: unknown option \"bach_size\", did you mean \"batch_size\"?"},
		{"Batch_Size: 1\n", "did you mean \"batch_size\"?"},
		{"batch-size: 1\n", "did you mean \"batch_size\"?"},
		{"something_else_entirely: 1\n", "c.yml:1: unknown option \"something_else_entirely\""},
		{"batch_size: 1\nbatch_size: 2\n", "c.yml:2: batch_size is given twice"},
		{"batch_size: 1\n---\nrequest_masks: [a]\n", "c.yml:3: a second document"},
		{"batch_size: 1\n...\n}\n", "c.yml:3: not readable as YAML"},
		{"pid: 1\n", "pid can only be given on the command line"},
		{"- a\n", "expected a map of options"},
		{"just text\n", "expected a map of options"},
		{"a: [\n", "not readable as YAML"},
		{"a: b: c\n", "c.yml:1: not readable as YAML"},
		{"\tx: 1\n", "not readable as YAML"},
		{"api_version: \"a\\0b\"\n", "expected a text"},
		{"application_id: [secret-1]\n", "application_id: expected a text, found a list"},
	};

	(void)state;
	config__free(GOOD("run", "-c",
		file("c.yml", "user_id_header: X-User_1\ncompany_id_header: \"\"\n"
			      "authorization_header_name: \"authorization ,, x-token,\"\n")));
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct config *c = NULL;

		if (LOAD(&c, "run", "-c", file("c.yml", cases[i].text)) != -EINVAL)
			fail_msg("accepted: %s", cases[i].text);
		expect_said(cases[i].want);
		assert_null(strstr(said, "secret"));
	}
}

static void all_errors_are_said_at_once(void **state)
{
	struct config *c = NULL;
	char many[4096] = "";

	(void)state;
	assert_int_equal(LOAD(&c, "run", "-c", file("c.yml", "batch_size: x\nfoo_bar_baz: 1\n"), "--debug=2"), -EINVAL);
	expect_said("batch_size");
	expect_said("foo_bar_baz");
	expect_said("--debug");
	for (int i = 0; i < 50; i++)
		snprintf(many + strlen(many), sizeof(many) - strlen(many), "unknown_option_%d: 1\n", i);
	assert_int_equal(LOAD(&c, "run", "-c", file("c.yml", many)), -EINVAL);
	expect_said("and 30 more");
}

static void a_secret_is_never_shown(void **state)
{
	struct config *c = GOOD("run", "-c", file("c.yml", "application_id: s3cr3t\n"));
	char *text = NULL;
	size_t n;
	FILE *f = open_memstream(&text, &n);

	(void)state;
	config__print(c, f);
	fclose(f);
	assert_null(strstr(text, "s3cr3t"));
	assert_non_null(strstr(text, "application_id: \"***\" # file\n"));
	free(text);
	config__free(c);
	/* As out of a secret that echo wrote. */
	assert_int_equal(LOAD(&c, "run", "--application-id", "s3cr3t\n"), -EINVAL);
	expect_said("application_id: expected a text, found a line break or another control character in it");
	assert_null(strstr(logged, "s3cr3t"));
}

static void a_readable_secret_in_a_file_is_a_warning(void **state)
{
	const char *path = file("c.yml", "application_id: abc\n");

	(void)state;
	config__free(GOOD("run", "-c", path));
	assert_null(strstr(logged, "everybody can read"));
	chmod(path, 0644);
	config__free(GOOD("run", "-c", path));
	assert_non_null(strstr(logged, "everybody can read"));
}

static void the_application_id_can_come_from_a_file(void **state)
{
	const char *id = file("id", "abc\r\n\n"), *empty = file("empty", "\n");
	struct config *c = GOOD("run", "--application-id-file", id);

	(void)state;
	assert_string_equal(c->ship.application_id, "abc");
	config__free(c);
	assert_int_equal(LOAD(&c, "run", "--application-id-file", empty), -EINVAL);
	expect_said("is empty");
	assert_int_equal(LOAD(&c, "run", "--application-id-file", "/nowhere"), -EINVAL);
	expect_said("cannot be read");
	assert_int_equal(LOAD(&c, "run", "--application-id-file", id, "--application-id", "x"), -EINVAL);
	expect_said("one is enough");
	setenv("KONGTAP_APPLICATION_ID", "of-the-environment", 1);
	c = GOOD("run", "-c", file("c.yml", "application_id_file: /nowhere\n"));
	assert_string_equal(c->ship.application_id, "of-the-environment");
	config__free(c);
	c = GOOD("run", "--application-id-file", id);
	assert_string_equal(c->ship.application_id, "abc");
	config__free(c);
	chmod(id, 0644);
	assert_int_equal(LOAD(&c, "run", "--application-id-file", id), -EINVAL);
	expect_said("everybody can read it (mode 0644)");
}

/* --- Kong's files --------------------------------------------------------------------------------------------------
 */

static void kongs_files_in_all_their_shapes(void **state)
{
	static const char *const shapes[] = {
		"plugins:\n- name: key-auth\n- name: moesif\n  config:\n    application_id: K\n",
		"services:\n- name: s\n  plugins:\n  - name: moesif\n    config: {application_id: K}\n",
		"services:\n- name: s\n  routes:\n  - name: r\n    plugins:\n    - name: moesif\n      config: "
		"{application_id: K}\n",
		"routes:\n- plugins:\n  - {name: moesif, config: {application_id: K}}\n",
		"consumers:\n- username: u\n  plugins:\n  - {name: moesif, config: {application_id: K}}\n",
		"{\"name\":\"moesif\",\"id\":\"x\",\"config\":{\"application_id\":\"K\",\"timeout\":1000,"
		"\"max_callback_time_spent\":750,\"user_id_header\":null,\"request_masks\":{},\"debug\":false},"
		"\"enabled\":true,\"protocols\":[\"http\"]}",
		"{\"next\":null,\"data\":[{\"name\":\"acl\"},{\"name\":\"moesif\",\"config\":{\"application_id\":\"K\","
		"\"api_endpoint\":\"https:\\/\\/api.moesif.net\"}}]}",
		"{\n\t\"name\": \"moesif\",\n\t\"config\": {\n\t\t\"application_id\": \"K\",\n\t\t\"batch_size\": "
		"50\n\t}\n}\n",
		/* the global one, not the one of a service; the enabled one */
		"services:\n- plugins:\n  - {name: moesif, config: {application_id: no}}\nplugins:\n"
		"- {name: moesif, enabled: false, config: {application_id: no}}\n"
		"- {name: moesif, service: s, config: {application_id: no}}\n"
		"- {name: moesif, config: {application_id: K}}\n",
		/* switched off for kongtap's sake: its settings are still meant */
		"plugins:\n- {name: moesif, enabled: false, config: {application_id: K}}\n",
		"_anchors:\n- &m {application_id: K}\nplugins:\n- name: moesif\n  config: *m\n",
	};

	(void)state;
	for (size_t i = 0; i < sizeof(shapes) / sizeof(shapes[0]); i++) {
		struct config *c = GOOD("run", "--kong-config", file("kong.yml", shapes[i]));

		assert_string_equal(c->ship.application_id, "K");
		config__free(c);
		assert_null(strstr(logged, "without effect"));
	}
}

static void wrong_files_of_kong_are_said(void **state)
{
	static const struct {
		const char *text, *want;
	} cases[] = {
		{"plugins: []\n", "no plugin named moesif"},
		{"", "no plugin named moesif"},
		{"[]", "no plugin named moesif"},
		{"plugins:\n- name: moesif\n", "kong.yml:2: the moesif plugin has no config"},
		{"plugins:\n- name: moesif\n  config:\n    batch_size: x\n", "kong.yml:4: batch_size"},
		{"plugins:\n- name: moesif\n  config:\n    bach_size: 1\n", "did you mean \"batch_size\""},
		{"plugins:\n- name: moesif\n  config:\n    spool_dir: /x\n", "spool_dir is no option of the plugin"},
		{"a: &a [*a]\nplugins: *a\n", "no plugin named moesif"},
		{"services: &s\n- routes: *s\n", "no plugin named moesif"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct config *c = NULL;

		if (LOAD(&c, "run", "--kong-config", file("kong.yml", cases[i].text)) != -EINVAL)
			fail_msg("accepted: %s", cases[i].text);
		expect_said(cases[i].want);
	}
}

static void what_only_kong_can_resolve_is_left_out(void **state)
{
	struct config *c = GOOD("run", "--kong-config",
		file("kong.yml", "plugins:\n- name: moesif\n  config:\n    application_id: \"{vault://env/id}\"\n"
				 "    api_version: \"${{ env \\\"DECK_V\\\" }}\"\n    batch_size: 3\n"));

	(void)state;
	assert_null(c->ship.application_id);
	assert_string_equal(c->moesif.api_version, "1.0");
	assert_int_equal(c->ship.batch_size, 3);
	assert_non_null(strstr(logged, "kong.yml:4: application_id is a reference that only Kong can resolve"));
	config__free(c);
}

static void options_without_meaning_are_named_in_one_warning(void **state)
{
	struct config *c = GOOD("run", "--kong-config",
		file("kong.yml",
			"plugins:\n- name: moesif\n  config:\n    timeout: 10\n    max_callback_time_spent: 100\n"));
	const char *at = strstr(logged, "without effect");

	(void)state;
	assert_non_null(at);
	assert_non_null(strstr(at, "timeout, max_callback_time_spent"));
	assert_null(strstr(at + 1, "without effect"));
	config__free(c);
	assert_int_equal(LOAD(&c, "run", "--timeout", "soon"), -EINVAL);
}

/* Aliases let a small file name a plugin many times. */
static void a_small_file_that_unfolds_is_refused(void **state)
{
	char *text = malloc(200000);
	struct config *c = NULL;
	size_t n = 0;

	(void)state;
	n += (size_t)sprintf(text + n, "a: &p\n");
	for (int i = 0; i < 700; i++)
		n += (size_t)sprintf(text + n, "- {name: x}\n");
	n += (size_t)sprintf(text + n, "b: &r\n");
	for (int i = 0; i < 700; i++)
		n += (size_t)sprintf(text + n, "- plugins: *p\n");
	n += (size_t)sprintf(text + n, "services:\n");
	for (int i = 0; i < 700; i++)
		n += (size_t)sprintf(text + n, "- routes: *r\n");
	assert_int_equal(LOAD(&c, "run", "--kong-config", file("kong.yml", text)), -EINVAL);
	expect_said("too many entities");
	free(text);
}

/* --- the rest ------------------------------------------------------------------------------------------------------
 */

static void the_environment_knows_what_is_not_meant_for_it(void **state)
{
	struct config *c = NULL;

	(void)state;
	/* What Kubernetes makes of a service named kongtap. */
	setenv("KONGTAP_SERVICE_HOST", "10.0.0.1", 1);
	setenv("KONGTAP_PORT_9464_TCP_PORT", "9464", 1);
	setenv("KONGTAP_PORT", "tcp://10.0.0.1:9464", 1);
	setenv("KONGTAP_PID", "17", 1);
	config__free(GOOD("run"));
	assert_string_equal(logged, "");
	setenv("KONGTAP_APLICATION_ID", "s3cr3t", 1);
	c = GOOD("run");
	assert_int_equal(c->capture.npids, 0);
	assert_non_null(
		strstr(logged, "KONGTAP_APLICATION_ID in the environment is unknown and ignored: did you mean the "
			       "option application_id?"));
	assert_null(strstr(logged, "s3cr3t"));
	config__free(c);
	setenv("KONGTAP_REQUEST_HEADER_MASKS", " a , b,,c ", 1);
	c = GOOD("run");
	assert_int_equal(c->moesif.request_header_masks.n, 3);
	assert_string_equal(c->moesif.request_header_masks.v[1], "b");
	config__free(c);
	setenv("KONGTAP_BATCH_SIZE", "x", 1);
	assert_int_equal(LOAD(&c, "run"), -EINVAL);
	expect_said("KONGTAP_BATCH_SIZE: batch_size: expected");
}

static void reload_reads_the_files_again(void **state)
{
	const char *path = file("c.yml", "batch_size: 5\n");
	struct config *c = GOOD("run", "-c", path, "--keepalive", "9"), *again = NULL;

	(void)state;
	file("c.yml", "batch_size: 6\n");
	assert_int_equal(config__reload(c, &again), 0);
	assert_int_equal(again->ship.batch_size, 6);
	assert_int_equal(again->ship.keepalive, 9);
	config__free(c);
	c = again;
	again = NULL;
	file("c.yml", "batch_size: six\n");
	assert_int_equal(config__reload(c, &again), -EINVAL);
	assert_null(again);
	assert_non_null(strstr(logged, "c.yml:1: batch_size: expected"));
	unlink(path);
	assert_int_equal(config__reload(c, &again), -EINVAL);
	config__free(c);
}

static void what_a_reload_cannot_change_is_named(void **state)
{
	struct config *c = GOOD("run", "--batch-size", "5", "--response-max-body-size-limit", "10", "--user-id-header",
			      "X-Old", "--application-id", "one", "--include-paths", "/a"),
		      *same = GOOD("run", "--batch-size", "5", "--application-id", "one"),
		      *other = GOOD("run", "--batch-size", "6", "--application-id", "two", "--spool-dir", "/s",
			      "--prefix", "/p*", "--debug", "--request-max-body-size-limit", "7", "--timeout", "9");
	char names[256], few[12];

	(void)state;
	assert_int_equal(config__needs_restart(c, same, names, sizeof(names)), 0);
	assert_string_equal(names, "");
	assert_int_equal(config__needs_restart(c, other, names, sizeof(names)), 4);
	assert_string_equal(names, "application_id, batch_size, spool_dir, prefix");
	assert_int_equal(config__needs_restart(c, other, few, sizeof(few)), 4);
	assert_string_equal(few, "application");
	config__take_live(c, other);
	assert_null(c->moesif.user_id_header);
	assert_string_equal(other->moesif.user_id_header, "X-Old");
	assert_int_equal(c->wire.request_body, 7);
	assert_int_equal(c->wire.response_body, 100000);
	assert_int_equal(c->log_level, LOG_LVL_DEBUG);
	assert_int_equal(c->filter.include_paths.n, 0);
	assert_int_equal(c->ship.batch_size, 5);
	config__free(c);
	config__free(same);
	config__free(other);
}

static void bodies_are_captured_as_far_as_they_are_wanted(void **state)
{
	struct config *c = GOOD("run", "--disable-capture-request-body", "--response-max-body-size-limit", "5000");

	(void)state;
	assert_int_equal(c->wire.request_body, 0);
	assert_int_equal(c->wire.response_body, 5000);
	config__free(c);
	c = GOOD("run", "--disable-capture-request-body", "--disable-capture-response-body");
	assert_int_equal(c->wire.request_body + c->wire.response_body, 0);
	config__free(c);
}

static void excluded(const struct config *c, size_t n, const char *first, const char *last)
{
	assert_int_equal(c->wire.exclude_types.n, n);
	assert_string_equal(c->wire.exclude_types.v[0], first);
	assert_string_equal(c->wire.exclude_types.v[n - 1], last);
}

static void bodies_are_excluded_by_type(void **state)
{
	static const char *const wrong[] = {"image", "/", "image/", "/png", "*", "*/*", "*/png", "image/p*", "im*/png",
		"image/**", "a/b/c", "image/png;q=1", "image /png", "image/ png", "\"a\"/b", "image\\png",
		"\xc3\xa4/b"};
	struct config *c = GOOD("run"), *other = NULL;
	char text[2 * 300 + 64] = "", many[65 * 6 + 64] = "", names[64];

	(void)state;
	assert_int_equal(c->wire.exclude_types.n, 0);
	config__free(c);
	c = GOOD("run", "-c",
		file("c.yml", "body_exclude_content_types: [Image/*, application/vnd.api+json, 'text/csv']\n"));
	excluded(c, 3, "Image/*", "text/csv");
	/* A reload takes the new list over, and nobody looks at the old one after it. */
	file("c.yml", "body_exclude_content_types:\n- video/*\n- audio/*\n");
	assert_int_equal(config__reload(c, &other), 0);
	assert_int_equal(config__needs_restart(c, other, names, sizeof(names)), 0);
	config__take_live(c, other);
	excluded(other, 3, "Image/*", "text/csv");
	config__free(other);
	excluded(c, 2, "video/*", "audio/*");
	config__free(c);
	setenv("KONGTAP_BODY_EXCLUDE_CONTENT_TYPES", "a/b , c/*", 1);
	c = GOOD("run", "-c", file("c.yml", "body_exclude_content_types: [video/*]\n"));
	excluded(c, 2, "a/b", "c/*");
	config__free(c);
	c = GOOD("run", "--body-exclude-content-types", "d/e,f/g", "--body-exclude-content-types=h/*");
	excluded(c, 3, "d/e", "h/*");
	config__free(c);
	unsetenv("KONGTAP_BODY_EXCLUDE_CONTENT_TYPES");
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		if (LOAD(&c, "run", "--body-exclude-content-types", wrong[i]) != -EINVAL)
			fail_msg("accepted: %s", wrong[i]);
		expect_said(
			"--body-exclude-content-types: body_exclude_content_types: expected a list of type/subtype or");
	}
	memset(text, 'a', 256);
	text[127] = '/';
	text[255] = '\0';
	config__free(GOOD("run", "--body-exclude-content-types", text));
	text[255] = 'a';
	assert_int_equal(LOAD(&c, "run", "--body-exclude-content-types", text), -EINVAL);
	for (int i = 0; i < 64; i++)
		snprintf(many + strlen(many), sizeof(many) - strlen(many), "a/%d,", i);
	c = GOOD("run", "--body-exclude-content-types", many);
	excluded(c, 64, "a/0", "a/63");
	config__free(c);
	snprintf(many + strlen(many), sizeof(many) - strlen(many), "a/64");
	assert_int_equal(LOAD(&c, "run", "--body-exclude-content-types", many), -EINVAL);
	expect_said("at most 64");
	expect_said("found the text \"a/64\"");
}

static void filters_by_host_path_and_port(void **state)
{
	static const struct {
		const char *host, *path;
		uint16_t port;
		bool want;
	} cases[] = {
		{"api.example.com", "/v1/x", 8000, true},
		{"API.Example.com:8000", "/v1/x?a=/health", 8000, true},
		{"other.org", "/v1/x", 8000, false},
		{"api.example.com", "/health", 8000, false},
		{"api.example.com", "/health?x", 8000, false},
		{"api.example.com", "/healthy", 8000, true},
		{"api.example.com", "/v1/x", 8443, false},
		{"", "/v1/x", 8000, false},
		{"[::1]:8000", "/v1/x", 8000, true},
	};
	struct config *c = GOOD("run", "--include-hosts", "*.example.com,[::1]", "--exclude-paths", "/health,/static/*",
		"--exclude-ports", "8443");

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		assert_int_equal(
			config_filter_pass(&c->filter, span_str(cases[i].host), span_str(cases[i].path), cases[i].port),
			cases[i].want);
	config__free(c);
}

static void filters_by_route_prefix(void **state)
{
	static const struct {
		const char *path;
		bool want;
	} cases[] = {
		{"/orders", true},
		{"/orders/1/lines?x=/private", true},
		{"/orders-of-others", true}, /* Kong's prefixes are no whole segments */
		{"/v2/orders/1", false},
		{"/order", false},
		{"/orders/private/1", false},
	};
	struct config *c = GOOD("run", "--include-paths", "/orders*", "--exclude-paths", "/orders/private*");

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		assert_int_equal(
			config_filter_pass(&c->filter, SPAN_LIT("api.example.com"), span_str(cases[i].path), 8000),
			cases[i].want);
	config__free(c);
}

static void filters_by_namespace_and_pod(void **state)
{
	static const struct {
		const char *pod_namespace, *pod;
		bool want;
	} cases[] = {
		{"edge", "kong-0", true},
		{"edge-2", "kong-1", true},
		{"edge-test", "kong-0", false},
		{"Edge", "kong-0", false},
		{"edge", "kong-canary-0", false},
		{"edge", "", true},
		{"", "", false},
	};
	struct config *none = GOOD("run"), *c = GOOD("run", "--include-namespaces", "edge*", "--exclude-namespaces",
						   "edge-test", "--exclude-pods", "*-canary-*");

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct span name = span_str(cases[i].pod_namespace), pod = span_str(cases[i].pod);

		assert_int_equal(config_filter_pass_pod(&c->filter, name, pod), cases[i].want);
		assert_true(config_filter_pass_pod(&none->filter, name, pod));
	}
	config__free(c);
	c = GOOD("run", "--include-pods", "kong-0,kong-1");
	assert_true(config_filter_pass_pod(&c->filter, SPAN_LIT(""), SPAN_LIT("kong-1")));
	assert_false(config_filter_pass_pod(&c->filter, SPAN_LIT("edge"), SPAN_LIT("kong-2")));
	assert_false(config_filter_pass_pod(&c->filter, SPAN_LIT(""), SPAN_LIT("")));
	config__free(c);
	config__free(none);
}

static void globs_take_linear_time(void **state)
{
	char text[4096];
	struct config *c = GOOD("run", "--exclude-paths", "*a*a*a*a*a*a*a*a*a*a*a*a*b", "--include-paths", "/a?c*");

	(void)state;
	memset(text, 'a', sizeof(text));
	assert_false(config_filter_pass(&c->filter, SPAN_LIT("h"), span_of(text, sizeof(text)), 1));
	assert_true(config_filter_pass(&c->filter, SPAN_LIT("h"), SPAN_LIT("/abcd"), 1));
	assert_true(config_filter_pass(&c->filter, SPAN_LIT("h"), SPAN_LIT("/abc"), 1));
	assert_false(config_filter_pass(&c->filter, SPAN_LIT("h"), SPAN_LIT("/ac"), 1));
	config__free(c);
}

static uint64_t memory_of_stages(const struct config *c)
{
	return c->wire.total_bytes + c->ship.queue_bytes + c->join.waiting_bytes + c->moesif.learn_consumers_bytes;
}

static void memory_is_shared_out(void **state)
{
	struct config *c = GOOD("run");

	(void)state;
	assert_int_equal(c->memory_bytes, 64 << 20);
	assert_int_equal(c->wire.total_bytes, 32 << 20);
	assert_int_equal(c->ship.queue_bytes, 16 << 20);
	assert_int_equal(c->join.waiting_bytes, 8 << 20);
	assert_int_equal(c->moesif.learn_consumers_bytes, 4 << 20);
	config__free(c);
	c = GOOD("run", "--memory-bytes", "8MiB");
	assert_in_range(memory_of_stages(c), 7 << 20, 8 << 20);
	config__free(c);
	/* What is given counts, the rest shares what it leaves. */
	c = GOOD("run", "--queue-bytes", "40MiB", "--learn-consumers-max", "9");
	assert_int_equal(c->ship.queue_bytes, 40 << 20);
	assert_in_range(c->wire.total_bytes, 13 << 20, 16 << 20);
	assert_in_range(memory_of_stages(c), 59 << 20, 60 << 20);
	config__free(c);
	assert_int_equal(LOAD(&c, "run", "--queue-bytes", "60MiB"), -EINVAL);
	expect_said(
		"memory_bytes: wire_bytes, queue_bytes and join_bytes as given leave too little of its 67108864 bytes");
	assert_int_equal(
		LOAD(&c, "run", "--wire-bytes", "6MiB", "--join-bytes", "3MiB", "--memory-bytes", "8MiB"), -EINVAL);
	/* What it asks for is enough. */
	config__free(GOOD("run", "--queue-bytes", "60MiB", "--memory-bytes", "65MiB"));
}

/* docs/CONFIGURATION.md is what the table says: tests run from the root of the tree. */
static void the_reference_is_up_to_date(void **state)
{
	static char on_disk[200000];
	char *made = NULL;
	size_t n, have;
	FILE *f = fopen("docs/CONFIGURATION.md", "r");

	(void)state;
	if (!f)
		skip();
	have = fread(on_disk, 1, sizeof(on_disk) - 1, f);
	on_disk[have] = '\0';
	fclose(f);
	f = open_memstream(&made, &n);
	config_reference(f);
	fclose(f);
	if (strcmp(made, on_disk) != 0)
		fail_msg("docs/CONFIGURATION.md is old: build/kongtap help reference > docs/CONFIGURATION.md");
	free(made);
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(defaults_are_the_plugins),
		T(the_table_is_sound),
		T(a_proxys_password_is_not_printed),
		T(what_is_printed_is_read_back),
		T(later_layers_win),
		T(flags_in_all_their_forms),
		T(the_output_follows_from_where_it_goes),
		T(wrong_use_is_said_in_a_line),
		T(help_is_there),
		T(yaml_takes_what_is_right),
		T(yaml_errors_name_file_line_key_and_both_sides),
		T(all_errors_are_said_at_once),
		T(a_secret_is_never_shown),
		T(a_readable_secret_in_a_file_is_a_warning),
		T(the_application_id_can_come_from_a_file),
		T(kongs_files_in_all_their_shapes),
		T(wrong_files_of_kong_are_said),
		T(what_only_kong_can_resolve_is_left_out),
		T(options_without_meaning_are_named_in_one_warning),
		T(a_small_file_that_unfolds_is_refused),
		T(the_environment_knows_what_is_not_meant_for_it),
		T(reload_reads_the_files_again),
		T(what_a_reload_cannot_change_is_named),
		T(bodies_are_captured_as_far_as_they_are_wanted),
		T(bodies_are_excluded_by_type),
		T(filters_by_host_path_and_port),
		T(filters_by_route_prefix),
		T(filters_by_namespace_and_pod),
		T(memory_is_shared_out),
		T(globs_take_linear_time),
		T(the_reference_is_up_to_date),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
