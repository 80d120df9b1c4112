/* link: -Wl,--wrap=malloc,--wrap=calloc,--wrap=realloc,--wrap=reallocarray,--wrap=strdup,--wrap=strndup */
/* Every allocation of our own fails once, each in turn: nothing crashes, leaks or is half done. */
#include "alloc_fail.h"
#include "kt_cmocka.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "base/stats.h"
#include "config.h"
#include "config_option.h"
#include "ship/compress.h"
#include "ship/queue.h"
#include "ship/shipper.h"
#include "ship/spool.h"

static void silent(void *ctx, enum log_level level, const char *module, const char *text)
{
	(void)ctx;
	(void)level;
	(void)module;
	(void)text;
}

/* How often fn was called until it went through without a failed allocation. */
static unsigned sweep(void (*fn)(void))
{
	unsigned n;

	log_set_sink(silent, NULL);
	n = alloc_sweep(fn) + 1;
	log_set_sink(NULL, NULL);
	return n;
}

static char dir[64], file[128];

static void load_config(void)
{
	const char *const words[] = {"kongtap", "run", "-c", file, "--prefix", "a,b,c", "--pid=1", "--proxy", "x"};
	struct config *c = NULL;
	int err = dup(2), null = open("/dev/null", O_WRONLY), result;

	dup2(null, 2);
	result = config_load((int)(sizeof(words) / sizeof(words[0])), (char **)(uintptr_t)words, &c);
	dup2(err, 2);
	close(err);
	close(null);
	if (result)
		assert_null(c);
	else
		assert_true(c->capture.nprefixes == 3 && c->moesif.authorization_header_name &&
			    c->moesif.authorization_user_id_field);
	/* What failed was said, one way or another; it never passes for a configuration that lacks something. */
	assert_true(result || c->moesif.request_header_masks.n == 2);
	config__free(c);
}

static void configuration(void **state)
{
	FILE *f;

	(void)state;
	strcpy(dir, "/tmp/kt-alloc-XXXXXX");
	assert_non_null(mkdtemp(dir));
	snprintf(file, sizeof(file), "%s/c.yml", dir);
	f = fopen(file, "w");
	fputs("request_header_masks: [a, b]\ninclude_ports: [1, 2]\napi_version: \"2\"\n", f);
	fclose(f);
	assert_true(sweep(load_config) > 20);
	unlink(file);
	rmdir(dir);
}

static void reference(void)
{
	FILE *f = fopen("/dev/null", "w");

	config_reference(f);
	fclose(f);
}

static void help(void **state)
{
	(void)state;
	assert_true(sweep(reference) > 20);
}

static void fill_queue(void)
{
	struct queue_limits l = {.events = 1000, .bytes = 100000, .batch_events = 100, .batch_bytes = 5000};
	struct queue *q = queue__new(&l, (struct queue_wake){NULL, NULL});
	uint64_t taken = 0, events, bytes;
	char json[200];
	struct batch *b;

	if (!q)
		return;
	memset(json, '1', sizeof(json));
	for (int i = 0; i < 300; i++)
		taken += queue__give(q, span_of(json, sizeof(json))) == 0;
	queue__level(q, &events, &bytes);
	assert_int_equal(events, taken);
	assert_int_equal(bytes, taken * sizeof(json));
	while ((b = queue__take(q, 0, 0))) {
		struct batch *half = b->count > 1 ? batch__slice(b, 0, b->count / 2) : NULL;

		batch__free(half);
		queue__uncharge(q, b->count, b->charge);
		queue__recycle(q, b);
	}
	queue__level(q, &events, &bytes);
	assert_int_equal(events, 0);
	assert_int_equal(bytes, 0);
	queue__free(q);
}

static void queue(void **state)
{
	(void)state;
	assert_true(sweep(fill_queue) > 10);
}

static void use_spool(void)
{
	uint64_t recovered = 0, events, bytes, written = 0, seen = 0;
	struct spool *s = spool__open(dir, 1 << 20, &recovered);
	struct batch *b;

	if (!s)
		return;
	stats_reset();
	for (int i = 0; i < 4; i++) {
		b = batch__new();
		if (b && !batch__add(b, SPAN_LIT("{}")) && spool__put(s, b, i & 1) == 0) {
			written++;
			if (b->ref)
				spool__done(s, b->ref, 1);
			seen += i & 1;
		}
		batch__free(b);
	}
	/* Without memory nothing comes, now; it is not lost. */
	for (int tries = 0; tries < 3; tries++) {
		while ((b = spool__next(s))) {
			seen += b->count;
			spool__done(s, b->ref, b->count);
			batch__free(b);
		}
	}
	spool__level(s, &events, &bytes);
	assert_int_equal(events, 0);
	assert_int_equal(seen, written + recovered);
	spool__close(s);
}

static void spool(void **state)
{
	(void)state;
	strcpy(dir, "/tmp/kt-alloc-XXXXXX");
	assert_non_null(mkdtemp(dir));
	assert_true(sweep(use_spool) > 10);
	assert_int_equal(rmdir(dir), 0);
}

static void make_shipper(void)
{
	struct ship_options o;
	struct shipper *s;

	ship_options_default(&o);
	o.application_id = __real_strdup("id");
	o.spool_dir = __real_strdup(dir);
	o.shutdown_timeout = 0;
	if (o.api_endpoint) {
		s = shipper__new(&o, (struct remote_sink){NULL, NULL});
		assert_true(s || errno == ENOMEM);
		alloc_fail_no_more(); /* the thread allocates, too, whenever it likes */
		shipper__free(s);
	}
	ship_options_free(&o);
}

static void shipper(void **state)
{
	(void)state;
	strcpy(dir, "/tmp/kt-alloc-XXXXXX");
	assert_non_null(mkdtemp(dir));
	assert_true(sweep(make_shipper) > 3);
	assert_int_equal(rmdir(dir), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(configuration),
		cmocka_unit_test(help),
		cmocka_unit_test(queue),
		cmocka_unit_test(spool),
		cmocka_unit_test(shipper),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
