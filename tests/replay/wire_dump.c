/* wire_dump: the exchanges of a recording, a JSON line each: what the wire stage makes of it before anything is joined
 * or dropped. For tests that hold it against what a server saw.
 *
 *   wire_dump FILE
 */
#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "capture/source.h"
#include "wire/conns.h"

static json_t *text(struct span s)
{
	char out[1024];
	size_t n = 0;

	/* Bytes as they are, one code point each: nothing is lost, and the line is UTF-8 whatever was sent. */
	for (size_t i = 0; i < s.n && n + 3 < sizeof(out); i++) {
		unsigned char c = (unsigned char)s.p[i];

		if (c >= 0x80) {
			out[n++] = (char)(0xc0 | c >> 6);
			c = 0x80 | (c & 0x3f);
		}
		out[n++] = (char)c;
	}
	return json_stringn(out, n);
}

static const char *end_name(enum msg_end e)
{
	static const char *const names[] = {
		"none", "open", "complete", "closed", "reset", "lost", "limit", "idle", "bad"};

	return names[e];
}

static void on_done(void *ctx, struct exchange *x)
{
	json_t *o = json_pack("{s:I, s:s, s:i, s:o, s:o, s:s, s:I, s:i, s:s, s:I, s:b, s:b}", "conn",
		(json_int_t)x->conn.serial, "leg", x->conn.leg == LEG_CLIENT ? "client" : "upstream", "stream",
		(int)x->stream, "method", text(message__method(&x->req)), "target", text(message__target(&x->req)),
		"request", end_name(x->req.end), "request_body", (json_int_t)x->req.body_len, "status",
		(int)x->resp.status, "response", end_name(x->resp.end), "response_body", (json_int_t)x->resp.body_len,
		"gone", x->client_gone, "upgraded", x->upgraded);

	(void)ctx;
	json_dumpf(o, stdout, JSON_COMPACT);
	putchar('\n');
	json_decref(o);
	exchange__free(x);
}

static void on_record(void *ctx, const struct record *rec)
{
	conns__on_record(ctx, rec);
}

int main(int argc, char **argv)
{
	struct wire_limits l;
	struct source *s;
	struct conns *c;
	int n;

	if (argc != 2) {
		fprintf(stderr, "usage: wire_dump FILE\n");
		return 2;
	}
	wire_limits_default(&l);
	c = conns__new(&l, (struct exchange_sink){.done = on_done}, (struct conn_ignore_sink){0});
	s = c ? source_replay__open(argv[1], (struct record_sink){on_record, c}) : NULL;
	if (!s) {
		perror(argv[1]);
		conns__free(c);
		return 1;
	}
	do
		n = source__poll(s, 0);
	while (n >= 0);
	source__close(s);
	conns__free(c);
	return 0;
}
