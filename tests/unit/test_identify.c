/* Who made a call: the order, the tokens (facts, part F), and that nobody becomes somebody else. */
#include "event_kit.h"

#define NONE "(none)"
#define KONG_ALICE "X-Consumer-ID: id-alice\nX-Consumer-Username: alice\nX-Credential-Identifier: cred-alice\n"
#define KONG_BOB "X-Consumer-ID: id-bob\nX-Consumer-Username: bob\nX-Credential-Identifier: cred-bob\n"

static void test_token_vectors(void **state)
{
	(void)state;
	assert_string_equal(user_of_claims("Authorization: Bearer ", "{\"sub\":\"u1\"}"), "u1");
	assert_string_equal(
		user_of_claims("Authorization: Bearer ", "{\"name\":\"J\xc3\xb6rg ?\?\?>>>\",\"sub\":\"u2\"}"), "u2");
	assert_string_equal(user_of_claims("Authorization: Bearer ", "{\"sub\":1234567890}"), "1234567890");
	assert_string_equal(
		user_of_claims("Authorization: Bearer ", "{\"sub\":123456789012345678}"), "123456789012345678");
	assert_string_equal(user_of_claims("Authorization: Bearer ", "{\"sub\":1.50}"), "1.50");
	assert_string_equal(user_of_claims("Authorization: Bearer ", "{\"sub\":null}"), NONE);
	assert_string_equal(user_of_claims("Authorization: Bearer ", "{\"sub\":false}"), NONE);
	assert_string_equal(user_of_claims("Authorization: Bearer ", "{\"sub\":true}"), NONE);
	assert_string_equal(user_of_claims("Authorization: Bearer ", "{\"sub\":{}}"), NONE);
	assert_string_equal(user_of_claims("Authorization: Bearer ", "{\"sub\":\"\"}"), NONE);
	assert_string_equal(user_of_claims("Authorization: Bearer ", "{\"sub\":[\"a\"]}"), "a");
	assert_string_equal(user_of_claims("Authorization: Bearer ", "{\"sub\":[]}"), NONE);
	assert_string_equal(user_of_claims("Authorization: Bearer ", "{\"SUB\":\"x\"}"), "x");
	assert_string_equal(user_of_claims("Authorization: Bearer ", "{\"sub\":\"a\",\"SUB\":\"b\"}"), "a");
	assert_string_equal(user_of_claims("Authorization: bearer ", "{\"sub\":\"low\"}"), "low");
	assert_string_equal(user_of_claims("Authorization: BEARER   ", "{\"sub\":\"up\"}"), "up");
	assert_string_equal(user_of_claims("Authorization: ", "{\"sub\":\"bare\"}"), "bare");
	assert_string_equal(user_of_claims("Authorization: JWT ", "{\"sub\":\"own scheme\"}"), "own scheme");
}

static void test_claim_names(void **state)
{
	(void)state;
	set_text(&opt.authorization_user_id_field, "userid");
	apply();
	assert_string_equal(user_of_claims("Authorization: Bearer ", "{\"userId\":\"x\"}"), "x");
	set_text(&opt.authorization_user_id_field, "userId");
	apply();
	assert_string_equal(user_of_claims("Authorization: Bearer ", "{\"userid\":\"x\"}"), "x");
	set_text(&opt.authorization_user_id_field, "user.id");
	apply();
	assert_string_equal(user_of_claims("Authorization: Bearer ", "{\"user\":{\"id\":7}}"), "7");
	assert_string_equal(
		user_of_claims("Authorization: Bearer ", "{\"user\":{\"id\":7},\"user.id\":\"flat\"}"), "flat");
	assert_string_equal(user_of_claims("Authorization: Bearer ", "{\"user\":\"id\"}"), NONE);
	set_text(&opt.authorization_user_id_field, "https://x.example/claims");
	apply();
	assert_string_equal(user_of_claims("Authorization: Bearer ", "{\"https://x.example/claims\":\"ns\"}"), "ns");
	set_text(&opt.authorization_user_id_field, "realm.user.name");
	apply();
	assert_string_equal(
		user_of_claims("Authorization: Bearer ", "{\"realm\":{\"user\":{\"name\":\"deep\"}}}"), "deep");
	assert_string_equal(user_of_claims("Authorization: Bearer ", "{\"realm\":{\"user.name\":\"mixed\"}}"), "mixed");
}

