/* The stage as a whole: transactions in, events out, and every transaction accounted for. */
#include "kt_cmocka.h"

#include "base/log.h"
#include "base/stats.h"
#include "txn_build.h"

static struct moesif_options opt;
static struct txn_out out;
static struct moesif *m;

static void on_log(void *ctx, enum log_level level, const char *module, const char *text)
{
	(void)level;
	(void)module;
	*(unsigned *)ctx += strstr(text, "plugin is still running") != NULL;
}

static int setup(void **state)
{
	(void)state;
	stats_reset();
	moesif_options_default(&opt);
	opt.seed = 7;
	m = moesif__new(&opt, (struct event_sink){txn_on_event, &out});
	return m ? 0 : -1;
}

static int teardown(void **state)
{
	(void)state;
	moesif__free(m);
	m = NULL;
	txn_out_clear(&out);
	moesif_options_free(&opt);
	return 0;
}

static void run(struct txn_spec s)
{
	moesif__on_transaction(m, txn_build(&s));
}

static void accounted(unsigned n)
{
	assert_int_equal(stats_get(STAT_txn_events) + stats_get(STAT_txn_filtered) + stats_get(STAT_txn_sampled_out) +
				 stats_get(STAT_txn_dropped_incomplete) + stats_get(STAT_txn_dropped_memory) +
				 stats_get(STAT_txn_dropped_too_large),
		n);
}

#define UP_HEADERS                                                                                                     \
	"Host: 10.0.0.9:9000\nConnection: keep-alive\nX-Forwarded-For: 127.0.0.1\nX-Forwarded-Proto: http\n"           \
	"X-Forwarded-Host: api.example.com\nX-Forwarded-Port: 8000\nX-Forwarded-Path: /v1/x\nX-Real-IP: 127.0.0.1\n"   \
	"X-Kong-Request-Id: 9fabdb19737a890493680077d885ed7d\n"

static void test_whole_event(void **state)
{
	(void)state;
	run((struct txn_spec){
		.creq = "POST /v1/x?a=1 HTTP/1.1\nHost: API.example.com:8000\nContent-Type: application/json\n"
			"Content-Length: 9\nX-Dup: a\nx-dup: b\n\n{\"a\": [] }",
		.cresp = "HTTP/1.1 201 Created\nContent-Type: text/plain\nX-Kong-Upstream-Latency: 3\n"
			 "X-Kong-Proxy-Latency: 1\nX-Kong-Request-Id: 9fabdb19737a890493680077d885ed7d\n\nhi",
		.ureq = "POST /x?a=1 HTTP/1.1\n" UP_HEADERS "X-Consumer-ID: c-1\nX-Consumer-Username: alice\n"
			"X-Credential-Identifier: k-1\n\n",
		.uresp = "HTTP/1.1 201 Created\n\n",
	});
	assert_int_equal(out.events, 1);
	assert_non_null(out.root);
	assert_null(strchr(out.json, '\n'));
	assert_string_equal(txn_str(&out, "request.time"), "2026-11-23T00:00:00.007Z");
	assert_string_equal(txn_str(&out, "request.uri"), "http://api.example.com:8000/v1/x?a=1");
	assert_string_equal(txn_str(&out, "request.verb"), "POST");
	assert_string_equal(txn_str(&out, "request.ip_address"), "127.0.0.1");
	assert_string_equal(txn_str(&out, "request.api_version"), "1.0");
	assert_string_equal(txn_str(&out, "request.headers.x-dup.1"), "b");
	assert_string_equal(txn_str(&out, "request.headers.x-consumer-username"), "alice");
	assert_string_equal(txn_str(&out, "request.headers.x-credential-identifier"), "k-1");
	assert_string_equal(txn_str(&out, "request.headers.x-real-ip"), "(none)");
	assert_string_equal(txn_str(&out, "request.transfer_encoding"), "json");
	assert_non_null(strstr(out.json, "\"body\":{\"a\": [] }"));
	assert_string_equal(txn_str(&out, "response.time"), "2026-11-23T00:00:00.009Z");
	assert_string_equal(txn_str(&out, "response.status"), "201");
	assert_string_equal(txn_str(&out, "response.body"), "aGk=");
	assert_string_equal(txn_str(&out, "response.transfer_encoding"), "base64");
	assert_string_equal(txn_str(&out, "user_id"), "alice");
	assert_string_equal(txn_str(&out, "company_id"), "(none)");
	assert_string_equal(txn_str(&out, "session_token"), "k-1");
	assert_string_equal(txn_str(&out, "transaction_id"), "9fabdb19-737a-8904-9368-0077d885ed7d");
	assert_string_equal(txn_str(&out, "direction"), "Incoming");
	assert_string_equal(txn_str(&out, "weight"), "1");
	assert_string_equal(txn_str(&out, "metadata.kong.request_id"), "9fabdb19737a890493680077d885ed7d");
	assert_string_equal(txn_str(&out, "metadata.kong.service.address"), "10.0.0.9");
	assert_string_equal(txn_str(&out, "metadata.kong.service.port"), "9000");
	assert_string_equal(txn_str(&out, "metadata.kong.upstream_status"), "201");
	assert_string_equal(txn_str(&out, "metadata.kong.join"), "id");
	assert_string_equal(txn_str(&out, "metadata.kong.protocol"), "http/1.1");
	assert_string_equal(txn_str(&out, "metadata.kong.latency.upstream"), "3");
	assert_string_equal(txn_str(&out, "metadata.kong.request"), "complete");
	assert_string_equal(txn_str(&out, "metadata.kong.response_body_bytes"), "2");
	assert_string_equal(out.path, "/v1/x");
	assert_string_equal(out.user, "alice");
	assert_int_equal(out.e.status, 201);
	assert_int_equal(out.e.kong_ms, 1);
	assert_int_equal(out.e.total_ns, 3000000);
	assert_false(out.e.truncated);
	assert_false(out.e.incomplete);
	accounted(1);
}

