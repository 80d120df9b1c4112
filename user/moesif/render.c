#include "moesif/render.h"

#include "base/clock.h"

static uint64_t wall_ns(const struct transaction *t, uint64_t t_ns)
{
	return t_ns + (uint64_t)t->wall_offset_ns;
}

static void write_time(struct json_out *o, uint64_t ns)
{
	char text[CLOCK_ISO_LEN + 1];

	clock_iso(ns, text);
	json_put_string(o, span_of(text, CLOCK_ISO_LEN));
}

static void write_body(struct json_out *o, const struct body *b)
{
	if (b->form == BODY_JSON) {
		json_put_lit(o, ",\"transfer_encoding\":\"json\",\"body\":");
		json_put_verbatim(o, b->data, b->line_break);
	} else if (b->form == BODY_BASE64) {
		json_put_lit(o, ",\"transfer_encoding\":\"base64\",\"body\":");
		json_put_base64(o, b->data);
	}
}

static bool is_h2(const struct call *c)
{
	return c->t->client->conn.proto == PROTO_HTTP2;
}

static void write_request(struct json_out *o, const struct event_parts *p)
{
	const struct call *c = p->call;
	const struct moesif_options *opt = p->settings->o;

	json_put_lit(o, "{\"request\":{\"time\":");
	write_time(o, wall_ns(c->t, c->t->client->req.t_first_ns ? c->t->client->req.t_first_ns : c->req->t_first_ns));
	json_put_lit(o, ",\"uri\":");
	json_put_string(o, p->uri);
	json_put_lit(o, ",\"verb\":");
	json_put_string(o, message__method(c->req));
	json_put_lit(o, ",\"headers\":");
	header_view__write(p->req_headers, p->settings, is_h2(c), o);
	if (p->ip.n) {
		json_put_lit(o, ",\"ip_address\":");
		json_put_string(o, p->ip);
	}
	if (opt->api_version && *opt->api_version) {
		json_put_lit(o, ",\"api_version\":");
		json_put_string(o, span_str(opt->api_version));
	}
	write_body(o, p->req_body);
	json_put_lit(o, "}");
}

static void write_response(struct json_out *o, const struct event_parts *p)
{
	const struct call *c = p->call;
	const struct exchange *x = c->t->client;
	bool whole = c->resp->end == MSG_COMPLETE && c->resp->t_last_ns;

	/* Nothing is known of it: the collector takes an event without a response. */
	if (!c->status)
		return;
	json_put_lit(o, ",\"response\":{\"time\":");
	write_time(o, wall_ns(c->t, whole ? c->resp->t_last_ns : x->t_end_ns));
	json_put_lit(o, ",\"status\":");
	json_put_i64(o, c->status);
	json_put_lit(o, ",\"headers\":");
	header_view__write(p->resp_headers, p->settings, false, o);
	write_body(o, p->resp_body);
	json_put_lit(o, "}");
}

static void write_text(struct json_out *o, struct span key, struct span value)
{
	if (!value.n)
		return;
	json_put_lit(o, ",");
	json_put_string(o, key);
	json_put_lit(o, ":");
	json_put_string(o, value);
}

const char *completeness_text(const struct message *m)
{
	static const char *const text[] = {
		"missing", "open", "complete", "closed", "reset", "lost", "limit", "idle", "invalid"};

	if (m->end == MSG_COMPLETE && (m->head_partial || m->headers.overflow))
		return "headers_partial";
	return (size_t)m->end < sizeof(text) / sizeof(text[0]) ? text[m->end] : "missing";
}

static void write_completeness(struct json_out *o, struct span name, const struct message *m, const struct body *b)
{
	const struct {
		struct span suffix;
		struct span text;
	} facts[] = {
		{SPAN_LIT(""), span_str(completeness_text(m))},
		{SPAN_LIT("_body_omitted"), span_str(b->omitted)},
	};

	for (size_t i = 0; i < sizeof(facts) / sizeof(facts[0]); i++) {
		if (!facts[i].text.n)
			continue;
		json_put_lit(o, ",\"");
		json_put_raw(o, name);
		json_put_raw(o, facts[i].suffix);
		json_put_lit(o, "\":");
		json_put_string(o, facts[i].text);
	}
	if (!m->body_len_framed) {
		json_put_lit(o, ",\"");
		json_put_raw(o, name);
		json_put_lit(o, "_body_bytes\":");
		json_put_u64(o, m->body_len);
	}
	json_put_lit(o, ",\"");
	json_put_raw(o, name);
	if (b->truncated)
		json_put_lit(o, "_body_truncated\":true");
	else
		json_put_lit(o, "_body_truncated\":false");
}