static void test_basic_vectors(void **state)
{
	(void)state;
	assert_string_equal(user_of_basic("Basic", "user:pass"), "user");
	assert_string_equal(user_of_basic("Basic", "u:p:q"), "u");
	assert_string_equal(user_of_basic("Basic", ":pass"), NONE);
	assert_string_equal(user_of_basic("Basic", "user"), NONE);
	assert_string_equal(user_of_basic("Basic", "user:"), "user");
	assert_string_equal(user_of_basic("basic", "user:pass"), "user");
	assert_null(strstr(out.json, "\"user_id\":\"user:"));
	/* A Latin-1 name becomes the same name in UTF-8. */
	assert_string_equal(user_of_basic("Basic", "J\xf6rg:x"), "J\xc3\xb6rg");
}

static void test_wrong_tokens_name_nobody(void **state)
{
	static const char *const bad[] = {"Authorization: Bearer opaque", "Authorization: Bearer",
		"Authorization: Bearer ", "Authorization: Bearer a.b.c", "Authorization: Bearer ..",
		"Authorization: Bearer .e30.", "Authorization: Bearer eyJhbGciOiJSU0EifQ.eyJzdWIiOiJ4In0.a.b.c",
		"Authorization: Basic", "Authorization: Basic !!!!",
		"Authorization: Basic dXNlcjpwYXNz=", "Authorization: Digest username=\"a\"",
		"Authorization: Bearer x.eyJzdWIiOiJ4In.y", "Authorization: Bearer x.eyJzdWIi OiJ4In0.y",
		"Authorization: Negotiate abcd", "Authorization: ", "Authorization: Bearer x.WyJzdWIiXQ.y"};

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		assert_string_equal(user_of_header(bad[i]), NONE);
		assert_int_equal(out.events, 1);
	}
	/* A JWT cut anywhere: the user or nobody, never a piece of it. */
	for (size_t n = 0; n < 60; n++) {
		char line[128];
		const char *u;

		snprintf(line, sizeof(line), "Authorization: Bearer eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhbGljZSJ9.c2ln");
		line[22 + n < strlen(line) ? 22 + n : strlen(line)] = 0;
		u = user_of_header(line);
		assert_true(strcmp(u, NONE) == 0 || strcmp(u, "alice") == 0);
	}
}

static void test_several_auth_headers(void **state)
{
	(void)state;
	set_text(&opt.authorization_header_name, "X-Token, authorization ,, x-other");
	apply();
	call_with("X-Token: opaque\nAuthorization: Basic dXNlcjpwYXNz\n",
		"X-Token: opaque\nAuthorization: Basic dXNlcjpwYXNz\n", 200);
	assert_string_equal(user(), "user");
	/* Hidden from the service (hide_credentials): the client leg still has it. */
	call_with("Authorization: Basic dXNlcjpwYXNz\n", "", 200);
	assert_string_equal(user(), "user");
}

static void test_order(void **state)
{
	const char *client = "X-User: hdr\nAuthorization: Basic dXNlcjpwYXNz\n";
	const char *up =
		"X-User: hdr\nAuthorization: Basic dXNlcjpwYXNz\nX-Consumer-ID: cid\nX-Consumer-Custom-ID: cust\n"
		"X-Consumer-Username: name\n";

	(void)state;
	call_with(client, up, 200);
	assert_string_equal(user(), "cust");
	set_text(&opt.user_id_header, "x-user");
	apply();
	call_with(client, up, 200);
	assert_string_equal(user(), "hdr");
	assert_string_equal(txn_str(&out, "metadata.kong.user_from"), "request_header");
	call_with("", "X-Consumer-ID: cid\nX-Consumer-Username: name\n", 200);
	assert_string_equal(user(), "name");
	call_with("", "X-Consumer-ID: cid\n", 200);
	assert_string_equal(user(), "cid");
	call_with("Authorization: Basic dXNlcjpwYXNz\n", "Authorization: Basic dXNlcjpwYXNz\n", 200);
	assert_string_equal(user(), "user");
	assert_string_equal(txn_str(&out, "metadata.kong.user_from"), "token");
	/* The response's header stands before the consumer: the documentation's order. */
	run((struct txn_spec){.creq = "GET / HTTP/1.1\nHost: a\n\n",
		.cresp = "HTTP/1.1 200 OK\nX-User: from-response\n\n",
		.ureq = "GET / HTTP/1.1\n" UP KONG_ALICE "\n",
		.uresp = OK_UP});
	assert_string_equal(user(), "from-response");
	assert_string_equal(txn_str(&out, "metadata.kong.user_from"), "response_header");
	/* Empty, or repeated with different values: nobody; the next in order is asked. */
	call_with("X-User: \n", "X-User: \n" KONG_ALICE, 200);
	assert_string_equal(user(), "alice");
	call_with("X-User: a\nX-User: b\n", "X-User: a\nX-User: b\n" KONG_ALICE, 200);
	assert_string_equal(user(), "alice");
	call_with("X-User: a\nX-User: a\n", "X-User: a\nX-User: a\n", 200);
	assert_string_equal(user(), "a");
	/* Another plugin of Kong's sets it: then the event shows it too. */
	call_with("", "X-User: by-kong\n", 200);
	assert_string_equal(user(), "by-kong");
	assert_string_equal(txn_str(&out, "request.headers.x-user"), "by-kong");
	/* A plugin took it away on the way up: it was not seen by any plugin behind it. */
	call_with("X-User: claim\n", "", 200);
	assert_string_equal(user(), NONE);
}