/* However many headers come before one that matters. */
static void test_known_headers_anywhere(void **state)
{
	(void)state;
	for (int before = 0; before < 140; before++) {
		static char creq[8192];
		int n = snprintf(creq, sizeof(creq), "GET /v1 HTTP/1.1\nHost: a\n");

		for (int i = 0; i < before; i++)
			n += snprintf(creq + n, sizeof(creq) - (size_t)n, "X-Filler-%d: %d\n", i, i);
		snprintf(
			creq + n, sizeof(creq) - (size_t)n, "X-Consumer-ID: claimed\nX-Consumer-Username: mallory\n\n");
		run((struct txn_spec){
			.creq = creq,
			.cresp = "HTTP/1.1 200 OK\nX-Kong-Upstream-Latency: 3\n\n",
			.ureq = "GET /v1 HTTP/1.1\n" UP_HEADERS "X-Consumer-ID: c-1\nX-Consumer-Username: alice\n\n",
			.uresp = "HTTP/1.1 200 OK\n\n",
		});
		assert_string_equal(txn_str(&out, "request.headers.x-consumer-id"), "c-1");
		assert_string_equal(txn_str(&out, "request.headers.x-consumer-username"), "alice");
		assert_string_equal(out.user, "alice");
	}
}

static void test_client_gone_is_499(void **state)
{
	struct transaction *t;

	(void)state;
	run((struct txn_spec){.creq = "GET /slow HTTP/1.1\nHost: a\n\n", .client_gone = true});
	assert_string_equal(txn_str(&out, "response.status"), "499");
	assert_string_equal(txn_str(&out, "response.time"), "2026-11-23T00:00:00.010Z");
	assert_int_equal(json_object_size(txn_at(out.root, "response.headers")), 0);
	assert_true(out.e.incomplete);
	run((struct txn_spec){.creq = "GET /slow HTTP/1.1\nHost: a\n\n"});
	assert_null(txn_at(out.root, "response"));
	assert_string_equal(txn_str(&out, "metadata.kong.response"), "missing");
	/* An answer that was lost, or of which no more was kept, is not one that the client did not wait for. */
	for (int i = 0; i < 2; i++) {
		t = txn_build(&(struct txn_spec){.creq = "GET /slow HTTP/1.1\nHost: a\n\n", .client_gone = true});
		t->client->resp.end = i ? MSG_LIMIT : MSG_LOST;
		moesif__on_transaction(m, t);
		assert_null(txn_at(out.root, "response"));
	}
	accounted(4);
}

