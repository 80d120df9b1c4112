#include "kt_cmocka.h"

#include <stdlib.h>

#include "base/hmap.h"
#include "base/stats.h"
#include "join/join.h"

#define MS 1000000ull
#define KONG_PID 100

static struct transaction *got[16];
static size_t got_n;

static void keep(void *ctx, struct transaction *t)
{
	(void)ctx;
	assert_true(got_n < 16);
	got[got_n++] = t;
}

static struct join *j;

static int setup(void **state)
{
	struct join_limits l;

	(void)state;
	join_limits_default(&l);
	l.waiting = 8;
	stats_reset();
	got_n = 0;
	j = join__new(&l, (struct transaction_sink){.fn = keep});
	return j ? 0 : -1;
}

static int setup_with_little_memory(void **state)
{
	struct join_limits l;

	(void)state;
	join_limits_default(&l);
	l.waiting_bytes = 20000;
	stats_reset();
	got_n = 0;
	j = join__new(&l, (struct transaction_sink){.fn = keep});
	return j ? 0 : -1;
}

static int teardown(void **state)
{
	(void)state;
	for (size_t i = 0; i < got_n; i++)
		transaction__free(got[i]);
	join__free(j);
	return 0;
}

static void add(struct headers *h, const char *name, const char *value)
{
	assert_int_equal(headers__add(h, span_str(name), span_str(value)), 0);
}

static uint64_t next_id;

static struct exchange *exchange(enum leg leg, uint32_t pid, uint64_t t_ns)
{
	struct exchange *x = calloc(1, sizeof(*x));

	x->id = ++next_id;
	x->conn.key.pid = pid;
	x->conn.leg = leg;
	x->conn.local =
		(struct endpoint){.family = ADDR_IP4, .port = leg == LEG_CLIENT ? 8000 : 40000, .addr = {127, 0, 0, 1}};
	x->conn.peer = (struct endpoint){.family = ADDR_IP4, .port = 5000, .addr = {10, 0, 0, 9}};
	headers__init(&x->req.headers, 65536, 100);
	headers__init(&x->resp.headers, 65536, 100);
	headers__init(&x->req.trailers, 65536, 100);
	headers__init(&x->resp.trailers, 65536, 100);
	assert_int_equal(headers__keep(&x->req.headers, SPAN_LIT("GET"), &x->req.method), 0);
	x->req.end = MSG_COMPLETE;
	x->req.head_done = true;
	x->req.t_first_ns = t_ns;
	return x;
}

static struct exchange *client(const char *user, uint64_t t_ns)
{
	struct exchange *x = exchange(LEG_CLIENT, KONG_PID, t_ns);

	assert_int_equal(headers__keep(&x->req.headers, SPAN_LIT("/open/a?x=1"), &x->req.target), 0);
	add(&x->req.headers, "Host", "API.example:8000");
	add(&x->req.headers, "Authorization", user);
	return x;
}

static struct exchange *upstream(const char *user, const char *id, uint64_t t_ns)
{
	struct exchange *x = exchange(LEG_UPSTREAM, KONG_PID, t_ns);

	assert_int_equal(headers__keep(&x->req.headers, SPAN_LIT("/a?x=1"), &x->req.target), 0);
	add(&x->req.headers, "X-Real-IP", "10.0.0.9");
	add(&x->req.headers, "X-Forwarded-For", "10.0.0.9");
	add(&x->req.headers, "X-Forwarded-Host", "api.example");
	add(&x->req.headers, "X-Forwarded-Port", "8000");
	add(&x->req.headers, "X-Forwarded-Path", "/open/a");
	add(&x->req.headers, "Authorization", user);
	if (id)
		add(&x->req.headers, "X-Kong-Request-Id", id);
	return x;
}

static void answer(struct exchange *x, int status, const char *id, uint64_t t_ns)
{
	x->resp.head_done = true;
	x->resp.end = MSG_COMPLETE;
	x->resp.status = (uint16_t)status;
	if (id)
		add(&x->resp.headers, "x-kong-request-id", id);
	if (x->conn.leg == LEG_CLIENT && id)
		add(&x->resp.headers, "X-Kong-Upstream-Latency", "1");
	x->t_end_ns = t_ns;
}

