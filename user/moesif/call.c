#include "moesif/call.h"

#include <errno.h>

/* kong.client.authenticate's headers: an auth plugin sets or clears all of them together. */
static bool set_together(enum known k)
{
	return k >= KNOWN_X_CONSUMER_ID && k <= KNOWN_X_ANONYMOUS_CONSUMER;
}

bool call_nginx_sets(enum known k)
{
	switch (k) {
	case KNOWN_HOST:
	case KNOWN_CONNECTION:
	case KNOWN_TE:
	case KNOWN_UPGRADE:
	case KNOWN_VIA:
	case KNOWN_X_FORWARDED_FOR:
	case KNOWN_X_FORWARDED_PROTO:
	case KNOWN_X_FORWARDED_HOST:
	case KNOWN_X_FORWARDED_PORT:
	case KNOWN_X_FORWARDED_PATH:
	case KNOWN_X_FORWARDED_PREFIX:
	case KNOWN_X_REAL_IP:
	case KNOWN_X_KONG_REQUEST_ID:
		return true;
	default:
		return false;
	}
}

/* One value for all fields of this name, white space around it trimmed; p NULL otherwise. */
static struct span unique(const struct known_index *x, enum known k)
{
	struct span first = span_trim(known_get(x, k));

	for (int at = x->first[k]; at >= 0; at = known_next(x, k, at))
		if (!span_eq(first, span_trim(headers__value_at(x->h, (uint32_t)at))))
			return (struct span){NULL, 0};
	return first;
}

struct span header_unique(const struct headers *h, const struct hname *n)
{
	int at = hname_find(h, n, 0);
	struct span first = {NULL, 0};

	if (at >= 0)
		first = span_trim(headers__value_at(h, (uint32_t)at));
	while (at >= 0) {
		at = hname_find(h, n, (uint32_t)at + 1);
		if (at >= 0 && !span_eq(first, span_trim(headers__value_at(h, (uint32_t)at))))
			return (struct span){NULL, 0};
	}
	return first;
}

/* Proof that an auth plugin ran on this call: a header that it sets stands upstream with a value which the client did
 * not send. Such a plugin clears the others, so they are Kong's word then, even where the client sent the same text.
 * One field against one field only: a list of the client's that some plugin joined proves nothing. */
static bool proves_auth(const struct call *c, enum known k)
{
	struct span up;

	if (c->ureq.count[k] != 1 || c->creq.count[k] > 1)
		return false;
	up = span_trim(known_get(&c->ureq, k));
	return up.n && !(c->creq.count[k] && span_ieq(up, span_trim(known_get(&c->creq, k))));
}

static bool auth_ran(const struct call *c)
{
	return c->client_whole &&
	       (proves_auth(c, KNOWN_X_CONSUMER_ID) || proves_auth(c, KNOWN_X_CREDENTIAL_IDENTIFIER) ||
		       proves_auth(c, KNOWN_X_ANONYMOUS_CONSUMER));
}

struct span call__kong_value(const struct call *c, enum known k)
{
	static const struct span none;

	if (c->trust)
		return unique(c->up ? &c->ureq : &c->creq, k);
	if (!c->client_whole)
		return none;
	if (c->creq.count[k] && !(c->authenticated && set_together(k)))
		return none;
	return unique(&c->ureq, k);
}

struct span call__request_header(const struct call *c, const struct hname *n)
{
	enum known k = known_of(n->name, n->hash);

	if (k != KNOWN_NONE && known_by_kong(k))
		return call__kong_value(c, k);
	/* On the way up nginx writes its own; what the client sent is on the client leg only. */
	if (!c->up || call_nginx_sets(k))
		return c->creq.h ? header_unique(c->creq.h, n) : (struct span){NULL, 0};
	return header_unique(c->ureq.h, n);
}

static const struct exchange *upstream_of(const struct transaction *t)
{
	if (t->how != JOIN_BY_ID && t->how != JOIN_BY_EVIDENCE)
		return NULL;
	if (t->answered && t->answered->req.head_done)
		return t->answered;
	for (uint32_t i = t->upstream_count; i > 0; i--)
		if (t->upstream[i - 1]->req.head_done)
			return t->upstream[i - 1];
	return NULL;
}

/* Of a head with holes (h2, table older than the agent) the host may be what is missing; a request without one, which
 * HTTP/1.0 may send, is another thing. */
static bool names_a_call(const struct message *req)
{
	if (!req->head_done || !req->method.n || !req->target.n)
		return false;
	return !req->head_partial || req->authority.n || headers__get(&req->headers, SPAN_LIT("host")).n;
}

/* What an upstream leg must carry to stand in for a request that was not seen. */
static bool can_rebuild(const struct call *c)
{
	return c->up && c->up->req.method.n && known_get(&c->ureq, KNOWN_X_FORWARDED_PATH).n;
}

/* A client that leaves before anything was answered is a 499 to nginx, and to the plugin. */
static int status_of(const struct exchange *client)
{
	if (client->resp.head_done)
		return client->resp.status;
	return client->client_gone && client->resp.end != MSG_LOST && client->resp.end != MSG_LIMIT ? 499 : 0;
}

int call__init(struct call *c, const struct transaction *t, bool trust_client)
{
	const struct message *req = &t->client->req;
	struct span anonymous;

	c->t = t;
	c->up = upstream_of(t);
	c->req = req;
	c->resp = &t->client->resp;
	c->trust = trust_client;
	c->rebuilt = !names_a_call(req);
	c->client_whole = !c->rebuilt && !req->head_partial && !req->headers.overflow;
	c->own_answer = t->how == JOIN_NONE;
	c->status = status_of(t->client);
	known_index__build(&c->creq, c->rebuilt ? NULL : &req->headers);
	known_index__build(&c->cresp, c->resp->head_done ? &c->resp->headers : NULL);
	known_index__build(&c->ureq, c->up ? &c->up->req.headers : NULL);
	known_index__build(&c->uresp, c->up && c->up->resp.head_done ? &c->up->resp.headers : NULL);
	/* Kong took no part in it, and the client makes it again: a call that was none. */
	if (t->client->refused)
		return -ENODATA;
	if (c->rebuilt) {
		if (!can_rebuild(c))
			return -ENODATA;
		c->req = &c->up->req;
	}
	c->authenticated = auth_ran(c);
	anonymous = call__kong_value(c, KNOWN_X_ANONYMOUS_CONSUMER);
	c->anonymous = span_ieq(anonymous, SPAN_LIT("true"));
	return 0;
}