static void test_request_rebuilt(void **state)
{
	struct txn_spec s = {
		.cresp = "HTTP/1.1 200 OK\nX-Kong-Request-Id: 9fabdb19737a890493680077d885ed7d\n\n",
		.ureq = "GET /x?q=1 HTTP/1.1\n" UP_HEADERS "Accept: */*\nX-Consumer-Username: mallory\n\n",
		.uresp = "HTTP/1.1 200 OK\n\n",
	};

	(void)state;
	run(s);
	assert_string_equal(txn_str(&out, "request.uri"), "http://api.example.com:8000/v1/x?q=1");
	assert_string_equal(txn_str(&out, "request.verb"), "GET");
	assert_string_equal(txn_str(&out, "request.headers.host"), "api.example.com");
	assert_string_equal(txn_str(&out, "request.headers.accept"), "*/*");
	assert_string_equal(txn_str(&out, "request.headers.x-real-ip"), "(none)");
	/* Whether Kong or the client said it cannot be told any more. */
	assert_string_equal(txn_str(&out, "user_id"), "(none)");
	assert_true(out.e.incomplete);
	assert_true(json_is_true(txn_at(out.root, "metadata.kong.request_rebuilt")));
	/* The upstream leg forwards what the client said of its address. */
	s.ureq = "GET /x HTTP/1.1\n" UP_HEADERS "X-Client-IP: 9.9.9.9\n\n";
	run(s);
	assert_string_equal(txn_str(&out, "request.ip_address"), "9.9.9.9");
	s.ureq = NULL;
	run(s);
	assert_int_equal(stats_get(STAT_txn_dropped_incomplete), 1);
	accounted(3);
}

static void hand_over(struct transaction *t)
{
	out.events = 0;
	moesif__on_transaction(m, t);
	assert_int_equal(out.events, 1);
}

/* Where it ran, how long it took by whose clock, how often Kong tried, which leg said what. */
static void test_metadata(void **state)
{
	struct txn_spec s = {
		.creq = "GET / HTTP/1.0\nHost: a\nX-Org: acme\n\n",
		.cresp = "HTTP/1.1 200 OK\nX-Kong-Proxy-Latency: 4\nX-Kong-Upstream-Latency: 9\n\n",
		.ureq = "GET / HTTP/1.1\n" UP_HEADERS "X-Org: acme\nX-Consumer-ID: i\nX-Consumer-Username: alice\n\n",
		.uresp = "HTTP/1.1 502 Bad\n\n",
	};
	struct transaction *t;

	(void)state;
	opt.company_id_header = strdup("X-Org");
	opt.node_name = strdup("node-1");
	assert_int_equal(moesif__set_options(m, &opt), 0);
	t = txn_build(&s);
	t->upstream = realloc(t->upstream, 2 * sizeof(*t->upstream));
	assert_non_null(t->upstream);
	t->upstream[1] = txn_exchange(&s, false, 1001000000);
	t->upstream[1]->conn.peer.port = 9001;
	t->upstream[1]->resp.status = 200;
	t->upstream_count = 2;
	t->answered = t->upstream[1];
	t->worker = &(struct rec_worker){
		.pod = "kong-7", .pod_namespace = "gateway", .pod_uid = "u-1", .container = "proxy"};
	hand_over(t);
	assert_string_equal(txn_str(&out, "metadata.kong.tries"), "2");
	assert_string_equal(txn_str(&out, "metadata.kong.upstream_status"), "200");
	assert_string_equal(txn_str(&out, "metadata.kong.service.port"), "9001");
	assert_string_equal(txn_str(&out, "metadata.kong.user_from"), "consumer");
	assert_string_equal(txn_str(&out, "metadata.kong.company_from"), "request_header");
	assert_string_equal(txn_str(&out, "metadata.kong.protocol"), "http/1.0");
	assert_string_equal(txn_str(&out, "metadata.kong.node"), "node-1");
	assert_string_equal(txn_str(&out, "metadata.kong.pod"), "kong-7");
	assert_string_equal(txn_str(&out, "metadata.kong.pod_namespace"), "gateway");
	assert_string_equal(txn_str(&out, "metadata.kong.pod_uid"), "u-1");
	assert_string_equal(txn_str(&out, "metadata.kong.container"), "proxy");
	assert_string_equal(txn_str(&out, "metadata.kong.worker_pid"), "77");
	/* Kong's in whole milliseconds as it says them, ours to the microsecond. */
	assert_non_null(
		strstr(out.json, "\"latency\":{\"total\":3.000,\"first_byte\":2.000,\"service_first_byte\":2.000,"
				 "\"service_total\":3.000,\"proxy\":4,\"upstream\":9}"));
	assert_string_equal(txn_str(&out, "metadata.kong.upgraded"), "(none)");
	/* Kong's own answer. */
	s = (struct txn_spec){.creq = "GET / HTTP/1.1\nHost: a\n\n",
		.cresp = "HTTP/1.1 503 No\nX-Kong-Response-Latency: 6\nX-Kong-Proxy-Latency: x\n\n"};
	run(s);
	assert_non_null(strstr(out.json, "\"latency\":{\"total\":3.000,\"first_byte\":2.000,\"response\":6}"));
	assert_string_equal(txn_str(&out, "metadata.kong.tries"), "0");
	assert_string_equal(txn_str(&out, "metadata.kong.join"), "none");
	assert_string_equal(txn_str(&out, "metadata.kong.pod"), "(none)");
	assert_string_equal(txn_str(&out, "metadata.kong.service"), "(none)");
	s.how = JOIN_MISSING;
	run(s);
	assert_string_equal(txn_str(&out, "metadata.kong.join"), "missing");
	s.how = JOIN_AMBIGUOUS;
	run(s);
	assert_string_equal(txn_str(&out, "metadata.kong.join"), "ambiguous");
}

