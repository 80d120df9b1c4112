#include "kt_cmocka.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/log.h"
#include "capture/recorder.h"
#include "capture/source.h"

static char dir[] = "/tmp/kt-replay-XXXXXX";
static char path[64];
static struct buf seen; /* what a sink was given, as text */
static char why[512];

static void quiet(void *ctx, enum log_level level, const char *module, const char *text)
{
	(void)ctx;
	(void)level;
	(void)module;
	snprintf(why, sizeof(why), "%s", text);
}

static void describe(struct buf *b, const struct record *rec)
{
	char local[ENDPOINT_TEXT_LEN], peer[ENDPOINT_TEXT_LEN];
	const struct conn_key *k = &rec->open.key;

	buf__printf(b, "%d %llu ", rec->kind, (unsigned long long)rec->t_ns);
	switch (rec->kind) {
	case REC_OPEN:
		endpoint_text(&rec->open.local, local);
		endpoint_text(&rec->open.peer, peer);
		buf__printf(b, "%u/%llx/%u/%llu fd %d origin %d %s %s", k->pid, (unsigned long long)k->obj, k->tls,
			(unsigned long long)k->gen, rec->open.fd, rec->open.origin, local, peer);
		if (rec->open.late)
			buf__append_str(b, " late");
		break;
	case REC_DATA:
		k = &rec->data.key;
		buf__printf(b, "%u/%llx/%u/%llu dir %d pos %llu gap %llu cause %d ", k->pid, (unsigned long long)k->obj,
			k->tls, (unsigned long long)k->gen, rec->data.dir, (unsigned long long)rec->data.pos,
			(unsigned long long)rec->data.gap, rec->data.cause);
		buf__append_span(b, rec->data.data);
		break;
	case REC_CLOSE:
		k = &rec->close.key;
		buf__printf(b, "%u/%llx/%u/%llu in %llu out %llu%s", k->pid, (unsigned long long)k->obj, k->tls,
			(unsigned long long)k->gen, (unsigned long long)rec->close.in_pos,
			(unsigned long long)rec->close.out_pos, rec->close.limited ? " limited" : "");
		break;
	case REC_WORKER:
		buf__printf(b, "%u of %u ports %u:%u prefix %s pod %s", rec->worker.pid, rec->worker.node_pid,
			rec->worker.nports, rec->worker.ports[0].port, rec->worker.prefix, rec->worker.pod);
		break;
	case REC_EXIT:
		buf__printf(b, "%u", rec->exit.pid);
		break;
	case REC_CLOCK:
		buf__printf(b, "%lld", (long long)rec->clock.wall_offset_ns);
		break;
	case REC_REMOTE:
		buf__append_span(b, rec->remote.config);
		break;
	case REC_GOVERN:
		buf__printf(b, "%d %d %u", rec->govern.bodies, rec->govern.detached, rec->govern.shift);
		break;
	case REC_TICK:
	case REC_LOSS:
		break;
	}
	buf__append_char(b, '\n');
}

static void take(void *ctx, const struct record *rec)
{
	describe(ctx, rec);
}

static int replay(const char *file)
{
	struct source *s = source_replay__open(file, (struct record_sink){.fn = take, .ctx = &seen});
	int err;

	buf__clear(&seen);
	if (!s)
		return -errno;
	do
		err = source__poll(s, 0);
	while (err >= 0);
	source__close(s);
	return err;
}

static void write_file(const char *text)
{
	FILE *f = fopen(path, "w");

	assert_non_null(f);
	fputs(text, f);
	fclose(f);
}