/* The call is open, its service has answered. */
static void served(struct exchange *c, struct exchange *u, uint64_t t_ns)
{
	join__begun(j, c);
	join__begun(j, u);
	answer(u, 200, NULL, t_ns);
	join__done(j, u, NULL);
}

static void joined_by_id(void **state)
{
	struct exchange *c = client("alice", 1 * MS), *u = upstream("alice", "aa", 2 * MS);

	(void)state;
	served(c, u, 3 * MS);
	assert_int_equal(got_n, 0);
	answer(c, 200, "aa", 4 * MS);
	join__done(j, c, NULL);
	assert_int_equal(got_n, 1);
	assert_int_equal(got[0]->how, JOIN_BY_ID);
	assert_ptr_equal(got[0]->answered, u);
}

static void retries_keep_their_order(void **state)
{
	struct exchange *c = client("alice", 1 * MS), *first = upstream("alice", "aa", 2 * MS),
			*second = upstream("alice", "aa", 5 * MS);

	(void)state;
	join__begun(j, c);
	join__begun(j, first);
	first->t_end_ns = 4 * MS; /* refused: no response */
	join__done(j, first, NULL);
	join__begun(j, second);
	answer(second, 200, NULL, 6 * MS);
	join__done(j, second, NULL);
	answer(c, 200, "aa", 7 * MS);
	join__done(j, c, NULL);
	assert_int_equal(got[0]->upstream_count, 2);
	assert_ptr_equal(got[0]->upstream[0], first);
	assert_ptr_equal(got[0]->answered, second);
}

static void waits_for_an_open_upstream(void **state)
{
	struct exchange *c = client("alice", 1 * MS), *u = upstream("alice", "aa", 2 * MS);

	(void)state;
	join__begun(j, c);
	join__begun(j, u);
	answer(c, 200, "aa", 4 * MS);
	join__done(j, c, NULL);
	assert_int_equal(got_n, 0);
	answer(u, 200, NULL, 5 * MS);
	join__done(j, u, NULL);
	assert_int_equal(got_n, 1);
	assert_int_equal(got[0]->upstream_count, 1);
}

static void waits_no_longer_than_its_window(void **state)
{
	struct exchange *c = client("alice", 1 * MS), *u = upstream("alice", "aa", 2 * MS);

	(void)state;
	join__begun(j, c);
	join__begun(j, u);
	answer(c, 200, "aa", 4 * MS);
	join__done(j, c, NULL);
	join__tick(j, 503 * MS);
	assert_int_equal(got_n, 0);
	join__tick(j, 504 * MS);
	assert_int_equal(got_n, 1);
	/* Of the leg that is still open it has what was there by then; when it ends nobody waits for it. */
	assert_int_equal(got[0]->upstream_count, 1);
	assert_int_equal(got[0]->how, JOIN_BY_ID);
	assert_ptr_not_equal(got[0]->upstream[0], u);
	assert_null(got[0]->answered);
	assert_int_equal(got[0]->upstream[0]->req.end, MSG_COMPLETE);
	assert_true(span_eq(
		headers__get(&got[0]->upstream[0]->req.headers, SPAN_LIT("x-kong-request-id")), SPAN_LIT("aa")));
	answer(u, 200, NULL, 600 * MS);
	join__done(j, u, NULL);
	assert_int_equal(stats_get(STAT_join_upstream_orphans), 0);
	join__tick(j, 3600000ull * MS);
	assert_int_equal(stats_get(STAT_join_upstream_orphans), 0);
}

static void an_open_leg_has_the_head_of_its_answer(void **state)
{
	struct exchange *c = client("alice", 1 * MS), *u = upstream("alice", "aa", 2 * MS);

	(void)state;
	join__begun(j, c);
	join__begun(j, u);
	answer(u, 200, NULL, 3 * MS);
	u->resp.end = MSG_OPEN;
	u->resp.body_len = 70000;
	answer(c, 200, "aa", 4 * MS);
	join__done(j, c, NULL);
	join__tick(j, 504 * MS);
	assert_int_equal(got_n, 1);
	assert_non_null(got[0]->answered);
	assert_int_equal(got[0]->answered->resp.status, 200);
	assert_int_equal(got[0]->answered->resp.end, MSG_IDLE);
	assert_true(got[0]->answered->resp.body_truncated);
	join__done(j, u, NULL);
}