static int64_t number_of(struct span s)
{
	int64_t v = 0;

	s = span_trim(s);
	if (!s.n || s.n > 12)
		return -1;
	for (size_t i = 0; i < s.n; i++) {
		if (s.p[i] < '0' || s.p[i] > '9')
			return -1;
		v = v * 10 + (s.p[i] - '0');
	}
	return v;
}

void kong_latency_of(const struct call *c, struct kong_latency *ret)
{
	ret->proxy_ms = number_of(known_get(&c->cresp, KNOWN_X_KONG_PROXY_LATENCY));
	ret->upstream_ms = number_of(known_get(&c->cresp, KNOWN_X_KONG_UPSTREAM_LATENCY));
	ret->response_ms = number_of(known_get(&c->cresp, KNOWN_X_KONG_RESPONSE_LATENCY));
}

static uint64_t since(uint64_t from, uint64_t to)
{
	return from && to > from ? to - from : 0;
}

/* Kong's figures as it gives them (whole ms), ours as measured on the wire. */
static void write_latency(struct json_out *o, const struct event_parts *p)
{
	const struct exchange *x = p->call->t->client, *up = p->call->up;
	const struct {
		struct span name;
		int64_t ms;
	} said[] = {{SPAN_LIT(",\"proxy\":"), p->latency.proxy_ms},
		{SPAN_LIT(",\"upstream\":"), p->latency.upstream_ms},
		{SPAN_LIT(",\"response\":"), p->latency.response_ms}};

	json_put_lit(o, ",\"latency\":{\"total\":");
	json_put_ms(o, since(x->req.t_first_ns, x->t_end_ns));
	if (x->resp.t_first_ns) {
		json_put_lit(o, ",\"first_byte\":");
		json_put_ms(o, since(x->req.t_first_ns, x->resp.t_first_ns));
	}
	if (up && up->resp.t_first_ns) {
		json_put_lit(o, ",\"service_first_byte\":");
		json_put_ms(o, since(up->req.t_first_ns, up->resp.t_first_ns));
	}
	if (up && up->resp.t_first_ns && up->resp.end != MSG_IDLE) {
		json_put_lit(o, ",\"service_total\":");
		json_put_ms(o, since(up->req.t_first_ns, up->t_end_ns));
	}
	for (size_t i = 0; i < sizeof(said) / sizeof(said[0]); i++) {
		if (said[i].ms < 0)
			continue;
		json_put_raw(o, said[i].name);
		json_put_i64(o, said[i].ms);
	}
	json_put_lit(o, "}");
}

static struct span protocol(const struct call *c)
{
	if (is_h2(c))
		return c->t->client->conn.key.tls ? SPAN_LIT("h2") : SPAN_LIT("h2c");
	return c->t->client->req.head_done && c->t->client->req.minor == 0 ? SPAN_LIT("http/1.0")
									   : SPAN_LIT("http/1.1");
}

static struct span join_text(enum join_how how)
{
	static const char *const text[] = {"none", "id", "evidence", "missing", "ambiguous"};

	return span_str((size_t)how < sizeof(text) / sizeof(text[0]) ? text[how] : "none");
}

static void write_service(struct json_out *o, const struct call *c)
{
	char text[ENDPOINT_TEXT_LEN];
	size_t n;

	json_put_lit(o, ",\"join\":");
	json_put_string(o, join_text(c->t->how));
	json_put_lit(o, ",\"tries\":");
	json_put_u64(o, c->t->upstream_count);
	if (!c->up)
		return;
	if (c->up->conn.peer.family == ADDR_IP4 || c->up->conn.peer.family == ADDR_IP6) {
		n = endpoint_addr_text(&c->up->conn.peer, text);
		json_put_lit(o, ",\"service\":{\"address\":");
		json_put_string(o, span_of(text, n));
		json_put_lit(o, ",\"port\":");
		json_put_u64(o, c->up->conn.peer.port);
		json_put_lit(o, "}");
	}
	if (c->uresp.h) {
		json_put_lit(o, ",\"upstream_status\":");
		json_put_u64(o, c->up->resp.status);
	}
}