static void test_metadata_of_streams(void **state)
{
	struct txn_spec s = {
		.creq = "GET / HTTP/1.1\nHost: a\nUpgrade: websocket\n\n", .cresp = "HTTP/1.1 101 Switching\n\n"};
	struct transaction *t = txn_build(&s);

	(void)state;
	t->client->upgraded = true;
	hand_over(t);
	assert_true(json_is_true(txn_at(out.root, "metadata.kong.upgraded")));
	/* gRPC says how it ended in the trailers, or, where it ends at once, in the headers. */
	s = (struct txn_spec){.creq = "POST /pkg.Service/Call HTTP/2\n:authority: a\n\n",
		.cresp = "HTTP/2 200\ncontent-type: application/grpc\n\n",
		.h2 = true};
	t = txn_build(&s);
	headers__init(&t->client->resp.trailers, 1000, 10);
	headers__add(&t->client->resp.trailers, SPAN_LIT("grpc-status"), SPAN_LIT("5"));
	hand_over(t);
	assert_string_equal(txn_str(&out, "metadata.kong.grpc_status"), "5");
	assert_string_equal(txn_str(&out, "metadata.kong.protocol"), "h2c");
	s.cresp = "HTTP/2 200\ngrpc-status: 7\n\n";
	run(s);
	assert_string_equal(txn_str(&out, "metadata.kong.grpc_status"), "7");
}

static void test_h2_host_and_cookies(void **state)
{
	(void)state;
	run((struct txn_spec){
		.creq = "GET /h2 HTTP/2\n:authority: 127.0.0.1:8443\ncookie: a=1\ncookie: b=2\n\n",
		.cresp = "HTTP/2 200\n\n",
		.h2 = true,
		.tls = true,
		.port = 8443,
	});
	assert_string_equal(txn_str(&out, "request.uri"), "https://127.0.0.1:8443/h2");
	assert_string_equal(txn_str(&out, "request.headers.host"), "127.0.0.1:8443");
	assert_string_equal(txn_str(&out, "request.headers.cookie"), "a=1; b=2");
	assert_string_equal(txn_str(&out, "metadata.kong.protocol"), "h2");
}