/* What is too long to be a name is none, wherever it stands: the next in order is asked. */
static void test_too_long(void **state)
{
	enum { MOST = 2048 };
	char name[MOST + 2], client[MOST + 64], up[MOST + 512], claims[MOST + 64];

	(void)state;
	set_text(&opt.user_id_header, "X-User");
	apply();
	for (int n = MOST; n <= MOST + 1; n++) {
		memset(name, 'n', sizeof(name));
		name[n] = 0;
		snprintf(client, sizeof(client), "X-User: %s\n", name);
		snprintf(up, sizeof(up), "X-User: %s\n" KONG_ALICE, name);
		call_with(client, up, 200);
		assert_string_equal(user(), n == MOST ? name : "alice");
		snprintf(up, sizeof(up), "X-Consumer-ID: id-x\nX-Consumer-Username: %s\n", name);
		call_with("", up, 200);
		assert_string_equal(user(), n == MOST ? name : "id-x");
		snprintf(claims, sizeof(claims), "{\"sub\":\"%s\"}", name);
		assert_string_equal(user_of_claims("Authorization: Bearer ", claims), n == MOST ? name : NONE);
	}
}

static void test_company(void **state)
{
	char *claims = b64url("{\"sub\":\"u\",\"org\":\"acme\",\"deep\":{\"org\":\"deep-acme\"}}"), *line = NULL;

	(void)state;
	assert_true(asprintf(&line, "Authorization: Bearer e30.%s.s\nX-Company: hdr\n", claims) > 0);
	call_with(line, line, 200);
	assert_string_equal(company(), NONE);
	set_text(&opt.authorization_company_id_field, "org");
	apply();
	call_with(line, line, 200);
	assert_string_equal(company(), "acme");
	/* Also where the user is a consumer. */
	run((struct txn_spec){.creq = "GET / HTTP/1.1\nHost: a\nAuthorization: Bearer e30.eyJvcmciOiJhY21lIn0.s\n\n",
		.cresp = OK_DOWN,
		.ureq = "GET / HTTP/1.1\n" UP "Authorization: Bearer e30.eyJvcmciOiJhY21lIn0.s\n" KONG_ALICE "\n",
		.uresp = OK_UP});
	assert_string_equal(user(), "alice");
	assert_string_equal(company(), "acme");
	set_text(&opt.authorization_company_id_field, "deep.org");
	apply();
	call_with(line, line, 200);
	assert_string_equal(company(), "deep-acme");
	set_text(&opt.company_id_header, "X-Company");
	apply();
	call_with(line, line, 200);
	assert_string_equal(company(), "hdr");
	run((struct txn_spec){.creq = "GET / HTTP/1.1\nHost: a\n\n", .cresp = "HTTP/1.1 200 OK\nX-Company: r\n\n"});
	assert_string_equal(company(), "r");
	free(line);
	free(claims);
}

