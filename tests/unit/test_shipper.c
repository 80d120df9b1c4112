#include "kt_cmocka.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <sched.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <zlib.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/stats.h"
#include "fake_collector.h"
#include "in_child.h"
#include "ship/shipper.h"
#include "ship/spool.h"

#define APPLICATION_ID "id-that-must-not-be-seen"

static struct ship_options options;
static char spool[64];
static char logged[1u << 20];
static pthread_mutex_t logged_lock = PTHREAD_MUTEX_INITIALIZER;

static void take_log(void *ctx, enum log_level level, const char *module, const char *text)
{
	size_t n;

	(void)ctx;
	pthread_mutex_lock(&logged_lock);
	n = strlen(logged);
	snprintf(logged + n, sizeof(logged) - n, "%d %s %s\n", (int)level, module, text);
	pthread_mutex_unlock(&logged_lock);
}

static bool has_logged(const char *what)
{
	bool found;

	pthread_mutex_lock(&logged_lock);
	found = strstr(logged, what) != NULL;
	pthread_mutex_unlock(&logged_lock);
	return found;
}

static int setup(void **state)
{
	(void)state;
	stats_reset();
	logged[0] = '\0';
	log_set_sink(take_log, NULL);
	ship_options_default(&options);
	options.application_id = strdup(APPLICATION_ID);
	options.remote_config = false;
	options.batch_age = 10;
	options.retry_base = 10;
	options.retry_max = 40;
	options.refused_probe = 100;
	/* Only what never answers is to be given up, not what the machine lets wait. */
	options.send_timeout = 60000;
	options.shutdown_timeout = 60000;
	options.batch_size = 10;
	options.send_parallel = 1;
	spool[0] = '\0';
	return 0;
}

static int teardown(void **state)
{
	DIR *d = spool[0] ? opendir(spool) : NULL;
	struct dirent *e;
	char path[400];

	(void)state;
	/* Whatever a test did: the id was in no line of the log. */
	assert_null(strstr(logged, APPLICATION_ID));
	log_set_sink(NULL, NULL);
	ship_options_free(&options);
	while (d && (e = readdir(d))) {
		snprintf(path, sizeof(path), "%s/%s", spool, e->d_name);
		unlink(path);
	}
	if (d) {
		closedir(d);
		rmdir(spool);
	}
	return 0;
}

static void use_spool(void)
{
	strcpy(spool, "/tmp/kt-ship-XXXXXX");
	assert_non_null(mkdtemp(spool));
	options.spool_dir = strdup(spool);
	options.spool_sync = 40;
}

static struct shipper *ship_to(const char *url)
{
	struct shipper *s;

	free(options.api_endpoint);
	options.api_endpoint = strdup(url);
	s = shipper__new(&options, (struct remote_sink){NULL, NULL});
	assert_non_null(s);
	return s;
}

static unsigned given;

/* {"id":N,"request":{"body":"xx…"}} */
static int give_sized(struct shipper *s, unsigned id, unsigned padding)
{
	char json[8192];
	int n = snprintf(json, sizeof(json), "{\"id\":%u,\"request\":{\"body\":\"%0*d\"}}", id, (int)padding, 0);
	int err = shipper__give(s, span_of(json, (size_t)n));

	given += !err;
	return err;
}

static void give(struct shipper *s, unsigned from, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		assert_int_equal(give_sized(s, from + i, 3), 0);
}

static uint64_t dropped(void)
{
	return stats_get(STAT_ship_dropped_poison) + stats_get(STAT_ship_dropped_too_large) +
	       stats_get(STAT_ship_dropped_expired) + stats_get(STAT_ship_dropped_shutdown) +
	       stats_get(STAT_ship_dropped_spool);
}

/* Every event that was taken is in exactly one place. While the sender moves one from place to place, what is read one
 * counter after the other can be off for a moment. */
static void expect_balance(struct shipper *s)
{
	uint64_t in = 0, out = 1;

	for (int i = 0; i < 60000 && in != out; i++) {
		struct ship_status st;

		if (i)
			usleep(1000);
		shipper__status(s, &st);
		in = given + stats_get(STAT_ship_recovered_events);
		out = stats_get(STAT_ship_sent_events) + dropped() + st.queued_events + st.spooled_events;
	}
	assert_int_equal(in, out);
}

/* After the end it is exact at once. */
static void expect_final_balance(struct shipper *s)
{
	struct ship_status st;

	shipper__status(s, &st);
	assert_int_equal(given + stats_get(STAT_ship_recovered_events),
		stats_get(STAT_ship_sent_events) + dropped() + st.queued_events + st.spooled_events);
	assert_int_equal(st.queued_events, 0);
	assert_int_equal(st.queued_bytes, 0);
}

static void stop(struct shipper *s)
{
	shipper__stop(s);
	expect_final_balance(s);
	shipper__free(s);
}

static void expect_ids(const struct fake_collector *c, unsigned from, unsigned n)
{
	assert_int_equal(c->nids, n);
	for (unsigned i = 0; i < n; i++)
		assert_int_equal(c->ids[i], from + i);
}

/* All of [from, from + n), in any order, doubles allowed. */
static void expect_set(const struct fake_collector *c, unsigned from, unsigned n)
{
	char *seen = calloc(n, 1);

	for (unsigned i = 0; i < c->nids; i++)
		if (c->ids[i] >= from && c->ids[i] < from + n)
			seen[c->ids[i] - from] = 1;
	for (unsigned i = 0; i < n; i++)
		if (!seen[i])
			fail_msg("event %u did not arrive", from + i);
	free(seen);
}

static struct fake_reply accept_all(void *ctx, const struct fake_request *r)
{
	(void)ctx;
	(void)r;
	return (struct fake_reply){.status = 201};
}

static struct fake_reply check_request(void *ctx, const struct fake_request *r)
{
	bool good = r->post && strcmp(r->path, "/collector/v1/events/batch") == 0 &&
		    strstr(r->head, "X-Moesif-Application-Id: " APPLICATION_ID "\r\n") &&
		    strstr(r->head, "Content-Type: application/json\r\n") && strstr(r->head, "User-Agent: kongtap/") &&
		    !strstr(r->head, "Expect") && !strstr(r->head, "Content-Encoding") && r->body[0] == '[' &&
		    r->body[r->body_len - 1] == ']' && r->nids <= 10;

	*(bool *)ctx = *(bool *)ctx && good;
	return (struct fake_reply){.status = 201};
}

