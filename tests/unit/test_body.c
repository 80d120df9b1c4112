/* link: -lbrotlienc */
/* What an event carries of a body (facts, B.4 and part F), and what no body can do to it. */
#include <errno.h>

#include "event_kit.h"

#include <brotli/encode.h>
#include <zlib.h>
#include <zstd.h>

#include "moesif/decode.h"

/* A response body of this type and coding; "request.…" is asked for requests, so both sides get the same. */
static void body_of(const char *type, const char *encoding, const void *body, size_t n)
{
	struct txn_spec s = {0};
	struct transaction *t;
	struct message *msg[2];

	s.creq = "POST / HTTP/1.1\nHost: a\n\n";
	s.cresp = OK_DOWN;
	t = txn_build(&s);
	msg[0] = &t->client->req;
	msg[1] = &t->client->resp;
	for (int i = 0; i < 2; i++) {
		if (type)
			headers__add(&msg[i]->headers, SPAN_LIT("Content-Type"), span_str(type));
		if (encoding)
			headers__add(&msg[i]->headers, SPAN_LIT("Content-Encoding"), span_str(encoding));
		buf__append(&msg[i]->body, body, n);
		msg[i]->body_len = n;
	}
	out.events = 0;
	moesif__on_transaction(m, t);
	assert_int_equal(out.events, 1);
	assert_non_null(out.root);
	assert_string_equal(txn_str(&out, "request.transfer_encoding"), txn_str(&out, "response.transfer_encoding"));
}

static void text_body(const char *type, const char *body)
{
	body_of(type, NULL, body, strlen(body));
}

static void assert_base64(const void *want, size_t n)
{
	struct buf b;

	buf__init(&b, 1 << 24);
	base64_encode(&b, span_of(want, n));
	buf__append_char(&b, 0);
	assert_string_equal(txn_str(&out, "response.transfer_encoding"), "base64");
	assert_string_equal(txn_str(&out, "response.body"), b.p);
	assert_string_equal(txn_str(&out, "request.body"), b.p);
	buf__free(&b);
}

static void assert_json(const char *want)
{
	char *text = NULL;

	assert_string_equal(txn_str(&out, "response.transfer_encoding"), "json");
	assert_true(asprintf(&text, "\"transfer_encoding\":\"json\",\"body\":%s}", want) > 0);
	assert_non_null(strstr(out.json, text));
	free(text);
}

static void test_vectors(void **state)
{
	static const char *const verbatim[] = {"[]", "{\"a\":[]}", "{\"a\":123456789012345678}",
		"{\"f\":1.0,\"e\":1E5,\"sl\":\"a\\/b\",\"u\":\"\\u00e9\"}", "{}", "[1, 2 ,3]", "\"scalar\"", "1",
		"null"};

	(void)state;
	text_body("application/json", "{\"a\":");
	assert_base64("{\"a\":", 5);
	text_body("application/JSON", "\n{\"a\":1}");
	assert_json(" {\"a\":1}");
	text_body("application/json; charset=utf-8", "\xef\xbb\xbf{\"a\":1}");
	assert_json("{\"a\":1}");
	text_body("application/problem+json", "{\r\n\t\"a\": 1\r\n}");
	assert_json("{  \t\"a\": 1  }");
	for (size_t i = 0; i < sizeof(verbatim) / sizeof(verbatim[0]); i++) {
		text_body("application/json", verbatim[i]);
		assert_json(verbatim[i]);
	}
}

static void test_not_json_types(void **state)
{
	(void)state;
	text_body("text/plain", "{\"a\":1}");
	assert_base64("{\"a\":1}", 7);
	text_body(NULL, "{\"a\":1}");
	assert_base64("{\"a\":1}", 7);
	text_body("application/x-www-form-urlencoded", "a=1&b=2");
	assert_base64("a=1&b=2", 7);
	body_of("application/json", NULL, "\"\xff\"", 3);
	assert_base64("\"\xff\"", 3);
	body_of("application/octet-stream", NULL, "\0\1\2\xff", 4);
	assert_base64("\0\1\2\xff", 4);
	text_body("application/json", "");
	assert_string_equal(txn_str(&out, "response.body"), "(none)");
	assert_string_equal(txn_str(&out, "response.transfer_encoding"), "(none)");
	assert_string_equal(txn_str(&out, "metadata.kong.response_body_omitted"), "(none)");
}