/* Every way a client may try to be somebody else by naming itself. */
static void test_spoofed_consumers(void **state)
{
	(void)state;
	/* No auth plugin on the route: the claim arrives as it was sent. */
	call_with("X-Consumer-Custom-ID: victim\n", "X-Consumer-Custom-ID: victim\n", 200);
	assert_string_equal(user(), NONE);
	call_with("X-Consumer-ID: v\nX-Consumer-Username: v\nX-Credential-Identifier: v\n",
		"X-Consumer-ID: v\nX-Consumer-Username: v\nX-Credential-Identifier: v\n", 200);
	assert_string_equal(user(), NONE);
	assert_string_equal(session(), NONE);
	/* No upstream leg at all. */
	call_with("X-Consumer-Username: victim\n", NULL, 404);
	assert_string_equal(user(), NONE);
	/* Auth ran and replaced the claim. */
	call_with("X-Consumer-ID: v\nX-Consumer-Username: victim\n", KONG_ALICE, 200);
	assert_string_equal(user(), "alice");
	assert_string_equal(txn_str(&out, "request.headers.x-consumer-username"), "alice");
	/* Auth ran, cleared what this consumer lacks: nothing of the claim is left, not even in the headers. */
	call_with("X-Consumer-Custom-ID: victim\n", KONG_ALICE, 200);
	assert_string_equal(user(), "alice");
	assert_string_equal(txn_str(&out, "request.headers.x-consumer-custom-id"), NONE);
	/* Auth ran, and the claim happens to be the truth: the credential's identifier proves it. */
	call_with("X-Consumer-Username: alice\n", KONG_ALICE, 200);
	assert_string_equal(user(), "alice");
	/* One claim among several of its name. */
	call_with("X-Consumer-Username: a\nX-Consumer-Username: victim\n",
		"X-Consumer-Username: a\nX-Consumer-Username: victim\n", 200);
	assert_string_equal(user(), NONE);
	/* A plugin joined the client's two claims into one: no proof of anything. */
	call_with("X-Consumer-ID: a\nX-Consumer-ID: b\nX-Consumer-Username: victim\n",
		"X-Consumer-ID: a, b\nX-Consumer-Username: victim\n", 200);
	assert_string_equal(user(), NONE);
	/* A plugin took one claim away: that is not auth either. */
	call_with("X-Consumer-ID: a\nX-Consumer-Username: victim\n", "X-Consumer-Username: victim\n", 200);
	assert_string_equal(user(), NONE);
	/* White space around it makes no other value of it. */
	call_with("X-Consumer-Username:  \tvictim \n", "X-Consumer-Username: victim\n", 200);
	assert_string_equal(user(), NONE);
	call_with("X-Consumer-ID: ID\nX-Consumer-Username: victim\n",
		"X-Consumer-ID: id\nX-Consumer-Username: victim\n", 200);
	assert_string_equal(user(), NONE);
	/* oauth2's user: no other plugin clears it. */
	set_text(&opt.user_id_header, "X-Authenticated-UserId");
	apply();
	call_with("X-Authenticated-UserId: victim\n", "X-Authenticated-UserId: victim\n" KONG_ALICE, 200);
	assert_string_equal(user(), "alice");
	/* What a plugin of Kong's wrote over a header is what a plugin sees, and the event shows. */
	call_with("X-Consumer-Groups: admin\nX-Authenticated-Scope: all\n",
		"X-Consumer-Groups: users\nX-Authenticated-Scope: all\n" KONG_ALICE, 200);
	assert_string_equal(txn_str(&out, "request.headers.x-consumer-groups"), "users");
	assert_string_equal(txn_str(&out, "request.headers.x-authenticated-scope"), "all");
	call_with("", "X-Authenticated-UserId: oauth-user\n" KONG_ALICE, 200);
	assert_string_equal(user(), "oauth-user");
	/* The documentation's example of user_id_header is a header of Kong's. */
	set_text(&opt.user_id_header, "X-Consumer-Custom-Id");
	apply();
	call_with("X-Consumer-Custom-ID: victim\n", "X-Consumer-Custom-ID: victim\n", 200);
	assert_string_equal(user(), NONE);
}

