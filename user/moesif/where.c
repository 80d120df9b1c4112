#include "moesif/where.h"

#include "moesif/clientip.h"

#define TARGET_MAX (1 << 20)

struct span where_ip(const struct call *c, char store[ENDPOINT_TEXT_LEN])
{
	const struct endpoint *peer = &c->t->client->conn.peer;
	struct span ip = clientip_from_headers(c->rebuilt ? &c->ureq : &c->creq);

	if (!ip.n)
		ip = clientip_address(known_get(&c->ureq, KNOWN_X_REAL_IP));
	if (!ip.n && (peer->family == ADDR_IP4 || peer->family == ADDR_IP6))
		ip = span_of(store, endpoint_addr_text(peer, store));
	return ip;
}

static struct span host_of(const struct call *c)
{
	if (c->rebuilt)
		return known_get(&c->ureq, KNOWN_X_FORWARDED_HOST);
	return c->req->authority.n ? message__authority(c->req) : known_get(&c->creq, KNOWN_HOST);
}

/* The client named the port that it came to, unless a balancer stands between. */
static struct span port_in_host(const struct call *c)
{
	struct span host = span_trim(host_of(c));
	const char *colon = host.n ? memrchr(host.p, ':', host.n) : NULL;
	size_t n = colon ? host.n - (size_t)(colon - host.p) - 1 : 0;

	/* The colons inside [2001:db8::1] are no port's. */
	return n && !memchr(colon, ']', n) ? span_of(colon + 1, n) : (struct span){0};
}

/* Kong's own, as the plugin has it; where the connection's end is not known, what the legs say of it. */
static uint16_t port_of(const struct call *c)
{
	const struct endpoint *e = &c->t->client->conn.local;
	struct span text = span_trim(known_get(&c->ureq, KNOWN_X_FORWARDED_PORT));
	uint32_t port = 0;

	if (e->family == ADDR_IP4 || e->family == ADDR_IP6)
		return e->port;
	if (!text.n)
		text = port_in_host(c);
	for (size_t i = 0; i < text.n && i < 6; i++) {
		if (text.p[i] < '0' || text.p[i] > '9')
			return 0;
		port = port * 10 + (uint32_t)(text.p[i] - '0');
	}
	return port <= UINT16_MAX ? (uint16_t)port : 0;
}

/* A request that was not seen: the path is in a header of the upstream leg, the query in its target. */
static int rebuilt_target(const struct call *c, struct buf *out)
{
	struct span target = message__target(c->req), path = uri_path(target);
	int r = buf__append_span(out, span_trim(known_get(&c->ureq, KNOWN_X_FORWARDED_PATH)));

	return r < 0 ? r : buf__append_span(out, span_skip(target, target.n ? path.n : 0));
}

int where_uri(const struct call *c, const struct settings *s, struct buf *out, struct uri_layout *ret)
{
	const struct uri_masks masks = {&s->query, &s->credential_query};
	struct uri_parts parts = {
		.scheme = c->t->client->conn.key.tls ? SPAN_LIT("https") : SPAN_LIT("http"),
		.host = host_of(c),
		.port = port_of(c),
		.target = message__target(c->req),
	};
	struct buf target;
	int r = 0;

	buf__init(&target, TARGET_MAX);
	if (c->rebuilt) {
		r = rebuilt_target(c, &target);
		parts.target = buf_span(&target);
	}
	buf__clear(out);
	if (r == 0)
		r = uri_compose(out, &parts, &masks, ret);
	buf__free(&target);
	return r;
}

struct span where_route(const struct call *c)
{
	struct span authority;

	if (c->rebuilt)
		return span_trim(known_get(&c->ureq, KNOWN_X_FORWARDED_PATH));
	return uri_path(uri_origin_form(message__target(c->req), &authority));
}
