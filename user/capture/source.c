#include "capture/source_ops.h"

int source__fd(const struct source *s)
{
	return s->ops->fd(s);
}

int source__activate(struct source *s)
{
	return s->ops->activate(s);
}

int source__poll(struct source *s, int timeout_ms)
{
	return s->ops->poll(s, timeout_ms);
}

void source__ignore(struct source *s, const struct conn_key *key)
{
	s->ops->ignore(s, key);
}

void source__exclude(struct source *s, char *const *types, size_t n)
{
	if (s->ops->exclude)
		s->ops->exclude(s, types, n);
}

void source__bodies(struct source *s, uint32_t request, uint32_t response)
{
	if (s->ops->bodies)
		s->ops->bodies(s, request, response);
}

void source__skip(struct source *s, const struct conn_key *key, const struct byte_range useless[2])
{
	if (s->ops->skip)
		s->ops->skip(s, key, useless);
}

void source__over(struct source *s, const struct conn_key *key)
{
	if (s->ops->over)
		s->ops->over(s, key);
}

size_t source__workers(const struct source *s)
{
	return s->ops->workers(s);
}

void source__each_tls(const struct source *s, void (*fn)(void *ctx, const struct source_tls *t), void *ctx)
{
	if (s->ops->each_tls)
		s->ops->each_tls(s, fn, ctx);
}

void source__ring(struct source *s, uint64_t *ret_size, uint64_t *ret_peak)
{
	*ret_size = *ret_peak = 0;
	if (s->ops->ring)
		s->ops->ring(s, ret_size, ret_peak);
}

void source__count(struct source *s)
{
	if (s->ops->count)
		s->ops->count(s);
}

int source__govern(struct source *s, const struct rec_govern *g)
{
	return s->ops->govern ? s->ops->govern(s, g) : 0;
}

uint64_t source__probe_ns(const struct source *s)
{
	return s->ops->probe_ns ? s->ops->probe_ns(s) : 0;
}

void source__costs(const struct source *s, struct hook_costs *ret)
{
	*ret = (struct hook_costs){0};
	if (s->ops->costs)
		s->ops->costs(s, ret);
}

int64_t source__wall_offset(const struct source *s)
{
	return s->ops->wall_offset(s);
}

void source__close(struct source *s)
{
	if (s)
		s->ops->close(s);
}
