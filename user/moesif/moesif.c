#include "moesif/moesif.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>

#include "base/clock.h"
#include "base/stats.h"
#include "moesif/json_scan.h"
#include "moesif/plugin_watch.h"
#include "moesif/regex.h"
#include "moesif/remote.h"
#include "moesif/render.h"
#include "moesif/sample.h"
#include "moesif/where.h"

#define URI_MAX (1 << 20)

struct moesif {
	struct settings settings;
	struct event_sink sink;
	struct identifier *identifier;
	struct remote *remote;
	struct digest *digest;
	struct body_maker *request_body, *response_body;
	struct header_view request_view, response_view;
	struct buf uri, json;
	struct buf query, operation; /* of GraphQL, without JSON's escapes */
	uint64_t seed;
	struct plugin_watch plugin;
};

/* What is worked out for one transaction, step by step. */
struct work {
	struct moesif *m;
	struct call call;
	struct identity who;
	struct body req_body, resp_body;
	bool have_req_body;
	struct uri_layout layout;
	struct span ip, request_id;
	char ip_text[ENDPOINT_TEXT_LEN];
	char status_text[8];
	char id[TXN_ID_LEN + 1];
	uint32_t weight;
};

static uint64_t seed_of(const struct moesif_options *o)
{
	uint64_t seed = o->seed;

	if (!seed && getrandom(&seed, sizeof(seed), 0) != (ssize_t)sizeof(seed))
		seed = clock_wall_ns();
	return seed;
}

static void set_limits(struct moesif *m, const struct moesif_options *o)
{
	body_maker__set_limit(m->request_body, o->decoded_body_limit);
	body_maker__set_limit(m->response_body, o->decoded_body_limit);
	buf__free(&m->json);
	buf__init(&m->json, o->event_limit);
}

struct moesif *moesif__new(const struct moesif_options *o, struct event_sink sink)
{
	struct moesif *m = calloc(1, sizeof(*m));
	int err;

	if (!m)
		return NULL;
	m->sink = sink;
	m->seed = seed_of(o);
	buf__init(&m->uri, URI_MAX);
	buf__init(&m->query, REGEX_SUBJECT_MAX);
	buf__init(&m->operation, REGEX_SUBJECT_MAX);
	err = settings__init(&m->settings, o);
	if (err == 0) {
		m->identifier = identifier__new(&m->settings);
		m->remote = remote__parse((struct span){NULL, 0});
		m->digest = digest__new();
		m->request_body = body_maker__new(o->decoded_body_limit);
		m->response_body = body_maker__new(o->decoded_body_limit);
		if (!m->identifier || !m->remote || !m->digest || !m->request_body || !m->response_body)
			err = -ENOMEM;
	}
	if (err < 0) {
		moesif__free(m);
		errno = -err;
		return NULL;
	}
	set_limits(m, o);
	return m;
}

int moesif__set_options(struct moesif *m, const struct moesif_options *o)
{
	struct settings fresh;
	int r = settings__init(&fresh, o);

	if (r < 0)
		return r;
	settings__free(&m->settings);
	m->settings = fresh;
	identifier__set(m->identifier, &m->settings);
	set_limits(m, o);
	return 0;
}

void moesif__move_options(struct moesif *m, const struct moesif_options *o)
{
	m->settings.o = o;
}

int moesif__set_remote(struct moesif *m, struct span json)
{
	struct remote *r = remote__parse(json.n ? json : SPAN_LIT(" "));

	if (!r)
		return -errno;
	remote__free(m->remote);
	m->remote = r;
	return 0;
}

void moesif__on_begun(struct moesif *m, const struct exchange *x)
{
	plugin_watch__on_begun(&m->plugin, x);
}

void moesif__free(struct moesif *m)
{
	if (!m)
		return;
	identifier__free(m->identifier);
	remote__free(m->remote);
	digest__free(m->digest);
	body_maker__free(m->request_body);
	body_maker__free(m->response_body);
	header_view__free(&m->request_view);
	header_view__free(&m->response_view);
	buf__free(&m->uri);
	buf__free(&m->json);
	buf__free(&m->query);
	buf__free(&m->operation);
	settings__free(&m->settings);
	free(m);
}