static void test_grpc(void **state)
{
	static char *mask[] = {"Grpc-Message"};
	struct txn_spec spec = {
		.creq = "POST /hello.Hello/Say HTTP/2\n:authority: a\nContent-Type: application/grpc\n\n",
		.cresp = "HTTP/2 200\nContent-Type: application/grpc\n\n",
		.h2 = true};
	struct strlist none = opt.response_header_masks;
	struct transaction *t;

	(void)state;
	for (int masked = 0; masked < 2; masked++) {
		if (masked)
			opt.response_header_masks = (struct strlist){mask, 1};
		assert_int_equal(moesif__set_options(m, &opt), 0);
		t = txn_build(&spec);
		headers__init(&t->client->resp.trailers, 1000, 10);
		headers__add(&t->client->resp.trailers, SPAN_LIT("grpc-status"), SPAN_LIT("5"));
		headers__add(&t->client->resp.trailers, SPAN_LIT("grpc-message"), SPAN_LIT("not%20there"));
		moesif__on_transaction(m, t);
		assert_string_equal(txn_str(&out, "metadata.kong.grpc_status"), "5");
		assert_string_equal(txn_str(&out, "metadata.kong.grpc_message"), masked ? "(none)" : "not%20there");
	}
	opt.response_header_masks = none;
	assert_int_equal(moesif__set_options(m, &opt), 0);
	/* Trailers only: all is in the header section. */
	moesif__on_transaction(m,
		txn_build(&(struct txn_spec){
			.creq = spec.creq, .cresp = "HTTP/2 200\ngrpc-status: 12\ngrpc-message: no\n\n", .h2 = true}));
	assert_string_equal(txn_str(&out, "metadata.kong.grpc_status"), "12");
	assert_string_equal(txn_str(&out, "metadata.kong.grpc_message"), "no");
	/* gRPC-Web is HTTP: its messages and its trailers are a body like any other. */
	moesif__on_transaction(
		m, txn_build(&(struct txn_spec){.creq = "POST /hello.Hello/Say HTTP/1.1\nHost: a\n"
							"Content-Type: application/grpc-web+proto\n\n\1abc",
			   .cresp = "HTTP/1.1 200 OK\nContent-Type: application/grpc-web+proto\n\n"
				    "\x80grpc-status: 0\r\n"}));
	assert_string_equal(txn_str(&out, "metadata.kong.grpc_status"), "(none)");
	assert_string_equal(txn_str(&out, "request.transfer_encoding"), "base64");
	assert_string_equal(txn_str(&out, "request.body"), "AWFiYw==");
	assert_string_equal(txn_str(&out, "response.body"), "gGdycGMtc3RhdHVzOiAwDQo=");
}

static void test_bad_utf8_in_headers(void **state)
{
	(void)state;
	run((struct txn_spec){
		.creq = "GET /\xff HTTP/1.1\nHost: a\nX-A: caf\xe9\nX-B: a\tb\x01\"\\\n\n",
		.cresp = "HTTP/1.1 200 OK\n\n",
	});
	assert_non_null(out.root);
	assert_string_equal(txn_str(&out, "request.headers.x-a"), "caf\xef\xbf\xbd");
	assert_string_equal(txn_str(&out, "request.headers.x-b"), "a\tb\x01\"\\");
	assert_string_equal(txn_str(&out, "request.uri"), "http://a:8000/%FF");
}

