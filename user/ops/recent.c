#include "ops/recent.h"

static uint8_t copy(char *to, size_t size, struct span from)
{
	size_t n = from.n < size ? from.n : size;

	if (n)
		memcpy(to, from.p, n);
	return (uint8_t)n;
}

void recent__event(struct recent *r, const struct event *e)
{
	struct recent_call *c;

	if (!r->want)
		return;
	c = &r->calls[r->at];
	r->at = (r->at + 1) % r->want;
	if (r->n < r->want)
		r->n++;
	c->wall_ns = e->wall_ns;
	c->total_ns = e->total_ns;
	c->response_bytes = e->response_bytes;
	c->kong_ms = e->kong_ms;
	c->upstream_ms = e->upstream_ms;
	c->status = e->status;
	c->truncated = e->truncated;
	c->incomplete = e->incomplete;
	c->verb_len = copy(c->verb, sizeof(c->verb), e->verb);
	c->path_len = copy(c->path, sizeof(c->path), e->path);
	c->user_len = copy(c->user, sizeof(c->user), e->user);
}

const struct recent_call *recent__call(const struct recent *r, uint32_t i)
{
	return &r->calls[(r->at + r->want - 1 - i) % r->want];
}