static void test_unsure_what_the_client_sent(void **state)
{
	struct txn_spec s = {.creq = "GET / HTTP/2\n:authority: a\n\n",
		.cresp = OK_DOWN,
		.ureq = "GET / HTTP/1.1\n" UP KONG_ALICE "\n",
		.uresp = OK_UP,
		.h2 = true};
	struct transaction *t = txn_build(&s);

	(void)state;
	/* Part of the header section could not be decoded: the claim may have stood there. */
	t->client->req.head_partial = true;
	moesif__on_transaction(m, t);
	assert_string_equal(user(), NONE);
	t = txn_build(&s);
	t->client->req.headers.overflow = true;
	moesif__on_transaction(m, t);
	assert_string_equal(user(), NONE);
	/* Several calls fitted: nothing was taken from any; should a leg be there all the same, it is not looked at. */
	t = txn_build(&s);
	t->how = JOIN_AMBIGUOUS;
	moesif__on_transaction(m, t);
	assert_string_equal(user(), NONE);
	run(s);
	assert_string_equal(user(), "alice");
}

static void test_trust(void **state)
{
	(void)state;
	opt.trust_client_consumer_headers = true;
	apply();
	call_with("X-Consumer-Custom-ID: claimed\n", "X-Consumer-Custom-ID: claimed\n", 200);
	assert_string_equal(user(), "claimed");
	call_with("X-Consumer-Username: claimed\n", NULL, 404);
	assert_string_equal(user(), "claimed");
	/* What was only believed is not learnt. */
	call_with("apikey: k\nX-Consumer-Username: claimed\n", "apikey: k\nX-Consumer-Username: claimed\n", 200);
	opt.trust_client_consumer_headers = false;
	apply();
	call_with("apikey: k\n", NULL, 429);
	assert_string_equal(user(), NONE);
}

static void test_anonymous(void **state)
{
	const char *up = "X-Consumer-ID: anon-id\nX-Consumer-Username: anon\nX-Anonymous-Consumer: true\n";

	(void)state;
	call_with("apikey: k\n", up, 200);
	assert_string_equal(user(), "anon");
	assert_string_equal(session(), NONE);
	opt.ignore_anonymous_consumer = true;
	apply();
	call_with("apikey: k\n", up, 200);
	assert_string_equal(user(), NONE);
}

static void test_refused_names_nobody(void **state)
{
	static const int statuses[] = {400, 401, 403, 404, 407};

	(void)state;
	/* Kong refused the credential: its claims are worth nothing. The service behind may judge as it likes. */
	for (size_t i = 0; i < sizeof(statuses) / sizeof(statuses[0]); i++) {
		call_with("Authorization: Basic dXNlcjpwYXNz\n", NULL, statuses[i]);
		assert_string_equal(user(), NONE);
	}
	call_with("Authorization: Basic dXNlcjpwYXNz\n", NULL, 429);
	assert_string_equal(user(), "user");
	call_with("Authorization: Basic dXNlcjpwYXNz\n", "Authorization: Basic dXNlcjpwYXNz\n", 401);
	assert_string_equal(user(), "user");
}

static void test_an_unseen_leg_names_nobody_by_token(void **state)
{
	static const enum join_how unheard[] = {JOIN_MISSING, JOIN_AMBIGUOUS};

	(void)state;
	/* Kong may have said "alice" upstream where the token says "user": that leg was not seen. */
	for (size_t i = 0; i < 2; i++) {
		struct txn_spec spec = {.creq = "GET /a HTTP/1.1\nHost: h\nAuthorization: Basic dXNlcjpwYXNz\n\n",
			.cresp = "HTTP/1.1 200 OK\nX-Kong-Upstream-Latency: 1\n\n",
			.how = unheard[i]};

		run(spec);
		assert_string_equal(user(), NONE);
	}
	/* Without the response's head nobody knows whether there was such a leg, nor whether Kong took the credential.
	 */
	run((struct txn_spec){.creq = "GET /a HTTP/1.1\nHost: h\nAuthorization: Basic dXNlcjpwYXNz\n\n"});
	assert_string_equal(user(), NONE);
}

static void test_a_response_with_holes_names_nobody_by_token(void **state)
{
	struct transaction *t;

	(void)state;
	t = txn_build(
		&(struct txn_spec){.creq = "GET /a HTTP/1.1\n:authority: h\nAuthorization: Basic dXNlcjpwYXNz\n\n",
			.cresp = "HTTP/1.1 200 OK\n\n",
			.h2 = true});
	/* X-Kong-Upstream-Latency may be the field that is not known. */
	t->client->resp.head_partial = true;
	moesif__on_transaction(m, t);
	assert_string_equal(user(), NONE);
}