static void test_ids(void **state)
{
	const char *get = "GET / HTTP/1.1\nHost: a\n\n";
	char first[64];

	(void)state;
	/* None from Kong: derived, the same again for the same call, another for another moment. */
	run((struct txn_spec){.creq = get, .cresp = "HTTP/1.1 200 OK\n\n"});
	snprintf(first, sizeof(first), "%s", txn_str(&out, "transaction_id"));
	assert_int_equal(strlen(first), 36);
	assert_int_equal(first[14], '8');
	run((struct txn_spec){.creq = get, .cresp = "HTTP/1.1 200 OK\n\n"});
	assert_string_equal(txn_str(&out, "transaction_id"), first);
	run((struct txn_spec){.creq = get, .cresp = "HTTP/1.1 200 OK\n\n", .wall_ns = TXN_WALL_NS + 1});
	assert_string_not_equal(txn_str(&out, "transaction_id"), first);
	/* Two streams of one connection that began together are two calls. */
	for (uint32_t stream = 1; stream <= 3; stream += 2) {
		struct transaction *t = txn_build(&(struct txn_spec){
			.creq = "GET / HTTP/2\n:authority: a\n\n", .cresp = "HTTP/2 200\n\n", .h2 = true});

		t->client->stream = stream;
		moesif__on_transaction(m, t);
		if (stream == 1)
			snprintf(first, sizeof(first), "%s", txn_str(&out, "transaction_id"));
	}
	assert_string_not_equal(txn_str(&out, "transaction_id"), first);
	/* A UUID is in lower case. */
	run((struct txn_spec){
		.creq = get, .cresp = "HTTP/1.1 200 OK\nX-Kong-Request-Id: 9FABDB19737A890493680077D885ED7D\n\n"});
	assert_string_equal(txn_str(&out, "transaction_id"), "9fabdb19-737a-8904-9368-0077d885ed7d");
	/* An id that the client brought itself is not Kong's. */
	run((struct txn_spec){
		.creq = "GET / HTTP/1.1\nHost: a\nX-Kong-Request-Id: 00000000000000000000000000000001\n\n",
		.cresp = "HTTP/1.1 200 OK\nX-Kong-Request-Id: 00000000000000000000000000000001\n\n",
	});
	assert_int_equal(txn_str(&out, "transaction_id")[14], '8');
	assert_string_equal(txn_str(&out, "metadata.kong.request_id"), "(none)");
}

/* Two calls under one id would count as one: an id that may be an older call's is not taken. */
static void test_ids_of_older_calls(void **state)
{
	static const char *const old = "HTTP/1.1 200 OK\nX-Kong-Request-Id: 9fabdb19737a890493680077d885ed7d\n"
				       "X-Moesif-Transaction-Id: 606da0e1-e941-4dd0-93cb-0bd97c801cac\n";
	struct txn_spec s = {.creq = "GET / HTTP/1.1\nHost: a\n\n"};
	char cached[512], first[64];

	(void)state;
	/* Out of Kong's cache, headers included. */
	snprintf(cached, sizeof(cached), "%sX-Cache-Status: Hit\n\n", old);
	s.cresp = cached;
	run(s);
	snprintf(first, sizeof(first), "%s", txn_str(&out, "transaction_id"));
	s.wall_ns = TXN_WALL_NS + 1000000;
	run(s);
	assert_string_not_equal(txn_str(&out, "transaction_id"), first);
	snprintf(cached, sizeof(cached), "%sAge: 7\n\n", old);
	run(s);
	assert_int_equal(txn_str(&out, "transaction_id")[14], '8');
	/* A miss is answered by the service, and Kong's own id stands on both legs. */
	snprintf(cached, sizeof(cached), "%sX-Cache-Status: Miss\n\n", old);
	s.ureq = "GET / HTTP/1.1\n" UP_HEADERS "\n";
	s.uresp = "HTTP/1.1 200 OK\nX-Kong-Request-Id: 9fabdb19737a890493680077d885ed7d\n\n";
	run(s);
	assert_string_equal(txn_str(&out, "transaction_id"), "606da0e1-e941-4dd0-93cb-0bd97c801cac");
	assert_string_equal(txn_str(&out, "metadata.kong.request_id"), "9fabdb19737a890493680077d885ed7d");
	/* Another Kong's, behind a cache behind this one, which sets none. */
	s.ureq = "GET / HTTP/1.1\nX-Real-IP: 127.0.0.1\nX-Forwarded-Path: /\n\n";
	s.cresp = s.uresp;
	run(s);
	assert_int_equal(txn_str(&out, "transaction_id")[14], '8');
	assert_string_equal(txn_str(&out, "metadata.kong.request_id"), "(none)");
}