/* gzip with or without zlib header by window bits; returns the length. */
static size_t deflate_with(int bits, const void *in, size_t n, unsigned char *to, size_t size)
{
	z_stream z = {0};
	size_t len;

	assert_int_equal(deflateInit2(&z, 9, Z_DEFLATED, bits, 8, Z_DEFAULT_STRATEGY), Z_OK);
	z.next_in = (unsigned char *)(uintptr_t)in;
	z.avail_in = (unsigned)n;
	z.next_out = to;
	z.avail_out = (unsigned)size;
	assert_int_equal(deflate(&z, Z_FINISH), Z_STREAM_END);
	len = size - z.avail_out;
	deflateEnd(&z);
	return len;
}

static size_t encode(const char *coding, const void *in, size_t n, unsigned char *to, size_t size)
{
	if (strcmp(coding, "br") == 0) {
		assert_true(BrotliEncoderCompress(5, 22, BROTLI_MODE_GENERIC, n, in, &size, to));
		return size;
	}
	if (strcmp(coding, "zstd") == 0)
		return ZSTD_compress(to, size, in, n, 3);
	return deflate_with(strcmp(coding, "gzip") == 0	     ? 31
			    : strcmp(coding, "deflate") == 0 ? 15
							     : -15,
		in, n, to, size);
}

static void test_codings(void **state)
{
	static const char *const codings[] = {"gzip", "deflate", "br", "zstd", "raw"};
	static const char json[] = "{\"n\":[1,2,3],\"text\":\"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\"}";
	unsigned char z[512], zz[1024];

	(void)state;
	for (size_t i = 0; i < sizeof(codings) / sizeof(codings[0]); i++) {
		const char *name = strcmp(codings[i], "raw") == 0 ? "deflate" : codings[i];
		size_t n = encode(codings[i], json, strlen(json), z, sizeof(z)), nn;
		char both[32];

		body_of("application/json", name, z, n);
		assert_json(json);
		/* As the plugin: whatever the type says, what comes out as JSON is JSON. */
		body_of("text/plain", name, z, n);
		assert_json(json);
		body_of("application/json", "identity", json, strlen(json));
		assert_json(json);
		/* Text that is no JSON: base64 of what it was before it was packed. */
		n = encode(codings[i], "hello", 5, z, sizeof(z));
		body_of("text/plain", name, z, n);
		assert_base64("hello", 5);
		nn = encode("gzip", z, n, zz, sizeof(zz));
		snprintf(both, sizeof(both), "%s, GZIP", name);
		body_of("text/plain", both, zz, nn);
		assert_base64("hello", 5);
		/* Damaged or cut short anywhere: the bytes as they came. */
		for (size_t cut = 1; cut < n; cut++) {
			body_of("text/plain", name, z, cut);
			assert_base64(z, cut);
		}
	}
	body_of("text/plain", "compress", "xx", 2);
	assert_base64("xx", 2);
	body_of("text/plain", "gzip,gzip,gzip,gzip,gzip", "xx", 2);
	assert_base64("xx", 2);
	/* Two members are one file. */
	size_t a = encode("gzip", "[1,", 3, z, sizeof(z)), b = encode("gzip", "2]", 2, z + a, sizeof(z) - a);
	body_of("application/json", "x-gzip", z, a + b);
	assert_json("[1,2]");
	/* What follows the last one and is none is left away (gzip(1), gzread), and not passed on. */
	static const char *const behind[] = {"", "\x1f", "\x1fx", "\n", "secret"};
	for (size_t i = 0; i < sizeof(behind) / sizeof(behind[0]); i++) {
		size_t n = strlen(behind[i]) + 1; /* with a zero, as tapes had them */

		memcpy(z + a + b, behind[i], n);
		for (size_t cut = 0; cut <= n; cut++) {
			body_of("application/json", "gzip", z, a + b + cut);
			assert_json("[1,2]");
		}
	}
	/* One that begins there and is not whole is damage. */
	body_of("application/json", "gzip", z, a + 5);
	assert_base64(z, a + 5);
	memcpy(z + a + b, "\x1f\x8bxxxxxxxxxx", 12);
	body_of("application/json", "gzip", z, a + b + 12);
	assert_base64(z, a + b + 12);
	opt.disable_gzip_payload_decompression = true;
	apply();
	body_of("application/json", "gzip", z, a + b);
	assert_base64(z, a + b);
}