static void an_open_leg_that_says_otherwise_is_of_another_call(void **state)
{
	struct exchange *c = client("alice", 1 * MS), *u = upstream("bob", NULL, 2 * MS);

	(void)state;
	join__begun(j, c);
	join__begun(j, u);
	answer(c, 200, NULL, 4 * MS);
	join__done(j, c, NULL);
	join__tick(j, 504 * MS);
	assert_int_equal(got_n, 1);
	assert_int_equal(got[0]->upstream_count, 0);
	join__done(j, u, NULL);
}

static void kong_answered_itself(void **state)
{
	struct exchange *c = client("alice", 1 * MS);

	(void)state;
	join__begun(j, c);
	answer(c, 401, NULL, 2 * MS);
	add(&c->resp.headers, "X-Kong-Request-Id", "bb");
	join__done(j, c, NULL);
	assert_int_equal(got_n, 1);
	assert_int_equal(got[0]->how, JOIN_NONE);
}

static void upstream_leg_not_seen(void **state)
{
	struct exchange *c = client("alice", 1 * MS);

	(void)state;
	join__begun(j, c);
	answer(c, 200, "bb", 2 * MS);
	join__done(j, c, NULL);
	assert_int_equal(got[0]->how, JOIN_MISSING);
}

static void one_that_fits_is_joined_by_evidence(void **state)
{
	struct exchange *c = client("alice", 1 * MS), *u = upstream("alice", NULL, 2 * MS);

	(void)state;
	served(c, u, 3 * MS);
	answer(c, 200, NULL, 4 * MS);
	join__done(j, c, NULL);
	assert_int_equal(got[0]->how, JOIN_BY_EVIDENCE);
	assert_ptr_equal(got[0]->answered, u);
}

static void two_that_fit_are_joined_to_none(void **state)
{
	struct exchange *a = client("alice", 1 * MS), *b = client("bob", 1 * MS), *u = upstream("alice", NULL, 2 * MS);

	(void)state;
	join__begun(j, a);
	join__begun(j, b);
	join__begun(j, u);
	answer(u, 200, NULL, 3 * MS);
	join__done(j, u, NULL);
	answer(a, 200, NULL, 4 * MS);
	add(&a->resp.headers, "X-Kong-Upstream-Latency", "1");
	answer(b, 200, NULL, 4 * MS);
	join__done(j, b, NULL);
	join__done(j, a, NULL);
	assert_int_equal(got[0]->upstream_count, 0);
	assert_int_equal(got[1]->upstream_count, 0);
	assert_int_equal(got[1]->how, JOIN_AMBIGUOUS);
	/* Also where Kong adds no latency headers: one of the two legs is this call's. */
	assert_int_equal(got[0]->how, JOIN_AMBIGUOUS);
}

static void one_of_two_that_fit_was_answered_by_kong(void **state)
{
	struct exchange *a = client("alice", 1 * MS), *b = client("bob", 1 * MS), *u = upstream("alice", NULL, 2 * MS);

	(void)state;
	join__begun(j, a);
	join__begun(j, b);
	join__begun(j, u);
	answer(b, 429, NULL, 4 * MS);
	add(&b->resp.headers, "X-Kong-Response-Latency", "1");
	join__done(j, b, NULL);
	assert_int_equal(got[0]->how, JOIN_NONE);
	answer(a, 200, NULL, 4 * MS);
	join__done(j, a, NULL);
	exchange__free(u);
}

/* Of thousands of calls alike, all open at once, none is joined by evidence, nor the last that is left; one that comes
 * when they are gone is. */