static void test_plugin_beside(void **state)
{
	static const char *const id = "606da0e1-e941-4dd0-93cb-0bd97c801cac";
	struct txn_spec s = {
		.creq = "GET / HTTP/1.1\nHost: a\n\n",
		.cresp = "HTTP/1.1 200 OK\nX-Moesif-Transaction-Id: 606da0e1-e941-4dd0-93cb-0bd97c801cac\n"
			 "X-Kong-Request-Id: 9fabdb19737a890493680077d885ed7d\n\n",
	};
	unsigned warned = 0;

	(void)state;
	log_set_sink(on_log, &warned);
	run(s);
	assert_string_equal(txn_str(&out, "transaction_id"), id);
	assert_int_equal(warned, 1);
	run(s);
	assert_int_equal(warned, 1);
	opt.disable_transaction_id = true;
	assert_int_equal(moesif__set_options(m, &opt), 0);
	run(s);
	assert_string_equal(txn_str(&out, "transaction_id"), "9fabdb19-737a-8904-9368-0077d885ed7d");
	opt.disable_transaction_id = false;
	assert_int_equal(moesif__set_options(m, &opt), 0);
	/* The service's own Moesif library put it there. */
	s.ureq = "GET / HTTP/1.1\n" UP_HEADERS "\n";
	s.uresp = "HTTP/1.1 200 OK\nX-Moesif-Transaction-Id: 606da0e1-e941-4dd0-93cb-0bd97c801cac\n\n";
	run(s);
	assert_string_equal(txn_str(&out, "transaction_id"), "9fabdb19-737a-8904-9368-0077d885ed7d");
	log_set_sink(NULL, NULL);
}

static void test_plugin_by_its_calls(void **state)
{
	struct txn_spec own = {
		.ureq = "POST /v1/events/batch HTTP/1.1\nHost: api.moesif.net\nX-Moesif-Application-Id: x\n\n"};
	struct txn_spec proxied = {.ureq = "POST /v1/events/batch HTTP/1.1\nHost: c\nX-Moesif-Application-Id: x\n"
					   "X-Real-IP: 1.2.3.4\n\n"};
	unsigned warned = 0;
	struct exchange *x;

	(void)state;
	log_set_sink(on_log, &warned);
	x = txn_exchange(&proxied, false, 1);
	moesif__on_begun(m, x);
	exchange__free(x);
	assert_int_equal(warned, 0);
	x = txn_exchange(&own, false, 1);
	moesif__on_begun(m, x);
	moesif__on_begun(m, x);
	exchange__free(x);
	assert_int_equal(warned, 1);
	log_set_sink(NULL, NULL);
}

/* What looks like such a call and is none. */
static void test_plugin_by_no_other_calls(void **state)
{
	static const struct {
		const char *req;
		bool client;
		unsigned warned;
	} t[] = {
		{"POST /v1/events/batch HTTP/1.1\nHost: c\nX-Moesif-Application-Id: x\n\n", true, 0},
		{"POST /v1/events/batch HTTP/1.1\nHost: c\n\n", false, 0},
		{"GET /v1/events/batch HTTP/1.1\nHost: c\nX-Moesif-Application-Id: x\n\n", false, 0},
		{"POST /v1/events/batches HTTP/1.1\nHost: c\nX-Moesif-Application-Id: x\n\n", false, 0},
		{"POST /proxy/v1/events HTTP/1.1\nHost: c\nX-Moesif-Application-Id: x\n\n", false, 1},
	};
	unsigned warned = 0;

	(void)state;
	log_set_sink(on_log, &warned);
	for (size_t i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
		struct txn_spec s = {.creq = t[i].req, .ureq = t[i].req};
		struct exchange *x = txn_exchange(&s, t[i].client, 1);

		moesif__on_begun(m, x);
		exchange__free(x);
		assert_int_equal(warned, t[i].warned);
	}
	log_set_sink(NULL, NULL);
}

static void test_times(void **state)
{
	static const struct {
		int64_t ms;
		const char *text;
	} t[] = {{7, ".007Z"}, {50, ".050Z"}, {123, ".123Z"}, {999, ".999Z"}};

	(void)state;
	for (size_t i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
		run((struct txn_spec){.creq = "GET / HTTP/1.1\nHost: a\n\n",
			.cresp = "HTTP/1.1 200 OK\n\n",
			.wall_ns = TXN_WALL_NS + (t[i].ms - 7) * 1000000});
		assert_string_equal(strchr(txn_str(&out, "request.time"), '.'), t[i].text);
	}
}

