/* Every allocation of the wire stage fails once: nothing crashes or leaks, and what was begun is handed on. */
/* link: -Wl,--wrap=malloc,--wrap=calloc,--wrap=realloc,--wrap=reallocarray,--wrap=strdup,--wrap=strndup */
#include "alloc_fail.h"
#include "wire_rig.h"

static void on_begun(void *ctx, const struct exchange *x)
{
	(void)x;
	++*(long *)ctx;
}

static void on_done(void *ctx, struct exchange *x)
{
	*(long *)ctx -= x->req.head_done;
	exchange__free(x);
}

static void put(
	struct conns *c, const struct conn_key *key, enum direction dir, uint64_t *pos, const char *text, size_t n)
{
	struct record rec = {.kind = REC_DATA, .t_ns = 1};

	rec.data = (struct rec_data){.key = *key, .dir = dir, .pos = *pos, .data = {text, n}};
	*pos += n;
	conns__on_record(c, &rec);
}

static void converse(struct conns *c, size_t step)
{
	static const char in[] =
		"POST /a HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nT: 1\r\n\r\n"
		"GET /b HTTP/1.1\r\nHost: h\r\n\r\nGET /c HTTP/1.1\r\n\r\n";
	static const char out[] = "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"
				  "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n";
	struct record rec = {.kind = REC_WORKER, .t_ns = 1, .worker = {.pid = 3, .nports = 1}};
	struct conn_key key = {.gen = 1, .obj = 4, .pid = 3};
	uint64_t pos[2] = {0};

	conns__on_record(c, &rec);
	rec = (struct record){.kind = REC_OPEN, .t_ns = 1, .open = {.key = key, .fd = 4, .origin = CONN_ACCEPTED}};
	conns__on_record(c, &rec);
	for (size_t i = 0; i < sizeof(in) - 1; i += step)
		put(c, &key, DIR_IN, &pos[DIR_IN], in + i, sizeof(in) - 1 - i < step ? sizeof(in) - 1 - i : step);
	for (size_t i = 0; i < sizeof(out) - 1; i += step)
		put(c, &key, DIR_OUT, &pos[DIR_OUT], out + i, sizeof(out) - 1 - i < step ? sizeof(out) - 1 - i : step);
	rec = (struct record){.kind = REC_CLOSE, .t_ns = 2, .close = {key, pos[DIR_IN], pos[DIR_OUT]}};
	conns__on_record(c, &rec);
}

static bool run(long nth, size_t step)
{
	struct wire_limits l;
	struct conns *c;
	long open = 0;
	bool reached;

	wire_limits_default(&l);
	alloc_fail_after(nth);
	c = conns__new(&l, (struct exchange_sink){on_begun, on_done, &open}, (struct conn_ignore_sink){0});
	if (c) {
		converse(c, step);
		assert_int_equal(conns__memory(c), 0);
	}
	reached = alloc_has_failed();
	alloc_fail_no_more();
	conns__free(c);
	assert_int_equal(open, 0);
	return reached;
}

static void test_nth(void **state)
{
	(void)state;
	for (size_t step = 1; step <= 512; step *= 8) {
		long n = 0;

		while (run(n, step))
			n++;
		assert_true(n > 10);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_nth),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