static void many_that_fit(void **state)
{
	enum { MANY = 5000 };
	static struct exchange *calls[MANY];
	struct exchange *u, *c;

	(void)state;
	for (int i = 0; i < MANY; i++) {
		calls[i] = client("same", 1 * MS);
		join__begun(j, calls[i]);
	}
	for (int i = 0; i < MANY; i++) {
		u = upstream("same", NULL, 2 * MS);
		join__begun(j, u);
		answer(u, 200, NULL, 3 * MS);
		join__done(j, u, NULL);
		answer(calls[i], 200, NULL, 4 * MS);
		join__done(j, calls[i], NULL);
		assert_int_equal(got_n, 1);
		assert_int_equal(got[0]->upstream_count, 0);
		assert_int_equal(got[0]->how, JOIN_AMBIGUOUS);
		transaction__free(got[0]);
		got_n = 0;
	}
	c = client("same", 5 * MS);
	u = upstream("same", NULL, 6 * MS);
	join__begun(j, c);
	join__begun(j, u);
	answer(u, 200, NULL, 7 * MS);
	join__done(j, u, NULL);
	answer(c, 200, NULL, 8 * MS);
	join__done(j, c, NULL);
	assert_int_equal(got[0]->how, JOIN_BY_EVIDENCE);
}

/* Its own upstream leg may be among what was lost, and so may the call that this one is of. */
static void after_a_loss_evidence_is_none(void **state)
{
	struct exchange *c = client("alice", 1 * MS), *u = upstream("alice", NULL, 2 * MS);
	struct exchange *c2 = client("alice", 3 * MS), *u2 = upstream("alice", "bb", 4 * MS);
	struct exchange *c3 = client("alice", 10 * MS), *u3 = upstream("alice", NULL, 11 * MS);

	(void)state;
	served(c, u, 3 * MS);
	join__lost(j);
	answer(c, 200, NULL, 4 * MS);
	join__done(j, c, NULL);
	assert_int_equal(got_n, 1);
	assert_int_equal(got[0]->upstream_count, 0);
	assert_int_equal(got[0]->how, JOIN_AMBIGUOUS);
	/* Nor is what comes after it taken for its own. */
	join__begun(j, c2);
	join__lost(j);
	join__begun(j, u2);
	answer(u2, 200, NULL, 5 * MS);
	join__done(j, u2, NULL);
	answer(c2, 200, "bb", 6 * MS);
	join__done(j, c2, NULL);
	assert_int_equal(got_n, 2);
	assert_int_equal(got[1]->how, JOIN_BY_ID); /* an id is an id */
	/* What begins later is joined as ever. */
	served(c3, u3, 12 * MS);
	answer(c3, 200, NULL, 13 * MS);
	join__done(j, c3, NULL);
	assert_int_equal(got_n, 3);
	assert_int_equal(got[2]->how, JOIN_BY_EVIDENCE);
}

/* The request of another call, which like this one shows no credential, was not seen, and its upstream leg was. */
static void tries_of_two_calls_are_joined_to_none(void **state)
{
	struct exchange *c = client("same", 1 * MS), *other = upstream("same", NULL, 2 * MS),
			*own = upstream("same", NULL, 3 * MS);

	(void)state;
	join__begun(j, c);
	join__begun(j, other);
	join__begun(j, own);
	answer(other, 200, NULL, 4 * MS);
	join__done(j, other, NULL);
	answer(own, 200, NULL, 5 * MS);
	join__done(j, own, NULL);
	answer(c, 200, NULL, 6 * MS);
	join__done(j, c, NULL);
	assert_int_equal(got[0]->upstream_count, 0);
	assert_int_equal(got[0]->how, JOIN_AMBIGUOUS);
}

/* The client gave up, and a call that began unseen fitted it too: Kong gave them two ids. */
static void tries_of_two_ids_are_joined_to_none(void **state)
{
	struct exchange *c = client("shared", 1 * MS), *u = upstream("shared", "aa", 2 * MS);
	struct exchange *of_other = upstream("shared", "bb", 3 * MS);

	(void)state;
	join__begun(j, c);
	join__begun(j, u);
	u->resp.end = MSG_RESET;
	join__done(j, u, NULL);
	join__begun(j, of_other);
	answer(of_other, 200, NULL, 5 * MS);
	join__done(j, of_other, NULL);
	c->client_gone = true;
	c->resp.end = MSG_RESET;
	join__done(j, c, NULL);
	assert_int_equal(got_n, 1);
	assert_int_equal(got[0]->how, JOIN_AMBIGUOUS);
	assert_int_equal(got[0]->upstream_count, 0);
}