static void batches_arrive_in_order(void **state)
{
	bool good = true;
	struct fake_collector *c = fake_start(check_request, &good);
	struct shipper *s = ship_to(c->url);

	(void)state;
	given = 0;
	give(s, 0, 1005);
	assert_true(fake_wait(c, &c->nids, 1005));
	stop(s);
	assert_true(good);
	expect_ids(c, 0, 1005);
	assert_int_equal(stats_get(STAT_ship_sent_events), 1005);
	assert_true(stats_get(STAT_ship_sent_batches) >= 101);
	fake_stop(c);
}

/* Answers once `until` requests have been there at once, or, with 0, after a while in which another one could come. */
struct crowd {
	pthread_mutex_t lock;
	pthread_cond_t changed;
	unsigned now, peak, until;
	unsigned first; /* requests before this one are answered at once */
};

static struct fake_reply in_a_crowd(void *ctx, const struct fake_request *r)
{
	struct crowd *c = ctx;
	struct timespec patience;
	int err = 0;

	clock_gettime(CLOCK_REALTIME, &patience);
	patience.tv_sec += 10;
	pthread_mutex_lock(&c->lock);
	c->now++;
	c->peak = c->now > c->peak ? c->now : c->peak;
	pthread_cond_broadcast(&c->changed);
	while (r->number >= c->first && c->peak < c->until && !err)
		err = pthread_cond_timedwait(&c->changed, &c->lock, &patience);
	pthread_mutex_unlock(&c->lock);
	if (!c->until)
		usleep(3000);
	pthread_mutex_lock(&c->lock);
	c->now--;
	pthread_mutex_unlock(&c->lock);
	return (struct fake_reply){.status = 201};
}

#define CROWD_INIT                                                                                                     \
	{                                                                                                              \
		.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER                                 \
	}

/* One batch under way, and at most one full batch waiting: one after the other, though four were allowed. */
static void order_is_kept_while_the_collector_keeps_up(void **state)
{
	struct crowd crowd = CROWD_INIT;
	struct fake_collector *c = fake_start(in_a_crowd, &crowd);
	struct shipper *s;

	(void)state;
	given = 0;
	options.send_parallel = 4;
	s = ship_to(c->url);
	for (unsigned at = 0; at < 400; at += 20) {
		give(s, at, 20);
		assert_true(fake_wait(c, &c->nids, at + 20));
	}
	stop(s);
	expect_ids(c, 0, 400);
	assert_int_equal(crowd.peak, 1);
	fake_stop(c);
}

/* A backlog goes in parallel, and then it is one after the other again. */
static void a_backlog_goes_in_parallel(void **state)
{
	struct crowd crowd = CROWD_INIT;
	struct fake_collector *c = fake_start(in_a_crowd, &crowd);
	struct shipper *s;

	(void)state;
	given = 0;
	options.send_parallel = 4;
	fake_set_down(c, true);
	s = ship_to(c->url);
	give(s, 0, 500);
	/* Alone, the first that finds the collector up shows that it is. */
	crowd.first = 1;
	crowd.until = 4;
	fake_set_down(c, false);
	assert_true(fake_wait(c, &c->nids, 500));
	expect_set(c, 0, 500);
	assert_int_equal(crowd.peak, 4);
	crowd.peak = crowd.until = 0;
	for (unsigned at = 500; at < 700; at += 10) {
		give(s, at, 10);
		assert_true(fake_wait(c, &c->nids, at + 10));
	}
	stop(s);
	for (unsigned i = 500; i < 700; i++)
		assert_int_equal(c->ids[i], i);
	assert_int_equal(crowd.peak, 1);
	fake_stop(c);
}

static void several_requests_at_once_lose_nothing(void **state)
{
	struct fake_collector *c = fake_start(accept_all, NULL);
	struct shipper *s;

	(void)state;
	given = 0;
	options.send_parallel = 8;
	s = ship_to(c->url);
	give(s, 0, 20000);
	stop(s);
	assert_int_equal(c->nids, 20000);
	expect_set(c, 0, 20000);
	fake_stop(c);
}

static struct fake_reply inflate_it(void *ctx, const struct fake_request *r)
{
	char out[65536];
	uLongf n = sizeof(out);
	bool good = strstr(r->head, "Content-Encoding: deflate\r\n") &&
		    uncompress((Bytef *)out, &n, (const Bytef *)r->body, r->body_len) == Z_OK && out[0] == '[' &&
		    out[n - 1] == ']';

	*(bool *)ctx = *(bool *)ctx && good;
	return (struct fake_reply){.status = 200};
}

static void compression_as_the_plugin(void **state)
{
	bool good = true;
	struct fake_collector *c = fake_start(inflate_it, &good);
	struct shipper *s;

	(void)state;
	given = 0;
	options.enable_compression = true;
	s = ship_to(c->url);
	give(s, 0, 95);
	stop(s);
	assert_true(good);
	assert_int_equal(stats_get(STAT_ship_sent_events), 95);
	fake_stop(c);
}

static struct fake_reply no_compression(void *ctx, const struct fake_request *r)
{
	(void)ctx;
	return (struct fake_reply){.status = strstr(r->head, "Content-Encoding") ? 415 : 201};
}

static void a_collector_without_compression_gets_plain_requests(void **state)
{
	struct fake_collector *c = fake_start(no_compression, NULL);
	struct shipper *s;

	(void)state;
	given = 0;
	options.compression = strdup("gzip");
	options.send_parallel = 4;
	s = ship_to(c->url);
	give(s, 0, 30);
	stop(s);
	assert_int_equal(c->nids, 30);
	expect_set(c, 0, 30);
	assert_null(strstr(logged, "REFUSES"));
	fake_stop(c);
}

/* Fails the first requests in one way, then accepts. */
struct failing {
	struct fake_reply reply;
	unsigned times;
};

static struct fake_reply fail_first(void *ctx, const struct fake_request *r)
{
	struct failing *f = ctx;

	if (r->number < f->times)
		return f->reply;
	return (struct fake_reply){.status = 201};
}

static void failures_are_retried_in_order(void **state)
{
	static const struct fake_reply kinds[] = {{.status = 500}, {.status = 503}, {.status = 429}, {.status = 408},
		{.status = FAKE_RESET}, {.status = FAKE_SILENCE}, {.status = FAKE_GARBAGE}};

	(void)state;
	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		bool silent = kinds[i].status == FAKE_SILENCE;
		struct failing f = {kinds[i], 3};
		struct fake_collector *c = fake_start(fail_first, &f);
		struct shipper *s;

		options.send_timeout = silent ? 300 : 60000;
		s = ship_to(c->url);
		stats_reset();
		given = 0;
		give(s, 0, 25);
		assert_true(fake_wait(c, &c->nids, 25));
		stop(s);
		expect_set(c, 0, 25);
		assert_true(stats_get(STAT_ship_failed_requests) >= 3);
		assert_int_equal(stats_get(STAT_ship_retries), stats_get(STAT_ship_failed_requests));
		assert_int_equal(dropped(), 0);
		/* Where time plays a part a slow machine may give up a request too many. */
		if (!silent || stats_get(STAT_ship_failed_requests) == 3) {
			assert_int_equal(stats_get(STAT_ship_failed_requests), 3);
			expect_ids(c, 0, 25);
		}
		fake_stop(c);
	}
}