static void test_bomb(void **state)
{
	static const char *const codings[] = {"gzip", "deflate", "br", "zstd"};
	size_t big = 50 << 20;
	char *zeros = calloc(1, big);
	unsigned char *z = malloc(1 << 20);

	(void)state;
	assert_non_null(zeros);
	for (size_t i = 0; i < sizeof(codings) / sizeof(codings[0]); i++) {
		struct decoder *d = decoder__new(1000);
		size_t n = encode(codings[i], zeros, big, z, 1 << 20);
		struct span got;

		assert_int_equal(decoder__run(d, span_str(codings[i]), span_of(z, n), &got), -ENOSPC);
		/* Exactly at the limit is within it, one beyond is not. */
		n = encode(codings[i], zeros, 1000, z, 1 << 20);
		assert_int_equal(decoder__run(d, span_str(codings[i]), span_of(z, n), &got), 0);
		assert_int_equal(got.n, 1000);
		n = encode(codings[i], zeros, 1001, z, 1 << 20);
		assert_int_equal(decoder__run(d, span_str(codings[i]), span_of(z, n), &got), -ENOSPC);
		decoder__free(d);
	}
	free(zeros);
	free(z);
}

/* A frame may ask for a window far larger than what it holds. */
static void test_zstd_window(void **state)
{
	ZSTD_CCtx *c = ZSTD_createCCtx();

	(void)state;
	for (int log = 23; log <= 24; log++) {
		unsigned char z[256];
		ZSTD_inBuffer in = {"hello", 5, 0};
		ZSTD_outBuffer to = {z, sizeof(z), 0};

		ZSTD_CCtx_reset(c, ZSTD_reset_session_and_parameters);
		ZSTD_CCtx_setParameter(c, ZSTD_c_windowLog, log);
		/* In two steps, so that the encoder does not know how little there is. */
		ZSTD_compressStream2(c, &to, &in, ZSTD_e_flush);
		assert_int_equal(ZSTD_compressStream2(c, &to, &in, ZSTD_e_end), 0);
		body_of("text/plain", "zstd", z, to.pos);
		if (log == 23)
			assert_base64("hello", 5);
		else
			assert_base64(z, to.pos);
	}
	ZSTD_freeCCtx(c);
}

static enum gap_cause gap_cause = GAP_LOST;
static size_t kept_max = 1000; /* most of a body that the capture was to keep */

static const char *omitted_with(uint64_t len, uint64_t gap, enum msg_end end)
{
	struct txn_spec s = {.creq = "POST / HTTP/1.1\nHost: a\n\n0123456789", .cresp = OK_DOWN};
	struct transaction *t = txn_build(&s);

	t->client->req.body_len = len;
	t->client->req.body.max = kept_max;
	t->client->req.body_gap = gap;
	t->client->req.gap_causes = gap ? 1U << gap_cause : 0;
	t->client->req.body_truncated = len != 10;
	t->client->req.end = end;
	moesif__on_transaction(m, t);
	return txn_str(&out, "metadata.kong.request_body_omitted");
}