static void make_req_body(struct work *w)
{
	const struct settings *s = &w->m->settings;
	const struct body_rules rules = {
		.capture = !s->o->disable_capture_request_body,
		.decode = !s->o->disable_gzip_payload_decompression,
		.limit = s->o->request_max_body_size_limit,
		.masks = &s->request_body,
	};

	if (w->have_req_body)
		return;
	w->have_req_body = true;
	/* Of a request that was not seen, what the client leg still shows of its body is no whole one. */
	if (w->call.rebuilt)
		w->req_body = (struct body){.omitted = "incomplete", .truncated = true};
	else
		body_maker__make(w->m->request_body, w->call.req, &w->call.creq, &rules, &w->req_body);
}

static void make_resp_body(struct work *w)
{
	const struct settings *s = &w->m->settings;
	const struct body_rules rules = {
		.capture = !s->o->disable_capture_response_body,
		.decode = !s->o->disable_gzip_payload_decompression,
		.limit = s->o->response_max_body_size_limit,
		.masks = &s->response_body,
	};

	if (w->call.resp->head_done)
		body_maker__make(w->m->response_body, w->call.resp, &w->call.cresp, &rules, &w->resp_body);
}

/* What is longer than a pattern can look at matches none. */
static struct span graphql(struct work *w, struct span name, struct buf *plain)
{
	static const struct span none;
	struct json_value v;

	make_req_body(w);
	if (w->req_body.form != BODY_JSON || json_member(w->req_body.data, name, false, &v) <= 0 || v.kind != JT_STRING)
		return none;
	if (!v.escaped)
		return v.text;
	buf__clear(plain);
	return json_unescape(plain, v.text) == 0 ? buf_span(plain) : none;
}

static struct span fact(void *ctx, enum remote_path path)
{
	struct work *w = ctx;

	switch (path) {
	case PATH_VERB:
		return message__method(w->call.req);
	case PATH_ROUTE:
		return where_route(&w->call);
	case PATH_IP:
		return w->ip;
	case PATH_STATUS:
		if (w->call.status)
			snprintf(w->status_text, sizeof(w->status_text), "%d", w->call.status);
		return span_str(w->status_text);
	case PATH_GRAPHQL_QUERY:
		return graphql(w, SPAN_LIT("query"), &w->m->query);
	case PATH_GRAPHQL_OPERATION:
		return graphql(w, SPAN_LIT("operationName"), &w->m->operation);
	default:
		return (struct span){NULL, 0};
	}
}

/* The same call falls the same way whenever it is looked at: the dice are thrown by its id. */
static uint64_t dice(uint64_t seed, const char *id)
{
	uint64_t h = seed;

	for (; *id; id++) {
		h = (h ^ (unsigned char)*id) * 0x9e3779b97f4a7c15ULL;
		h ^= h >> 32;
	}
	h = (h ^ (h >> 30)) * 0xbf58476d1ce4e5b9ULL;
	h = (h ^ (h >> 27)) * 0x94d049bb133111ebULL;
	return h ^ (h >> 31);
}

static bool sampled(struct work *w)
{
	const struct remote_facts facts = {fact, w};
	int rate;

	rate = sample_rate(w->m->remote, w->m->settings.o->plugin_sampling_rule, w->who.user, w->who.company, &facts);
	w->weight = sample_weight(rate) * w->call.t->client->stands_for;
	return sample_keep(rate, dice(w->m->seed, w->id));
}

/* Over the collector's limit: without the larger body first, then without both. */
static int render(struct work *w, struct event_parts *p)
{
	static const struct body dropped = {.omitted = "event_limit", .truncated = true};
	const struct body **larger = &p->req_body, **other = &p->resp_body;
	int r;

	if (w->resp_body.data.n >= w->req_body.data.n) {
		larger = &p->resp_body;
		other = &p->req_body;
	}
	buf__clear(&w->m->json);
	r = render_event(p, &w->m->json);
	if (r == -ENOSPC && (*larger)->form != BODY_NONE) {
		*larger = &dropped;
		r = render_event(p, &w->m->json);
	}
	if (r == -ENOSPC && (*other)->form != BODY_NONE) {
		*other = &dropped;
		r = render_event(p, &w->m->json);
	}
	return r;
}

