#include "moesif/txn_id.h"

#define REQUEST_ID_LEN 32

static bool is_hex(struct span s)
{
	unsigned other = 0;

	/* Without a branch for each: whether a digit or a letter comes next, nobody can predict. */
	for (size_t i = 0; i < s.n; i++) {
		unsigned digit = (unsigned char)s.p[i] - '0', letter = ((unsigned char)s.p[i] | 0x20) - 'a';

		other |= (unsigned)(digit > 9) & (unsigned)(letter > 5);
	}
	return !other;
}

static bool is_uuid(struct span s)
{
	static const int dash[] = {8, 13, 18, 23};
	size_t from = 0;

	if (s.n != TXN_ID_LEN)
		return false;
	for (int i = 0; i < 4; i++) {
		if (s.p[dash[i]] != '-' || !is_hex(span_of(s.p + from, (size_t)dash[i] - from)))
			return false;
		from = (size_t)dash[i] + 1;
	}
	return is_hex(span_of(s.p + from, TXN_ID_LEN - from));
}

/* A header that Kong sets of itself; not what the client sent and Kong, so configured, let pass. */
static struct span not_the_clients(const struct call *c, const struct known_index *x, enum known k)
{
	struct span v = span_trim(known_get(x, k));

	for (int at = c->creq.first[k]; at >= 0; at = known_next(&c->creq, k, at))
		if (span_ieq(v, span_trim(headers__value_at(c->creq.h, (uint32_t)at))))
			return (struct span){NULL, 0};
	return v;
}

/* Out of a cache in Kong, which may have kept the headers of the answer to an older call. */
static bool from_cache(const struct call *c)
{
	return c->own_answer && (span_ieq(span_trim(known_get(&c->cresp, KNOWN_X_CACHE_STATUS)), SPAN_LIT("hit")) ||
					c->cresp.count[KNOWN_AGE]);
}

/* Came from behind this Kong and did not go up with this call: another Kong's, there, of whatever call. */
static bool is_anothers(const struct call *c, struct span id)
{
	return span_ieq(id, span_trim(known_get(&c->uresp, KNOWN_X_KONG_REQUEST_ID))) &&
	       !span_ieq(id, span_trim(known_get(&c->ureq, KNOWN_X_KONG_REQUEST_ID)));
}

struct span txn_kong_request_id(const struct call *c)
{
	struct span id = not_the_clients(c, &c->cresp, KNOWN_X_KONG_REQUEST_ID);

	if (id.n != REQUEST_ID_LEN || !is_hex(id) || is_anothers(c, id))
		id = not_the_clients(c, &c->ureq, KNOWN_X_KONG_REQUEST_ID);
	return id.n == REQUEST_ID_LEN && is_hex(id) ? id : (struct span){NULL, 0};
}

struct span txn_plugin_id(const struct call *c)
{
	struct span id = not_the_clients(c, &c->cresp, KNOWN_X_MOESIF_TRANSACTION_ID);

	/* A service with a Moesif library of its own sends this header too: then it stands on the upstream leg already.
	 */
	if (!is_uuid(id) || c->uresp.count[KNOWN_X_MOESIF_TRANSACTION_ID])
		return (struct span){NULL, 0};
	return c->up || c->own_answer ? id : (struct span){NULL, 0};
}

static void lower_into(char *out, struct span s)
{
	for (size_t i = 0; i < s.n; i++)
		out[i] = (char)ascii_lower((unsigned char)s.p[i]);
}

static void dashed(const char hex[REQUEST_ID_LEN], char out[TXN_ID_LEN + 1])
{
	static const unsigned char part[] = {8, 4, 4, 4, 12};

	for (size_t i = 0; i < sizeof(part); i++) {
		memcpy(out, hex, part[i]);
		out += part[i];
		hex += part[i];
		*out++ = i + 1 < sizeof(part) ? '-' : 0;
	}
}

static void endpoint_part(struct digest *d, const struct endpoint *e)
{
	digest__u64(d, (uint64_t)e->family << 16 | e->port);
	digest__part(d, span_of(e->addr, sizeof(e->addr)));
}

/* Worker, connection and moment name one call on one host; the rest sets hosts apart whose clocks agree. */
static void derive(const struct call *c, struct digest *d, char out[TXN_ID_LEN + 1])
{
	static const char digits[] = "0123456789abcdef";
	const struct exchange *x = c->t->client;
	unsigned char h[DIGEST_LEN];
	char hex[REQUEST_ID_LEN];

	digest__begin(d);
	digest__part(d, SPAN_LIT("kongtap transaction"));
	digest__u64(d, x->conn.key.pid);
	digest__u64(d, x->conn.key.obj);
	digest__u64(d, x->stream);
	digest__u64(d, x->req.t_first_ns + (uint64_t)c->t->wall_offset_ns);
	endpoint_part(d, &x->conn.local);
	endpoint_part(d, &x->conn.peer);
	digest__part(d, message__method(c->req));
	digest__part(d, message__target(c->req));
	digest__end(d, h);
	h[6] = (unsigned char)(0x80 | (h[6] & 0x0f));
	h[8] = (unsigned char)(0x80 | (h[8] & 0x3f));
	for (int i = 0; i < REQUEST_ID_LEN / 2; i++) {
		hex[2 * i] = digits[h[i] >> 4];
		hex[2 * i + 1] = digits[h[i] & 15];
	}
	dashed(hex, out);
}

enum txn_id_from txn_id_make(
	const struct call *c, struct span request_id, bool no_plugin_id, struct digest *d, char out[TXN_ID_LEN + 1])
{
	struct span id = no_plugin_id || from_cache(c) ? (struct span){NULL, 0} : txn_plugin_id(c);
	char hex[REQUEST_ID_LEN];

	if (id.n) {
		lower_into(out, id);
		out[TXN_ID_LEN] = 0;
		return TXN_ID_PLUGIN;
	}
	if (request_id.n && !from_cache(c)) {
		lower_into(hex, request_id);
		dashed(hex, out);
		return TXN_ID_KONG;
	}
	derive(c, d, out);
	return TXN_ID_DERIVED;
}