static void retry_after_is_honoured(void **state)
{
	struct failing f = {{.status = 429, .headers = "Retry-After: 1\r\n"}, 1};
	struct fake_collector *c = fake_start(fail_first, &f);
	struct shipper *s = ship_to(c->url);
	uint64_t before = clock_mono_ns();

	(void)state;
	given = 0;
	give(s, 0, 10);
	assert_true(fake_wait(c, &c->nids, 10));
	assert_true(clock_mono_ns() - before >= 950000000);
	stop(s);
	fake_stop(c);
}

static struct fake_reply small_bodies_only(void *ctx, const struct fake_request *r)
{
	return (struct fake_reply){.status = r->body_len > *(size_t *)ctx ? 413 : 201};
}

static void too_large_is_split_then_slimmed_then_dropped(void **state)
{
	size_t limit = 150;
	struct fake_collector *c = fake_start(small_bodies_only, &limit);
	struct shipper *s = ship_to(c->url);

	(void)state;
	given = 0;
	give(s, 0, 9);
	assert_int_equal(give_sized(s, 9, 500), 0);
	assert_true(fake_wait(c, &c->nids, 10));
	expect_ids(c, 0, 10);
	assert_int_equal(dropped(), 0);
	limit = 10;
	give(s, 10, 3);
	stop(s);
	assert_int_equal(stats_get(STAT_ship_dropped_too_large), 3);
	fake_stop(c);
}

static void what_is_cut_off_time_and_again_is_halved(void **state)
{
	struct fake_collector *c = fake_start(accept_all, NULL);
	struct shipper *s;

	(void)state;
	given = 0;
	c->cut_above = 1000000;
	options.batch_size = 1000;
	options.batch_age = 60000;
	s = ship_to(c->url);
	for (unsigned i = 0; i < 500; i++)
		assert_int_equal(give_sized(s, i, 8000), 0);
	options.batch_age = 10;
	give(s, 500, 500);
	assert_true(fake_wait(c, &c->nids, 1000));
	expect_ids(c, 0, 1000);
	stop(s);
	assert_int_equal(dropped(), 0);
	fake_stop(c);
}

static struct fake_reply check_proxied(void *ctx, const struct fake_request *r)
{
	*(bool *)ctx = strcmp(r->path, "http://collector.invalid/v1/events/batch") == 0;
	return (struct fake_reply){.status = 201};
}

static void a_proxy_is_used(void **state)
{
	bool good = false;
	struct fake_collector *c = fake_start(check_proxied, &good);
	struct shipper *s;

	(void)state;
	given = 0;
	options.proxy = strndup(c->url, strlen(c->url) - strlen("/collector"));
	s = ship_to("http://collector.invalid/");
	give(s, 0, 10);
	stop(s);
	assert_true(good);
	expect_ids(c, 0, 10);
	fake_stop(c);
}

/* libcurl quotes a proxy that it cannot use as it was given, with the password that stands in it. */
static void a_proxys_password_is_never_said(void **state)
{
	static const char *const unusable[] = {"foo://user:S3cret@127.0.0.1:1", "http://user:S3cret@:99999",
		"http://user:S3cret", "user:S3cret@127.0.0.1:1"};
	struct ship_status st;

	(void)state;
	given = 0;
	options.shutdown_timeout = 0;
	for (size_t i = 0; i < sizeof(unusable) / sizeof(unusable[0]); i++) {
		struct shipper *s;

		options.proxy = strdup(unusable[i]);
		s = ship_to("http://collector.invalid/");
		give(s, 0, 1);
		do {
			usleep(1000);
			shipper__status(s, &st);
		} while (!st.last_error[0]);
		assert_null(strstr(st.last_error, "S3cret"));
		stop(s);
		assert_false(has_logged("S3cret"));
		assert_true(has_logged("no answer: "));
		free(options.proxy);
	}
	options.proxy = NULL;
}

static struct fake_reply send_elsewhere(void *ctx, const struct fake_request *r)
{
	(void)r;
	return (struct fake_reply){.status = 307, .headers = ctx};
}

/* A redirect is an answer, and nothing that the application id is sent after. */
static void a_redirect_is_not_followed(void **state)
{
	struct fake_collector *other = fake_start(accept_all, NULL), *c;
	char location[256];
	struct ship_status st;
	struct shipper *s;

	(void)state;
	given = 0;
	snprintf(location, sizeof(location), "Location: %s/v1/events/batch\r\n", other->url);
	c = fake_start(send_elsewhere, location);
	s = ship_to(c->url);
	give(s, 0, 10);
	assert_true(fake_wait(c, &c->requests, 2));
	shipper__status(s, &st);
	assert_int_equal(st.state, SHIP_REFUSED);
	assert_int_equal(other->requests, 0);
	stop(s);
	fake_stop(c);
	fake_stop(other);
}

/* What waited for longer than the collector takes events is dropped and counted, and what is younger is not. */
static void what_is_too_old_is_dropped(void **state)
{
	const uint64_t day = 86400ull * 1000000000;
	struct fake_collector *c = fake_start(accept_all, NULL);
	struct spool *store;
	struct shipper *s;
	uint64_t left;

	(void)state;
	given = 0;
	use_spool();
	store = spool__open(spool, 1 << 20, &left);
	assert_non_null(store);
	for (unsigned i = 0; i < 2; i++) {
		struct batch *b = batch__new();

		assert_int_equal(batch__add(b, i ? SPAN_LIT("{\"id\":0}") : SPAN_LIT("{\"id\":77}")), 0);
		b->wall_ns = clock_wall_ns() - (i ? 29 * day : 31 * day);
		assert_int_equal(spool__put(store, b, false), 0);
		batch__free(b);
	}
	spool__close(store);
	s = ship_to(c->url);
	assert_true(fake_wait(c, &c->nids, 1));
	while (stats_get(STAT_ship_dropped_expired) < 1)
		usleep(1000);
	expect_balance(s);
	stop(s);
	expect_ids(c, 0, 1);
	assert_int_equal(stats_get(STAT_ship_dropped_expired), 1);
	fake_stop(c);
}