/* A key that many share is no credential of one: beside it stands what Kong really went by. */
static void test_learnt_by_all_that_was_shown(void **state)
{
	static const char *const beside[] = {"Cookie: session=", "X-My-Token: ", "ocp-apim-subscription-KEY: ",
		"x_session_id: ", "X-Secret: ", "X-Auth-User: "};
	static const char *const no_matter[] = {
		"Idempotency-Key: ", "Sec-WebSocket-Key: ", "X-Request-Id: ", "X-Monkeys: "};
	char a[128], b[128], up[512];

	(void)state;
	for (size_t i = 0; i < sizeof(beside) / sizeof(beside[0]); i++) {
		snprintf(a, sizeof(a), "X-API-Key: shared-%zu\n%salice\n", i, beside[i]);
		snprintf(b, sizeof(b), "X-API-Key: shared-%zu\n%sbob\n", i, beside[i]);
		snprintf(up, sizeof(up), "%s" KONG_ALICE, a);
		call_with(a, up, 200);
		call_with(b, NULL, 429);
		assert_string_equal(user(), NONE);
		call_with(a, NULL, 429);
		assert_string_equal(user(), "alice");
	}
	for (size_t i = 0; i < sizeof(no_matter) / sizeof(no_matter[0]); i++) {
		snprintf(a, sizeof(a), "X-API-Key: own-%zu\n%sone\n", i, no_matter[i]);
		snprintf(b, sizeof(b), "X-API-Key: own-%zu\n%stwo\n", i, no_matter[i]);
		snprintf(up, sizeof(up), "%s" KONG_ALICE, a);
		call_with(a, up, 200);
		call_with(b, NULL, 429);
		assert_string_equal(user(), "alice");
	}
	/* They name nobody by themselves. */
	call_with("Cookie: session=alice\n", "Cookie: session=alice\n" KONG_ALICE, 200);
	call_with("Cookie: session=alice\n", NULL, 429);
	assert_string_equal(user(), NONE);
}

static void test_learnt(void **state)
{
	(void)state;
	call_with("apikey: k-alice\n", "apikey: k-alice\n" KONG_ALICE, 200);
	assert_string_equal(user(), "alice");
	call_with("apikey: k-alice\n", NULL, 429);
	assert_string_equal(user(), "alice");
	assert_string_equal(session(), "k-alice");
	assert_string_equal(txn_str(&out, "metadata.kong.user_from"), "learnt");
	/* Another key, no key, the key beside another credential: nobody. */
	call_with("apikey: k-bob\n", NULL, 429);
	assert_string_equal(user(), NONE);
	call_with("", NULL, 429);
	assert_string_equal(user(), NONE);
	call_with("apikey: k-alice\nAuthorization: opaque\n", NULL, 429);
	assert_string_equal(user(), NONE);
	call_with("apikey: k-alice\n", NULL, 401);
	assert_string_equal(user(), NONE);
	/* Refused once: not believed again. */
	call_with("apikey: k-alice\n", NULL, 429);
	assert_string_equal(user(), NONE);
	/* A refusal of the service's, on a leg that was not seen, is not Kong's. */
	call_with("apikey: k-carol\n", "apikey: k-carol\n" KONG_ALICE, 200);
	run((struct txn_spec){.creq = "GET / HTTP/1.1\nHost: a\napikey: k-carol\n\n",
		.cresp = "HTTP/1.1 401 X\nX-Kong-Upstream-Latency: 1\n\n",
		.how = JOIN_MISSING});
	assert_string_equal(user(), "alice");
	call_with("apikey: k-carol\n", NULL, 429);
	assert_string_equal(user(), "alice");
	/* One key, two consumers. */
	call_with("apikey: shared\n", "apikey: shared\n" KONG_ALICE, 200);
	call_with("apikey: shared\n", "apikey: shared\n" KONG_BOB, 200);
	assert_string_equal(user(), "bob");
	call_with("apikey: shared\n", NULL, 429);
	assert_string_equal(user(), NONE);
	call_with("apikey: shared\n", "apikey: shared\n" KONG_ALICE, 200);
	call_with("apikey: shared\n", NULL, 429);
	assert_string_equal(user(), NONE);
	/* The wire shows another consumer than the one learnt: the wire is right. */
	call_with("Authorization: t\n", "Authorization: t\n" KONG_BOB, 200);
	call_with("Authorization: t\n", "Authorization: t\n", 200);
	assert_string_equal(user(), NONE);
	opt.learn_consumers = false;
	apply();
	call_with("Authorization: t\n", NULL, 429);
	assert_string_equal(user(), NONE);
}

