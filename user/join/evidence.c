#include "join/evidence.h"

#include "base/hmap.h"

bool evidence_proxied(const struct message *req)
{
	return headers__get(&req->headers, SPAN_LIT("x-real-ip")).p != NULL &&
	       headers__get(&req->headers, SPAN_LIT("x-forwarded-for")).p != NULL;
}

static struct span without_query(struct span target)
{
	const char *q = target.n ? memchr(target.p, '?', target.n) : NULL;

	if (q)
		target.n = (size_t)(q - target.p);
	return target;
}

/* "http://host:1/path" → "/path", and the host with it (RFC 9112, 3.2.2). */
static struct span split_absolute(struct span target, struct span *host)
{
	static const struct span schemes[] = {{"http://", 7}, {"https://", 8}};
	const char *slash;

	for (size_t i = 0; i < 2; i++) {
		if (target.n < schemes[i].n || !span_ieq(span_of(target.p, schemes[i].n), schemes[i]))
			continue;
		*host = span_skip(target, schemes[i].n);
		slash = memchr(host->p, '/', host->n);
		if (!slash)
			return SPAN_LIT("/");
		target = span_of(slash, host->n - (size_t)(slash - host->p));
		host->n = (size_t)(slash - host->p);
		return target;
	}
	return target;
}

static struct span without_port(struct span host)
{
	const char *colon = host.n ? memrchr(host.p, ':', host.n) : NULL;

	/* The colons inside [2001:db8::1] are no port's. */
	if (colon && !memchr(colon, ']', host.n - (size_t)(colon - host.p)))
		host.n = (size_t)(colon - host.p);
	return host;
}

/* Each part is hashed by itself, so that no two sets of parts can be written alike. */
static uint64_t mix(uint64_t h, struct span part)
{
	return hash_u64(h ^ hash_bytes(part.p, part.n));
}

/* Host names and IPv6 addresses are the same in either letter case. One beyond the limit gives no evidence. */
static uint64_t mix_lower(uint64_t h, struct span part)
{
	char text[256];

	if (!h || part.n > sizeof(text))
		return 0;
	span_lower(text, part);
	return mix(h, span_of(text, part.n));
}

static uint64_t fold(
	uint32_t pid, struct span method, struct span host, struct span port, struct span path, struct span address)
{
	uint64_t h = hash_u64(pid);

	h = mix(h, method);
	h = mix(h, port);
	h = mix(h, path);
	h = mix_lower(h, address);
	return mix_lower(h, host);
}

uint64_t evidence_of_client(const struct exchange *x)
{
	char address[ENDPOINT_TEXT_LEN], port[DECIMAL_MAX];
	struct span host = headers__get(&x->req.headers, SPAN_LIT("host"));
	struct span path;

	if (x->req.authority.n)
		host = message__authority(&x->req);
	path = without_query(split_absolute(message__target(&x->req), &host));
	if (!x->conn.peer.family || !path.n)
		return 0;
	return fold(x->conn.key.pid, message__method(&x->req), without_port(host),
		span_decimal(port, x->conn.local.port), path,
		span_of(address, endpoint_addr_text(&x->conn.peer, address)));
}

uint64_t evidence_of_upstream(const struct exchange *x)
{
	const struct headers *h = &x->req.headers;
	struct span path = headers__get(h, SPAN_LIT("x-forwarded-path"));

	if (!path.p)
		return 0;
	return fold(x->conn.key.pid, message__method(&x->req), headers__get(h, SPAN_LIT("x-forwarded-host")),
		headers__get(h, SPAN_LIT("x-forwarded-port")), without_query(path),
		headers__get(h, SPAN_LIT("x-real-ip")));
}

bool evidence_contradicts(const struct exchange *client, const struct exchange *upstream)
{
	static const struct span names[] = {
		{"authorization", 13},
		{"cookie", 6},
		{"apikey", 6},
		{"x-api-key", 9},
		{"user-agent", 10},
		{"traceparent", 11},
		{"content-type", 12},
	};

	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
		struct span up = headers__get(&upstream->req.headers, names[i]);

		if (up.p && !span_eq(up, headers__get(&client->req.headers, names[i])))
			return true;
	}
	return false;
}