static void test_limits(void **state)
{
	struct txn_spec s = {.creq = "POST / HTTP/1.1\nHost: a\nContent-Length: 11\n\n", .cresp = OK_DOWN};

	(void)state;
	opt.request_max_body_size_limit = 10;
	apply();
	assert_string_equal(omitted_with(10, 0, MSG_COMPLETE), "(none)");
	assert_string_equal(txn_str(&out, "request.body"), "MDEyMzQ1Njc4OQ==");
	assert_false(out.e.truncated);
	assert_string_equal(omitted_with(11, 0, MSG_COMPLETE), "limit");
	assert_string_equal(txn_str(&out, "request.body"), "(none)");
	assert_string_equal(txn_str(&out, "request.transfer_encoding"), "(none)");
	assert_string_equal(txn_str(&out, "metadata.kong.request_body_bytes"), "11");
	assert_true(json_is_true(txn_at(out.root, "metadata.kong.request_body_truncated")));
	assert_true(out.e.truncated);
	opt.request_max_body_size_limit = 100;
	apply();
	assert_string_equal(omitted_with(12, 2, MSG_COMPLETE), "gap");
	gap_cause = GAP_LIMIT; /* not copied on purpose */
	assert_string_equal(omitted_with(12, 2, MSG_COMPLETE), "limit");
	gap_cause = GAP_LOST;
	assert_string_equal(omitted_with(10, 0, MSG_CLOSED), "incomplete");
	assert_string_equal(txn_str(&out, "metadata.kong.request"), "closed");
	assert_string_equal(omitted_with(12, 0, MSG_COMPLETE), "memory");
	/* Whatever else is true of it: nothing of a body was wanted any more. */
	kept_max = 0;
	assert_string_equal(omitted_with(12, 2, MSG_CLOSED), "overhead");
	opt.disable_capture_request_body = true;
	apply();
	assert_string_equal(omitted_with(10, 0, MSG_COMPLETE), "disabled");
	kept_max = 1000;
	assert_false(out.e.truncated);
	opt.disable_capture_request_body = false;
	opt.request_max_body_size_limit = 10;
	apply();
	/* Said to be longer than the limit: that is why, whatever came of it. */
	s.creq = "POST / HTTP/1.1\nHost: a\nContent-Length: 11\n\nabcd";
	run(s);
	assert_string_equal(txn_str(&out, "metadata.kong.request_body_omitted"), "limit");
	s.creq = "POST / HTTP/1.1\nHost: a\nContent-Length: 11\n\n";
	/* Said to be longer, nothing of it came: nothing was left out either. */
	run(s);
	assert_string_equal(txn_str(&out, "metadata.kong.request_body_omitted"), "(none)");
}

/* Messages that the wire marked, on either side; that is the configuration's wish, and no damage. */
static void test_excluded_bodies(void **state)
{
	struct txn_spec s = {
		.creq = "POST / HTTP/1.1\nHost: a\nContent-Type: image/png\nContent-Length: 200000\n\n",
		.cresp = "HTTP/1.1 200 OK\nX-Kong-Request-Id: 9fabdb19737a890493680077d885ed7d\n"
			 "Content-Type: image/png\n\n",
	};
	struct transaction *t = txn_build(&s);
	struct message *both[] = {&t->client->req, &t->client->resp};

	(void)state;
	for (int i = 0; i < 2; i++) {
		both[i]->body_excluded = both[i]->body_truncated = true;
		both[i]->body.max = 0;
		both[i]->body_len = both[i]->body_gap = 200000;
		both[i]->gap_causes = 1U << GAP_LIMIT;
	}
	moesif__on_transaction(m, t);
	assert_string_equal(txn_str(&out, "request.body"), "(none)");
	assert_string_equal(txn_str(&out, "response.body"), "(none)");
	assert_string_equal(txn_str(&out, "response.transfer_encoding"), "(none)");
	assert_string_equal(txn_str(&out, "metadata.kong.request_body_omitted"), "content_type");
	assert_string_equal(txn_str(&out, "metadata.kong.response_body_omitted"), "content_type");
	assert_string_equal(txn_str(&out, "metadata.kong.request_body_bytes"), "200000");
	assert_string_equal(txn_str(&out, "metadata.kong.response_body_bytes"), "200000");
	assert_true(json_is_false(txn_at(out.root, "metadata.kong.request_body_truncated")));
	assert_true(json_is_false(txn_at(out.root, "metadata.kong.response_body_truncated")));
	assert_false(out.e.truncated || out.e.incomplete);
	/* Nothing was left out where there was nothing. */
	t = txn_build(&s);
	t->client->req.body_excluded = t->client->resp.body_excluded = true;
	moesif__on_transaction(m, t);
	assert_string_equal(txn_str(&out, "metadata.kong.request_body_omitted"), "(none)");
	assert_string_equal(txn_str(&out, "metadata.kong.response_body_omitted"), "(none)");
}