static void test_learnt_elsewhere(void **state)
{
	struct txn_spec s = {.creq = "GET /?apikey=k HTTP/1.1\nHost: a\n\n",
		.cresp = OK_DOWN,
		.ureq = "GET / HTTP/1.1\n" UP KONG_ALICE "\n",
		.uresp = OK_UP};
	struct transaction *t;

	(void)state;
	run(s);
	assert_string_equal(session(), "k");
	s.ureq = s.uresp = NULL;
	s.cresp = "HTTP/1.1 429 X\n\n";
	run(s);
	assert_string_equal(user(), "alice");
	/* The same key at another host, and at another gateway on this machine. */
	s.creq = "GET /?apikey=k HTTP/1.1\nHost: b\n\n";
	run(s);
	assert_string_equal(user(), NONE);
	s.creq = "GET /?apikey=k HTTP/1.1\nHost: a\n\n";
	t = txn_build(&s);
	t->worker = &(struct rec_worker){.node_pid = 4711};
	moesif__on_transaction(m, t);
	assert_string_equal(user(), NONE);
	/* Aged. */
	s.t_ns = 1000000000 + 3601ULL * 1000000000;
	s.wall_ns = TXN_WALL_NS;
	run(s);
	assert_string_equal(user(), NONE);
}

static void test_session_token(void **state)
{
	char *claims = b64url("{\"iss\":\"alice-iss\",\"sub\":\"s\"}"), *line = NULL, *up = NULL;

	(void)state;
	/* key-auth: the key. A key that no auth plugin looked at is none. */
	call_with("apikey: raw-key\n", "apikey: raw-key\n" KONG_ALICE, 200);
	assert_string_equal(session(), "raw-key");
	call_with("apikey: raw-key\n", "apikey: raw-key\n", 200);
	assert_string_equal(session(), NONE);
	call_with("apikey: wrong-key\n", NULL, 401);
	assert_string_equal(session(), NONE);
	/* jwt: its key; also beside an API key that nobody asked for. */
	assert_true(asprintf(&line, "Authorization: Bearer e30.%s.s\napikey: other\n", claims) > 0);
	assert_true(
		asprintf(&up, "%sX-Consumer-ID: i\nX-Consumer-Username: alice\nX-Credential-Identifier: alice-iss\n",
			line) > 0);
	call_with(line, up, 200);
	assert_string_equal(session(), "alice-iss");
	/* Before Kong 2.1 there is no such header: the token says it. */
	free(line);
	assert_true(asprintf(&line, "Authorization: Bearer e30.%s.s\n", claims) > 0);
	free(up);
	assert_true(asprintf(&up, "%sX-Consumer-ID: i\nX-Consumer-Username: alice\n", line) > 0);
	call_with(line, up, 200);
	assert_string_equal(session(), "alice-iss");
	opt.hash_session_token = true;
	apply();
	call_with("apikey: raw-key\n", "apikey: raw-key\n" KONG_ALICE, 200);
	assert_int_equal(strlen(session()), 32);
	assert_null(strstr(session(), "raw"));
	free(claims);
	free(line);
	free(up);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		kit_test(test_token_vectors),
		kit_test(test_claim_names),
		kit_test(test_basic_vectors),
		kit_test(test_wrong_tokens_name_nobody),
		kit_test(test_several_auth_headers),
		kit_test(test_order),
		kit_test(test_too_long),
		kit_test(test_company),
		kit_test(test_spoofed_consumers),
		kit_test(test_unsure_what_the_client_sent),
		kit_test(test_trust),
		kit_test(test_anonymous),
		kit_test(test_refused_names_nobody),
		kit_test(test_an_unseen_leg_names_nobody_by_token),
		kit_test(test_a_response_with_holes_names_nobody_by_token),
		kit_test(test_learnt_by_all_that_was_shown),
		kit_test(test_learnt),
		kit_test(test_learnt_elsewhere),
		kit_test(test_session_token),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