static void evidence_never_crosses_credentials(void **state)
{
	/* The call that the upstream request belongs to was not seen; another fits in everything but the credential. */
	struct exchange *c = client("bob", 1 * MS), *u = upstream("alice", NULL, 2 * MS);

	(void)state;
	served(c, u, 3 * MS);
	answer(c, 200, NULL, 4 * MS);
	join__done(j, c, NULL);
	assert_int_equal(got[0]->upstream_count, 0);
}

static void ids_that_differ_beat_evidence(void **state)
{
	struct exchange *c = client("alice", 1 * MS), *u = upstream("alice", "aa", 2 * MS);

	(void)state;
	served(c, u, 3 * MS);
	answer(c, 200, "bb", 4 * MS);
	join__done(j, c, NULL);
	assert_int_equal(got[0]->upstream_count, 0);
}

static void an_aborted_call_finds_its_upstream(void **state)
{
	struct exchange *c = client("alice", 1 * MS), *u = upstream("alice", "aa", 2 * MS);

	(void)state;
	join__begun(j, c);
	join__begun(j, u);
	c->client_gone = true;
	c->t_end_ns = 3 * MS;
	join__done(j, c, NULL); /* no response, so no id: evidence */
	u->t_end_ns = 3 * MS;
	join__done(j, u, NULL);
	assert_int_equal(got_n, 1);
	assert_int_equal(got[0]->how, JOIN_BY_EVIDENCE);
	assert_int_equal(got[0]->upstream_count, 1);
	assert_null(got[0]->answered);
}

static void an_id_of_another_worker_is_another_call(void **state)
{
	struct exchange *c = client("alice", 1 * MS), *u = upstream("alice", "aa", 2 * MS);

	(void)state;
	u->conn.key.pid = KONG_PID + 1;
	served(c, u, 3 * MS);
	answer(c, 200, "aa", 4 * MS);
	join__done(j, c, NULL);
	assert_int_equal(got[0]->upstream_count, 0);
}

static void kongs_own_calls_are_left_out(void **state)
{
	struct exchange *u = exchange(LEG_UPSTREAM, KONG_PID, 1 * MS);

	(void)state;
	join__begun(j, u);
	answer(u, 201, NULL, 2 * MS);
	join__done(j, u, NULL);
	assert_int_equal(got_n, 0);
	assert_int_equal(stats_get(STAT_join_upstream_own), 1);
}

static void admin_port_is_left_out(void **state)
{
	struct rec_worker w = {.pid = KONG_PID, .nports = 2, .ports = {{8000, PORT_PROXY, 0}, {8001, PORT_ADMIN, 0}}};
	struct exchange *c = client("alice", 1 * MS);

	(void)state;
	c->conn.local.port = 8001;
	join__begun(j, c);
	answer(c, 200, NULL, 2 * MS);
	join__done(j, c, &w);
	assert_int_equal(got_n, 0);
	assert_int_equal(stats_get(STAT_join_not_proxy), 1);
}

static void orphans_are_bounded(void **state)
{
	(void)state;
	for (uint64_t i = 0; i < 100; i++) {
		struct exchange *u = upstream("alice", NULL, i * MS);

		join__begun(j, u);
		answer(u, 200, NULL, i * MS);
		join__done(j, u, NULL);
	}
	assert_int_equal(stats_get(STAT_join_upstream_orphans), 92);
	join__tick(j, 1000ull * 1000 * MS);
	assert_int_equal(stats_get(STAT_join_upstream_orphans), 100);
}

