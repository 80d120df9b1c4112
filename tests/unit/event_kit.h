/* event_kit: a moesif stage with options that a test sets, and one-line ways to ask what became of a call. */
#ifndef EVENT_KIT_H
#define EVENT_KIT_H

#include "kt_cmocka.h"

#include "base/base64.h"
#include "base/stats.h"
#include "txn_build.h"

static struct moesif_options opt;
static struct txn_out out;
static struct moesif *m;

static inline int kit_setup(void **state)
{
	(void)state;
	stats_reset();
	moesif_options_default(&opt);
	opt.seed = 7;
	m = moesif__new(&opt, (struct event_sink){txn_on_event, &out});
	return m ? 0 : -1;
}

static inline int kit_teardown(void **state)
{
	(void)state;
	moesif__free(m);
	m = NULL;
	txn_out_clear(&out);
	moesif_options_free(&opt);
	return 0;
}

#define kit_test(f) cmocka_unit_test_setup_teardown(f, kit_setup, kit_teardown)

static inline void set_text(char **to, const char *text)
{
	free(*to);
	*to = text ? strdup(text) : NULL;
}

static inline void set_list(struct strlist *l, const char *a, const char *b)
{
	for (size_t i = 0; i < l->n; i++)
		free(l->v[i]);
	free(l->v);
	*l = (struct strlist){calloc(2, sizeof(char *)), 0};
	if (a)
		l->v[l->n++] = strdup(a);
	if (b)
		l->v[l->n++] = strdup(b);
}

static inline void apply(void)
{
	assert_int_equal(moesif__set_options(m, &opt), 0);
}

static inline void run(struct txn_spec s)
{
	out.events = 0;
	moesif__on_transaction(m, txn_build(&s));
}

/* What nginx adds to every proxied request. */
#define UP                                                                                                             \
	"Host: 10.0.0.9:9000\nConnection: keep-alive\nX-Forwarded-For: 127.0.0.1\nX-Forwarded-Proto: http\n"           \
	"X-Forwarded-Host: a\nX-Forwarded-Port: 8000\nX-Forwarded-Path: /\nX-Real-IP: 127.0.0.1\n"                     \
	"X-Kong-Request-Id: 9fabdb19737a890493680077d885ed7d\n"
#define OK_UP "HTTP/1.1 200 OK\n\n"
#define OK_DOWN "HTTP/1.1 200 OK\nX-Kong-Request-Id: 9fabdb19737a890493680077d885ed7d\n\n"

/* A call with these header lines on either leg (NULL upstream: Kong answers by itself with `status`). */
static inline void call_with(const char *client_lines, const char *up_lines, int status)
{
	char *creq = NULL, *ureq = NULL, *cresp = NULL;

	assert_true(asprintf(&creq, "GET / HTTP/1.1\nHost: a\n%s\n", client_lines ? client_lines : "") > 0);
	assert_true(asprintf(&cresp, "HTTP/1.1 %d X\nServer: kong/3.9.1\n\n", status) > 0);
	if (up_lines)
		assert_true(asprintf(&ureq, "GET / HTTP/1.1\n" UP "%s\n", up_lines) > 0);
	run((struct txn_spec){.creq = creq, .cresp = cresp, .ureq = ureq, .uresp = up_lines ? OK_UP : NULL});
	free(creq);
	free(ureq);
	free(cresp);
}

static inline const char *user(void)
{
	return txn_str(&out, "user_id");
}

static inline const char *company(void)
{
	return txn_str(&out, "company_id");
}

static inline const char *session(void)
{
	return txn_str(&out, "session_token");
}

/* base64url without padding. */
static inline char *b64url(const char *text)
{
	struct buf b;
	char *r;

	buf__init(&b, 1 << 20);
	assert_int_equal(base64_encode(&b, span_str(text)), 0);
	while (b.n && b.p[b.n - 1] == '=')
		b.n--;
	for (size_t i = 0; i < b.n; i++)
		b.p[i] = (char)(b.p[i] == '+' ? '-' : b.p[i] == '/' ? '_' : b.p[i]);
	r = strndup(b.p ? b.p : "", b.n);
	buf__free(&b);
	return r;
}

/* The user that "<scheme> <token of these claims>" names on a route without auth plugins. */
static inline const char *user_of_header(const char *header)
{
	char *line = NULL;

	assert_true(asprintf(&line, "%s\n", header) > 0);
	call_with(line, line, 200);
	free(line);
	return user();
}

static inline const char *user_of_claims(const char *prefix, const char *claims)
{
	char *c = b64url(claims), *line = NULL;
	const char *u;

	assert_true(asprintf(&line, "%seyJhbGciOiJub25lIn0.%s.sig", prefix, c) > 0);
	u = user_of_header(line);
	free(line);
	free(c);
	return u;
}

static inline const char *user_of_basic(const char *scheme, const char *plain)
{
	struct buf b;
	char *line = NULL;
	const char *u;

	buf__init(&b, 1 << 20);
	assert_int_equal(base64_encode(&b, span_str(plain)), 0);
	assert_true(asprintf(&line, "Authorization: %s %.*s", scheme, (int)b.n, b.p) > 0);
	u = user_of_header(line);
	free(line);
	buf__free(&b);
	return u;
}

#endif
