#include "moesif/credentials.h"

#include "moesif/uri.h"

static bool is_auth_name(const struct settings *s, struct span name, uint32_t hash)
{
	for (uint32_t i = 0; i < s->auth_count; i++)
		if (s->auth[i].hash == hash && span_ieq(s->auth[i].name, name))
			return true;
	return false;
}

/* Begins with the gateway and the host: the same key may mean somebody else elsewhere. */
static void begin(struct credentials *k, const struct call *c, struct sip *d, const unsigned char secret[SIP_KEY_LEN])
{
	const struct transaction *t = c->t;
	struct span host = message__authority(c->req);

	if (k->any)
		return;
	if (!host.n)
		host = known_get(&c->creq, KNOWN_HOST);
	k->any = true;
	sip__begin(d, secret);
	sip__u64(d, t->worker && t->worker->node_pid ? t->worker->node_pid : t->client->conn.key.pid);
	sip__part_lower(d, uri_host(host));
}

static void from_headers(struct credentials *k, const struct call *c, const struct settings *s, struct sip *d,
	const unsigned char secret[SIP_KEY_LEN])
{
	const struct headers *h = c->creq.h;

	for (uint32_t i = 0; i < h->count; i++) {
		struct span name = headers__name_at(h, i), value;
		uint32_t hash = h->fields[i].hash;
		enum known known = known_at(&c->creq, i);
		bool key = names__has_header(&s->api_keys, name, hash);

		if (!key && known != KNOWN_AUTHORIZATION && known != KNOWN_PROXY_AUTHORIZATION &&
			!is_auth_name(s, name, hash))
			continue;
		value = span_trim(headers__value_at(h, i));
		if (!value.n)
			continue;
		if (key && !k->api_key.n)
			k->api_key = value;
		begin(k, c, d, secret);
		sip__u64(d, 1);
		sip__part_lower(d, name);
		sip__part(d, value);
	}
}

static void from_query(struct credentials *k, const struct call *c, const struct settings *s, struct sip *d,
	const unsigned char secret[SIP_KEY_LEN])
{
	struct span target = message__target(c->req), rest;
	const char *mark = target.n ? memchr(target.p, '?', target.n) : NULL;
	struct uri_pair pair;

	if (!mark)
		return;
	rest = span_skip(target, (size_t)(mark - target.p) + 1);
	while (uri_next_pair(&rest, &pair)) {
		char store[256];
		struct span name = uri_decode_name(pair.name, store, sizeof(store));
		bool key = names__has(&s->api_keys, name);

		if (!pair.value.n ||
			(!key && !span_ieq(name, SPAN_LIT("access_token")) && !span_ieq(name, SPAN_LIT("jwt"))))
			continue;
		if (key && !k->api_key.n)
			k->api_key = uri_decode_name(pair.value, k->decoded, sizeof(k->decoded));
		begin(k, c, d, secret);
		sip__u64(d, 2);
		sip__part_lower(d, name);
		sip__part(d, pair.value);
	}
}

static bool word_at(struct span rest, struct span word)
{
	return rest.n >= word.n && span_ieq(span_of(rest.p, word.n), word);
}

/* Does a name sound like that of a header that may say who calls? */
static bool sounds_personal(struct span name)
{
	for (struct span rest = name; rest.n > 2; rest = span_skip(rest, 1)) {
		switch (ascii_lower((unsigned char)rest.p[0])) {
		case 'a':
			if (word_at(rest, SPAN_LIT("auth")))
				return true;
			break;
		case 's':
			if (word_at(rest, SPAN_LIT("session")) || word_at(rest, SPAN_LIT("secret")))
				return true;
			break;
		case 't':
			if (word_at(rest, SPAN_LIT("token")))
				return true;
			break;
		case 'k':
			if (rest.n == 3 && word_at(rest, SPAN_LIT("key")))
				return !span_ieq(name, SPAN_LIT("idempotency-key")) &&
				       !span_ieq(name, SPAN_LIT("sec-websocket-key"));
			break;
		default:
			break;
		}
	}
	return false;
}

/* What the configuration calls an API key may be shared by many, and Kong go by something else: all that may have been
 * that belongs to the fingerprint, though none of it makes one. */
static void from_the_rest(const struct call *c, const struct settings *s, struct sip *d)
{
	const struct headers *h = c->creq.h;

	for (uint32_t i = 0; i < h->count; i++) {
		struct span name = headers__name_at(h, i);
		uint32_t hash = h->fields[i].hash;
		enum known known = known_at(&c->creq, i);

		if (known != KNOWN_COOKIE && (known != KNOWN_NONE || names__has_header(&s->api_keys, name, hash) ||
						     is_auth_name(s, name, hash) || !sounds_personal(name)))
			continue;
		sip__u64(d, 3);
		sip__part_lower(d, name);
		sip__part(d, span_trim(headers__value_at(h, i)));
	}
}

void credentials_collect(
	struct credentials *k, const struct call *c, const struct settings *s, const unsigned char secret[SIP_KEY_LEN])
{
	struct sip d;

	k->any = false;
	k->api_key = (struct span){NULL, 0};
	if (!c->client_whole)
		return;
	from_headers(k, c, s, &d, secret);
	from_query(k, c, s, &d, secret);
	if (!k->any)
		return;
	from_the_rest(c, s, &d);
	sip__end(&d, k->fingerprint.b);
}