static void what_is_recorded_is_replayed(void **state)
{
	const struct conn_key clear = {.gen = 7, .obj = 12, .pid = 100},
			      tls = {.gen = 8, .obj = 0x562e35740370, .pid = 100, .tls = 1};
	struct record recs[] = {
		{.kind = REC_CLOCK, .t_ns = 1, .clock = {.wall_offset_ns = 1795447360000000000}},
		{.kind = REC_WORKER,
			.t_ns = 2,
			.worker = {.pid = 100,
				.node_pid = 99,
				.nports = 1,
				.ports = {{8000, PORT_PROXY, 0}},
				.prefix = "/a \"b\"\\c",
				.pod = "x\ny"}},
		{.kind = REC_OPEN,
			.t_ns = 3,
			.open = {.key = clear,
				.fd = 12,
				.origin = CONN_ACCEPTED,
				.local = {.family = ADDR_IP4, .port = 8000, .addr = {127, 0, 0, 1}},
				.peer = {.family = ADDR_IP6, .port = 9, .addr = {0x20, 1, 0xd, 0xb8, [15] = 1}}}},
		{.kind = REC_OPEN, .t_ns = 3, .open = {.key = tls, .fd = -1, .late = true}},
		{.kind = REC_DATA,
			.t_ns = 4,
			.data = {.key = clear, .pos = 5, .data = SPAN_LIT("a\0b\xff"), .gap = 9, .cause = GAP_LIMIT}},
		{.kind = REC_DATA, .t_ns = 5, .data = {.key = tls, .dir = DIR_OUT, .pos = 0, .data = SPAN_LIT("")}},
		{.kind = REC_REMOTE, .t_ns = 5, .remote = {.config = SPAN_LIT("{\"sample_rate\":10}")}},
		{.kind = REC_TICK, .t_ns = 6},
		{.kind = REC_LOSS, .t_ns = 6},
		{.kind = REC_CLOSE, .t_ns = 7, .close = {.key = tls, .in_pos = 1, .out_pos = 2}},
		{.kind = REC_CLOSE, .t_ns = 7, .close = {.key = clear, .in_pos = 9, .limited = true}},
		{.kind = REC_GOVERN, .t_ns = 7, .govern = {.bodies = false, .shift = 5}},
		{.kind = REC_GOVERN, .t_ns = 7, .govern = {.bodies = true, .detached = true}},
		{.kind = REC_EXIT, .t_ns = 8, .exit = {.pid = 100}},
	};
	struct recorder *r = recorder__open(path, 42);
	struct buf wanted;
	struct stat st;

	(void)state;
	buf__init(&wanted, 100000);
	assert_non_null(r);
	for (size_t i = 0; i < sizeof(recs) / sizeof(*recs); i++) {
		assert_int_equal(recorder__write(r, &recs[i]), 0);
		describe(&wanted, &recs[i]);
	}
	assert_int_equal(recorder__close(r), 0);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
	assert_int_equal(replay(path), -ENODATA);
	assert_int_equal(seen.n, wanted.n);
	assert_memory_equal(seen.p, wanted.p, wanted.n);
	buf__free(&wanted);
}

static void calls_become_records(void **state)
{
	(void)state;
	write_file(
		"{\"t_ns\":0,\"pid\":9,\"call\":\"accept\",\"fd\":3,\"local\":\"127.0.0.1:8000\",\"peer\":\"1.2.3.4:"
		"5\",\"ret\":3}\n"
		"{\"t_ns\":1,\"pid\":9,\"call\":\"peek\",\"fd\":3,\"ret\":1,\"off\":0,\"len\":1,\"data\":\"Fg==\"}\n"
		"{\"t_ns\":2,\"pid\":9,\"call\":\"read\",\"fd\":3,\"ret\":3,\"off\":0,\"len\":3,\"data\":\"YWJj\"}\n"
		"{\"t_ns\":3,\"pid\":9,\"call\":\"write\",\"fd\":3,\"ret\":4,\"off\":0,\"len\":1,\"data\":\"eA==\"}\n"
		"{\"t_ns\":3,\"pid\":9,\"call\":\"write\",\"fd\":3,\"ret\":4,\"off\":1,\"len\":3,\"data\":\"YWJj\"}\n"
		"{\"t_ns\":4,\"pid\":9,\"call\":\"read\",\"fd\":3,\"ret\":-11}\n"
		"{\"t_ns\":4,\"pid\":9,\"call\":\"write\",\"fd\":3,\"ret\":1,\"off\":0,\"len\":1,\"data\":\"eg==\"}\n"
		"{\"t_ns\":5,\"pid\":9,\"call\":\"close\",\"fd\":3,\"ret\":0}\n");
	assert_int_equal(replay(path), -ENODATA);
	buf__append_char(&seen, '\0');
	assert_string_equal(seen.p, "1 2 9/3/0/1 fd 3 origin 1 127.0.0.1:8000 1.2.3.4:5\n"
				    "2 2 9/3/0/1 dir 0 pos 0 gap 0 cause 0 abc\n"
				    "2 3 9/3/0/1 dir 1 pos 0 gap 0 cause 0 x\n"
				    "2 3 9/3/0/1 dir 1 pos 1 gap 0 cause 0 abc\n"
				    "2 4 9/3/0/1 dir 1 pos 4 gap 0 cause 0 z\n"
				    "3 5 9/3/0/1 in 3 out 5\n");
}

