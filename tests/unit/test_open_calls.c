/* Very many calls open at once, on both legs, through the wire and the join within the default limits: all of them come
 * out whole. */
#include "h2kit.h"

#include "config.h"
#include "join/join.h"
#include "wire/conns.h"

#define CLIENTS 80u
#define STREAMS 100u
#define CALLS (CLIENTS * STREAMS)
#define TOO_MANY 3u /* times as many are more than the limit has room for */
#define WAVES 2u
#define KONG_PID 42u
#define PER_CALL 3400u /* bytes that an open call may take with heads as below, both legs and connections counted */

#define BODY_IN 280
#define BODY_OUT 700

struct end {
	struct conn_key key;
	uint64_t pos[2];
};

struct gateway {
	struct config *config;
	struct conns *conns;
	struct join *join;
	unsigned int clients;
	struct talk talk[TOO_MANY * CLIENTS];
	struct end client[TOO_MANY * CLIENTS], service[TOO_MANY * CALLS];
	uint64_t t_ns;
	unsigned int begun, calls, whole, ignored;
};

static void begun(void *ctx, const struct exchange *x)
{
	struct gateway *g = ctx;

	g->begun += x->conn.leg == LEG_CLIENT;
	join__begun(g->join, x);
}

static void done(void *ctx, struct exchange *x)
{
	join__done(((struct gateway *)ctx)->join, x, NULL);
}

static void on_ignored(void *ctx, const struct conn_key *key)
{
	(void)key;
	((struct gateway *)ctx)->ignored++;
}

static bool is_whole(const struct message *m, size_t body, bool kept)
{
	return m->end == MSG_COMPLETE && m->head_done && m->body_len == body && !m->body_gap &&
	       (!kept || m->body.n == body);
}

static void joined(void *ctx, struct transaction *t)
{
	struct gateway *g = ctx;

	g->calls++;
	g->whole += t->how == JOIN_BY_ID && t->upstream_count == 1 && is_whole(&t->client->req, BODY_IN, true) &&
		    is_whole(&t->client->resp, BODY_OUT, true) && is_whole(&t->answered->req, BODY_IN, false) &&
		    is_whole(&t->answered->resp, BODY_OUT, false);
	transaction__free(t);
}

static void send_record(struct gateway *g, struct record *rec)
{
	rec->t_ns = g->t_ns += 1000;
	conns__on_record(g->conns, rec);
}

static void open_end(struct gateway *g, struct end *e, uint64_t obj, enum conn_origin origin)
{
	struct record rec = {.kind = REC_OPEN};

	e->key = (struct conn_key){.gen = 1, .obj = obj, .pid = KONG_PID};
	rec.open = (struct rec_open){.key = e->key, .fd = (int32_t)obj, .origin = origin};
	rec.open.local = (struct endpoint){.family = ADDR_IP4, .port = 8000, .addr = {127, 0, 0, 1}};
	rec.open.peer = (struct endpoint){.family = ADDR_IP4, .port = 50000, .addr = {10, 0, 0, 9}};
	send_record(g, &rec);
}

static void move(struct gateway *g, struct end *e, enum direction dir, const void *p, size_t n)
{
	struct record rec = {.kind = REC_DATA, .data = {.key = e->key, .dir = dir, .pos = e->pos[dir], .data = {p, n}}};

	e->pos[dir] += n;
	send_record(g, &rec);
}

static void close_end(struct gateway *g, struct end *e)
{
	struct record rec = {
		.kind = REC_CLOSE, .close = {e->key, .in_pos = e->pos[DIR_IN], .out_pos = e->pos[DIR_OUT]}};

	send_record(g, &rec);
}

static struct gateway *setup(unsigned int clients)
{
	struct gateway *g = calloc(1, sizeof(*g));

	assert_non_null(g);
	g->clients = clients;
	g->config = config__new();
	assert_non_null(g->config);
	g->conns = conns__new(&g->config->wire, (struct exchange_sink){begun, done, g},
		(struct conn_ignore_sink){.fn = on_ignored, .ctx = g});
	g->join = join__new(&g->config->join, (struct transaction_sink){joined, g});
	assert_true(g->conns && g->join);
	stats_reset();
	for (unsigned int i = 0; i < clients; i++) {
		open_end(g, &g->client[i], 10 + i, CONN_ACCEPTED);
		talk__init(&g->talk[i]);
		preface(&g->talk[i]);
	}
	return g;
}

/* All connections end; nothing may be held. */
static void finish(struct gateway *g)
{
	for (unsigned int i = 0; i < g->clients * STREAMS; i++)
		close_end(g, &g->service[i]);
	for (unsigned int i = 0; i < g->clients; i++) {
		close_end(g, &g->client[i]);
		talk__free(&g->talk[i]);
	}
	join__flush(g->join);
	assert_int_equal(conns__memory(g->conns), 0);
	assert_int_equal(g->calls, g->begun);
	assert_int_equal(g->ignored, 0);
	assert_int_equal(stats_get(STAT_wire_gap_lost), 0);
	conns__free(g->conns);
	join__free(g->join);
	config__free(g->config);
	free(g);
}

/* What the client's conversation has come to is moved, and its record of it begun anew. */
static void flush(struct gateway *g, unsigned int client)
{
	struct talk *t = &g->talk[client];

	for (unsigned int i = 0; i < t->count; i++)
		move(g, &g->client[client], t->steps[i].is_request ? DIR_IN : DIR_OUT, t->bytes.p + t->steps[i].off,
			t->steps[i].n);
	buf__clear(&t->bytes);
	t->count = 0;
}