static void connections_are_kept_as_long_as_asked(void **state)
{
	(void)state;
	for (int keep = 0; keep < 2; keep++) {
		struct fake_collector *c = fake_start(accept_all, NULL);
		struct shipper *s;

		given = 0;
		stats_reset();
		options.keepalive = keep ? 60000 : 0;
		options.batch_age = 60000; /* ten are a batch, however long it takes to give them */
		s = ship_to(c->url);
		for (unsigned i = 0; i < 5; i++) {
			give(s, i * 10, 10);
			assert_true(fake_wait(c, &c->nids, i * 10 + 10));
		}
		stop(s);
		assert_int_equal(c->accepted_conns, keep ? 1 : 5);
		fake_stop(c);
	}
}

static struct fake_reply poison_is_7(void *ctx, const struct fake_request *r)
{
	(void)ctx;
	for (unsigned i = 0; i < r->nids; i++)
		if (r->ids[i] % 100 == 7)
			return (struct fake_reply){.status = 400};
	return (struct fake_reply){.status = 201};
}

static void poison_is_isolated_and_dropped(void **state)
{
	struct fake_collector *c = fake_start(poison_is_7, NULL);
	struct shipper *s = ship_to(c->url);
	unsigned next = 0;

	(void)state;
	given = 0;
	give(s, 0, 300);
	assert_true(fake_wait(c, &c->nids, 297));
	stop(s);
	assert_int_equal(stats_get(STAT_ship_dropped_poison), 3);
	assert_int_equal(c->nids, 297);
	for (unsigned i = 0; i < 300; i++)
		if (i % 100 != 7)
			assert_int_equal(c->ids[next++], i);
	fake_stop(c);
}

static struct fake_reply all_bad(void *ctx, const struct fake_request *r)
{
	(void)r;
	return (struct fake_reply){.status = __atomic_load_n((int *)ctx, __ATOMIC_SEQ_CST)};
}

static void a_collector_that_finds_everything_bad_does_not_empty_the_queue(void **state)
{
	int status = 400;
	struct fake_collector *c = fake_start(all_bad, &status);
	struct shipper *s;
	struct ship_status st;

	(void)state;
	given = 0;
	options.refused_probe = 60000;
	s = ship_to(c->url);
	give(s, 0, 500);
	do {
		usleep(1000);
		shipper__status(s, &st);
	} while (st.state != SHIP_REFUSED);
	assert_int_equal(stats_get(STAT_ship_dropped_poison), 20);
	assert_int_equal(st.queued_events, 480);
	expect_balance(s);
	stop(s);
	assert_int_equal(stats_get(STAT_ship_dropped_shutdown), 480);
	fake_stop(c);
}

/* The collector was asked, and answers: events are poison, it is not silent. */
static void a_collector_of_poison_only_was_asked(void **state)
{
	static const struct {
		int status;
		enum counter dropped;
	} kinds[] = {{400, STAT_ship_dropped_poison}, {413, STAT_ship_dropped_too_large}};

	(void)state;
	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		int status = kinds[i].status;
		struct fake_collector *c = fake_start(all_bad, &status);
		struct shipper *s = ship_to(c->url);
		struct ship_status st;

		given = 0;
		stats_reset();
		shipper__status(s, &st);
		assert_int_equal(st.state, SHIP_IDLE);
		give(s, 0, 1);
		while (!stats_get(kinds[i].dropped))
			usleep(1000);
		do {
			usleep(1000);
			shipper__status(s, &st);
		} while (st.queued_events);
		assert_int_equal(st.state, SHIP_OK);
		assert_int_equal(st.last_http_status, kinds[i].status);
		stop(s);
		fake_stop(c);
	}
}

static struct fake_reply long_head(void *ctx, const struct fake_request *r)
{
	(void)r;
	return (struct fake_reply){.status = 201, .headers = ctx};
}

static void an_endless_head_is_called_that(void **state)
{
	static const struct {
		size_t line, lines;
		const char *why;
	} heads[] = {{1000, 70, "no answer: its head is longer than 64 KiB"},
		{120000, 1, "no answer: out of memory, or a line of its head is longer than 100 KiB"}};

	(void)state;
	options.shutdown_timeout = 0;
	for (size_t i = 0; i < sizeof(heads) / sizeof(heads[0]); i++) {
		size_t n = heads[i].line, lines = heads[i].lines;
		char *text = malloc(n * lines + 1);
		struct fake_collector *c;
		struct ship_status st;
		struct shipper *s;

		assert_non_null(text);
		memset(text, 'x', n * lines);
		for (size_t line = 0; line < lines; line++) {
			memcpy(text + line * n, "X-A: ", 5);
			memcpy(text + (line + 1) * n - 2, "\r\n", 2);
		}
		text[n * lines] = '\0';
		c = fake_start(long_head, text);
		s = ship_to(c->url);
		given = 0;
		stats_reset();
		give(s, 0, 1);
		do {
			usleep(1000);
			shipper__status(s, &st);
		} while (!st.last_error[0]);
		assert_string_equal(st.last_error, heads[i].why);
		stop(s);
		fake_stop(c);
		free(text);
	}
}

static void a_refusal_is_loud_and_probed_again(void **state)
{
	static const int refusals[] = {401, 402, 403, 404, 410, 301};

	(void)state;
	for (size_t i = 0; i < sizeof(refusals) / sizeof(refusals[0]); i++) {
		int status = refusals[i];
		struct fake_collector *c = fake_start(all_bad, &status);
		struct shipper *s = ship_to(c->url);
		uint64_t before = clock_mono_ns();
		struct ship_status st;
		const char *loud;
		unsigned requests;

		given = 0;
		stats_reset();
		logged[0] = '\0';
		give(s, 0, 100);
		assert_true(fake_wait(c, &c->requests, 3));
		/* Not more than one probe in its time, and one line. */
		requests = __atomic_load_n(&c->requests, __ATOMIC_SEQ_CST);
		assert_true(requests <= 2 + (clock_mono_ns() - before) / (options.refused_probe * 1000000ull));
		shipper__status(s, &st);
		assert_int_equal(st.state, SHIP_REFUSED);
		assert_int_equal(st.last_http_status, refusals[i]);
		assert_int_equal(st.queued_events, 100);
		pthread_mutex_lock(&logged_lock);
		loud = strstr(logged, "REFUSES");
		assert_non_null(loud);
		assert_null(strstr(loud + 1, "REFUSES"));
		pthread_mutex_unlock(&logged_lock);
		__atomic_store_n(&status, 201, __ATOMIC_SEQ_CST);
		assert_true(fake_wait(c, &c->nids, 100));
		expect_ids(c, 0, 100);
		stop(s);
		fake_stop(c);
	}
}