static void test_masked_bodies(void **state)
{
	unsigned char z[256];
	size_t n;

	(void)state;
	set_list(&opt.request_body_masks, "password", NULL);
	set_list(&opt.response_masks, "password", NULL); /* the deprecated list stands in */
	apply();
	text_body("application/json", "{\"password\":\"CANARY\",\"a\":[{\"password\":[\"CANARY\"]}]}");
	assert_null(strstr(out.json, "CANARY"));
	assert_json("{\"a\":[{}]}");
	n = encode("gzip", "{\"password\":\"CANARY\",\"b\":1}", 27, z, sizeof(z));
	body_of("application/json", "gzip", z, n);
	assert_json("{\"b\":1}");
	text_body("application/x-www-form-urlencoded", "a=1&password=CANARY&p%61ssword=CANARY&passwords=2");
	assert_base64("a=1&password=*****&p%61ssword=*****&passwords=2", 47);
	/* JSON that does not say so. */
	text_body("text/plain", "{\"password\":\"CANARY\",\"b\":1}");
	assert_base64("{\"b\":1}", 7);
	/* Says it is JSON and is not, or cannot be opened: nothing could be masked, so nothing is shown. */
	text_body("application/json", "{\"password\":\"CANARY\"");
	assert_string_equal(txn_str(&out, "metadata.kong.request_body_omitted"), "unmaskable");
	assert_string_equal(txn_str(&out, "metadata.kong.response_body_omitted"), "unmaskable");
	assert_string_equal(txn_str(&out, "response.body"), "(none)");
	body_of("application/json", "gzip", z, n - 1);
	assert_string_equal(txn_str(&out, "response.body"), "(none)");
	/* The other way round. */
	set_list(&opt.request_body_masks, NULL, NULL);
	set_list(&opt.response_masks, NULL, NULL);
	set_list(&opt.request_masks, "password", NULL);
	set_list(&opt.response_body_masks, "password", NULL);
	apply();
	text_body("application/json", "{\"password\":\"CANARY\",\"b\":1}");
	assert_json("{\"b\":1}");
	assert_null(strstr(out.json, "CANARY"));
	opt.disable_gzip_payload_decompression = true;
	apply();
	body_of("application/json", "gzip", z, n);
	assert_string_equal(txn_str(&out, "response.body"), "(none)");
	text_body("text/plain", "password CANARY");
	assert_base64("password CANARY", 15);
}

/* A coding that is named and was not applied: the plugin looks for JSON before it unpacks anything. */
static void test_coding_in_name_only(void **state)
{
	(void)state;
	body_of("application/json", "gzip", "{\"password\":1,\"b\":[]}", 21);
	assert_json("{\"password\":1,\"b\":[]}");
	body_of("application/json", "aws-chunked", " [1]", 4);
	assert_json(" [1]");
	body_of("text/plain", "gzip", "{\"b\":1}", 7);
	assert_base64("{\"b\":1}", 7);
	/* As brotli may begin. */
	body_of("application/json", "br", "[\xff\x07", 3);
	assert_base64("[\xff\x07", 3);
	set_list(&opt.request_body_masks, "password", NULL);
	set_list(&opt.response_body_masks, "password", NULL);
	apply();
	body_of("application/json", "gzip", "{\"password\":\"CANARY\",\"b\":1}", 27);
	assert_json("{\"b\":1}");
	body_of("text/plain", "gzip", "{\"password\":\"CANARY\",\"b\":1}", 27);
	assert_base64("{\"b\":1}", 7);
	body_of("application/json", "br", "[\xff\x07", 3);
	assert_string_equal(txn_str(&out, "metadata.kong.response_body_omitted"), "unmaskable");
	body_of("application/x-www-form-urlencoded", "br", "[\xff\x07", 3);
	assert_string_equal(txn_str(&out, "metadata.kong.response_body_omitted"), "unmaskable");
	body_of("multipart/form-data; boundary=b", "gzip", "--b--", 5);
	assert_string_equal(txn_str(&out, "metadata.kong.response_body_omitted"), "unmaskable");
}