static uint32_t stream_of(unsigned int wave, unsigned int i)
{
	return 2 * (wave * STREAMS + i % STREAMS) + 1;
}

static void ask(struct gateway *g, unsigned int wave, unsigned int i)
{
	static const char body[BODY_IN];
	struct end *up = &g->service[i];
	struct talk *t = &g->talk[i / STREAMS];
	char text[2048];

	call(t, REQ);
	head(t, 0, stream_of(wave, i),
		":method: POST\n:path: /open/bytes?n=700&streams=100\n:scheme: http\n:authority: 127.0.0.1:8003\n"
		"user-agent: h2load nghttp2/1.52.0\ncontent-type: application/octet-stream\ncontent-length: 280\n");
	frame(t, H2_DATA, H2_END_STREAM, stream_of(wave, i), body, BODY_IN);
	flush(g, i / STREAMS);
	if (!wave)
		open_end(g, up, 1000 + i, CONN_CONNECTED);
	snprintf(text, sizeof(text),
		"POST /bytes?n=700&streams=100 HTTP/1.1\r\nHost: 127.0.0.1:9001\r\nConnection: keep-alive\r\n"
		"Via: 2.0 kong/3.9.1\r\nX-Forwarded-For: 127.0.0.1\r\nX-Forwarded-Proto: http\r\n"
		"X-Forwarded-Host: 127.0.0.1\r\nX-Forwarded-Port: 8003\r\nX-Forwarded-Path: /open/bytes\r\n"
		"X-Forwarded-Prefix: /open\r\nX-Real-IP: 127.0.0.1\r\nX-Kong-Request-Id: %032x\r\n"
		"Content-Length: 280\r\nuser-agent: h2load nghttp2/1.52.0\r\ncontent-type: "
		"application/octet-stream\r\n\r\n",
		wave * CALLS + i);
	move(g, up, DIR_OUT, text, strlen(text));
	move(g, up, DIR_OUT, body, BODY_IN);
}

static void answer(struct gateway *g, unsigned int wave, unsigned int i)
{
	static const char body[BODY_OUT];
	struct end *up = &g->service[i];
	struct talk *t = &g->talk[i / STREAMS];
	char text[2048];
	size_t n;

	snprintf(text, sizeof(text),
		"HTTP/1.1 200 OK\r\nServer: nginx\r\nDate: Thu, 26 Nov 2026 06:00:00 GMT\r\n"
		"Content-Type: application/octet-stream\r\nContent-Length: 700\r\nConnection: keep-alive\r\n"
		"X-Service: stand-in\r\n\r\n");
	n = strlen(text);
	memset(text + n, 'a', BODY_OUT);
	move(g, up, DIR_IN, text, n + BODY_OUT);
	call(t, RESP);
	snprintf(text, sizeof(text),
		":status: 200\ncontent-type: application/octet-stream\ncontent-length: 700\nserver: nginx\n"
		"date: Thu, 26 Nov 2026 06:00:00 GMT\nx-service: stand-in\nx-kong-upstream-latency: 1\n"
		"x-kong-proxy-latency: 0\nvia: 1.1 kong/3.9.1\nx-kong-request-id: %032x\n",
		wave * CALLS + i);
	head(t, 0, stream_of(wave, i), text);
	frame(t, H2_DATA, H2_END_STREAM, stream_of(wave, i), body, BODY_OUT);
	flush(g, i / STREAMS);
}

static void all_come_out_whole(void **state)
{
	struct gateway *g = setup(CLIENTS);

	(void)state;
	for (unsigned int wave = 0; wave < WAVES; wave++) {
		uint64_t open;

		for (unsigned int i = 0; i < CALLS; i++)
			ask(g, wave, i);
		open = conns__memory(g->conns);
		print_message("# wave %u: %llu bytes for each of %u open calls\n", wave,
			(unsigned long long)(open / CALLS), CALLS);
		for (unsigned int i = 0; i < CALLS; i++)
			answer(g, wave, i);
		assert_int_equal(g->whole, (wave + 1) * CALLS);
		assert_true(open <= (uint64_t)CALLS * PER_CALL);
	}
	assert_int_equal(g->calls, WAVES * CALLS);
	assert_int_equal(stats_get(STAT_wire_conns_over_limit), 0);
	assert_int_equal(stats_get(STAT_wire_exchanges_dropped), 0);
	assert_int_equal(stats_get(STAT_wire_bodies_dropped), 0);
	finish(g);
}

/* More than there is room for: those that came first stay whole but for their bodies, the limit holds, the others are
 * counted, and all is well again afterwards. */
static void too_many(void **state)
{
	struct gateway *g = setup(TOO_MANY * CLIENTS);
	unsigned int whole;

	(void)state;
	for (unsigned int i = 0; i < TOO_MANY * CALLS; i++) {
		ask(g, 0, i);
		assert_true(conns__memory(g->conns) <= g->config->wire.total_bytes);
	}
	for (unsigned int i = 0; i < TOO_MANY * CALLS; i++)
		answer(g, 0, i);
	print_message("# %u of %u open calls were taken in\n", g->begun, TOO_MANY * CALLS);
	assert_true(g->begun > CALLS);
	assert_true(stats_get(STAT_wire_bodies_dropped) > CALLS);
	assert_true(stats_get(STAT_wire_exchanges_dropped) > 0);
	assert_true(stats_get(STAT_wire_conns_over_limit) > CALLS);
	whole = g->whole;
	for (unsigned int i = 0; i < STREAMS; i++) {
		ask(g, 1, i);
		answer(g, 1, i);
	}
	assert_int_equal(g->whole, whole + STREAMS);
	finish(g);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(all_come_out_whole),
		cmocka_unit_test(too_many),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