static void a_full_queue_refuses_and_counts(void **state)
{
	struct fake_collector *c = fake_start(accept_all, NULL);
	struct shipper *s;
	unsigned refused = 0;

	(void)state;
	given = 0;
	fake_set_down(c, true);
	options.event_queue_size = 100;
	options.shutdown_timeout = 50;
	s = ship_to(c->url);
	for (unsigned i = 0; i < 150; i++)
		refused += give_sized(s, i, 3) == -ENOSPC;
	assert_int_equal(refused, 50);
	assert_int_equal(stats_get(STAT_queue_dropped_full), 50);
	expect_balance(s);
	stop(s);
	assert_int_equal(stats_get(STAT_ship_dropped_shutdown), 100);
	fake_stop(c);
}

static void an_outage_passes_through_the_spool(void **state)
{
	struct fake_collector *c = fake_start(accept_all, NULL);
	struct shipper *s;
	struct ship_status st;

	(void)state;
	given = 0;
	use_spool();
	options.event_queue_size = 200; /* much less than the outage brings */
	fake_set_down(c, true);
	s = ship_to(c->url);
	for (unsigned i = 0; i < 5000; i++)
		while (give_sized(s, i, 3))
			usleep(500);
	expect_balance(s);
	shipper__status(s, &st);
	assert_int_equal(st.state, SHIP_RETRYING);
	assert_true(st.spooled_events > 4000);
	fake_set_down(c, false);
	for (unsigned i = 5000; i < 5100; i++)
		while (give_sized(s, i, 3))
			usleep(500);
	assert_true(fake_wait(c, &c->nids, 5100));
	stop(s);
	expect_set(c, 0, 5100);
	assert_int_equal(stats_get(STAT_ship_sent_events), 5100);
	assert_int_equal(dropped(), 0);
	fake_stop(c);
}

/* Answers once `open`, which is atomic. */
static struct fake_reply accept_when_open(void *ctx, const struct fake_request *r)
{
	(void)r;
	while (!__atomic_load_n((int *)ctx, __ATOMIC_SEQ_CST))
		usleep(1000);
	return (struct fake_reply){.status = 201};
}

/* A batch may be longer than the whole spool by the options: none is then, and what comes behind it is kept, too. */
static void batches_fit_into_a_small_spool(void **state)
{
	struct fake_collector *c = fake_start(accept_all, NULL);
	struct shipper *s;

	(void)state;
	given = 0;
	use_spool();
	options.spool_bytes = 1u << 20;
	options.batch_size = 10000;
	options.batch_age = 60000;
	fake_set_down(c, true);
	s = ship_to(c->url);
	for (unsigned i = 0; i < 150; i++)
		assert_int_equal(give_sized(s, i, 8000), 0);
	give(s, 150, 50);
	for (int i = 0; i < 60000 && stats_get(STAT_ship_spooled_events) < 200; i++)
		usleep(1000);
	assert_int_equal(stats_get(STAT_ship_spooled_events), 200);
	assert_false(has_logged("cannot write"));
	fake_set_down(c, false);
	stop(s);
	fake_stop(c);
}

static void new_events_are_not_starved_by_the_backlog(void **state)
{
	int open = 0;
	struct fake_collector *c = fake_start(accept_when_open, &open);
	struct shipper *s;
	unsigned at = 0;

	(void)state;
	given = 0;
	use_spool();
	fake_set_down(c, true);
	options.shutdown_timeout = 0;
	s = ship_to(c->url);
	give(s, 0, 3000);
	stop(s);
	fake_set_down(c, false);
	given = 0;
	options.shutdown_timeout = 60000;
	options.spool_sync = 60000; /* what waits for so long goes behind the backlog */
	stats_reset();
	s = ship_to(c->url);
	give(s, 3000, 10);
	__atomic_store_n(&open, 1, __ATOMIC_SEQ_CST);
	assert_true(fake_wait(c, &c->nids, 3010));
	stop(s);
	expect_set(c, 0, 3010);
	while (c->ids[at] < 3000)
		at++;
	assert_true(at < 2500);
	fake_stop(c);
}

static void a_healthy_collector_keeps_the_disk_idle(void **state)
{
	struct fake_collector *c = fake_start(accept_all, NULL);
	struct shipper *s;

	(void)state;
	given = 0;
	use_spool();
	options.spool_sync = 60000;
	s = ship_to(c->url);
	give(s, 0, 1000);
	assert_true(fake_wait(c, &c->nids, 1000));
	stop(s);
	assert_int_equal(stats_get(STAT_ship_spooled_events), 0);
	fake_stop(c);
}

static void the_end_spools_what_could_not_be_sent(void **state)
{
	int status = 401;
	struct fake_collector *c = fake_start(all_bad, &status);
	struct shipper *s;

	(void)state;
	given = 0;
	use_spool();
	options.spool_sync = 60000;
	s = ship_to(c->url);
	give(s, 0, 77);
	stop(s);
	assert_int_equal(dropped(), 0);
	status = 201;
	given = 0;
	stats_reset();
	s = ship_to(c->url);
	assert_true(fake_wait(c, &c->nids, 77));
	expect_ids(c, 0, 77);
	stop(s);
	assert_int_equal(stats_get(STAT_ship_recovered_events), 77);
	fake_stop(c);
}

static void wait_empty(struct shipper *s)
{
	struct ship_status st = {.queued_events = 1};

	for (int i = 0; i < 60000 && st.queued_events + st.spooled_events; i++) {
		usleep(1000);
		shipper__status(s, &st);
	}
	assert_int_equal(st.queued_events + st.spooled_events, 0);
}

/* A request that gets no answer is on disk before it is given up, and is delivered once as far as is known. */
static void a_silent_collector_costs_nothing(void **state)
{
	struct failing f = {{.status = FAKE_SILENCE}, 2};
	struct fake_collector *c = fake_start(fail_first, &f);
	struct shipper *s;

	(void)state;
	given = 0;
	use_spool();
	options.send_timeout = 300;
	s = ship_to(c->url);
	give(s, 0, 50);
	assert_true(fake_wait(c, &c->nids, 50));
	wait_empty(s); /* some may come twice before the last has come once */
	stop(s);
	expect_set(c, 0, 50);
	/* Unless the machine was too slow for an answer in time. */
	if (stats_get(STAT_ship_failed_requests) == 2)
		assert_int_equal(c->nids, 50);
	assert_true(stats_get(STAT_ship_spooled_events) >= 10);
	fake_stop(c);
}