/* What an exchange takes counts, not what a try takes: 40 of 1000 bytes do not fit into 20000. */
static void memory_is_bounded(void **state)
{
	struct exchange *c = client("alice", 1 * MS), *u = upstream("alice", NULL, 2 * MS);

	(void)state;
	join__begun(j, c);
	join__begun(j, u);
	answer(u, 200, NULL, 3 * MS);
	u->mem = 1000;
	join__done(j, u, NULL);
	for (uint64_t i = 0; i < 40; i++) {
		struct exchange *other = upstream("bob", NULL, i * MS);

		other->conn.key.pid = KONG_PID + 1;
		join__begun(j, other);
		answer(other, 200, NULL, i * MS);
		other->mem = 1000;
		join__done(j, other, NULL);
	}
	assert_true(stats_get(STAT_join_upstream_orphans) >= 20);
	/* Those that no call fits go before the one that a call will come for. */
	answer(c, 200, NULL, 50 * MS);
	join__done(j, c, NULL);
	assert_int_equal(got_n, 1);
	assert_int_equal(got[0]->how, JOIN_BY_EVIDENCE);
	assert_ptr_equal(got[0]->answered, u);
}

/* Calls that wait for their upstream leg count too: beyond the bound they wait no longer. */
static void waiting_is_bounded(void **state)
{
	static const char *const ids[] = {"a", "b", "c", "d"};
	struct exchange *open[4];

	(void)state;
	for (uint64_t i = 0; i < 4; i++) {
		struct exchange *c = client("alice", (10 * i + 1) * MS);

		open[i] = upstream("alice", ids[i], (10 * i + 2) * MS);
		join__begun(j, c);
		join__begun(j, open[i]);
		answer(c, 200, ids[i], (10 * i + 3) * MS);
		c->mem = 8000;
		join__done(j, c, NULL);
	}
	assert_int_equal(got_n, 2);
	join__flush(j);
	assert_int_equal(got_n, 4);
	for (int i = 0; i < 4; i++)
		join__done(j, open[i], NULL);
}

static void every_call_is_handed_on(void **state)
{
	/* Random order of the four facts of many calls: each client exchange comes out once. */
	(void)state;
	srand(1);
	for (int round = 0; round < 2000; round++) {
		struct exchange *c = client("alice", 1 * MS), *u = upstream("alice", rand() % 2 ? "aa" : NULL, 2 * MS);
		bool late = rand() % 2, begun = rand() % 4, known = rand() % 4;

		if (begun)
			join__begun(j, c);
		if (known)
			join__begun(j, u);
		answer(u, 200, NULL, 3 * MS);
		if (!late)
			join__done(j, u, NULL);
		answer(c, 200, rand() % 2 ? "aa" : NULL, 4 * MS);
		join__done(j, c, NULL);
		if (late)
			join__done(j, u, NULL);
		join__flush(j);
		assert_int_equal(got_n, 1);
		assert_ptr_equal(got[0]->client, c);
		transaction__free(got[0]);
		got_n = 0;
	}
	assert_int_equal(stats_get(STAT_txn_seen), 2000);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(joined_by_id),
		T(retries_keep_their_order),
		T(waits_for_an_open_upstream),
		T(waits_no_longer_than_its_window),
		T(an_open_leg_has_the_head_of_its_answer),
		T(an_open_leg_that_says_otherwise_is_of_another_call),
		T(kong_answered_itself),
		T(upstream_leg_not_seen),
		T(one_that_fits_is_joined_by_evidence),
		T(two_that_fit_are_joined_to_none),
		T(many_that_fit),
		T(after_a_loss_evidence_is_none),
		T(tries_of_two_calls_are_joined_to_none),
		T(tries_of_two_ids_are_joined_to_none),
		T(one_of_two_that_fit_was_answered_by_kong),
		T(evidence_never_crosses_credentials),
		T(ids_that_differ_beat_evidence),
		T(an_aborted_call_finds_its_upstream),
		T(an_id_of_another_worker_is_another_call),
		T(kongs_own_calls_are_left_out),
		T(admin_port_is_left_out),
		T(orphans_are_bounded),
		cmocka_unit_test_setup_teardown(memory_is_bounded, setup_with_little_memory, teardown),
		cmocka_unit_test_setup_teardown(waiting_is_bounded, setup_with_little_memory, teardown),
		T(every_call_is_handed_on),
	};

	hash_set_seed(1);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