/* In the trailers, or in the only header section that there is. */
static struct span grpc_field(const struct call *c, enum known k)
{
	const struct headers *trailers = &c->resp->trailers;
	const struct hname name = known_hname(k);
	int at = trailers->count ? hname_find(trailers, &name, 0) : -1;

	return at >= 0 ? headers__value_at(trailers, (uint32_t)at) : known_get(&c->cresp, k);
}

/* The message as it was sent, percent signs and all. It is a header by name, and masked like one. */
static void write_grpc(struct json_out *o, const struct event_parts *p)
{
	const struct hname message = known_hname(KNOWN_GRPC_MESSAGE);

	write_text(o, SPAN_LIT("grpc_status"), grpc_field(p->call, KNOWN_GRPC_STATUS));
	if (!names__has_header(&p->settings->response_headers, message.name, message.hash))
		write_text(o, SPAN_LIT("grpc_message"), grpc_field(p->call, KNOWN_GRPC_MESSAGE));
}

static void write_worker(struct json_out *o, const struct event_parts *p)
{
	const struct transaction *t = p->call->t;
	const struct rec_worker *w = t->worker;

	json_put_lit(o, ",\"worker_pid\":");
	json_put_u64(o, t->client->conn.key.pid);
	if (w) {
		write_text(o, SPAN_LIT("pod"), span_of(w->pod, strnlen(w->pod, WORKER_TEXT_MAX)));
		write_text(o, SPAN_LIT("pod_namespace"),
			span_of(w->pod_namespace, strnlen(w->pod_namespace, WORKER_TEXT_MAX)));
		write_text(o, SPAN_LIT("pod_uid"), span_of(w->pod_uid, strnlen(w->pod_uid, WORKER_TEXT_MAX)));
		write_text(o, SPAN_LIT("container"), span_of(w->container, strnlen(w->container, WORKER_TEXT_MAX)));
	}
	write_text(o, SPAN_LIT("node"), span_str(p->settings->o->node_name));
}

static void write_metadata(struct json_out *o, const struct event_parts *p)
{
	const struct call *c = p->call;

	json_put_lit(o, ",\"metadata\":{\"kong\":{\"protocol\":");
	json_put_string(o, protocol(c));
	write_text(o, SPAN_LIT("request_id"), p->request_id);
	write_service(o, c);
	write_latency(o, p);
	if (c->t->client->upgraded)
		json_put_lit(o, ",\"upgraded\":true");
	write_grpc(o, p);
	write_text(o, SPAN_LIT("user_from"), span_str(id_from_text(p->who->user_from)));
	write_text(o, SPAN_LIT("company_from"), span_str(id_from_text(p->who->company_from)));
	write_completeness(o, SPAN_LIT("request"), &c->t->client->req, p->req_body);
	write_completeness(o, SPAN_LIT("response"), c->resp, p->resp_body);
	if (c->rebuilt)
		json_put_lit(o, ",\"request_rebuilt\":true");
	write_worker(o, p);
	json_put_lit(o, "}}");
}

int render_event(const struct event_parts *p, struct buf *out)
{
	struct json_out o = {out, 0};
	size_t mark = out->n;

	write_request(&o, p);
	write_response(&o, p);
	write_text(&o, SPAN_LIT("session_token"), p->who->session);
	write_text(&o, SPAN_LIT("user_id"), p->who->user);
	write_text(&o, SPAN_LIT("company_id"), p->who->company);
	write_text(&o, SPAN_LIT("transaction_id"), span_str(p->transaction_id));
	json_put_lit(&o, ",\"direction\":\"Incoming\",\"weight\":");
	json_put_u64(&o, p->weight);
	write_metadata(&o, p);
	json_put_lit(&o, "}");
	if (o.err)
		out->n = mark;
	return o.err;
}