static void wait_spooled(struct shipper *s, uint64_t events)
{
	struct ship_status st = {.spooled_events = 0};

	for (int i = 0; i < 60000 && st.spooled_events < events; i++) {
		usleep(1000);
		shipper__status(s, &st);
	}
	assert_int_equal(st.spooled_events, events);
}

static void killed_it_loses_only_what_is_younger_than_the_sync_interval(void **state)
{
	struct fake_collector *c = fake_start(accept_all, NULL);
	struct shipper *s;
	pid_t pid;

	(void)state;
	given = 0;
	use_spool();
	fake_set_down(c, true);
	pid = fork();
	if (pid == 0) {
		s = ship_to(c->url);
		give(s, 0, 500);
		usleep(options.spool_sync * 1000 * 3);
		/* For a machine that does not run it in its time. */
		wait_spooled(s, 500);
		raise(SIGKILL);
	}
	assert_int_equal(waitpid(pid, NULL, 0), pid);
	fake_set_down(c, false);
	s = ship_to(c->url);
	assert_true(fake_wait(c, &c->nids, 500));
	stop(s);
	expect_set(c, 0, 500);
	fake_stop(c);
}

static void poison_from_the_spool_is_isolated_too(void **state)
{
	struct fake_collector *c = fake_start(poison_is_7, NULL);
	struct shipper *s;

	(void)state;
	given = 0;
	use_spool();
	fake_set_down(c, true);
	s = ship_to(c->url);
	give(s, 0, 200);
	wait_spooled(s, 200);
	fake_set_down(c, false);
	assert_true(fake_wait(c, &c->nids, 198));
	while (stats_get(STAT_ship_dropped_poison) < 2)
		usleep(1000);
	stop(s);
	assert_int_equal(stats_get(STAT_ship_dropped_poison), 2);
	fake_stop(c);
}

static void an_unwritable_spool_leaves_the_memory(void **state)
{
	struct fake_collector *c = fake_start(accept_all, NULL);
	struct shipper *s;
	int fd;

	(void)state;
	given = 0;
	use_spool();
	fake_set_down(c, true);
	s = ship_to(c->url);
	/* Gone under its feet, and it cannot be made again. */
	assert_int_equal(rmdir(spool), 0);
	fd = open(spool, O_WRONLY | O_CREAT | O_EXCL, 0600);
	assert_true(fd >= 0);
	close(fd);
	give(s, 0, 300);
	for (int i = 0; i < 60000 && !has_logged("cannot write to"); i++)
		usleep(1000);
	assert_true(has_logged("cannot write to"));
	expect_balance(s);
	fake_set_down(c, false);
	assert_true(fake_wait(c, &c->nids, 300));
	stop(s);
	expect_ids(c, 0, 300);
	fake_stop(c);
	assert_int_equal(unlink(spool), 0);
}

/* Nobody can write to the spool's directory, or everybody who could before. Permissions do not bind root, but in a
 * child, which may have mounts of its own, a disk that is mounted to be read does. */
static void refuse_writes(bool on)
{
	if (geteuid()) {
		WANT(chmod(spool, on ? 0500 : 0700) == 0);
		return;
	}
	if (on)
		WANT(unshare(CLONE_NEWNS) == 0 && mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0);
	WANT(mount("none", spool, "tmpfs", on ? MS_RDONLY : MS_REMOUNT, NULL) == 0);
}

static void with_a_disk_that_cannot_be_written(void)
{
	struct ship_status st = {.spooled_events = 0};
	struct fake_collector *c;
	struct shipper *s;

	refuse_writes(true);
	c = fake_start(accept_all, NULL);
	s = ship_to(c->url);
	WANT(has_logged("cannot be used: "));
	give(s, 0, 50);
	WANT(fake_wait(c, &c->nids, 50));
	wait_empty(s);
	fake_set_down(c, true);
	give(s, 50, 50);
	shipper__status(s, &st);
	WANT(st.queued_events == 50 && st.spooled_events == 0);
	refuse_writes(false);
	for (int i = 0; i < 60000 && st.spooled_events < 50; i++) {
		usleep(1000);
		shipper__status(s, &st);
	}
	WANT(st.spooled_events == 50 && has_logged("can be used now"));
	fake_set_down(c, false);
	WANT(fake_wait(c, &c->nids, 100));
	stop(s);
	expect_set(c, 0, 100);
	WANT(dropped() == 0);
	fake_stop(c);
}

static void a_disk_that_cannot_be_written_yet_stops_nobody(void **state)
{
	(void)state;
	given = 0;
	use_spool();
	in_child(with_a_disk_that_cannot_be_written, 240);
}

/* A network of its own, in which the name server takes every question and answers none: the resolver would wait for
 * minutes. */
static void silence_the_name_server(void)
{
	static const char text[] = "nameserver 127.0.0.1\noptions timeout:30 attempts:5\n";
	struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons(53), .sin_addr = {htonl(INADDR_LOOPBACK)}};
	struct ifreq lo = {.ifr_name = "lo", .ifr_flags = IFF_UP};
	char conf[] = "/tmp/kt-resolv-XXXXXX";
	int fd;

	WANT(unshare((geteuid() ? CLONE_NEWUSER : 0) | CLONE_NEWNS | CLONE_NEWNET) == 0);
	WANT(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0);
	WANT((fd = mkstemp(conf)) >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text));
	WANT(mount(conf, "/etc/resolv.conf", NULL, MS_BIND, NULL) == 0 && unlink(conf) == 0);
	WANT((fd = socket(AF_INET, SOCK_DGRAM, 0)) >= 0 && ioctl(fd, SIOCSIFFLAGS, &lo) == 0);
	WANT(bind(fd, (struct sockaddr *)&at, sizeof(at)) == 0);
}

static void with_a_silent_name_server(void)
{
	struct ship_status st = {.last_error = ""};
	uint64_t begun = clock_mono_ns();
	struct shipper *s;

	silence_the_name_server();
	options.connect_timeout = 50;
	options.shutdown_timeout = 0;
	s = ship_to("http://collector.example/");
	give(s, 0, 10);
	for (int i = 0; i < 60000 && !st.last_error[0]; i++) {
		usleep(1000);
		shipper__status(s, &st);
	}
	WANT(strstr(st.last_error, "no answer: "));
	give(s, 10, 10);
	for (int i = 0; i < 60000 && st.spooled_events < 20; i++) {
		usleep(1000);
		shipper__status(s, &st);
	}
	WANT(st.spooled_events == 20);
	shipper__stop(s);
	shipper__free(s);
	WANT(clock_mono_ns() - begun < 60000000000);
}

