#include "kt_cmocka.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "ship/batch.h"
#include "ship/compress.h"
#include "ship/slim.h"

#include <zlib.h>

static struct batch *batch_of(const char *const *events)
{
	struct batch *b = batch__new();

	assert_non_null(b);
	for (; *events; events++)
		assert_int_equal(batch__add(b, span_str(*events)), 0);
	return b;
}

static void expect(struct batch *b, const char *want)
{
	struct span body = batch__body(b);

	assert_int_equal(body.n, strlen(want));
	assert_memory_equal(body.p, want, body.n);
}

static void it_is_an_array_at_any_time(void **state)
{
	struct batch *b = batch__new();

	(void)state;
	expect(b, "[]");
	batch__add(b, SPAN_LIT("1"));
	expect(b, "[1]");
	batch__add(b, SPAN_LIT("{}"));
	expect(b, "[1,{}]");
	assert_int_equal(batch__bytes(b), 3);
	assert_memory_equal(batch__event(b, 1).p, "{}", 2);
	batch__clear(b);
	expect(b, "[]");
	batch__free(b);
	batch__free(NULL);
}

static void it_grows(void **state)
{
	struct batch *b = batch__new();
	char event[300];

	(void)state;
	memset(event, '7', sizeof(event));
	for (size_t i = 0; i < sizeof(event); i++)
		assert_int_equal(batch__add(b, span_of(event, i + 1)), 0);
	for (uint32_t i = 0; i < sizeof(event); i++)
		assert_int_equal(batch__event(b, i).n, i + 1);
	assert_int_equal(batch__add(b, span_of(event, SIZE_MAX)), -EFBIG);
	batch__free(b);
}

static void slices_share_the_charge(void **state)
{
	static const char *const events[] = {"11", "222", "3", "4444", NULL};
	struct batch *b = batch_of(events), *left, *right;

	(void)state;
	b->charge = batch__bytes(b);
	b->seq = 9;
	b->wall_ns = 5;
	left = batch__slice(b, 0, 2);
	right = batch__slice(b, 2, 4);
	expect(left, "[11,222]");
	expect(right, "[3,4444]");
	assert_int_equal(left->charge + right->charge, b->charge);
	assert_int_equal(right->part, 2);
	assert_int_equal(right->seq, 9);
	assert_int_equal(right->wall_ns, 5);
	batch__free(b);
	batch__free(left);
	batch__free(right);
}

static void slim_takes_the_bodies_out(void **state)
{
	static const struct {
		const char *event, *want; /* want NULL: nothing to remove */
	} cases[] = {
		{"{\"request\":{\"uri\":\"/"
		 "\",\"body\":{\"a\":[1,\"}\\\"\"]},\"transfer_encoding\":\"json\",\"verb\":\"GET\"},"
		 "\"response\":{\"body\":\"x\"},\"user_id\":\"u\"}",
			"[{\"request\":{\"uri\":\"/\",\"verb\":\"GET\"},\"response\":{},\"user_id\":\"u\"}]"},
		{"{\"response\":{\"status\":200,\"body\":null}}", "[{\"response\":{\"status\":200}}]"},
		{"{\"request\":{\"body\":1,\"transfer_encoding\":\"json\"}}", "[{\"request\":{}}]"},
		{"{\"request\":{\"headers\":{\"body\":\"stays\"}}}", NULL},
		{"{\"body\":1}", NULL},
		{"{}", NULL},
		{"[]", NULL},
		{"\"{\\\"request\\\":{\\\"body\\\":1}}\"", NULL},
		{"{\"request\":\"body\",\"response\":{\"body\":2}}", "[{\"request\":\"body\",\"response\":{}}]"},
		{"{ \"request\" : { \"body\" : [ 1 , 2 ] , \"verb\" : \"GET\" } }",
			"[{ \"request\" : {  \"verb\" : \"GET\" } }]"},
		/* What the event says of its bodies stays true. */
		{"{\"request\":{\"body\":\"a text that is longer than the reason why it is not there any more\"},"
		 "\"response\":{\"status\":204},\"metadata\":{\"kong\":{\"request_body_truncated\":false,"
		 "\"response_body_truncated\":false}}}",
			"[{\"request\":{},\"response\":{\"status\":204},\"metadata\":{\"kong\":{"
			"\"request_body_omitted\":\"event_limit\",\"request_body_truncated\":true,"
			"\"response_body_truncated\":false}}}]"},
		/* Not JSON: left alone, never over-read. */
		{"{\"request\":{\"body\":", NULL},
		{"{\"request\":{\"body", NULL},
		{"{\"request\":{\"body\\", NULL},
		{"{", NULL},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		const char *events[] = {cases[i].event, NULL};
		struct batch *b = batch_of(events);

		if (cases[i].want) {
			assert_int_equal(batch__slim(b), 0);
			assert_true(b->slim);
			expect(b, cases[i].want);
		} else {
			char same[256];

			assert_int_equal(batch__slim(b), -ENOENT);
			snprintf(same, sizeof(same), "[%s]", cases[i].event);
			expect(b, same);
		}
		batch__free(b);
	}
}

static void slim_survives_every_prefix(void **state)
{
	const char *event = "{\"request\":{\"body\":{\"a\":[\"}\\\"\"]},\"x\":1},\"response\":{\"body\":\"b\"}}";

	(void)state;
	for (size_t n = 1; n <= strlen(event); n++) {
		/* A copy of its exact size, so that a sanitizer sees one byte too many. */
		char *copy = malloc(n);
		struct batch *b = batch__new();

		memcpy(copy, event, n);
		assert_int_equal(batch__add(b, span_of(copy, n)), 0);
		batch__slim(b);
		assert_true(batch__bytes(b) <= n);
		batch__free(b);
		free(copy);
	}
}

static void compression_is_undone_by_zlib(void **state)
{
	static const struct {
		const char *name;
		int bits;
	} kinds[] = {{"deflate", 15}, {"gzip", 31}};
	char text[5000], back[5000];

	(void)state;
	for (size_t i = 0; i < sizeof(text); i++)
		text[i] = (char)('a' + i * i % 7);
	for (size_t i = 0; i < 2; i++) {
		enum encoding e;
		struct buf out;
		z_stream z = {0};

		assert_int_equal(encoding_parse(kinds[i].name, &e), 0);
		assert_string_equal(encoding_name(e), kinds[i].name);
		buf__init(&out, 10000);
		assert_int_equal(compress_body(e, span_of(text, sizeof(text)), &out), 0);
		assert_true(out.n < sizeof(text));
		inflateInit2(&z, kinds[i].bits);
		z.next_in = (unsigned char *)out.p;
		z.avail_in = (unsigned)out.n;
		z.next_out = (unsigned char *)back;
		z.avail_out = sizeof(back);
		assert_int_equal(inflate(&z, Z_FINISH), Z_STREAM_END);
		assert_memory_equal(text, back, sizeof(text));
		inflateEnd(&z);
		buf__free(&out);
		buf__init(&out, 100);
		assert_int_equal(compress_body(e, span_of(text, sizeof(text)), &out), -ENOSPC);
		buf__free(&out);
	}
	assert_int_equal(encoding_parse("brotli", &(enum encoding){0}), -EINVAL);
	assert_null(encoding_name(ENCODING_NONE));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(it_is_an_array_at_any_time),
		cmocka_unit_test(it_grows),
		cmocka_unit_test(slices_share_the_charge),
		cmocka_unit_test(slim_takes_the_bodies_out),
		cmocka_unit_test(slim_survives_every_prefix),
		cmocka_unit_test(compression_is_undone_by_zlib),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
