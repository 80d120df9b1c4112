#include "ops/routes.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/clock.h"
#include "capture/record.h"
#include "ops/metrics.h"
#include "ops/page.h"
#include "ops/status.h"

/* The loop comes round a hundred times a second; one that has not done so for this long hangs. */
#define QUIET_MAX_NS 10000000000ull
#define ANSWERS_PER_S 200

_Static_assert(sizeof(((struct routes *)0)->policy) == PAGE_POLICY_LEN, "room for the policy");

static void text(struct httpd_answer *a, unsigned status, const char *s)
{
	a->status = status;
	a->type = "text/plain; charset=utf-8";
	buf__clear(&a->body);
	buf__append_str(&a->body, s);
}

static void get_page(
	const struct routes *r, const struct ops_view *v, const struct httpd_request *req, struct httpd_answer *a)
{
	(void)v;
	(void)req;
	a->status = buf__append_span(&a->body, page_text()) ? 500 : 200;
	a->type = "text/html; charset=utf-8";
	a->policy = r->policy;
}

static void get_status(
	const struct routes *r, const struct ops_view *v, const struct httpd_request *req, struct httpd_answer *a)
{
	(void)r;
	(void)req;
	a->status = 200;
	a->type = "application/json";
	if (status_render(&a->body, v))
		text(a, 500, "no memory\n");
}

static void get_metrics(
	const struct routes *r, const struct ops_view *v, const struct httpd_request *req, struct httpd_answer *a)
{
	bool open = metrics_wants_open(req->accept);

	(void)r;
	a->status = 200;
	a->type = metrics_type(open);
	if (metrics_render(&a->body, v, open))
		text(a, 500, "no memory\n");
}

static void get_health(
	const struct routes *r, const struct ops_view *v, const struct httpd_request *req, struct httpd_answer *a)
{
	char why[96];

	(void)r;
	(void)req;
	snprintf(why, sizeof(why), "the loop that captures has not come round for %.1f s\n", (double)v->quiet_ns / 1e9);
	if (v->quiet_ns > QUIET_MAX_NS)
		text(a, 503, why);
	else
		text(a, 200, "ok\n");
}

static void get_ready(
	const struct routes *r, const struct ops_view *v, const struct httpd_request *req, struct httpd_answer *a)
{
	char line[sizeof(v->not_ready) + 32];

	(void)r;
	(void)req;
	/* A host on which no Kong runs is ready for one, and whoever waits for Kong's workers wants to know. */
	if (v->ready)
		snprintf(line, sizeof(line), "ready, watching %" PRIu64 " worker%s\n", (uint64_t)v->snap.gauges.workers,
			v->snap.gauges.workers == 1 ? "" : "s");
	else
		snprintf(line, sizeof(line), "not ready: %s\n", v->not_ready);
	text(a, v->ready ? 200 : 503, line);
}

static const struct route {
	struct span path;
	bool health;  /* a supervisor asks, and ends the agent if it gets no answer: cheap, and always answered */
	bool guarded; /* for people, and with what they may see only: not for another site's scripts */
	void (*fn)(const struct routes *r, const struct ops_view *v, const struct httpd_request *req,
		struct httpd_answer *a);
} table[] = {
	{SPAN_LIT("/"), false, true, get_page},
	{SPAN_LIT("/status.json"), false, true, get_status},
	{SPAN_LIT("/metrics"), false, false, get_metrics},
	{SPAN_LIT("/healthz"), true, false, get_health},
	{SPAN_LIT("/readyz"), true, false, get_ready},
};

static bool is_address(struct span host)
{
	struct endpoint e;
	char text_with_port[96];

	if (!endpoint_parse(host, &e))
		return e.family == ADDR_IP4 || e.family == ADDR_IP6;
	if (host.n >= sizeof(text_with_port) - 4)
		return false;
	snprintf(text_with_port, sizeof(text_with_port), "%.*s:80", (int)host.n, host.p);
	return !endpoint_parse(span_str(text_with_port), &e) && (e.family == ADDR_IP4 || e.family == ADDR_IP6);
}

/* A page of another site can make its own name lead to this machine (DNS rebinding), and its script could then read
 * what is here; but it cannot help sending that name. Names that only this machine has, and addresses, are safe. */
static bool is_trusted(const struct routes *r, struct span host)
{
	const char *colon = host.n ? memchr(host.p, ':', host.n) : NULL;
	struct span name = colon ? span_of(host.p, (size_t)(colon - host.p)) : host;

	return !host.n || is_address(host) || span_ieq(name, SPAN_LIT("localhost")) ||
	       (r->host[0] && span_ieq(name, span_str(r->host)));
}

/* Keeps a flood of requests from taking the CPU that capture needs. */
static bool over_rate(struct routes *r)
{
	uint64_t now = clock_mono_ns();

	if (now - r->second_ns >= 1000000000ull) {
		r->second_ns = now;
		r->answers = 0;
	}
	return ++r->answers > ANSWERS_PER_S;
}

int routes__init(struct routes *r)
{
	if (gethostname(r->host, sizeof(r->host)))
		r->host[0] = '\0';
	r->host[sizeof(r->host) - 1] = '\0';
	return page_policy(r->policy);
}

void routes__answer(void *ctx, const struct httpd_request *req, struct httpd_answer *ret)
{
	struct routes *r = ctx;
	const struct route *route = NULL;
	struct ops_view *v;

	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]) && !route; i++)
		if (span_eq(req->path, table[i].path))
			route = &table[i];
	if (!route) {
		text(ret, 404, "there are /, /status.json, /metrics, /healthz and /readyz\n");
		return;
	}
	if (route->guarded && !is_trusted(r, req->host)) {
		text(ret, 421, "ask for this by an address, as localhost, or by the name of this machine\n");
		return;
	}
	if (!route->health && over_rate(r)) {
		text(ret, 429, "too many requests: come back in a second\n");
		return;
	}
	v = calloc(1, sizeof(*v));
	if (!v) {
		text(ret, 503, "no memory\n");
		return;
	}
	r->look(r->ctx, !route->health, v);
	route->fn(r, v, req, ret);
	free(v);
}