/* Who waits for it must not be the thread that keeps events safe. */
static void a_silent_name_server_holds_nothing_up(void **state)
{
	(void)state;
	given = 0;
	use_spool();
	in_child(with_a_silent_name_server, 240);
}

/* Chance decides how each request is answered and how large the events are; poison and what is too large stay so. */
struct chance {
	unsigned seed;
	int calm; /* atomic: no more faults */
};

static struct fake_reply by_chance(void *ctx, const struct fake_request *r)
{
	static const int faults[] = {500, 502, 429, 408, 401, FAKE_RESET, FAKE_GARBAGE};
	struct chance *chance = ctx;
	unsigned dice = __atomic_add_fetch(&chance->seed, 2654435761u, __ATOMIC_SEQ_CST) >> 7;

	if (r->body_len > 12000)
		return (struct fake_reply){.status = 413};
	for (unsigned i = 0; i < r->nids; i++)
		if (r->ids[i] % 211 == 13)
			return (struct fake_reply){.status = 400};
	if (!__atomic_load_n(&chance->calm, __ATOMIC_SEQ_CST) && dice % 3 == 0)
		return (struct fake_reply){.status = faults[dice / 3 % 7]};
	return (struct fake_reply){.status = 201};
}

static void whatever_happens_every_event_is_accounted_for(void **state)
{
	enum { EVENTS = 1500 };

	(void)state;
	use_spool();
	options.event_queue_size = 300;
	options.refused_probe = 20;
	options.retry_base = 2;
	options.retry_max = 10;
	for (unsigned seed = 1; seed <= 6; seed++) {
		struct chance chance = {.seed = seed * 77777};
		struct fake_collector *c = fake_start(by_chance, &chance);
		unsigned poison = 0, lives = 0, at = 0;
		struct shipper *s;

		options.send_parallel = seed % 2 ? 1 : 5;
		stats_reset();
		given = 0;
		/* Several lives, one after the other; what one leaves, the next finds. */
		for (; at < EVENTS; lives++) {
			s = ship_to(c->url);
			options.shutdown_timeout = seed % 3 ? 0 : 30;
			for (unsigned until = at + EVENTS / 3; at < until; at++) {
				poison += at % 211 == 13;
				while (give_sized(s, at, at % 97 == 0 ? 7000 : at * 31 % 400))
					usleep(200);
			}
			if (at >= EVENTS)
				__atomic_store_n(&chance.calm, 1, __ATOMIC_SEQ_CST);
			else
				shipper__free(s);
		}
		options.shutdown_timeout = 60000;
		for (int i = 0; i < 60000 && c->nids < EVENTS - poison; i++)
			usleep(1000);
		wait_empty(s);
		shipper__free(s);
		/* At least once each, poison never; everything that left the queue is named. */
		for (unsigned i = 0; i < c->nids; i++)
			assert_true(c->ids[i] % 211 != 13);
		for (unsigned i = 0; i < EVENTS; i++) {
			bool there = false;

			for (unsigned k = 0; k < c->nids && !there; k++)
				there = c->ids[k] == i;
			assert_true(there || i % 211 == 13);
		}
		/* The end of a life gives up requests that had arrived: their events come again. */
		assert_in_range(stats_get(STAT_ship_sent_events), EVENTS - poison, c->nids);
		assert_true(stats_get(STAT_ship_dropped_poison) >= poison);
		assert_int_equal(dropped(), stats_get(STAT_ship_dropped_poison));
		fake_stop(c);
	}
}

/* --- remote configuration ------------------------------------------------------------------------------------------
 */

struct remote_seen {
	pthread_mutex_t lock;
	unsigned configs, rules;
	char last[128];
};

static void on_remote(void *ctx, bool rules, struct span body)
{
	struct remote_seen *seen = ctx;

	pthread_mutex_lock(&seen->lock);
	if (rules)
		seen->rules++;
	else
		seen->configs++;
	snprintf(seen->last, sizeof(seen->last), "%.*s", (int)body.n, body.p);
	pthread_mutex_unlock(&seen->lock);
}

struct remote_server {
	int tag; /* atomic */
	unsigned configs, rules, big;
};

static struct fake_reply serve_remote(void *ctx, const struct fake_request *r)
{
	struct remote_server *srv = ctx;
	static char headers[8][128], big[60000];
	int tag = __atomic_load_n(&srv->tag, __ATOMIC_SEQ_CST);

	snprintf(
		headers[tag], sizeof(headers[0]), "x-moesif-config-etag: v%d\r\nX-Moesif-Rules-Tag: r%d\r\n", tag, tag);
	if (r->post)
		return (struct fake_reply){.status = 201, .headers = headers[tag]};
	if (!strstr(r->head, "X-Moesif-Application-Id: " APPLICATION_ID "\r\n"))
		return (struct fake_reply){.status = 401};
	if (strcmp(r->path, "/collector/v1/config") == 0) {
		__atomic_add_fetch(&srv->configs, 1, __ATOMIC_SEQ_CST);
		memset(big, ' ', sizeof(big) - 1);
		return (struct fake_reply){
			.status = 200, .headers = headers[tag], .body = srv->big ? big : "{\"sample_rate\":42}"};
	}
	__atomic_add_fetch(&srv->rules, 1, __ATOMIC_SEQ_CST);
	return (struct fake_reply){.status = strcmp(r->path, "/collector/v1/rules") == 0 ? 200 : 404, .body = "[]"};
}

static struct shipper *ship_with_remote(const char *url, struct remote_seen *seen)
{
	struct shipper *s;

	pthread_mutex_init(&seen->lock, NULL);
	options.remote_config = true;
	free(options.api_endpoint);
	options.api_endpoint = strdup(url);
	s = shipper__new(&options, (struct remote_sink){on_remote, seen});
	assert_non_null(s);
	return s;
}

static void wait_for(unsigned *n, unsigned want)
{
	for (int i = 0; i < 60000 && __atomic_load_n(n, __ATOMIC_SEQ_CST) < want; i++)
		usleep(1000);
	assert_true(__atomic_load_n(n, __ATOMIC_SEQ_CST) >= want);
}

static void configuration_is_fetched_at_the_start_and_at_intervals(void **state)
{
	struct remote_server srv = {0};
	struct remote_seen seen = {.configs = 0};
	struct fake_collector *c = fake_start(serve_remote, &srv);
	struct shipper *s;

	(void)state;
	given = 0;
	options.remote_interval = 50;
	s = ship_with_remote(c->url, &seen);
	wait_for(&seen.configs, 3);
	wait_for(&seen.rules, 3);
	shipper__stop(s);
	shipper__free(s);
	fake_stop(c);
}

