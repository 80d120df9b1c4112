#include "moesif/identify.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/random.h>

#include "base/base64.h"
#include "moesif/credentials.h"
#include "moesif/digest.h"
#include "moesif/learn.h"
#include "moesif/token.h"
#include "moesif/utf8.h"

#define SESSION_HEX 32 /* of a hashed session token: 128 bits */

struct identifier {
	const struct settings *s;
	struct learn *learn; /* NULL: switched off */
	struct digest *digest;
	unsigned char secret[SIP_KEY_LEN]; /* of the fingerprints, this run's */
	struct buf user, company, session, token, claim;
	struct credentials shown;
};

/* One run's view. */
struct run {
	struct identifier *i;
	const struct call *c;
	struct identity *out;
	struct consumer consumer;
	bool have_consumer;
};

const char *id_from_text(enum id_from f)
{
	static const char *const text[] = {NULL, "request_header", "response_header", "consumer", "learnt", "token"};

	return text[f];
}

static int set_learn(struct identifier *i, const struct moesif_options *o)
{
	if (!o->learn_consumers || !o->learn_consumers_max) {
		learn__free(i->learn);
		i->learn = NULL;
		return 0;
	}
	if (i->learn) {
		learn__set_limits(i->learn, o->learn_consumers_max, o->learn_consumers_ttl, o->learn_consumers_bytes);
		return 0;
	}
	i->learn = learn__new(o->learn_consumers_max, o->learn_consumers_ttl, o->learn_consumers_bytes);
	return i->learn ? 0 : -ENOMEM;
}

struct identifier *identifier__new(const struct settings *s)
{
	struct identifier *i = calloc(1, sizeof(*i));

	if (!i)
		return NULL;
	i->s = s;
	i->digest = digest__new();
	if (!i->digest || set_learn(i, s->o) < 0 || getrandom(i->secret, SIP_KEY_LEN, 0) != SIP_KEY_LEN) {
		int err = errno ? errno : ENOMEM;

		identifier__free(i);
		errno = err;
		return NULL;
	}
	/* Latin-1 names may double in length as UTF-8. */
	buf__init(&i->user, TOKEN_TEXT_MAX * 2);
	buf__init(&i->company, TOKEN_TEXT_MAX * 2);
	buf__init(&i->session, TOKEN_MAX * 2);
	buf__init(&i->token, base64_decoded_max(TOKEN_MAX));
	buf__init(&i->claim, TOKEN_MAX);
	return i;
}

void identifier__set(struct identifier *i, const struct settings *s)
{
	i->s = s;
	/* Without memory for it there is nothing learnt, which is no more than a name less. */
	set_learn(i, s->o);
}

void identifier__free(struct identifier *i)
{
	if (!i)
		return;
	learn__free(i->learn);
	digest__free(i->digest);
	buf__free(&i->user);
	buf__free(&i->company);
	buf__free(&i->session);
	buf__free(&i->token);
	buf__free(&i->claim);
	free(i);
}

uint32_t identifier__learnt(const struct identifier *i)
{
	return i->learn ? learn__count(i->learn) : 0;
}

/* An identity that is too long to be one is none. */
static int take(struct buf *b, struct span value, struct span *ret, enum id_from *from, enum id_from as)
{
	int r;

	if (!value.n || value.n > TOKEN_TEXT_MAX)
		return 0;
	buf__clear(b);
	r = utf8_append_text(b, value);
	if (r < 0)
		return r == -ENOMEM ? r : 0;
	*ret = buf_span(b);
	*from = as;
	return 0;
}

static int take_user(struct run *r, struct span value, enum id_from as)
{
	return r->out->user.n ? 0 : take(&r->i->user, value, &r->out->user, &r->out->user_from, as);
}

static int take_company(struct run *r, struct span value, enum id_from as)
{
	return r->out->company.n ? 0 : take(&r->i->company, value, &r->out->company, &r->out->company_from, as);
}

static struct span response_header(const struct call *c, const struct hname *n)
{
	return c->cresp.h ? header_unique(c->cresp.h, n) : (struct span){NULL, 0};
}