static void tls_on_a_descriptor_is_told_from_clear(void **state)
{
	(void)state;
	write_file(
		"{\"t_ns\":0,\"pid\":9,\"call\":\"accept\",\"fd\":3,\"local\":\"127.0.0.1:8443\",\"peer\":\"1.2.3.4:"
		"5\",\"ret\":3}\n"
		"{\"t_ns\":1,\"pid\":9,\"call\":\"ssl_set_fd\",\"fd\":3,\"ssl\":\"aa\",\"ret\":0}\n"
		"{\"t_ns\":2,\"pid\":9,\"call\":\"read\",\"fd\":3,\"ret\":5,\"off\":0,\"len\":5,\"ciphertext\":true}\n"
		"{\"t_ns\":3,\"pid\":9,\"call\":\"ssl_read\",\"ssl\":\"aa\",\"ret\":3,\"off\":0,\"len\":3,\"data\":"
		"\"YWJj\"}\n"
		"{\"t_ns\":4,\"pid\":9,\"call\":\"close\",\"fd\":3,\"ret\":0}\n"
		"{\"t_ns\":5,\"pid\":9,\"call\":\"ssl_read\",\"ssl\":\"aa\",\"ret\":3,\"off\":0,\"len\":3,\"data\":"
		"\"YWJj\"}\n");
	assert_int_equal(replay(path), -ENODATA);
	buf__append_char(&seen, '\0');
	assert_string_equal(seen.p, "1 3 9/aa/1/2 fd 3 origin 1 127.0.0.1:8443 1.2.3.4:5\n"
				    "2 3 9/aa/1/2 dir 0 pos 0 gap 0 cause 0 abc\n"
				    "3 4 9/aa/1/2 in 3 out 0\n"
				    "1 5 9/aa/1/3 fd -1 origin 0 ? ?\n"
				    "2 5 9/aa/1/3 dir 0 pos 0 gap 0 cause 0 abc\n");
}

static void a_cut_inside_a_vectored_call(void **state)
{
	(void)state;
	write_file(
		"{\"t_ns\":3,\"pid\":9,\"call\":\"write\",\"fd\":3,\"ret\":4,\"off\":1,\"len\":2,\"data\":\"YWI=\"}\n"
		"{\"t_ns\":3,\"pid\":9,\"call\":\"write\",\"fd\":3,\"ret\":4,\"off\":3,\"len\":1,\"data\":\"eA==\"}\n"
		"{\"t_ns\":4,\"pid\":9,\"call\":\"write\",\"fd\":3,\"ret\":1,\"off\":0,\"len\":1,\"data\":\"eg==\"}\n");
	assert_int_equal(replay(path), -ENODATA);
	buf__append_char(&seen, '\0');
	assert_string_equal(seen.p, "1 3 9/3/0/1 fd 3 origin 0 ? ?\n"
				    "2 3 9/3/0/1 dir 1 pos 0 gap 0 cause 0 ab\n"
				    "2 3 9/3/0/1 dir 1 pos 2 gap 0 cause 0 x\n"
				    "2 4 9/3/0/1 dir 1 pos 3 gap 0 cause 0 z\n");
}

static void a_bad_line_ends_the_replay_by_name(void **state)
{
	static const char *const bad[] = {"{\"t_ns\":\n", "[]\n",
		"{\"t_ns\":1,\"pid\":1,\"call\":\"read\",\"fd\":3,\"ret\":3,"
		"\"off\":0,\"len\":3,\"data\":\"!!\"}\n",
		"{\"t_ns\":1,\"pid\":1,\"call\":\"nonsense\",\"gen\":3}\n"};
	char text[256];

	(void)state;
	log_set_sink(quiet, NULL);
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		snprintf(text, sizeof(text), "{\"t_ns\":1,\"call\":\"tick\"}\n%s", bad[i]);
		write_file(text);
		assert_int_equal(replay(path), -EBADMSG);
		assert_non_null(strstr(why, "line 2 "));
	}
	log_set_sink(NULL, NULL);
}

static void a_file_that_is_not_there(void **state)
{
	(void)state;
	assert_int_equal(replay("/nonexistent/recording"), -ENOENT);
}

static void a_later_version_is_refused(void **state)
{
	(void)state;
	log_set_sink(quiet, NULL);
	write_file("{\"kongtap_recording\":2}\n");
	assert_int_equal(replay(path), -ENOTSUP);
	log_set_sink(NULL, NULL);
}

static int setup(void **state)
{
	(void)state;
	buf__init(&seen, 1 << 20);
	if (!mkdtemp(dir))
		return -1;
	snprintf(path, sizeof(path), "%s/recording", dir);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	unlink(path);
	rmdir(dir);
	buf__free(&seen);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_recorded_is_replayed),
		cmocka_unit_test(calls_become_records),
		cmocka_unit_test(tls_on_a_descriptor_is_told_from_clear),
		cmocka_unit_test(a_cut_inside_a_vectored_call),
		cmocka_unit_test(a_bad_line_ends_the_replay_by_name),
		cmocka_unit_test(a_file_that_is_not_there),
		cmocka_unit_test(a_later_version_is_refused),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