static void a_new_tag_fetches_it_and_the_same_does_not(void **state)
{
	struct remote_server srv = {0};
	struct remote_seen seen = {.configs = 0};
	struct fake_collector *c = fake_start(serve_remote, &srv);
	struct shipper *s = ship_with_remote(c->url, &seen);

	(void)state;
	given = 0;
	wait_for(&seen.configs, 1);
	for (unsigned i = 0; i < 10; i++) {
		give(s, i * 10, 10);
		assert_true(fake_wait(c, &c->nids, i * 10 + 10));
	}
	usleep(50000);
	assert_int_equal(srv.configs, 1);
	__atomic_store_n(&srv.tag, 1, __ATOMIC_SEQ_CST);
	give(s, 100, 10);
	/* Not at once: tags that change all the time must not cause a fetch each. */
	wait_for(&seen.configs, 2);
	give(s, 110, 10);
	assert_true(fake_wait(c, &c->nids, 120));
	usleep(50000);
	assert_int_equal(srv.configs, 2);
	stop(s);
	fake_stop(c);
}

/* --- the rest ------------------------------------------------------------------------------------------------------
 */

static struct fake_reply silent_to_gets(void *ctx, const struct fake_request *r)
{
	(void)ctx;
	return (struct fake_reply){.status = r->post ? 201 : FAKE_SILENCE};
}

/* A request that waits for another's connection until its time is over has not failed at the collector's name. */
static void a_collector_that_hangs_is_not_called_unknown(void **state)
{
	struct fake_collector *c = fake_start(silent_to_gets, NULL);
	struct remote_seen seen = {.configs = 0};
	struct shipper *s;

	(void)state;
	options.send_timeout = 200;
	s = ship_with_remote(c->url, &seen);
	for (int i = 0; i < 60000 && !(has_logged("rules cannot") && has_logged("configuration cannot")); i++)
		usleep(1000);
	shipper__stop(s);
	shipper__free(s);
	assert_true(has_logged("rules cannot be fetched: no answer"));
	assert_false(has_logged("resolve"));
	fake_stop(c);
}

static void bad_options_are_refused(void **state)
{
	static const char *const endpoints[] = {
		"", "ftp://x", "api.moesif.net", "https://u:p@host", "https://x/?a", "http://a b", "https://x\r\nX: y"};

	(void)state;
	for (size_t i = 0; i < sizeof(endpoints) / sizeof(endpoints[0]); i++) {
		free(options.api_endpoint);
		options.api_endpoint = strdup(endpoints[i]);
		assert_null(shipper__new(&options, (struct remote_sink){NULL, NULL}));
		assert_int_equal(errno, EINVAL);
	}
	free(options.api_endpoint);
	options.api_endpoint = strdup("http://127.0.0.1:1");
	free(options.application_id);
	options.application_id = strdup("a\r\nX-Evil: 1");
	assert_null(shipper__new(&options, (struct remote_sink){NULL, NULL}));
	free(options.application_id);
	options.application_id = NULL;
	assert_null(shipper__new(&options, (struct remote_sink){NULL, NULL}));
	options.application_id = strdup("a");
	options.compression = strdup("brotli");
	assert_null(shipper__new(&options, (struct remote_sink){NULL, NULL}));
	free(options.compression);
	options.compression = NULL;
	options.spool_dir = strdup("/proc/nowhere");
	assert_null(shipper__new(&options, (struct remote_sink){NULL, NULL}));
	shipper__free(NULL);
}

static void the_probe_tells_what_the_collector_says(void **state)
{
	static const struct {
		int status, want;
	} cases[] = {{200, 0}, {401, -EACCES}, {402, -EACCES}, {403, -EACCES}, {500, -EIO}, {FAKE_RESET, -EIO}};
	char text[100];

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		int status = cases[i].status;
		struct fake_collector *c = fake_start(all_bad, &status);

		free(options.api_endpoint);
		options.api_endpoint = strdup(c->url);
		assert_int_equal(shipper_probe(&options, text, sizeof(text)), cases[i].want);
		assert_true(text[0]);
		fake_stop(c);
	}
	assert_int_equal(shipper_probe(&options, text, sizeof(text)), -EIO);
	assert_non_null(strstr(text, "no answer"));
}

static void stopping_at_once_delivers_what_waits(void **state)
{
	struct fake_collector *c = fake_start(accept_all, NULL);
	struct shipper *s;

	(void)state;
	given = 0;
	options.batch_age = 60000;
	options.batch_size = 10000;
	s = ship_to(c->url);
	give(s, 0, 123);
	stop(s);
	expect_ids(c, 0, 123);
	fake_stop(c);
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(batches_arrive_in_order),
		T(order_is_kept_while_the_collector_keeps_up),
		T(a_backlog_goes_in_parallel),
		T(several_requests_at_once_lose_nothing),
		T(compression_as_the_plugin),
		T(a_collector_without_compression_gets_plain_requests),
		T(failures_are_retried_in_order),
		T(retry_after_is_honoured),
		T(too_large_is_split_then_slimmed_then_dropped),
		T(what_is_cut_off_time_and_again_is_halved),
		T(a_proxy_is_used),
		T(a_proxys_password_is_never_said),
		T(a_redirect_is_not_followed),
		T(what_is_too_old_is_dropped),
		T(connections_are_kept_as_long_as_asked),
		T(poison_is_isolated_and_dropped),
		T(a_collector_that_finds_everything_bad_does_not_empty_the_queue),
		T(a_collector_of_poison_only_was_asked),
		T(an_endless_head_is_called_that),
		T(a_refusal_is_loud_and_probed_again),
		T(a_full_queue_refuses_and_counts),
		T(an_outage_passes_through_the_spool),
		T(batches_fit_into_a_small_spool),
		T(new_events_are_not_starved_by_the_backlog),
		T(a_healthy_collector_keeps_the_disk_idle),
		T(the_end_spools_what_could_not_be_sent),
		T(a_silent_collector_costs_nothing),
		T(killed_it_loses_only_what_is_younger_than_the_sync_interval),
		T(poison_from_the_spool_is_isolated_too),
		T(an_unwritable_spool_leaves_the_memory),
		T(a_disk_that_cannot_be_written_yet_stops_nobody),
		T(a_silent_name_server_holds_nothing_up),
		T(whatever_happens_every_event_is_accounted_for),
		T(configuration_is_fetched_at_the_start_and_at_intervals),
		T(a_new_tag_fetches_it_and_the_same_does_not),
		T(a_collector_that_hangs_is_not_called_unknown),
		T(bad_options_are_refused),
		T(the_probe_tells_what_the_collector_says),
		T(stopping_at_once_delivers_what_waits),
	};

	signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