/* curl calls what it sends a form unless it is told what it is. */
static void test_json_that_is_called_a_form(void **state)
{
	const char *form = "application/x-www-form-urlencoded";

	(void)state;
	set_list(&opt.request_body_masks, "password", NULL);
	set_list(&opt.response_body_masks, "password", NULL);
	apply();
	text_body(form, "{\"password\":\"CANARY\",\"b\":1}");
	assert_base64("{\"b\":1}", 7);
	text_body(form, "{\"b\":\"1&password=CANARY&c=2\",\"password\":\"CANARY\"}");
	assert_base64("{\"b\":\"1&password=*****&c=2\"}", 28);
	text_body(form, "{\"password\":\"no JSON\"&password=CANARY");
	assert_base64("{\"password\":\"no JSON\"&password=*****", 36);
	text_body(form, "{\"b\":\"a=b\"}");
	assert_base64("{\"b\":\"a=b\"}", 11);
}

/* Headers that are given twice: together they are one list of codings, and none of several types hides a secret. */
static void test_repeated_headers(void **state)
{
	unsigned char z[256];
	struct txn_spec s = {.cresp = OK_DOWN};
	char creq[512];
	size_t n = encode("gzip", "{\"password\":\"CANARY\",\"b\":1}", 27, z, sizeof(z));
	int head = snprintf(creq, sizeof(creq),
		"POST / HTTP/1.1\nHost: a\nContent-Type: application/json\nContent-Encoding: identity\n"
		"content-encoding: gzip\n\n");

	(void)state;
	memcpy(creq + head, z, n);
	s.creq = creq;
	s.creq_body_n = n;
	run(s);
	assert_string_equal(txn_str(&out, "request.body.password"), "CANARY");
	set_list(&opt.request_body_masks, "password", NULL);
	apply();
	run(s);
	assert_string_equal(txn_str(&out, "request.body.b"), "1");
	assert_null(strstr(out.json, "CANARY"));
	s.creq_body_n = 0;
	s.creq = "POST / HTTP/1.1\nHost: a\nContent-Type: text/plain\nContent-Type: "
		 "application/x-www-form-urlencoded\n\npassword=CANARY";
	run(s);
	assert_string_equal(txn_str(&out, "request.body"), "cGFzc3dvcmQ9KioqKio=");
	s.creq = "POST / HTTP/1.1\nHost: a\nContent-Type: text/plain\nContent-Type: application/json\n\n{\"b\":1}";
	run(s);
	assert_string_equal(txn_str(&out, "request.body.b"), "1");
}

#define PART(disposition, content) "--b0\r\nContent-Disposition: form-data; " disposition "\r\n\r\n" content "\r\n"

