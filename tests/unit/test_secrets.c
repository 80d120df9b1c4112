/* link: -Wl,--wrap=free,--wrap=realloc */
/* The application id, the key of session tokens and the proxy's password leave no copy behind in memory that we give
 * back: whichever way they came, used or not, and also when the configuration is refused. What libraries keep of the
 * text that they are given is not seen here. */
#include "kt_cmocka.h"

#include <fcntl.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "config.h"
#include "moesif/moesif.h"
#include "ship/shipper.h"

#define SECRET "kt-secret-0123456789"

void __real_free(void *p);
void *__real_realloc(void *p, size_t n);
void __wrap_free(void *p);
void *__wrap_realloc(void *p, size_t n);

static unsigned copies, given_back;

static void look(const void *p)
{
	if (!p)
		return;
	given_back++;
	copies += memmem(p, malloc_usable_size((void *)(uintptr_t)p), SECRET, strlen(SECRET)) != NULL;
}

void __wrap_free(void *p)
{
	look(p);
	__real_free(p);
}

/* Moves it always: what realloc leaves behind where it was is what counts. */
void *__wrap_realloc(void *p, size_t n)
{
	size_t old = p ? malloc_usable_size(p) : 0;
	void *q = malloc(n);

	if (!q)
		return NULL;
	if (p)
		memcpy(q, p, old < n ? old : n);
	__wrap_free(p);
	return q;
}

static char dir[] = "/tmp/kt-secrets-XXXXXX", path[64];

static void silent(void *ctx, enum log_level level, const char *module, const char *text)
{
	(void)ctx, (void)level, (void)module;
	assert_null(strstr(text, SECRET));
}

static const char *file(const char *text)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
	close(fd);
	return path;
}

/* Loads, uses, frees. */
static int life(const char *option, const char *value)
{
	const char *words[] = {"kongtap", "run", option, value};
	struct config *c = NULL;
	int err, keep = dup(2), null = open("/dev/null", O_WRONLY | O_CLOEXEC);

	dup2(null, 2);
	close(null);
	err = config_load(option ? 4 : 2, (char **)(uintptr_t)words, &c);
	dup2(keep, 2);
	close(keep);
	if (!err) {
		struct shipper *s;
		struct moesif *m;

		c->ship.shutdown_timeout = 0;
		free(c->ship.api_endpoint);
		c->ship.api_endpoint = strdup("http://127.0.0.1:1");
		s = shipper__new(&c->ship, (struct remote_sink){NULL, NULL});
		m = moesif__new(&c->moesif, (struct event_sink){NULL, NULL});
		assert_non_null(s);
		assert_non_null(m);
		shipper__free(s);
		moesif__free(m);
	}
	config__free(c);
	return err;
}

static void expect_none(const char *way)
{
	if (copies)
		fail_msg("%s: %u copies left behind", way, copies);
	assert_true(given_back > 20);
	copies = given_back = 0;
}

static void the_look_sees(void **state)
{
	char *p = strdup(SECRET);

	(void)state;
	free(p);
	assert_int_equal(copies, 1);
	p = realloc(strdup(SECRET), 1000);
	assert_int_equal(copies, 2);
	explicit_bzero(p, 1000);
	free(p);
	assert_int_equal(copies, 2);
	copies = given_back = 0;
}

static void whichever_way_it_came(void **state)
{
	(void)state;
	assert_int_equal(life("--application-id", SECRET), 0);
	expect_none("command line");
	assert_int_equal(
		life("-c", file("batch_size: 10\napplication_id: " SECRET "\nproxy: http://u:" SECRET "@h:1\n")), 0);
	expect_none("configuration file");
	assert_int_equal(life("--application-id-file", file(SECRET "\n")), 0);
	expect_none("file of its own");
	assert_int_equal(
		life("--kong-config", file("plugins:\n- name: moesif\n  config:\n    application_id: " SECRET "\n")),
		0);
	expect_none("Kong's file");
	setenv("KONGTAP_APPLICATION_ID", SECRET, 1);
	assert_int_equal(life(NULL, NULL), 0);
	unsetenv("KONGTAP_APPLICATION_ID");
	expect_none("environment");
}

static void refused(void **state)
{
	(void)state;
	assert_true(life("-c", file("application_id: " SECRET "\nbatch_size: many\n")) < 0);
	expect_none("a configuration that is refused");
	assert_true(life("-c", file("application_id: " SECRET "\nfoo: [\n")) < 0);
	expect_none("a file that is no YAML");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_look_sees),
		cmocka_unit_test(whichever_way_it_came),
		cmocka_unit_test(refused),
	};
	int rc;

	if (!mkdtemp(dir))
		return 1;
	snprintf(path, sizeof(path), "%s/file", dir);
	log_set_sink(silent, NULL);
	rc = cmocka_run_group_tests(tests, NULL, NULL);
	unlink(path);
	rmdir(dir);
	return rc;
}