/* The configured headers: the request's word before the response's. */
static int by_headers(struct run *r)
{
	const struct settings *s = r->i->s;
	int err = 0;

	if (s->user_header.name.n) {
		err = take_user(r, call__request_header(r->c, &s->user_header), ID_REQUEST_HEADER);
		if (err == 0)
			err = take_user(r, response_header(r->c, &s->user_header), ID_RESPONSE_HEADER);
	}
	if (err == 0 && s->company_header.name.n) {
		err = take_company(r, call__request_header(r->c, &s->company_header), ID_REQUEST_HEADER);
		if (err == 0)
			err = take_company(r, response_header(r->c, &s->company_header), ID_RESPONSE_HEADER);
	}
	return err;
}

/* Kong answered by itself before anybody had looked at the credential (400, 404: no route), or that it is no good: what
 * it claims is worth nothing. */
static bool refused(const struct call *c)
{
	static const int statuses[] = {400, 401, 403, 404, 407};

	for (size_t i = 0; c->own_answer && i < sizeof(statuses) / sizeof(statuses[0]); i++)
		if (c->status == statuses[i])
			return true;
	return false;
}

/* Kong's word went up on a leg that was not seen, or cannot be told from the client's own because the client's head has
 * holes: its consumer, if any, comes before what the token says, and the two may differ. Better nobody than somebody
 * else. Whether there was such a leg, and whether Kong took the credential, the response's head tells: without it, or
 * with one that has holes, nobody knows. */
static bool unheard(const struct call *c)
{
	if (c->t->how == JOIN_MISSING || c->t->how == JOIN_AMBIGUOUS)
		return true;
	if (!c->up && (!c->resp->head_done || c->resp->head_partial))
		return true;
	return !c->client_whole && !c->trust &&
	       (c->ureq.count[KNOWN_X_CONSUMER_ID] || c->ureq.count[KNOWN_X_CONSUMER_USERNAME] ||
		       c->ureq.count[KNOWN_X_CONSUMER_CUSTOM_ID] || c->ureq.count[KNOWN_X_CREDENTIAL_IDENTIFIER]);
}

static bool seen_consumer(const struct call *c, struct consumer *ret)
{
	ret->custom_id = call__kong_value(c, KNOWN_X_CONSUMER_CUSTOM_ID);
	ret->username = call__kong_value(c, KNOWN_X_CONSUMER_USERNAME);
	ret->id = call__kong_value(c, KNOWN_X_CONSUMER_ID);
	ret->credential = call__kong_value(c, KNOWN_X_CREDENTIAL_IDENTIFIER);
	return ret->custom_id.n || ret->username.n || ret->id.n;
}

/* Learns from calls whose consumer Kong named, and asks what was learnt for those that it answered by itself. A claim
 * that was only believed because the configuration says so teaches nothing. */
static enum id_from find_consumer(struct run *r)
{
	const struct call *c = r->c;
	const struct fingerprint *f = &r->i->shown.fingerprint;
	uint64_t now = c->t->client->t_end_ns;
	bool seen = seen_consumer(c, &r->consumer);

	if (r->i->learn && r->i->shown.any) {
		if (seen && c->authenticated && !c->anonymous && !c->trust)
			learn__observe(r->i->learn, f, &r->consumer, now);
		else if (c->anonymous || (c->own_answer && c->status == 401))
			learn__contradict(r->i->learn, f, now);
		else if (!seen && !c->up && learn__find(r->i->learn, f, now, &r->consumer))
			return ID_LEARNT;
	}
	return seen ? ID_CONSUMER : ID_NONE;
}

static int by_consumer(struct run *r, enum id_from as)
{
	const struct span order[] = {r->consumer.custom_id, r->consumer.username, r->consumer.id};
	int err = 0;

	r->have_consumer = as != ID_NONE;
	if (as == ID_NONE || (r->c->anonymous && r->i->s->o->ignore_anonymous_consumer))
		return 0;
	for (int k = 0; k < 3 && err == 0; k++)
		err = take_user(r, order[k], as);
	return err;
}

/* First value of a header that may carry a token: as it went upstream, else as the client sent it. */
static struct span token_value(const struct call *c, const struct hname *n)
{
	int at = c->ureq.h ? hname_find(c->ureq.h, n, 0) : -1;

	if (at >= 0)
		return headers__value_at(c->ureq.h, (uint32_t)at);
	at = c->creq.h ? hname_find(c->creq.h, n, 0) : -1;
	return at >= 0 ? headers__value_at(c->creq.h, (uint32_t)at) : (struct span){NULL, 0};
}