static void test_multipart(void **state)
{
	static const char *const type = "multipart/form-data; boundary=b0";
	/* What comes out, NULL: nothing, since it cannot be told where the fields are. */
	static const struct {
		const char *type, *in, *want;
	} t[] = {
		{type, PART("name=\"a\"", "1") PART("name=\"password\"", "CANARY") PART("name=\"c\"", "3") "--b0--\r\n",
			PART("name=\"a\"", "1") PART("name=\"password\"", "*****")
				PART("name=\"c\"", "3") "--b0--\r\n"},
		{"Multipart/Form-Data; charset=x; boundary=\"b0\"",
			PART("name=password; filename=\"; name=a\"", "CANARY\r\n\r\n--b\r\n") "--b0--",
			PART("name=password; filename=\"; name=a\"", "*****") "--b0--\r\n"},
		{type, PART("filename=\"; name=password\"; name=\"a\"", "1") "--b0--\r\n",
			PART("filename=\"; name=password\"; name=\"a\"", "1") "--b0--\r\n"},
		{type, PART("filename=\"\\\"; name=a\"; NAME=\"password\"", "CANARY") "--b0--\r\n",
			PART("filename=\"\\\"; name=a\"; NAME=\"password\"", "*****") "--b0--\r\n"},
		{type,
			"--b0\ncontent-type: text/plain\ncontent-disposition: "
			"form-data;name=password\n\nCANARY\n--b0--\n",
			"--b0\ncontent-type: text/plain\ncontent-disposition: "
			"form-data;name=password\n\n*****\n--b0--\r\n"},
		{type, PART("name=\"password\"", "") "--b0--\r\n", PART("name=\"password\"", "") "--b0--\r\n"},
		{type,
			PART("name=\"a\"\r\nContent-Type: application/json",
				"{\"password\":\"CANARY\",\"k\":[]}") "--b0--\r\n",
			PART("name=\"a\"\r\nContent-Type: application/json", "{\"k\":[]}") "--b0--\r\n"},
		{type, PART("name=\"a\"\r\nContent-Type: application/json", "{\"password\":\"CANARY\"") "--b0--\r\n",
			NULL},
		{type, PART("name=\"a\"", "1") PART("name=\"password\"", "CANARY"), NULL},
		{type, PART("name=\"password\"", "CANARY") "--b0x\r\n", NULL},
		{type, "\r\n" PART("name=\"password\"", "CANARY") "--b0--\r\n", NULL},
		{type,
			"--b0\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n" PART(
				"name=\"password\"", "CANARY") "--b0--",
			NULL},
		{"multipart/form-data", PART("name=\"password\"", "CANARY") "--b0--\r\n", NULL},
		{"multipart/form-data; boundary=\"\"", PART("name=\"password\"", "CANARY") "--b0--\r\n", NULL},
		{type, "password=CANARY", NULL},
		/* What other readers may read otherwise: two names, none, a head that ends in its middle. */
		{type, PART("name=\"a\"\r\nContent-Disposition: form-data; name=\"password\"", "CANARY") "--b0--",
			NULL},
		{type, PART("filename=\"password\"", "CANARY") "--b0--", NULL},
		{type, PART("name=\"a\"; name=\"password\"", "CANARY") "--b0--", NULL},
		{type, PART("name=\"a\"\r\nCANARY\r\nX: y", "1") "--b0--", NULL},
		{type, PART("name=\"a\";\r name=\"password\"", "CANARY") "--b0--", NULL},
		{type, PART("name=\"a\";\r\n name=\"password\"", "CANARY") "--b0--", NULL},
		{type, PART("name=\"a\"", "1") "--b0--\r\n" PART("name=\"password\"", "CANARY"), NULL},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
		set_list(&opt.request_body_masks, NULL, NULL);
		set_list(&opt.response_body_masks, NULL, NULL);
		apply();
		text_body(t[i].type, t[i].in);
		assert_base64(t[i].in, strlen(t[i].in));
		set_list(&opt.request_body_masks, "password", NULL);
		set_list(&opt.response_body_masks, "password", NULL);
		apply();
		text_body(t[i].type, t[i].in);
		if (t[i].want)
			assert_base64(t[i].want, strlen(t[i].want));
		else
			assert_string_equal(txn_str(&out, "metadata.kong.request_body_omitted"), "unmaskable");
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		kit_test(test_vectors),
		kit_test(test_not_json_types),
		kit_test(test_codings),
		kit_test(test_bomb),
		kit_test(test_zstd_window),
		kit_test(test_limits),
		kit_test(test_excluded_bodies),
		kit_test(test_masked_bodies),
		kit_test(test_coding_in_name_only),
		kit_test(test_json_that_is_called_a_form),
		kit_test(test_repeated_headers),
		kit_test(test_multipart),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