static void emit(struct work *w, const struct event_parts *p)
{
	const struct exchange *x = w->call.t->client;
	struct span uri = buf_span(&w->m->uri);
	struct event e = {
		.json = buf_span(&w->m->json),
		.wall_ns = (x->req.t_first_ns ? x->req.t_first_ns : w->call.req->t_first_ns) +
			   (uint64_t)w->call.t->wall_offset_ns,
		.total_ns = x->req.t_first_ns && x->t_end_ns > x->req.t_first_ns ? x->t_end_ns - x->req.t_first_ns : 0,
		.kong_ms = p->latency.proxy_ms >= 0 ? p->latency.proxy_ms : p->latency.response_ms,
		.upstream_ms = p->latency.upstream_ms,
		.request_bytes = x->req.body_len,
		.response_bytes = x->resp.body_len,
		.verb = message__method(w->call.req),
		.uri = uri,
		.path = span_of(uri.p + w->layout.from, w->layout.to - w->layout.from),
		.user = w->who.user,
		.company = w->who.company,
		.status = w->call.status,
		.weight = w->weight,
		.truncated = p->req_body->truncated || p->resp_body->truncated,
		.incomplete = w->call.rebuilt || strcmp(completeness_text(&x->req), "complete") != 0 ||
			      strcmp(completeness_text(&x->resp), "complete") != 0,
	};

	stats_inc(STAT_txn_events);
	w->m->sink.fn(w->m->sink.ctx, &e);
}

static int make_event(struct work *w)
{
	struct moesif *m = w->m;
	struct event_parts p = {
		.call = &w->call,
		.settings = &m->settings,
		.who = &w->who,
		.req_body = &w->req_body,
		.resp_body = &w->resp_body,
		.req_headers = &m->request_view,
		.resp_headers = &m->response_view,
		.ip = w->ip,
		.request_id = w->request_id,
		.transaction_id = w->id,
		.weight = w->weight,
	};
	int r = where_uri(&w->call, &m->settings, &m->uri, &w->layout);

	if (r == 0)
		r = header_view__request(&m->request_view, &w->call, &m->settings);
	if (r == 0)
		r = header_view__response(&m->response_view, &w->call, &m->settings);
	if (r < 0)
		return r;
	make_req_body(w);
	make_resp_body(w);
	p.uri = buf_span(&m->uri);
	kong_latency_of(&w->call, &p.latency);
	r = render(w, &p);
	if (r == 0)
		emit(w, &p);
	return r;
}

static void handle(struct moesif *m, const struct transaction *t)
{
	struct work w;
	int r;

	w.m = m;
	w.have_req_body = false;
	w.req_body = w.resp_body = (struct body){0};
	w.status_text[0] = 0;
	if (call__init(&w.call, t, m->settings.o->trust_client_consumer_headers) < 0) {
		stats_inc(STAT_txn_dropped_incomplete);
		return;
	}
	r = identifier__run(m->identifier, &w.call, &w.who);
	if (r == 0) {
		w.ip = where_ip(&w.call, w.ip_text);
		w.request_id = txn_kong_request_id(&w.call);
		if (txn_id_make(&w.call, w.request_id, m->settings.o->disable_transaction_id, m->digest, w.id) ==
			TXN_ID_PLUGIN)
			plugin_watch__on_id(&m->plugin);
		if (!sampled(&w)) {
			stats_inc(STAT_txn_sampled_out);
			return;
		}
		r = make_event(&w);
	}
	if (r == -ENOSPC)
		stats_inc(STAT_txn_dropped_too_large);
	else if (r < 0)
		stats_inc(STAT_txn_dropped_memory);
}

void moesif__on_transaction(struct moesif *m, struct transaction *t)
{
	handle(m, t);
	transaction__free(t);
}