static int take_claim(struct run *r, struct span claims, struct span field, bool user)
{
	int got;

	buf__clear(&r->i->claim);
	got = token_claim(claims, field, &r->i->claim);
	if (got <= 0)
		return got;
	return user ? take_user(r, buf_span(&r->i->claim), ID_TOKEN)
		    : take_company(r, buf_span(&r->i->claim), ID_TOKEN);
}

static int by_token(struct run *r, struct span value)
{
	const struct settings *s = r->i->s;
	struct token t;
	int err = token_parse(value, &r->i->token, &t);

	if (err == 0 && t.kind == TOKEN_BASIC)
		return take_user(r, t.user, ID_TOKEN);
	if (err < 0 || t.kind != TOKEN_CLAIMS)
		return err;
	if (!r->out->user.n)
		err = take_claim(r, t.claims, s->user_claim, true);
	if (err == 0 && !r->out->company.n)
		err = take_claim(r, t.claims, s->company_claim, false);
	return err;
}

static int by_tokens(struct run *r)
{
	const struct settings *s = r->i->s;
	int err = 0;

	if (refused(r->c) || unheard(r->c))
		return 0;
	for (uint32_t k = 0; k < s->auth_count && err == 0; k++) {
		struct span value;

		if (r->out->user.n && (r->out->company.n || !s->company_claim.n))
			break;
		value = token_value(r->c, &s->auth[k]);
		if (value.n)
			err = by_token(r, value);
	}
	return err;
}

/* What the client's Authorization says of the credential: a JWT's key, the name of a Basic user. */
static struct span credential_shown(struct run *r)
{
	struct span value = known_get(&r->c->creq, KNOWN_AUTHORIZATION);
	struct token t;

	if (!value.n || token_parse(value, &r->i->token, &t) < 0)
		return (struct span){NULL, 0};
	if (t.kind == TOKEN_BASIC)
		return t.user;
	buf__clear(&r->i->claim);
	if (t.kind == TOKEN_CLAIMS && token_claim(t.claims, SPAN_LIT("iss"), &r->i->claim) > 0)
		return buf_span(&r->i->claim);
	return (struct span){NULL, 0};
}

/* The plugin takes the key of the credential: the API key itself, the key of a JWT's credential. For others it takes an
 * id that is not on the wire; the credential's identifier stands in. */
static struct span session_of(struct run *r)
{
	struct span key = r->i->shown.api_key, identifier = r->consumer.credential, shown;

	if (!key.n && identifier.n)
		return identifier;
	shown = credential_shown(r);
	if (identifier.n && span_eq(identifier, shown))
		return identifier;
	if (key.n)
		return key;
	return shown;
}

static int hash_session(struct identifier *i, struct span token)
{
	static const char digits[] = "0123456789abcdef";
	const char *key = i->s->o->session_token_key;
	unsigned char h[DIGEST_LEN];
	int r = digest__hmac(i->digest, key ? span_str(key) : SPAN_LIT("kongtap session token"), token, h);

	buf__clear(&i->session);
	for (int k = 0; k < SESSION_HEX / 2 && r == 0; k++) {
		char pair[2] = {digits[h[k] >> 4], digits[h[k] & 15]};

		r = buf__append(&i->session, pair, sizeof(pair));
	}
	return r;
}

static int set_session(struct run *r)
{
	const struct moesif_options *o = r->i->s->o;
	struct identifier *i = r->i;
	struct span token;
	int err;

	if (!r->have_consumer || r->c->anonymous)
		return 0;
	token = session_of(r);
	if (!token.n)
		return 0;
	buf__clear(&i->session);
	if (o->hash_session_token || o->redact_credentials)
		err = hash_session(i, token);
	else
		err = utf8_append_text(&i->session, token);
	if (err == 0)
		r->out->session = buf_span(&i->session);
	return err == -ENOMEM ? err : 0;
}

int identifier__run(struct identifier *i, const struct call *c, struct identity *ret)
{
	struct run r = {.i = i, .c = c, .out = ret};
	int err;

	*ret = (struct identity){0};
	credentials_collect(&i->shown, c, i->s, i->secret);
	err = by_headers(&r);
	if (err == 0)
		err = by_consumer(&r, find_consumer(&r));
	if (err == 0)
		err = by_tokens(&r);
	return err == 0 ? set_session(&r) : err;
}