/* nginx refuses such a request, and no plugin sees it: the wire does. */
static void test_refused_by_nginx(void **state)
{
	struct transaction *t;

	(void)state;
	run((struct txn_spec){.creq = "GET / HTTP/1.1\nHost: a\nAuthorization: Basic dXNlcjpwYXNz\nAuthorization: "
				      "Basic Ym9iOnBhc3M=\n\n",
		.cresp = "HTTP/1.1 400 Bad Request\n\n"});
	assert_string_equal(txn_str(&out, "response.status"), "400");
	assert_int_equal(json_array_size(txn_at(out.root, "request.headers.authorization")), 2);
	/* A request that could not be read on, as one with a chunk of no size, says so. */
	t = txn_build(&(struct txn_spec){.creq = "POST / HTTP/1.1\nHost: a\nTransfer-Encoding: chunked\n\n",
		.cresp = "HTTP/1.1 400 Bad Request\n\n"});
	t->client->req.end = MSG_BAD;
	moesif__on_transaction(m, t);
	assert_string_equal(txn_str(&out, "metadata.kong.request"), "invalid");
	assert_true(out.e.incomplete);
	accounted(2);
}

static void test_too_large(void **state)
{
	char *big = malloc(4000), *creq = NULL;

	(void)state;
	opt.event_limit = 3000;
	assert_int_equal(moesif__set_options(m, &opt), 0);
	memset(big, 'x', 3999);
	big[3999] = 0;
	assert_true(asprintf(&creq, "POST / HTTP/1.1\nHost: a\n\n%s", big) > 0);
	run((struct txn_spec){.creq = creq, .cresp = "HTTP/1.1 200 OK\n\nok"});
	assert_string_equal(txn_str(&out, "request.body"), "(none)");
	assert_string_equal(txn_str(&out, "response.body"), "b2s=");
	assert_string_equal(txn_str(&out, "metadata.kong.request_body_omitted"), "event_limit");
	assert_string_equal(txn_str(&out, "metadata.kong.request_body_bytes"), "3999");
	assert_true(out.e.truncated);
	free(creq);
	/* The larger of the two goes first, whichever it is. */
	assert_true(asprintf(&creq, "HTTP/1.1 200 OK\n\n%s", big) > 0);
	run((struct txn_spec){.creq = "POST / HTTP/1.1\nHost: a\n\nok", .cresp = creq});
	assert_string_equal(txn_str(&out, "request.body"), "b2s=");
	assert_string_equal(txn_str(&out, "response.body"), "(none)");
	assert_string_equal(txn_str(&out, "metadata.kong.response_body_omitted"), "event_limit");
	free(creq);
	assert_true(asprintf(&creq, "GET / HTTP/1.1\nHost: a\nX-Big: %s\n\n", big) > 0);
	run((struct txn_spec){.creq = creq, .cresp = "HTTP/1.1 200 OK\n\nok"});
	assert_int_equal(stats_get(STAT_txn_dropped_too_large), 1);
	accounted(3);
	free(creq);
	free(big);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_whole_event, setup, teardown),
		cmocka_unit_test_setup_teardown(test_known_headers_anywhere, setup, teardown),
		cmocka_unit_test_setup_teardown(test_client_gone_is_499, setup, teardown),
		cmocka_unit_test_setup_teardown(test_request_rebuilt, setup, teardown),
		cmocka_unit_test_setup_teardown(test_metadata, setup, teardown),
		cmocka_unit_test_setup_teardown(test_metadata_of_streams, setup, teardown),
		cmocka_unit_test_setup_teardown(test_h2_host_and_cookies, setup, teardown),
		cmocka_unit_test_setup_teardown(test_grpc, setup, teardown),
		cmocka_unit_test_setup_teardown(test_bad_utf8_in_headers, setup, teardown),
		cmocka_unit_test_setup_teardown(test_ids, setup, teardown),
		cmocka_unit_test_setup_teardown(test_ids_of_older_calls, setup, teardown),
		cmocka_unit_test_setup_teardown(test_plugin_beside, setup, teardown),
		cmocka_unit_test_setup_teardown(test_plugin_by_its_calls, setup, teardown),
		cmocka_unit_test_setup_teardown(test_plugin_by_no_other_calls, setup, teardown),
		cmocka_unit_test_setup_teardown(test_times, setup, teardown),
		cmocka_unit_test_setup_teardown(test_refused_by_nginx, setup, teardown),
		cmocka_unit_test_setup_teardown(test_too_large, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
